#include "gpu/runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/check.h"
#include "gpu/fronts.h"
#include "gpu/trackers.h"

static const SpPlan RESIDENT = {.weights = SP_RESIDENT};
/* As --precision auto runs it. */
static const SpPlan FAST = {.weights = SP_RESIDENT, .precision = SP_PRECISION_BF16};
static const SpPlan STREAMED = {
    .weights = SP_STREAMED, .queries = SP_ROW_TILE, .rows = 2 * SP_ROW_TILE};

static void *copy_of(const void *data, size_t bytes)
{
    void *copy = malloc(bytes ? bytes : 1);
    if (!copy)
        abort();
    return memcpy(copy, data, bytes);
}

static void report(const SpDevice *device, const char *name, const Took *took)
{
    printf("# %-48s %8.3f s, %5zu MB of arena, %3zu MB of workspace, loaded in %.3f s, %.3f s "
           "hidden\n",
           name, took->seconds, took->peak >> 20, device->workspace_bytes >> 20, took->moving,
           took->hidden);
}

/* ---- tracker ---- */

static void tracker_small(const Tracker *tracker, SpDevice *device)
{
    Track track = track_of_waves(12, 196, 252, 40, 60);
    Took took = {0};
    const size_t bytes = (size_t)(3 * 12 * 40) * sizeof(float);
    if (check_status(track_run(tracker, device, &RESIDENT, &track, &took), "tracker, resident")) {
        check(took.planned == took.peak, "tracker: %zu MB, as planned", took.peak >> 20);
        report(device, "tracker, 12 frames, 40 + 60 points", &took);
        float *first = copy_of(track.output.tracks, bytes);
        if (check_status(track_run(tracker, device, &STREAMED, &track, &took), "tracker, streamed"))
            check(memcmp(first, track.output.tracks, bytes) == 0,
                  "tracker, streamed under another plan: the same bits");
        free(first);
    }
    track_end(&track);
}

static void tracker_large(const Tracker *tracker, SpDevice *device)
{
    Track track = track_of_waves(80, 294, 518, 256, 756);
    Took took = {0};
    SpFootprint footprint;
    for (size_t i = 0; i < 2; i++)
        if (check_status(track_run(tracker, device, &RESIDENT, &track, &took),
                         "tracker, 80 frames"))
            report(device, "tracker, 80 frames, 256 + 756 points", &took);
    const int64_t values = 3 * track.input.frames * track.input.queries;
    float *exact = copy_of(track.output.tracks, (size_t)values * sizeof *exact);
    if (check_status(track_run(tracker, device, &FAST, &track, &took), "tracker, TF32")) {
        const double alike = correlation(track.output.tracks, exact, values);
        check(alike >= 0.999, "tracker, TF32: correlation of tracks %.6f", alike);
        report(device, "tracker, 80 frames, 256 + 756 points, TF32", &took);
    }
    free(exact);
    const size_t budget = ((size_t)1 << 30) - device->workspace_bytes;
    if (check(track_fit(tracker, device, budget, &track, &footprint), "tracker: fits into 1 GB") &&
        check_status(track_run(tracker, device, &footprint.plan, &track, &took), "tracker, 1 GB"))
        report(device, "tracker, 80 frames, within 1 GB", &took);
    track_end(&track);
}

void tracker_runs(const char *goldens, SpDevice *device, bool full)
{
    Tracker tracker;
    if (check_status(tracker_make(goldens, "tracker_offline", &tracker), "tracker's weights")) {
        tracker_small(&tracker, device);
        if (full)
            tracker_large(&tracker, device);
    }
    tracker_end(&tracker);
}

/* ---- SAM ---- */

/* Streamed it stays within `max_bytes`. */
static void sam_run(const char *goldens, const char *manifest, SpDevice *device, int64_t height,
                    int64_t width, size_t max_bytes)
{
    Sam sam;
    Mask mask = mask_of_disc(height, width);
    Took took = {0};
    const size_t bytes = (size_t)(height * width);
    if (check_status(sam_make(goldens, manifest, &sam), manifest) &&
        check_status(mask_run(&sam, device, &RESIDENT, &mask, &took), "resident")) {
        check(took.planned == took.peak, "%s: %zu MB, as planned", manifest, took.peak >> 20);
        uint8_t *first = copy_of(mask.mask, bytes);
        const float iou = mask.iou;
        if (check_status(mask_run(&sam, device, &STREAMED, &mask, &took), "streamed"))
            check(memcmp(first, mask.mask, bytes) == 0 && memcmp(&iou, &mask.iou, sizeof iou) == 0,
                  "%s, streamed: the same bits", manifest);
        check(took.peak + device->workspace_bytes <= max_bytes, "%s, streamed: %zu MB", manifest,
              (took.peak + device->workspace_bytes) >> 20);
        report(device, manifest, &took);
        if (check_status(mask_run(&sam, device, &FAST, &mask, &took), "TF32")) {
            char name[40];
            size_t others = 0;
            for (size_t i = 0; i < bytes; i++)
                others += first[i] != mask.mask[i];
            check(others <= bytes / 100, "%s, TF32: %zu of %zu pixels differ", manifest, others,
                  bytes);
            snprintf(name, sizeof name, "%s, TF32", manifest);
            report(device, name, &took);
        }
        free(first);
    }
    sam_end(&sam);
    mask_end(&mask);
}

