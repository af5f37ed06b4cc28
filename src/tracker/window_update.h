/*
 * An iteration's second half, on the host: the network's steps, depth lookup and cameras onto the
 * window's state (src/tracker/README.md, "An iteration: the geometry").
 */
#ifndef SP_TRACKER_WINDOW_UPDATE_H
#define SP_TRACKER_WINDOW_UPDATE_H

#include "tracker/window.h"

void sp_window_update(const SpTracker *tracker, SpNn *nn, const SpTrackerSettings *settings,
                      const SpUpdates *updates, SpWindow *window);

#endif
