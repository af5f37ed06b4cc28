#include "media/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"

/* An input that an output sample reads. */
typedef struct Tap {
    int32_t index;
    float weight;
} Tap;

typedef struct Axis {
    int64_t taps;
    Tap *tap; /* [outputs, taps] */
} Axis;

static SpStatus new_axis(int64_t outputs, int64_t taps, Axis *axis)
{
    *axis = (Axis){taps, calloc((size_t)(outputs * taps), sizeof *axis->tap)};
    return axis->tap ? sp_ok() : sp_no_memory("resampling");
}

static double triangle(double d)
{
    return fmax(0, 1 - fabs(d));
}

static SpStatus antialias_axis(int64_t n, int64_t m, Axis *axis)
{
    const double scale = (double)n / (double)m, support = scale > 1 ? scale : 1;
    SP_TRY(new_axis(m, 2 * (int64_t)ceil(support) + 1, axis));
    for (int64_t i = 0; i < m; i++) {
        const double c = scale * ((double)i + 0.5);
        const int64_t from = (int64_t)fmax(trunc(c - support + 0.5), 0);
        const int64_t to = (int64_t)fmin(trunc(c + support + 0.5), (double)n);
        Tap *tap = axis->tap + i * axis->taps;
        double sum = 0;
        for (int64_t j = from; j < to; j++)
            sum += triangle(((double)j - c + 0.5) / support);
        for (int64_t j = from; j < from + axis->taps; j++, tap++) {
            tap->index = (int32_t)sp_min(j, n - 1);
            if (j < to)
                tap->weight = (float)(triangle(((double)j - c + 0.5) / support) / sum);
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
        for (int64_t k = 0; k < 4; k++)
            axis->tap[4 * i + k] = (Tap){(int32_t)sp_max(0, sp_min((int64_t)f + k - 1, n - 1)),
                                         (float)cubic(fabs((double)(k - 1) - (double)t))};
    }
    return sp_ok();
}

/* From [h, w] to [ho, wo]. */
typedef struct Filter {
    int64_t h, w, ho, wo;
    Axis x, y;
    float *rows; /* [h, wo] */
} Filter;

enum { TOGETHER = 4 };

/* `lines` of a plane along x into rows: one tap serves them all. */
static inline __attribute__((always_inline)) void along_x(const Filter *f, const float *in,
                                                          int lines, float *rows)
{
    for (int64_t j = 0; j < f->wo; j++) {
        const Tap *tap = f->x.tap + j * f->x.taps;
        float sum[TOGETHER] = {0};
        for (int64_t k = 0; k < f->x.taps; k++)
            for (int i = 0; i < lines; i++)
                sum[i] += tap[k].weight * in[i * f->w + tap[k].index];
        for (int i = 0; i < lines; i++)
            rows[i * f->wo + j] = sum[i];
    }
}

/* One plane: along x into rows, then along y. */
static void apply(const Filter *f, const float *in, float *out)
{
    int64_t line = 0;
    for (; line + TOGETHER <= f->h; line += TOGETHER)
        along_x(f, in + line * f->w, TOGETHER, f->rows + line * f->wo);
    for (; line < f->h; line++)
        along_x(f, in + line * f->w, 1, f->rows + line * f->wo);
    for (int64_t i = 0; i < f->ho; i++, out += f->wo) {
        memset(out, 0, (size_t)f->wo * sizeof *out);
        for (int64_t k = 0; k < f->y.taps; k++) {
            const Tap tap = f->y.tap[i * f->y.taps + k];
            for (int64_t j = 0; tap.weight != 0 && j < f->wo; j++)
                out[j] += tap.weight * f->rows[tap.index * f->wo + j];
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
    free(f.x.tap);
    free(f.y.tap);
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
