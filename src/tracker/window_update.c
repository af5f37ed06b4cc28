#include "tracker/window.h"

#include <string.h>

#include "geometry/camera.h"
#include "tracker/order.h"
#include "tracker/window_dump.h"

enum { LOOKUP = 3 /* pixels around a track */ };

/* Steps: the logits, 2D tracks and points. */
static void add_steps(const SpTracker *t, const SpUpdates *u, SpWindow *w)
{
    const float to_x = (float)t->stride * (float)w->width / (float)t->model_width;
    const float to_y = (float)t->stride * (float)w->height / (float)t->model_height;
    for (int64_t i = 0; i < w->frames * w->tracks; i++) {
        const int64_t pair = i % w->tracks * w->frames + i / w->tracks;
        float *xyz = w->coords + 3 * i, *track = w->track + 3 * i;
        w->vis[i] += u->vis_conf[2 * pair];
        w->conf[i] += u->vis_conf[2 * pair + 1];
        w->dyn[i] += u->point[4 * pair + 3];
        w->weight[i] += u->weight[pair];
        xyz[0] += u->flow[2 * pair];
        xyz[1] += u->flow[2 * pair + 1];
        xyz[2] += (float)((w->max[2] - w->min[2]) / 2) * u->point[4 * pair + 2];
        track[0] = xyz[0] * to_x;
        track[1] = xyz[1] * to_y;
        track[2] = xyz[2];
        for (int c = 0; c < 3; c++)
            w->point[3 * i + c] =
                sp_denormalise(w, (double)(w->normalised[3 * i + c] + u->point[4 * pair + c]), c);
    }
}

/* Where a coordinate lies between two samples of an axis, clamped to it. */
typedef struct Between {
    int64_t before, after;
    float fraction;
} Between;

static Between between(float x, int64_t size)
{
    const float last = (float)(size - 1), at = x > 0 ? (x < last ? x : last) : 0;
    const int64_t before = (int64_t)at;
    return (Between){before, before + 1 < size ? before + 1 : before, at - (float)before};
}

enum { SIDE = 2 * LOOKUP + 1, LANES = SIDE + 1 };

/* A row of the map between two columns each: [LANES] values, of which the last has no meaning. */
static void blend_columns(const float *row, const Between *column, bool side_by_side,
                          const float *fraction, float *out)
{
    if (side_by_side) {
        row += column[0].before;
        for (int i = 0; i < LANES; i++)
            out[i] = row[i] * (1 - fraction[i]) + row[i + 1] * fraction[i];
        return;
    }
    for (int i = 0; i < SIDE; i++)
        out[i] = row[column[i].before] * (1 - fraction[i]) + row[column[i].after] * fraction[i];
}

/* Column by column, the first of the values z [SIDE, LANES] that is closest to `own`; 0 where none
 * is a number. */
static float closest(const float *z, float own)
{
    float away[SIDE * LANES], least[LANES], best = 0, distance = INFINITY;
    for (int i = 0; i < LANES; i++)
        least[i] = INFINITY;
    for (int j = 0; j < SIDE; j++)
        for (int i = 0; i < LANES; i++) {
            const float d = fabsf(z[j * LANES + i] - own);
            away[j * LANES + i] = d;
            least[i] = d < least[i] ? d : least[i];
        }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE && least[i] < distance; j++)
            if (away[j * LANES + i] == least[i]) {
                best = z[j * LANES + i];
                distance = least[i];
            }
    return best;
}

