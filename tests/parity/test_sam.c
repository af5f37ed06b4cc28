/* SAM's units against the reference's recorded inputs and outputs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/half.h"
#include "sam/internal.h"
#include "support/dumped.h"
#include "support/golden.h"
#include "support/model.h"

/* tests/golden/README.md, "Tolerances" */
static const double PIXELS = 5e-5, NEAR_ZERO = 1e-3;
static double limit;

static SpCheckpoint *checkpoint;
static SpSam *sam;

static int open_model(SpCheckpoint *opened, double tolerance)
{
    limit = tolerance;
    checkpoint = opened;
    const SpStatus status = sp_sam_open(checkpoint, &sam);
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
    return 0;
}

static int open_tiny(void **state)
{
    (void)state;
    return open_model(model_checkpoint("sam_tiny"), 2e-5);
}

static int open_base(void **state)
{
    (void)state;
    return open_model(model_checkpoint("sam_base"), 2e-5);
}

/* With the encoder's matrices in f16, as GPUs read them. */
static int open_compact(void **state)
{
    (void)state;
    open_model(model_checkpoint_compact("sam_tiny"), 1e-3);
    assert_int_equal(sam->vision.layer[0].qkv.w.dtype, SP_F16);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    sp_sam_close(sam);
    sp_checkpoint_close(checkpoint);
    return 0;
}

static uint8_t *bytes(int64_t count)
{
    uint8_t *x = calloc((size_t)count, 1);
    assert_non_null(x);
    return x;
}

static void compare_map(Golden *g, const char *name, const float *x, int64_t pixels, int64_t c)
{
    float *y = golden_channels_first(x, 1, pixels, c);
    golden_compare(g, name, y, limit);
    free(y);
}

/* Bytes may differ from the golden only where there are logits, and theirs is as good as 0. */
static void bytes_equal(Golden *g, const char *name, const uint8_t *mask, const float *logits)
{
    const SpTensor *theirs = golden_tensor(g, name);
    const int64_t stride = golden_stride(g, name);
    for (int64_t i = 0; i < sp_tensor_count(theirs); i++)
        if (mask[i * stride] != ((const uint8_t *)theirs->data)[i] &&
            !(logits && fabs((double)logits[i * stride]) <= NEAR_ZERO))
            fail_msg("%s: byte %lld differs", name, (long long)(i * stride));
}

static void model_resize(void **state)
{
    (void)state;
    enum { SIDE = 128 };
    static const char *const names[] = {"landscape_up",  "landscape_down", "portrait_up",
                                        "portrait_down", "square_up",      "wide_same"};
    Golden *g = golden_open("sam/preprocess.safetensors");
    const SpSam small = {.side = SIDE};
    SpNn nn = model_context(4);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!golden_has(g, golden_name(names[i], "image")))
            continue;
        const SpTensor *image = golden_tensor(g, golden_name(names[i], "image"));
        const SpSamSizes s = sp_sam_sizes(&small, image->dim[0], image->dim[1], 0);
        uint8_t *resized = bytes(3 * s.model_height * s.model_width);
        sp_sam_resize_model(&nn, image->data, s.height, s.width, resized, s.model_height,
                            s.model_width);
        bytes_equal(g, golden_name(names[i], "resized"), resized, NULL);
        if (golden_has(g, golden_name(names[i], "pixel_values"))) {
            float *pixels = golden_zeros(3 * SIDE * SIDE);
            sp_sam_normalise(resized, s.model_height, s.model_width, SIDE, pixels);
            compare_map(g, golden_name(names[i], "pixel_values"), pixels, SIDE * SIDE, 3);
            free(pixels);
        }
        free(resized);
    }
    model_check(&nn);
    model_close(&nn);
    golden_close(g);
}

