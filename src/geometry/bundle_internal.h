/* The state of a bundle adjustment, and its linear step. */
#ifndef SP_GEOMETRY_BUNDLE_INTERNAL_H
#define SP_GEOMETRY_BUNDLE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/isa.h"
#include "base/unroll.h"
#include "geometry/bundle.h"

enum {
    POSE = 6,          /* unknowns of a pose: rotation, translation */
    UNKNOWNS = 9,      /* of an observation: its frame's pose, its point */
    LANES = 8,         /* a pose's unknowns with padding: two or one vector of doubles */
    BLOCK_POINTS = 64, /* points eliminated together: a bit each of a word */
    CHUNKS = 16, /* of points that are summed over by themselves, whatever the number of threads */
    ROWS = 1 + POSE /* of a frame's sums: gradient, J^T J */
};

/* x_cam = R x + t of one frame. */
typedef struct SpBundlePose {
    double q[4], t[3]; /* quaternion x y z w */
} SpBundlePose;

typedef struct SpBundleObservation {
    int32_t frame, point;
    double xy[2], residual[2], jacobian[2][UNKNOWNS];
    double along[2]; /* J_pose times the pose's step */
} SpBundleObservation;

/* A pose's unknowns, in vectors of the instruction set's own width: of wider ones gcc makes detours
 * through memory. What stands in the last two lanes is of no account. */
#if defined(__AVX512F__)
enum { PART = 8 };
#elif defined(__AVX2__)
enum { PART = 4 };
#else
enum { PART = 2 };
#endif
enum { PARTS = LANES / PART };
typedef double SpBundlePart
    __attribute__((vector_size(PART * sizeof(double)), aligned(8), may_alias));
typedef struct SpBundleVector {
    SpBundlePart part[PARTS];
} SpBundleVector;

#define SP_BUNDLE_INLINE static inline __attribute__((always_inline))

/* Part by part: what gcc copies with memcpy goes through memory. */
SP_BUNDLE_INLINE SpBundleVector sp_bundle_load(const double lanes[LANES])
{
    SpBundleVector v;
    SP_UNROLL(4)
    for (int i = 0; i < PARTS; i++)
        v.part[i] = *(const SpBundlePart *)(lanes + i * PART);
    return v;
}

SP_BUNDLE_INLINE void sp_bundle_store(double lanes[LANES], SpBundleVector v)
{
    SP_UNROLL(4)
    for (int i = 0; i < PARTS; i++)
        *(SpBundlePart *)(lanes + i * PART) = v.part[i];
}

/* x a + y b. */
SP_BUNDLE_INLINE SpBundleVector sp_bundle_sum(double x, SpBundleVector a, double y,
                                              SpBundleVector b)
{
    SP_UNROLL(4)
    for (int i = 0; i < PARTS; i++)
        a.part[i] = x * a.part[i] + y * b.part[i];
    return a;
}

SP_BUNDLE_INLINE void sp_bundle_add(SpBundleVector *a, SpBundleVector b)
{
    SP_UNROLL(4)
    for (int i = 0; i < PARTS; i++)
        a->part[i] += b.part[i];
}

SP_BUNDLE_INLINE void sp_bundle_scale(SpBundleVector *a, double x)
{
    SP_UNROLL(4)
    for (int i = 0; i < PARTS; i++)
        a->part[i] *= x;
}

/* a -= x b. */
SP_BUNDLE_INLINE void sp_bundle_subtract(SpBundleVector *a, double x, SpBundleVector b)
{
    SP_UNROLL(4)
    for (int i = 0; i < PARTS; i++)
        a->part[i] -= x * b.part[i];
}

/* The transposed of a block of 6 x 6 between two poses, or of 6 x 3 between a pose and a point. */
typedef double SpBundleBlock[POSE][LANES];
typedef double SpBundleFactor[3][LANES];

typedef struct SpBundleSolver {
    int threads;
    int64_t frames, points, observations;
    int64_t pose_unknowns, unknowns; /* 6 (T - 1), frame 0 being fixed, and 3 P after them */
    SpBundleObservation *obs;        /* by point, then frame */
    int64_t *first;                  /* [P + 1] each point's first one in obs */
    double (*camera)[3];             /* [T] focal, cx, cy */
    SpBundlePose *pose, *next_pose, *best_pose;
    double (*rotation)[9]; /* [T] of the poses at hand */
    double (*point)[3], (*next_point)[3];
    double *scale, *diagonal, *gradient, *step; /* [unknowns] */
    SpBundleVector (*sums)[ROWS];               /* [CHUNKS + 1, T], the last of all points */
    double (*normal)[6];                        /* [P] J^T J of the points, lower triangle */
    double (*inverse)[9];                       /* [P] inverse factors of the points' blocks */
    SpBundleBlock *schur;   /* frames 1 .. i and 1 .. j <= i at i (i - 1) / 2 + j - 1 */
    SpBundleFactor *factor; /* [T, BLOCK_POINTS] J_pose^T J_point L^-T, transposed */
    double (*right)[3];     /* [BLOCK_POINTS] L^-1 times the point's gradient */
    uint64_t *seen;         /* [T] which points of the block a frame sees */
} SpBundleSolver;

/* One damped step: solves (J^T J + diagonal / radius) d = -J^T r of the scaled Jacobian into
 * `step` by eliminating the points (Schur complement, Cholesky). *decrease: that of the linear
 * model. False when a block is not positive or the model does not decrease. */
#define sp_bundle_step SP_FN(sp_bundle_step)
bool sp_bundle_step(SpBundleSolver *s, double radius, double *decrease);

/* Where a chunk's points begin; the one beyond the last ends them. */
static inline int64_t sp_bundle_chunk(const SpBundleSolver *s, int64_t chunk)
{
    return s->points * chunk / CHUNKS;
}

#define SP_BUNDLE_COPIES(isa)                                                                      \
    SpBundleStats sp_bundle_solve_##isa(const SpBundleProblem *, void *, float *, float *);        \
    size_t sp_bundle_bytes_##isa(int64_t, int64_t);
SP_BUNDLE_COPIES(baseline)
SP_BUNDLE_COPIES(avx2)
SP_BUNDLE_COPIES(avx512)

#endif
