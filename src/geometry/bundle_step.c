#include <math.h>
#include <string.h>

#include "base/minmax.h"
#include "geometry/bundle_internal.h"

typedef SpBundleVector Vector;

/* L^-1 [3, 3] lower of the Cholesky factor of the point's damped block. */
static bool invert_point(const SpBundleSolver *s, int64_t p, double radius, double inverse[9])
{
    double v[3][3];
    for (int j = 0; j < 3; j++)
        for (int k = 0; k <= j; k++)
            v[j][k] = s->normal[p][j * (j + 1) / 2 + k];
    for (int j = 0; j < 3; j++)
        v[j][j] += s->diagonal[s->pose_unknowns + 3 * p + j] / radius;
    for (int j = 0; j < 3; j++)
        for (int k = 0; k <= j; k++) {
            double sum = v[j][k];
            for (int m = 0; m < k; m++)
                sum -= v[j][m] * v[k][m];
            if (j == k && !(sum > 0))
                return false;
            v[j][k] = j == k ? sqrt(sum) : sum / v[k][k];
        }
    memset(inverse, 0, 9 * sizeof *inverse);
    for (int j = 0; j < 3; j++)
        for (int k = j; k >= 0; k--) {
            double sum = j == k;
            for (int m = k; m < j; m++)
                sum -= v[j][m] * inverse[3 * m + k];
            inverse[3 * j + k] = sum / v[j][j];
        }
    return true;
}

/* y = L^-1 x, and y = L^-T x. */
static void lower(const double l[9], const double x[3], double y[3])
{
    for (int j = 0; j < 3; j++)
        y[j] = l[3 * j] * x[0] + l[3 * j + 1] * x[1] + l[3 * j + 2] * x[2];
}

static void lower_transposed(const double l[9], const double x[3], double y[3])
{
    for (int j = 0; j < 3; j++)
        y[j] = l[j] * x[0] + l[3 + j] * x[1] + l[6 + j] * x[2];
}

/* Where the block of frames i >= j > 0 stands. */
static inline int64_t block_at(int64_t i, int64_t j)
{
    return i * (i - 1) / 2 + j - 1;
}

SP_BUNDLE_INLINE void load_block(Vector s[POSE], double (*block)[LANES])
{
    SP_UNROLL(6)
    for (int c = 0; c < POSE; c++)
        s[c] = sp_bundle_load(block[c]);
}

SP_BUNDLE_INLINE void store_block(double (*block)[LANES], const Vector s[POSE])
{
    SP_UNROLL(6)
    for (int c = 0; c < POSE; c++)
        sp_bundle_store(block[c], s[c]);
}

/* s -= b^T a of `depth` rows each: a block less the product of two others. */
SP_BUNDLE_INLINE void subtract(Vector s[POSE], double (*a)[LANES], double (*b)[LANES], int depth)
{
    SP_UNROLL(3)
    for (int k = 0; k < depth; k++) {
        const Vector row = sp_bundle_load(a[k]);
        SP_UNROLL(6)
        for (int c = 0; c < POSE; c++)
            sp_bundle_subtract(&s[c], b[k][c], row);
    }
}

/* Damped camera blocks of J^T J, zero between two cameras, and -J^T r as right side in `step`. */
static void begin_schur(SpBundleSolver *s, double radius)
{
    memset(s->schur, 0, (size_t)(s->frames * (s->frames - 1) / 2) * sizeof *s->schur);
    for (int64_t t = 1; t < s->frames; t++) {
        const Vector *products = s->sums[CHUNKS * s->frames + t] + 1;
        double(*block)[LANES] = s->schur[block_at(t, t)];
        for (int i = 0; i < POSE; i++) {
            memcpy(block[i], &products[i], POSE * sizeof(double));
            block[i][i] += s->diagonal[POSE * (t - 1) + i] / radius;
        }
    }
    for (int64_t j = 0; j < s->pose_unknowns; j++)
        s->step[j] = -s->gradient[j];
}

