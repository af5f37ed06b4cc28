#include <math.h>
#include <string.h>

#include "refine/align_internal.h"

enum { REACH = SP_WINDOW / 2, CUT_PIXELS = SP_CUT * SP_CUT };

/* Pixels of the window's Gaussian, and gray levels below whose deviation nothing can be found. */
static const float SPREAD = 6, MIN_CONTRAST = 1.5f;

/* Gray levels^2 by which a pixel may be off: this, and so much of the patch's own variance; then
 * how many times that makes a pixel one that does not belong. */
static const double NOISE = 16, NOISE_SHARE = 0.1, OUTLIER = 4;

/* The residuals of neighbours are alike and some of them wrong, so that positions are off by more
 * than independent ones would have it; measured (src/refine/README.md, "Numbers"). */
static const double SIGMA_FACTOR = 5.5;

/* Gray levels^2 that are left over at the least: both pictures are rounded to whole levels. */
static const double ROUNDING = 2.0 / 12;

/* Affine parameters are counted at this distance from the middle, so that all are pixels. */
static const float ARM = 10;

/* Gray levels^2 that an affine parameter of a pixel must explain: keeps what has no texture from
 * shearing. */
static const double AFFINE_PRIOR = 64;

/* A step shorter than this, in pixels, is the last. */
static const double CONVERGED = 0.01;

/* Within these gains the pixels may be the patch's; so many steps may lead through others. */
static const double MIN_GAIN = 0.2, MAX_GAIN = 5;
enum { PATIENCE = 4 };

/* The longest step, in pixels. */
static const double MAX_STEP = 4;

/* As `sample` of a warp that only moves; false where it does more, or reaches outside. */
static bool sample_moved(SpGray image, const SpWarp *warp, int reach, float *restrict out)
{
    const int side = 2 * reach + 1;
    const float *a = warp->a, left = warp->x - (float)reach, top = warp->y - (float)reach;
    if (!(a[0] == 1 && a[1] == 0 && a[2] == 0 && a[3] == 1 && left >= 0 && top >= 0 &&
          left < (float)(image.width - side - 1) && top < (float)(image.height - side - 1)))
        return false;
    const int32_t column = (int32_t)left, row = (int32_t)top;
    const float x = left - (float)column, y = top - (float)row;
    const float *above = image.pixel + row * image.width + column;
    for (int v = 0; v < side; v++, above += image.width, out += side) {
        const float *below = above + image.width;
        for (int u = 0; u < side; u++) {
            const float upper = above[u] + x * (above[u + 1] - above[u]);
            const float lower = below[u] + x * (below[u + 1] - below[u]);
            out[u] = upper + y * (lower - upper);
        }
    }
    return true;
}

/* Bilinear, of the pixels up to `reach` about a warp's middle; outside, the border goes on. In
 * several passes, of which the compiler makes vectors. */
static void sample(SpGray image, const SpWarp *warp, int reach, float *restrict out)
{
    if (sample_moved(image, warp, reach, out))
        return;
    float x[CUT_PIXELS], y[CUT_PIXELS], above[CUT_PIXELS][2], below[CUT_PIXELS][2];
    int32_t at[CUT_PIXELS];
    const int side = 2 * reach + 1, pixels = side * side;
    const int width = (int)image.width, height = (int)image.height;
    const float *a = warp->a, right = (float)(width - 1), bottom = (float)(height - 1);
    for (int v = 0; v < side; v++)
        for (int u = 0; u < side; u++) {
            const float du = (float)(u - reach), dv = (float)(v - reach);
            x[v * side + u] = warp->x + a[0] * du + a[1] * dv;
            y[v * side + u] = warp->y + a[2] * du + a[3] * dv;
        }
    for (int i = 0; i < pixels; i++) {
        float px = x[i] > 0 ? x[i] : 0, py = y[i] > 0 ? y[i] : 0; /* also where not a number */
        px = px < right ? px : right;
        py = py < bottom ? py : bottom;
        const int32_t column = (int32_t)px < width - 2 ? (int32_t)px : width - 2;
        const int32_t row = (int32_t)py < height - 2 ? (int32_t)py : height - 2;
        x[i] = px - (float)column;
        y[i] = py - (float)row;
        at[i] = row * width + column;
    }
    for (int i = 0; i < pixels; i++) {
        memcpy(above[i], image.pixel + at[i], sizeof above[i]);
        memcpy(below[i], image.pixel + at[i] + width, sizeof below[i]);
    }
    for (int i = 0; i < pixels; i++) {
        const float upper = above[i][0] + x[i] * (above[i][1] - above[i][0]);
        const float lower = below[i][0] + x[i] * (below[i][1] - below[i][0]);
        out[i] = upper + y[i] * (lower - upper);
    }
}