/* Depth lookup: the depth around a track that is closest to its own; 0 on an invalid pixel. */
static float look_up(const SpWindow *w, int64_t frame, const float track[3])
{
    const float *map = w->depth + frame * w->height * w->width;
    const int64_t x = sp_nearest_zero(track[0], w->width);
    const int64_t y = sp_nearest_zero(track[1], w->height);
    Between rows[SIDE], columns[SIDE];
    float fraction[LANES] = {0}, across[(SIDE + 2) * LANES] = {0}, z[SIDE * LANES];
    if (x < 0 || y < 0 || !w->valid[(frame * w->height + y) * w->width + x])
        return 0;
    for (int i = 0; i < SIDE; i++) {
        columns[i] = between(track[0] + (float)(i - LOOKUP), w->width);
        rows[i] = between(track[1] + (float)(i - LOOKUP), w->height);
        fraction[i] = columns[i].fraction;
    }
    bool side_by_side = columns[0].before + LANES < w->width;
    for (int i = 0; i < SIDE; i++)
        side_by_side = side_by_side && columns[i].before == columns[0].before + i &&
                       columns[i].after == columns[i].before + 1;
    const int64_t top = rows[0].before, count = rows[SIDE - 1].after - top + 1;
    for (int64_t r = 0; r < count; r++)
        blend_columns(map + (top + r) * w->width, columns, side_by_side, fraction,
                      across + r * LANES);
    for (int j = 0; j < SIDE; j++) {
        const float *above = across + (rows[j].before - top) * LANES, fy = rows[j].fraction;
        const float *below = across + (rows[j].after - top) * LANES;
        for (int i = 0; i < LANES; i++)
            z[j * LANES + i] = above[i] * (1 - fy) + below[i] * fy;
    }
    return closest(z, track[2]);
}

/* Tells the processor of the rows that look_up will read, which lie far apart. */
static void expect(const SpWindow *w, int64_t frame, const float track[3])
{
    const int64_t x = sp_nearest_border(track[0], w->width);
    const int64_t y = sp_nearest_border(track[1], w->height);
    const int64_t last = sp_min(y + LOOKUP + 1, w->height - 1);
    const float *map = w->depth + frame * w->height * w->width + sp_max(x - LOOKUP, 0);
    __builtin_prefetch(&w->valid[(frame * w->height + y) * w->width + x]);
    for (int64_t row = sp_max(y - LOOKUP, 0); row <= last; row++)
        __builtin_prefetch(map + row * w->width);
}

/* A frame's tracks from its top to its bottom, so that those that follow each other read the same
 * rows: [N]. */
static void sort_tracks(const SpWindow *w, int64_t frame, int32_t *order)
{
    enum { STRIPS = 64 };
    const float *track = w->track + 3 * frame * w->tracks;
    int32_t begin[STRIPS + 1] = {0};
    for (int64_t n = 0; n < w->tracks; n++)
        begin[sp_nearest_border(track[3 * n + 1], w->height) * STRIPS / w->height + 1]++;
    for (int i = 0; i < STRIPS; i++)
        begin[i + 1] += begin[i];
    for (int32_t n = 0; n < w->tracks; n++)
        order[begin[sp_nearest_border(track[3 * n + 1], w->height) * STRIPS / w->height]++] = n;
}

/* order: [T, N] work memory. */
static void look_up_all(const SpWindow *w, int32_t *order, float *looked_up)
{
    enum { AHEAD = 8 };
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (int64_t f = 0; f < w->frames; f++) {
        const int32_t *sorted = order + f * w->tracks;
        sort_tracks(w, f, order + f * w->tracks);
        for (int64_t i = 0; i < w->tracks; i++) {
            const int64_t next = f * w->tracks + sorted[sp_min(i + AHEAD, w->tracks - 1)];
            const int64_t at = f * w->tracks + sorted[i];
            expect(w, f, w->track + 3 * next);
            looked_up[at] = look_up(w, f, w->track + 3 * at);
        }
    }
}

/* The quantile between order statistics of `count` positive values; 0 of none. */
static float quantile(const float *values, int64_t count, double q)
{
    if (count == 0)
        return 0;
    const float rank = (float)q * (float)(count - 1);
    const int64_t below = (int64_t)rank, k[2] = {below + 1, sp_min(below + 2, count)};
    SpOrder order;
    float value[2];
    sp_order_count(values, count, &order);
    sp_order_find(values, count, &order, k, value);
    return value[0] + (rank - (float)below) * (value[1] - value[0]);
}

