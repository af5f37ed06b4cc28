#include "kernels/cpu/product.h"

#include "base/asan.h"
#include "base/half.h"
#include "base/minmax.h"

enum { SQUARE = 4 };
typedef float Quad __attribute__((vector_size(SQUARE * 4), aligned(4), may_alias));

static inline Quad load_quad(const float *p)
{
    return *(const Quad *)p;
}

static inline void store_quad(float *p, Quad q)
{
    *(Quad *)p = q;
}

/* SQUARE x SQUARE elements, transposed. */
V_INLINE void transpose_square(const float *w, int64_t ldw, float *packed)
{
    const Quad a = load_quad(w), b = load_quad(w + ldw), c = load_quad(w + 2 * ldw),
               d = load_quad(w + 3 * ldw);
    const Quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
               cd = __builtin_shufflevector(c, d, 0, 4, 1, 5),
               ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7),
               cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store_quad(packed, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
    store_quad(packed + SP_PANEL, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
    store_quad(packed + 2 * SP_PANEL, __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5));
    store_quad(packed + 3 * SP_PANEL, __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7));
}

/* One panel of `n` columns: a stretch of each at a time, so that what is written stays in the
 * cache. */
static void pack_panel(const float *w, int64_t ldw, int64_t n, int64_t depth, float *packed)
{
    enum { STRETCH = 64 };
    const int64_t columns = n / SQUARE * SQUARE, whole = depth / SQUARE * SQUARE;
    for (int64_t first = 0; first < whole; first += STRETCH)
        for (int64_t j = 0; j < columns; j += SQUARE)
            for (int64_t i = first; i < sp_min(first + STRETCH, whole); i += SQUARE)
                transpose_square(w + j * ldw + i, ldw, packed + i * SP_PANEL + j);
    for (int64_t i = whole; i < depth; i++)
        for (int64_t j = 0; j < columns; j++)
            packed[i * SP_PANEL + j] = w[j * ldw + i];
    for (int64_t i = 0; i < depth; i++)
        for (int64_t j = columns; j < SP_PANEL; j++)
            packed[i * SP_PANEL + j] = j < n ? w[j * ldw + i] : 0;
}

void sp_pack_transposed(const float *w, int64_t ldw, int64_t columns, int64_t depth, float *packed)
{
    for (int64_t first = 0; first < columns; first += SP_PANEL, packed += depth * SP_PANEL)
        pack_panel(w + first * ldw, ldw, sp_min(SP_PANEL, columns - first), depth, packed);
}

void sp_pack_rows(const float *w, int64_t ldw, int64_t columns, int64_t depth, float *packed)
{
    for (int64_t first = 0; first < columns; first += SP_PANEL) {
        const int64_t n = sp_min(SP_VL, columns - first), m = columns - first - n;
        for (int64_t i = 0; i < depth; i++, packed += SP_PANEL) {
            const float *row = w + i * ldw + first;
            v_store(packed, v_load_n(row, n));
            if (m > 0)
                v_store(packed + SP_VL, v_load_n(row + n, sp_min(SP_VL, m)));
        }
    }
}

/* What tiles read and write is checked before, a block at a time. */
SP_NO_ASAN_BEGIN

/* `rows` x `vectors` sums in registers, of rows lda apart. */
V_INLINE void multiply_tile(const SpMultiply *m, const float *a, int64_t lda, const float *b,
                            float *c, int rows, int vectors)
{
    vf sum[SP_TILE_ROWS][2];
    SP_UNROLL(16)
    for (int r = 0; r < rows; r++) {
        SP_UNROLL(2)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = m->add ? v_load(c + r * m->ldc + v * SP_VL) : (vf){0};
    }
    const int64_t ldb = m->ldb ? m->ldb : SP_PANEL;
    for (int64_t i = 0; i < m->depth; i++, a++, b += ldb) {
        vf x[2];
        SP_UNROLL(2)
        for (int v = 0; v < vectors; v++)
            x[v] = v_load(b + v * SP_VL);
        SP_UNROLL(16)
        for (int r = 0; r < rows; r++) {
            const vf y = v_set(a[r * lda]);
            SP_UNROLL(2)
            for (int v = 0; v < vectors; v++)
                sum[r][v] = v_fma(y, x[v], sum[r][v]);
        }
    }
    SP_UNROLL(16)
    for (int r = 0; r < rows; r++) {
        SP_UNROLL(2)
        for (int v = 0; v < vectors; v++)
            v_store(c + r * m->ldc + v * SP_VL, sum[r][v]);
    }
}

