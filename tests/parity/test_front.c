/* The front network's units against the reference's recorded inputs and outputs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "front/internal.h"
#include "geometry/camera.h"
#include "media/frame_plan.h"
#include "support/dumped.h"
#include "support/golden.h"
#include "support/model.h"

/* tests/golden/README.md, "Tolerances" */
static const double UNIT = 2e-5, WHOLE = 1e-4, FULL = 5e-4, MEDIAN = 1e-5;

static const char *manifest = "front_tiny";
static SpCheckpoint *checkpoint;
static SpFront *front;

static int open_model(void **state)
{
    (void)state;
    checkpoint = model_checkpoint(manifest);
    const SpStatus status = sp_front_open(checkpoint, &front);
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    sp_front_close(front);
    sp_checkpoint_close(checkpoint);
    return 0;
}

/* 0..1 to the 0..255 that the prepared video holds. */
static float *video_of(const float *images, int64_t count)
{
    float *video = golden_zeros(count);
    for (int64_t i = 0; i < count; i++)
        video[i] = images[i] * 255;
    return video;
}

static void patch_embedding(void **state)
{
    (void)state;
    Golden *g = golden_open("front/patch_embed.safetensors");
    const SpTensor *images = golden_tensor(g, "images");
    const SpFrontDims dims = sp_front_dims(front, 2, images->dim[2], images->dim[3]);
    float *video = video_of(golden_f32(g, "images", NULL), sp_tensor_count(images));
    SpNn nn = model_context(64);
    float *tokens = sp_nn_alloc(&nn, 2 * dims.tokens * front->width);
    Dumped *dumped = dumped_begin(&nn);
    sp_patch_embed_run(front, &nn, &dims, video, tokens);
    model_check(&nn);
    /* normalised, tokens_in, block0, block1, patch_tokens */
    assert_int_equal(dumped_compare(dumped, "front/patch_embed", g, NULL, UNIT), 5);
    dumped_end(&nn, dumped);
    free(video);
    model_close(&nn);
    golden_close(g);
}

static void position_embedding(void **state)
{
    (void)state;
    static const int64_t grids[][2] = {{21, 37}, {37, 28}, {11, 37}, {37, 37}, {29, 37}};
    Golden *g = golden_open("front/patch_embed.safetensors");
    const int64_t width = front->width, stride = atoll(golden_meta(g, "pos_channel_stride"));
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        const int64_t rows = 1 + grids[i][0] * grids[i][1];
        float *all = golden_zeros(rows * width), *some = golden_zeros(rows * width / stride);
        sp_position_embedding(front->embed.pos_embed, front->embed.grid, grids[i][0], grids[i][1],
                              width, all);
        for (int64_t j = 0; j < rows * width / stride; j++)
            some[j] = all[j * stride];
        char name[40];
        snprintf(name, sizeof name, "pos_%dx%d", (int)grids[i][0], (int)grids[i][1]);
        golden_compare(g, name, some, UNIT);
        free(all), free(some);
    }
    golden_close(g);
}

static void blocks(void **state)
{
    (void)state;
    Golden *g = golden_open("front/blocks.safetensors");
    const SpFrontDims dims = sp_front_dims(front, 2, 5 * front->patch, 9 * front->patch);
    int64_t n;
    const float *input = golden_f32(g, "input", &n);
    SpNn nn = model_context(64);
    const SpPositions positions = sp_front_positions(front, &nn, &dims);
    float *x = sp_nn_alloc(&nn, n);
    sp_nn_copy(&nn, SP_UPLOAD, x, input, n);
    sp_block_run(&nn, &front->frame_block[1], x, 2, dims.tokens, &positions);
    golden_compare(g, "frame1.output", x, UNIT);
    sp_nn_copy(&nn, SP_UPLOAD, x, input, n);
    sp_block_run(&nn, &front->global_block[1], x, 1, 2 * dims.tokens, &positions);
    golden_compare(g, "global1.output", x, UNIT);
    model_check(&nn);
    model_close(&nn);
    golden_close(g);
}

