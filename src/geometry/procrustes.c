#include "geometry/procrustes.h"

#include <math.h>
#include <string.h>

#include "geometry/camera.h"

/* Eigenvectors of a symmetric 3x3 matrix as columns of v, by Jacobi's rotations. */
static void eigenvectors(double a[3][3], double v[3][3])
{
    memset(v, 0, 9 * sizeof(double));
    for (int i = 0; i < 3; i++)
        v[i][i] = 1;
    for (int sweep = 0; sweep < 50; sweep++) {
        const double off = a[0][1] * a[0][1] + a[0][2] * a[0][2] + a[1][2] * a[1][2];
        const double on = a[0][0] * a[0][0] + a[1][1] * a[1][1] + a[2][2] * a[2][2];
        if (off <= 1e-60 || off <= 1e-34 * on)
            return;
        for (int p = 0; p < 2; p++)
            for (int q = p + 1; q < 3; q++) {
                if (a[p][q] == 0)
                    continue;
                const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
                const double t = copysign(1, theta) / (fabs(theta) + sqrt(theta * theta + 1));
                const double c = 1 / sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < 3; k++) {
                    const double x = a[k][p], y = a[k][q];
                    a[k][p] = c * x - s * y;
                    a[k][q] = s * x + c * y;
                }
                for (int k = 0; k < 3; k++) {
                    const double x = a[p][k], y = a[q][k];
                    a[p][k] = c * x - s * y;
                    a[q][k] = s * x + c * y;
                    const double m = v[k][p], n = v[k][q];
                    v[k][p] = c * m - s * n;
                    v[k][q] = s * m + c * n;
                }
            }
    }
}

static void cross(const double a[3], const double b[3], double out[3])
{
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

static bool unit(double v[3])
{
    const double length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    if (!(length > 0) || !isfinite(length))
        return false;
    for (int i = 0; i < 3; i++)
        v[i] /= length;
    return true;
}

/* With the right singular vectors v1, v2 and u = H v / |H v|, R takes u_i to v_i, and the third
 * direction follows from both being right-handed (which is the sign rule for det(U Vt) < 0). */
bool sp_procrustes_rotation(double h[3][3], double r[3][3])
{
    double hth[3][3], e[3][3], v[3][3], u[3][3];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            hth[i][j] = h[0][i] * h[0][j] + h[1][i] * h[1][j] + h[2][i] * h[2][j];
    eigenvectors(hth, e);
    int order[3] = {0, 1, 2};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2 - i; j++)
            if (hth[order[j]][order[j]] < hth[order[j + 1]][order[j + 1]]) {
                const int swap = order[j];
                order[j] = order[j + 1];
                order[j + 1] = swap;
            }
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 3; i++)
            v[k][i] = e[i][order[k]];
        for (int i = 0; i < 3; i++)
            u[k][i] = h[i][0] * v[k][0] + h[i][1] * v[k][1] + h[i][2] * v[k][2];
    }
    const double along = u[1][0] * u[0][0] + u[1][1] * u[0][1] + u[1][2] * u[0][2];
    const double size = u[0][0] * u[0][0] + u[0][1] * u[0][1] + u[0][2] * u[0][2];
    if (!unit(u[0]))
        return false;
    for (int i = 0; i < 3; i++)
        u[1][i] -= along / size * (sqrt(size) * u[0][i]);
    if (!unit(u[1]))
        return false;
    cross(u[0], u[1], u[2]);
    cross(v[0], v[1], v[2]);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            r[i][j] = v[0][i] * u[0][j] + v[1][i] * u[1][j] + v[2][i] * u[2][j];
    return true;
}

/* The rigid transform [4, 4] that takes points x [count, 3] to y [count, 3] with the minimal
 * weighted squared distance; weights h [count] >= 0. The identity's rotation where the points
 * leave it open, and the identity when all weights are zero. */
