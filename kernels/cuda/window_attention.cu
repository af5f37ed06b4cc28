/* Attention in windows: the tiles of tiled.cuh over a window's tokens, with the position
 * terms of a tile's queries by key row and key column in shared memory. */
#include "tiled.cuh"

struct Windows {
    SpWindowAttention a;

    struct Unit {
        int64_t y, x, head; /* the window's first token, the head's first element */
    };

    __device__ Unit unit(int64_t which) const
    {
        int64_t head, column;
        const int64_t window = sp_divide(which, a.heads, &head);
        const int64_t row = sp_divide(window, (a.w + a.side - 1) / a.side, &column);
        return Unit{row * a.side, column * a.side, head * a.head};
    }

    /* Of a window's token, or of the padding. */
    __device__ const float *row(const Unit &u, int part, int64_t i) const
    {
        int64_t column;
        const int64_t y = u.y + sp_divide(i, a.side, &column), x = u.x + column;
        return (y < a.h && x < a.w ? a.qkv + (y * a.w + x) * 3 * a.heads * a.head : a.padding) +
               part * a.heads * a.head + u.head;
    }

    __device__ float *result(const Unit &u, int64_t i) const
    {
        int64_t column;
        const int64_t y = u.y + sp_divide(i, a.side, &column), x = u.x + column;
        return y < a.h && x < a.w ? a.y + (y * a.w + x) * a.y_row + u.head : nullptr;
    }

    /* terms[r] = [by key row | by key column]. */
    __device__ void fill_bias(const Unit &, int64_t first, int count, const float *q, int pitch,
                              float *terms) const
    {
        const int side = (int)a.side;
        for (int at = (int)threadIdx.x; at < count * 2 * side; at += SP_BLOCK) {
            const int r = at / (2 * side), k = at % side, by_row = at % (2 * side) < side;
            const int i = (int)first + r, place = by_row ? i / side : i % side;
            const float *table =
                (by_row ? a.rel_pos_h : a.rel_pos_w) + (int64_t)(place - k + side - 1) * a.head;
            float sum = 0;
            for (int e = 0; e < a.head; e++)
                sum += q[r * pitch + e] * table[e];
            terms[at] = sum;
        }
    }

    __device__ float bias(const float *terms, int r, int64_t j) const
    {
        const int side = (int)a.side, key = (int)j;
        return terms[r * 2 * side + key / side] + terms[r * 2 * side + side + key % side];
    }
};

/* y may be qkv: a unit writes where only its own queries are read. Keys and values are not. */
extern "C" void sp_cuda_window_attention(SpDevice *device, const SpWindowAttention *a)
{
    SpCuda *cuda = sp_cuda(device);
    const Windows layout = {*a};
    const int64_t windows = ((a->h + a->side - 1) / a->side) * ((a->w + a->side - 1) / a->side);
    const int64_t tokens = a->side * a->side;
    const Tiling t = {windows * a->heads, tokens, tokens, a->head, a->scale, 2 * a->side};
    if (a->head > 128 || a->side > 64) /* the terms of 32 queries would not fit */
        run_tiled<16, 1>(cuda, "window_attention", t, layout);
    else if (a->head <= 32)
        run_tiled<2, 2>(cuda, "window_attention", t, layout);
    else if (a->head <= 64)
        run_tiled<4, 2>(cuda, "window_attention", t, layout);
    else if (a->head <= 80)
        run_tiled<5, 2>(cuda, "window_attention", t, layout);
    else
        run_tiled<8, 2>(cuda, "window_attention", t, layout);
}
