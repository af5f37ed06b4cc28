/*
 * Bundle adjustment: poses and points that minimise the squared reprojection error, by
 * Levenberg-Marquardt with the points eliminated (Triggs et al., "Bundle Adjustment - A Modern
 * Synthesis", 2000). Steps, damping and stopping follow Ceres Solver's trust region minimizer
 * with the options the published tracker uses (src/tracker/README.md, "Bundle adjustment").
 */
#ifndef SP_GEOMETRY_BUNDLE_H
#define SP_GEOMETRY_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct SpBundleProblem {
    int64_t frames, points;
    const float *c2w;       /* [T, 4, 4] first poses; frame 0 stays */
    const float *k;         /* [T, 3, 3]; the focal length is k[0], k[4] is not looked at */
    const float *xyz;       /* [P, 3] world */
    const float *xy;        /* [T, P, 2] observed pixels */
    const uint8_t *visible; /* [T, P] whether the observation counts */
    int threads;            /* 0 or 1: the caller's alone; changes no bit of the result */
} SpBundleProblem;

typedef struct SpBundleStats {
    int successful, unsuccessful;    /* steps; the start counts as successful */
    double initial_cost, final_cost; /* half the sum of squared residuals */
    int64_t residuals;
    bool converged;
} SpBundleStats;

/* Bytes of workspace for at most that many frames and points, however many are visible. */
size_t sp_bundle_workspace(int64_t frames, int64_t points);

/* Solves in `workspace` (64-byte aligned, sp_bundle_workspace bytes). Fewer than 50 points with two
 * observations: nothing happens, stats are zero, c2w and k are copied. Otherwise c2w [T, 4, 4] is
 * the solution and the focal length of k [T, 3, 3] stands on both diagonal places. Outputs may not
 * overlap the problem. */
SpBundleStats sp_bundle_adjust(const SpBundleProblem *problem, void *workspace, float *c2w,
                               float *k);

#endif
