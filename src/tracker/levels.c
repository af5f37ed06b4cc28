/*
 * One level of the correlation pyramid for a chunk of pairs (tracker.md section 5): the 2D
 * branch and the 3D branch. What depends on the query alone is computed once a window. The mean
 * over the 16 tokens is taken before the last layer of the cross block, with which it commutes.
 */
#include <math.h>

#include "tracker/internal.h"

static const float EPS = 1e-6f, CONTEXT_EPS = 1e-5f;

static void mlp(SpNn *nn, const SpMlp *m, const float *x, int64_t rows, float *y, int64_t ldy)
{
    const SpNnMark mark = sp_nn_mark(nn);
    const int64_t hidden = m->fc1.w.dim[0];
    float *h = sp_nn_floats(nn, rows * hidden);
    sp_dense_run(nn, &m->fc1, x, rows, SP_GELU, h, hidden);
    sp_dense_run(nn, &m->fc2, h, rows, SP_IDENTITY, y, ldy);
    sp_nn_release(nn, mark);
}

/* The neighbours' encoded vectors into the first half of rows [count keep, 2 C]. */
static void encode_vectors(const SpTracker *t, SpNn *nn, const float *vectors, int64_t rows,
                           float *pairs)
{
    const int64_t width = 3 * (1 + 2 * SP_DEGREE_FINE);
    const SpNnMark mark = sp_nn_mark(nn);
    float *encoded = sp_nn_floats(nn, rows * width);
    sp_nn_run(nn, posenc, &(SpPosenc){vectors, rows, 3, 3, SP_DEGREE_FINE, encoded, width});
    mlp(nn, &t->rel_pos_mlp, encoded, rows, pairs, 2 * t->channels);
    sp_nn_release(nn, mark);
}

/* Origins of the query's neighbours: the centre of its own patch. */
static void patch_centres(const SpTracker *t, SpNn *nn, const float *points, int64_t count,
                          float *centres)
{
    const int64_t patch = t->side * t->side;
    sp_nn_copy_rows(nn, SP_ON_DEVICE, centres, 3, points + patch / 2 * 3, patch * 3, 3, count);
}

void sp_level_query(const SpTracker *t, SpNn *nn, const SpTrackLevel *level, int64_t tracks)
{
    const int64_t c = t->channels, keep = t->neighbours, patch = t->side * t->side;
    for (int64_t first = 0; first < tracks; first += SP_ROW_TILE) {
        const int64_t count = tracks - first < SP_ROW_TILE ? tracks - first : SP_ROW_TILE;
        const int64_t rows = count * keep;
        const float *points = level->template_points + first * patch * 3;
        const SpNnMark mark = sp_nn_mark(nn);
        float *centres = sp_nn_floats(nn, count * 3), *vectors = sp_nn_floats(nn, rows * 3);
        int32_t *index = (int32_t *)(void *)sp_nn_floats(nn, rows);
        float *both = sp_nn_floats(nn, rows * 2 * c), *normed = sp_nn_floats(nn, rows * c);
        float *query = level->query + first * keep * c;
        patch_centres(t, nn, points, count, centres);
        sp_nn_run(nn, knn, &(SpKnn){points, centres, count, patch, keep, index, vectors});
        encode_vectors(t, nn, vectors, rows, both);
        sp_nn_run(nn, gather_rows,
                  &(SpGatherRows){level->templates + first * patch * c, index, count, patch, keep,
                                  c, both + c, 2 * c});
        mlp(nn, &t->corr_xyz_mlp, both, rows, query, c);
        sp_nn_layer_norm(nn, query, rows, c, NULL, NULL, EPS, normed);
        sp_dense_run(nn, &t->cross.to_q, normed, rows, SP_IDENTITY,
                     level->query_projected + first * keep * c, c);
        sp_nn_release(nn, mark);
    }
}

static void branch_2d(const SpTracker *t, SpNn *nn, const SpTrackLevel *level, int64_t frames,
                      const SpPairs *p, const float *xy, float *token)
{
    const int64_t m = p->tracks * p->frames, patch = t->side * t->side;
    const SpNnMark mark = sp_nn_mark(nn);
    float *volume = sp_nn_floats(nn, m * patch * patch);
    sp_nn_run(nn, correlate,
              &(SpCorrelate){.map = level->features,
                             .frames = frames,
                             .h = level->h,
                             .w = level->w,
                             .c = t->channels,
                             .xy = xy,
                             .frame = p->frame,
                             .pairs = m,
                             .run = p->frames,
                             .side = t->side,
                             .templates = level->templates + p->first_track * patch * t->channels,
                             .out = volume});
    mlp(nn, &t->corr_mlp, volume, m, token, t->token);
    sp_nn_release(nn, mark);
}

