/*
 * Attention on tensor cores (mma.sync, 7.5 and up), after Dao, "FlashAttention-2", 2023: operands
 * bf16 or f16, scores, softmax and sums float32. Four warps share the keys and values of a tile,
 * which two buffers hold in turns, so that the next tile's copy runs behind this one's products;
 * each warp has 16 TILES queries, whose operands and sums stay in its registers.
 *
 * Rows of a tile lie in shared memory with their 16-byte pieces permuted by the row's last three
 * bits, so that the eight rows of a matrix load fall into different banks.
 */
#include "kernel.cuh"

enum { WARPS = 4, THREADS = WARPS * SP_WARP, KEYS = 64 };

/* Byte offset of piece `piece` of row `row`. */
template <int HEAD> static __device__ inline int place(int row, int piece)
{
    return row * HEAD * 2 + (piece ^ (row & 7)) * 16;
}

/* Elements 8 piece .. of a float32 row as halves, zero beyond head. */
template <typename Half>
static __device__ inline uint4 convert_piece(const float *row, int piece, int head)
{
    float v[8];
    SP_UNROLL
    for (int i = 0; i < 8; i++)
        v[i] = 8 * piece + i < head ? row[8 * piece + i] : 0.0f;
    return make_uint4(sp_pack(Half(), v[0], v[1]), sp_pack(Half(), v[2], v[3]),
                      sp_pack(Half(), v[4], v[5]), sp_pack(Half(), v[6], v[7]));
}

/* One array of the unit's rows, `row` elements apart. */
struct Rows {
    const float *f32;
    const uint16_t *half; /* in the kernel's format, or NULL */
    int64_t row, count;
};

/* Rows first .. first + ROWS to `shared`, zero beyond the last. */
template <typename Half, int HEAD, int ROWS, bool COPIED>
static __device__ inline void load_tile(const Rows &a, int64_t first, int head, char *shared)
{
    for (int i = (int)threadIdx.x; i < ROWS * (HEAD / 8); i += THREADS) {
        const int r = i / (HEAD / 8), piece = i % (HEAD / 8);
        char *to = shared + place<HEAD>(r, piece);
        if (first + r >= a.count)
            *reinterpret_cast<uint4 *>(to) = make_uint4(0, 0, 0, 0);
        else if (COPIED)
            sp_copy16(to, a.half + (first + r) * a.row + 8 * piece);
        else
            *reinterpret_cast<uint4 *>(to) =
                convert_piece<Half>(a.f32 + (first + r) * a.row, piece, head);
    }
}

/* Element by element: heads of operands need not fill the tile nor begin at 16 bytes. */
static __device__ inline uint4 operand_piece(const uint16_t *row, int piece, int head)
{
    uint32_t word[4];
    SP_UNROLL
    for (int i = 0; i < 4; i++) {
        const int at = 8 * piece + 2 * i;
        word[i] = (at < head ? row[at] : 0u) | (at + 1 < head ? (uint32_t)row[at + 1] : 0u) << 16;
    }
    return make_uint4(word[0], word[1], word[2], word[3]);
}

template <typename Half, int HEAD, int ROWS, bool OPERAND>
static __device__ inline void load_queries_tile(const Rows &a, int64_t first, int head,
                                                char *shared)
{
    if constexpr (OPERAND) {
        for (int i = (int)threadIdx.x; i < ROWS * (HEAD / 8); i += THREADS) {
            const int r = i / (HEAD / 8), piece = i % (HEAD / 8);
            *reinterpret_cast<uint4 *>(shared + place<HEAD>(r, piece)) =
                first + r < a.count ? operand_piece(a.half + (first + r) * a.row, piece, head)
                                    : make_uint4(0, 0, 0, 0);
        }
    } else {
        load_tile<Half, HEAD, ROWS, false>(a, first, head, shared);
    }
}

/* What a warp keeps: TILES times 16 queries. */
template <int HEAD, int TILES> struct Warp {
    uint32_t q[TILES][HEAD / 16][4];
    float acc[TILES][HEAD / 8][4];
    float row_max[TILES][2], row_sum[TILES][2]; /* of rows lane / 4 and lane / 4 + 8 */
};

