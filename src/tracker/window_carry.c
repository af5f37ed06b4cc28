#include "tracker/window.h"

#include <string.h>

void sp_carry_alloc(const SpTracker *t, SpNn *nn, int64_t users, SpWindowCarry *c)
{
    const int64_t patch = t->patch_side * t->patch_side;
    const int64_t map = t->model_height / t->stride * (t->model_width / t->stride) * t->channels;
    *c = (SpWindowCarry){.users = users};
    c->features = sp_feature_cache_memory(nn, t->overlap * map);
    c->track = sp_nn_host_floats(nn, 3 * t->overlap * users);
    c->point = sp_nn_host_floats(nn, 3 * t->overlap * users);
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        c->templates[l] = sp_nn_alloc(nn, users * patch * t->channels);
        c->template_points[l] = sp_nn_host_floats(nn, 3 * users * patch);
    }
}

/* A level's templates of tracks `from` .. users; their points denormalised, because each window
 * has a normalisation of its own. */
static void store_templates(const SpTracker *t, SpNn *nn, const SpWindow *w, int l, int64_t from,
                            SpWindowCarry *carry)
{
    const SpCorrelationLevel *level = &w->cache.level[l];
    const int64_t patch = t->patch_side * t->patch_side, at = from * patch;
    const int64_t count = (w->users - from) * patch, c = t->channels;
    float *points = carry->template_points[l] + 3 * at;
    sp_nn_copy(nn, SP_ON_DEVICE, carry->templates[l] + at * c, level->templates + at * c,
               count * c);
    sp_nn_copy(nn, SP_DOWNLOAD, points, level->template_points + 3 * at, 3 * count);
    for (int64_t i = 0; i < 3 * count && sp_nn_live(nn); i++)
        points[i] = sp_denormalise(w, (double)points[i], (int)(i % 3));
}

void sp_window_carry(const SpTracker *t, SpNn *nn, const SpWindow *w, SpWindowCarry *carry)
{
    const int64_t last = w->frames - t->overlap;
    if (!sp_nn_live(nn))
        return;
    sp_feature_cache_carry(nn, &w->cache, last, t->overlap, carry->features);
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++)
        store_templates(t, nn, w, l, w->continued, carry);
    for (int64_t f = 0; f < t->overlap; f++) {
        const int64_t from = (last + f) * w->tracks * 3, to = f * carry->users * 3;
        memcpy(carry->track + to, w->track + from, (size_t)(3 * w->users) * sizeof(float));
        memcpy(carry->point + to, w->point + from, (size_t)(3 * w->users) * sizeof(float));
    }
    carry->tracks = w->users;
}
