/* Plans of memory: what is planned is what is used, and no plan changes a result. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "front/front.h"
#include "lite/embedded.h"
#include "nn/planner.h"
#include "sam/sam.h"
#include "store/registry.h"
#include "support/model.h"
#include "support/tracker.h"
#include "tracker/tracker.h"

enum { SETTINGS = 200, MAX_FRAMES = 120, MAX_POINTS = 24 };

typedef enum Kind { FRONT, TRACKER, SAM, LITE_SAM, ONLINE, KINDS } Kind;

/* A device that counts the bytes allocated on it, and on which weights in place are impossible. */
static SpDevice *cpu, device;
static size_t allocated, max_allocated;

static void *alloc_counted(SpDevice *self, size_t bytes)
{
    (void)self;
    allocated += bytes;
    max_allocated = allocated > max_allocated ? allocated : max_allocated;
    return cpu->alloc(cpu, bytes);
}

static void free_counted(SpDevice *self, void *memory, size_t bytes)
{
    (void)self;
    allocated -= bytes;
    cpu->free(cpu, memory, bytes);
}

/* The ops expect the CPU's own SpDevice. One thread: barriers are slow on a busy machine. */
static void open_device(void)
{
    assert_int_equal(sp_cpu_open(1, &cpu).code, SP_OK);
    device = *cpu;
    device.alloc = alloc_counted;
    device.free = free_counted;
    allocated = max_allocated = 0;
}

typedef struct Model {
    void *copy; /* of an embedded checkpoint, to be changed */
    size_t size;
    SpCheckpoint *checkpoint;
    SpFront *front;
    SpTracker *tracker;
    SpSam *sam;
} Model;

static Model models[KINDS];

/* Replaces a text of the configuration by one as long. */
static void patch(const Model *model, const char *from, const char *to)
{
    assert_int_equal(strlen(from), strlen(to));
    char *at = memmem(model->copy, model->size, from, strlen(from));
    assert_non_null(at);
    memcpy(at, to, strlen(to));
}

static void check(SpStatus status)
{
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
}

static Model open_embedded(SpModelId id)
{
    Model model = {0};
    const char *name = sp_model_info(id)->name;
    const void *data = sp_embedded((SpLiteWeights)sp_model_info(id)->builtin, &model.size);
    assert_non_null(data);
    model.copy = malloc(model.size);
    assert_non_null(model.copy);
    memcpy(model.copy, data, model.size);
    if (id == SP_MODEL_OFFLINE) {
        patch(&model, "\\\"resolution\\\": 196", "\\\"resolution\\\":  28");
        patch(&model, "[192, 256]", "[ 64,  64]");
    }
    check(sp_checkpoint_open_memory(model.copy, model.size, name, &model.checkpoint));
    return model;
}

static void open_kind(Kind kind)
{
    static const SpModelId embedded[] = {[FRONT] = SP_MODEL_FRONT,
                                         [TRACKER] = SP_MODEL_OFFLINE,
                                         [LITE_SAM] = SP_MODEL_SAM_LITE,
                                         [ONLINE] = SP_MODEL_OFFLINE};
    Model *model = &models[kind];
    *model = kind == SAM ? (Model){.checkpoint = model_checkpoint("sam_tiny")}
                         : open_embedded(embedded[kind]);
    if (kind == FRONT)
        check(sp_front_open(model->checkpoint, &model->front));
    else if (kind == TRACKER)
        check(sp_tracker_open(model->checkpoint, SP_TRACKER_OFFLINE, &model->tracker));
    else if (kind == ONLINE)
        check(sp_tracker_open(model->checkpoint, SP_TRACKER_ONLINE, &model->tracker));
    else
        check(sp_sam_open(model->checkpoint, &model->sam));
}

static void close_kind(Kind kind)
{
    Model *model = &models[kind];
    sp_front_close(model->front);
    sp_tracker_close(model->tracker);
    sp_sam_close(model->sam);
    sp_checkpoint_close(model->checkpoint);
    free(model->copy);
    *model = (Model){0};
}

static int open_all(void **state)
{
    (void)state;
    open_device();
    for (Kind kind = 0; kind < KINDS; kind++)
        open_kind(kind);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    for (Kind kind = 0; kind < KINDS; kind++)
        close_kind(kind);
    cpu->close(cpu);
    return 0;
}

static uint64_t seed;

/* A whole number in min .. max. */
static int64_t any(int64_t min, int64_t max)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return min + (int64_t)((seed >> 33) % (uint64_t)(max - min + 1));
}

static bool is_sam(Kind kind)
{
    return kind == SAM || kind == LITE_SAM;
}