/* The image under the warped window, [SP_WINDOW_PADDED]. */
static void sample_window(SpGray image, const SpWarp *warp, float *out)
{
    sample(image, warp, REACH, out);
    memset(out + SP_WINDOW_PIXELS, 0, (SP_WINDOW_PADDED - SP_WINDOW_PIXELS) * sizeof *out);
}

void SP_FN(sp_align_copy_cut)(SpGray image, float x, float y, uint8_t *cut)
{
    const SpWarp warp = {{1, 0, 0, 1}, x, y};
    float pixel[CUT_PIXELS];
    sample(image, &warp, SP_CUT / 2, pixel);
    for (int i = 0; i < CUT_PIXELS; i++)
        cut[i] = (uint8_t)(int32_t)(pixel[i] + 0.5f);
}

/* Sum of a b over the window; several sums let the compiler use vectors. */
static double dot(const float *restrict a, const float *restrict b)
{
    enum { SUMS = 32 };
    float sum[SUMS] = {0};
    for (int i = 0; i < SP_WINDOW_PADDED; i += SUMS)
        for (int k = 0; k < SUMS; k++)
            sum[k] += a[i + k] * b[i + k];
    for (int n = SUMS / 2; n > 1; n /= 2)
        for (int k = 0; k < n; k++)
            sum[k] += sum[k + n];
    return (double)sum[0] + (double)sum[1];
}

/* Solves a x = b of n rows, a symmetric positive definite, by Cholesky's factors; false where it is
 * not. */
