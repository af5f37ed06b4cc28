#include <math.h>
#include <string.h>

#include "front/internal.h"

enum { MAX_WEIGHTS = 256 };

/* The cubic convolution kernel with a = -0.5 (src/front/README.md, "Position embedding"). */
static double cubic(double d)
{
    const double a = -0.5;
    if (d < 1)
        return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

/* Weights of input samples lo .. lo + count for output i of an axis of n samples resized to m. */
static int64_t axis_weights(int64_t n, int64_t m, int64_t i, int64_t *lo, float *w)
{
    const double scale = (double)n / (double)m, stretch = scale > 1 ? scale : 1;
    const double support = 2 * stretch, c = scale * ((double)i + 0.5);
    const double from = trunc(c - support + 0.5), to = trunc(c + support + 0.5);
    *lo = from > 0 ? (int64_t)from : 0;
    const int64_t hi = to < (double)n ? (int64_t)to : n;
    double sum = 0;
    for (int64_t j = *lo; j < hi; j++)
        sum += cubic(fabs(((double)j - c + 0.5) / stretch));
    for (int64_t j = *lo; j < hi; j++)
        w[j - *lo] = (float)(cubic(fabs(((double)j - c + 0.5) / stretch)) / sum);
    return hi - *lo;
}

void sp_position_embedding(const float *table, int64_t grid, int64_t gh, int64_t gw, int64_t width,
                           float *out)
{
    float wx[MAX_WEIGHTS], wy[MAX_WEIGHTS];
    memcpy(out, table, (size_t)width * sizeof *out);
    table += width;
    out += width;
    for (int64_t i = 0; i < gh; i++)
        for (int64_t j = 0; j < gw; j++) {
            int64_t y0, x0;
            const int64_t ny = axis_weights(grid, gh, i, &y0, wy);
            const int64_t nx = axis_weights(grid, gw, j, &x0, wx);
            float *to = out + (i * gw + j) * width;
            memset(to, 0, (size_t)width * sizeof *to);
            for (int64_t y = 0; y < ny; y++)
                for (int64_t x = 0; x < nx; x++) {
                    const float *from = table + ((y0 + y) * grid + x0 + x) * width;
                    const float w = wy[y] * wx[x];
                    for (int64_t c = 0; c < width; c++)
                        to[c] += w * from[c];
                }
        }
}
