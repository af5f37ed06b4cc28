/*
 * Pinhole cameras: OpenCV axes (x right, y down, z forward), 4x4 matrices row-major with last row
 * 0 0 0 1. "c2w" maps camera to world, "w2c" the other way. Matrices are float32 as the networks
 * pass them; sums are formed in double.
 */
#ifndef SP_GEOMETRY_CAMERA_H
#define SP_GEOMETRY_CAMERA_H

#include <stdbool.h>
#include <stdint.h>

/* r = the rotation [3, 3] of a quaternion x, y, z, w of any length but 0 (src/front/README.md,
 * "Cameras"). */
void sp_rotation_of_quaternion(const double q[4], double r[9]);

/* q = the quaternion x, y, z, w of unit length of a rotation [3, 3]; its largest component is
 * positive. */
void sp_quaternion_of_rotation(const double r[9], double q[4]);

/* out = a b for 4x4 matrices; out may be a or b. */
void sp_pose_multiply(const float a[16], const float b[16], float out[16]);

/* out = the inverse of a rigid transform [R | t]: [R^T | -R^T t]; out may be m. */
void sp_pose_invert(const float m[16], float out[16]);

/* Whether m is a rotation, to within 1e-3, and a translation, its last row 0 0 0 1 to within 1e-6.
 */
bool sp_pose_is_rigid(const float m[16]);

/* out = R p + t for [R | t] = m; out may be p. */
void sp_pose_apply(const float m[16], const float p[3], float out[3]);

/* c2w [4, 4] of the camera whose w2c is the rotation of q, then the translation t. */
void sp_c2w_of_quaternion(const double q[4], const double t[3], float c2w[16]);

/* The camera head's encoding of one frame, translation (3), quaternion x y z w (4), vertical and
 * horizontal field of view (radians), as c2w [4, 4] and K [3, 3] in pixels of the height x width
 * frame. Returns false when a field of view is not positive or not finite. */
bool sp_camera_of_encoding(const float encoding[9], int64_t height, int64_t width, float c2w[16],
                           float k[9]);

/* out = k [count, 3, 3] for images scaled by sx across and sy down: the first row of each matrix
 * times sx, the second times sy. out may be k. */
void sp_intrinsics_scale(const float *k, int64_t count, double sx, double sy, float *out);

/* out = K^-1 [u v 1] * depth for K [3, 3] upper triangular with last row 0 0 1. */
void sp_unproject(const float k[9], float u, float v, float depth, float out[3]);

#endif
