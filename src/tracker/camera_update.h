/*
 * The cameras from the tracks: rigid fits, then bundle adjustment over static tracks
 * (src/tracker/README.md, "Camera start" and after).
 */
#ifndef SP_TRACKER_CAMERA_UPDATE_H
#define SP_TRACKER_CAMERA_UPDATE_H

#include "tracker/window.h"

/* How far the cameras trust the tracks. */
typedef struct SpTrackWeights {
    float *visible; /* W [T, N] sigma(visibility) sigma(confidence), 0 outside of the frame */
    float *dynamic; /* [N] mean of dp over time */
} SpTrackWeights;

/* Refines c2w and intrinsics; c2w_init is what the rigid fits alone give. */
void sp_window_cameras(const SpTracker *tracker, SpNn *nn, const SpTrackWeights *weights,
                       SpWindow *window);

#endif
