/* Ops on images [n, h, w, c]. */
#include <math.h>

#include "base/minmax.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec.h"

void SP_FN(sp_cpu_resize)(SpDevice *device, const SpResize *a)
{
    const float step_y = a->ho > 1 ? (float)(a->h - 1) / (float)(a->ho - 1) : 0;
    const float step_x = a->wo > 1 ? (float)(a->w - 1) / (float)(a->wo - 1) : 0;
    const int64_t c = a->c;
    const int threads = sp_cpu_threads(device, 8 * a->n * a->ho * a->wo * c);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t line = 0; line < a->n * a->ho; line++) {
        const float y = step_y * (float)(line % a->ho);
        const int64_t y0 = (int64_t)y, y1 = y0 + (y0 < a->h - 1);
        const float ty = y - (float)y0;
        const float *image = a->x + line / a->ho * a->h * a->w * c;
        for (int64_t j = 0; j < a->wo; j++) {
            const float x = step_x * (float)j;
            const int64_t x0 = (int64_t)x, x1 = x0 + (x0 < a->w - 1);
            const float tx = x - (float)x0;
            const float *p00 = image + (y0 * a->w + x0) * c, *p01 = image + (y0 * a->w + x1) * c;
            const float *p10 = image + (y1 * a->w + x0) * c, *p11 = image + (y1 * a->w + x1) * c;
            float *out = a->y + (line * a->wo + j) * a->ldy;
            for (int64_t i = 0; i < c; i += SP_VL) {
                const int64_t n = sp_min(SP_VL, c - i);
                const vf above =
                    v_set(1 - tx) * v_load_n(p00 + i, n) + v_set(tx) * v_load_n(p01 + i, n);
                const vf below =
                    v_set(1 - tx) * v_load_n(p10 + i, n) + v_set(tx) * v_load_n(p11 + i, n);
                v_store_n(out + i, v_set(1 - ty) * above + v_set(ty) * below, n);
            }
        }
    }
}

void SP_FN(sp_cpu_axis_add)(SpDevice *device, const SpAxisAdd *a)
{
    const int64_t half = a->c / 2;
    const int threads = sp_cpu_threads(device, 2 * a->n * a->h * a->w * a->c);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t line = 0; line < a->n * a->h; line++) {
        const float *v = a->v + line % a->h * half;
        for (int64_t j = 0; j < a->w; j++) {
            float *x = a->x + (line * a->w + j) * a->c;
            for (int64_t k = 0; k < half; k++) {
                x[k] += a->u[j * half + k];
                x[half + k] += v[k];
            }
        }
    }
}

void SP_FN(sp_cpu_average_pool)(SpDevice *device, const SpAveragePool *a)
{
    const int64_t h = a->h / 2, w = a->w / 2, c = a->c;
    const int threads = sp_cpu_threads(device, 2 * a->n * h * w * c);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t line = 0; line < a->n * h; line++)
        for (int64_t j = 0; j < w; j++) {
            const float *x = a->x + ((line / h * a->h + line % h * 2) * a->w + 2 * j) * c;
            const float *below = x + a->w * c;
            float *y = a->y + (line * w + j) * c;
            for (int64_t i = 0; i < c; i++)
                y[i] = (x[i] + x[c + i] + below[i] + below[c + i]) / 4;
        }
}

void SP_FN(sp_cpu_normalize_image)(SpDevice *device, const SpNormalizeImage *a)
{
    const int threads = sp_cpu_threads(device, 8 * a->pixels);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < a->pixels; p++)
        for (int c = 0; c < 3; c++)
            a->y[3 * p + c] = (a->x[c * a->pixels + p] / a->range - a->mean[c]) / a->deviation[c];
}

void SP_FN(sp_cpu_depth_activation)(SpDevice *device, const SpDepthActivation *a)
{
    const int threads = sp_cpu_threads(device, 40 * a->pixels);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < a->pixels; p++) {
        a->depth[p] = expf(a->x[2 * p]);
        a->confidence[p] = 1 / (1 + expf(-a->x[2 * p + 1]));
    }
}
