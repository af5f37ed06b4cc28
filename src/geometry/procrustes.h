/*
 * First cameras of a clip from tracked points: weighted rigid fits between key frames
 * (src/tracker/README.md, "Camera start"; Kabsch 1976 for the fit).
 */
#ifndef SP_GEOMETRY_PROCRUSTES_H
#define SP_GEOMETRY_PROCRUSTES_H

#include <stdint.h>

/* cameras [T, 4, 4] of world points [T, N, 3]: cameras[0] = I, and cameras[t] takes frame t's
 * points to frame 0's. weight: [T, N] per observation; track_weight: [N] per track; both >= 0.
 * work: [N] floats. */
void sp_procrustes_cameras(const float *points, const float *weight, const float *track_weight,
                           int64_t frames, int64_t tracks, float *work, float *cameras);

#endif
