/* The state of a bundle adjustment, and its linear step. */
#ifndef SP_GEOMETRY_BUNDLE_INTERNAL_H
#define SP_GEOMETRY_BUNDLE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "geometry/bundle.h"

enum {
    POSE = 6,         /* unknowns of a pose: rotation, translation */
    UNKNOWNS = 9,     /* of an observation: its frame's pose, its point */
    BLOCK_POINTS = 64 /* points eliminated together */
};

/* x_cam = R x + t of one frame. */
typedef struct SpBundlePose {
    double q[4], t[3]; /* quaternion x y z w */
} SpBundlePose;

typedef struct SpBundleObservation {
    int32_t frame, point;
    double xy[2], residual[2], jacobian[2][UNKNOWNS];
} SpBundleObservation;

typedef struct SpBundleSolver {
    int64_t frames, points, observations;
    int64_t pose_unknowns, unknowns; /* 6 (T - 1), frame 0 being fixed, and 3 P after them */
    SpBundleObservation *obs;        /* by point, then frame */
    int64_t *first;                  /* [P + 1] each point's first one in obs */
    double (*camera)[3];             /* [T] focal, cx, cy */
    SpBundlePose *pose, *next_pose, *best_pose;
    double (*point)[3], (*next_point)[3];
    double *scale, *diagonal, *gradient, *step; /* [unknowns] */
    double *schur, *eliminated; /* [pose_unknowns]^2, [pose_unknowns, 3 BLOCK_POINTS] */
    double (*inverse)[9];       /* [P] inverse factors of the points' blocks */
} SpBundleSolver;

/* Whether unknown j of an observation is solved for: frame 0 is fixed. */
static inline bool sp_bundle_free(const SpBundleObservation *o, int j)
{
    return o->frame || j >= POSE;
}

/* Where unknown j of an observation is among the solver's. */
static inline int64_t sp_bundle_unknown(const SpBundleSolver *s, const SpBundleObservation *o,
                                        int j)
{
    return j < POSE ? POSE * (o->frame - 1) + j : s->pose_unknowns + 3 * o->point + j - POSE;
}

/* One damped step: solves (J^T J + diagonal / radius) d = -J^T r of the scaled Jacobian into
 * `step` by eliminating the points (Schur complement, Cholesky). *decrease: that of the linear
 * model. False when a block is not positive or the model does not decrease. */
bool sp_bundle_step(SpBundleSolver *s, double radius, double *decrease);

#endif