template <typename Half, int HEAD, int TILES>
static __device__ inline void q_k(const Warp<HEAD, TILES> &w, const char *k,
                                  float s[TILES][KEYS / 8][4])
{
    const int lane = (int)threadIdx.x % SP_WARP, matrix = lane / 8, row = lane % 8;
    SP_UNROLL
    for (int n = 0; n < KEYS / 16; n++) {
        SP_UNROLL
        for (int m = 0; m < TILES; m++)
            SP_UNROLL
        for (int i = 0; i < 4; i++)
            s[m][2 * n][i] = s[m][2 * n + 1][i] = 0;
        SP_UNROLL
        for (int d = 0; d < HEAD / 16; d++) {
            uint32_t b[4];
            sp_load_matrices(b, k + place<HEAD>(16 * n + matrix / 2 * 8 + row, 2 * d + matrix % 2));
            SP_UNROLL
            for (int m = 0; m < TILES; m++) {
                sp_mma(Half(), s[m][2 * n], w.q[m][d], b);
                sp_mma(Half(), s[m][2 * n + 1], w.q[m][d], b + 2);
            }
        }
    }
}

/* No weight for keys from `keys` on, which do not exist. */
template <int TILES> static __device__ inline void mask_keys(float s[TILES][KEYS / 8][4], int keys)
{
    const int column = (int)threadIdx.x % 4 * 2;
    SP_UNROLL
    for (int m = 0; m < TILES; m++)
        SP_UNROLL
    for (int n = 0; n < KEYS / 8; n++)
        SP_UNROLL
    for (int i = 0; i < 4; i++)
        if (8 * n + column + i % 2 >= keys)
            s[m][n][i] = -INFINITY;
}

/* Scores to exponentials, of base 2; what has been summed so far is scaled down to the new maxima.
 */
template <int HEAD, int TILES>
static __device__ inline void online_softmax(Warp<HEAD, TILES> &w, float s[TILES][KEYS / 8][4],
                                             float scale)
{
    SP_UNROLL
    for (int m = 0; m < TILES; m++)
        SP_UNROLL
    for (int half = 0; half < 2; half++) {
        float largest = w.row_max[m][half], total = 0;
        SP_UNROLL
        for (int n = 0; n < KEYS / 8; n++)
            SP_UNROLL
        for (int i = 2 * half; i < 2 * half + 2; i++)
            largest = fmaxf(largest, s[m][n][i] * scale);
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
        const float shrink = sp_exp2(w.row_max[m][half] - largest);
        SP_UNROLL
        for (int n = 0; n < KEYS / 8; n++)
            SP_UNROLL
        for (int i = 2 * half; i < 2 * half + 2; i++) {
            s[m][n][i] = sp_exp2(s[m][n][i] * scale - largest);
            total += s[m][n][i];
        }
        w.row_max[m][half] = largest;
        w.row_sum[m][half] = w.row_sum[m][half] * shrink + total;
        SP_UNROLL
        for (int n = 0; n < HEAD / 8; n++)
            SP_UNROLL
        for (int i = 2 * half; i < 2 * half + 2; i++)
            w.acc[m][n][i] *= shrink;
    }
}

template <typename Half, int HEAD, int TILES>
static __device__ inline void p_v(Warp<HEAD, TILES> &w, const float s[TILES][KEYS / 8][4],
                                  const char *v)
{
    const int lane = (int)threadIdx.x % SP_WARP, matrix = lane / 8, row = lane % 8;
    SP_UNROLL
    for (int k = 0; k < KEYS / 16; k++) {
        uint32_t p[TILES][4];
        SP_UNROLL
        for (int m = 0; m < TILES; m++)
            SP_UNROLL
        for (int i = 0; i < 4; i++)
            p[m][i] =
                sp_pack(Half(), s[m][2 * k + i / 2][i % 2 * 2], s[m][2 * k + i / 2][i % 2 * 2 + 1]);
        SP_UNROLL
        for (int n = 0; n < HEAD / 16; n++) {
            uint32_t b[4];
            sp_load_matrices_transposed(
                b, v + place<HEAD>(16 * k + matrix % 2 * 8 + row, 2 * n + matrix / 2));
            SP_UNROLL
            for (int m = 0; m < TILES; m++) {
                sp_mma(Half(), w.acc[m][2 * n], p[m], b);
                sp_mma(Half(), w.acc[m][2 * n + 1], p[m], b + 2);
            }
        }
    }
}

