#include <string.h>

#include "base/half.h"
#include "base/minmax.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
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

/* `count` weights of a float dtype from element `begin` on, as float32. */
static void widen(const SpTensor *w, int64_t begin, int64_t count, float *out)
{
    if (w->dtype == SP_F32) {
        memcpy(out, (const float *)w->data + begin, (size_t)count * sizeof *out);
        return;
    }
    const uint16_t *half = (const uint16_t *)w->data + begin;
    if (w->dtype == SP_BF16)
        for (int64_t i = 0; i < count; i++)
            out[i] = sp_bf16_to_f32(half[i]);
    else
        for (int64_t i = 0; i < count; i++)
            out[i] = sp_f16_to_f32(half[i]);
}

enum {
    MAX_ROWS = 3 * SP_ROW_TILE, /* of a unit of work */
    SMALL_PRODUCT = 1 << 21     /* below it OpenBLAS uses other kernels, which round differently */
};

/* How rows are cut into units of work. */
typedef struct Split {
    int64_t rows, tiles; /* the last tile takes what is left */
} Split;

/* A product reorders its weights once, so more rows per unit are better, as long as every thread
 * has some units. Rows come out the same in any cut at multiples of SP_ROW_TILE, unless a product
 * becomes small. */
static Split split_rows(int64_t rows, int64_t in, int64_t outs, int64_t tile_outs, int threads)
{
    const int64_t last = outs % tile_outs, narrow = last ? last : sp_min(outs, tile_outs);
    const int64_t out_tiles = (outs + tile_outs - 1) / tile_outs;
    Split split = {.rows = SP_ROW_TILE};
    if (SP_ROW_TILE * narrow * in >= SMALL_PRODUCT &&
        rows / (2 * SP_ROW_TILE) * out_tiles >= 2 * threads)
        split.rows = 2 * SP_ROW_TILE;
    split.tiles = rows / split.rows;
    const int64_t left = rows - split.tiles * split.rows;
    const bool joins = left < SP_ROW_TILE && left * narrow * in >= SMALL_PRODUCT;
    split.tiles += split.tiles == 0 || (left && !joins);
    return split;
}

void SP_FN(sp_cpu_linear)(SpDevice *device, const SpLinear *a)
{
    enum { TILE_FLOATS = MAX_ROWS * SP_TILE_OUTS };
    const int64_t outs = a->w.dim[0], in = a->w.dim[1];
    const bool wider = a->w.dtype != SP_F32;
    /* Weights that are converted fill the rest of the workspace. */
    int64_t tile_outs = SP_TILE_OUTS;
    while (wider && tile_outs > 16 && tile_outs * in > SP_WORK_FLOATS - TILE_FLOATS)
        tile_outs /= 2;
    const int64_t out_tiles = (outs + tile_outs - 1) / tile_outs;
    const Split split = split_rows(a->rows, in, outs, tile_outs, device->threads);
#pragma omp parallel for schedule(dynamic) num_threads(device->threads)
    for (int64_t unit = 0; unit < out_tiles * split.tiles; unit++) {
        const int64_t row = unit / out_tiles * split.rows, out = unit % out_tiles * tile_outs;
        const int64_t m = unit / out_tiles == split.tiles - 1 ? a->rows - row : split.rows;
        const int64_t n = sp_min(outs - out, tile_outs);
        float *tile = sp_cpu_work(device), *wide = tile + TILE_FLOATS;
        const float *w = (const float *)a->w.data + out * in;
        if (wider) {
            widen(&a->w, out * in, n * in, wide);
            w = wide;
        }
        sp_gemm_nt(m, n, in, 1, a->x + row * a->ldx, a->ldx, w, in, 0, tile, n);
        for (int64_t r = 0; r < m; r++)
            sp_cpu_epilogue(tile + r * n, n, a->b ? a->b + out : NULL, a->act,
                            a->gain ? a->gain + out : NULL,
                            a->residual ? a->residual + (row + r) * a->ldr + out : NULL,
                            a->y + (row + r) * a->ldy + out);
    }
}
