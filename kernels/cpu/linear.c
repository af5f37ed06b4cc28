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

/* `n` <= SP_VL elements of row r from the i-th on. */
static inline __attribute__((always_inline)) void epilogue_at(const SpEpilogue *a, SpActivation act,
                                                              int64_t r, int64_t i, int64_t n)
{
    vf v = v_load_n(a->x + r * a->ldx + i, n);
    if (a->b)
        v += v_load_n(a->b + i, n);
    v = activate(v, act);
    if (a->gain)
        v *= v_load_n(a->gain + i, n);
    if (a->residual)
        v += v_load_n(a->residual + r * a->ldr + i, n);
    v_store_n(a->y + r * a->ldy + i, v, n);
}

static inline __attribute__((always_inline)) void epilogue_as(const SpEpilogue *a, SpActivation act)
{
    for (int64_t r = 0; r < a->rows; r++) {
        int64_t i = 0;
        for (; i + SP_VL <= a->n; i += SP_VL)
            epilogue_at(a, act, r, i, SP_VL);
        if (i < a->n)
            epilogue_at(a, act, r, i, a->n - i);
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
    sp_product(device, &(SpProduct){a->rows, a->w, a, load, finish});
}