/* What a stage is run on, and one block of floats for all that it returns. */
typedef struct Case {
    Kind kind;
    int64_t frames, height, width, points, support;
    float *video, *depth, *query, *out;
    uint8_t *rgb;
    size_t out_count;
} Case;

static float *noise(int64_t count, float min, float max)
{
    float *x = golden_zeros(count);
    for (int64_t i = 0; i < count; i++)
        x[i] = min + (max - min) * (float)any(0, 1000) / 1000;
    return x;
}

static Case make_case(Kind kind, int64_t frames, int64_t rows, int64_t columns, int64_t points,
                      int64_t support)
{
    Case c = {.kind = kind, .frames = frames, .points = points, .support = support};
    c.height = 16 * rows;
    c.width = 16 * columns;
    const int64_t area = c.height * c.width, maps = frames * area, pairs = frames * points;
    c.out_count = (size_t)(kind == FRONT  ? 2 * maps + 34 * frames
                           : is_sam(kind) ? area + points
                                          : 2 * maps + 25 * frames + 8 * pairs + points);
    c.out = golden_zeros((int64_t)c.out_count);
    if (is_sam(kind)) {
        c.rgb = malloc((size_t)(3 * area));
        for (int64_t i = 0; i < 3 * area; i++)
            c.rgb[i] = (uint8_t)any(0, 255);
        /* What a point finds is looked at once more: something is found on a bright block. */
        for (int64_t y = c.height / 3; kind == LITE_SAM && y < 2 * c.height / 3; y++)
            memset(c.rgb + 3 * (y * c.width + c.width / 3), 255, (size_t)c.width);
        return c;
    }
    c.video = noise(3 * maps, 0, 255);
    if (kind == FRONT)
        return c;
    /* A slope without edges, on which every support point is valid. */
    c.depth = golden_zeros(maps);
    for (int64_t i = 0; i < maps; i++)
        c.depth[i] = 2 + (float)(i % c.width) * 0.001f;
    c.query = golden_zeros(3 * points);
    for (int64_t n = 0; n < points; n++) {
        c.query[3 * n] = (float)(n ? any(0, frames - 1) : 0);
        c.query[3 * n + 1] = (float)any(0, c.width - 1);
        c.query[3 * n + 2] = (float)any(0, c.height - 1);
    }
    return c;
}

static void free_case(Case *c)
{
    free(c->video), free(c->depth), free(c->query), free(c->out), free(c->rgb);
}

static SpStatus run_front(const Case *c, SpNn *nn)
{
    const int64_t maps = c->frames * c->height * c->width;
    const SpFrontInput in = {c->frames, c->height, c->width, c->video, 0};
    float *at = c->out;
    const SpFrontOutput out = {at, at + maps, at + 2 * maps, at + 2 * maps + 9 * c->frames,
                               at + 2 * maps + 25 * c->frames};
    const SpStatus status = sp_front_run(models[FRONT].front, nn, &in, &out);
    /* Noise may show no camera; all else is computed. */
    return status.code == SP_INPUT ? sp_ok() : status;
}

static SpStatus run_tracker(const Case *c, SpNn *nn)
{
    const int64_t maps = c->frames * c->height * c->width, pairs = c->frames * c->points;
    float *confident = golden_zeros(maps), *k = golden_zeros(9 * c->frames);
    float *c2w = golden_zeros(16 * c->frames), *at = c->out;
    for (int64_t i = 0; i < maps; i++)
        confident[i] = 1;
    for (int64_t t = 0; t < c->frames; t++)
        for (int i = 0; i < 4; i++) {
            c2w[16 * t + 5 * i] = 1;
            if (i < 3)
                k[9 * t + 4 * i] = i == 2 ? 1 : (float)c->width;
            k[9 * t + 2] = (float)c->width / 2;
            k[9 * t + 5] = (float)c->height / 2;
        }
    const SpTrackerInput in = {c->frames, c->height, c->width, c->video, c->depth, confident, k,
                               c2w,       c->points, c->query, 0,        false,    0};
    const SpTrackerSettings settings = {
        .iterations = 1, .support = c->support, .seed = 7, .replace_ratio = 0.2};
    SpTrackerOutput out;
    float **const part[] = {&out.tracks,     &out.camera_points, &out.visibility,
                            &out.confidence, &out.dynamic,       &out.c2w,
                            &out.intrinsics, &out.depth,         &out.valid};
    const int64_t size[] = {3 * pairs,      3 * pairs,     pairs, pairs, c->points,
                            16 * c->frames, 9 * c->frames, maps,  maps};
    for (int i = 0; i < 9; at += size[i++])
        *part[i] = at;
    const SpStatus status = sp_tracker_run(models[c->kind].tracker, nn, &in, &settings, &out);
    free(confident), free(k), free(c2w);
    return status;
}