/* The rotary embedding alone, at positions far from the origin as well. */
static void rotary(void **state)
{
    (void)state;
    enum { HEADS = 2, HEAD = 64, ROWS = 50, FIRST = 5, FAR = 3 };
    Golden *g = golden_open("front/blocks.safetensors");
    const float *input = golden_f32(g, "rope.input", NULL); /* [1, HEADS, ROWS, HEAD] */
    const SpFrontDims dims = sp_front_dims(front, 1, 5 * front->patch, 9 * front->patch);
    const float *far = golden_f32(g, "rope.far_positions", NULL);
    SpNn nn = model_context(64);
    const SpPositions near = sp_front_positions(front, &nn, &dims);
    int32_t far_yx[2 * FAR], max = 0;
    for (int i = 0; i < 2 * FAR; i++) {
        far_yx[i] = (int32_t)far[i];
        max = far_yx[i] > max ? far_yx[i] : max;
    }
    for (int which = 0; which < 2; which++) {
        const int64_t rows = which ? FAR : ROWS, begin = which ? FIRST : 0;
        float *qkv = golden_zeros(rows * 3 * HEADS * HEAD),
              *out = golden_zeros(rows * HEADS * HEAD);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t h = 0; h < HEADS; h++)
                memcpy(qkv + (r * 3 * HEADS + h) * HEAD, input + (h * ROWS + begin + r) * HEAD,
                       HEAD * sizeof *qkv);
        sp_nn_run(&nn, qk_norm_rope,
                  &(SpQkNormRope){.qkv = qkv,
                                  .rows = rows,
                                  .heads = HEADS,
                                  .head = HEAD,
                                  .position = which ? far_yx : near.yx,
                                  .period = rows,
                                  .max_position = which ? max : near.max,
                                  .rope_base = front->rope_base});
        for (int64_t r = 0; r < rows; r++)
            for (int64_t h = 0; h < HEADS; h++)
                memcpy(out + (h * rows + r) * HEAD, qkv + (r * 3 * HEADS + h) * HEAD,
                       HEAD * sizeof *qkv);
        golden_compare(g, which ? "rope.far_output" : "rope.output", out, UNIT);
        free(qkv), free(out);
    }
    model_close(&nn);
    golden_close(g);
}

static void aggregator(void **state)
{
    (void)state;
    Golden *g = golden_open("front/aggregator.safetensors");
    const SpTensor *images = golden_tensor(g, "images");
    const SpFrontDims dims = sp_front_dims(front, 3, images->dim[2], images->dim[3]);
    const int64_t width = front->width, n = dims.patches, plane = dims.frames * n * width;
    float *video = video_of(golden_f32(g, "images", NULL), sp_tensor_count(images));
    SpNn nn = model_context(64);
    SpFrontFeatures features;
    for (int k = 0; k < SP_FRONT_TAPS; k++)
        features.tap[k] = golden_zeros(2 * plane);
    features.camera = golden_zeros(dims.frames * 2 * width);
    Dumped *dumped = dumped_begin(&nn);
    sp_aggregator_run(front, &nn, &dims, video, &features);
    model_check(&nn);
    assert_int_equal(dumped_compare(dumped, "front/aggregator", g, NULL, UNIT), SP_FRONT_TAPS);
    dumped_end(&nn, dumped);
    for (int k = 0; k < SP_FRONT_TAPS; k++) {
        char name[20];
        snprintf(name, sizeof name, "out%d", k);
        const float *theirs = golden_f32(g, name, NULL);
        float *ours = golden_zeros(dims.frames * dims.tokens * 2 * width);
        memcpy(ours, theirs, (size_t)(dims.frames * dims.tokens * 2 * width) * sizeof *ours);
        for (int64_t t = 0; t < dims.frames; t++) {
            for (int64_t p = 0; p < n; p++)
                for (int64_t half = 0; half < 2; half++)
                    memcpy(ours + ((t * dims.tokens + dims.tokens - n + p) * 2 + half) * width,
                           features.tap[k] + half * plane + (t * n + p) * width,
                           (size_t)width * sizeof *ours);
            if (k == SP_FRONT_TAPS - 1)
                memcpy(ours + t * dims.tokens * 2 * width, features.camera + t * 2 * width,
                       (size_t)(2 * width) * sizeof *ours);
        }
        golden_compare(g, name, ours, UNIT);
        free(ours), free(features.tap[k]);
    }
    free(features.camera), free(video);
    model_close(&nn);
    golden_close(g);
}

