/* The plans of the published models, of which only the sizes are there: nothing runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "front/front.h"
#include "nn/planner.h"
#include "sam/sam.h"
#include "support/model.h"
#include "tracker/tracker.h"

/* What a GPU's libraries take on top of a stage; the CPU's is smaller. */
enum { WORKSPACE = 96 << 20 };

/* 80 frames of 294 x 518 with 256 points and 756 of the tracker's own; a large frame for SAM. */
enum { FRAMES = 80, HEIGHT = 294, WIDTH = 518, POINTS = 256, SUPPORT = 756 };

static void check(SpStatus status)
{
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
}

static SpStatus run_front(void *front, SpNn *nn)
{
    return sp_front_run(front, nn, &(SpFrontInput){FRAMES, HEIGHT, WIDTH, NULL, 0}, NULL);
}

static SpStatus run_tracker(void *tracker, SpNn *nn)
{
    const SpTrackerInput in = {
        .frames = FRAMES, .height = HEIGHT, .width = WIDTH, .queries = POINTS};
    const SpTrackerSettings settings = {.iterations = 4, .support = SUPPORT, .replace_ratio = 0.2};
    return sp_tracker_run(tracker, nn, &in, &settings, NULL);
}

static SpStatus run_sam(void *sam, SpNn *nn)
{
    const SpPrompt prompt = {.box = (double[4]){1, 1, 100, 100}};
    const SpSamInput in = {.height = 1080,
                           .width = 1920,
                           .short_side = SP_SAM_SHORT_SIDE,
                           .objects = 1,
                           .prompt = &prompt};
    return sp_sam_run(sam, nn, &in, NULL);
}

/* A device of `budget` bytes and a host of `host`; a plan that takes at most `max` bytes of the
 * device, workspace included. */
typedef struct Published {
    const char *manifest;
    size_t budget, host, max;
    bool gpu, features_on_host;
} Published;

static void fits(const Published *p, const SpDryRun *stage)
{
    SpDevice *cpu;
    SpFootprint footprint;
    bool found;
    check(sp_cpu_open(1, &cpu));
    SpDevice device = *cpu;
    device.reads_host = !p->gpu;
    device.workspace_bytes = WORKSPACE;
    const SpMemoryLimits limits = {p->budget - WORKSPACE, p->host};
    check(sp_plan_choose(&device, stage, &(SpPlanConstraints){.precision = SP_PRECISION_BF16},
                         &limits, &footprint, &found));
    const size_t peak = footprint.device + footprint.weights + WORKSPACE;
    print_message("%s: %.0f MB, host %.0f MB, %s\n", p->manifest, (double)peak / 1e6,
                  (double)footprint.host / 1e6, sp_plan_mode(&footprint.plan));
    assert_true(found && peak <= p->max);
    assert_int_equal(footprint.plan.features_on_host, p->features_on_host);
    cpu->close(cpu);
}

static void all_fit(const Published *cases, size_t count, const SpDryRun *stage)
{
    for (size_t i = 0; i < count; i++)
        fits(&cases[i], stage);
}

enum { MEGA = 1000000, MEBI = 1 << 20, GIBI = 1 << 30 };

/* On a GPU of 12 GB, on one of 80, with little host memory, within --vram-budget 1G. */
static void the_front_fits(void **state)
{
    (void)state;
    const Published cases[] = {
        {"front", (size_t)12 * GIBI, SIZE_MAX, (size_t)2000 * MEGA, true, false},
        {"front", (size_t)80 * GIBI, SIZE_MAX, (size_t)5000 * MEGA, true, false},
        {"front", SIZE_MAX, (size_t)2000 * MEGA, (size_t)4000 * MEGA, true, false},
        {"front", GIBI, SIZE_MAX, GIBI, true, false},
    };
    SpCheckpoint *checkpoint = model_outline("front");
    SpFront *front;
    check(sp_front_open(checkpoint, &front));
    all_fit(cases, sizeof cases / sizeof *cases,
            &(SpDryRun){run_front, front, sp_checkpoint_weights(checkpoint)});
    sp_front_close(front);
    sp_checkpoint_close(checkpoint);
}

/* Where the device's memory is the host's; on GPUs of 8 and 80 GB, and with little host memory;
 * within 1 GiB; within the smallest budget. */
static void the_tracker_fits(void **state)
{
    (void)state;
    const Published cases[] = {
        {"tracker_offline", SIZE_MAX, SIZE_MAX, (size_t)1300 * MEGA, false, false},
        {"tracker_offline", (size_t)8 * GIBI, SIZE_MAX, (size_t)1000 * MEGA, true, true},
        {"tracker_offline", (size_t)80 * GIBI, SIZE_MAX, (size_t)1500 * MEGA, true, false},
        {"tracker_offline", SIZE_MAX, (size_t)600 * MEGA, (size_t)2000 * MEGA, true, false},
        {"tracker_offline", GIBI, SIZE_MAX, GIBI, false, true},
        {"tracker_offline", (size_t)660 * MEBI, SIZE_MAX, (size_t)660 * MEBI, true, true},
    };
    SpCheckpoint *checkpoint = model_outline("tracker_offline");
    SpTracker *tracker;
    check(sp_tracker_open(checkpoint, SP_TRACKER_OFFLINE, &tracker));
    all_fit(cases, sizeof cases / sizeof *cases,
            &(SpDryRun){run_tracker, tracker, sp_checkpoint_weights(checkpoint)});
    sp_tracker_close(tracker);
    sp_checkpoint_close(checkpoint);
}

static void sam_fits(void **state)
{
    (void)state;
    const Published cases[] = {
        {"sam_huge", SIZE_MAX, SIZE_MAX, (size_t)2000 * MEGA, true, false},
        {"sam_base", SIZE_MAX, SIZE_MAX, (size_t)600 * MEGA, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SpCheckpoint *checkpoint = model_outline(cases[i].manifest);
        SpSam *sam;
        check(sp_sam_open(checkpoint, &sam));
        fits(&cases[i], &(SpDryRun){run_sam, sam, sp_checkpoint_weights(checkpoint)});
        sp_sam_close(sam);
        sp_checkpoint_close(checkpoint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_front_fits),
                                       cmocka_unit_test(the_tracker_fits),
                                       cmocka_unit_test(sam_fits)};
    return cmocka_run_group_tests_name("published plans", tests, NULL, NULL);
}
