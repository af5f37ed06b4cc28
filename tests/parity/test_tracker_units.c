/* The tracker network's units against the reference's recorded inputs and outputs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/golden.h"
#include "support/model.h"
#include "tracker/correlation.h"
#include "tracker/tokens.h"

/* tests/golden/README.md, "Tolerances": layers; what contains position encodings of degree 10 and
 * 12. */
static const double UNIT = 2e-5, ENCODED = 1e-3;

static SpCheckpoint *checkpoint;
static SpTracker tracker;

static int open_model(void **state)
{
    (void)state;
    checkpoint = model_checkpoint("tracker_offline");
    SpBinder binder = {.checkpoint = checkpoint};
    sp_tracker_bind(&binder, SP_TRACKER_OFFLINE, &tracker);
    if (binder.status.code != SP_OK)
        fail_msg("%s", binder.status.text);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    sp_checkpoint_close(checkpoint);
    return 0;
}

/* [a, b, c] to [b, a, c]. */
static float *swapped(const float *x, int64_t a, int64_t b, int64_t c)
{
    float *y = golden_zeros(a * b * c);
    for (int64_t i = 0; i < a * b; i++)
        memcpy(y + (i % b * a + i / b) * c, x + i * c, (size_t)c * sizeof *y);
    return y;
}

static void encoder(void **state)
{
    (void)state;
    enum { H = 64, W = 96, C = 128, H4 = H / 4, W4 = W / 4 };
    Golden *g = golden_open("tracker/fnet.safetensors");
    const float *input = golden_f32(g, "input", NULL);
    SpNn nn = model_context(256);
    float *image = golden_zeros(H * W * 3), *level[SP_CORRELATION_LEVELS];
    level[0] = golden_zeros(2 * H4 * W4 * C);
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < 3 * H * W; i++)
            image[i % (H * W) * 3 + i / (H * W)] = input[t * 3 * H * W + i];
        sp_encoder_run(&tracker.encoder, &nn, image, H, W, level[0] + t * H4 * W4 * C);
    }
    model_check(&nn);
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        const int64_t h = H4 >> l, w = W4 >> l;
        char name[20];
        float *first = golden_channels_first(level[l], 2, h * w, C);
        snprintf(name, sizeof name, "pyramid%d", l);
        golden_compare(g, name, first, UNIT);
        free(first);
        if (l + 1 < SP_CORRELATION_LEVELS) {
            level[l + 1] = golden_zeros(2 * h * w * C / 4);
            sp_nn_run(&nn, average_pool, &(SpAveragePool){level[l], 2, h, w, C, level[l + 1]});
        }
        free(level[l]);
    }
    free(image);
    model_close(&nn);
    golden_close(g);
}

static void sampling(void **state)
{
    (void)state;
    enum { T = 3, C = 8, H = 10, W = 12, N = 9, SIDE = 7, PATCH = SIDE * SIDE };
    Golden *g = golden_open("tracker/sample.safetensors");
    const float *maps = golden_f32(g, "maps", NULL);
    SpNn nn = model_context(8);
    float *map = golden_zeros(T * H * W * C), frame[T * N];
    for (int i = 0; i < T * C * H * W; i++)
        map[(i / (C * H * W) * H * W + i % (H * W)) * C + i / (H * W) % C] = maps[i];
    const float *at = golden_f32(g, "frame", NULL);
    float *support = golden_zeros(N * PATCH * C), *all = golden_zeros(T * N * PATCH * C);
    SpSamplePatches samples = {.map = map,
                               .frames = T,
                               .h = H,
                               .w = W,
                               .c = C,
                               .xy = golden_f32(g, "xy", NULL),
                               .frame = at,
                               .pairs = N,
                               .side = SIDE,
                               .out = support,
                               .ldy = C};
    sp_nn_run(&nn, sample_patches, &samples);
    float *ordered = swapped(support, N, PATCH, C);
    golden_compare(g, "track_support", ordered, UNIT);
    for (int i = 0; i < T * N; i++)
        frame[i] = (float)(i / N);
    samples.xy = golden_f32(g, "xy_all", NULL);
    samples.frame = frame;
    samples.pairs = T * N;
    samples.out = all;
    sp_nn_run(&nn, sample_patches, &samples);
    golden_compare(g, "correlation", all, UNIT);

    /* The correlation op is the product of the same samples with the templates. */
    float *volume = golden_zeros(T * N * PATCH * PATCH), *exact = golden_zeros(PATCH);
    float *templates = golden_zeros(T * N * PATCH * C);
    memcpy(templates, all, T * N * PATCH * C * sizeof *templates);
    sp_nn_run(&nn, correlate,
              &(SpCorrelate){.map = map,
                             .frames = T,
                             .h = H,
                             .w = W,
                             .c = C,
                             .xy = samples.xy,
                             .frame = frame,
                             .pairs = T * N,
                             .run = 1,
                             .side = SIDE,
                             .templates = templates,
                             .out = volume});
    for (int i = 0; i < T * N * PATCH * PATCH; i++) {
        const float *a = all + i / PATCH * C;
        const float *b = templates + (i / PATCH / PATCH * PATCH + i % PATCH) * C;
        double sum = 0;
        for (int c = 0; c < C; c++)
            sum += (double)a[c] * (double)b[c];
        assert_true(fabs(sum - (double)volume[i]) < 1e-5);
    }
    free(map), free(support), free(all), free(ordered), free(volume), free(exact), free(templates);
    model_close(&nn);
    golden_close(g);
}