static SpStatus run_sam(const Case *c, SpNn *nn)
{
    const int64_t area = c->height * c->width;
    const double box[] = {1, 1, (double)c->width - 2, (double)c->height - 2};
    const double middle[] = {(double)c->width / 2, (double)c->height / 2};
    const int on_it[] = {1};
    SpPrompt prompt[MAX_POINTS];
    for (int64_t i = 0; i < c->points; i++)
        prompt[i] = i % 2 && c->kind == LITE_SAM
                        ? (SpPrompt){.points = 1, .point = middle, .label = on_it}
                        : (SpPrompt){.box = box};
    const SpSamInput in = {c->height, c->width, c->rgb, 0, c->points, prompt, SP_SAM_BEST};
    uint8_t *mask = calloc((size_t)area, 1);
    const SpStatus status =
        sp_sam_run(models[c->kind].sam, nn, &in, &(SpSamOutput){mask, c->out + area});
    for (int64_t i = 0; i < area && !nn->dry; i++)
        c->out[i] = mask[i];
    free(mask);
    return status;
}

static SpStatus run_case(void *self, SpNn *nn)
{
    const Case *c = self;
    return c->kind == FRONT  ? run_front(c, nn)
           : is_sam(c->kind) ? run_sam(c, nn)
                             : run_tracker(c, nn);
}

static SpWeights *weights_of(Kind kind)
{
    return sp_checkpoint_weights(models[kind].checkpoint);
}

static SpDryRun dry_run(Case *c)
{
    return (SpDryRun){run_case, c, weights_of(c->kind)};
}

/* Runs in exactly the memory planned and holds what was measured against it. */
static void run_planned(Case *c, const SpFootprint *footprint)
{
    SpNn nn;
    SpWeights *weights = weights_of(c->kind);
    const size_t loaded = sp_weights_loaded(weights), before = allocated - loaded;
    max_allocated = allocated;
    memset(c->out, 0, c->out_count * sizeof *c->out);
    if (footprint->plan.weights == SP_RESIDENT)
        check(sp_weights_load(weights, &device));
    check(sp_nn_open(cpu, footprint->device, footprint->host, &nn));
    max_allocated += footprint->device;
    nn.plan = footprint->plan;
    nn.weights = weights;
    check(run_case(c, &nn));
    assert_int_equal(nn.arena.peak, footprint->device);
    assert_int_equal(nn.host.peak, footprint->host);
    assert_int_equal(nn.arena.used, 0);
    assert_int_equal(nn.host.used, 0);
    assert_int_equal(max_allocated - before, footprint->device + footprint->weights);
    assert_true(nn.moved_bytes + (double)footprint->weights == footprint->moved_bytes);
    sp_nn_close(&nn);
    sp_weights_drop(weights, &device);
    assert_int_equal(allocated, before);
}

static Case any_case(void)
{
    const Kind kind = any(0, 9) == 0 ? SAM : any(0, 1) ? FRONT : TRACKER;
    if (kind == SAM)
        return make_case(SAM, 1, any(1, 6), any(1, 6), any(1, 3), 0);
    const int64_t frames = any(0, 3) ? any(1, 16) : any(17, MAX_FRAMES);
    return make_case(kind, frames, any(1, 3), any(1, 4), any(1, MAX_POINTS), any(0, 20));
}

static void what_is_planned_is_what_is_used(void **state)
{
    (void)state;
    int ran = 0, refused = 0, from_host = 0;
    seed = 1;
    for (int i = 0; i < SETTINGS; i++) {
        Case c = any_case();
        const SpDryRun dry = dry_run(&c);
        const SpPlanConstraints constraints = {.forced = true, .mode = (SpWeightMode)any(0, 2)};
        SpMemoryLimits limits = {SIZE_MAX, SIZE_MAX};
        SpFootprint fastest, leanest, footprint;
        bool fits;
        check(sp_plan_choose(cpu, &dry, &constraints, &limits, &fastest, &fits));
        assert_true(fits);
        limits.device = 0;
        check(sp_plan_choose(cpu, &dry, &constraints, &limits, &leanest, &fits));
        assert_false(fits);
        const size_t max = fastest.device + fastest.weights, min = leanest.device + leanest.weights;
        limits.device = min - min / 16 + (size_t)any(0, 1000) * (max - min + min / 8) / 1000;
        check(sp_plan_choose(cpu, &dry, &constraints, &limits, &footprint, &fits));
        assert_true(fits == (footprint.device + footprint.weights <= limits.device));
        if (fits)
            run_planned(&c, &footprint);
        else
            assert_int_equal(footprint.device, leanest.device);
        ran += fits;
        refused += !fits;
        from_host += fits && footprint.plan.features_on_host;
        free_case(&c);
    }
    assert_true(ran > SETTINGS / 2 && refused > 10 && from_host > 20);
}

