/*
 * First cameras of a clip from tracked points: weighted rigid fits between key frames
 * (docs/model/tracker.md section 6, step 6; Kabsch 1976 for the fit).
 */
#ifndef SP_GEOMETRY_PROCRUSTES_H
#define SP_GEOMETRY_PROCRUSTES_H

#include <stdint.h>

/* The rigid transform [4, 4] that takes points x [count, 3] to y [count, 3] with the least
 * weighted squared distance; weights h [count] >= 0. The identity's rotation where the points
 * leave it open, and the identity when all weights are zero. */
void sp_rigid_fit(const float *x, const float *y, const float *h, int64_t count, float out[16]);

/* D [T, 4, 4] for world points G [T, N, 3]: D_0 = I, and D_t takes frame t's points to frame 0's.
 * weight: W [T, N]; still: [N] the constant part of each track's weight. work: [N] floats. */
void sp_procrustes_cameras(const float *points, const float *weight, const float *still,
                           int64_t frames, int64_t tracks, float *work, float *cameras);

#endif
