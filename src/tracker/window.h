/*
 * A window of the clip: what goes into it and the state that the iterations refine. T frames, N
 * tracks: the user's first, then support tracks. Host arrays are ordered frame by frame, [T, N,
 * ..]. "Working" pixels are those of the height x width depth maps, "model" pixels those of the
 * images that features are taken from, model_height x model_width.
 */
#ifndef SP_TRACKER_WINDOW_H
#define SP_TRACKER_WINDOW_H

#include <math.h>

#include "tracker/feature_cache.h"

/* The first `users` tracks are the user's, of which the first `continued` come from the window
 * before. `first` is the number in the clip of the window's first frame. */
typedef struct SpWindow {
    int64_t first, frames, tracks, users, continued;
    int64_t height, width;
    float *depth;                         /* [T, height, width] */
    uint8_t *valid;                       /* [T, height, width] 1 where the depth can be trusted */
    float *model_intrinsics, *intrinsics; /* [T, 3, 3] model pixels, as given; working, refined */
    float *c2w;                           /* [T, 4, 4] relative to the first frame */
    float *query;                         /* [N, 3] frame, x, y in model pixels */
    float *query_z, *query_valid;         /* [N] depth and validity at the query */
    float *query_xyz;                 /* [N, 4] frame, x, y (model pixels), z: see sp_query_world */
    double min[3], max[3];            /* normalised = 2 (p - min) / (max - min) - 1 */
    float *coords;                    /* [T, N, 3] x, y in units of `stride` model pixels, z */
    float *normalised;                /* [T, N, 3] camera-space points, normalised */
    float *vis, *conf, *dyn, *weight; /* [T, N] logits: visibility, confidence, ... */
    float *track;                     /* [T, N, 3] x, y in working pixels, z */
    float *point;                     /* [T, N, 3] camera-space points */
    uint8_t *replaced;                /* [T, N] whether the depth map's value was taken */
    float *unreplaced;                /* [T, N, 3] camera-space points before that */
    float *c2w_init;                  /* [T, 4, 4] before bundle adjustment */
    float *time;                      /* device [T, token_width] time embedding */
    SpFeatureCache cache;
} SpWindow;

/* `count` floats of the host arena. */
static inline float *sp_host_floats(SpNn *nn, int64_t count)
{
    return sp_nn_alloc_host(nn, (size_t)count * sizeof(float));
}

/* Allocates a window of that many frames and tracks from the arenas of `nn`. */
void sp_window_alloc(const SpTracker *tracker, SpNn *nn, SpWindow *window);

/* The points of the tracks' queries in the world, [N, 3]: query_xyz unprojected with its frame's
 * model_intrinsics [T, 3, 3] and moved by its frame's c2w [T, 4, 4]. For a continued track
 * query_xyz mixes two frames, as published: src/tracker/README.md, "Quirks that are kept". */
void sp_query_world(const SpWindow *window, const float *model_intrinsics, const float *c2w,
                    float *out);

/* The frame of the clip that is frame t of the window; the last one repeats. */
static inline int64_t sp_window_frame(const SpWindow *window, const SpTrackerInput *in, int64_t t)
{
    return window->first + t < in->frames ? window->first + t : in->frames - 1;
}

/* Nearest sampling, the index along one axis (src/tracker/README.md, "Sampling rules"):
 * coordinates outside are clamped to the border, or give -1. */
static inline int64_t sp_nearest_border(float x, int64_t size)
{
    const float last = (float)(size - 1), g = x * (2 / last) - 1, p = (g + 1) / 2 * last;
    return p > 0 ? (p < last ? (int64_t)rintf(p) : size - 1) : 0;
}

static inline int64_t sp_nearest_zero(float x, int64_t size)
{
    const float last = (float)(size - 1), g = 2 * x / last - 1, p = rintf((g + 1) / 2 * last);
    return p >= 0 && p <= last ? (int64_t)p : -1;
}

/* A camera-space point to the window's normalised coordinates; one coordinate back. */
static inline void sp_normalise(const SpWindow *window, const float p[3], float out[3])
{
    for (int i = 0; i < 3; i++)
        out[i] =
            (float)(2 * ((double)p[i] - window->min[i]) / (window->max[i] - window->min[i]) - 1);
}

static inline float sp_denormalise(const SpWindow *window, double p, int axis)
{
    return (float)((p + 1) / 2 * (window->max[axis] - window->min[axis]) + window->min[axis]);
}

static inline float sp_sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

#endif