/* Rows of a lie SP_LEAD apart, or as said. */
typedef void Tile(const SpMultiply *m, const float *a, const float *b, float *c);
typedef void TileOf(const SpMultiply *m, const float *a, int64_t lda, const float *b, float *c);

#define TILE(rows)                                                                                 \
    static void wide_##rows(const SpMultiply *m, const float *a, const float *b, float *c)         \
    {                                                                                              \
        multiply_tile(m, a, SP_LEAD, b, c, rows, 2);                                               \
    }                                                                                              \
    static void narrow_##rows(const SpMultiply *m, const float *a, const float *b, float *c)       \
    {                                                                                              \
        multiply_tile(m, a, SP_LEAD, b, c, rows, 1);                                               \
    }                                                                                              \
    static void wide_of_##rows(const SpMultiply *m, const float *a, int64_t lda, const float *b,   \
                               float *c)                                                           \
    {                                                                                              \
        multiply_tile(m, a, lda, b, c, rows, 2);                                                   \
    }                                                                                              \
    static void narrow_of_##rows(const SpMultiply *m, const float *a, int64_t lda, const float *b, \
                                 float *c)                                                         \
    {                                                                                              \
        multiply_tile(m, a, lda, b, c, rows, 1);                                                   \
    }
#define ENTRY(rows)    {narrow_##rows, wide_##rows},
#define ENTRY_OF(rows) {narrow_of_##rows, wide_of_##rows},
#if defined(__AVX512F__)
#define EACH_TILE(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif defined(__AVX2__)
#define EACH_TILE(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define EACH_TILE(X) X(1) X(2) X(3) X(4)
#endif
EACH_TILE(TILE)
static Tile *const tiles[SP_TILE_ROWS][2] = {EACH_TILE(ENTRY)};
static TileOf *const tiles_of[SP_TILE_ROWS][2] = {EACH_TILE(ENTRY_OF)};

SP_NO_ASAN_END

/* As far as a tile writes. */
static inline int64_t in_vectors(int64_t columns)
{
    return (columns + SP_VL - 1) / SP_VL * SP_VL;
}

static void multiply(const SpMultiply *m, Tile *const table[SP_TILE_ROWS][2])
{
    const float *b = m->b;
    const int64_t step = m->ldb ? SP_PANEL : m->depth * SP_PANEL;
    sp_asan_check_rows(m->a, SP_LEAD, m->rows, m->depth);
    sp_asan_check_rows(m->b, m->ldb, m->ldb ? m->depth : 0, m->columns);
    sp_asan_check(m->b, m->ldb ? 0 : m->depth * sp_padded(m->columns));
    sp_asan_check_rows(m->c, m->ldc, m->rows, in_vectors(m->columns));
    for (int64_t first = 0; first < m->columns; first += SP_PANEL, b += step) {
        const bool wide = m->columns - first > SP_VL;
        for (int64_t row = 0; row < m->rows; row += SP_TILE_ROWS)
            table[sp_min(SP_TILE_ROWS, m->rows - row) - 1][wide](m, m->a + row * SP_LEAD, b,
                                                                 m->c + row * m->ldc + first);
    }
}

void sp_multiply(const SpMultiply *m)
{
    multiply(m, tiles);
}

/* Operands in bf16: a and b are rounded where they lie, sums are float32 as before. */
#if defined(__AVX512BF16__)