static void camera_head(void **state)
{
    (void)state;
    enum { T = 5, ROUNDS = 4 };
    Golden *g = golden_open("front/camera.safetensors");
    const float *tokens = golden_f32(g, "tokens", NULL);
    SpNn nn = model_context(64);
    float encoding[9 * T];
    Dumped *dumped = dumped_begin(&nn);
    sp_camera_head_run(front, &nn, T, tokens, encoding);
    /* token_norm, modulation0, trunk0, delta, poses */
    assert_int_equal(dumped_compare(dumped, "front/camera", g, NULL, UNIT), 5);
    dumped_end(&nn, dumped);
    const float *published = front->camera.pose_branch.fc2.b;
    front->camera.pose_branch.fc2.b = golden_f32(g, "low.bias", NULL);
    dumped = dumped_begin(&nn);
    sp_camera_head_run(front, &nn, T, tokens, encoding);
    front->camera.pose_branch.fc2.b = published;
    model_check(&nn);
    int64_t count;
    golden_compare(g, "low.poses", dumped_values(dumped, "front/camera/poses", &count), UNIT);
    assert_int_equal(count, 9 * T * ROUNDS);
    dumped_end(&nn, dumped);
    model_close(&nn);
    golden_close(g);
}

static void cameras(void **state)
{
    (void)state;
    enum { N = 12 };
    Golden *g = golden_open("front/camera.safetensors");
    const float *encoding = golden_f32(g, "encoding", NULL);
    float c2w[16 * N], k[9 * N];
    for (int size = 0; size < 2; size++) {
        for (int i = 0; i < N; i++)
            sp_camera_of_encoding(encoding + 9 * i, size ? 518 : 294, 518, c2w + 16 * i, k + 9 * i);
        golden_compare(g, size ? "intrinsics_518x518" : "intrinsics_294x518", k, UNIT);
        golden_compare(g, "camera_to_world", c2w, UNIT);
    }
    float closed[9];
    memcpy(closed, encoding, sizeof closed);
    closed[8] = 0;
    assert_false(sp_camera_of_encoding(closed, 294, 518, c2w, k));
    golden_close(g);
}

static void depth_head(void **state)
{
    (void)state;
    Golden *g = golden_open("front/dpt.safetensors");
    const SpFrontDims dims = sp_front_dims(front, 2, 98, 140);
    const int64_t width = front->width, n = dims.patches, plane = 2 * n * width;
    SpNn nn = model_context(128);
    float *tap[SP_FRONT_TAPS];
    for (int k = 0; k < SP_FRONT_TAPS; k++) {
        char name[20];
        snprintf(name, sizeof name, "tokens%d", k);
        const float *tokens = golden_f32(g, name, NULL);
        tap[k] = golden_zeros(2 * plane);
        for (int64_t r = 0; r < 2 * n; r++)
            for (int64_t half = 0; half < 2; half++)
                memcpy(tap[k] + half * plane + r * width,
                       tokens +
                           ((r / n * dims.tokens + dims.tokens - n + r % n) * 2 + half) * width,
                       (size_t)width * sizeof *tokens);
    }
    const SpDepthHead head = sp_depth_head_pack(front, &nn, &dims);
    const int64_t image = dims.height * dims.width;
    float *depth = golden_zeros(2 * image), *confidence = golden_zeros(2 * image);
    Dumped *dumped = dumped_begin(&nn);
    for (int64_t t = 0; t < 2; t++) {
        SpDepthFrames frame = {
            .count = 1, .depth = depth + t * image, .confidence = confidence + t * image};
        for (int k = 0; k < SP_FRONT_TAPS; k++)
            frame.tap[k] = tap[k] + t * n * width;
        sp_depth_head_run(front, &nn, &dims, &head, &frame);
    }
    model_check(&nn);
    golden_compare(g, "depth", depth, UNIT);
    golden_compare(g, "conf", confidence, UNIT);
    /* norm0, four each of project, resize, rn and fuse, conv1, before_activation, depth, conf */
    assert_int_equal(dumped_compare(dumped, "front/dpt", g, NULL, UNIT), 21);
    dumped_end(&nn, dumped);

    const float *input = golden_f32(g, "rcu.input", NULL); /* [1, 32, 6, 5] */
    float *x = sp_nn_alloc(&nn, 30 * 32);
    for (int64_t i = 0; i < 30 * 32; i++)
        x[i % 30 * 32 + i / 30] = input[i];
    sp_residual_unit_run(&nn, &head.unit1[2], (SpFeatureMap){x, 1, 6, 5, 32});
    float *rcu = golden_channels_first(x, 1, 30, 32);
    golden_compare(g, "rcu.output", rcu, UNIT);
    free(depth), free(confidence), free(rcu);
    for (int k = 0; k < SP_FRONT_TAPS; k++)
        free(tap[k]);
    model_close(&nn);
    golden_close(g);
}

