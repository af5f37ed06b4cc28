#include "tracker/window.h"

#include "geometry/camera.h"

void sp_window_alloc(const SpTracker *t, SpNn *nn, SpWindow *w)
{
    const int64_t frames = w->frames, n = w->tracks, pairs = frames * n;
    const int64_t area = frames * w->height * w->width, patch = t->patch_side * t->patch_side;
    w->depth = sp_nn_host_floats(nn, area);
    w->valid = sp_nn_alloc_host(nn, (size_t)area);
    w->model_intrinsics = sp_nn_host_floats(nn, 9 * frames);
    w->intrinsics = sp_nn_host_floats(nn, 9 * frames);
    w->c2w = sp_nn_host_floats(nn, 16 * frames);
    w->c2w_init = sp_nn_host_floats(nn, 16 * frames);
    w->query = sp_nn_host_floats(nn, 3 * n);
    w->query_z = sp_nn_host_floats(nn, n);
    w->query_valid = sp_nn_host_floats(nn, n);
    w->query_xyz = sp_nn_host_floats(nn, 4 * n);
    w->coords = sp_nn_host_floats(nn, 3 * pairs);
    w->normalised = sp_nn_host_floats(nn, 3 * pairs);
    w->track = sp_nn_host_floats(nn, 3 * pairs);
    w->point = sp_nn_host_floats(nn, 3 * pairs);
    w->vis = sp_nn_host_floats(nn, pairs);
    w->conf = sp_nn_host_floats(nn, pairs);
    w->dyn = sp_nn_host_floats(nn, pairs);
    w->weight = sp_nn_host_floats(nn, pairs);
    sp_feature_cache_alloc(t, nn, frames, &w->cache);
    w->time = sp_nn_alloc(nn, frames * t->token_width);
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        SpCorrelationLevel *level = &w->cache.level[l];
        level->templates = sp_nn_alloc(nn, n * patch * t->channels);
        level->template_points = sp_nn_alloc(nn, n * patch * 3);
        level->query = sp_nn_alloc(nn, n * t->knn * t->channels);
        level->query_projected = sp_nn_alloc(nn, n * t->knn * t->channels);
    }
}

void sp_query_world(const SpWindow *w, const float *model_intrinsics, const float *c2w, float *out)
{
    for (int64_t n = 0; n < w->tracks; n++) {
        const float *q = w->query_xyz + 4 * n;
        const int64_t frame = (int64_t)q[0];
        float point[3];
        sp_unproject(model_intrinsics + 9 * frame, q[1], q[2], q[3], point);
        sp_pose_apply(c2w + 16 * frame, point, out + 3 * n);
    }
}
