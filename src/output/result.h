/*
 * The result of a run as tracks.npz or tracks.csv (docs/model/outputs.md sections 1, 2 and 5).
 */
#ifndef SP_OUTPUT_RESULT_H
#define SP_OUTPUT_RESULT_H

#include <stdbool.h>

#include "media/clip.h"
#include "output/atomic.h"

/* Of the result's format, in its `version`. */
enum { SP_FORMAT_VERSION = 1 };

/* What the stages found for a clip's T frames of H x W; views of host arrays. */
typedef struct SpResult {
    const SpClip *clip;
    const float *depth;              /* [T, H, W] */
    const float *confidence;         /* [T, H, W] of the depth, 0..1 */
    const float *c2w;                /* [T, 4, 4] camera to world */
    const float *intrinsics;         /* [T, 3, 3] pixels of the H x W frames */
    int64_t tracks;                  /* N; 0: no tracker ran and the rest is NULL */
    const float *queries;            /* [N, 3] used frame, x, y in pixels of the input video */
    const float *track;              /* [T, N, 3] x, y in pixels of the H x W frames, z */
    const float *points;             /* [T, N, 3] in each frame's camera */
    const float *visibility, *confs; /* [T, N] */
    const float *dynamic;            /* [N] */
    const uint8_t *object;           /* [N] object of a track, counted from 1; NULL: not wanted */
    int64_t objects;
    const char *object_names; /* [objects] texts, `object_name_size` bytes apart */
    size_t object_name_size;
    const char *version; /* text of the `version` scalar */
} SpResult;

/* Writes the arrays to `file`, which stays the caller's to commit or abandon. Depth, confidence and
 * video are reduced to `max_side` pixels along their longer side. SP_OUTPUT, SP_MEMORY. */
SpStatus sp_result_write_npz(const SpAtomicFile *file, const SpResult *result, int64_t max_side,
                             bool compress);

/* Writes a line a track and frame (src/output/csv.h) to `file`, as above. */
SpStatus sp_result_write_csv(const SpAtomicFile *file, const SpResult *result);

#endif