static void time_embedding(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 6, 20, 60, 75};
    Golden *g = golden_open("tracker/time_embed.safetensors");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const int64_t t = lengths[i], width = tracker.token_width;
        float *all = golden_zeros(t * width), *some = golden_zeros(t * width / 5);
        sp_time_embedding(tracker.time_length, width, t, all);
        for (int64_t j = 0; j < t * width / 5; j++)
            some[j] = all[5 * j];
        char name[20];
        snprintf(name, sizeof name, "T%d", (int)t);
        golden_compare(g, name, some, UNIT);
        free(all), free(some);
    }
    golden_close(g);
}

/* A level whose maps are the recorded 7x7 patches: one frame a pair, the point in the middle. */
static void level(const char *file)
{
    enum { T = 3, N = 6, M = T * N, SIDE = 7, PATCH = SIDE * SIDE, C = 128 };
    Golden *g = golden_open(file);
    SpNn nn = model_context(256);
    float *patch = swapped(golden_f32(g, "corr_feat", NULL), T, N, PATCH * C);
    float *points = swapped(golden_f32(g, "corr_point_map", NULL), T, N, PATCH * 3);
    float *origin = swapped(golden_f32(g, "coords_xyz_init", NULL), T, N, 3);
    float *valid = swapped(golden_f32(g, "valid_mask", NULL), T, N, 1);
    float *map = golden_zeros(M * PATCH * C), *point_map = golden_zeros(M * PATCH * 3);
    for (int i = 0; i < M * PATCH; i++) { /* patches step x first, maps are row by row */
        const int at = i / PATCH * PATCH + i % SIDE * SIDE + i % PATCH / SIDE;
        memcpy(map + at * C, patch + i * C, C * sizeof *map);
        memcpy(point_map + at * 3, points + i * 3, 3 * sizeof *map);
    }
    float xy[2 * M], frame[M];
    for (int i = 0; i < M; i++) {
        xy[2 * i] = xy[2 * i + 1] = SIDE / 2;
        frame[i] = (float)i;
    }
    SpCorrelationLevel l = {.frames = M,
                            .h = SIDE,
                            .w = SIDE,
                            .scale = 1,
                            .features = map,
                            .points = point_map,
                            .query = sp_nn_alloc(&nn, N * tracker.knn * C),
                            .query_projected = sp_nn_alloc(&nn, N * tracker.knn * C)};
    float *templates = golden_zeros(N * PATCH * C), *template_points = golden_zeros(N * PATCH * 3);
    memcpy(templates, golden_f32(g, "track_feat_support", NULL), N * PATCH * C * sizeof(float));
    memcpy(template_points, golden_f32(g, "track_point_map_support", NULL),
           N * PATCH * 3 * sizeof(float));
    l.templates = templates;
    l.template_points = template_points;
    float *token = golden_zeros(M * tracker.token_width),
          *token3 = golden_zeros(M * tracker.token3_width);
    const SpPairs pairs = {0, N, T, frame, xy, origin, valid};
    sp_correlation_query(&tracker, &nn, &l, N);
    sp_correlation_run(&tracker, &nn, &l, &pairs, token, token3);
    model_check(&nn);
    float corr[M * 256], depth[M * 256];
    for (int i = 0; i < M; i++) {
        const int at = i % T * N + i / T; /* back to frame by frame */
        memcpy(corr + at * 256, token + i * tracker.token_width, 256 * sizeof *corr);
        memcpy(depth + at * 256, token3 + i * tracker.token3_width, 256 * sizeof *corr);
    }
    golden_compare(g, "corr_emb", corr, UNIT);
    golden_compare(g, "corr_depth_emb", depth, ENCODED);
    float *query = golden_zeros(M * 16 * C); /* recorded for every frame, though the same in all */
    for (int t = 0; t < T; t++)
        memcpy(query + t * N * 16 * C, l.query, (size_t)(N * 16 * C) * sizeof *query);
    golden_compare(g, "queried_feat", query, ENCODED);
    free(patch), free(points), free(origin), free(valid), free(map), free(point_map);
    free(templates), free(template_points), free(token), free(token3), free(query);
    model_close(&nn);
    golden_close(g);
}