static void rigid_fit(const float *x, const float *y, const float *h, int64_t count, float out[16])
{
    double total = 0, cx[3] = {0}, cy[3] = {0}, covariance[3][3] = {{0}};
    double r[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    for (int64_t n = 0; n < count; n++) {
        total += h[n];
        for (int i = 0; i < 3; i++) {
            cx[i] += (double)h[n] * x[3 * n + i];
            cy[i] += (double)h[n] * y[3 * n + i];
        }
    }
    for (int i = 0; i < 3 && total > 0; i++) {
        cx[i] /= total;
        cy[i] /= total;
    }
    for (int64_t n = 0; n < count; n++)
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                covariance[i][j] += h[n] * (x[3 * n + i] - cx[i]) * (y[3 * n + j] - cy[j]);
    if (total > 0)
        sp_procrustes_rotation(covariance, r);
    memset(out, 0, 16 * sizeof *out);
    out[15] = 1;
    for (int i = 0; i < 3; i++) {
        double t = cy[i];
        for (int j = 0; j < 3; j++) {
            out[4 * i + j] = (float)r[i][j];
            t -= r[i][j] * cx[j];
        }
        out[4 * i + 3] = total > 0 ? (float)t : 0;
    }
}

typedef struct Tracks {
    const float *points, *weight, *track_weight; /* [T, N, 3], [T, N], [N] */
    int64_t frames, tracks;
    float *fit_weight; /* [N] of one fit */
} Tracks;

/* The sum of the products of the frames' weights. */
static double overlap(const float *a, const float *b, int64_t tracks)
{
    double sum = 0;
    for (int64_t n = 0; n < tracks; n++)
        sum += (double)a[n] * b[n];
    return sum;
}

int64_t sp_procrustes_key_frame(const float *weight, int64_t frames, int64_t tracks)
{
    int64_t best = 0;
    double min = INFINITY;
    for (int64_t k = 1; k < frames - 1; k++) {
        const double first = overlap(weight, weight + k * tracks, tracks);
        const double last = overlap(weight + (frames - 1) * tracks, weight + k * tracks, tracks);
        const double max = first > last ? first : last;
        if (max < min) {
            min = max;
            best = k;
        }
    }
    return best;
}

/* Transforms [b - a + 1, 4, 4] that take the points of frames a .. b to frame a's. */
static void fit_interval(const Tracks *s, int64_t a, int64_t b, float *out)
{
    const int64_t tracks = s->tracks;
    float *h = s->fit_weight;
    double sum = 0;
    for (int64_t n = 0; n < tracks; n++) {
        h[n] = s->track_weight[n] * s->weight[a * tracks + n] * s->weight[b * tracks + n];
        sum += h[n];
    }
    for (int64_t n = 0; n < tracks && sum < 50; n++)
        h[n] = h[n] > 0.05f ? h[n] : 0.05f;
    for (int64_t t = a; t <= b; t++, out += 16) {
        rigid_fit(s->points + a * tracks * 3, s->points + t * tracks * 3, h, tracks, out);
        sp_pose_invert(out, out);
    }
}

void sp_procrustes_cameras(const float *points, const float *weight, const float *track_weight,
                           int64_t frames, int64_t tracks, float *work, float *cameras)
{
    const Tracks s = {points, weight, track_weight, frames, tracks, work};
    const int64_t k = sp_procrustes_key_frame(weight, frames, tracks);
    float middle[16];
    fit_interval(&s, 0, k, cameras);
    memcpy(middle, cameras + 16 * k, sizeof middle);
    fit_interval(&s, k, frames - 1, cameras + 16 * k);
    for (int64_t t = k; t < frames; t++)
        sp_pose_multiply(middle, cameras + 16 * t, cameras + 16 * t);
    const float identity[16] = {[0] = 1, [5] = 1, [10] = 1, [15] = 1};
    memcpy(cameras, identity, sizeof identity);
}