template <typename Half, int HEAD, int TILES>
static __device__ inline void load_queries(Warp<HEAD, TILES> &w, const char *q)
{
    const int lane = (int)threadIdx.x % SP_WARP, matrix = lane / 8, row = lane % 8;
    const int first = (int)threadIdx.x / SP_WARP * 16 * TILES;
    SP_UNROLL
    for (int m = 0; m < TILES; m++) {
        SP_UNROLL
        for (int d = 0; d < HEAD / 16; d++)
            sp_load_matrices(w.q[m][d], q + place<HEAD>(first + 16 * m + matrix % 2 * 8 + row,
                                                        2 * d + matrix / 2));
        SP_UNROLL
        for (int n = 0; n < HEAD / 8; n++)
            SP_UNROLL
        for (int i = 0; i < 4; i++)
            w.acc[m][n][i] = 0;
        SP_UNROLL
        for (int half = 0; half < 2; half++) {
            w.row_max[m][half] = -INFINITY;
            w.row_sum[m][half] = 0;
        }
    }
}

template <typename Half, bool OPERAND>
static __device__ inline void store(void *y, int64_t i, float value)
{
    if constexpr (OPERAND)
        static_cast<uint16_t *>(y)[i] = (uint16_t)sp_pack(Half(), value, 0);
    else
        static_cast<float *>(y)[i] = value;
}

/* y: where the unit's rows begin, y_row elements apart; OPERAND: halves. */
template <typename Half, int HEAD, int TILES, bool OPERAND>
static __device__ inline void store_result(const Warp<HEAD, TILES> &w, const SpAttention &a,
                                           int64_t first, void *y, int64_t y_row)
{
    const int lane = (int)threadIdx.x % SP_WARP;
    first += (int)threadIdx.x / SP_WARP * 16 * TILES + lane / 4;
    SP_UNROLL
    for (int m = 0; m < TILES; m++)
        SP_UNROLL
    for (int half = 0; half < 2; half++) {
        float row_sum = w.row_sum[m][half];
        row_sum += __shfl_xor_sync(0xffffffffu, row_sum, 1);
        row_sum += __shfl_xor_sync(0xffffffffu, row_sum, 2);
        const int64_t i = first + 16 * m + 8 * half;
        if (i >= a.nq)
            continue;
        SP_UNROLL
        for (int n = 0; n < HEAD / 8; n++)
            SP_UNROLL
        for (int e = 0; e < 2; e++)
            if (8 * n + lane % 4 * 2 + e < a.head)
                store<Half, OPERAND>(y, i * y_row + 8 * n + lane % 4 * 2 + e,
                                     w.acc[m][n][2 * half + e] / row_sum);
    }
}

/* COPIED: k and v come from copies, or, where there are none, from the operands themselves. OPERAND:
 * q and y are operands. */
