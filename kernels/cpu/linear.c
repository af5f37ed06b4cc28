#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/vec.h"

static inline __attribute__((always_inline)) vf activate(vf x, SpActivation act)
{
    switch (act) {
    case SP_GELU:
        return v_gelu(x);
    case SP_GELU_TANH:
        return v_gelu_tanh(x);
    case SP_RELU:
        return v_max(x, v_set(0));
    case SP_SILU:
        return x * v_sigmoid(x);
    default:
        return x;
    }
}

/* What sp_cpu_epilogue gets. */
typedef struct Row {
    const float *x, *b, *gain, *residual;
    float *y;
} Row;

/* `n` <= SP_VL elements from the i-th on. */
static inline __attribute__((always_inline)) void epilogue_at(const Row *row, SpActivation act,
                                                              int64_t i, int64_t n)
{
    vf v = v_load_n(row->x + i, n);
    if (row->b)
        v += v_load_n(row->b + i, n);
    v = activate(v, act);
    if (row->gain)
        v *= v_load_n(row->gain + i, n);
    if (row->residual)
        v += v_load_n(row->residual + i, n);
    v_store_n(row->y + i, v, n);
}

static inline __attribute__((always_inline)) void epilogue_as(const Row *row, int64_t n,
                                                              SpActivation act)
{
    int64_t i = 0;
    for (; i + SP_VL <= n; i += SP_VL)
        epilogue_at(row, act, i, SP_VL);
    if (i < n)
        epilogue_at(row, act, i, n - i);
}

void sp_cpu_epilogue(const float *x, int64_t n, const float *b, SpActivation act, const float *gain,
                     const float *residual, float *y)
{
    const Row row = {x, b, gain, residual, y};
    if (act == SP_GELU)
        epilogue_as(&row, n, SP_GELU);
    else if (act == SP_GELU_TANH)
        epilogue_as(&row, n, SP_GELU_TANH);
    else if (act == SP_RELU)
        epilogue_as(&row, n, SP_RELU);
    else if (act == SP_SILU)
        epilogue_as(&row, n, SP_SILU);
    else
        epilogue_as(&row, n, SP_IDENTITY);
}

static void load(const void *of, int64_t row, int64_t first, int64_t count, float *to)
{
    const SpLinear *a = of;
    memcpy(to, a->x + row * a->ldx + first, (size_t)count * sizeof *to);
}

static void finish(const void *of, int64_t row, int64_t out, int64_t n, float *sums)
{
    const SpLinear *a = of;
    sp_cpu_epilogue(sums, n, a->b ? a->b + out : NULL, a->act, a->gain ? a->gain + out : NULL,
                    a->residual ? a->residual + row * a->ldr + out : NULL,
                    a->y + row * a->ldy + out);
}

void SP_FN(sp_cpu_linear)(SpDevice *device, const SpLinear *a)
{
    sp_product(device, &(SpProduct){a->rows, a->w, a, load, finish});
}