static void level_0(void **state)
{
    (void)state;
    level("tracker/level0.safetensors");
}

static void level_2(void **state)
{
    (void)state;
    level("tracker/level2.safetensors");
}

/* First `keep` of every `width` values. */
static float *columns(const float *x, int64_t rows, int64_t width, int64_t keep)
{
    float *y = golden_zeros(rows * keep);
    for (int64_t i = 0; i < rows; i++)
        memcpy(y + i * keep, x + i * width, (size_t)keep * sizeof *y);
    return y;
}

static void tokens(void **state)
{
    (void)state;
    enum { T = 6, N = 6, M = T * N };
    Golden *g = golden_open("tracker/tokens.safetensors");
    SpNn nn = model_context(64);
    const int64_t w2 = tracker.token_width, w3 = tracker.token3_width;
    float *token = golden_zeros(M * w2), *token3 = golden_zeros(M * w3),
          *projected = golden_zeros(M * w2);
    const float *vis = golden_f32(g, "vis", NULL), *conf = golden_f32(g, "confidence", NULL);
    const float *corr = golden_f32(g, "corr_embs", NULL);
    const float *corr3 = golden_f32(g, "corr_depth_embs", NULL);
    const float *p = golden_f32(g, "coords_xyz", NULL);
    float logits[2 * M], motion3[6 * M];
    for (int n = 0; n < N; n++)
        for (int t = 0; t < T; t++) {
            const int i = n * T + t, j = t * N + n;
            logits[2 * i] = vis[j];
            logits[2 * i + 1] = conf[j];
            memcpy(token + i * w2 + 2, corr + j * 1024, 1024 * sizeof *token);
            memcpy(token3 + i * w3 + 2, corr3 + j * 1024, 1024 * sizeof *token);
            for (int c = 0; c < 3; c++) {
                motion3[6 * i + c] = t < T - 1 ? p[3 * j + c] - p[3 * (j + N) + c] : 0;
                motion3[6 * i + 3 + c] = t > 0 ? p[3 * j + c] - p[3 * (j - N) + c] : 0;
            }
        }
    float *coded = swapped(golden_f32(g, "rel_pos_emb_input", NULL), T, N, 84);
    float *carried = swapped(golden_f32(g, "rel_pos_query_glob", NULL), T, N, 150);
    float *motion = columns(coded, M, 84, SP_MOTION_2D),
          *carry = columns(carried, M, 150, SP_RIGID_CARRY);
    float *time = golden_zeros(T * w2);
    sp_time_embedding(tracker.time_length, w2, T, time);
    sp_tokens_finish(&tracker, &nn, &(SpTokenInputs){logits, motion, motion3, carry, time, M, T},
                     &(SpTokens){token, token3, projected});
    model_check(&nn);
    golden_compare(g, "x", token, ENCODED);
    golden_compare(g, "x_depth", projected, ENCODED);
    free(token), free(token3), free(projected), free(coded), free(carried), free(motion);
    free(carry), free(time);
    model_close(&nn);
    golden_close(g);
}

