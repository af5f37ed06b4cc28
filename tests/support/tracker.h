/*
 * What the tracker's tests share: clips and results in the tracker's own types, and whole runs
 * against a golden. Functions fail the running cmocka test instead of returning an error.
 */
#ifndef SP_TESTS_TRACKER_H
#define SP_TESTS_TRACKER_H

#include "support/golden.h"
#include "tracker/tracker.h"

/* A golden's tensors PREFIXin.*, all but the video; views that live as long as the golden. */
SpTrackerInput tracker_input(Golden *golden, const char *prefix);

/* A golden's RGB bytes [T, H, W, 3] as the planes of SpTrackerInput; the caller frees them. */
float *tracker_video(Golden *golden, const char *name);

/* Zeroed arrays for the result of `input`. */
SpTrackerOutput tracker_output(const SpTrackerInput *input);
void tracker_output_free(const SpTrackerOutput *output);

/* sp_tracker_run in exactly the memory that its dry run asks for, whose bytes are returned. Without
 * `output` nothing but the dry run. */
size_t tracker_run(const SpTracker *tracker, const SpTrackerInput *input,
                   const SpTrackerSettings *settings, const SpTrackerOutput *output);

/* Whether 95 % of the tracks have all their frames within `limit` of the golden, whose shape is
 * [T, N, width]; `ours` has the first `count` of the width values. The unit is max(1, largest
 * value), as for every error in tests/golden/README.md; of pixels it is the pixel. */
void tracker_most_within(Golden *golden, const char *name, const float *ours, int64_t count,
                         bool pixels, double limit);

/* A whole run on the golden's in.* against its out.*, maps thinned to every `step`-th pixel:
 * `pixels` bounds the 2D positions, `rest` other values of tracks, `cameras` the poses. */
void tracker_golden_run(const SpTracker *tracker, const char *file, int64_t support, int64_t step,
                        double pixels, double rest, double cameras);

#endif
