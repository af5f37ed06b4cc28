/*
 * What depends on the query alone is computed once a window. The mean over the neighbours is taken
 * before the last layer of the cross block, with which it commutes.
 */
#include "tracker/correlation.h"

/* Encoded vectors into the first half of `rows` rows of 2 C. */
static void encode_vectors(const SpTracker *t, SpNn *nn, const float *vectors, int64_t rows,
                           float *both)
{
    const int64_t width = 3 * (1 + 2 * SP_DEGREE_FINE);
    SP_NN_SCOPE(nn);
    float *encoded = sp_nn_alloc(nn, rows * width);
    sp_nn_run(nn, posenc, &(SpPosenc){vectors, rows, 3, 3, SP_DEGREE_FINE, encoded, width});
    sp_mlp_run(nn, &t->rel_pos_mlp, encoded, rows, both, 2 * t->channels);
}

void sp_correlation_query(const SpTracker *t, SpNn *nn, const SpCorrelationLevel *level,
                          int64_t tracks)
{
    const int64_t c = t->channels, knn = t->knn, patch = t->patch_side * t->patch_side;
    for (int64_t first = 0; first < tracks; first += SP_ROW_TILE) {
        const int64_t count = sp_min(SP_ROW_TILE, tracks - first), rows = count * knn;
        const float *points = level->template_points + first * patch * 3;
        SP_NN_SCOPE(nn);
        float *centres = sp_nn_alloc(nn, count * 3), *vectors = sp_nn_alloc(nn, rows * 3);
        int32_t *index = (int32_t *)(void *)sp_nn_alloc(nn, rows);
        float *both = sp_nn_alloc(nn, rows * 2 * c), *query = level->query + first * knn * c;
        sp_nn_copy_rows(nn, SP_ON_DEVICE, centres, 3, points + patch / 2 * 3, patch * 3, 3, count);
        sp_nn_run(nn, knn, &(SpKnn){points, centres, count, patch, knn, index, vectors});
        encode_vectors(t, nn, vectors, rows, both);
        sp_nn_run(nn, gather_rows,
                  &(SpGatherRows){level->templates + first * patch * c, index, count, patch, knn, c,
                                  both + c, 2 * c});
        sp_mlp_run(nn, &t->corr_xyz_mlp, both, rows, query, c);
        sp_dense_normed(nn, &t->cross.to_q, &t->cross.norm, query, rows, rows,
                        level->query_projected + first * knn * c);
    }
}

static void branch_2d(const SpTracker *t, SpNn *nn, const SpCorrelationLevel *level,
                      const SpPairs *p, const float *xy, float *token)
{
    const int64_t m = p->tracks * p->frames, patch = t->patch_side * t->patch_side;
    SP_NN_SCOPE(nn);
    float *volume = sp_nn_alloc(nn, m * patch * patch);
    sp_nn_run(nn, correlate,
              &(SpCorrelate){.map = level->features,
                             .frames = level->frames,
                             .h = level->h,
                             .w = level->w,
                             .c = t->channels,
                             .xy = xy,
                             .frame = p->frame,
                             .pairs = m,
                             .run = p->frames,
                             .side = t->patch_side,
                             .templates = level->templates + p->first_track * patch * t->channels,
                             .out = volume});
    sp_mlp_run(nn, &t->corr_mlp, volume, m, token, t->token_width);
}

/* The target's side: both: [m knn, 2 C] encoded vectors and features of the nearest neighbours. */
static void target_side(const SpTracker *t, SpNn *nn, const SpCorrelationLevel *level,
                        const SpPairs *p, const float *xy, float *both)
{
    const int64_t m = p->tracks * p->frames, patch = t->patch_side * t->patch_side, knn = t->knn;
    SP_NN_SCOPE(nn);
    float *points = sp_nn_alloc(nn, m * patch * 3), *vectors = sp_nn_alloc(nn, m * knn * 3);
    int32_t *index = (int32_t *)(void *)sp_nn_alloc(nn, m * knn);
    SpSamplePatches samples = {.map = level->points,
                               .frames = level->frames,
                               .h = level->h,
                               .w = level->w,
                               .c = 3,
                               .xy = xy,
                               .frame = p->frame,
                               .pairs = m,
                               .side = t->patch_side,
                               .out = points,
                               .ldy = 3};
    sp_nn_run(nn, sample_patches, &samples);
    sp_nn_run(nn, knn, &(SpKnn){points, p->origin, m, patch, knn, index, vectors});
    encode_vectors(t, nn, vectors, m * knn, both);
    samples.map = level->features;
    samples.c = t->channels;
    samples.pick = index;
    samples.picks = knn;
    samples.out = both + t->channels;
    samples.ldy = 2 * t->channels;
    sp_nn_run(nn, sample_patches, &samples);
}

/* A cross block's attention of nq rows of q a pair over knn rows of context a pair. queries: batch,
 * nq, q and q_share of the call; y [batch nq, C]. */
