/* Small ops on elements and rows. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec.h"

void SP_FN(sp_cpu_copy)(SpDevice *device, const SpCopy *a)
{
    (void)device;
    for (size_t r = 0; r < a->rows; r++)
        memcpy((char *)a->to + r * a->to_pitch, (const char *)a->from + r * a->from_pitch,
               a->bytes);
}

void SP_FN(sp_cpu_elementwise)(SpDevice *device, const SpElementwise *a)
{
    enum { BLOCK = 4096 };
    const int64_t period = a->period ? a->period : a->count;
    const int64_t step = a->period ? a->period : BLOCK;
    const int64_t blocks = (a->count + step - 1) / step;
    const int threads = sp_cpu_threads(device, 4 * a->count);
#pragma omp parallel for schedule(static) num_threads(threads)
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
        sp_cpu_epilogue(&(SpEpilogue){.rows = 1,
                                      .n = n,
                                      .x = x,
                                      .b = a->add ? a->add + begin % period : NULL,
                                      .act = a->act,
                                      .y = y});
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

void SP_FN(sp_cpu_posenc)(SpDevice *device, const SpPosenc *a)
{
    const int64_t angles = a->c * a->degree, padded = (angles + SP_VL - 1) / SP_VL * SP_VL;
    const int threads = sp_cpu_threads(device, 32 * a->rows * angles);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < a->rows; r++) {
        const float *v = a->v + r * a->ldx;
        float *y = a->y + r * a->ldy, *angle = sp_cpu_work(device);
        for (int64_t k = 0; k < a->degree; k++)
            for (int64_t i = 0; i < a->c; i++)
                angle[k * a->c + i] = v[i] * (float)(1 << k);
        for (int64_t i = angles; i < padded; i++)
            angle[i] = 0;
        for (int64_t i = 0; i < a->c; i++)
            y[i] = v[i];
        y += a->c;
        for (int64_t i = 0; i < angles; i += SP_VL) {
            const vf x = v_load(angle + i), s = v_sin(x),
                     c = v_sin(x + v_set(1.57079632679489662f));
            const int64_t n = angles - i < SP_VL ? angles - i : SP_VL;
            v_store_n(y + i, s, n);
            v_store_n(y + angles + i, c, n);
        }
    }
}

void SP_FN(sp_cpu_group_mean)(SpDevice *device, const SpGroupMean *a)
{
    const float share = 1 / (float)a->size;
    const int threads = sp_cpu_threads(device, 2 * a->groups * a->size * a->c);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t g = 0; g < a->groups; g++) {
        const float *x = a->x + g * a->size * a->c;
        float *y = a->y + g * a->c;
        for (int64_t i = 0; i < a->c; i++)
            y[i] = x[i];
        for (int64_t r = 1; r < a->size; r++)
            for (int64_t i = 0; i < a->c; i++)
                y[i] += x[r * a->c + i];
        for (int64_t i = 0; i < a->c; i++)
            y[i] *= share;
    }
}

void SP_FN(sp_cpu_scale_rows)(SpDevice *device, const SpScaleRows *a)
{
    const int threads = sp_cpu_threads(device, 2 * a->rows * a->c);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++)
            a->y[r * a->ldy + i] = a->x[r * a->c + i] * a->factor[r];
}

void SP_FN(sp_cpu_l2_normalize)(SpDevice *device, const SpL2Normalize *a)
{
    const int threads = sp_cpu_threads(device, 8 * a->rows * a->c);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < a->rows; r++) {
        float *x = a->x + r * a->c, sum = 0;
        for (int64_t i = 0; i < a->c; i++)
            sum += x[i] * x[i];
        const float length = sqrtf(sum > 1e-12f ? sum : 1e-12f);
        for (int64_t i = 0; i < a->c; i++)
            x[i] /= length;
    }
}

void SP_FN(sp_cpu_gather_rows)(SpDevice *device, const SpGatherRows *a)
{
    const int threads = sp_cpu_threads(device, 2 * a->groups * a->keep * a->c);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < a->groups * a->keep; r++)
        memcpy(a->y + r * a->ldy, a->x + (r / a->keep * a->count + a->index[r]) * a->c,
               (size_t)a->c * sizeof *a->y);
}

void SP_FN(sp_cpu_add_rows)(SpDevice *device, const SpAddRows *a)
{
    const int threads = sp_cpu_threads(device, 2 * a->rows * a->c);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++)
            a->x[r * a->c + i] += a->other[r * a->ldo + i];
}
