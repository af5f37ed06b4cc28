/*
 * Correlation of what a track's query sees with what is seen at its present position, in 2D and in
 * 3D, on one level of the pyramids (src/tracker/README.md, "Correlation").
 */
#ifndef SP_TRACKER_CORRELATION_H
#define SP_TRACKER_CORRELATION_H

#include "tracker/model.h"

/* One level of the pyramids of F frames and what the queries see there, on the device. */
typedef struct SpCorrelationLevel {
    int64_t frames, h, w;
    float scale;            /* from pixels of level 0: 1 / 2^level */
    float *features;        /* [F, h, w, C] L2-normalised */
    float *points;          /* [F, h, w, 3] normalised */
    float *templates;       /* [N, patch_side^2, C] features around the queries */
    float *template_points; /* [N, patch_side^2, 3] */
    float *query;           /* [N, knn, C] the query's side of the 3D branch */
    float *query_projected; /* [N, knn, C] its q projection */
} SpCorrelationLevel;

/* Tracks in F frames; device arrays of m = tracks * F pairs, track by track. */
typedef struct SpPairs {
    int64_t first_track, tracks, frames;
    const float *frame;  /* [m] of the level's frames */
    const float *xy;     /* [m, 2] in pixels of level 0 */
    const float *origin; /* [m, 3] the track's camera-space point, normalised */
    const float *valid;  /* [m] 1 where the point lies before the camera, else 0 */
} SpPairs;

/* Fills the level's query and query_projected from the templates of `tracks` tracks. */
void sp_correlation_query(const SpTracker *tracker, SpNn *nn, const SpCorrelationLevel *level,
                          int64_t tracks);

/* Both branches: corr_width columns of each pair to token, rows token_width apart, and to token3,
 * rows token3_width apart. */
void sp_correlation_run(const SpTracker *tracker, SpNn *nn, const SpCorrelationLevel *level,
                        const SpPairs *pairs, float *token, float *token3);

#endif