template <typename Half, int HEAD, int TILES, bool COPIED, bool OPERAND>
static __global__ void __launch_bounds__(THREADS)
    mma_kernel(SpAttention a, int64_t first_unit, int64_t tiles, const uint16_t *k_copy,
               const uint16_t *v_copy)
{
    enum { QUERIES = WARPS * 16 * TILES, BYTES = KEYS * HEAD * 2 };
    SP_SHARED(char, shared); /* k and v of one tile, k and v of the next */
    int64_t tile;
    const int64_t which = sp_divide(blockIdx.x, tiles, &tile);
    const SpHead h = sp_head(a, first_unit + which);
    const SpHalfHead o = sp_half_head(a, first_unit + which);
    const int head = (int)a.head;
    const int64_t copy = which * a.nk * HEAD;
    const bool direct = OPERAND && COPIED && !k_copy;
    const Rows q = {h.q, o.q, OPERAND ? 2 * a.q_row : a.q_row, a.nq};
    const Rows k = {h.k, COPIED && !direct ? k_copy + copy : o.k,
                    direct   ? 2 * a.k_row
                    : COPIED ? HEAD
                             : a.k_row,
                    a.nk};
    const Rows v = {h.v, COPIED && !direct ? v_copy + copy : o.v,
                    direct   ? 2 * a.v_row
                    : COPIED ? HEAD
                             : a.v_row,
                    a.nk};
    Warp<HEAD, TILES> w;
    load_tile<Half, HEAD, KEYS, COPIED>(k, 0, head, shared);
    load_tile<Half, HEAD, KEYS, COPIED>(v, 0, head, shared + BYTES);
    sp_copies_commit();
    load_queries_tile<Half, HEAD, QUERIES, OPERAND>(q, tile * QUERIES, head, shared + 2 * BYTES);
    __syncthreads();
    load_queries<Half>(w, shared + 2 * BYTES);
    const float scale = a.scale * 1.44269504088896341f;
    int now = 0;
    for (int64_t at = 0; at < a.nk; at += KEYS, now ^= 1) {
        const char *here = shared + now * 2 * BYTES;
        char *next = shared + (now ^ 1) * 2 * BYTES;
        float s[TILES][KEYS / 8][4];
        sp_copies_done<0>();
        __syncthreads();
        if (at + KEYS < a.nk) {
            load_tile<Half, HEAD, KEYS, COPIED>(k, at + KEYS, head, next);
            load_tile<Half, HEAD, KEYS, COPIED>(v, at + KEYS, head, next + BYTES);
            sp_copies_commit();
        }
        q_k<Half>(w, here, s);
        if (a.nk - at < KEYS)
            mask_keys<TILES>(s, (int)(a.nk - at));
        online_softmax(w, s, scale);
        p_v<Half>(w, s, here + BYTES);
    }
    if constexpr (OPERAND)
        store_result<Half, HEAD, TILES, true>(w, a, tile * QUERIES, o.y, 2 * a.y_row);
    else
        store_result<Half, HEAD, TILES, false>(w, a, tile * QUERIES, h.y, a.y_row);
}

template <typename Half, int HEAD, int TILES, bool COPIED, bool OPERAND>
static void run(SpCuda *cuda, const SpAttention *a, int64_t first, int64_t count, const void *k,
                const void *v)
{
    enum { QUERIES = WARPS * 16 * TILES };
    const int64_t tiles = (a->nq + QUERIES - 1) / QUERIES;
    const size_t shared = 4 * KEYS * HEAD * 2;
    auto *kernel = mma_kernel<Half, HEAD, TILES, COPIED, OPERAND>;
    sp_allow_shared(kernel, shared);
    SP_LAUNCH(cuda, "attention_mma", kernel, count * tiles, THREADS, shared, *a, first, tiles,
              static_cast<const uint16_t *>(k), static_cast<const uint16_t *>(v));
}

/* Operands are bf16 alone (kernels.h). */
template <typename Half, int HEAD, int TILES, bool OPERANDS>
static void run_as(SpCuda *cuda, const SpAttention *a, int64_t first, int64_t count, const void *k,
                   const void *v)
{
    if constexpr (OPERANDS)
        if (sp_cuda_format(cuda, a->operand) != SP_F32) {
            run<Half, HEAD, TILES, true, true>(cuda, a, first, count, k, v);
            return;
        }
    if (k)
        run<Half, HEAD, TILES, true, false>(cuda, a, first, count, k, v);
    else
        run<Half, HEAD, TILES, false, false>(cuda, a, first, count, k, v);
}

extern "C" void sp_cuda_attention_mma(SpCuda *cuda, const SpAttention *a, int64_t first,
                                      int64_t count, const void *k, const void *v)
{
    if (cuda->half == SP_BF16 && a->head <= 64)
        run_as<Bf16, 64, 2, true>(cuda, a, first, count, k, v);
    else if (cuda->half == SP_BF16)
        run_as<Bf16, 128, 1, true>(cuda, a, first, count, k, v);
    else if (a->head <= 64)
        run_as<F16, 64, 2, false>(cuda, a, first, count, k, v);
    else
        run_as<F16, 128, 1, false>(cuda, a, first, count, k, v);
}
