#include <math.h>

#include "tracker/internal.h"

static const float EPS = 1e-6f, CONTEXT_EPS = 1e-5f;

void sp_dense_run(SpNn *nn, const SpDense *dense, const float *x, int64_t rows, SpActivation act,
                  float *y, int64_t ldy)
{
    sp_nn_run(nn, linear,
              &(SpLinear){.x = x,
                          .rows = rows,
                          .ldx = dense->w.dim[1],
                          .w = dense->w,
                          .b = dense->b,
                          .act = act,
                          .y = y,
                          .ldy = ldy});
}

/* Rows of whole tracks or frames that go through an attention together, whatever the plan. */
enum { TOGETHER = 4 * SP_NN_ROWS };

/* y = dense(LN(x)), the norm in chunks of rows. */
static void normed_dense(SpNn *nn, const SpDense *dense, const float *x, int64_t rows,
                         const float *weight, const float *bias, float eps, float *y)
{
    const int64_t width = dense->w.dim[1], out = dense->w.dim[0];
    const int64_t chunk = sp_nn_mlp_rows(nn, rows);
    const SpNnMark mark = sp_nn_mark(nn);
    float *normed = sp_nn_alloc(nn, (rows < chunk ? rows : chunk) * width);
    for (int64_t at = 0; at < rows; at += chunk) {
        const int64_t count = rows - at < chunk ? rows - at : chunk;
        sp_nn_layer_norm(nn, x + at * width, count, width, weight, bias, eps, normed);
        sp_dense_run(nn, dense, normed, count, SP_IDENTITY, y + at * out, out);
    }
    sp_nn_release(nn, mark);
}

/* x += dense(y). */
static void add_dense(SpNn *nn, const SpDense *dense, const float *y, int64_t rows, float *x)
{
    const int64_t width = dense->w.dim[0];
    sp_nn_run(nn, linear,
              &(SpLinear){.x = y,
                          .rows = rows,
                          .ldx = dense->w.dim[1],
                          .w = dense->w,
                          .b = dense->b,
                          .residual = x,
                          .ldr = width,
                          .y = x,
                          .ldy = width});
}

/* x += mlp(LN(x)), in chunks. */
static void add_mlp(SpNn *nn, const SpMlp *mlp, float *x, int64_t rows)
{
    const int64_t width = mlp->fc1.w.dim[1], hidden = mlp->fc1.w.dim[0];
    const int64_t chunk = sp_nn_mlp_rows(nn, rows);
    const int64_t most = rows < chunk ? rows : chunk;
    const SpNnMark mark = sp_nn_mark(nn);
    float *normed = sp_nn_alloc(nn, most * width), *wide = sp_nn_alloc(nn, most * hidden);
    for (int64_t at = 0; at < rows; at += chunk, x += chunk * width) {
        const int64_t count = rows - at < chunk ? rows - at : chunk;
        sp_nn_layer_norm(nn, x, count, width, NULL, NULL, EPS, normed);
        sp_dense_run(nn, &mlp->fc1, normed, count, SP_GELU_TANH, wide, hidden);
        add_dense(nn, &mlp->fc2, wide, count, x);
    }
    sp_nn_release(nn, mark);
}

/* Where an attention's sequences and rows stand: what SpAttention's _batch and _row mean. */
typedef struct Layout {
    int64_t batch, row;
} Layout;

/* y = attention over q; kv: rows of k and v. `batch` sequences of nq queries and nk keys. */
static void attend(SpNn *nn, const SpTrackBlock *b, int64_t batch, int64_t nq, int64_t nk, float *q,
                   Layout at, const float *kv, Layout keys)
{
    sp_nn_run(nn, attention,
              &(SpAttention){.batch = batch,
                             .nq = nq,
                             .nk = nk,
                             .heads = b->heads,
                             .head = b->width / b->heads,
                             .scale = 1 / sqrtf((float)(b->width / b->heads)),
                             .q = q,
                             .k = kv,
                             .v = kv + b->width,
                             .q_batch = at.batch,
                             .q_row = at.row,
                             .k_batch = keys.batch,
                             .k_row = keys.row,
                             .v_batch = keys.batch,
                             .v_row = keys.row,
                             .y = q,
                             .y_batch = at.batch,
                             .y_row = at.row});
}

/* Tracks among themselves, over time or in each frame: x += attention(LN(x)). */
static void attend_self(SpNn *nn, const SpTrackBlock *b, float *x, int64_t tracks, int64_t frames,
                        SpAxisOf axis)
{
    const int64_t width = b->width, rows = tracks * frames, track = frames * width;
    const bool time = axis == SP_OVER_TIME;
    const Layout q_at = time ? (Layout){track, width} : (Layout){width, track};
    const Layout kv_at = {2 * q_at.batch, 2 * q_at.row};
    const int64_t batch = time ? tracks : frames, length = time ? frames : tracks;
    const SpNnMark mark = sp_nn_mark(nn);
    float *q = sp_nn_alloc(nn, rows * width), *kv = sp_nn_alloc(nn, rows * 2 * width);
    normed_dense(nn, &b->to_q, x, rows, NULL, NULL, EPS, q);
    normed_dense(nn, &b->to_kv, x, rows, NULL, NULL, EPS, kv);
    attend(nn, b, batch, length, length, q, q_at, kv, kv_at);
    add_dense(nn, &b->to_out, q, rows, x);
    sp_nn_release(nn, mark);
}

