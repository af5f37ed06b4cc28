/*
 * Samples around points of feature maps, and products with them. All samples of a patch share
 * the fraction of their position, and clamping a position to the map equals clamping the indices
 * of its neighbours; so a patch reads side + 1 by side + 1 whole pixels, down each column of them
 * once.
 */
#include <math.h>

#include "base/minmax.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/vec.h"

enum {
    MAX_SIDE = 9,
    MAX_SAMPLES = MAX_SIDE * MAX_SIDE,
    GROUP = 8 /* pairs of one track that share the packing of its template */
};

/* The whole pixels a patch touches along each axis, and the fractions. */
typedef struct Window {
    int64_t x[MAX_SIDE + 1], y[MAX_SIDE + 1];
    float fx, fy;
} Window;

static void axis(float at, int64_t size, int64_t side, int64_t *index, float *fraction)
{
    const float far = (float)(size + MAX_SIDE); /* beyond it nothing changes */
    at = at > -far ? (at < far ? at : far) : -far;
    const float whole = floorf(at);
    *fraction = at - whole;
    for (int64_t i = 0; i <= side; i++) {
        const int64_t j = (int64_t)whole - side / 2 + i;
        index[i] = j < 0 ? 0 : j < size ? j : size - 1;
    }
}

static Window window(const float *xy, int64_t h, int64_t w, int64_t side)
{
    Window at;
    axis(xy[0], w, side, at.x, &at.fx);
    axis(xy[1], h, side, at.y, &at.fy);
    return at;
}

static const float *frame_of(const float *map, int64_t frames, int64_t area, float frame)
{
    const int64_t t = (int64_t)frame;
    return map + (t < 0 ? 0 : t < frames ? t : frames - 1) * area;
}

void SP_FN(sp_cpu_sample_patches)(SpDevice *device, const SpSamplePatches *a)
{
    const int64_t samples = a->pick ? a->picks : a->side * a->side, c = a->c;
    const int threads = sp_cpu_threads(device, 8 * a->pairs * samples * c);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < a->pairs; p++) {
        const Window at = window(a->xy + 2 * p, a->h, a->w, a->side);
        const float *map = frame_of(a->map, a->frames, a->h * a->w * c, a->frame[p]);
        for (int64_t s = 0; s < samples; s++) {
            const int64_t which = a->pick ? a->pick[p * a->picks + s] : s;
            const int64_t i = which / a->side, j = which % a->side;
            const float *p00 = map + (at.y[j] * a->w + at.x[i]) * c;
            const float *p01 = map + (at.y[j] * a->w + at.x[i + 1]) * c;
            const float *p10 = map + (at.y[j + 1] * a->w + at.x[i]) * c;
            const float *p11 = map + (at.y[j + 1] * a->w + at.x[i + 1]) * c;
            const vf w00 = v_set((1 - at.fy) * (1 - at.fx)), w01 = v_set((1 - at.fy) * at.fx);
            const vf w10 = v_set(at.fy * (1 - at.fx)), w11 = v_set(at.fy * at.fx);
            float *out = a->out + (p * samples + s) * a->ldy;
            for (int64_t k = 0; k < c; k += SP_VL) {
                const int64_t n = sp_min(SP_VL, c - k);
                v_store_n(out + k,
                          w00 * v_load_n(p00 + k, n) + w01 * v_load_n(p01 + k, n) +
                              w10 * v_load_n(p10 + k, n) + w11 * v_load_n(p11 + k, n),
                          n);
            }
        }
    }
}

/* Channels first .. first + count of the side^2 samples of one pair, x outer, y inner, SP_LEAD
 * apart. */
static void sample(const SpCorrelate *a, int64_t pair, int64_t first, int64_t count, float *out)
{
    const Window at = window(a->xy + 2 * pair, a->h, a->w, a->side);
    const float *map = frame_of(a->map, a->frames, a->h * a->w * a->c, a->frame[pair]) + first;
    const vf right = v_set(at.fx), left = v_set(1 - at.fx), below = v_set(at.fy),
             above = v_set(1 - at.fy);
    for (int64_t i = 0; i < a->side; i++) {
        const int64_t x = at.x[i] * a->c, next = at.x[i + 1] * a->c;
        for (int64_t k = 0; k < count; k += SP_VL) {
            const int64_t n = sp_min(SP_VL, count - k);
            float *to = out + i * a->side * SP_LEAD + k;
            vf upper = {0};
            for (int64_t j = 0; j <= a->side; j++) {
                const float *line = map + at.y[j] * a->w * a->c + k;
                const vf lower = left * v_load_n(line + x, n) + right * v_load_n(line + next, n);
                if (j > 0)
                    v_store_n(to + (j - 1) * SP_LEAD, above * upper + below * lower, n);
                upper = lower;
            }
        }
    }
}

void SP_FN(sp_cpu_correlate)(SpDevice *device, const SpCorrelate *a)
{
    const int64_t n = a->side * a->side, lead = sp_padded(n);
    const int64_t groups = (a->run + GROUP - 1) / GROUP;
    const int threads = sp_cpu_threads(device, a->pairs * n * n * a->c);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t unit = 0; unit < a->pairs / a->run * groups; unit++) {
        const int64_t track = unit / groups, first = unit % groups * GROUP;
        const int64_t begin = track * a->run + first, end = begin + sp_min(GROUP, a->run - first);
        float *rows = sp_cpu_work(device), *products = rows + MAX_SAMPLES * SP_LEAD,
              *template = products + MAX_SAMPLES * lead;
        for (int64_t c = 0; c < a->c; c += SP_DEPTH)
            sp_pack_transposed(a->templates + track * n * a->c + c, a->c, n,
                               sp_min(SP_DEPTH, a->c - c), template + c * lead);
        for (int64_t pair = begin; pair < end; pair++) {
            float *out = a->out + pair * n * n;
            for (int64_t c = 0; c < a->c; c += SP_DEPTH) {
                const int64_t depth = sp_min(SP_DEPTH, a->c - c);
                sample(a, pair, c, depth, rows);
                sp_multiply(&(SpMultiply){rows, n, depth, template + c * lead, n, c > 0, products,
                                          lead, 0});
            }
            for (int64_t s = 0; s < n; s++)
                v_copy(out + s * n, products + s * lead, n);
        }
    }
}

void SP_FN(sp_cpu_knn)(SpDevice *device, const SpKnn *a)
{
    const int threads = sp_cpu_threads(device, 4 * a->pairs * a->count * a->keep);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < a->pairs; p++) {
        const float *points = a->points + p * a->count * 3, *origin = a->origin + 3 * p;
        float length[MAX_SIDE * MAX_SIDE];
        bool dropped[MAX_SIDE * MAX_SIDE] = {false};
        for (int64_t i = 0; i < a->count; i++) {
            const float x = points[3 * i] - origin[0], y = points[3 * i + 1] - origin[1];
            const float z = points[3 * i + 2] - origin[2];
            length[i] = sqrtf(x * x + y * y + z * z);
        }
        for (int64_t k = -1; k < a->keep; k++) {
            int64_t nearest = -1;
            for (int64_t i = 0; i < a->count; i++)
                if (!dropped[i] && (nearest < 0 || length[i] < length[nearest]))
                    nearest = i;
            dropped[nearest] = true;
            if (k < 0)
                continue;
            a->index[p * a->keep + k] = (int32_t)nearest;
            for (int64_t c = 0; c < 3; c++)
                a->vector[(p * a->keep + k) * 3 + c] = points[3 * nearest + c] - origin[c];
        }
    }
}
