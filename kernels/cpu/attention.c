/*
 * softmax(scale q k^T) v without a full score matrix: keys come in tiles that fit the cache, with a
 * running maximum and sum (softmax.h; Dao et al., "FlashAttention", 2022). A tile is packed once
 * for all queries of a unit of work.
 */
#include "base/minmax.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/softmax.h"

enum { K_TILE = 384, /* a multiple of SP_PANEL */ UNIT_QUERIES = 768, MAX_HEAD = 512 };

/* The first rows of one head. */
typedef struct Head {
    const float *q, *k, *v;
    float *y;
} Head;

static Head head_of(const SpAttention *a, int64_t b, int64_t h)
{
    const int64_t at = h * a->head;
    return (Head){a->q + (a->q_share > 1 ? b / a->q_share : b) * a->q_batch + at,
                  a->k + b * a->k_batch + at, a->v + b * a->v_batch + at,
                  a->y + b * a->y_batch + at};
}

/* A thread's workspace. */
typedef struct Work {
    float *k;      /* [K_TILE, head] packed, a column a key */
    float *v;      /* [K_TILE, head] packed, a column an element */
    float *q;      /* [SP_GROUP_ROWS, SP_LEAD] */
    float *scores; /* [SP_GROUP_ROWS, SP_LEAD] */
    float *acc;    /* [UNIT_QUERIES, sp_padded(head)] */
} Work;

static Work divide_work(SpDevice *device)
{
    float *at = sp_cpu_work(device);
    Work work = {.k = at, .v = at + K_TILE * MAX_HEAD};
    work.q = work.v + K_TILE * MAX_HEAD;
    work.scores = work.q + SP_GROUP_ROWS * SP_LEAD;
    work.acc = work.scores + SP_GROUP_ROWS * SP_LEAD;
    return work;
}

/* The scores of `rows` queries from q on with the packed keys. */
static void score(const SpAttention *a, const float *q, int64_t rows, int64_t keys,
                  const Work *work)
{
    for (int64_t e = 0; e < a->head; e += SP_DEPTH) {
        const int64_t depth = sp_min(SP_DEPTH, a->head - e);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < depth; i += SP_VL) {
                const int64_t n = sp_min(SP_VL, depth - i);
                const vf scaled = v_set(a->scale) * v_load_n(q + r * a->q_row + e + i, n);
                v_store_n(work->q + r * SP_LEAD + i, scaled, n);
            }
        sp_multiply(&(SpMultiply){work->q, rows, depth, work->k + e * sp_padded(keys), keys, e > 0,
                                  work->scores, SP_LEAD, 0});
    }
}

/* Queries first .. first + rows of one head against all keys. */
static void attend(const SpAttention *a, Head h, int64_t first, int64_t rows, const Work *work)
{
    const int64_t lead = sp_padded(a->head);
    float row_max[UNIT_QUERIES], row_sum[UNIT_QUERIES], *y = h.y + first * a->y_row;
    for (int64_t r = 0; r < rows; r++) {
        row_max[r] = -INFINITY;
        row_sum[r] = 0;
    }
    for (int64_t at = 0; at < a->nk; at += K_TILE) {
        const int64_t keys = sp_min(K_TILE, a->nk - at);
        for (int64_t e = 0; e < a->head; e += SP_DEPTH)
            sp_pack_transposed(h.k + at * a->k_row + e, a->k_row, keys,
                               sp_min(SP_DEPTH, a->head - e), work->k + e * sp_padded(keys));
        sp_pack_rows(h.v + at * a->v_row, a->v_row, a->head, keys, work->v);
        for (int64_t row = 0; row < rows; row += SP_GROUP_ROWS) {
            const int64_t count = sp_min(SP_GROUP_ROWS, rows - row);
            float *acc = work->acc + row * lead;
            score(a, h.q + (first + row) * a->q_row, count, keys, work);
            for (int64_t r = 0; r < count; r++)
                online_softmax(work->scores + r * SP_LEAD, keys, &row_max[row + r],
                               &row_sum[row + r], acc + r * lead, a->head);
            sp_multiply(
                &(SpMultiply){work->scores, count, keys, work->v, a->head, at > 0, acc, lead, 0});
        }
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t e = 0; e < a->head; e += SP_VL)
            v_store_n(y + r * a->y_row + e, v_load(work->acc + r * lead + e) / v_set(row_sum[r]),
                      sp_min(SP_VL, a->head - e));
}

/* Queries first .. first + rows of one head against keys that are one tile: their softmax is taken
 * at once, and values are read and results written in place where they fill vectors. */
static void attend_short(const SpAttention *a, Head h, int64_t first, int64_t rows,
                         const Work *work)
{
    const bool whole = a->head % SP_VL == 0;
    sp_pack_transposed(h.k, a->k_row, a->nk, a->head, work->k);
    if (!whole)
        sp_pack_rows(h.v, a->v_row, a->head, a->nk, work->v);
    for (int64_t row = first; row < first + rows; row += SP_GROUP_ROWS) {
        const int64_t count = sp_min(SP_GROUP_ROWS, first + rows - row);
        float *y = h.y + row * a->y_row;
        score(a, h.q + row * a->q_row, count, a->nk, work);
        for (int64_t r = 0; r < count; r++)
            softmax_whole(work->scores + r * SP_LEAD, a->nk);
        sp_multiply(&(SpMultiply){work->scores, count, a->nk, whole ? h.v : work->v, a->head, false,
                                  whole ? y : work->acc, whole ? a->y_row : sp_padded(a->head),
                                  whole ? a->v_row : 0});
        for (int64_t r = 0; r < count && !whole; r++)
            v_copy(y + r * a->y_row, work->acc + r * sp_padded(a->head), a->head);
    }
}