/* All plans there are for `c` give what the fastest one in place gives. */
static void every_plan_gives(Case *c)
{
    static const int64_t rows[] = {0, SP_ROW_TILE, 2 * SP_ROW_TILE};
    static const int64_t queries[] = {SP_ROW_TILE, 2 * SP_ROW_TILE, 0};
    const SpDryRun dry = dry_run(c);
    const SpPlan fastest = {0};
    SpFootprint footprint;
    size_t max = 0, min = SIZE_MAX;
    check(sp_plan_footprint(cpu, &dry, &fastest, &footprint));
    run_planned(c, &footprint);
    float *expected = golden_zeros((int64_t)c->out_count);
    memcpy(expected, c->out, c->out_count * sizeof *expected);
    for (int i = 0; i < 4 * 2 * 3; i++) {
        const SpPlan plan = {.weights = i % 4 < 3 ? (SpWeightMode)(i % 4) : SP_STREAMED,
                             .keep_loop_weights = i % 4 == 3,
                             .taps_on_device = i / 4 % 2,
                             .features_on_host = i / 4 % 2,
                             .roomy = i < 8,
                             .rows = rows[i / 8],
                             .queries = queries[(i / 8 + i) % 3]};
        check(sp_plan_footprint(cpu, &dry, &plan, &footprint));
        run_planned(c, &footprint);
        assert_memory_equal(c->out, expected, c->out_count * sizeof *expected);
        max = footprint.device > max ? footprint.device : max;
        min = footprint.device < min ? footprint.device : min;
    }
    assert_true(min < max);
    free(expected);
}

static void the_front_is_the_same_under_every_plan(void **state)
{
    (void)state;
    Case c = make_case(FRONT, 16, 7, 7, 1, 0);
    every_plan_gives(&c);
    free_case(&c);
}

static void the_tracker_is_the_same_under_every_plan(void **state)
{
    (void)state;
    Case whole = make_case(TRACKER, 24, 2, 3, 20, 14), odd = make_case(TRACKER, 5, 2, 3, 20, 14);
    every_plan_gives(&whole);
    every_plan_gives(&odd);
    free_case(&whole);
    free_case(&odd);
}

/* Two windows, whose overlap is kept where the features are. */
static void the_online_tracker_is_the_same_under_every_plan(void **state)
{
    (void)state;
    Case c = make_case(ONLINE, 24, 2, 3, 9, 7);
    every_plan_gives(&c);
    free_case(&c);
}

static void sam_is_the_same_under_every_plan(void **state)
{
    (void)state;
    Case c = make_case(SAM, 1, 5, 6, 2, 0), lite = make_case(LITE_SAM, 1, 5, 6, 2, 0);
    every_plan_gives(&c);
    every_plan_gives(&lite);
    free_case(&c);
    free_case(&lite);
}

/* Spoils every weight of the file that the ops are to read on the device. */
static void spoil(const Model *model, const SpWeights *weights)
{
    SpSafetensors *file;
    check(sp_safetensors_open_memory(model->copy, model->size, "copy", SP_CHECKPOINT, &file));
    int spoilt = 0;
    for (size_t i = 0; i < sp_safetensors_count(file); i++) {
        const SpTensor *tensor;
        sp_safetensors_at(file, i, &tensor);
        const void *found = sp_weights_find(weights, tensor->data);
        if (found == NULL || found == tensor->data)
            continue;
        memset((void *)(uintptr_t)tensor->data, 0xff,
               (size_t)sp_tensor_count(tensor) * sp_dtype_size(tensor->dtype));
        spoilt++;
    }
    assert_true(spoilt > 50);
    sp_safetensors_close(file);
}

static void resident_weights_are_read_on_the_device_alone(void **state)
{
    (void)state;
    for (Kind kind = FRONT; kind <= TRACKER; kind++) {
        Case c = make_case(kind, 5, 3, 3, 6, 5);
        const SpDryRun dry = dry_run(&c);
        SpFootprint footprint;
        check(sp_plan_footprint(cpu, &dry, &(SpPlan){0}, &footprint));
        run_planned(&c, &footprint);
        float *expected = golden_zeros((int64_t)c.out_count);
        memcpy(expected, c.out, c.out_count * sizeof *expected);
        check(sp_plan_footprint(cpu, &dry, &(SpPlan){.weights = SP_RESIDENT}, &footprint));
        check(sp_weights_load(weights_of(kind), &device));
        spoil(&models[kind], weights_of(kind));
        run_planned(&c, &footprint);
        assert_memory_equal(c.out, expected, c.out_count * sizeof *expected);
        free(expected);
        free_case(&c);
        close_kind(kind);
        open_kind(kind);
    }
}