static void frame_resize(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t h, w;
    } cases[] = {{"resize_up", 84, 149}, {"resize_down", 108, 83}, {"resize_half", 34, 60}};
    Golden *g = golden_open("sam/mask_use.safetensors");
    SpNn nn = model_context(4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const SpTensor *image = golden_tensor(g, golden_name(cases[i].name, "image"));
        uint8_t *resized = bytes(3 * cases[i].h * cases[i].w);
        sp_sam_resize_frame(&nn, image->data, image->dim[0], image->dim[1], resized, cases[i].h,
                            cases[i].w);
        bytes_equal(g, golden_name(cases[i].name, "resized"), resized, NULL);
        free(resized);
    }
    model_check(&nn);
    model_close(&nn);
    golden_close(g);
}

/* src/sam/README.md, "The prompt frame": the shorter side is 336, or 334 where a double falls
 * short. */
static void frame_sizes(void **state)
{
    (void)state;
    static const int64_t cases[][4] = {
        {480, 854, 336, 596}, {1080, 1920, 336, 596}, {330, 600, 334, 610}, {480, 368, 438, 336}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const SpSamSizes s = sp_sam_sizes(sam, cases[i][0], cases[i][1], SP_SAM_SHORT_SIDE);
        assert_int_equal(s.frame_height, cases[i][2]);
        assert_int_equal(s.frame_width, cases[i][3]);
    }
}

static void layers(void **state)
{
    (void)state;
    Golden *g = golden_open("sam/vision_layers.safetensors");
    const int64_t grid = sam->vision.grid, width = sam->vision.width, count = grid * grid * width;
    SpNn nn = model_context(16);
    for (int i = 0; i < 2; i++) {
        const SpSamLayer *layer = &sam->vision.layer[i];
        char unit[10];
        snprintf(unit, sizeof unit, "layer%d", i);
        SP_NN_SCOPE(&nn);
        float *x = sp_nn_alloc(&nn, count), *y = sp_nn_alloc(&nn, count);
        sp_nn_copy(&nn, SP_UPLOAD, x, golden_f32(g, golden_name(unit, "input"), NULL), count);
        float *qkv = sp_nn_alloc(&nn, 3 * count);
        sp_norm_run(&nn, &layer->norm1, x, grid * grid, y);
        golden_compare(g, golden_name(unit, "norm1"), y, limit);
        sp_dense_run(&nn, &layer->qkv, y, grid * grid, SP_IDENTITY, qkv);
        sp_nn_run(&nn, elementwise, &(SpElementwise){.x = y, .count = count, .y = y}); /* zeros */
        sp_sam_layer_attention(&nn, layer, grid, qkv, y);
        /* The reference's windows hold tokens beyond the grid, which nobody reads. */
        const char *attn = golden_name(unit, "attn");
        const int64_t side = layer->side, across = (grid + side - 1) / side;
        float *windows = golden_zeros(across * across * side * side * width);
        const SpTensor *theirs = golden_tensor(g, attn);
        for (int64_t k = 0; k < sp_tensor_count(theirs); k++) {
            const int64_t at = k * golden_stride(g, attn), token = at / width;
            const int64_t window = token / side / side;
            const int64_t row = window / across * side + token / side % side;
            const int64_t column = window % across * side + token % side;
            windows[at] = row < grid && column < grid
                              ? y[(row * grid + column) * width + at % width]
                              : (float)sp_tensor_at(theirs, k);
        }
        golden_compare(g, attn, windows, limit);
        free(windows);
        sp_sam_layer_run(&nn, layer, grid, x);
        golden_compare(g, golden_name(unit, "output"), x, limit);
    }
    model_check(&nn);
    model_close(&nn);
    golden_close(g);
}

