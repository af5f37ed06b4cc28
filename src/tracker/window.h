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
#include "tracker/random.h"

/* The first `users` tracks are the user's, of which the first `continued` come from the window
 * before. `first` is the number in the clip of the window's first frame. */
typedef struct SpWindow {
    int threads; /* of the host, for what it computes itself; they change no bit */
    int64_t first, frames, tracks, users, continued;
    int64_t height, width;
    bool last;                        /* the iteration under way is the last one */
    char label[32];                   /* of dumped tensors: "win0.start.", "it2." */
    float *depth;                     /* [T, height, width] */
    uint8_t *valid;                   /* [T, height, width] 1 where the depth can be trusted */
    float *model_intrinsics;          /* [T, 3, 3] model pixels, of the input */
    float *intrinsics;                /* [T, 3, 3] working pixels, refined */
    float *c2w, *c2w_init;            /* [T, 4, 4] relative to the first frame; unadjusted */
    float *query;                     /* [N, 3] frame, x, y in model pixels */
    float *query_z, *query_valid;     /* [N] depth and validity at the query */
    float *query_xyz;                 /* [N, 4] frame, x, y (model pixels), z: sp_query_world */
    double min[3], max[3];            /* normalised = 2 (p - min) / (max - min) - 1 */
    float *coords;                    /* [T, N, 3] x, y in units of `stride` model pixels, z */
    float *normalised;                /* [T, N, 3] camera-space points, normalised */
    float *track;                     /* [T, N, 3] x, y in working pixels, z */
    float *point;                     /* [T, N, 3] in camera space */
    float *vis, *conf, *dyn, *weight; /* [T, N] logits: visible, confident, dynamic, weight */
    float *time;                      /* device [T, token_width] time embedding */
    SpFeatureCache cache;
} SpWindow;

/* Where the input's arrays have the frame of the clip that is frame t of the window; the last one
 * repeats. */
static inline int64_t sp_window_frame(const SpWindow *window, const SpTrackerInput *in, int64_t t)
{
    return (window->first + t < in->frames ? window->first + t : in->frames - 1) - in->first;
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

/* Allocates a window of that many frames and tracks from the arenas of `nn`. */
void sp_window_alloc(const SpTracker *tracker, SpNn *nn, SpWindow *window);

/* The points of the tracks' queries in the world, [N, 3]: query_xyz unprojected with its frame's
 * model_intrinsics [T, 3, 3] and moved by its frame's c2w [T, 4, 4]. For a continued track
 * query_xyz mixes two frames, as published: src/tracker/README.md, "Quirks that are kept". */
void sp_query_world(const SpWindow *window, const float *model_intrinsics, const float *c2w,
                    float *out);

/* window_inputs.c: src/tracker/README.md, "Window preparation". */

/* Height and width in working pixels of h x w frames. */
void sp_working_size(int64_t resolution, int64_t h, int64_t w, int64_t *height, int64_t *width);

/* Fills depth, valid, c2w and both intrinsics from the window's frames of the clip. */
void sp_window_inputs(const SpTracker *tracker, const SpTrackerInput *input, SpWindow *window);

/* Draws the support queries, rows users .. tracks of window->query, in working pixels.
 * window->tracks counts those wanted and falls to those there are. scratch: int32
 * [SP_SUPPORT_SCRATCH]. */
enum { SP_SUPPORT_GRID = 100, SP_SUPPORT_SCRATCH = 7 * SP_SUPPORT_GRID * SP_SUPPORT_GRID };
void sp_window_support(SpWindow *window, SpRandom *random, int32_t *scratch);

/* window_carry.c: what a window hands to the next one:
 * src/tracker/README.md, "State between windows". */
typedef struct SpWindowCarry {
    int64_t tracks;  /* of the user that have been in a window, 0 in the first */
    int64_t users;   /* rows of the arrays below */
    float *features; /* of the last O frames: see sp_feature_cache_carry */
    float *templates[SP_CORRELATION_LEVELS];       /* device [users, patch_side^2, C] */
    float *template_points[SP_CORRELATION_LEVELS]; /* host [users, patch_side^2, 3] camera space */
    float *track, *point;                          /* host [O, users, 3] of the last O frames */
} SpWindowCarry;

/* Allocates it from the arenas for `users` tracks, of which none has been in a window. */
void sp_carry_alloc(const SpTracker *tracker, SpNn *nn, int64_t users, SpWindowCarry *carry);

/* What so many tracks of it take as host memory, in floats, and the way there and back. */
int64_t sp_carry_floats(const SpTracker *tracker, int64_t tracks);
void sp_carry_save(const SpTracker *tracker, SpNn *nn, const SpWindowCarry *carry, float *to);
void sp_carry_restore(const SpTracker *tracker, SpNn *nn, const float *from, SpWindowCarry *carry);

/* Leaves all tracks out but those at keep[0] < keep[1] < ..., [count]. */
void sp_carry_keep(const SpTracker *tracker, SpNn *nn, const int32_t *keep, int64_t count,
                   SpWindowCarry *carry);

/* Stores what the next window needs. */
void sp_window_carry(const SpTracker *tracker, SpNn *nn, const SpWindow *window,
                     SpWindowCarry *carry);

/* window_init.c: features, templates and first state (src/tracker/README.md, "Window init").
 * overlap_z: [continued] depth at the queries of continued tracks. */
void sp_window_init(const SpTracker *tracker, SpNn *nn, const SpTrackerInput *input,
                    const SpWindowCarry *carry, const float *overlap_z, SpWindow *window);

/* iteration.c: one iteration, the network and then sp_window_update. */
void sp_window_iterate(const SpTracker *tracker, SpNn *nn, const SpTrackerSettings *settings,
                       SpWindow *window);

/* window_update.c: steps and depth lookup, then sp_window_cameras, on the host
 * (src/tracker/README.md, "An iteration: the geometry"). */
void sp_window_update(const SpTracker *tracker, SpNn *nn, const SpTrackerSettings *settings,
                      const SpUpdates *updates, SpWindow *window);

/* window_cameras.c: refines c2w by rigid fits, whose result is c2w_init, and where `adjusted` c2w
 * and intrinsics by bundle adjustment over static tracks (src/tracker/README.md, "Camera start" and
 * after). visibility: W [T, N]; dynamic: [N] mean of dp over time. */
void sp_window_cameras(const SpTracker *tracker, SpNn *nn, const float *visibility,
                       const float *dynamic, bool adjusted, SpWindow *window);

#endif
