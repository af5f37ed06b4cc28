/* Features, templates and first state of a window (src/tracker/README.md, "Window init"). */
#ifndef SP_TRACKER_WINDOW_INIT_H
#define SP_TRACKER_WINDOW_INIT_H

#include "tracker/window_carry.h"

/* overlap_z: [continued] depth at the queries of continued tracks. */
void sp_window_init(const SpTracker *tracker, SpNn *nn, const SpTrackerInput *input,
                    const SpWindowCarry *carry, const float *overlap_z, SpWindow *window);

#endif
