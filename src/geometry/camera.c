#include "geometry/camera.h"

#include <math.h>
#include <string.h>

void sp_rotation_of_quaternion(const double q[4], double r[9])
{
    const double x = q[0], y = q[1], z = q[2], w = q[3];
    const double s = 2 / (x * x + y * y + z * z + w * w);
    const double rows[9] = {
        1 - s * (y * y + z * z), s * (x * y - z * w),     s * (x * z + y * w),
        s * (x * y + z * w),     1 - s * (x * x + z * z), s * (y * z - x * w),
        s * (x * z - y * w),     s * (y * z + x * w),     1 - s * (x * x + y * y)};
    memcpy(r, rows, sizeof rows);
}

void sp_quaternion_of_rotation(const double r[9], double q[4])
{
    /* 4 times the square of each component; the largest avoids cancellation. */
    const double size[4] = {1 + r[0] - r[4] - r[8], 1 - r[0] + r[4] - r[8], 1 - r[0] - r[4] + r[8],
                            1 + r[0] + r[4] + r[8]};
    int largest = 0;
    for (int i = 1; i < 4; i++)
        largest = size[i] > size[largest] ? i : largest;
    const double a = sqrt(size[largest]) / 2, f = 1 / (4 * a);
    const double xy = r[3] + r[1], xz = r[2] + r[6], yz = r[7] + r[5];
    const double xw = r[7] - r[5], yw = r[2] - r[6], zw = r[3] - r[1];
    const double rows[4][4] = {{a, xy * f, xz * f, xw * f},
                               {xy * f, a, yz * f, yw * f},
                               {xz * f, yz * f, a, zw * f},
                               {xw * f, yw * f, zw * f, a}};
    memcpy(q, rows[largest], sizeof rows[largest]);
}

void sp_pose_multiply(const float a[16], const float b[16], float out[16])
{
    float product[16];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            double sum = 0;
            for (int k = 0; k < 4; k++)
                sum += (double)a[4 * i + k] * (double)b[4 * k + j];
            product[4 * i + j] = (float)sum;
        }
    memcpy(out, product, sizeof product);
}

void sp_pose_invert(const float m[16], float out[16])
{
    float inverse[16] = {[15] = 1};
    for (int i = 0; i < 3; i++) {
        double t = 0;
        for (int j = 0; j < 3; j++) {
            inverse[4 * i + j] = m[4 * j + i];
            t -= (double)m[4 * j + i] * (double)m[4 * j + 3];
        }
        inverse[4 * i + 3] = (float)t;
    }
    memcpy(out, inverse, sizeof inverse);
}

bool sp_pose_is_rigid(const float m[16])
{
    const float tolerance = 1e-3f, last = 1e-6f;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const float dot =
                m[4 * i] * m[4 * j] + m[4 * i + 1] * m[4 * j + 1] + m[4 * i + 2] * m[4 * j + 2];
            if (!(fabsf(dot - (i == j)) <= tolerance))
                return false;
        }
    const float det = m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) +
                      m[2] * (m[4] * m[9] - m[5] * m[8]);
    return det > 0 && isfinite(m[3]) && isfinite(m[7]) && isfinite(m[11]) && fabsf(m[12]) <= last &&
           fabsf(m[13]) <= last && fabsf(m[14]) <= last && fabsf(m[15] - 1) <= last;
}

void sp_pose_apply(const float m[16], const float p[3], float out[3])
{
    const double x = p[0], y = p[1], z = p[2];
    for (int i = 0; i < 3; i++, m += 4)
        out[i] = (float)(m[0] * x + m[1] * y + m[2] * z + m[3]);
}

void sp_c2w_of_quaternion(const double q[4], const double t[3], float c2w[16])
{
    double r[9];
    float w2c[16] = {[15] = 1};
    sp_rotation_of_quaternion(q, r);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++)
            w2c[4 * i + j] = (float)r[3 * i + j];
        w2c[4 * i + 3] = (float)t[i];
    }
    sp_pose_invert(w2c, c2w);
}

bool sp_camera_of_encoding(const float encoding[9], int64_t height, int64_t width, float c2w[16],
                           float k[9])
{
    double e[9];
    for (int i = 0; i < 9; i++)
        e[i] = encoding[i];
    sp_c2w_of_quaternion(e + 3, e, c2w);
    memset(k, 0, 9 * sizeof *k);
    k[0] = (float)((double)width / 2 / tan(e[8] / 2));
    k[2] = (float)width / 2;
    k[4] = (float)((double)height / 2 / tan(e[7] / 2));
    k[5] = (float)height / 2;
    k[8] = 1;
    return e[7] > 0 && e[8] > 0 && isfinite(k[0]) && isfinite(k[4]) && isfinite(c2w[0]);
}

void sp_intrinsics_scale(const float *k, int64_t count, double sx, double sy, float *out)
{
    for (int64_t i = 0; i < 9 * count; i++)
        out[i] = (float)((double)k[i] * (i % 9 < 3 ? sx : i % 9 < 6 ? sy : 1));
}

void sp_unproject(const float k[9], float u, float v, float depth, float out[3])
{
    const double y = ((double)v - k[5]) / k[4];
    const double x = ((double)u - k[2] - k[1] * y) / k[0];
    out[0] = (float)(x * depth);
    out[1] = (float)(y * depth);
    out[2] = depth;
}