static void vision(void **state)
{
    (void)state;
    Golden *g = golden_open("sam/vision_tiny.safetensors");
    const SpTensor *image = golden_tensor(g, "image");
    const SpSamSizes s = sp_sam_sizes(sam, image->dim[0], image->dim[1], 0);
    const int64_t pixels = sam->vision.grid * sam->vision.grid;
    SpNn nn = model_context(16);
    float *model_image = golden_zeros(3 * sam->side * sam->side);
    sp_sam_model_image(sam, &nn, &s, image->data, model_image);
    float *embedding = sp_nn_alloc(&nn, pixels * sam->width);
    Dumped *dumped = dumped_begin(&nn);
    sp_sam_encode(sam, &nn, model_image, embedding);
    /* pixel_values, patches_plus_position, four layers, output */
    assert_int_equal(dumped_compare(dumped, "sam/vision", g, NULL, limit), 7);
    compare_map(g, "output", embedding, pixels, sam->width);
    dumped_end(&nn, dumped);
    model_check(&nn);
    model_close(&nn);
    free(model_image);
    golden_close(g);
}

static const char *const KINDS[] = {"point", "negative", "posneg", "skipped", "box", "box_points"};
enum { KIND_COUNT = 6, MAX_POINTS = 4 };

/* A prompt of a golden and memory for its numbers. */
typedef struct Prompt {
    SpPrompt prompt;
    double point[2 * MAX_POINTS], box[4];
    int label[MAX_POINTS];
} Prompt;

static void read_prompt(Golden *g, const char *unit, const char *box, Prompt *p)
{
    *p = (Prompt){0};
    if (golden_has(g, golden_name(unit, "points"))) {
        const SpTensor *point = golden_tensor(g, golden_name(unit, "points"));
        const SpTensor *label = golden_tensor(g, golden_name(unit, "labels"));
        p->prompt = (SpPrompt){point->dim[0], p->point, p->label, NULL};
        for (int64_t i = 0; i < 2 * point->dim[0]; i++)
            p->point[i] = sp_tensor_at(point, i);
        for (int64_t i = 0; i < point->dim[0]; i++)
            p->label[i] = (int)sp_tensor_at(label, i);
    }
    if (golden_has(g, golden_name(unit, box))) {
        p->prompt.box = p->box;
        for (int64_t i = 0; i < 4; i++)
            p->box[i] = sp_tensor_at(golden_tensor(g, golden_name(unit, box)), i);
    }
}

/* All kinds of prompts, and the position map of which every image_stride-th value is kept along
 * each axis. */
static void prompts_of(const char *file, int64_t image_stride)
{
    Golden *g = golden_open(file);
    int checked = 0;
    for (int k = 0; k < KIND_COUNT; k++) {
        Prompt p;
        if (!golden_has(g, golden_name(KINDS[k], "sparse")))
            continue;
        read_prompt(g, KINDS[k], "boxes", &p);
        const int64_t count = sp_sam_sparse_count(&p.prompt);
        assert_int_equal(golden_tensor(g, golden_name(KINDS[k], "sparse"))->dim[0], count);
        float *sparse = golden_zeros(count * sam->width);
        sp_sam_sparse(sam, &p.prompt, sparse);
        golden_compare(g, golden_name(KINDS[k], "sparse"), sparse, limit);
        free(sparse);
        checked++;
    }
    assert_true(checked >= 3);
    const int64_t grid = sam->vision.grid, pixels = grid * grid, n = grid / image_stride;
    float *map = golden_zeros(pixels * sam->width), *some = golden_zeros(pixels * sam->width);
    sp_sam_image_position(sam, map);
    for (int64_t c = 0; c < sam->width / image_stride; c++)
        for (int64_t i = 0; i < n * n; i++)
            some[c * n * n + i] = map[((i / n * grid + i % n) * sam->width + c) * image_stride];
    golden_compare(g, "image_position", some, limit);
    free(map), free(some);
    golden_close(g);
}

static void prompts_tiny(void **state)
{
    (void)state;
    prompts_of("sam/prompt_tiny.safetensors", 1);
}

static void prompts_base(void **state)
{
    (void)state;
    prompts_of("sam/prompt_base.safetensors", 8);
}

