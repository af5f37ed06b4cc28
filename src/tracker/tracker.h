/*
 * SpatialTrackerV2: 3D point tracks and refined cameras from frames, depth and first cameras
 * (src/tracker/README.md; published as Yuxihenry/SpatialTrackerV2-Offline, -Online).
 */
#ifndef SP_TRACKER_TRACKER_H
#define SP_TRACKER_TRACKER_H

#include "nn/nn.h"
#include "store/checkpoint.h"

typedef struct SpTracker SpTracker;

/* The two published models: offline sees a clip of up to 500 frames at once; online goes through it
 * in short windows that overlap and hands the state of the tracks from one to the next, so its
 * memory does not grow with the clip. */
typedef enum SpTrackerMode { SP_TRACKER_OFFLINE, SP_TRACKER_ONLINE } SpTrackerMode;

/* A clip with its geometry; host arrays. Of a clip that goes through in parts they hold frames
 * `first` .. `frames` - 1 of those that are known so far. */
typedef struct SpTrackerInput {
    int64_t frames, height, width;
    const float *video;      /* [T, 3, H, W], RGB 0..255, unclamped */
    const float *depth;      /* [T, H, W] */
    const float *confident;  /* [T, H, W] of 0 and 1 */
    const float *intrinsics; /* [T, 3, 3] pixels of the H x W frames */
    const float *c2w;        /* [T, 4, 4] camera to world */
    int64_t queries;
    const float *query; /* [N, 3] frame, x, y: pixels of the H x W frames, any order, any frame */
    int64_t first;
    bool more;       /* the clip goes on after `frames` */
    int64_t at_once; /* most queries that are followed at the same time; 0: all */
} SpTrackerInput;

typedef struct SpTrackerSettings {
    int iterations;       /* 4 as published */
    int64_t support;      /* support queries a window */
    uint64_t seed;        /* of the splitmix64 stream */
    bool fixed_camera;    /* keep the input's cameras: no refinement, no bundle adjustment */
    double replace_ratio; /* 0.2 as published */
    bool adjust_last;     /* bundle adjustment in the last iteration alone */
    bool retires; /* a track that is seen in no frame of a window, not its first, ends there: then
                     it is 0 in all that follow */
} SpTrackerSettings;

/* Host arrays of the caller, of the same frames as the input's; rows of tracks in the order of the
 * queries. Each window writes what it finds here, so nothing else grows with the clip. `depth` and
 * `valid` may be the input's `depth` and `confident`: a frame is written once no window reads it
 * any more. */
typedef struct SpTrackerOutput {
    float *tracks;        /* [T, N, 3] x, y (pixels of the H x W frames), z */
    float *camera_points; /* [T, N, 3] in the frame's camera */
    float *visibility;    /* [T, N] sigmoid(logit) + 0.2 */
    float *confidence;    /* [T, N] sigmoid(logit) */
    float *dynamic;       /* [N] mean over time of sigmoid(dynamic logit) */
    float *c2w;           /* [T, 4, 4]; world = camera of the first frame */
    float *intrinsics;    /* [T, 3, 3] pixels of the H x W frames */
    float *depth;         /* [T, H, W] z of the point map */
    float *valid;         /* [T, H, W] valid-depth mask resampled, 0..1 */
} SpTrackerOutput;

/* Binds every tensor, dims from the checkpoint, which must outlive the model. SP_CHECKPOINT
 * naming file and tensor; SP_MEMORY. Release with sp_tracker_close (NULL allowed).
 *
 * Frames of a window and of its overlap are those of the configuration (model.Track_cfg.s_wind,
 * overlap), or without them those of the mode: 500 and 4 offline, 20 and 6 online. Windows longer
 * than the time table are an offline model's; online, such weights get 20 and 6 as well. So one
 * checkpoint can serve both modes, as the embedded one does. */
SpStatus sp_tracker_open(SpCheckpoint *checkpoint, SpTrackerMode mode, SpTracker **tracker);
void sp_tracker_close(SpTracker *tracker);

/* What the weights were made for: support queries a window, 756 as published, and iterations, 4. */
int64_t sp_tracker_support(const SpTracker *tracker);
int64_t sp_tracker_iterations(const SpTracker *tracker);

/* Runs all windows of a clip that is there whole; with a dry `nn` only memory is counted and
 * `output` is not written. That memory is the same for every clip longer than a window. The arenas
 * are back at their height on return. */
SpStatus sp_tracker_run(const SpTracker *tracker, SpNn *nn, const SpTrackerInput *input,
                        const SpTrackerSettings *settings, const SpTrackerOutput *output);

/* Where a clip is that goes through in parts; host memory that does not depend on the tracker,
 * which may be closed and opened again between two of them. */
typedef struct SpTrackerState SpTrackerState;

/* Of so many queries, before the first part. SP_MEMORY. Release with sp_tracker_state_close (NULL
 * allowed). */
SpStatus sp_tracker_state_open(int64_t queries, uint64_t seed, SpTrackerState **out);
void sp_tracker_state_close(SpTrackerState *state);

/* More queries, behind the others, before the next part: none in a frame that is final. SP_MEMORY.
 */
SpStatus sp_tracker_state_grow(SpTrackerState *state, int64_t queries);

/* How many are followed at the moment. */
int64_t sp_tracker_active(const SpTrackerState *state);

/* Frames that are final: the next part may leave them out, and `output` holds what they are. */
int64_t sp_tracker_final(const SpTrackerState *state);

/* Runs the windows whose frames are all known, as sp_tracker_run does: all parts together give what
 * that gives, for any cut. Frames in `output` that are not final must be there again in the next
 * part's. `input->frames` never falls, and rises until there is no `more`. Bytes of host memory
 * that the state then takes, of so many that are followed: sp_tracker_state_bytes. */
SpStatus sp_tracker_advance(const SpTracker *tracker, SpNn *nn, const SpTrackerInput *input,
                            const SpTrackerSettings *settings, SpTrackerState *state,
                            const SpTrackerOutput *output);
size_t sp_tracker_state_bytes(const SpTracker *tracker, int64_t queries);

/* Frames of a window: as many as have to be known before any is final. */
int64_t sp_tracker_window(const SpTracker *tracker);

#endif
