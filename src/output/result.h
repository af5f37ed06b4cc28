/*
 * The result of a run, which the formats write (src/output/README.md).
 */
#ifndef SP_OUTPUT_RESULT_H
#define SP_OUTPUT_RESULT_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "media/clip.h"

/* Of the result's format, in its `version`. */
enum { SP_FORMAT_VERSION = 1 };

/* A chunk of frames that the front took at once. */
typedef struct SpResultChunk {
    int64_t first; /* used frame */
    /* [4, 4] row-major, [s R | t] over 0 0 0 1: from the camera of the chunk's first frame, with
     * lengths in its own unit, to that of the clip's first frame. */
    double similarity[16];
} SpResultChunk;

/* What the stages found for a clip's T frames of H x W; views of host arrays. */
typedef struct SpResult {
    const SpClip *clip;
    const float *depth;              /* [T, H, W] */
    const float *confidence;         /* [T, H, W] of the depth, 0..1 */
    const float *c2w;                /* [T, 4, 4] camera to world */
    const float *intrinsics;         /* [T, 3, 3] pixels of the H x W frames */
    const float *w2c;                /* [T, 4, 4] whose inverses `c2w` are; NULL: theirs */
    int64_t tracks;                  /* N; 0: no tracker ran and the rest is NULL */
    const float *queries;            /* [N, 3] used frame, x, y in pixels of the input video */
    const float *track;              /* [T, N, 3] x, y in pixels of the H x W frames, z */
    const float *points;             /* [T, N, 3] in each frame's camera */
    const float *visibility, *confs; /* [T, N] */
    const float *dynamic;            /* [N] */
    const float *sigma;              /* [T, N] standard deviation of x and of y of refined tracks in
                                        pixels of the input video, NaN: not refined; NULL: none is */
    const uint8_t *object;           /* [N] object of a track, counted from 1; NULL: not wanted */
    int64_t objects;
    const char *object_names; /* [objects] texts, `object_name_size` bytes apart */
    size_t object_name_size;
    int64_t chunks; /* 0: the front took all frames at once, or there was none */
    const SpResultChunk *chunk;
    double scale;        /* what lengths were multiplied by, 1: as computed */
    const char *version; /* text of the `version` scalar */
    /* As a finished result has them, whose values are handed on as they are; NULL: they are made
     * from the others. */
    const float *coords;           /* [T, N, 3] */
    const float *tracks2d;         /* [T, N, 2] */
    const float *input_intrinsics; /* [T, 3, 3] */
    const char *absent;            /* "video,depths": arrays that it does not have */
} SpResult;

/* Track positions of a result: `coords` [T, N, 3], points in the world, which is the camera of the
 * first frame; `tracks2d` [T, N, 2], pixels of the input video. */
void sp_result_coords(const SpResult *result, float *coords);
void sp_result_tracks2d(const SpResult *result, float *tracks2d);

/* intrinsics [T, 3, 3] in pixels of the input video. */
void sp_result_input_intrinsics(const SpResult *result, float *intrinsics);

/* w2c [4, 4] of frame t. */
void sp_result_w2c(const SpResult *result, int64_t t, float w2c[16]);

/* From `coords`, `tracks2d` and the cameras of a result: points [T, N, 3] in each frame's camera, 0
 * where one is that camera's place, as nothing is tracked there; track [T, N, 3], x, y in pixels of
 * the H x W frames and z. Without cameras points and z are 0. */
void sp_result_place(const SpResult *result, float *points, float *track);

/* One frame of a result, as a result of one frame; the views are those of the whole. */
typedef struct SpResultFrame {
    SpClip clip;
    SpResult result; /* whose `clip` is that one */
} SpResultFrame;

/* Frame t, counted in the result's arrays. `frame` must not move while it is used. */
void sp_result_frame(const SpResult *result, int64_t t, SpResultFrame *frame);

/* A value of the clip's frames, 0..255 and beyond, as `video` holds it: 0..1. */
static inline float sp_result_shade(float value)
{
    const float share = value * (1.0f / 255);
    return share > 0 ? (share < 1 ? share : 1) : 0; /* also where it is not a number */
}

/* The way back: a value of 0..255 that sp_result_shade makes the saved one of, where there is one,
 * else 255 times it. */
float sp_result_find_shaded(float saved);

static inline float sp_result_unshade(float saved)
{
    const float value = saved * 255;
    return sp_result_shade(value) == saved ? value : sp_result_find_shaded(saved);
}

/* Whether track n is visible at frame t (src/output/README.md, "The arrays"). */
static inline bool sp_result_visible(const SpResult *result, int64_t t, int64_t n)
{
    return result->visibility[t * result->tracks + n] > 0.5f;
}

/* Whether it is followed there at all: before its window, and once it is given up, it is not. */
static inline bool sp_result_is_there(const SpResult *result, int64_t t, int64_t n)
{
    const int64_t i = t * result->tracks + n;
    return result->visibility[i] != 0 || !result->confs || result->confs[i] != 0;
}

#endif
