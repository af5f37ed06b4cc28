/* One iteration's second half: steps, depth lookup, cameras (tracker.md section 6). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/bundle.h"
#include "geometry/camera.h"
#include "geometry/procrustes.h"
#include "tracker/internal.h"

enum { MOST_STATIC = 1500, LOOKUP = 3 /* pixels around a track */ };

/* Steps 1 and 2. */
static void add_steps(const SpTracker *t, const SpUpdates *u, SpWindow *w)
{
    const float to_x = (float)t->stride * (float)w->width / (float)t->model_width;
    const float to_y = (float)t->stride * (float)w->height / (float)t->model_height;
    for (int64_t i = 0; i < w->frames * w->tracks; i++) {
        const int64_t pair = i % w->tracks * w->frames + i / w->tracks;
        float *xyz = w->xyz + 3 * i, *track = w->track + 3 * i;
        w->vis[i] += u->vis_conf[2 * pair];
        w->conf[i] += u->vis_conf[2 * pair + 1];
        w->dyn[i] += u->point[4 * pair + 3];
        w->weight[i] += u->weight[pair];
        xyz[0] += u->flow[2 * pair];
        xyz[1] += u->flow[2 * pair + 1];
        xyz[2] += (float)((w->hi[2] - w->lo[2]) / 2) * u->point[4 * pair + 2];
        track[0] = xyz[0] * to_x;
        track[1] = xyz[1] * to_y;
        track[2] = xyz[2];
        for (int c = 0; c < 3; c++)
            w->point[3 * i + c] =
                sp_denormalise(w, (double)(w->normal[3 * i + c] + u->point[4 * pair + c]), c);
    }
    memcpy(w->rough, w->point, (size_t)(3 * w->frames * w->tracks) * sizeof(float));
}

static float bilinear(const float *map, int64_t h, int64_t w, float x, float y)
{
    x = x > 0 ? (x < (float)(w - 1) ? x : (float)(w - 1)) : 0;
    y = y > 0 ? (y < (float)(h - 1) ? y : (float)(h - 1)) : 0;
    const int64_t x0 = (int64_t)x, y0 = (int64_t)y;
    const int64_t x1 = x0 + 1 < w ? x0 + 1 : x0, y1 = y0 + 1 < h ? y0 + 1 : y0;
    const float fx = x - (float)x0, fy = y - (float)y0;
    const float above = map[y0 * w + x0] * (1 - fx) + map[y0 * w + x1] * fx;
    const float below = map[y1 * w + x0] * (1 - fx) + map[y1 * w + x1] * fx;
    return above * (1 - fy) + below * fy;
}

/* Step 3: the depth around a track that is closest to its own; 0 where the map is not valid. */
static float look_up(const SpWindow *w, int64_t frame, const float track[3])
{
    const float *map = w->depth + frame * w->height * w->width;
    const int64_t x = sp_nearest_zero(track[0], w->width);
    const int64_t y = sp_nearest_zero(track[1], w->height);
    if (x < 0 || y < 0 || !w->valid[(frame * w->height + y) * w->width + x])
        return 0;
    float best = 0, least = INFINITY;
    for (int i = -LOOKUP; i <= LOOKUP; i++)
        for (int j = -LOOKUP; j <= LOOKUP; j++) {
            const float z =
                bilinear(map, w->height, w->width, track[0] + (float)i, track[1] + (float)j);
            if (fabsf(z - track[2]) < least) {
                least = fabsf(z - track[2]);
                best = z;
            }
        }
    return best;
}

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The quantile between order statistics of `count` values, which are sorted; 0 of none. */
static float quantile(float *values, int64_t count, double q)
{
    if (count == 0)
        return 0;
    qsort(values, (size_t)count, sizeof *values, ascending);
    const float rank = (float)q * (float)(count - 1);
    const int64_t below = (int64_t)rank, above = below + 1 < count ? below + 1 : below;
    return values[below] + (rank - (float)below) * (values[above] - values[below]);
}

/* Differences in time of e = looked up - query's depth: first (order 1) or second (order 2) at
 * frame f. */
static float jitter(const SpWindow *w, const float *looked_up, int64_t f, int64_t n, int order)
{
    float e[3];
    for (int k = 0; k <= order; k++)
        e[k] = looked_up[(f + k) * w->tracks + n] - w->z[n];
    return order == 1 ? fabsf(e[1] - e[0]) : fabsf(e[2] - 2 * e[1] + e[0]);
}

