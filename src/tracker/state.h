/*
 * What of a tracker's run outlives the parts of a clip.
 */
#ifndef SP_TRACKER_STATE_H
#define SP_TRACKER_STATE_H

#include "tracker/random.h"
#include "tracker/tracker.h"

/* Rows are those of the queries. */
struct SpTrackerState {
    int64_t queries;
    SpRandom random;
    int64_t window;  /* the next one */
    int64_t final;   /* frames */
    int64_t cleared; /* frames of the output that were set to 0 before anything stands in them */
    int32_t *order; /* [N] rows that are followed, in the order in which windows brought them in, */
    int64_t active; /* so many */
    bool *brought;  /* [N] whether one has */
    double *dynamic;  /* [N] sigmoid of the logits, summed over the frames so far */
    int64_t *tracked; /* [N] the number of these frames */
    float *carry;     /* what the next window continues, of so many tracks; NULL: nothing */
    int64_t continued;
};

/* User queries whose frame lies before `end` come in behind the others. */
void sp_tracker_bring_in(SpTrackerState *state, const float *query, int64_t end);

#endif
