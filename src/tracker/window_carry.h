/* What a window hands to the next (src/tracker/README.md, "State between windows"). */
#ifndef SP_TRACKER_WINDOW_CARRY_H
#define SP_TRACKER_WINDOW_CARRY_H

#include "tracker/window.h"

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

/* Stores what the next window needs. */
void sp_window_carry(const SpTracker *tracker, SpNn *nn, const SpWindow *window,
                     SpWindowCarry *carry);

#endif