/* Point `at` of the block of points from `first` on: its factors with the frames that see it. */
static bool factor_point(SpBundleSolver *s, double radius, int64_t first, int64_t at)
{
    const int64_t p = first + at;
    double *l = s->inverse[p];
    if (!invert_point(s, p, radius, l))
        return false;
    lower(l, s->gradient + s->pose_unknowns + 3 * p, s->right[at]);
    for (int64_t i = s->first[p]; i < s->first[p + 1]; i++) {
        const SpBundleObservation *o = &s->obs[i];
        double(*out)[LANES] = s->factor[o->frame * BLOCK_POINTS + at];
        if (!o->frame)
            continue;
        const Vector u = sp_bundle_load(o->jacobian[0]), v = sp_bundle_load(o->jacobian[1]);
        Vector w[3], y[3];
        for (int k = 0; k < 3; k++)
            w[k] = sp_bundle_sum(o->jacobian[0][POSE + k], u, o->jacobian[1][POSE + k], v);
        y[0] = w[0];
        sp_bundle_scale(&y[0], l[0]);
        y[1] = sp_bundle_sum(l[3], w[0], l[4], w[1]);
        y[2] = sp_bundle_sum(l[6], w[0], l[7], w[1]);
        sp_bundle_subtract(&y[2], -l[8], w[2]);
        for (int k = 0; k < 3; k++)
            sp_bundle_store(out[k], y[k]);
        for (int k = 0; k < 3; k++)
            memset(out[k] + POSE, 0, (LANES - POSE) * sizeof out[k][0]);
    }
    return true;
}

/* What the block's points take from frame i's row of the Schur complement and its right side: only
 * points that both frames of a block see. */
static void eliminate_row(SpBundleSolver *s, int64_t i)
{
    SpBundleFactor *mine = s->factor + i * BLOCK_POINTS;
    for (int64_t j = 1; j <= i; j++) {
        SpBundleFactor *other = s->factor + j * BLOCK_POINTS;
        Vector sum[POSE];
        load_block(sum, s->schur[block_at(i, j)]);
        for (uint64_t both = s->seen[i] & s->seen[j]; both; both &= both - 1) {
            const int at = __builtin_ctzll(both);
            subtract(sum, mine[at], other[at], 3);
        }
        store_block(s->schur[block_at(i, j)], sum);
    }
    double *step = s->step + POSE * (i - 1);
    for (uint64_t own = s->seen[i]; own; own &= own - 1) {
        const int at = __builtin_ctzll(own);
        for (int j = 0; j < POSE; j++)
            for (int k = 0; k < 3; k++)
                step[j] += mine[at][k][j] * s->right[at][k];
    }
}

/* Eliminates points first .. first + count - 1: schur -= A A^T with A = W L^-T, and the right side
 * likewise. */
static bool eliminate(SpBundleSolver *s, double radius, int64_t first, int64_t count)
{
    int failed = 0;
    memset(s->seen, 0, (size_t)s->frames * sizeof *s->seen);
    for (int64_t i = s->first[first]; i < s->first[first + count]; i++)
        s->seen[s->obs[i].frame] |= (uint64_t)1 << (s->obs[i].point - first);
#pragma omp parallel num_threads(s->threads)
    {
#pragma omp for schedule(static) reduction(+ : failed)
        for (int64_t at = 0; at < count; at++)
            failed += !factor_point(s, radius, first, at);
#pragma omp for schedule(dynamic)
        for (int64_t i = 1; i < s->frames; i++)
            eliminate_row(s, s->frames - i);
    }
    return !failed;
}

/* The factor of frame j's block, whose diagonal stands inverted; the strict upper triangle of its
 * transposed is left alone. */
static bool factor_diagonal(double (*a)[LANES])
{
    for (int k = 0; k < POSE; k++) {
        for (int m = 0; m < k; m++)
            for (int r = k; r < POSE; r++)
                a[k][r] -= a[m][k] * a[m][r];
        if (!(a[k][k] > 0))
            return false;
        a[k][k] = 1 / sqrt(a[k][k]);
        for (int r = k + 1; r < POSE; r++)
            a[k][r] *= a[k][k];
    }
    return true;
}

/* Cholesky's factorisation in place, block by block from the left. */
static bool factor_cameras(SpBundleSolver *s)
{
    enum { WORTH_THREADS = 48 };
    SpBundleBlock *l = s->schur;
    for (int64_t j = 1; j < s->frames; j++) {
        double(*diagonal)[LANES] = l[block_at(j, j)];
        Vector own[POSE];
        load_block(own, diagonal);
        for (int64_t k = 1; k < j; k++)
            subtract(own, l[block_at(j, k)], l[block_at(j, k)], POSE);
        store_block(diagonal, own);
        if (!factor_diagonal(diagonal))
            return false;
        const int threads = s->frames - j < WORTH_THREADS ? 1 : s->threads;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
        for (int64_t i = j + 1; i < s->frames; i++) {
            Vector sum[POSE];
            load_block(sum, l[block_at(i, j)]);
            for (int64_t k = 1; k < j; k++)
                subtract(sum, l[block_at(i, k)], l[block_at(j, k)], POSE);
            for (int k = 0; k < POSE; k++) {
                for (int m = 0; m < k; m++)
                    sp_bundle_subtract(&sum[k], diagonal[m][k], sum[m]);
                sp_bundle_scale(&sum[k], diagonal[k][k]);
            }
            store_block(l[block_at(i, j)], sum);
        }
    }
    return true;
}

