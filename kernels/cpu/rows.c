/* Small work on rows and maps of the tracker. */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec.h"

void SP_FN(sp_cpu_posenc)(SpDevice *device, const SpPosenc *a)
{
    const int64_t turns = a->c * a->degree, padded = (turns + SP_VL - 1) / SP_VL * SP_VL;
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
    for (int64_t r = 0; r < a->rows; r++) {
        const float *v = a->v + r * a->ldx;
        float *y = a->y + r * a->ldy, *angle = sp_cpu_work(device);
        for (int64_t k = 0; k < a->degree; k++)
            for (int64_t i = 0; i < a->c; i++)
                angle[k * a->c + i] = v[i] * (float)(1 << k);
        for (int64_t i = turns; i < padded; i++)
            angle[i] = 0;
        for (int64_t i = 0; i < a->c; i++)
            y[i] = v[i];
        y += a->c;
        for (int64_t i = 0; i < turns; i += SP_VL) {
            const vf x = v_load(angle + i), s = v_sin(x),
                     c = v_sin(x + v_set(1.57079632679489662f));
            const int64_t n = turns - i < SP_VL ? turns - i : SP_VL;
            v_store_n(y + i, s, n);
            v_store_n(y + turns + i, c, n);
        }
    }
}

void SP_FN(sp_cpu_group_mean)(SpDevice *device, const SpGroupMean *a)
{
    const float share = 1 / (float)a->size;
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
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
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++)
            a->y[r * a->ldy + i] = a->x[r * a->c + i] * a->factor[r];
}

void SP_FN(sp_cpu_unit_rows)(SpDevice *device, const SpUnitRows *a)
{
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
    for (int64_t r = 0; r < a->rows; r++) {
        float *x = a->x + r * a->c, sum = 0;
        for (int64_t i = 0; i < a->c; i++)
            sum += x[i] * x[i];
        const float length = sqrtf(sum > 1e-12f ? sum : 1e-12f);
        for (int64_t i = 0; i < a->c; i++)
            x[i] /= length;
    }
}

void SP_FN(sp_cpu_halve)(SpDevice *device, const SpHalve *a)
{
    const int64_t h = a->h / 2, w = a->w / 2, c = a->c;
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
    for (int64_t line = 0; line < a->n * h; line++)
        for (int64_t j = 0; j < w; j++) {
            const float *x = a->x + ((line / h * a->h + line % h * 2) * a->w + 2 * j) * c;
            const float *below = x + a->w * c;
            float *y = a->y + (line * w + j) * c;
            for (int64_t i = 0; i < c; i++)
                y[i] = (x[i] + x[c + i] + below[i] + below[c + i]) / 4;
        }
}

void SP_FN(sp_cpu_pick_rows)(SpDevice *device, const SpPickRows *a)
{
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
    for (int64_t r = 0; r < a->groups * a->keep; r++)
        memcpy(a->y + r * a->ldy, a->x + (r / a->keep * a->count + a->index[r]) * a->c,
               (size_t)a->c * sizeof *a->y);
}

void SP_FN(sp_cpu_add_rows)(SpDevice *device, const SpAddRows *a)
{
#pragma omp parallel for schedule(static) num_threads(sp_cpu(device)->threads)
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < a->c; i++)
            a->x[r * a->c + i] += a->other[r * a->ldo + i];
}
