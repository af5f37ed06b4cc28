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

/* y = dense(LN(x)), the norm in chunks of rows. */
static void normed_dense(SpNn *nn, const SpDense *dense, const float *x, int64_t rows,
                         const float *weight, const float *bias, float eps, float *y)
{
    const int64_t width = dense->w.dim[1], out = dense->w.dim[0];
    const int64_t chunk = sp_nn_mlp_rows(nn, rows);
    const SpNnMark mark = sp_nn_mark(nn);
    float *normed = sp_nn_floats(nn, (rows < chunk ? rows : chunk) * width);
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
    float *normed = sp_nn_floats(nn, most * width), *wide = sp_nn_floats(nn, most * hidden);
    for (int64_t at = 0; at < rows; at += chunk, x += chunk * width) {
        const int64_t count = rows - at < chunk ? rows - at : chunk;
        sp_nn_layer_norm(nn, x, count, width, NULL, NULL, EPS, normed);
        sp_dense_run(nn, &mlp->fc1, normed, count, SP_GELU_TANH, wide, hidden);
        add_dense(nn, &mlp->fc2, wide, count, x);
    }
    sp_nn_release(nn, mark);
}

/* The block's attention with queries x and context c; `per_track` of each for one sequence axis. */
static void attend(SpNn *nn, const SpTrackBlock *b, float *x, int64_t tracks, const float *c,
                   int64_t others, int64_t frames, SpAxisOf axis)
{
    const int64_t width = b->width, rows = tracks * frames, context = others * frames;
    const bool cross = b->context_w != NULL, time = axis == SP_OVER_TIME;
    const SpNnMark mark = sp_nn_mark(nn);
    float *q = sp_nn_floats(nn, rows * width), *kv = sp_nn_floats(nn, context * 2 * width);
    normed_dense(nn, &b->to_q, x, rows, NULL, NULL, EPS, q);
    normed_dense(nn, &b->to_kv, c, context, b->context_w, b->context_b, cross ? CONTEXT_EPS : EPS,
                 kv);
    sp_nn_run(nn, attention,
              &(SpAttention){.batch = time ? tracks : frames,
                             .nq = time ? frames : tracks,
                             .nk = time ? frames : others,
                             .heads = b->heads,
                             .head = width / b->heads,
                             .scale = 1 / sqrtf((float)(width / b->heads)),
                             .q = q,
                             .k = kv,
                             .v = kv + width,
                             .q_batch = time ? frames * width : width,
                             .q_row = time ? width : frames * width,
                             .k_batch = 2 * (time ? frames * width : width),
                             .k_row = 2 * (time ? width : frames * width),
                             .v_batch = 2 * (time ? frames * width : width),
                             .v_row = 2 * (time ? width : frames * width),
                             .y = q,
                             .y_batch = time ? frames * width : width,
                             .y_row = time ? width : frames * width});
    add_dense(nn, &b->to_out, q, rows, x);
    sp_nn_release(nn, mark);
}

int64_t sp_tracks_unit(int64_t frames)
{
    int64_t a = SP_ROW_TILE, b = frames;
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return SP_ROW_TILE / a;
}

void sp_track_self(SpNn *nn, const SpTrackBlock *block, float *x, int64_t tracks, int64_t frames,
                   SpAxisOf axis)
{
    int64_t group = tracks;
    if (axis == SP_OVER_TIME && nn->plan.queries) {
        const int64_t unit = sp_tracks_unit(frames), fit = nn->plan.queries / (unit * frames);
        group = unit * (fit > 1 ? fit : 1);
    }
    for (int64_t n = 0; n < tracks; n += group) {
        const int64_t count = tracks - n < group ? tracks - n : group;
        float *at = x + n * frames * block->width;
        attend(nn, block, at, count, at, count, frames, axis);
    }
    add_mlp(nn, &block->mlp, x, tracks * frames);
}

void sp_track_cross(SpNn *nn, const SpTrackBlock *block, float *x, int64_t tracks,
                    const float *context, int64_t others, int64_t frames)
{
    attend(nn, block, x, tracks, context, others, frames, SP_OVER_TRACKS);
    add_mlp(nn, &block->mlp, x, tracks * frames);
}
