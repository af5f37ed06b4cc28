/*
 * Pinhole cameras: OpenCV axes (x right, y down, z forward), 4x4 matrices row-major with last row
 * 0 0 0 1. "c2w" maps camera to world, "w2c" the other way. Matrices are float32 as the networks
 * pass them; sums are formed in double.
 */
#ifndef SP_GEOMETRY_CAMERA_H
#define SP_GEOMETRY_CAMERA_H

#include <stdint.h>

/* Rotation [3, 3] of a quaternion x, y, z, w of any length (front.md section 6). */
void sp_rotation_of_quaternion(const double q[4], double r[9]);

/* Quaternion x, y, z, w of unit length of a rotation [3, 3]; the largest component is positive. */
void sp_quaternion_of_rotation(const double r[9], double q[4]);

/* out = a b for 4x4 matrices; out may be a or b. */
void sp_pose_multiply(const float a[16], const float b[16], float out[16]);

/* Inverse of a rigid transform [R | t]: [R^T | -R^T t]; out may be m. */
void sp_pose_invert(const float m[16], float out[16]);

/* out = R p + t for [R | t] = m. */
void sp_pose_apply(const float m[16], const float p[3], float out[3]);

/* The camera head's encoding of one frame, translation (3), quaternion x y z w (4), vertical and
 * horizontal field of view (radians), as c2w [4, 4] and K [3, 3] in pixels of the height x width
 * frame. Returns false when a field of view is not positive or not finite. */
int sp_camera_of_encoding(const float encoding[9], int64_t height, int64_t width, float c2w[16],
                          float k[9]);

/* K [3, 3] in pixels of the same image at sx times its width and sy times its height; in place. */
void sp_intrinsics_scale(float k[9], float sx, float sy);

/* out = K^-1 [u v 1] * depth for K [3, 3] upper triangular with last row 0 0 1. */
void sp_unproject(const float k[9], float u, float v, float depth, float out[3]);

#endif