/* Host position map and the golden's embedding [D, G, G] as device maps [G, G, D]. */
static void decoder_maps(Golden *g, SpNn *nn, float **embedding, float **position)
{
    const int64_t pixels = sam->vision.grid * sam->vision.grid;
    float *host = golden_zeros(pixels * sam->width);
    *embedding = sp_nn_alloc(nn, pixels * sam->width);
    *position = sp_nn_alloc(nn, pixels * sam->width);
    const float *first = golden_f32(g, "image_embeddings", NULL);
    for (int64_t i = 0; i < pixels * sam->width; i++)
        host[i] = first[i % sam->width * pixels + i / sam->width];
    sp_nn_copy(nn, SP_UPLOAD, *embedding, host, pixels * sam->width);
    sp_sam_image_position(sam, host);
    sp_nn_copy(nn, SP_UPLOAD, *position, host, pixels * sam->width);
    free(host);
}

/* The decoder from the inside as well: blocks, tokens, upscaling and hypernetworks of one kind. */
static void decoder(void **state)
{
    (void)state;
    Golden *g = golden_open("sam/decoder_tiny.safetensors");
    const int64_t pixels = 16 * sam->vision.grid * sam->vision.grid;
    SpNn nn = model_context(32);
    float *embedding, *position, *masks = golden_zeros(SP_SAM_MASKS * pixels), iou[SP_SAM_MASKS];
    decoder_maps(g, &nn, &embedding, &position);
    for (int k = 0; k < KIND_COUNT; k++) {
        const SpTensor *sparse = golden_tensor(g, golden_name(KINDS[k], "sparse"));
        const SpSamDecoding in = {embedding, position,
                                  golden_f32(g, golden_name(KINDS[k], "sparse"), NULL),
                                  sparse->dim[0]};
        Dumped *dumped = dumped_begin(&nn);
        sp_sam_decode(sam, &nn, &in, masks, iou);
        golden_compare(g, golden_name(KINDS[k], "single_mask"), masks, limit);
        golden_compare(g, golden_name(KINDS[k], "masks"), masks + pixels, limit);
        golden_compare(g, golden_name(KINDS[k], "single_iou"), iou, limit);
        golden_compare(g, golden_name(KINDS[k], "iou"), iou + 1, limit);
        /* sparse and these four; of a box with points two blocks' tokens and images, tokens,
         * upscaled and hyper */
        assert_int_equal(dumped_compare(dumped, "sam/decoder", g, KINDS[k], limit),
                         strcmp(KINDS[k], "box_points") == 0 ? 12 : 5);
        dumped_end(&nn, dumped);
    }
    model_check(&nn);
    model_close(&nn);
    free(masks);
    golden_close(g);
}

/* Post-processing, whose logits go to `logits` [height, width]. */
static void postprocess_logits(SpNn *nn, const SpSamSizes *s, const float *low, float *logits,
                               uint8_t *mask)
{
    int64_t count;
    Dumped *dumped = dumped_begin(nn);
    sp_sam_postprocess(sam, nn, s, low, 1, mask);
    const float *rows = dumped_values(dumped, "sam/postprocess/logits", &count);
    assert_int_equal(count, s->height * s->width);
    memcpy(logits, rows, (size_t)count * sizeof *logits);
    dumped_end(nn, dumped);
}