/* Rows of a become pairs of inputs, 32 bits each; an odd one has zero beside it. */
static void round_rows(float *a, int64_t rows, int64_t depth)
{
    for (int64_t r = 0; r < rows; r++, a += SP_LEAD)
        for (int64_t i = 0; i < depth; i += 2 * SP_VL) {
            const int64_t n = sp_min(SP_VL, depth - i), m = sp_min(SP_VL, depth - i - n);
            const __m512 low = (__m512)v_load_n(a + i, n), high = (__m512)v_load_n(a + i + n, m);
            v_store(a + i / 2, (vf)_mm512_cvtne2ps_pbh(high, low));
        }
}

/* Each two rows of a panel of b become one of pairs. */
static void round_panels(float *b, int64_t columns, int64_t depth)
{
    for (int64_t first = 0; first < columns; first += SP_PANEL, b += depth * SP_PANEL)
        for (int64_t i = 0; i < depth; i += 2)
            for (int64_t at = 0; at < SP_PANEL; at += SP_VL) {
                const float *from = b + i * SP_PANEL + at;
                const vf low = v_load(from),
                         high = i + 1 < depth ? v_load(from + SP_PANEL) : (vf){0};
                const __m512i l = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)low));
                const __m512i h = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)high));
                v_store(b + i / 2 * SP_PANEL + at,
                        (vf)_mm512_or_si512(l, _mm512_slli_epi32(h, 16)));
            }
}

SP_NO_ASAN_BEGIN

V_INLINE void multiply_pairs(const SpMultiply *m, const float *a, const float *b, float *c,
                             int rows, int vectors)
{
    __m512 sum[SP_TILE_ROWS][2];
    SP_UNROLL(16)
    for (int r = 0; r < rows; r++) {
        SP_UNROLL(2)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = m->add ? (__m512)v_load(c + r * m->ldc + v * SP_VL) : _mm512_setzero_ps();
    }
    for (int64_t i = 0; i < m->depth; i += 2, a++, b += SP_PANEL) {
        __m512bh x[2];
        SP_UNROLL(2)
        for (int v = 0; v < vectors; v++)
            x[v] = (__m512bh)v_load(b + v * SP_VL);
        SP_UNROLL(16)
        for (int r = 0; r < rows; r++) {
            const __m512bh y = (__m512bh)_mm512_set1_ps(a[r * SP_LEAD]);
            SP_UNROLL(2)
            for (int v = 0; v < vectors; v++)
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], y, x[v]);
        }
    }
    SP_UNROLL(16)
    for (int r = 0; r < rows; r++) {
        SP_UNROLL(2)
        for (int v = 0; v < vectors; v++)
            v_store(c + r * m->ldc + v * SP_VL, (vf)sum[r][v]);
    }
}

#define PAIRS(rows)                                                                                \
    static void narrow_pairs_##rows(const SpMultiply *m, const float *a, const float *b, float *c) \
    {                                                                                              \
        multiply_pairs(m, a, b, c, rows, 1);                                                       \
    }                                                                                              \
    static void wide_pairs_##rows(const SpMultiply *m, const float *a, const float *b, float *c)   \
    {                                                                                              \
        multiply_pairs(m, a, b, c, rows, 2);                                                       \
    }
#define PAIRS_ENTRY(rows) {narrow_pairs_##rows, wide_pairs_##rows},
EACH_TILE(PAIRS)
static Tile *const tiles_rounded[SP_TILE_ROWS][2] = {EACH_TILE(PAIRS_ENTRY)};

SP_NO_ASAN_END

#else

/* They stay float32, rounded: the products are then exact, and only the order of sums differs. */
static void round_all(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = sp_bf16_to_f32(sp_f32_to_bf16(x[i]));
}

static void round_rows(float *a, int64_t rows, int64_t depth)
{
    for (int64_t r = 0; r < rows; r++)
        round_all(a + r * SP_LEAD, depth);
}

static void round_panels(float *b, int64_t columns, int64_t depth)
{
    round_all(b, sp_padded(columns) * depth);
}

#define tiles_rounded tiles

#endif