/* Few queries in each frame and a long context: a group of frames at a time, frame by frame. */
static void attend_to_many(SpNn *nn, const SpTrackBlock *b, float *x, int64_t tracks,
                           const float *c, int64_t others, int64_t frames)
{
    const int64_t width = b->width, rows = tracks * frames, fit = TOGETHER / others;
    const int64_t group = fit < 1 ? 1 : fit < frames ? fit : frames;
    const SpNnMark mark = sp_nn_mark(nn);
    float *q = sp_nn_alloc(nn, rows * width);
    float *normed = sp_nn_alloc(nn, group * others * width);
    float *kv = sp_nn_alloc(nn, group * others * 2 * width);
    normed_dense(nn, &b->to_q, x, rows, NULL, NULL, EPS, q);
    for (int64_t first = 0; first < frames; first += group) {
        const int64_t count = frames - first < group ? frames - first : group;
        for (int64_t t = 0; t < count; t++)
            sp_nn_run(nn, layer_norm,
                      &(SpLayerNorm){.x = c + (first + t) * width,
                                     .rows = others,
                                     .width = width,
                                     .ldx = frames * width,
                                     .weight = b->context_w,
                                     .bias = b->context_b,
                                     .eps = CONTEXT_EPS,
                                     .y = normed + t * others * width,
                                     .ldy = width});
        sp_dense_run(nn, &b->to_kv, normed, count * others, SP_IDENTITY, kv, 2 * width);
        attend(nn, b, count, tracks, others, q + first * width, (Layout){width, frames * width}, kv,
               (Layout){others * 2 * width, 2 * width});
    }
    add_dense(nn, &b->to_out, q, rows, x);
    sp_nn_release(nn, mark);
}

/* Many queries in each frame and a short context: a row tile of tracks at a time. */
static void attend_to_few(SpNn *nn, const SpTrackBlock *b, float *x, int64_t tracks, const float *c,
                          int64_t others, int64_t frames)
{
    const int64_t width = b->width, track = frames * width, context = others * frames;
    const int64_t group = tracks < SP_ROW_TILE ? tracks : SP_ROW_TILE;
    const SpNnMark mark = sp_nn_mark(nn);
    float *q = sp_nn_alloc(nn, group * track), *kv = sp_nn_alloc(nn, context * 2 * width);
    normed_dense(nn, &b->to_kv, c, context, b->context_w, b->context_b, CONTEXT_EPS, kv);
    for (int64_t n = 0; n < tracks; n += group) {
        const int64_t count = tracks - n < group ? tracks - n : group, rows = count * frames;
        normed_dense(nn, &b->to_q, x + n * track, rows, NULL, NULL, EPS, q);
        attend(nn, b, frames, count, others, q, (Layout){width, track}, kv,
               (Layout){2 * width, 2 * track});
        add_dense(nn, &b->to_out, q, rows, x + n * track);
    }
    sp_nn_release(nn, mark);
}

/* The least number of whole tracks whose rows are whole row tiles. */
static int64_t tracks_unit(int64_t frames)
{
    int64_t a = SP_ROW_TILE, b = frames;
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return SP_ROW_TILE / a;
}

/* How many tracks go together over time. Their rows are whole row tiles, so that any number gives
 * the same bits; where that takes too many, the number is fixed. */
static int64_t tracks_together(const SpNn *nn, int64_t frames)
{
    const int64_t unit = tracks_unit(frames), fixed = TOGETHER / frames;
    const int64_t fit = (nn->plan.queries ? nn->plan.queries : TOGETHER) / (unit * frames);
    if (unit * frames > TOGETHER)
        return fixed > 1 ? fixed : 1;
    return unit * (fit > 1 ? fit : 1);
}

void sp_track_self(SpNn *nn, const SpTrackBlock *block, float *x, int64_t tracks, int64_t frames,
                   SpAxisOf axis)
{
    const int64_t group = axis == SP_OVER_TIME ? tracks_together(nn, frames) : tracks;
    for (int64_t n = 0; n < tracks; n += group) {
        const int64_t count = tracks - n < group ? tracks - n : group;
        attend_self(nn, block, x + n * frames * block->width, count, frames, axis);
    }
    add_mlp(nn, &block->mlp, x, tracks * frames);
}

void sp_track_cross(SpNn *nn, const SpTrackBlock *block, float *x, int64_t tracks,
                    const float *context, int64_t others, int64_t frames)
{
    if (others > tracks)
        attend_to_many(nn, block, x, tracks, context, others, frames);
    else
        attend_to_few(nn, block, x, tracks, context, others, frames);
    add_mlp(nn, &block->mlp, x, tracks * frames);
}