/* The target's side: both: [m keep, 2 C] encoded vectors and features of the 16 neighbours. */
static void target_side(const SpTracker *t, SpNn *nn, const SpTrackLevel *level, int64_t frames,
                        const SpPairs *p, const float *xy, float *both)
{
    const int64_t m = p->tracks * p->frames, patch = t->side * t->side, keep = t->neighbours;
    const SpNnMark mark = sp_nn_mark(nn);
    float *points = sp_nn_floats(nn, m * patch * 3), *vectors = sp_nn_floats(nn, m * keep * 3);
    int32_t *index = (int32_t *)(void *)sp_nn_floats(nn, m * keep);
    SpSamplePatches samples = {.map = level->points,
                               .frames = frames,
                               .h = level->h,
                               .w = level->w,
                               .c = 3,
                               .xy = xy,
                               .frame = p->frame,
                               .pairs = m,
                               .side = t->side,
                               .out = points,
                               .ldy = 3};
    sp_nn_run(nn, sample_patches, &samples);
    sp_nn_run(nn, knn, &(SpKnn){points, p->origin, m, patch, keep, index, vectors});
    encode_vectors(t, nn, vectors, m * keep, both);
    samples.map = level->features;
    samples.c = t->channels;
    samples.pick = index;
    samples.picks = keep;
    samples.out = both + t->channels;
    samples.ldy = 2 * t->channels;
    sp_nn_run(nn, sample_patches, &samples);
    sp_nn_release(nn, mark);
}

/* y [rows, C] = LN'(context) through to_kv and attention with queries q, heads as in the block;
 * `keep` context rows a pair, `nq` queries a pair shared by `share` pairs. */
static void attend(SpNn *nn, const SpTrackBlock *b, const float *q, int64_t nq, int64_t share,
                   const float *context, int64_t pairs, int64_t keep, float *y)
{
    const int64_t c = b->width, rows = pairs * keep;
    const SpNnMark mark = sp_nn_mark(nn);
    float *normed = sp_nn_floats(nn, rows * c), *kv = sp_nn_floats(nn, rows * 2 * c);
    sp_nn_layer_norm(nn, context, rows, c, b->context_w, b->context_b, CONTEXT_EPS, normed);
    sp_dense_run(nn, &b->to_kv, normed, rows, SP_IDENTITY, kv, 2 * c);
    sp_nn_run(nn, attention,
              &(SpAttention){.batch = pairs,
                             .nq = nq,
                             .nk = keep,
                             .heads = b->heads,
                             .head = c / b->heads,
                             .scale = 1 / sqrtf((float)(c / b->heads)),
                             .q = q,
                             .k = kv,
                             .v = kv + c,
                             .q_share = share,
                             .q_batch = nq * c,
                             .q_row = c,
                             .k_batch = keep * 2 * c,
                             .k_row = 2 * c,
                             .v_batch = keep * 2 * c,
                             .v_row = 2 * c,
                             .y = y,
                             .y_batch = nq * c,
                             .y_row = c});
    sp_nn_release(nn, mark);
}

/* y = x + dense(y), dense rows. */
static void residual_dense(SpNn *nn, const SpDense *d, const float *in, int64_t rows,
                           const float *x, float *y)
{
    const int64_t c = d->w.dim[0];
    sp_nn_run(nn, linear,
              &(SpLinear){.x = in,
                          .rows = rows,
                          .ldx = d->w.dim[1],
                          .w = d->w,
                          .b = d->b,
                          .residual = x,
                          .ldr = c,
                          .y = y,
                          .ldy = c});
}

