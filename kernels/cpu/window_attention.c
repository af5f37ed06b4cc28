/*
 * Attention in windows. A unit of work is a few rows of queries of one window and head; the keys
 * come in tiles of whole window rows, so that the position terms of a tile are one value per row
 * and one vector for all rows.
 */
#include <string.h>

#include "base/minmax.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/softmax.h"

enum {
    UNIT_QUERIES = 768, /* more than the 14 x 14 of a published window, 12 rows of its grid */
    K_TILE = 384
};

/* The queries of a unit: rows first .. of the window at (y, x), as far as the image goes. */
typedef struct Unit {
    int64_t y, x, head, first, columns, queries;
} Unit;

/* A thread's workspace. */
typedef struct Work {
    float *q;      /* [SP_GROUP_ROWS, SP_LEAD] */
    float *k, *v;  /* [K_TILE, head], and packed */
    float *b;      /* packed: a table of positions, or keys */
    float *c;      /* packed: values */
    float *scores; /* [SP_GROUP_ROWS, SP_LEAD], also products with the positions */
    float *row;    /* [UNIT_QUERIES, side] position terms by key row */
    float *column; /* [UNIT_QUERIES, side] and by key column */
    float *acc;    /* [UNIT_QUERIES, sp_padded(head)] */
} Work;

static Work divide_work(SpDevice *device, const SpWindowAttention *a)
{
    Work work;
    float *at = sp_cpu_work(device);
    float **const part[] = {&work.q,      &work.k,   &work.v,      &work.b,  &work.c,
                            &work.scores, &work.row, &work.column, &work.acc};
    const int64_t width = sp_padded(a->head), group = SP_GROUP_ROWS * SP_LEAD;
    const int64_t size[] = {
        group, K_TILE * a->head,       K_TILE * a->head,       K_TILE * a->head,    K_TILE * width,
        group, UNIT_QUERIES * a->side, UNIT_QUERIES * a->side, UNIT_QUERIES * width};
    for (int i = 0; i < 9; i++) {
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

/* Queries first .. first + count of the unit, to work->q. */
static void load_queries(const SpWindowAttention *a, const Unit *u, int64_t first, int64_t count,
                         const Work *work)
{
    for (int64_t r = first; r < first + count; r++)
        memcpy(work->q + (r - first) * SP_LEAD,
               token(a, u, u->first + r / u->columns, r % u->columns),
               (size_t)a->head * sizeof *work->q);
}

/* out[r, k] = q[r] . table[at - k + side - 1] with `at` the query's place along the axis. */
static void position_terms(const SpWindowAttention *a, const Unit *u, const float *table, bool rows,
                           const Work *work, float *out)
{
    const int64_t side = a->side, entries = 2 * side - 1;
    sp_pack_transposed(table, a->head, entries, a->head, work->b);
    for (int64_t first = 0; first < u->queries; first += SP_GROUP_ROWS) {
        const int64_t count = sp_min(SP_GROUP_ROWS, u->queries - first);
        load_queries(a, u, first, count, work);
        sp_multiply(&(SpMultiply){work->q, count, a->head, work->b, entries, false, work->scores,
                                  SP_LEAD, 0});
        for (int64_t r = first; r < first + count; r++) {
            const int64_t at = rows ? u->first + r / u->columns : r % u->columns;
            const float *last = work->scores + (r - first) * SP_LEAD + at + side - 1;
            for (int64_t k = 0; k < side; k++)
                out[r * side + k] = last[-k];
        }
    }
}

/* Packs keys and values of window rows first .. first + rows: from where they are if they lie
 * evenly. */
static void pack_keys(const SpWindowAttention *a, const Unit *u, int64_t first, int64_t rows,
                      const Work *work)
{
    const int64_t width = a->heads * a->head, keys = rows * a->side;
    const bool even = a->side == a->w && u->y + first + rows <= a->h;
    const float *k = even ? token(a, u, first, 0) + width : work->k,
                *v = even ? k + width : work->v;
    const int64_t lead = even ? 3 * width : a->head;
    for (int64_t i = 0; !even && i < keys; i++) {
        const float *from = token(a, u, first + i / a->side, i % a->side);
        memcpy(work->k + i * a->head, from + width, (size_t)a->head * sizeof *from);
        memcpy(work->v + i * a->head, from + 2 * width, (size_t)a->head * sizeof *from);
    }
    sp_pack_transposed(k, lead, keys, a->head, work->b);
    sp_pack_rows(v, lead, a->head, keys, work->c);
}

/* scores = scale scores + the position terms of a query for key rows first .. first + rows. */
static void add_positions(float *scores, float scale, int64_t side, int64_t rows, const float *row,
                          const float *column)
{
    for (int64_t i = 0; i < rows; i++, scores += side)
        for (int64_t j = 0; j < side; j++)
            scores[j] = scale * scores[j] + (row[i] + column[j]);
}

static void attend(const SpWindowAttention *a, const Unit *u, const Work *work)
{
    const int64_t side = a->side, head = a->head, lead = sp_padded(head), tile_rows = K_TILE / side;
    float row_max[UNIT_QUERIES], row_sum[UNIT_QUERIES];
    for (int64_t r = 0; r < u->queries; r++) {
        row_max[r] = -INFINITY;
        row_sum[r] = 0;
    }
    for (int64_t first = 0; first < side; first += tile_rows) {
        const int64_t rows = sp_min(tile_rows, side - first), keys = rows * side;
        pack_keys(a, u, first, rows, work);
        for (int64_t q = 0; q < u->queries; q += SP_GROUP_ROWS) {
            const int64_t count = sp_min(SP_GROUP_ROWS, u->queries - q);
            float *acc = work->acc + q * lead;
            load_queries(a, u, q, count, work);
            sp_multiply(&(SpMultiply){work->q, count, head, work->b, keys, false, work->scores,
                                      SP_LEAD, 0});
            for (int64_t r = 0; r < count; r++) {
                float *scores = work->scores + r * SP_LEAD;
                add_positions(scores, a->scale, side, rows, work->row + (q + r) * side + first,
                              work->column + (q + r) * side);
                online_softmax(scores, keys, &row_max[q + r], &row_sum[q + r], acc + r * lead,
                               head);
            }
            sp_multiply(
                &(SpMultiply){work->scores, count, keys, work->c, head, first > 0, acc, lead, 0});
        }
    }
    for (int64_t r = 0; r < u->queries; r++) {
        const int64_t y = u->y + u->first + r / u->columns, x = u->x + r % u->columns;
        float *out = a->y + (y * a->w + x) * a->y_row + u->head * head;
        for (int64_t e = 0; e < head; e++)
            out[e] = work->acc[r * lead + e] / row_sum[r];
    }
}

void SP_FN(sp_cpu_window_attention)(SpDevice *device, const SpWindowAttention *a)
{
    const int64_t down = (a->h + a->side - 1) / a->side, across = (a->w + a->side - 1) / a->side;
    const int64_t rows = sp_min(UNIT_QUERIES / a->side, a->side);
    const int64_t tiles = (a->side + rows - 1) / rows;
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
        position_terms(a, &u, a->rel_pos_h, true, &work, work.row);
        position_terms(a, &u, a->rel_pos_w, false, &work, work.column);
        attend(a, &u, &work);
    }
}
