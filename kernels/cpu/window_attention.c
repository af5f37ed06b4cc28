/*
 * Attention in windows. A unit of work is a few rows of queries of one window and head; the keys
 * come in tiles of whole window rows, so that the position terms of a tile are one value per row
 * and one vector for all rows.
 */
#include <string.h>

#include "base/minmax.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/softmax.h"

enum {
    Q_TILE = 208, /* queries: all 14 x 14 of a published window, 3 rows of the published grid */
    K_TILE = 512
};

/* The queries of a unit: rows first .. of the window at (y, x), as far as the image goes. */
typedef struct Unit {
    int64_t y, x, head, first, columns, queries;
} Unit;

/* A thread's workspace. */
typedef struct Work {
    float *q;       /* [Q_TILE, head] */
    float *k, *v;   /* [K_TILE, head] */
    float *product; /* [Q_TILE, 2 side - 1] */
    float *row;     /* [Q_TILE, side] position terms by key row */
    float *column;  /* [Q_TILE, side] and by key column */
    float *scores;  /* [Q_TILE, K_TILE] */
    float *acc;     /* [Q_TILE, head] */
} Work;

static Work divide_work(SpDevice *device, const SpWindowAttention *a)
{
    Work work;
    float *at = sp_cpu_work(device);
    float **const part[] = {&work.q,   &work.k,      &work.v,      &work.product,
                            &work.row, &work.column, &work.scores, &work.acc};
    const int64_t size[] = {
        Q_TILE * a->head, K_TILE * a->head, K_TILE * a->head, Q_TILE * (2 * a->side - 1),
        Q_TILE * a->side, Q_TILE * a->side, Q_TILE * K_TILE,  Q_TILE * a->head};
    for (int i = 0; i < 8; i++) {
        *part[i] = at;
        at += (size[i] + 15) / 16 * 16;
    }
    return work;
}

/* The qkv of a token, or the padding beyond the image, from the unit's head on. */
static const float *token(const SpWindowAttention *a, const Unit *u, int64_t row, int64_t column)
{
    const int64_t y = u->y + row, x = u->x + column;
    const bool inside = y < a->h && x < a->w;
    return (inside ? a->qkv + (y * a->w + x) * 3 * a->heads * a->head : a->padding) +
           u->head * a->head;
}

/* out[r, k] = q[r] . table[at - k + side - 1] with `at` the query's place along the axis. */
static void position_terms(const SpWindowAttention *a, const Unit *u, const float *table, bool rows,
                           const Work *work, float *out)
{
    const int64_t side = a->side, entries = 2 * side - 1;
    sp_gemm_nt(u->queries, entries, a->head, 1, work->q, a->head, table, a->head, 0, work->product,
               entries);
    for (int64_t r = 0; r < u->queries; r++) {
        const int64_t at = rows ? u->first + r / u->columns : r % u->columns;
        const float *last = work->product + r * entries + at + side - 1;
        for (int64_t k = 0; k < side; k++)
            out[r * side + k] = last[-k];
    }
}

/* Keys and values of window rows first .. first + rows: in place where they lie evenly. */
static int64_t gather_keys(const SpWindowAttention *a, const Unit *u, int64_t first, int64_t rows,
                           const Work *work, const float **k, const float **v)
{
    const int64_t width = a->heads * a->head;
    if (a->side == a->w && u->y + first + rows <= a->h) {
        *k = token(a, u, first, 0) + width;
        *v = *k + width;
        return 3 * width;
    }
    for (int64_t i = 0; i < rows * a->side; i++) {
        const float *from = token(a, u, first + i / a->side, i % a->side);
        memcpy(work->k + i * a->head, from + width, (size_t)a->head * sizeof *from);
        memcpy(work->v + i * a->head, from + 2 * width, (size_t)a->head * sizeof *from);
    }
    *k = work->k;
    *v = work->v;
    return a->head;
}

/* Adds the position terms to the scores of a query for key rows first .. first + rows. */
static void add_positions(float *scores, int64_t side, int64_t rows, const float *row,
                          const float *column)
{
    for (int64_t i = 0; i < rows; i++, scores += side)
        for (int64_t j = 0; j < side; j++)
            scores[j] += row[i] + column[j];
}

static void attend(const SpWindowAttention *a, const Unit *u, const Work *work)
{
    const int64_t side = a->side, head = a->head, tile_rows = K_TILE / side;
    float row_max[Q_TILE], row_sum[Q_TILE];
    for (int64_t r = 0; r < u->queries; r++) {
        row_max[r] = -INFINITY;
        row_sum[r] = 0;
    }
    for (int64_t first = 0; first < side; first += tile_rows) {
        const int64_t rows = sp_min(tile_rows, side - first), keys = rows * side;
        const float *k, *v;
        const int64_t stride = gather_keys(a, u, first, rows, work, &k, &v);
        sp_gemm_nt(u->queries, keys, head, a->scale, work->q, head, k, stride, 0, work->scores,
                   K_TILE);
        for (int64_t r = 0; r < u->queries; r++) {
            float *scores = work->scores + r * K_TILE;
            add_positions(scores, side, rows, work->row + r * side + first,
                          work->column + r * side);
            online_softmax(scores, keys, &row_max[r], &row_sum[r], work->acc + r * head, head);
        }
        sp_gemm_nn(u->queries, head, keys, 1, work->scores, K_TILE, v, stride, first ? 1.0f : 0.0f,
                   work->acc, head);
    }
    for (int64_t r = 0; r < u->queries; r++) {
        const int64_t y = u->y + u->first + r / u->columns, x = u->x + r % u->columns;
        float *out = a->y + (y * a->w + x) * a->y_row + u->head * head;
        for (int64_t e = 0; e < head; e++)
            out[e] = work->acc[r * head + e] / row_sum[r];
    }
}

void SP_FN(sp_cpu_window_attention)(SpDevice *device, const SpWindowAttention *a)
{
    const int64_t down = (a->h + a->side - 1) / a->side, across = (a->w + a->side - 1) / a->side;
    const int64_t rows = sp_min(Q_TILE / a->side, a->side), tiles = (a->side + rows - 1) / rows;
#pragma omp parallel for schedule(dynamic) num_threads(device->threads)
    for (int64_t i = 0; i < down * across * a->heads * tiles; i++) {
        const int64_t window = i / tiles / a->heads;
        Unit u = {.y = window / across * a->side,
                  .x = window % across * a->side,
                  .head = i / tiles % a->heads,
                  .first = i % tiles * rows};
        const int64_t below = sp_min(a->side, a->h - u.y) - u.first;
        if (below <= 0)
            continue;
        u.columns = sp_min(a->side, a->w - u.x);
        u.queries = sp_min(rows, below) * u.columns;
        const Work work = divide_work(device, a);
        for (int64_t r = 0; r < u.queries; r++)
            memcpy(work.q + r * a->head, token(a, &u, u.first + r / u.columns, r % u.columns),
                   (size_t)a->head * sizeof *work.q);
        position_terms(a, &u, a->rel_pos_h, true, &work, work.row);
        position_terms(a, &u, a->rel_pos_w, false, &work, work.column);
        attend(a, &u, &work);
    }
}
