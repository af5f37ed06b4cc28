#include "gpu/profile.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/check.h"
#include "gpu/fronts.h"
#include "gpu/trackers.h"
#include "kernels/cuda/core.h"

enum { CALLS = 512 /* whose events are read together */ };

enum Op {
#define OP_INDEX(op, type) OP_##op,
    SP_EACH_OP(OP_INDEX) OPS
};
static const char *const name[] = {
#define OP_NAME(op, type) #op,
    SP_EACH_OP(OP_NAME)};

static struct {
    SpOps ops; /* the device's own */
    cudaEvent_t begin[CALLS], end[CALLS];
    enum Op which[CALLS];
    int pending;
    double milliseconds[OPS];
    int64_t calls[OPS];
} profile;

/* Adds up the calls since the last time. The ops go on only then, so the card waits, too. */
static void read_events(void)
{
    for (int i = 0; i < profile.pending; i++) {
        float milliseconds = 0;
        cudaEventSynchronize(profile.end[i]);
        cudaEventElapsedTime(&milliseconds, profile.begin[i], profile.end[i]);
        profile.milliseconds[profile.which[i]] += (double)milliseconds;
        profile.calls[profile.which[i]]++;
    }
    profile.pending = 0;
}

#define PROFILED(op, type)                                                                         \
    static void profiled_##op(SpDevice *device, const type *a)                                     \
    {                                                                                              \
        const int i = profile.pending;                                                             \
        cudaEventRecord(profile.begin[i], sp_cuda(device)->stream);                                \
        profile.ops.op(device, a);                                                                 \
        cudaEventRecord(profile.end[i], sp_cuda(device)->stream);                                  \
        profile.which[i] = OP_##op;                                                                \
        if (++profile.pending == CALLS)                                                            \
            read_events();                                                                         \
    }
SP_EACH_OP(PROFILED)

static void begin(SpDevice *gpu)
{
    profile.ops = gpu->ops;
    for (int i = 0; i < CALLS; i++) {
        cudaEventCreateWithFlags(&profile.begin[i], cudaEventDefault);
        cudaEventCreateWithFlags(&profile.end[i], cudaEventDefault);
    }
    for (int i = 0; i < OPS; i++) {
        profile.milliseconds[i] = 0;
        profile.calls[i] = 0;
    }
#define PROFILE(op, type) .op = profiled_##op,
    gpu->ops = (SpOps){SP_EACH_OP(PROFILE)};
}

static void end(SpDevice *gpu, const char *title, double seconds)
{
    double sum = 0;
    read_events();
    gpu->ops = profile.ops;
    for (int i = 0; i < CALLS; i++) {
        cudaEventDestroy(profile.begin[i]);
        cudaEventDestroy(profile.end[i]);
    }
    printf("# %s\n# %-20s %10s %12s\n", title, "op", "calls", "ms");
    for (int i = 0; i < OPS; i++) {
        sum += profile.milliseconds[i];
        if (profile.calls[i])
            printf("# %-20s %10lld %12.2f\n", name[i], (long long)profile.calls[i],
                   profile.milliseconds[i]);
    }
    fact("%s: %.1f ms in ops of %.1f ms", title, sum, 1000 * seconds);
    fflush(stdout);
}

static void profile_front(const char *goldens, SpDevice *gpu, bool full)
{
    Front front;
    SpFootprint footprint;
    Took took = {0};
    const char *title = full ? "front, 100 frames of 336x518" : "tiny front";
    if (!check_status(
            front_make(goldens, full ? "front" : "front_tiny", full ? SP_BF16 : SP_F32, &front),
            title))
        return;
    Clip clip = full ? clip_of_noise(100, 336, 518) : clip_of_noise(2, 42, 56);
    if (check(front_fit(&front, gpu, gpu->available_memory(gpu), SP_PRECISION_BF16, &clip,
                        &footprint),
              "%s fits", title) &&
        check_status(front_run(&front, gpu, &footprint.plan, &clip, &took), "before the profile")) {
        begin(gpu);
        const SpStatus status = front_run(&front, gpu, &footprint.plan, &clip, &took);
        end(gpu, title, took.seconds);
        check_status(status, title);
    }
    clip_end(&clip), front_end(&front);
}

static void profile_tracker(const char *goldens, SpDevice *gpu, bool full)
{
    Tracker tracker;
    SpFootprint footprint;
    Took took = {0};
    const char *title = full ? "tracker, 80 frames, 1012 points" : "built-in tracker";
    if (!check_status(
            tracker_make(full ? goldens : NULL, full ? "tracker_offline" : NULL, &tracker), title))
        return;
    Track track = full ? track_of_waves(80, 294, 518, 256, 756) : track_of_waves(4, 84, 112, 4, 20);
    if (check(track_fit(&tracker, gpu, gpu->available_memory(gpu), &track, &footprint), "%s fits",
              title)) {
        footprint.plan.precision = SP_PRECISION_BF16;
        begin(gpu);
        const SpStatus status = track_run(&tracker, gpu, &footprint.plan, &track, &took);
        end(gpu, title, took.seconds);
        check_status(status, title);
    }
    track_end(&track), tracker_end(&tracker);
}

void profiles(const char *goldens, SpDevice *gpu, bool full, bool tracker)
{
    profile_front(goldens, gpu, full);
    if (tracker)
        profile_tracker(goldens, gpu, full);
}