/* Differences in time of e = looked up - query's depth: first (order 1) or second (order 2) at
 * frame f. */
static float jitter(const SpWindow *w, const float *looked_up, int64_t f, int64_t n, int order)
{
    float e[3];
    for (int k = 0; k <= order; k++)
        e[k] = looked_up[(f + k) * w->tracks + n] - w->query_z[n];
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

/* Replacement. replaced: [T N] becomes 1 where the looked up depth is taken, else 0. With fewer
 * than 3 frames there is no second difference, so a point need not be steady; the published code
 * stops there. */
static void replace(const SpTrackerSettings *settings, const float *looked_up, SpWindow *w,
                    float *replaced)
{
    const float max_second = jitter_threshold(w, looked_up, 2, settings->replace_ratio, replaced);
    const float max_first = jitter_threshold(w, looked_up, 1, settings->replace_ratio, replaced);
    for (int64_t i = 0; i < w->frames * w->tracks; i++) {
        const int64_t f = i / w->tracks, n = i % w->tracks;
        const bool inner = f > 0 && f < w->frames - 1;
        const bool steady =
            max_second == 0 || (inner && jitter(w, looked_up, f - 1, n, 2) < max_second &&
                                jitter(w, looked_up, f, n, 1) < max_first);
        replaced[i] = looked_up[i] > 0 && sp_sigmoid(w->vis[i]) > 0.5f && steady;
        if (replaced[i] == 0)
            continue;
        w->track[3 * i + 2] = looked_up[i];
        sp_unproject(w->intrinsics + 9 * f, w->track[3 * i], w->track[3 * i + 1], looked_up[i],
                     w->point + 3 * i);
    }
}

/* Steps: W, and the mean of dp over time. */
static void weigh(const SpWindow *w, float *visibility, float *dynamic)
{
    for (int64_t n = 0; n < w->tracks; n++) {
        double sum = 0;
        for (int64_t f = 0; f < w->frames; f++) {
            const int64_t i = f * w->tracks + n;
            const float *track = w->track + 3 * i;
            const bool in = track[0] > 0 && track[0] < (float)w->width && track[1] > 0 &&
                            track[1] < (float)w->height;
            visibility[i] = in ? sp_sigmoid(w->conf[i]) * sp_sigmoid(w->vis[i]) : 0;
            sum += n < w->users ? 1 : (double)(sp_sigmoid(w->dyn[i]) * sp_sigmoid(w->weight[i]));
        }
        dynamic[n] = (float)(sum / (double)w->frames);
    }
}

void sp_window_update(const SpTracker *t, SpNn *nn, const SpTrackerSettings *settings,
                      const SpUpdates *updates, SpWindow *w)
{
    const int64_t pairs = w->frames * w->tracks;
    SP_NN_SCOPE(nn);
    float *visibility = sp_nn_host_floats(nn, pairs), *dynamic = sp_nn_host_floats(nn, w->tracks);
    float *looked_up = sp_nn_host_floats(nn, pairs), *replaced = sp_nn_host_floats(nn, pairs);
    int32_t *order = sp_nn_alloc_host(nn, (size_t)pairs * sizeof *order);
    if (sp_nn_live(nn)) {
        add_steps(t, updates, w);
        sp_dump_points(nn, w);
        weigh(w, visibility, dynamic);
        look_up_all(w, order, looked_up);
        replace(settings, looked_up, w, replaced);
    }
    if (!settings->fixed_camera)
        sp_window_cameras(t, nn, visibility, dynamic, w->last || !settings->adjust_last, w);
    for (int64_t i = 0; i < pairs && sp_nn_live(nn); i++) {
        sp_normalise(w, w->point + 3 * i, w->normalised + 3 * i);
        w->track[3 * i + 2] = w->coords[3 * i + 2] = w->point[3 * i + 2];
    }
    sp_dump_iteration(nn, settings, replaced, w);
}
