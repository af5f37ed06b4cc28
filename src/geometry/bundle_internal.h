/* The state of a bundle adjustment, and its linear step. */
#ifndef SP_GEOMETRY_BUNDLE_INTERNAL_H
#define SP_GEOMETRY_BUNDLE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "geometry/bundle.h"

enum {
    POSE = 6,         /* unknowns of a pose: rotation, translation */
    BLOCK_POINTS = 64 /* points eliminated together */
};

/* x_cam = R x + t of one frame. */
typedef struct SpBundlePose {
    double q[4], t[3]; /* quaternion x y z w */
} SpBundlePose;

typedef struct SpBundleObservation {
    int32_t frame, point;
    double xy[2], r[2], jc[2][POSE], jp[2][3];
} SpBundleObservation;

typedef struct SpBundleSolver {
    int64_t frames, points, observations, unknowns; /* unknowns: 6 (T - 1) */
    SpBundleObservation *obs;                       /* by point, then frame */
    int64_t *first;                                 /* [P + 1] each point's first one in obs */
    double *camera;                                 /* [T, 3] focal, cx, cy */
    SpBundlePose *pose, *next_pose, *best_pose;
    double (*point)[3], (*next_point)[3];
    double *scale_c, *scale_p, *diagonal_c, *diagonal_p; /* per unknown */
    double *gradient_c, *gradient_p, *step_c, *step_p;
    double *schur, *eliminated; /* [unknowns]^2, [unknowns, 3 BLOCK_POINTS] */
    double (*inverse)[9];       /* [P] inverse factors of the points' blocks */
} SpBundleSolver;

/* One damped step: solves (J^T J + diagonal / radius) d = -J^T r of the scaled Jacobian into
 * step_c and step_p by eliminating the points (Schur complement, Cholesky). *decrease: that of the
 * linear model. False when a block is not positive or the model does not decrease. */
bool sp_bundle_step(SpBundleSolver *s, double radius, double *decrease);

#endif
