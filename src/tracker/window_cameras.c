#include "tracker/window.h"

#include <stdlib.h>
#include <string.h>

#include "geometry/bundle.h"
#include "geometry/camera.h"
#include "geometry/procrustes.h"

enum { MAX_STATIC = 1500 };

/* Camera start: fills c2w_init. */
static void init_cameras(SpNn *nn, const float *visibility, const float *dynamic, SpWindow *w)
{
    const int64_t frames = w->frames, tracks = w->tracks;
    SP_NN_SCOPE(nn);
    float *world = sp_nn_host_floats(nn, 3 * frames * tracks);
    float *still = sp_nn_host_floats(nn, tracks), *work = sp_nn_host_floats(nn, tracks);
    if (sp_nn_live(nn)) {
        for (int64_t i = 0; i < frames * tracks; i++)
            sp_pose_apply(w->c2w + 16 * (i / tracks), w->point + 3 * i, world + 3 * i);
        for (int64_t n = 0; n < tracks; n++)
            still[n] = w->query_valid[n] * (1 - dynamic[n]);
        sp_procrustes_cameras(world, visibility, still, frames, tracks, work, w->c2w_init);
        for (int64_t f = 0; f < frames; f++)
            sp_pose_multiply(w->c2w_init + 16 * f, w->c2w + 16 * f, w->c2w_init + 16 * f);
    }
}

/* A track that does not move. */
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

/* Mean over the frames where track n is visible of its point in the world. */
static void mean_world(const SpWindow *w, const float *visibility, int64_t n, float out[3])
{
    double sum[3] = {0}, count = 0;
    for (int64_t f = 0; f < w->frames; f++) {
        const int64_t i = f * w->tracks + n;
        float world[3];
        if (!(visibility[i] > 0.5f))
            continue;
        sp_pose_apply(w->c2w_init + 16 * f, w->point + 3 * i, world);
        count++;
        for (int c = 0; c < 3; c++)
            sum[c] += (double)world[c];
    }
    for (int c = 0; c < 3; c++)
        out[c] = (float)(sum[c] / (count + 1e-6));
}

/* Static points: the static tracks, nearest first; returns how many. Work arrays are
 * model_intrinsics [T, 3, 3] and query_world [N, 3]. */
static int64_t static_tracks(const SpTracker *t, const SpWindow *w, const float *visibility,
                             const float *dynamic, float *model_intrinsics, float *query_world,
                             Static *out)
{
    const float sx = (float)t->model_width / (float)w->width;
    const float sy = (float)t->model_height / (float)w->height;
    int64_t count = 0;
    sp_intrinsics_scale(w->intrinsics, w->frames, (double)sx, (double)sy, model_intrinsics);
    sp_query_world(w, model_intrinsics, w->c2w_init, query_world);
    for (int64_t n = 0; n < w->tracks; n++) {
        if (!(dynamic[n] < 0.5f))
            continue;
        Static *s = out + count++;
        s->track = n;
        s->distance = 0;
        mean_world(w, visibility, n, s->world);
        for (int c = 0; c < 3; c++) {
            const double off = (double)s->world[c] - (double)query_world[3 * n + c];
            s->distance += off * off;
        }
    }
    qsort(out, (size_t)count, sizeof *out, nearer);
    return sp_min(count, MAX_STATIC);
}

/* Bundle adjustment: c2w and intrinsics become the adjusted ones. */
static void adjust(const SpTracker *t, SpNn *nn, const float *visibility, const float *dynamic,
                   SpWindow *w)
{
    const int64_t frames = w->frames, max_points = sp_min(w->tracks, MAX_STATIC);
    SP_NN_SCOPE(nn);
    Static *list = sp_nn_alloc_host(nn, (size_t)w->tracks * sizeof *list);
    float *query = sp_nn_host_floats(nn, 3 * w->tracks), *k = sp_nn_host_floats(nn, 9 * frames);
    float *xyz = sp_nn_host_floats(nn, 3 * max_points);
    float *xy = sp_nn_host_floats(nn, 2 * frames * max_points);
    uint8_t *observed = sp_nn_alloc_host(nn, (size_t)(frames * max_points));
    void *work = sp_nn_alloc_host(nn, sp_bundle_workspace(frames, max_points));
    if (sp_nn_live(nn)) {
        const int64_t points = static_tracks(t, w, visibility, dynamic, k, query, list);
        for (int64_t p = 0; p < points; p++) {
            memcpy(xyz + 3 * p, list[p].world, sizeof list[p].world);
            for (int64_t f = 0; f < frames; f++) {
                const int64_t i = f * w->tracks + list[p].track;
                memcpy(xy + 2 * (f * points + p), w->track + 3 * i, 2 * sizeof *xy);
                observed[f * points + p] = visibility[i] > 0.5f;
            }
        }
        const SpBundleProblem problem = {frames, points, w->c2w_init, w->intrinsics,
                                         xyz,    xy,     observed,    nn->device->threads};
        sp_bundle_adjust(&problem, work, w->c2w, k);
        memcpy(w->intrinsics, k, (size_t)(9 * frames) * sizeof *k);
    }
}

void sp_window_cameras(const SpTracker *t, SpNn *nn, const float *visibility, const float *dynamic,
                       bool adjusted, SpWindow *w)
{
    init_cameras(nn, visibility, dynamic, w);
    if (adjusted)
        adjust(t, nn, visibility, dynamic, w);
    else if (sp_nn_live(nn))
        memcpy(w->c2w, w->c2w_init, (size_t)(16 * w->frames) * sizeof *w->c2w);
}