void sam_runs(const char *goldens, SpDevice *device, bool full)
{
    sam_run(goldens, "sam_tiny", device, 90, 128, 600000000);
    if (!full)
        return;
    sam_run(goldens, "sam_base", device, 576, 1024, 600000000);
    sam_run(goldens, "sam_huge", device, 576, 1024, 2000000000);
}

/* ---- many videos ---- */

enum { SETTLED = 10, RESIDENT_STAGES = 0, STREAMED_STAGES, KEPT, GONE, WAYS };

/* The three models and a video's results. */
typedef struct Video {
    Front front;
    Tracker tracker;
    Sam sam;
    Clip clip;
    Track track;
    Mask mask;
} Video;

static bool video_open(Video *v)
{
    const bool opened = check_status(front_built_in(&v->front), "built-in front") &&
                        check_status(tracker_make(NULL, NULL, &v->tracker), "built-in tracker") &&
                        check_status(sam_make(NULL, NULL, &v->sam), "built-in SAM");
    const int64_t patch = opened ? sp_front_patch(v->front.front) : 1;
    v->clip = clip_of_noise(2, 5 * patch, 7 * patch);
    v->track = track_of_waves(6, 96, 128, 9, 20);
    v->mask = mask_of_disc(90, 128);
    return opened;
}

static void video_close(Video *v)
{
    front_end(&v->front), tracker_end(&v->tracker), sam_end(&v->sam);
    clip_end(&v->clip), track_end(&v->track), mask_end(&v->mask);
}

static SpWeights *weights_of(const Video *v, int i)
{
    const SpCheckpoint *checkpoint[] = {v->front.checkpoint, v->tracker.checkpoint,
                                        v->sam.checkpoint};
    return sp_checkpoint_weights(checkpoint[i]);
}

static SpStatus video_run(Video *v, SpDevice *device, int way)
{
    const SpPlan *plan = way == STREAMED_STAGES ? &STREAMED : &RESIDENT;
    Took took;
    for (int i = 0; i < 3 && way == KEPT; i++)
        SP_TRY(sp_weights_load(weights_of(v, i), device));
    SpStatus status = mask_run(&v->sam, device, plan, &v->mask, &took);
    if (status.code == SP_OK)
        status = front_run(&v->front, device, plan, &v->clip, &took);
    if (status.code == SP_OK)
        status = track_run(&v->tracker, device, plan, &v->track, &took);
    for (int i = 0; i < 3; i++)
        sp_weights_drop(weights_of(v, i), device);
    return status;
}

/* One number that changes when any result's bit does (FNV-1a). */
static uint64_t fingerprint(const Video *v)
{
    const SpTrackerInput *in = &v->track.input;
    const struct {
        const void *data;
        size_t bytes;
    } part[] = {
        {v->mask.mask, (size_t)(v->mask.height * v->mask.width)},
        {v->clip.depth, (size_t)(v->clip.frames * v->clip.height * v->clip.width) * sizeof(float)},
        {v->clip.c2w, (size_t)(16 * v->clip.frames) * sizeof(float)},
        {v->track.output.tracks, (size_t)(3 * in->frames * in->queries) * sizeof(float)},
    };
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        for (size_t k = 0; k < part[i].bytes; k++)
            hash = (hash ^ ((const unsigned char *)part[i].data)[k]) * 1099511628211u;
    return hash;
}

/* Level 2 sleep and waking; rarely, as it takes most of a second. */
static SpStatus close_and_open(OpenDevice open, SpDevice **device)
{
    (*device)->close(*device);
    *device = NULL;
    return open(device);
}

void many_videos(OpenDevice open, SpDevice **device, int count)
{
    Video v;
    bool good = video_open(&v);
    size_t settled = 0, min_left = SIZE_MAX;
    uint64_t first = 0;
    int others = 0;
    for (int i = 0; i < count && good; i++) {
        const int way = i % 12 == 11 ? GONE : i % GONE;
        SpStatus status = video_run(&v, *device, way);
        if (status.code == SP_OK && way == GONE)
            status = close_and_open(open, device);
        good = status.code == SP_OK || check_status(status, "a video");
        if (!good)
            break;
        first = i ? first : fingerprint(&v);
        others += fingerprint(&v) != first;
        const size_t left = (*device)->available_memory(*device);
        settled = i < SETTLED ? left : settled;
        min_left = left < min_left || i <= SETTLED ? left : min_left;
    }
    check(good && others == 0, "%d videos: %d differ from the first", count, others);
    check(good && min_left + (64 << 20) >= settled, "%d videos: what is free does not dwindle",
          count);
    fact("%d videos: %zu MB free after ten, %zu at least later", count, settled >> 20,
         min_left >> 20);
    video_close(&v);
}
