/*
 * First cameras of a clip from tracked points: weighted rigid fits between key frames
 * (src/tracker/README.md, "Camera start"; Kabsch 1976 for the fit).
 */
#ifndef SP_GEOMETRY_PROCRUSTES_H
#define SP_GEOMETRY_PROCRUSTES_H

#include <stdbool.h>
#include <stdint.h>

/* The rotation R [3, 3] that maximises tr(R H) for H = sum h (x - cx)(y - cy)^T, which turns points
 * x towards y. Returns false where H has rank 1 or 0 to the last bit, and leaves it open. */
bool sp_procrustes_rotation(double h[3][3], double r[3][3]);

/* The middle key frame of weights [T, N]: of the frames strictly between the first and the last the
 * one whose larger overlap with these is the smallest, the first of equal ones; 0 where none is
 * between. Two frames overlap by the sum of the products of their weights. (key_fr_wprocrustes in
 * tracker3D/spatrack_modules/utils.py of the reference.) */
int64_t sp_procrustes_key_frame(const float *weight, int64_t frames, int64_t tracks);

/* cameras [T, 4, 4] of world points [T, N, 3]: cameras[0] = I, and cameras[t] takes frame t's
 * points to frame 0's, by way of the middle key frame. weight: [T, N] per observation;
 * track_weight: [N] per track; both >= 0. work: [N] floats. */
void sp_procrustes_cameras(const float *points, const float *weight, const float *track_weight,
                           int64_t frames, int64_t tracks, float *work, float *cameras);

#endif
