#include <math.h>
#include <string.h>

#include "base/blas.h"
#include "base/minmax.h"
#include "geometry/bundle_internal.h"

/* L^-1 [3, 3] lower of the Cholesky factor of the point's damped block. */
static bool invert_point(const SpBundleSolver *s, int64_t p, double radius, double inverse[9])
{
    double v[3][3] = {{0}};
    for (int64_t i = s->first[p]; i < s->first[p + 1]; i++)
        for (int a = 0; a < 2; a++)
            for (int j = 0; j < 3; j++)
                for (int k = 0; k <= j; k++)
                    v[j][k] += s->obs[i].jacobian[a][POSE + j] * s->obs[i].jacobian[a][POSE + k];
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

/* Camera blocks of J^T J with damping, and -J^T r as right side in `step`. */
static void begin_schur(SpBundleSolver *s, double radius)
{
    const int64_t n = s->pose_unknowns;
    memset(s->schur, 0, (size_t)(n * n) * sizeof *s->schur);
    for (int64_t i = 0; i < s->observations; i++) {
        const SpBundleObservation *o = &s->obs[i];
        const int64_t at = sp_bundle_unknown(s, o, 0);
        for (int a = 0; a < 2 && o->frame; a++)
            for (int j = 0; j < POSE; j++)
                for (int k = 0; k <= j; k++)
                    s->schur[(at + j) * n + at + k] += o->jacobian[a][j] * o->jacobian[a][k];
    }
    for (int64_t j = 0; j < n; j++) {
        s->schur[j * n + j] += s->diagonal[j] / radius;
        s->step[j] = -s->gradient[j];
    }
}

/* Eliminates points first .. first + count - 1: schur -= A A^T with A = W L^-T, and the right side
 * likewise. */
static bool eliminate(SpBundleSolver *s, double radius, int64_t first, int64_t count)
{
    const int64_t n = s->pose_unknowns, width = 3 * count;
    memset(s->eliminated, 0, (size_t)(n * width) * sizeof *s->eliminated);
    for (int64_t p = first; p < first + count; p++) {
        double g[3], *l = s->inverse[p];
        if (!invert_point(s, p, radius, l))
            return false;
        lower(l, s->gradient + n + 3 * p, g);
        for (int64_t i = s->first[p]; i < s->first[p + 1]; i++) {
            const SpBundleObservation *o = &s->obs[i];
            for (int j = 0; j < POSE && o->frame; j++) {
                const int64_t row = sp_bundle_unknown(s, o, j);
                double w[3], *out = s->eliminated + row * width + 3 * (p - first);
                for (int k = 0; k < 3; k++)
                    w[k] = o->jacobian[0][j] * o->jacobian[0][POSE + k] +
                           o->jacobian[1][j] * o->jacobian[1][POSE + k];
                lower(l, w, out);
                s->step[row] += out[0] * g[0] + out[1] * g[1] + out[2] * g[2];
            }
        }
    }
    sp_blas()->cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, (blasint)n, (blasint)width, -1,
                           s->eliminated, (blasint)width, 1, s->schur, (blasint)n);
    return true;
}

/* Cholesky's factorisation in place by blocks, then both substitutions on `step`. LAPACK's dpotrf
 * of OpenBLAS 0.3.21 is no faster (0.12, 1.5 and 67 ms for 24, 80 and 300 frames against 0.13, 1.4
 * and 66 ms here) and rounds differently with one thread and with two, which this does not. */
static bool solve_cameras(SpBundleSolver *s)
{
    enum { PANEL = 48 };
    const int64_t n = s->pose_unknowns;
    double *a = s->schur;
    for (int64_t b = 0; b < n; b += PANEL) {
        const int64_t e = sp_min(b + PANEL, n);
        for (int64_t j = b; j < e; j++)
            for (int64_t i = j; i < e; i++) {
                double sum = a[i * n + j];
                for (int64_t k = b; k < j; k++)
                    sum -= a[i * n + k] * a[j * n + k];
                if (i == j && !(sum > 0))
                    return false;
                a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
            }
        if (e == n)
            break;
        sp_blas()->cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit,
                               (blasint)(n - e), (blasint)(e - b), 1, a + b * n + b, (blasint)n,
                               a + e * n + b, (blasint)n);
        sp_blas()->cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, (blasint)(n - e),
                               (blasint)(e - b), -1, a + e * n + b, (blasint)n, 1, a + e * n + e,
                               (blasint)n);
    }
    sp_blas()->cblas_dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, (blasint)n, a,
                           (blasint)n, s->step, 1);
    sp_blas()->cblas_dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, (blasint)n, a,
                           (blasint)n, s->step, 1);
    return true;
}

/* The points' steps from the cameras'. */
static void substitute_points(SpBundleSolver *s)
{
    for (int64_t p = 0; p < s->points; p++) {
        const int64_t at = s->pose_unknowns + 3 * p;
        double right[3], half[3];
        for (int k = 0; k < 3; k++)
            right[k] = -s->gradient[at + k];
        for (int64_t i = s->first[p]; i < s->first[p + 1]; i++) {
            const SpBundleObservation *o = &s->obs[i];
            for (int a = 0; a < 2 && o->frame; a++) {
                double along = 0;
                for (int j = 0; j < POSE; j++)
                    along += o->jacobian[a][j] * s->step[sp_bundle_unknown(s, o, j)];
                for (int k = 0; k < 3; k++)
                    right[k] -= o->jacobian[a][POSE + k] * along;
            }
        }
        lower(s->inverse[p], right, half);
        lower_transposed(s->inverse[p], half, s->step + at);
    }
}

/* The decrease of the linear model: -(J d).(r + J d / 2). */
static double model_decrease(const SpBundleSolver *s)
{
    double sum = 0;
    for (int64_t i = 0; i < s->observations; i++) {
        const SpBundleObservation *o = &s->obs[i];
        for (int a = 0; a < 2; a++) {
            double along = 0;
            for (int j = 0; j < UNKNOWNS; j++)
                if (sp_bundle_free(o, j))
                    along += o->jacobian[a][j] * s->step[sp_bundle_unknown(s, o, j)];
            sum -= along * (o->residual[a] + along / 2);
        }
    }
    return sum;
}

bool sp_bundle_step(SpBundleSolver *s, double radius, double *decrease)
{
    begin_schur(s, radius);
    for (int64_t p = 0; p < s->points; p += BLOCK_POINTS)
        if (!eliminate(s, radius, p, sp_min(s->points - p, BLOCK_POINTS)))
            return false;
    if (s->pose_unknowns && !solve_cameras(s))
        return false;
    substitute_points(s);
    *decrease = model_decrease(s);
    return *decrease > 0 && isfinite(*decrease);
}