static void uv_embedding(void **state)
{
    (void)state;
    static const int64_t cases[][5] = {/* h, w, c, image height, width */
                                       {7, 10, 16, 98, 140},
                                       {21, 37, 32, 294, 518},
                                       {98, 140, 16, 98, 140},
                                       {5, 9, 24, 518, 518}};
    Golden *g = golden_open("front/dpt.safetensors");
    SpNn nn = model_context(64);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t h = cases[i][0], w = cases[i][1], c = cases[i][2];
        const int64_t stride = h * w > 2000 ? 7 : 1;
        const SpFrontDims dims = sp_front_dims(front, 1, cases[i][3], cases[i][4]);
        float *x = golden_zeros(h * w * c), *some = golden_zeros(h * w * c);
        sp_uv_add(&nn, sp_uv_tables(front, &nn, &dims, h, w, c), (SpFeatureMap){x, 1, h, w, c});
        float *to = some;
        for (int64_t p = 0; p < h * w; p++)
            if (p / w % stride == 0 && p % w % stride == 0) {
                memcpy(to, x + p * c, (size_t)c * sizeof *to);
                to += c;
            }
        for (int64_t j = 0; j < to - some; j++)
            some[j] *= 10; /* the goldens hold the sines and cosines before the factor 0.1 */
        char name[40];
        snprintf(name, sizeof name, "uv_%dx%dx%d", (int)h, (int)w, (int)c);
        golden_compare(g, name, some, UNIT);
        free(x), free(some);
    }
    model_close(&nn);
    golden_close(g);
}

static void aligned_resize(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{21, 13}, {22, 14}, {5, 4}, {11, 7}, {1, 9}};
    Golden *g = golden_open("front/dpt.safetensors");
    const float *input = golden_f32(g, "align.input", NULL);
    SpNn nn = model_context(1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t h = sizes[i][0], w = sizes[i][1];
        float *y = golden_zeros(3 * h * w);
        for (int64_t c = 0; c < 3; c++)
            sp_nn_run(&nn, resize,
                      &(SpResize){input + c * 77, 1, 11, 7, 1, y + c * h * w, h, w, 1});
        char name[40];
        snprintf(name, sizeof name, "align_%dx%d", (int)h, (int)w);
        golden_compare(g, name, y, UNIT);
        free(y);
    }
    model_close(&nn);
    golden_close(g);
}

