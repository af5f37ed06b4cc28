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

/* The places of a row. */
typedef struct Row {
    const float *x, *b, *gain, *residual;
    float *y;
} Row;

/* `n` <= SP_VL elements of a row from the i-th on. */
static inline __attribute__((always_inline)) void epilogue_at(Row row, SpActivation act, int64_t i,
                                                              int64_t n)
{
    vf v = v_load_n(row.x + i, n);
    if (row.b)
        v += v_load_n(row.b + i, n);
    v = activate(v, act);
    if (row.gain)
        v *= v_load_n(row.gain + i, n);
    if (row.residual)
        v += v_load_n(row.residual + i, n);
    v_store_n(row.y + i, v, n);
}

static inline __attribute__((always_inline)) void epilogue_as(const SpEpilogue *a, SpActivation act)
{
    const SpEpilogue e = *a;
    Row row = {e.x, e.b, e.gain, e.residual, e.y};
    for (int64_t r = 0; r < e.rows; r++) {
        int64_t i = 0;
        for (; i + SP_VL <= e.n; i += SP_VL)
            epilogue_at(row, act, i, SP_VL);
        if (i < e.n)
            epilogue_at(row, act, i, e.n - i);
        row.x += e.ldx;
        row.y += e.ldy;
        row.residual = row.residual ? row.residual + e.ldr : NULL;
    }
}

void sp_cpu_epilogue(const SpEpilogue *a)
{
    if (a->act == SP_GELU)
        epilogue_as(a, SP_GELU);
    else if (a->act == SP_GELU_TANH)
        epilogue_as(a, SP_GELU_TANH);
    else if (a->act == SP_RELU)
        epilogue_as(a, SP_RELU);
    else if (a->act == SP_SILU)
        epilogue_as(a, SP_SILU);
    else
        epilogue_as(a, SP_IDENTITY);
}

static void load(const void *of, int64_t row, int64_t rows, int64_t first, int64_t count, float *to)
{
    const SpLinear *a = of;
    for (int64_t r = 0; r < rows; r++)
        v_copy(to + r * SP_LEAD, a->x + (row + r) * a->ldx + first, count);
}

static void finish(const void *of, int64_t row, int64_t rows, int64_t out, int64_t n,
                   const float *sums, int64_t lead)
{
    const SpLinear *a = of;
    sp_cpu_epilogue(&(SpEpilogue){rows, n, sums, lead, a->b ? a->b + out : NULL, a->act,
                                  a->gain ? a->gain + out : NULL,
                                  a->residual ? a->residual + row * a->ldr + out : NULL, a->ldr,
                                  a->y + row * a->ldy + out, a->ldy});
}

void SP_FN(sp_cpu_linear)(SpDevice *device, const SpLinear *a)
{
    sp_product(device, &(SpProduct){a->rows, a->w, a, load, NULL, finish});
}