/* The cameras' steps: both substitutions on `step`. */
static void substitute_cameras(SpBundleSolver *s)
{
    for (int64_t i = 1; i < s->frames; i++) {
        double *x = s->step + POSE * (i - 1);
        for (int64_t j = 1; j < i; j++)
            for (int k = 0; k < POSE; k++)
                for (int r = 0; r < POSE; r++)
                    x[r] -= s->schur[block_at(i, j)][k][r] * s->step[POSE * (j - 1) + k];
        double(*l)[LANES] = s->schur[block_at(i, i)];
        for (int r = 0; r < POSE; r++) {
            for (int k = 0; k < r; k++)
                x[r] -= l[k][r] * x[k];
            x[r] *= l[r][r];
        }
    }
    for (int64_t i = s->frames - 1; i > 0; i--) {
        double *x = s->step + POSE * (i - 1), (*l)[LANES] = s->schur[block_at(i, i)];
        for (int k = POSE - 1; k >= 0; k--) {
            for (int r = k + 1; r < POSE; r++)
                x[k] -= l[k][r] * x[r];
            x[k] *= l[k][k];
        }
        for (int64_t j = 1; j < i; j++)
            for (int k = 0; k < POSE; k++)
                for (int r = 0; r < POSE; r++)
                    s->step[POSE * (j - 1) + k] -= s->schur[block_at(i, j)][k][r] * x[r];
    }
}

/* A point's steps from the cameras'. Returns the decrease of its share of the linear model: -(J
 * d).(r + J d / 2). */
static double substitute_point(SpBundleSolver *s, int64_t p)
{
    double right[3], half[3], *step = s->step + s->pose_unknowns + 3 * p, decrease = 0;
    for (int k = 0; k < 3; k++)
        right[k] = -s->gradient[s->pose_unknowns + 3 * p + k];
    for (int64_t i = s->first[p]; i < s->first[p + 1]; i++) {
        SpBundleObservation *o = &s->obs[i];
        const double *pose = s->step + POSE * (o->frame - 1);
        for (int a = 0; a < 2; a++) {
            o->along[a] = 0;
            for (int j = 0; j < POSE && o->frame; j++)
                o->along[a] += o->jacobian[a][j] * pose[j];
            for (int k = 0; k < 3; k++)
                right[k] -= o->jacobian[a][POSE + k] * o->along[a];
        }
    }
    lower(s->inverse[p], right, half);
    lower_transposed(s->inverse[p], half, step);
    for (int64_t i = s->first[p]; i < s->first[p + 1]; i++) {
        const SpBundleObservation *o = &s->obs[i];
        for (int a = 0; a < 2; a++) {
            const double *j = o->jacobian[a] + POSE;
            const double along = o->along[a] + j[0] * step[0] + j[1] * step[1] + j[2] * step[2];
            decrease -= along * (o->residual[a] + along / 2);
        }
    }
    return decrease;
}

static double substitute_points(SpBundleSolver *s)
{
    double part[CHUNKS] = {0}, sum = 0;
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t chunk = 0; chunk < CHUNKS; chunk++)
        for (int64_t p = sp_bundle_chunk(s, chunk); p < sp_bundle_chunk(s, chunk + 1); p++)
            part[chunk] += substitute_point(s, p);
    for (int i = 0; i < CHUNKS; i++)
        sum += part[i];
    return sum;
}

bool sp_bundle_step(SpBundleSolver *s, double radius, double *decrease)
{
    begin_schur(s, radius);
    for (int64_t p = 0; p < s->points; p += BLOCK_POINTS)
        if (!eliminate(s, radius, p, sp_min(s->points - p, BLOCK_POINTS)))
            return false;
    if (!factor_cameras(s))
        return false;
    substitute_cameras(s);
    *decrease = substitute_points(s);
    return *decrease > 0 && isfinite(*decrease);
}