static void postprocess(void **state)
{
    (void)state;
    static const char *const names[] = {"landscape", "portrait", "square", "large"};
    enum { MASKS = 3 };
    Golden *g = golden_open("sam/postprocess.safetensors");
    const float *low = golden_f32(g, "logits", NULL);
    const int64_t low_pixels = 16 * sam->vision.grid * sam->vision.grid;
    SpNn nn = model_context(4);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const SpTensor *size = golden_tensor(g, golden_name(names[i], "size"));
        const SpTensor *model = golden_tensor(g, golden_name(names[i], "reshaped_size"));
        const SpSamSizes s =
            sp_sam_sizes(sam, (int64_t)sp_tensor_at(size, 0), (int64_t)sp_tensor_at(size, 1), 0);
        assert_int_equal(s.model_height, (int64_t)sp_tensor_at(model, 0));
        assert_int_equal(s.model_width, (int64_t)sp_tensor_at(model, 1));
        const int64_t pixels = s.height * s.width;
        float *logits = golden_zeros(MASKS * pixels);
        uint8_t *masks = bytes(MASKS * pixels);
        for (int m = 0; m < MASKS; m++)
            postprocess_logits(&nn, &s, low + m * low_pixels, logits + m * pixels,
                               masks + m * pixels);
        if (golden_has(g, golden_name(names[i], "logits")))
            golden_compare(g, golden_name(names[i], "logits"), logits, PIXELS);
        bytes_equal(g, golden_name(names[i], "masks"), masks, logits);
        free(logits), free(masks);
    }
    model_check(&nn);
    model_close(&nn);
    golden_close(g);
}

/* An image and a prompt through the whole model: exact memory, IoU, and the mask, which leaves no
 * tolerance for pixels near 0 as the tiny goldens have none. */
static void whole(Golden *g, const char *image_name, const char *unit, SpSamSelect select)
{
    const SpTensor *image = golden_tensor(g, golden_name(image_name, "image"));
    const int64_t pixels = image->dim[0] * image->dim[1];
    Prompt p;
    read_prompt(g, unit, "box", &p);
    const SpSamInput input = {.height = image->dim[0],
                              .width = image->dim[1],
                              .rgb = image->data,
                              .objects = 1,
                              .prompt = &p.prompt,
                              .select = select};
    float iou;
    const SpSamOutput output = {bytes(pixels), &iou};
    SpNn nn = model_context(64), dry = sp_nn_dry(nn.device);
    assert_int_equal(sp_sam_run(sam, &dry, &input, NULL).code, SP_OK);
    const SpStatus status = sp_sam_run(sam, &nn, &input, &output);
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
    assert_int_equal(dry.arena.peak, nn.arena.peak);
    assert_int_equal(dry.host.peak, nn.host.peak);
    assert_int_equal(nn.arena.used + nn.host.used, 0);
    const float *theirs = golden_f32(g, golden_name(unit, "iou"), NULL);
    if (select == SP_SAM_FIRST) {
        assert_true(fabs((double)iou - (double)theirs[0]) <= limit);
        bytes_equal(g, golden_name(unit, "mask"), output.mask, NULL);
    } else {
        const float best = fmaxf(fmaxf(theirs[0], theirs[1]), theirs[2]);
        assert_true(fabs((double)iou - (double)best) <= limit);
    }
    free(output.mask);
    model_close(&nn);
}

static void end_to_end(void **state)
{
    (void)state;
    Golden *g = golden_open("sam/e2e_tiny.safetensors");
    whole(g, "landscape", "landscape.point", SP_SAM_FIRST);
    whole(g, "landscape", "landscape.posneg", SP_SAM_FIRST);
    whole(g, "landscape", "landscape.box", SP_SAM_FIRST);
    whole(g, "landscape", "landscape.box_points", SP_SAM_FIRST);
    whole(g, "portrait", "portrait.posneg", SP_SAM_FIRST);
    whole(g, "landscape", "landscape.point", SP_SAM_BEST);
    golden_close(g);
}

/* Four masks and IoUs of a prompt in the model image's pixels; embedding: device [G, G, D]. */
static void decode_prompt(SpNn *nn, const float *embedding, const SpPrompt *prompt, float *masks,
                          float *iou)
{
    const int64_t map = sam->vision.grid * sam->vision.grid * sam->width;
    const int64_t count = sp_sam_sparse_count(prompt);
    float *code = golden_zeros(map), *sparse = golden_zeros(count * sam->width);
    float *position = sp_nn_alloc(nn, map);
    sp_sam_image_position(sam, code);
    sp_nn_copy(nn, SP_UPLOAD, position, code, map);
    sp_sam_sparse(sam, prompt, sparse);
    sp_sam_decode(sam, nn, &(SpSamDecoding){embedding, position, sparse, count}, masks, iou);
    model_check(nn);
    free(code), free(sparse);
}

