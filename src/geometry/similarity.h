/*
 * Similarities y = s R x + t, and their robust fit to pairs of points that carry weights: Umeyama,
 * "Least-squares estimation of transformation parameters between two point patterns" (1991), with
 * the scale of Horn, "Closed-form solution of absolute orientation using unit quaternions" (1987),
 * which favours neither side, and iterative re-weighting.
 */
#ifndef SP_GEOMETRY_SIMILARITY_H
#define SP_GEOMETRY_SIMILARITY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct SpSimilarity {
    double scale;
    double rotation[9]; /* [3, 3] */
    double translation[3];
} SpSimilarity;

/* One that leaves everything where it is. */
SpSimilarity sp_similarity_identity(void);

/* y = s R x + t; y may be x. */
void sp_similarity_apply(const SpSimilarity *s, const double x[3], double y[3]);

/* c2w [4, 4] of a camera in the world that `s` takes to another, in that other one; depths of the
 * camera are then `scale` times what they were. out may be c2w. */
void sp_similarity_pose(const SpSimilarity *s, const float c2w[16], float out[16]);

/* What takes the pose `from` to the pose `to`, both c2w [4, 4], lengths multiplied by `scale`. */
SpSimilarity sp_similarity_between(const float from[16], const float to[16], double scale);

/* A pair of points that should be one. weight >= 0, 0: the pair says nothing; unit: the length in
 * y's world in which its distance is measured, > 0, such as its depth. */
typedef struct SpPointPair {
    double x[3], y[3];
    double weight, unit;
} SpPointPair;

/* A number and how much it counts. */
typedef struct SpWeighted {
    double value, weight;
} SpWeighted;

/* The middle of numbers with weights >= 0: the smallest up to which at least half of the weight
 * lies. Sorts them. NaN where no weight is above 0. */
double sp_weighted_median(SpWeighted *values, int64_t count);

/* Fits x to y. In each round a pair counts with weight / unit^2 min(1, k / e), where e is its
 * distance in its unit and k twice the weighted median of all e: Huber's weights. First the scale
 * stays that of the lengths between points, in the middle of all; then it is fitted, too, with the
 * weights squared, so that a pair which is far off has a bounded say in it. work: [count]. Points
 * on a line leave the turn about it open: the smallest that there is, is taken; points in one place
 * leave the rotation and the scale as they are. Returns false, and the identity, when no pair has
 * weight, or none is finite. */
bool sp_similarity_fit(const SpPointPair *pairs, int64_t count, SpWeighted *work,
                       SpSimilarity *out);

#endif
