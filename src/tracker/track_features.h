/* What the queries see: the templates of correlation (src/tracker/README.md, "Track features"). */
#ifndef SP_TRACKER_TRACK_FEATURES_H
#define SP_TRACKER_TRACK_FEATURES_H

#include "tracker/window.h"

/* Patches around the queries of new tracks, sampled while the frame of the query is in the cache.
 * Rows are sorted by that frame, tracks of one frame as they come. */
typedef struct SpPatches {
    int64_t continued, fresh, done; /* tracks with templates already; new ones; of those, sampled */
    int32_t *order;                 /* host [fresh] track of each row, less `continued` */
    int32_t *row;                   /* device [fresh] row of each track */
    float *xy;                      /* device [levels, fresh, 2] pixels of the level */
    float *frame;                   /* device [fresh] zeros */
    float *features[SP_CORRELATION_LEVELS]; /* device [fresh, patch_side^2, C] */
    float *points[SP_CORRELATION_LEVELS];   /* device [fresh, patch_side^2, 3] */
    float *normalised;                      /* host [users, patch_side^2, 3] work */
} SpPatches;

/* Allocates them, as for new tracks alone: a dry run does not know the continued ones. */
SpPatches sp_patches_alloc(const SpTracker *tracker, SpNn *nn, const SpWindow *window,
                           const SpWindowCarry *carry);

/* Samples those of the queries in frame f, which the cache's levels hold; frames in turn. */
void sp_patches_sample(const SpTracker *tracker, SpNn *nn, const SpWindow *window, int64_t f,
                       SpPatches *patches);

/* Fills the templates of all levels: the patches in the order of the tracks, those of continued
 * tracks as they were, and the queries' side of the 3D branch. */
void sp_window_templates(const SpTracker *tracker, SpNn *nn, const SpWindow *window,
                         const SpWindowCarry *carry, const SpPatches *patches);

#endif