static void former(void **state)
{
    (void)state;
    enum { N = 40, T = 6, M = N * T };
    Golden *g = golden_open("tracker/updateformer.safetensors");
    SpNn nn = model_context(256);
    const int64_t d = tracker.former.width;
    float *stream2 = golden_zeros((N + tracker.former.virtual_tracks) * T * d),
          *stream3 = golden_zeros(M * d);
    const SpDense *transform = &tracker.former.input_transform;
    sp_dense_run(&nn, transform, golden_f32(g, "x", NULL), M, SP_IDENTITY, stream2);
    sp_dense_run(&nn, transform, golden_f32(g, "x_depth", NULL), M, SP_IDENTITY, stream3);
    const SpUpdates updates = {golden_zeros(2 * M), golden_zeros(2 * M), golden_zeros(4 * M),
                               golden_zeros(M)};
    sp_update_former_run(&tracker.former, &nn, N, T, stream2, stream3, &updates);
    model_check(&nn);
    float both[4 * M], xyz[3 * M], dyn[M];
    for (int i = 0; i < M; i++) {
        memcpy(both + 4 * i, updates.flow + 2 * i, 2 * sizeof *both);
        memcpy(both + 4 * i + 2, updates.vis_conf + 2 * i, 2 * sizeof *both);
        memcpy(xyz + 3 * i, updates.point + 4 * i, 3 * sizeof *xyz);
        dyn[i] = updates.point[4 * i + 3];
    }
    golden_compare(g, "flow_vis_conf", both, UNIT);
    golden_compare(g, "xyz", xyz, UNIT);
    golden_compare(g, "dyn", dyn, UNIT);
    golden_compare(g, "weight", updates.weight, UNIT);
    free(stream2), free(stream3);
    free(updates.flow), free(updates.vis_conf), free(updates.point), free(updates.weight);
    model_close(&nn);
    golden_close(g);
}

static void blocks(void **state)
{
    (void)state;
    enum { T = 6, V = 64, S = 63, P = 40, D = 384 };
    Golden *g = golden_open("tracker/updateformer.safetensors");
    const SpUpdateFormer *f = &tracker.former;
    SpNn nn = model_context(64);
    const struct {
        const char *name;
        const SpTrackBlock *block;
        int64_t tracks, others, frames;
    } cases[] = {{"time_blocks", f->time, T, 0, T},
                 {"time_blocks_new", f->time3, T, 0, T},
                 {"space_track3d2switcher_blocks", f->track_to_switcher, S, P, 1},
                 {"space_virtual2point_blocks", f->virtual_to_point, V, P, 1},
                 {"space_virtual2switcher_blocks", f->virtual_to_switcher, S, V, 1},
                 {"space_switcher2virtual_blocks", f->switcher_to_virtual, V, S, 1},
                 {"space_virtual_blocks", f->virtual_self, V, 0, 1},
                 {"space_switcher_blocks", f->switcher_self, S, 0, 1},
                 {"space_point2virtual_blocks", f->point_to_virtual, P, V, 1},
                 {"space_switcher2track3d_blocks", f->switcher_to_track, P, S, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char in0[80], in1[80], out[80];
        snprintf(in0, sizeof in0, "block.%s.0.in0", cases[i].name);
        snprintf(in1, sizeof in1, "block.%s.0.in1", cases[i].name);
        snprintf(out, sizeof out, "block.%s.0.out", cases[i].name);
        const int64_t rows = cases[i].tracks * cases[i].frames;
        float *x = columns(golden_f32(g, in0, NULL), rows, D, D);
        if (cases[i].others)
            sp_track_cross(&nn, cases[i].block, x, cases[i].tracks, golden_f32(g, in1, NULL),
                           cases[i].others, 1);
        else
            sp_track_self(&nn, cases[i].block, x, cases[i].tracks, cases[i].frames,
                          cases[i].frames > 1 ? SP_OVER_TIME : SP_OVER_TRACKS);
        model_check(&nn);
        golden_compare(g, out, x, UNIT);
        free(x);
    }
    model_close(&nn);
    golden_close(g);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(encoder), cmocka_unit_test(sampling), cmocka_unit_test(time_embedding),
        cmocka_unit_test(level_0), cmocka_unit_test(level_2),  cmocka_unit_test(tokens),
        cmocka_unit_test(blocks),  cmocka_unit_test(former),
    };
    return cmocka_run_group_tests_name("tracker units", cases, open_model, close_model);
}