/* xblock1_2(query, g), then the mean over its tokens: a [m, C]. */
static void cross_mean(const SpTracker *t, SpNn *nn, const SpTrackLevel *level, const SpPairs *p,
                       const float *g, float *a)
{
    const SpTrackBlock *b = &t->cross;
    const int64_t c = t->channels, keep = t->neighbours, m = p->tracks * p->frames;
    const int64_t rows = m * keep, hidden = b->mlp.fc1.w.dim[0], query = keep * c;
    const SpNnMark mark = sp_nn_mark(nn);
    float *x = sp_nn_floats(nn, rows * c), *y = sp_nn_floats(nn, rows * c);
    for (int64_t f = 0; f < p->frames; f++)
        sp_nn_copy_rows(nn, SP_ON_DEVICE, x + f * query, p->frames * query,
                        level->query + p->first_track * query, query, query, p->tracks);
    attend(nn, b, level->query_projected + p->first_track * query, keep, p->frames, g, m, keep, y);
    residual_dense(nn, &b->to_out, y, rows, x, x);
    float *wide = sp_nn_floats(nn, rows * hidden), *mean = sp_nn_floats(nn, m * hidden);
    sp_nn_layer_norm(nn, x, rows, c, NULL, NULL, EPS, y);
    sp_dense_run(nn, &b->mlp.fc1, y, rows, SP_GELU_TANH, wide, hidden);
    sp_nn_run(nn, group_mean, &(SpGroupMean){wide, m, keep, hidden, mean});
    sp_nn_run(nn, group_mean, &(SpGroupMean){x, m, keep, c, a});
    residual_dense(nn, &b->mlp.fc2, mean, m, a, a);
    sp_nn_release(nn, mark);
}

/* aggr(a, context) in place on a [m, C]. */
static void aggregate(const SpTracker *t, SpNn *nn, const float *context, int64_t m, float *a)
{
    const SpTrackBlock *b = &t->aggregate;
    const int64_t c = t->channels, hidden = b->mlp.fc1.w.dim[0];
    const SpNnMark mark = sp_nn_mark(nn);
    float *normed = sp_nn_floats(nn, m * c), *q = sp_nn_floats(nn, m * c);
    float *wide = sp_nn_floats(nn, m * hidden);
    sp_nn_layer_norm(nn, a, m, c, NULL, NULL, EPS, normed);
    sp_dense_run(nn, &b->to_q, normed, m, SP_IDENTITY, q, c);
    attend(nn, b, q, 1, 1, context, m, t->neighbours, q);
    residual_dense(nn, &b->to_out, q, m, a, a);
    sp_nn_layer_norm(nn, a, m, c, NULL, NULL, EPS, normed);
    sp_dense_run(nn, &b->mlp.fc1, normed, m, SP_GELU_TANH, wide, hidden);
    residual_dense(nn, &b->mlp.fc2, wide, m, a, a);
    sp_nn_release(nn, mark);
}

static void branch_3d(const SpTracker *t, SpNn *nn, const SpTrackLevel *level, int64_t frames,
                      const SpPairs *p, const float *xy, float *token3)
{
    const int64_t c = t->channels, m = p->tracks * p->frames, rows = m * t->neighbours;
    const int64_t mixed = t->cross_out.w.dim[0];
    const SpNnMark mark = sp_nn_mark(nn);
    float *both = sp_nn_floats(nn, rows * 2 * c), *g = sp_nn_floats(nn, rows * c);
    float *a = sp_nn_floats(nn, m * c), *out = sp_nn_floats(nn, m * mixed);
    float *features = sp_nn_floats(nn, m * t->corr);
    target_side(t, nn, level, frames, p, xy, both);
    mlp(nn, &t->corr_xyz_mlp, both, rows, g, c);
    cross_mean(t, nn, level, p, g, a);
    sp_nn_run(nn, add_rows, &(SpAddRows){g, both, 2 * c, rows, c});
    aggregate(t, nn, g, m, a);
    sp_dense_run(nn, &t->cross_out, a, m, SP_IDENTITY, out, mixed);
    mlp(nn, &t->corr_depth_mlp, out, m, features, t->corr);
    sp_nn_run(nn, scale_rows, &(SpScaleRows){features, p->valid, m, t->corr, token3, t->token3});
    sp_nn_release(nn, mark);
}

void sp_level_run(const SpTracker *t, SpNn *nn, const SpTrackLevel *level, int scale,
                  int64_t frames, const SpPairs *p, float *token, float *token3)
{
    const int64_t m = p->tracks * p->frames;
    const SpNnMark mark = sp_nn_mark(nn);
    float *xy = sp_nn_floats(nn, 2 * m);
    sp_nn_run(nn, elementwise,
              &(SpElementwise){p->xy, 2 * m, 1 / (float)(1 << scale), NULL, 0, SP_IDENTITY, xy});
    branch_2d(t, nn, level, frames, p, xy, token);
    branch_3d(t, nn, level, frames, p, xy, token3);
    sp_nn_release(nn, mark);
}
