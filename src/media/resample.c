#include "media/resample.h"

#include <math.h>
#include <stdlib.h>

/* For each output sample of an axis the inputs it reads: `taps` indices and weights. */
typedef struct Axis {
    int64_t taps;
    int32_t *index; /* [outputs, taps] */
    float *weight;
} Axis;

static void free_axis(Axis *axis)
{
    free(axis->index);
    free(axis->weight);
}

static SpStatus new_axis(int64_t outputs, int64_t taps, Axis *axis)
{
    axis->taps = taps;
    axis->index = calloc((size_t)(outputs * taps), sizeof *axis->index);
    axis->weight = calloc((size_t)(outputs * taps), sizeof *axis->weight);
    return axis->index && axis->weight ? sp_ok() : sp_no_memory("resampling");
}

static SpStatus antialias_axis(int64_t n, int64_t m, Axis *axis)
{
    const double scale = (double)n / (double)m, support = scale > 1 ? scale : 1;
    SP_TRY(new_axis(m, 2 * (int64_t)ceil(support) + 1, axis));
    for (int64_t i = 0; i < m; i++) {
        const double c = scale * ((double)i + 0.5);
        const int64_t from = (int64_t)fmax(trunc(c - support + 0.5), 0);
        const int64_t to = (int64_t)fmin(trunc(c + support + 0.5), (double)n);
        int32_t *index = axis->index + i * axis->taps;
        float *weight = axis->weight + i * axis->taps;
        double sum = 0;
        for (int64_t j = from; j < to; j++)
            sum += fmax(0, 1 - fabs(((double)j - c + 0.5) / support));
        for (int64_t k = 0; k < axis->taps; k++) {
            const int64_t j = from + k;
            index[k] = (int32_t)(j < n ? j : n - 1);
            if (j < to)
                weight[k] = (float)(fmax(0, 1 - fabs(((double)j - c + 0.5) / support)) / sum);
        }
    }
    return sp_ok();
}

static double cubic(double d)
{
    const double a = -0.75;
    if (d <= 1)
        return ((a + 2) * d - (a + 3)) * d * d + 1;
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

static SpStatus bicubic_axis(int64_t n, int64_t m, Axis *axis)
{
    const float scale = (float)n / (float)m;
    SP_TRY(new_axis(m, 4, axis));
    for (int64_t i = 0; i < m; i++) {
        const float x = (float)((double)scale * ((double)i + 0.5) - 0.5);
        const float f = fminf(floorf(x), (float)(n - 1)), t = fminf(fmaxf(x - f, 0), 1);
        for (int64_t k = 0; k < 4; k++) {
            const int64_t j = (int64_t)f + k - 1;
            axis->index[4 * i + k] = (int32_t)(j < 0 ? 0 : j < n ? j : n - 1);
            axis->weight[4 * i + k] = (float)cubic(fabs((double)(k - 1) - (double)t));
        }
    }
    return sp_ok();
}

/* From [h, w] to [ho, wo]. */
typedef struct Filter {
    int64_t h, w, ho, wo;
    Axis x, y;
    float *rows; /* [h, wo] */
} Filter;

/* One plane: along x into rows, then along y. */
static void apply(const Filter *f, const float *in, float *out)
{
    const Axis *x = &f->x, *y = &f->y;
    for (int64_t i = 0; i < f->h; i++)
        for (int64_t j = 0; j < f->wo; j++) {
            float sum = 0;
            for (int64_t k = 0; k < x->taps; k++)
                sum += x->weight[j * x->taps + k] * in[i * f->w + x->index[j * x->taps + k]];
            f->rows[i * f->wo + j] = sum;
        }
    for (int64_t i = 0; i < f->ho; i++) {
        float *to = out + i * f->wo;
        for (int64_t j = 0; j < f->wo; j++)
            to[j] = 0;
        for (int64_t k = 0; k < y->taps; k++) {
            const float weight = y->weight[i * y->taps + k];
            const float *from = f->rows + y->index[i * y->taps + k] * f->wo;
            for (int64_t j = 0; weight != 0 && j < f->wo; j++)
                to[j] += weight * from[j];
        }
    }
}

static SpStatus resample(Filter f, SpStatus (*new_filter_axis)(int64_t, int64_t, Axis *),
                         const float *in, int64_t planes, float *out)
{
    SpStatus status = new_filter_axis(f.w, f.wo, &f.x);
    if (status.code == SP_OK)
        status = new_filter_axis(f.h, f.ho, &f.y);
    f.rows = malloc((size_t)(f.h * f.wo) * sizeof *f.rows);
    if (status.code == SP_OK && !f.rows)
        status = sp_no_memory("resampling");
    for (int64_t p = 0; status.code == SP_OK && p < planes; p++)
        apply(&f, in + p * f.h * f.w, out + p * f.ho * f.wo);
    free(f.rows);
    free_axis(&f.x);
    free_axis(&f.y);
    return status;
}

SpStatus sp_resample_antialias(const float *in, int64_t planes, int64_t h, int64_t w, float *out,
                               int64_t ho, int64_t wo)
{
    return resample((Filter){.h = h, .w = w, .ho = ho, .wo = wo}, antialias_axis, in, planes, out);
}

SpStatus sp_resample_bicubic(const float *in, int64_t planes, int64_t h, int64_t w, float *out,
                             int64_t ho, int64_t wo)
{
    return resample((Filter){.h = h, .w = w, .ho = ho, .wo = wo}, bicubic_axis, in, planes, out);
}
