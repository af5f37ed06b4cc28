#include "tracker/block.h"

/* Rows of whole tracks or frames that go through an attention together, whatever the plan. */
enum { GROUP_ROWS = 4 * SP_NN_ROWS };

/* y = dense(norm(x)) */
static void project(SpNn *nn, const SpDense *dense, const SpNorm *norm, const float *x,
                    int64_t rows, float *y)
{
    sp_dense_normed(nn, dense, norm, x, rows, sp_nn_mlp_rows(nn, rows), y);
}

/* x += to_out(attended) */
static void add_attended(SpNn *nn, const SpTrackBlock *b, const float *attended, int64_t rows,
                         float *x)
{
    sp_dense_call(nn, &b->to_out, (SpLinear){.x = attended, .rows = rows, .residual = x, .y = x});
}

/* Tracks among themselves, over time or in each frame: x += attention(norm(x)). */
static void attend_self(SpNn *nn, const SpTrackBlock *b, float *x, int64_t tracks, int64_t frames,
                        SpAttentionAxis axis)
{
    const int64_t width = b->width, rows = tracks * frames, track = frames * width;
    const bool time = axis == SP_OVER_TIME;
    const int64_t batch_stride = time ? track : width, row_stride = time ? width : track;
    SP_NN_SCOPE(nn);
    float *q = sp_nn_alloc(nn, rows * width), *kv = sp_nn_alloc(nn, rows * 2 * width);
    project(nn, &b->to_q, &b->norm, x, rows, q);
    project(nn, &b->to_kv, &b->norm, x, rows, kv);
    sp_attention_run(nn, b->heads, width,
                     (SpAttention){.batch = time ? tracks : frames,
                                   .nq = time ? frames : tracks,
                                   .nk = time ? frames : tracks,
                                   .q = q,
                                   .q_batch = batch_stride,
                                   .q_row = row_stride,
                                   .k = kv,
                                   .k_batch = 2 * batch_stride,
                                   .k_row = 2 * row_stride,
                                   .y = q});
    add_attended(nn, b, q, rows, x);
}

/* Few queries in each frame and a long context: a group of frames at a time, frame by frame. */
static void attend_to_many(SpNn *nn, const SpTrackBlock *b, float *x, int64_t tracks,
                           const float *context, int64_t others, int64_t frames)
{
    const int64_t width = b->width, rows = tracks * frames;
    const int64_t group = sp_min(sp_max(GROUP_ROWS / others, 1), frames);
    SP_NN_SCOPE(nn);
    float *q = sp_nn_alloc(nn, rows * width);
    float *normed = sp_nn_alloc(nn, group * others * width);
    float *kv = sp_nn_alloc(nn, group * others * 2 * width);
    project(nn, &b->to_q, &b->norm, x, rows, q);
    for (int64_t first = 0; first < frames; first += group) {
        const int64_t count = sp_min(group, frames - first);
        for (int64_t t = 0; t < count; t++)
            sp_norm_rows(nn, &b->context_norm, context + (first + t) * width, frames * width,
                         others, normed + t * others * width);
        sp_dense_run(nn, &b->to_kv, normed, count * others, SP_IDENTITY, kv);
        sp_attention_run(nn, b->heads, width,
                         (SpAttention){.batch = count,
                                       .nq = tracks,
                                       .nk = others,
                                       .q = q + first * width,
                                       .q_batch = width,
                                       .q_row = frames * width,
                                       .k = kv,
                                       .k_batch = others * 2 * width,
                                       .k_row = 2 * width,
                                       .y = q + first * width});
    }
    add_attended(nn, b, q, rows, x);
}

/* Many queries in each frame and a short context: a row tile of tracks at a time. */
static void attend_to_few(SpNn *nn, const SpTrackBlock *b, float *x, int64_t tracks,
                          const float *context, int64_t others, int64_t frames)
{
    const int64_t width = b->width, track = frames * width;
    const int64_t group = sp_min(tracks, SP_ROW_TILE);
    SP_NN_SCOPE(nn);
    float *q = sp_nn_alloc(nn, group * track), *kv = sp_nn_alloc(nn, others * 2 * track);
    project(nn, &b->to_kv, &b->context_norm, context, others * frames, kv);
    for (int64_t n = 0; n < tracks; n += group) {
        const int64_t count = sp_min(group, tracks - n), rows = count * frames;
        project(nn, &b->to_q, &b->norm, x + n * track, rows, q);
        sp_attention_run(nn, b->heads, width,
                         (SpAttention){.batch = frames,
                                       .nq = count,
                                       .nk = others,
                                       .q = q,
                                       .q_batch = width,
                                       .q_row = track,
                                       .k = kv,
                                       .k_batch = 2 * width,
                                       .k_row = 2 * track,
                                       .y = q});
        add_attended(nn, b, q, rows, x + n * track);
    }
}

/* How many tracks attend over time together. Their rows are whole row tiles, so that any number
 * gives the same bits; where that would be too many, the number does not depend on the plan. */
static int64_t tracks_together(const SpNn *nn, int64_t frames)
{
    const int64_t rows = nn->plan.queries ? nn->plan.queries : GROUP_ROWS;
    int64_t unit = 1; /* the fewest such tracks */
    while (unit * frames % SP_ROW_TILE)
        unit++;
    if (unit * frames > GROUP_ROWS)
        return sp_max(GROUP_ROWS / frames, 1);
    return unit * sp_max(rows / (unit * frames), 1);
}

static void add_mlp(SpNn *nn, const SpTrackBlock *b, float *x, int64_t rows)
{
    sp_mlp_add(nn, &b->mlp, &b->norm, NULL, x, rows, sp_nn_mlp_rows(nn, rows));
}

void sp_track_self(SpNn *nn, const SpTrackBlock *b, float *x, int64_t tracks, int64_t frames,
                   SpAttentionAxis axis)
{
    const int64_t group = axis == SP_OVER_TIME ? tracks_together(nn, frames) : tracks;
    for (int64_t n = 0; n < tracks; n += group)
        attend_self(nn, b, x + n * frames * b->width, sp_min(group, tracks - n), frames, axis);
    add_mlp(nn, b, x, tracks * frames);
}

void sp_track_cross(SpNn *nn, const SpTrackBlock *b, float *x, int64_t tracks, const float *context,
                    int64_t others, int64_t frames)
{
    if (others > tracks)
        attend_to_many(nn, b, x, tracks, context, others, frames);
    else
        attend_to_few(nn, b, x, tracks, context, others, frames);
    add_mlp(nn, b, x, tracks * frames);
}
