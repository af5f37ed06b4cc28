/*
 * SpatialTrackerV2: 3D point tracks and refined cameras from frames, depth and first cameras
 * (docs/model/tracker.md; published as Yuxihenry/SpatialTrackerV2-Offline, -Online).
 */
#ifndef SP_TRACKER_TRACKER_H
#define SP_TRACKER_TRACKER_H

#include "nn/nn.h"
#include "store/checkpoint.h"

typedef struct SpTracker SpTracker;

/* A clip with its geometry; host arrays. */
typedef struct SpTrackerInput {
    int64_t frames, height, width;
    const float *video;      /* [T, 3, H, W], RGB 0..255, unclamped */
    const float *depth;      /* [T, H, W] */
    const float *confident;  /* [T, H, W] of 0 and 1 */
    const float *intrinsics; /* [T, 3, 3] pixels of the H x W frames */
    const float *c2w;        /* [T, 4, 4] camera to world */
    int64_t queries;
    const float *query; /* [N, 3] frame, x, y: pixels of the H x W frames, any order */
} SpTrackerInput;

typedef struct SpTrackerSettings {
    int iterations;       /* 4 as published */
    int64_t support;      /* support queries a window */
    uint64_t seed;        /* of the splitmix64 stream, tracker.md section 3 */
    bool fixed_camera;    /* keep the given cameras: no refinement, no bundle adjustment */
    double replace_ratio; /* 0.2 as published */
} SpTrackerSettings;

/* Host arrays of the caller; rows of tracks in the order of the queries. */
typedef struct SpTrackerOutput {
    float *tracks;        /* [T, N, 3] x, y (pixels of the H x W frames), z */
    float *camera_points; /* [T, N, 3] in the frame's camera */
    float *visibility;    /* [T, N] sigma(logit) + 0.2 */
    float *confidence;    /* [T, N] sigma(logit) */
    float *dynamic;       /* [N] mean over time of sigma(dynamic logit) */
    float *c2w;           /* [T, 4, 4]; world = camera of the first frame */
    float *intrinsics;    /* [T, 3, 3] pixels of the H x W frames */
    float *depth;         /* [T, H, W] z of the point map */
    float *valid;         /* [T, H, W] valid-depth mask resampled, 0..1 */
} SpTrackerOutput;

/* Binds every tensor, dims from the checkpoint, which must outlive the model. SP_CHECKPOINT
 * naming file and tensor; SP_MEMORY. Release with sp_tracker_close (NULL allowed). */
SpStatus sp_tracker_open(SpCheckpoint *checkpoint, SpTracker **tracker);
void sp_tracker_close(SpTracker *tracker);

/* Support queries a window that the weights were made for: 756 as published. */
int64_t sp_tracker_support(const SpTracker *tracker);

/* Runs all windows; with a dry `nn` only memory is counted and `output` is not written. The
 * arenas are back at their height on return. */
SpStatus sp_tracker_run(const SpTracker *tracker, SpNn *nn, const SpTrackerInput *input,
                        const SpTrackerSettings *settings, const SpTrackerOutput *output);

#endif
