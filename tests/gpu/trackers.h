/*
 * Runs of the tracker and of SAM on any device and under any plan.
 */
#ifndef SP_TESTS_GPU_TRACKERS_H
#define SP_TESTS_GPU_TRACKERS_H

#include "gpu/stages.h"
#include "sam/sam.h"
#include "tracker/tracker.h"

typedef struct Tracker {
    SpCheckpoint *checkpoint;
    SpTracker *tracker;
} Tracker;
/* Synthetic weights by a manifest, or (NULL) the built-in ones. */
SpStatus tracker_make(const char *goldens, const char *manifest, Tracker *out);
void tracker_end(Tracker *tracker);

/* A clip with its geometry, and the result: textures that move, a slanted surface with a step, a
 * camera that goes sideways (as tests/bench/twin.py makes them). */
typedef struct Track {
    SpTrackerInput input;
    SpTrackerSettings settings;
    SpTrackerOutput output;
    float *memory;
} Track;
Track track_of_waves(int64_t frames, int64_t height, int64_t width, int64_t queries,
                     int64_t support);
void track_end(Track *track);
/* Both as the planner runs them: `stage` stays the caller's. */
typedef struct TrackStage {
    const Tracker *tracker;
    Track *track;
} TrackStage;
SpDryRun track_stage(const Tracker *tracker, Track *track, TrackStage *stage);
SpStatus track_run(const Tracker *tracker, SpDevice *device, const SpPlan *plan, Track *track,
                   Took *took);
/* The plan that fits into `budget` bytes of device memory beside the workspace; false: none does.
 */
bool track_fit(const Tracker *tracker, SpDevice *device, size_t budget, Track *track,
               SpFootprint *footprint);

typedef struct Sam {
    SpCheckpoint *checkpoint;
    SpSam *sam;
} Sam;
SpStatus sam_make(const char *goldens, const char *manifest, Sam *out);
void sam_end(Sam *sam);

/* A picture with a disc, pointed at. */
typedef struct Mask {
    int64_t height, width;
    uint8_t *rgb, *mask;
    float iou;
} Mask;
Mask mask_of_disc(int64_t height, int64_t width);
void mask_end(Mask *mask);
typedef struct MaskStage {
    const Sam *sam;
    Mask *mask;
} MaskStage;
SpDryRun mask_stage(const Sam *sam, Mask *mask, MaskStage *stage);
SpStatus mask_run(const Sam *sam, SpDevice *device, const SpPlan *plan, Mask *mask, Took *took);

#endif