/* Up to so many keys are one tile; up to so many a query is multiplied by each of them, as packing
 * them would take longer. */
enum { SHORT_KEYS = 64, FEW_KEYS = 4 };

/* One query of one head. */
static inline void few_keys(const SpAttention *a, Head h, int64_t i)
{
    const float *q = h.q + i * a->q_row;
    float scores[FEW_KEYS], *y = h.y + i * a->y_row;
    for (int64_t j = 0; j < a->nk; j++) {
        vf s = {0};
        for (int64_t e = 0; e < a->head; e += SP_VL) {
            const int64_t n = sp_min(SP_VL, a->head - e);
            s += v_load_n(q + e, n) * v_load_n(h.k + j * a->k_row + e, n);
        }
        scores[j] = a->scale * v_sum(s);
    }
    softmax_whole(scores, a->nk);
    for (int64_t e = 0; e < a->head; e += SP_VL) {
        const int64_t n = sp_min(SP_VL, a->head - e);
        vf value = {0};
        for (int64_t j = 0; j < a->nk; j++)
            value += v_set(scores[j]) * v_load_n(h.v + j * a->v_row + e, n);
        v_store_n(y + e, value, n);
    }
}

/* One query of all heads, of which whole ones lie in a vector. */
static inline void few_keys_narrow(const SpAttention *a, Head first, int64_t i)
{
    const int64_t width = a->heads * a->head;
    for (int64_t at = 0; at < width; at += SP_VL) {
        const int64_t n = sp_min(SP_VL, width - at);
        const vf q = v_set(a->scale) * v_load_n(first.q + i * a->q_row + at, n);
        vf score[FEW_KEYS], largest = v_set(-INFINITY), sum = {0}, value = {0};
        for (int64_t j = 0; j < a->nk; j++) {
            score[j] = v_sum_runs(q * v_load_n(first.k + j * a->k_row + at, n), a->head);
            largest = v_max(score[j], largest);
        }
        for (int64_t j = 0; j < a->nk; j++) {
            const vf share = v_exp(score[j] - largest);
            sum += share;
            value += share * v_load_n(first.v + j * a->v_row + at, n);
        }
        v_store_n(first.y + i * a->y_row + at, value / sum, n);
    }
}

/* Of `rows` rows that lie `row` apart the h-th share, to be read soon: their heads are short pieces
 * of memory far apart, which the processor does not foresee. */
static void prefetch_share(const SpAttention *a, const float *at, int64_t rows, int64_t row,
                           int64_t h)
{
    enum { LINE = 16 };
    for (int64_t r = rows * h / a->heads; r < rows * (h + 1) / a->heads; r++)
        for (int64_t e = 0; e < a->heads * a->head; e += LINE)
            __builtin_prefetch(at + r * row + e, 0, 2);
}

/* All heads of a batch with few keys, while the next one comes into the cache. */
static void attend_batch(const SpAttention *a, int64_t b, const Work *work)
{
    const bool few = a->nk <= FEW_KEYS, narrow = few && a->head < SP_VL && SP_VL % a->head == 0;
    const Head next = head_of(a, sp_min(b + 1, a->batch - 1), 0);
    for (int64_t h = 0; h < a->heads && !narrow; h++) {
        prefetch_share(a, next.q, a->nq, a->q_row, h);
        prefetch_share(a, next.k, a->nk, a->k_row, h);
        prefetch_share(a, next.v, a->nk, a->v_row, h);
        for (int64_t i = 0; few && i < a->nq; i++)
            few_keys(a, head_of(a, b, h), i);
        if (!few)
            attend_short(a, head_of(a, b, h), 0, a->nq, work);
    }
    for (int64_t i = 0; narrow && i < a->nq; i++)
        few_keys_narrow(a, head_of(a, b, 0), i);
}

/* Queries of each unit: all of a head that fit, but several units a thread. */
static int64_t unit_queries(const SpAttention *a, int threads)
{
    enum { UNITS = 4, LEAST = 2 * SP_GROUP_ROWS };
    const int64_t heads = a->batch * a->heads;
    const int64_t cuts = threads > 1 ? (UNITS * threads + heads - 1) / heads : 1;
    return sp_min(UNIT_QUERIES, sp_max(LEAST, (a->nq + cuts - 1) / cuts));
}

void SP_FN(sp_cpu_attention)(SpDevice *device, const SpAttention *a)
{
    const int threads = sp_cpu_threads(device, 2 * a->batch * a->heads * a->nq * a->nk * a->head);
    const bool is_short = a->nk <= SHORT_KEYS && a->head <= SP_DEPTH;
    if (a->nk <= FEW_KEYS || (is_short && a->batch >= 4 * threads)) {
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t b = 0; b < a->batch; b++) {
            const Work work = divide_work(device);
            attend_batch(a, b, &work);
        }
        return;
    }
    const int64_t long_unit = unit_queries(a, threads), tiles = (a->nq + long_unit - 1) / long_unit;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t unit = 0; unit < a->batch * a->heads * tiles; unit++) {
        const int64_t first = unit % tiles * long_unit;
        const Work work = divide_work(device);
        const Head h = head_of(a, unit / tiles / a->heads, unit / tiles % a->heads);
        const int64_t rows = sp_min(long_unit, a->nq - first);
        if (is_short)
            attend_short(a, h, first, rows, &work);
        else
            attend(a, h, first, rows, &work);
    }
}