static void attend(SpNn *nn, const SpTrackBlock *b, SpAttention queries, const float *context,
                   int64_t knn, float *y)
{
    const int64_t c = b->width, rows = queries.batch * knn;
    SP_NN_SCOPE(nn);
    float *normed = sp_nn_alloc(nn, rows * c), *kv = sp_nn_alloc(nn, rows * 2 * c);
    sp_norm_run(nn, &b->context_norm, context, rows, normed);
    sp_dense_run(nn, &b->to_kv, normed, rows, SP_IDENTITY, kv);
    queries.nk = knn;
    queries.q_batch = queries.nq * c;
    queries.q_row = c;
    queries.k = kv;
    queries.k_batch = knn * 2 * c;
    queries.k_row = 2 * c;
    queries.y = y;
    sp_attention_run(nn, b->heads, c, queries);
}

/* cross(query, g), then the mean over its tokens: a [m, C]. */
static void cross_mean(const SpTracker *t, SpNn *nn, const SpCorrelationLevel *level,
                       const SpPairs *p, const float *g, float *a)
{
    const SpTrackBlock *b = &t->cross;
    const int64_t c = t->channels, knn = t->knn, m = p->tracks * p->frames;
    const int64_t rows = m * knn, hidden = b->mlp.fc1.w.dim[0], query = knn * c;
    const SpAttention queries = {.batch = m,
                                 .nq = knn,
                                 .q = level->query_projected + p->first_track * query,
                                 .q_share = p->frames};
    SP_NN_SCOPE(nn);
    float *x = sp_nn_alloc(nn, rows * c), *y = sp_nn_alloc(nn, rows * c);
    for (int64_t f = 0; f < p->frames; f++)
        sp_nn_copy_rows(nn, SP_ON_DEVICE, x + f * query, p->frames * query,
                        level->query + p->first_track * query, query, query, p->tracks);
    attend(nn, b, queries, g, knn, y);
    sp_dense_call(nn, &b->to_out, (SpLinear){.x = y, .rows = rows, .residual = x, .y = x});
    float *wide = sp_nn_alloc(nn, rows * hidden), *mean = sp_nn_alloc(nn, m * hidden);
    sp_norm_run(nn, &b->norm, x, rows, y);
    sp_dense_run(nn, &b->mlp.fc1, y, rows, b->mlp.act, wide);
    sp_nn_run(nn, group_mean, &(SpGroupMean){wide, m, knn, hidden, mean});
    sp_nn_run(nn, group_mean, &(SpGroupMean){x, m, knn, c, a});
    sp_dense_call(nn, &b->mlp.fc2, (SpLinear){.x = mean, .rows = m, .residual = a, .y = a});
}

/* aggregate(a, context) in place on a [m, C]. */
static void aggregate(const SpTracker *t, SpNn *nn, const float *context, int64_t m, float *a)
{
    const SpTrackBlock *b = &t->aggregate;
    SP_NN_SCOPE(nn);
    float *q = sp_nn_alloc(nn, m * t->channels);
    sp_dense_normed(nn, &b->to_q, &b->norm, a, m, m, q);
    attend(nn, b, (SpAttention){.batch = m, .nq = 1, .q = q}, context, t->knn, q);
    sp_dense_call(nn, &b->to_out, (SpLinear){.x = q, .rows = m, .residual = a, .y = a});
    sp_mlp_add(nn, &b->mlp, &b->norm, NULL, a, m, m);
}

static void branch_3d(const SpTracker *t, SpNn *nn, const SpCorrelationLevel *level,
                      const SpPairs *p, const float *xy, float *token3)
{
    const int64_t c = t->channels, m = p->tracks * p->frames, rows = m * t->knn;
    SP_NN_SCOPE(nn);
    float *both = sp_nn_alloc(nn, rows * 2 * c), *g = sp_nn_alloc(nn, rows * c);
    float *a = sp_nn_alloc(nn, m * c), *out = sp_nn_alloc(nn, m * t->cross_out.w.dim[0]);
    float *features = sp_nn_alloc(nn, m * t->corr_width);
    target_side(t, nn, level, p, xy, both);
    sp_mlp_run(nn, &t->corr_xyz_mlp, both, rows, g, c);
    cross_mean(t, nn, level, p, g, a);
    sp_nn_run(nn, add_rows, &(SpAddRows){g, both, 2 * c, rows, c});
    aggregate(t, nn, g, m, a);
    sp_dense_run(nn, &t->cross_out, a, m, SP_IDENTITY, out);
    sp_mlp_run(nn, &t->corr_depth_mlp, out, m, features, t->corr_width);
    sp_nn_run(nn, scale_rows,
              &(SpScaleRows){features, p->valid, m, t->corr_width, token3, t->token3_width});
}

void sp_correlation_run(const SpTracker *t, SpNn *nn, const SpCorrelationLevel *level,
                        const SpPairs *p, float *token, float *token3)
{
    const int64_t m = p->tracks * p->frames;
    SP_NN_SCOPE(nn);
    float *xy = sp_nn_alloc(nn, 2 * m);
    sp_nn_run(nn, elementwise,
              &(SpElementwise){p->xy, 2 * m, level->scale, NULL, 0, SP_IDENTITY, xy});
    branch_2d(t, nn, level, p, xy, token);
    branch_3d(t, nn, level, p, xy, token3);
}
