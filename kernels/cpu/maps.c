#include <string.h>

#include "kernels/cpu/cpu.h"

void SP_FN(sp_cpu_resize)(SpDevice *device, const SpResize *a)
{
    const float step_y = a->ho > 1 ? (float)(a->h - 1) / (float)(a->ho - 1) : 0;
    const float step_x = a->wo > 1 ? (float)(a->w - 1) / (float)(a->wo - 1) : 0;
    const int64_t c = a->c;
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
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
            for (int64_t i = 0; i < c; i++)
                out[i] = (1 - ty) * ((1 - tx) * p00[i] + tx * p01[i]) +
                         ty * ((1 - tx) * p10[i] + tx * p11[i]);
        }
    }
}

void SP_FN(sp_cpu_map)(SpDevice *device, const SpMap *a)
{
    enum { BLOCK = 4096 };
    const int64_t period = a->period ? a->period : a->count;
    const int64_t step = a->period ? a->period : BLOCK;
    const int64_t blocks = (a->count + step - 1) / step;
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t begin = b * step, rest = a->count - begin;
        const int64_t n = rest < step ? rest : step;
        const float *x = a->x + begin;
        float *y = a->y + begin;
        if (a->scale != 1.0f) {
            for (int64_t i = 0; i < n; i++)
                y[i] = x[i] * a->scale;
            x = y;
        }
        SP_FN(sp_cpu_finish_row)
        (x, n, a->add ? a->add + begin % period : NULL, a->act, NULL, NULL, y);
    }
}

void SP_FN(sp_cpu_axis_add)(SpDevice *device, const SpAxisAdd *a)
{
    const int64_t half = a->c / 2;
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
    for (int64_t i = 0; i < a->h; i++)
        for (int64_t j = 0; j < a->w; j++) {
            float *x = a->x + (i * a->w + j) * a->c;
            for (int64_t k = 0; k < half; k++) {
                x[k] += a->u[j * half + k];
                x[half + k] += a->v[i * half + k];
            }
        }
}

void SP_FN(sp_cpu_modulate)(SpDevice *device, const SpModulate *a)
{
    (void)device;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->width; i++) {
            const float *m = a->m + r * 3 * a->width + i;
            const int64_t at = r * a->width + i;
            a->y[at] = a->c[at] + m[2 * a->width] * (a->n[at] * (1 + m[a->width]) + m[0]);
        }
}

void SP_FN(sp_cpu_copy)(SpDevice *device, const SpCopy *a)
{
    (void)device;
    for (size_t r = 0; r < a->rows; r++)
        memcpy((char *)a->to + r * a->to_pitch, (const char *)a->from + r * a->from_pitch,
               a->bytes);
}