/* vLLM's issues 16564 and 29341 (wrong after waking), 16663 and 15254 (memory that stays, or is
 * held twice): any sequence of loading, dropping, streaming and closing gives the same bits. */
static void any_sequence_of_sleeps_gives_the_same(void **state)
{
    (void)state;
    seed = 5;
    for (Kind kind = FRONT; kind <= TRACKER; kind++) {
        Case c = make_case(kind, 4, 2, 3, 6, 5);
        float *expected = golden_zeros((int64_t)c.out_count);
        SpFootprint footprint;
        for (int i = 0; i < 16; i++) {
            const SpDryRun dry = dry_run(&c);
            const SpPlan plan = {.weights = i ? (SpWeightMode)any(0, 2) : SP_IN_PLACE,
                                 .keep_loop_weights = any(0, 1)};
            check(sp_plan_footprint(cpu, &dry, &plan, &footprint));
            if (any(0, 1)) { /* level 1: on the device and off again, as often as you like */
                check(sp_weights_load(dry.weights, &device));
                check(sp_weights_load(dry.weights, &device));
                assert_int_equal(allocated, sp_weights_loaded(dry.weights));
                sp_weights_drop(dry.weights, &device);
                sp_weights_drop(dry.weights, &device);
            }
            assert_int_equal(allocated, 0);
            run_planned(&c, &footprint);
            if (i == 0)
                memcpy(expected, c.out, c.out_count * sizeof *expected);
            assert_memory_equal(c.out, expected, c.out_count * sizeof *expected);
            if (any(0, 2) == 0) { /* level 2 */
                close_kind(kind);
                open_kind(kind);
            }
        }
        free(expected);
        free_case(&c);
    }
}

static void a_weight_that_is_not_resident_is_an_error(void **state)
{
    (void)state;
    Case c = make_case(FRONT, 2, 2, 2, 1, 0);
    const SpDryRun dry = dry_run(&c);
    SpFootprint footprint;
    SpNn nn;
    check(sp_plan_footprint(cpu, &dry, &(SpPlan){.weights = SP_RESIDENT}, &footprint));
    check(sp_nn_open(cpu, footprint.device, footprint.host, &nn));
    nn.plan = footprint.plan;
    nn.weights = dry.weights;
    assert_int_equal(run_case(&c, &nn).code, SP_DEVICE);
    sp_nn_close(&nn);
    free_case(&c);
}

static void rates_are_measured(void **state)
{
    (void)state;
    SpRates rates;
    check(sp_rates_measure(cpu, SP_PRECISION_F32, &rates));
    for (int i = 0; i < SP_WORKS; i++)
        assert_true(rates.work[i] > 1e7 && rates.work[i] < 1e15);
    Case c = make_case(FRONT, 3, 4, 4, 1, 0);
    const SpDryRun dry = dry_run(&c);
    SpFootprint one, streamed;
    check(sp_plan_footprint(cpu, &dry, &(SpPlan){0}, &one));
    check(sp_plan_footprint(cpu, &dry, &(SpPlan){.weights = SP_STREAMED}, &streamed));
    assert_true(one.work[SP_WORK_PRODUCT] == streamed.work[SP_WORK_PRODUCT]);
    const double seconds = sp_plan_seconds(cpu, &one, &rates);
    assert_true(seconds > 0 && seconds < sp_plan_seconds(cpu, &streamed, &rates));
    free_case(&c);
}

/* An argument chooses tests by name, "*sleeps*". */
int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_planned_is_what_is_used),
        cmocka_unit_test(the_front_is_the_same_under_every_plan),
        cmocka_unit_test(the_tracker_is_the_same_under_every_plan),
        cmocka_unit_test(the_online_tracker_is_the_same_under_every_plan),
        cmocka_unit_test(sam_is_the_same_under_every_plan),
        cmocka_unit_test(resident_weights_are_read_on_the_device_alone),
        cmocka_unit_test(any_sequence_of_sleeps_gives_the_same),
        cmocka_unit_test(a_weight_that_is_not_resident_is_an_error),
        cmocka_unit_test(rates_are_measured),
    };
    return cmocka_run_group_tests_name("plan", tests, open_all, close_all);
}