void sp_widen(const SpTensor *w, int64_t begin, int64_t count, float *out)
{
    const uint16_t *half = (const uint16_t *)w->data + begin;
    if (w->dtype == SP_BF16)
        for (int64_t i = 0; i < count; i++)
            out[i] = sp_bf16_to_f32(half[i]);
    else
        for (int64_t i = 0; i < count; i++)
            out[i] = sp_f16_to_f32(half[i]);
}

/* Part of a product: rows row .. row + rows, outputs out .. out + outs. */
typedef struct Unit {
    int64_t row, rows, out, outs;
    bool rounded; /* to bf16 */
} Unit;

enum { UNIT_OUTS = 1024, UNIT_ROWS = 768, UNIT_LEAD = UNIT_OUTS + 16 };

/* A thread's workspace. */
typedef struct Work {
    float *b;    /* [UNIT_OUTS, SP_DEPTH] packed */
    float *a;    /* [SP_GROUP_ROWS, SP_LEAD] */
    float *sums; /* [UNIT_ROWS, UNIT_LEAD] */
} Work;

/* Weights first .. first + depth of the unit's outputs. */
static void pack_weights(const SpProduct *p, const Unit *u, int64_t first, int64_t depth,
                         const Work *work)
{
    const int64_t in = p->w.dim[1];
    if (p->w.dtype == SP_F32) {
        sp_pack_transposed((const float *)p->w.data + u->out * in + first, in, u->outs, depth,
                           work->b);
        return;
    }
    for (int64_t out = 0; out < u->outs; out += SP_PANEL) {
        const int64_t n = sp_min(SP_PANEL, u->outs - out);
        for (int64_t i = 0; i < n; i++)
            sp_widen(&p->w, (u->out + out + i) * in + first, depth, work->a + i * SP_LEAD);
        sp_pack_transposed(work->a, SP_LEAD, n, depth, work->b + out * depth);
    }
}

enum { GROUP_TILES = SP_GROUP_ROWS / SP_TILE_ROWS };

/* Where each tile of a group's rows is: as it lies, or loaded (lda 0). */
static void take_rows(const SpProduct *p, int64_t row, int64_t rows, const Work *work,
                      SpRows where[GROUP_TILES])
{
    const int64_t in = p->w.dim[1];
    for (int64_t at = 0; at < rows; at += SP_TILE_ROWS, where++) {
        const int64_t n = sp_min(SP_TILE_ROWS, rows - at);
        if (p->lie(p->of, row + at, n, where))
            continue;
        *where = (SpRows){.a = work->a + at * SP_LEAD};
        p->load(p->of, row + at, n, 0, in, work->a + at * SP_LEAD);
    }
}

/* One tile of at most SP_TILE_ROWS rows and a panel b of columns. */
static inline void multiply_where(const SpMultiply *m, const SpRows *where, int64_t rows, bool wide,
                                  const float *b, float *c)
{
    if (!where->lda)
        tiles[rows - 1][wide](m, where->a, b, c);
    SpMultiply part = *m;
    part.depth = where->run;
    for (int64_t i = 0; i < where->runs; i++, b += where->run * SP_PANEL) {
        part.add = i > 0;
        tiles_of[rows - 1][wide](&part, where->a + i * where->apart, where->lda, b, c);
    }
}

/* What the tiles read of so many rows. */
static inline void check_where(const SpRows *where, int64_t rows, int64_t depth)
{
    sp_asan_check_rows(where->a, SP_LEAD, where->lda ? 0 : rows, depth);
    for (int64_t i = 0; i < where->runs; i++)
        sp_asan_check_rows(where->a + i * where->apart, where->lda, rows, where->run);
}