static bool solve(int n, double a[SP_WARP_PARAMETERS][SP_WARP_PARAMETERS],
                  const double b[SP_WARP_PARAMETERS], double x[SP_WARP_PARAMETERS])
{
    double l[SP_WARP_PARAMETERS][SP_WARP_PARAMETERS];
    for (int i = 0; i < n; i++) {
        x[i] = b[i];
        for (int j = 0; j <= i; j++) {
            double sum = a[i][j];
            for (int k = 0; k < j; k++)
                sum -= l[i][k] * l[j][k];
            if (i == j && !(sum > 1e-6 * a[i][i]))
                return false;
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
        for (int k = 0; k < i; k++)
            x[i] -= l[i][k] * x[k];
        x[i] /= l[i][i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            x[i] -= l[k][i] * x[k];
        x[i] /= l[i][i];
    }
    return true;
}

/* The patch's weights, values and derivatives by the parameters: dx, dy, and a's four entries. */
static void derivatives(const uint8_t *cut, const float *trust, SpTemplate *t)
{
    float gaussian[SP_WINDOW];
    for (int u = -REACH; u <= REACH; u++)
        gaussian[u + REACH] = expf(-(float)(u * u) / (2 * SPREAD * SPREAD));
    for (int v = 0; v < SP_WINDOW; v++) {
        const uint8_t *at = cut + (v + 1) * SP_CUT + 1;
        const int row = v * SP_WINDOW;
        const float y = (float)(v - REACH) / ARM;
        for (int u = 0; u < SP_WINDOW; u++) {
            t->weight[row + u] = gaussian[u] * gaussian[v];
            t->value[row + u] = (float)at[u];
            t->descent[0][row + u] = 0.5f * (float)(at[u + 1] - at[u - 1]);
            t->descent[1][row + u] = 0.5f * (float)(at[u + SP_CUT] - at[u - SP_CUT]);
        }
        for (int p = 0; p < 2 && t->parameters > 2; p++)
            for (int u = 0; u < SP_WINDOW; u++) {
                const float slope = t->descent[p][row + u];
                t->descent[2 + 2 * p][row + u] = slope * ((float)(u - REACH) / ARM);
                t->descent[3 + 2 * p][row + u] = slope * y;
            }
    }
    for (int i = 0; trust && i < SP_WINDOW_PIXELS; i++)
        t->weight[i] *= trust[i];
}

/* Zeros where the window's arrays have no pixels. */
static void pad(SpTemplate *t)
{
    static const size_t BYTES = (SP_WINDOW_PADDED - SP_WINDOW_PIXELS) * sizeof(float);
    memset(t->weight + SP_WINDOW_PIXELS, 0, BYTES);
    memset(t->value + SP_WINDOW_PIXELS, 0, BYTES);
    for (int p = 0; p < t->parameters; p++)
        memset(t->descent[p] + SP_WINDOW_PIXELS, 0, BYTES);
}

bool SP_FN(sp_align_copy_template)(const uint8_t *cut, int parameters, const float *trust,
                                   SpTemplate *t)
{
    float plain[SP_WARP_PARAMETERS][SP_WINDOW_PADDED], weighted[SP_WINDOW_PADDED];
    t->parameters = parameters;
    derivatives(cut, trust, t);
    pad(t);
    for (int i = 0; i < SP_WINDOW_PADDED; i++)
        plain[0][i] = 1;
    t->total = dot(t->weight, plain[0]);
    const float mean = (float)(dot(t->weight, t->value) / t->total);
    for (int i = 0; i < SP_WINDOW_PADDED; i++) {
        t->value[i] -= mean;
        weighted[i] = t->value[i] * t->weight[i];
    }
    t->energy = dot(weighted, t->value);
    if (!(t->energy > (double)(MIN_CONTRAST * MIN_CONTRAST) * t->total))
        return false;
    for (int p = 0; p < parameters; p++) {
        const float offset = (float)(dot(t->weight, t->descent[p]) / t->total);
        const float gain = (float)(dot(weighted, t->descent[p]) / t->energy);
        for (int i = 0; i < SP_WINDOW_PADDED; i++) {
            plain[p][i] = t->descent[p][i] - offset - gain * t->value[i];
            t->descent[p][i] = plain[p][i] * t->weight[i];
        }
    }
    memcpy(t->value, weighted, sizeof weighted);
    for (int p = 0; p < parameters; p++)
        for (int q = 0; q <= p; q++)
            t->hessian[p][q] = t->hessian[q][p] =
                dot(t->descent[p], plain[q]) + (p == q && p > 1 ? AFFINE_PRIOR : 0);
    return true;
}

/* warp o (id + step)^-1 */
static bool compose(SpWarp *warp, const double step[SP_WARP_PARAMETERS])
{
    const double p = 1 + step[2] / (double)ARM, q = step[3] / (double)ARM;
    const double r = step[4] / (double)ARM, s = 1 + step[5] / (double)ARM;
    const double det = p * s - q * r;
    double a[4];
    if (!(det > 0.3 && det < 3))
        return false;
    for (int i = 0; i < 4; i++)
        a[i] = (double)warp->a[i];
    warp->a[0] = (float)((a[0] * s - a[1] * r) / det);
    warp->a[1] = (float)((a[1] * p - a[0] * q) / det);
    warp->a[2] = (float)((a[2] * s - a[3] * r) / det);
    warp->a[3] = (float)((a[3] * p - a[2] * q) / det);
    warp->x -= warp->a[0] * (float)step[0] + warp->a[1] * (float)step[1];
    warp->y -= warp->a[2] * (float)step[0] + warp->a[3] * (float)step[1];
    const float size = warp->a[0] * warp->a[3] - warp->a[1] * warp->a[2];
    return size > 0.2f && size < 5 && isfinite(warp->x) && isfinite(warp->y);
}

/* The step that the pixels and the prior ask for. *alike: the pixels may be the patch's. */
static bool find_step(const SpTemplate *t, const float *pixel, const SpPrior *prior,
                      const SpWarp *warp, double step[SP_WARP_PARAMETERS], bool *alike)
{
    double h[SP_WARP_PARAMETERS][SP_WARP_PARAMETERS], slope[SP_WARP_PARAMETERS];
    /* Far from its place a patch says nothing of the gain. */
    const double fitted = dot(t->value, pixel) / t->energy;
    *alike = fitted > MIN_GAIN && fitted < MAX_GAIN;
    const double gain = *alike ? fitted : 1;
    const double noise = NOISE + NOISE_SHARE * t->energy / t->total;
    const double trust = noise / ((double)prior->sigma * (double)prior->sigma);
    const double off[2] = {(double)(warp->x - prior->x), (double)(warp->y - prior->y)};
    memcpy(h, t->hessian, sizeof h);
    for (int p = 0; p < t->parameters; p++)
        slope[p] = dot(t->descent[p], pixel) / gain;
    for (int p = 0; p < 2; p++) /* the step moves x, y by -a times it */
        for (int k = 0; k < 2; k++) {
            slope[p] += trust * (double)warp->a[2 * k + p] * off[k];
            for (int q = 0; q < 2; q++)
                h[p][q] += trust * (double)warp->a[2 * k + p] * (double)warp->a[2 * k + q];
        }
    return solve(t->parameters, h, slope, step);
}

bool SP_FN(sp_align_copy_warp)(const SpTemplate *t, SpGray image, const SpPrior *prior,
                               int iterations, SpWarp *warp)
{
    float pixel[SP_WINDOW_PADDED];
    bool alike = false;
    for (int k = 0; k < iterations; k++) {
        double step[SP_WARP_PARAMETERS] = {0};
        sample_window(image, warp, pixel);
        if (!find_step(t, pixel, prior, warp, step, &alike) || (!alike && k >= PATIENCE))
            return false;
        const double length = sqrt(step[0] * step[0] + step[1] * step[1]);
        for (int p = 0; p < t->parameters && length > MAX_STEP; p++)
            step[p] *= MAX_STEP / length;
        if (!compose(warp, step))
            return false;
        if (length < CONVERGED)
            break;
    }
    return alike && warp->x >= -0.5f && warp->y >= -0.5f && warp->x <= (float)image.width - 0.5f &&
           warp->y <= (float)image.height - 0.5f;
}

SpFit SP_FN(sp_align_copy_fit)(const SpTemplate *t, SpGray image, const SpWarp *warp)
{
    float pixel[SP_WINDOW_PADDED], weighted[SP_WINDOW_PADDED];
    sample_window(image, warp, pixel);
    const float mean = (float)(dot(t->weight, pixel) / t->total);
    for (int i = 0; i < SP_WINDOW_PADDED; i++) { /* behind the window weights are 0 */
        pixel[i] -= mean;
        weighted[i] = pixel[i] * t->weight[i];
    }
    const double energy = dot(weighted, pixel), product = dot(t->value, pixel);
    if (!(energy > 0 && product > 0))
        return (SpFit){0, INFINITY};
    const double c = product / sqrt(energy * t->energy);
    /* What gain and offset leave, as gray levels of the template, and the warp's own axes. */
    const double noise = fmax(t->energy / t->total * (1 / (c * c) - 1), ROUNDING);
    const double det = t->hessian[0][0] * t->hessian[1][1] - t->hessian[0][1] * t->hessian[0][1];
    const double xx = t->hessian[1][1] / det, yy = t->hessian[0][0] / det;
    const double xy = -t->hessian[0][1] / det;
    const double a = (double)warp->a[0], b = (double)warp->a[1], d = (double)warp->a[2],
                 e = (double)warp->a[3];
    const double var =
        a * a * xx + 2 * a * b * xy + b * b * yy + d * d * xx + 2 * d * e * xy + e * e * yy;
    return (SpFit){(float)c, (float)(SIGMA_FACTOR * sqrt(noise * var / 2))};
}

float SP_FN(sp_align_copy_trust)(const SpTemplate *t, SpGray image, const SpWarp *warp,
                                 float *trust)
{
    float pixel[SP_WINDOW_PADDED];
    sample_window(image, warp, pixel);
    const double gain = dot(t->value, pixel) / t->energy;
    const double mean = dot(t->weight, pixel) / t->total;
    const double scale = OUTLIER * (NOISE + NOISE_SHARE * t->energy / t->total);
    double sum = 0;
    for (int i = 0; i < SP_WINDOW_PIXELS; i++) {
        const double value = (double)t->value[i] / fmax((double)t->weight[i], 1e-6);
        const double off = ((double)pixel[i] - mean) / gain - value;
        const double share = 1 / (1 + off * off / scale);
        trust[i] = (float)(share * share);
        sum += (double)(trust[i] * t->weight[i]);
    }
    return (float)(sum / t->total);
}