static float jitter_threshold(const SpWindow *w, const float *looked_up, int order, double ratio,
                              float *work)
{
    int64_t count = 0;
    for (int64_t f = 0; f + order < w->frames; f++)
        for (int64_t n = 0; n < w->tracks; n++) {
            const float j = jitter(w, looked_up, f, n, order);
            if (j > 0)
                work[count++] = j;
        }
    return quantile(work, count, ratio);
}

/* Steps 4 and 5. work: [T N]. With fewer than 3 frames there is no second difference, so a point
 * need not be steady; the published code stops there. */
static void replace(const SpTrackerSettings *settings, const float *looked_up, SpWindow *w,
                    float *work)
{
    const float least2 = jitter_threshold(w, looked_up, 2, settings->replace_ratio, work);
    const float least1 = jitter_threshold(w, looked_up, 1, settings->replace_ratio, work);
    for (int64_t i = 0; i < w->frames * w->tracks; i++) {
        const int64_t f = i / w->tracks, n = i % w->tracks;
        const bool inner = f > 0 && f < w->frames - 1;
        const bool steady = least2 == 0 || (inner && jitter(w, looked_up, f - 1, n, 2) < least2 &&
                                            jitter(w, looked_up, f, n, 1) < least1);
        w->replaced[i] = looked_up[i] > 0 && sp_sigma(w->vis[i]) > 0.5f && steady;
        if (!w->replaced[i])
            continue;
        w->track[3 * i + 2] = looked_up[i];
        sp_unproject(w->k + 9 * f, w->track[3 * i], w->track[3 * i + 1], looked_up[i],
                     w->point + 3 * i);
    }
}

/* A track's weight in a frame, and its mean chance to move. */
typedef struct Weights {
    float *seen;   /* W [T, N] */
    float *moving; /* mean of dp over time, [N] */
} Weights;

static void weigh(const SpWindow *w, const Weights *weights)
{
    for (int64_t n = 0; n < w->tracks; n++) {
        double sum = 0;
        for (int64_t f = 0; f < w->frames; f++) {
            const int64_t i = f * w->tracks + n;
            const float *track = w->track + 3 * i;
            const bool in = track[0] > 0 && track[0] < (float)w->width && track[1] > 0 &&
                            track[1] < (float)w->height;
            weights->seen[i] = in ? sp_sigma(w->conf[i]) * sp_sigma(w->vis[i]) : 0;
            sum += n < w->users ? 1 : (double)(sp_sigma(w->dyn[i]) * sp_sigma(w->weight[i]));
        }
        weights->moving[n] = (float)(sum / (double)w->frames);
    }
}

/* Step 6: w->c2w_start. */
static void start_cameras(SpNn *nn, const Weights *weights, SpWindow *w)
{
    const int64_t frames = w->frames, tracks = w->tracks;
    const SpNnMark mark = sp_nn_mark(nn);
    float *world = sp_nn_alloc_host(nn, (size_t)(3 * frames * tracks) * sizeof *world);
    float *still = sp_nn_alloc_host(nn, (size_t)tracks * sizeof *still);
    float *work = sp_nn_alloc_host(nn, (size_t)tracks * sizeof *work);
    if (sp_nn_live(nn)) {
        for (int64_t i = 0; i < frames * tracks; i++)
            sp_pose_apply(w->c2w + 16 * (i / tracks), w->point + 3 * i, world + 3 * i);
        for (int64_t n = 0; n < tracks; n++)
            still[n] = w->unc[n] * (1 - weights->moving[n]);
        sp_procrustes_cameras(world, weights->seen, still, frames, tracks, work, w->c2w_start);
        for (int64_t f = 0; f < frames; f++)
            sp_pose_multiply(w->c2w_start + 16 * f, w->c2w + 16 * f, w->c2w_start + 16 * f);
    }
    sp_nn_release(nn, mark);
}

/* A track that does not move, for the bundle adjustment. */
typedef struct Static {
    double distance; /* of its mean world point from the query's */
    int64_t track;
    float world[3];
} Static;

static int nearer(const void *a, const void *b)
{
    const Static *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->track > y->track) - (x->track < y->track);
}

static void mean_world(const SpWindow *w, const float *seen, int64_t n, float out[3])
{
    double sum[3] = {0}, count = 0;
    for (int64_t f = 0; f < w->frames; f++) {
        const int64_t i = f * w->tracks + n;
        float world[3];
        if (!(seen[i] > 0.5f))
            continue;
        sp_pose_apply(w->c2w_start + 16 * f, w->point + 3 * i, world);
        count++;
        for (int c = 0; c < 3; c++)
            sum[c] += (double)world[c];
    }
    for (int c = 0; c < 3; c++)
        out[c] = (float)(sum[c] / (count + 1e-6));
}