/* A unit whose rows need not all be loaded; all inputs are one block. */
static void compute_lying(const SpProduct *p, const Unit *u, const Work *work)
{
    SpRows where[GROUP_TILES];
    const SpMultiply m = {.depth = p->w.dim[1], .columns = u->outs, .ldc = UNIT_LEAD};
    pack_weights(p, u, 0, m.depth, work);
    sp_asan_check(work->b, m.depth * sp_padded(u->outs));
    for (int64_t row = 0; row < u->rows; row += SP_GROUP_ROWS) {
        const int64_t rows = sp_min(SP_GROUP_ROWS, u->rows - row);
        const float *b = work->b;
        take_rows(p, u->row + row, rows, work, where);
        for (int64_t at = 0; at < rows; at += SP_TILE_ROWS)
            check_where(where + at / SP_TILE_ROWS, sp_min(SP_TILE_ROWS, rows - at), m.depth);
        sp_asan_check_rows(work->sums, UNIT_LEAD, rows, in_vectors(u->outs));
        for (int64_t first = 0; first < u->outs; first += SP_PANEL, b += m.depth * SP_PANEL)
            for (int64_t at = 0; at < rows; at += SP_TILE_ROWS)
                multiply_where(&m, where + at / SP_TILE_ROWS, sp_min(SP_TILE_ROWS, rows - at),
                               u->outs - first > SP_VL, b, work->sums + at * UNIT_LEAD + first);
        p->finish(p->of, u->row + row, rows, u->out, u->outs, work->sums, UNIT_LEAD);
    }
}

static void compute_unit(const SpProduct *p, const Unit *u, const Work *work)
{
    const int64_t in = p->w.dim[1], depth = sp_block_depth(in);
    if (p->lie && depth == in && !u->rounded) {
        compute_lying(p, u, work);
        return;
    }
    for (int64_t first = 0; first < in; first += depth) {
        const int64_t count = sp_min(depth, in - first);
        const bool last = first + count == in;
        pack_weights(p, u, first, count, work);
        if (u->rounded)
            round_panels(work->b, u->outs, count);
        for (int64_t row = 0; row < u->rows; row += SP_GROUP_ROWS) {
            const int64_t rows = sp_min(SP_GROUP_ROWS, u->rows - row);
            float *sums = work->sums + (depth < in ? row * UNIT_LEAD : 0);
            p->load(p->of, u->row + row, rows, first, count, work->a);
            if (u->rounded)
                round_rows(work->a, rows, count);
            multiply(&(SpMultiply){work->a, rows, count, work->b, u->outs, first > 0, sums,
                                   UNIT_LEAD, 0},
                     u->rounded ? tiles_rounded : tiles); /* NOLINT(bugprone-branch-clone) */
            if (last)
                p->finish(p->of, u->row + row, rows, u->out, u->outs, sums, UNIT_LEAD);
        }
    }
}

/* Rows of each unit: as many as fit, as packing the weights is then the smallest share of the work,
 * but several units a thread. */
static int64_t rows_per_unit(int64_t rows, int64_t out_units, int threads)
{
    enum { UNITS = 2, LEAST = 2 * SP_GROUP_ROWS };
    const int64_t cuts = threads > 1 ? (UNITS * threads + out_units - 1) / out_units : 1;
    const int64_t even = (rows + cuts - 1) / cuts;
    const int64_t tiled = (even + SP_TILE_ROWS - 1) / SP_TILE_ROWS * SP_TILE_ROWS;
    return sp_min(UNIT_ROWS, sp_max(LEAST, tiled));
}

void sp_product(SpDevice *device, const SpProduct *p)
{
    const int64_t outs = p->w.dim[0];
    const int threads = sp_cpu_threads(device, p->rows * outs * p->w.dim[1]);
    const int64_t across = (outs + UNIT_OUTS - 1) / UNIT_OUTS;
    const int64_t tall = rows_per_unit(p->rows, across, threads);
    const int64_t units = (p->rows + tall - 1) / tall * across;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < units; i++) {
        const int64_t row = i / across * tall, out = i % across * UNIT_OUTS;
        const Unit u = {row, sp_min(tall, p->rows - row), out, sp_min(UNIT_OUTS, outs - out),
                        sp_cpu(device)->precision == SP_PRECISION_BF16};
        float *b = sp_cpu_work(device), *a = b + UNIT_OUTS * SP_DEPTH;
        compute_unit(p, &u, &(Work){b, a, a + SP_GROUP_ROWS * SP_LEAD});
    }
}
