/* One iteration: tokens, update former, then sp_window_update. */
#ifndef SP_TRACKER_ITERATION_H
#define SP_TRACKER_ITERATION_H

#include "tracker/window.h"

void sp_window_iterate(const SpTracker *tracker, SpNn *nn, const SpTrackerSettings *settings,
                       SpWindow *window);

#endif