static void compare_sampled(Golden *g, const char *name, const float *maps, int64_t frames,
                            int64_t height, int64_t width, int64_t stride, double tolerance)
{
    const int64_t h = (height + stride - 1) / stride, w = (width + stride - 1) / stride;
    float *some = golden_zeros(frames * h * w);
    for (int64_t i = 0; i < frames * h * w; i++)
        some[i] = maps[(i / w / h * height + i / w % h * stride) * width + i % w * stride];
    golden_compare(g, name, some, tolerance);
    free(some);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median over the sampled depths of |ours - golden| / golden. */
static double median_error(Golden *g, const float *depth, int64_t frames, int64_t height,
                           int64_t width, int64_t stride)
{
    const int64_t h = (height + stride - 1) / stride, w = (width + stride - 1) / stride;
    const float *theirs = golden_f32(g, "depth", NULL);
    double *error = calloc((size_t)(frames * h * w), sizeof *error);
    assert_non_null(error);
    for (int64_t i = 0; i < frames * h * w; i++) {
        const float ours =
            depth[(i / w / h * height + i / w % h * stride) * width + i % w * stride];
        error[i] = fabs((double)ours / (double)theirs[i] - 1);
    }
    qsort(error, (size_t)(frames * h * w), sizeof *error, ascending);
    const double median = error[frames * h * w / 2];
    free(error);
    return median;
}

/* Frames as bytes through the preparation and the whole network. stride 0: poses alone. */
static void end_to_end(const char *file, int64_t stride, double tolerance)
{
    Golden *g = golden_open(file);
    const SpTensor *frames = golden_tensor(g, "frames");
    const int64_t t = frames->dim[0];
    SpFramePlan plan;
    const SpStatus planned = sp_frame_plan(frames->dim[1], frames->dim[2], sp_front_width(front),
                                           front->patch, SP_PORTRAIT_CROP, 0, &plan);
    if (planned.code != SP_OK)
        fail_msg("%s", planned.text);
    const int64_t image = plan.height * plan.width;
    float *video = golden_zeros(t * 3 * image);
    for (int64_t i = 0; i < t; i++)
        assert_int_equal(
            sp_frame_resize(&plan,
                            (const uint8_t *)frames->data + i * frames->dim[1] * frames->dim[2] * 3,
                            video + i * 3 * image)
                .code,
            SP_OK);
    const SpFrontInput input = {t, plan.height, plan.width, video, 0};
    SpNn nn = model_context(512), dry = sp_nn_dry(nn.device);
    const SpFrontOutput output = {golden_zeros(t * image), golden_zeros(t * image),
                                  golden_zeros(9 * t), golden_zeros(16 * t), golden_zeros(9 * t)};
    assert_int_equal(sp_front_run(front, &dry, &input, &output).code, SP_OK);
    const SpStatus status = sp_front_run(front, &nn, &input, &output);
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
    assert_int_equal(dry.arena.peak, nn.arena.peak);
    assert_int_equal(dry.host.peak, nn.host.peak);
    assert_int_equal(nn.arena.used + nn.host.used, 0);
    golden_compare(g, "poses_pred", output.c2w, tolerance);
    if (stride) {
        golden_compare(g, "intrs", output.intrinsics, tolerance);
        compare_sampled(g, "depth", output.depth, t, plan.height, plan.width, stride, tolerance);
        compare_sampled(g, "unc_metric", output.confidence, t, plan.height, plan.width, stride,
                        tolerance);
        printf("# depth: median relative error %.2g\n",
               median_error(g, output.depth, t, plan.height, plan.width, stride));
        assert_true(median_error(g, output.depth, t, plan.height, plan.width, stride) <= MEDIAN);
    }
    free(video), free(output.depth), free(output.confidence), free(output.pose_enc);
    free(output.c2w), free(output.intrinsics);
    model_close(&nn);
    golden_close(g);
}

static void tiny(void **state)
{
    (void)state;
    end_to_end("front/tiny.safetensors", 7, WHOLE);
}

static void tiny_chunks(void **state)
{
    (void)state;
    end_to_end("front/tiny_chunks.safetensors", 13, WHOLE);
}

/* The golden's network crops frames of 72x96 itself and stretches its maps back, which is no one's
 * geometry; its poses are those of the cropped frames. */
static void tiny_cropped(void **state)
{
    (void)state;
    end_to_end("front/tiny_resized_back.safetensors", 0, WHOLE);
}

static void full_size(void **state)
{
    (void)state;
    end_to_end("front/full.safetensors", 7, FULL);
}

/* With the argument "full": the full-size network, whose checkpoint of 4.6 GB is written to /tmp.
 */
int main(int argc, char **argv)
{
    const struct CMUnitTest full[] = {cmocka_unit_test(full_size)};
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(patch_embedding),
        cmocka_unit_test(position_embedding),
        cmocka_unit_test(blocks),
        cmocka_unit_test(rotary),
        cmocka_unit_test(aggregator),
        cmocka_unit_test(camera_head),
        cmocka_unit_test(cameras),
        cmocka_unit_test(depth_head),
        cmocka_unit_test(uv_embedding),
        cmocka_unit_test(aligned_resize),
        cmocka_unit_test(tiny),
        cmocka_unit_test(tiny_chunks),
        cmocka_unit_test(tiny_cropped),
    };
    if (argc > 1 && strcmp(argv[1], "full") == 0) {
        manifest = "front";
        return cmocka_run_group_tests_name("front, full size", full, open_model, close_model);
    }
    return cmocka_run_group_tests_name("front", cases, open_model, close_model);
}