/* Logits of the three masks before they are scaled up. */
static void low_resolution(void **state)
{
    (void)state;
    Golden *g = golden_open("sam/e2e_tiny.safetensors");
    const SpTensor *image = golden_tensor(g, "landscape.image");
    const int64_t pixels = sam->vision.grid * sam->vision.grid;
    const SpSamSizes s = sp_sam_sizes(sam, image->dim[0], image->dim[1], 0);
    SpNn nn = model_context(64);
    float *model_image = golden_zeros(3 * sam->side * sam->side), iou[SP_SAM_MASKS];
    float *masks = golden_zeros(SP_SAM_MASKS * 16 * pixels);
    float *embedding = sp_nn_alloc(&nn, pixels * sam->width);
    sp_sam_model_image(sam, &nn, &s, image->data, model_image);
    sp_sam_encode(sam, &nn, model_image, embedding);
    Prompt p;
    read_prompt(g, "landscape.posneg", "box", &p);
    for (int64_t i = 0; i < p.prompt.points; i++) {
        p.point[2 * i] *= (double)s.model_width / (double)s.width;
        p.point[2 * i + 1] *= (double)s.model_height / (double)s.height;
    }
    decode_prompt(&nn, embedding, &p.prompt, masks, iou);
    golden_compare(g, "landscape.posneg.low_res", masks + 16 * pixels, limit);
    golden_compare(g, "landscape.posneg.iou", iou + 1, limit);
    free(model_image), free(masks);
    model_close(&nn);
    golden_close(g);
}

/* Of x [a, b, c] the values at every step-th place of each axis. */
static void compare_sampled(Golden *g, const char *name, const float *x, int64_t a, int64_t b,
                            int64_t c, const int64_t step[3], double tolerance)
{
    float *some = golden_zeros(a * b * c), *to = some;
    for (int64_t i = 0; i < a; i += step[0])
        for (int64_t j = 0; j < b; j += step[1])
            for (int64_t k = 0; k < c; k += step[2])
                *to++ = x[(i * b + j) * c + k];
    golden_compare(g, name, some, tolerance);
    free(some);
}

/* The base size's goldens are too large for the repository: they are read from the project's shared
 * folder where there is one. */
static bool use_shared_goldens(void)
{
    const char *given = getenv("SPATRACK_SHARED"), *beside = getenv("SP_BESIDE");
    char folder[4096], file[4200];
    snprintf(folder, sizeof folder, "%s/golden", given ? given : beside ? beside : "../shared");
    snprintf(file, sizeof file, "%s/sam/e2e_base.safetensors", folder);
    if (access(file, R_OK) == 0)
        return setenv("SP_GOLDEN_DIR", folder, 1) == 0;
    print_message("# no %s: set SPATRACK_SHARED\n", file);
    return false;
}