/* Step 7: the static tracks, nearest first; returns how many. k_model, query: [T, 9] and [N, 3]
 * of work. */
static int64_t static_tracks(const SpTracker *t, const SpWindow *w, const Weights *weights,
                             float *k_model, float *query, Static *out)
{
    const float sx = (float)t->model_width / (float)w->width;
    const float sy = (float)t->model_height / (float)w->height;
    int64_t count = 0;
    for (int64_t i = 0; i < 9 * w->frames; i++)
        k_model[i] = w->k[i] * (i % 9 < 3 ? sx : i % 9 < 6 ? sy : 1);
    sp_query_world(w, k_model, w->c2w_start, query);
    for (int64_t n = 0; n < w->tracks; n++) {
        if (!(weights->moving[n] < 0.5f))
            continue;
        Static *s = out + count++;
        s->track = n;
        s->distance = 0;
        mean_world(w, weights->seen, n, s->world);
        for (int c = 0; c < 3; c++) {
            const double off = (double)s->world[c] - (double)query[3 * n + c];
            s->distance += off * off;
        }
    }
    qsort(out, (size_t)count, sizeof *out, nearer);
    return count < MOST_STATIC ? count : MOST_STATIC;
}

/* Step 8: c2w and k become the adjusted ones. */
static void adjust(const SpTracker *t, SpNn *nn, const Weights *weights, SpWindow *w)
{
    const int64_t frames = w->frames, most = w->tracks < MOST_STATIC ? w->tracks : MOST_STATIC;
    const SpNnMark mark = sp_nn_mark(nn);
    Static *list = sp_nn_alloc_host(nn, (size_t)w->tracks * sizeof *list);
    float *query = sp_nn_alloc_host(nn, (size_t)(3 * w->tracks) * sizeof *query);
    float *k = sp_nn_alloc_host(nn, (size_t)(9 * frames) * sizeof *k);
    float *xyz = sp_nn_alloc_host(nn, (size_t)(3 * most) * sizeof *xyz);
    float *xy = sp_nn_alloc_host(nn, (size_t)(2 * frames * most) * sizeof *xy);
    uint8_t *visible = sp_nn_alloc_host(nn, (size_t)(frames * most));
    void *work = sp_nn_alloc_host(nn, sp_bundle_workspace(frames, most));
    if (sp_nn_live(nn)) {
        const int64_t points = static_tracks(t, w, weights, k, query, list);
        for (int64_t p = 0; p < points; p++) {
            memcpy(xyz + 3 * p, list[p].world, sizeof list[p].world);
            for (int64_t f = 0; f < frames; f++) {
                const int64_t i = f * w->tracks + list[p].track;
                memcpy(xy + 2 * (f * points + p), w->track + 3 * i, 2 * sizeof *xy);
                visible[f * points + p] = weights->seen[i] > 0.5f;
            }
        }
        const SpBundleProblem problem = {frames, points, w->c2w_start, w->k, xyz, xy, visible};
        sp_bundle_adjust(&problem, work, w->c2w, k);
        memcpy(w->k, k, (size_t)(9 * frames) * sizeof *k);
    }
    sp_nn_release(nn, mark);
}

void sp_window_update(const SpTracker *t, SpNn *nn, const SpTrackerSettings *settings,
                      const SpUpdates *updates, SpWindow *w)
{
    const int64_t pairs = w->frames * w->tracks;
    const SpNnMark mark = sp_nn_mark(nn);
    const Weights weights = {sp_nn_alloc_host(nn, (size_t)pairs * sizeof(float)),
                             sp_nn_alloc_host(nn, (size_t)w->tracks * sizeof(float))};
    float *looked_up = sp_nn_alloc_host(nn, (size_t)pairs * sizeof *looked_up);
    float *work = sp_nn_alloc_host(nn, (size_t)pairs * sizeof *work);
    if (sp_nn_live(nn)) {
        add_steps(t, updates, w);
        weigh(w, &weights);
        for (int64_t i = 0; i < pairs; i++)
            looked_up[i] = look_up(w, i / w->tracks, w->track + 3 * i);
        replace(settings, looked_up, w, work);
    }
    if (!settings->fixed_camera) {
        start_cameras(nn, &weights, w);
        adjust(t, nn, &weights, w);
    }
    for (int64_t i = 0; i < pairs && sp_nn_live(nn); i++) {
        sp_normalise(w, w->point + 3 * i, w->normal + 3 * i);
        w->track[3 * i + 2] = w->xyz[3 * i + 2] = w->point[3 * i + 2];
    }
    sp_nn_release(nn, mark);
}
