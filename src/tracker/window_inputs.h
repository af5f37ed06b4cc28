/* A window's depth, cameras and support queries (src/tracker/README.md, "Window preparation"). */
#ifndef SP_TRACKER_WINDOW_INPUTS_H
#define SP_TRACKER_WINDOW_INPUTS_H

#include "tracker/random.h"
#include "tracker/window.h"

/* Height and width in working pixels of h x w frames. */
void sp_working_size(int64_t resolution, int64_t h, int64_t w, int64_t *height, int64_t *width);

/* Fills depth, valid, c2w and both intrinsics from the window's frames of the clip. */
void sp_window_inputs(const SpTracker *tracker, const SpTrackerInput *input, SpWindow *window);

/* Draws the support queries, rows users .. tracks of window->query, in working pixels.
 * window->tracks counts those wanted and falls to those there are. scratch: int32
 * [SP_SUPPORT_SCRATCH]. */
enum { SP_SUPPORT_GRID = 100, SP_SUPPORT_SCRATCH = 7 * SP_SUPPORT_GRID * SP_SUPPORT_GRID };
void sp_window_support(SpWindow *window, SpRandom *random, int32_t *scratch);

#endif