/* The published base dimensions on one frame of 1024 with one point. */
static void base_size(void **state)
{
    (void)state;
    if (!use_shared_goldens())
        skip();
    Golden *g = golden_open("sam/e2e_base.safetensors");
    Golden *frame = golden_open("sam/frame_1024.safetensors");
    const SpTensor *image = golden_tensor(frame, "image");
    const int64_t grid = sam->vision.grid, pixels = grid * grid, width = sam->vision.width;
    const SpSamSizes s = sp_sam_sizes(sam, image->dim[0], image->dim[1], SP_SAM_SHORT_SIDE);
    SpNn nn = model_context(256);
    float *model_image = golden_zeros(3 * sam->side * sam->side), iou[SP_SAM_MASKS];
    float *masks = golden_zeros(SP_SAM_MASKS * 16 * pixels);
    float *logits = golden_zeros(s.height * s.width);
    uint8_t *mask = bytes(s.height * s.width);
    float *embedding = sp_nn_alloc(&nn, pixels * sam->width);
    sp_sam_model_image(sam, &nn, &s, image->data, model_image);
    float *planes = golden_channels_first(model_image, 1, sam->side * sam->side, 3);
    compare_sampled(frame, "pixel_values_sample", planes, 3, sam->side, sam->side,
                    (int64_t[]){1, 16, 16}, limit);
    free(planes);
    Dumped *dumped = dumped_begin(&nn);
    sp_sam_encode(sam, &nn, model_image, embedding);
    for (int64_t i = 0; i < sam->vision.layers; i++) {
        char name[2][32];
        int64_t count;
        snprintf(name[0], sizeof name[0], "sam/vision/layer%d", (int)i);
        snprintf(name[1], sizeof name[1], "layer%d_sample", (int)i);
        compare_sampled(g, name[1], dumped_values(dumped, name[0], &count), grid, grid, width,
                        (int64_t[]){7, 7, 16}, limit);
    }
    dumped_end(&nn, dumped);
    planes = golden_channels_first(embedding, 1, pixels, sam->width);
    compare_sampled(g, "image_embedding_sample", planes, sam->width, grid, grid,
                    (int64_t[]){4, 7, 7}, limit);
    free(planes);
    const SpTensor *at = golden_tensor(g, "model_points");
    const double point[2] = {sp_tensor_at(at, 0), sp_tensor_at(at, 1)};
    const int label = (int)sp_tensor_at(golden_tensor(g, "labels"), 0);
    decode_prompt(&nn, embedding, &(SpPrompt){1, point, &label, NULL}, masks, iou);
    golden_compare(g, "iou", iou + 1, limit);
    compare_sampled(g, "low_res_sample", masks + 16 * pixels, 3, 4 * grid, 4 * grid,
                    (int64_t[]){1, 4, 4}, limit);
    postprocess_logits(&nn, &s, masks + 16 * pixels, logits, mask);
    model_check(&nn);
    compare_sampled(g, "logits_sample", logits, 1, s.height, s.width, (int64_t[]){1, 5, 5}, PIXELS);
    bytes_equal(g, "mask", mask, logits);
    free(model_image), free(masks), free(logits), free(mask);
    model_close(&nn);
    golden_close(g);
    golden_close(frame);
}

/* With the argument "base": the published base dimensions (94 M values, a checkpoint in /tmp); with
 * "units": without whole images, which an emulated device takes long for. */
int main(int argc, char **argv)
{
    const struct CMUnitTest base[] = {cmocka_unit_test(prompts_base), cmocka_unit_test(base_size)};
    const struct CMUnitTest units[] = {
        cmocka_unit_test(model_resize), cmocka_unit_test(frame_resize),
        cmocka_unit_test(frame_sizes),  cmocka_unit_test(layers),
        cmocka_unit_test(vision),       cmocka_unit_test(prompts_tiny),
        cmocka_unit_test(decoder),      cmocka_unit_test(postprocess)};
    const struct CMUnitTest whole[] = {cmocka_unit_test(end_to_end),
                                       cmocka_unit_test(low_resolution)};
    const struct CMUnitTest halves[] = {cmocka_unit_test(vision)};
    const char *asked = argc > 1 ? argv[1] : "";
    if (strcmp(asked, "base") == 0)
        return cmocka_run_group_tests_name("sam, base size", base, open_base, close_model);
    const int failed = cmocka_run_group_tests_name("sam", units, open_tiny, close_model);
    if (strcmp(asked, "units") == 0)
        return failed;
    return failed + cmocka_run_group_tests_name("sam, whole", whole, open_tiny, close_model) +
           cmocka_run_group_tests_name("sam, compact copy", halves, open_compact, close_model);
}
