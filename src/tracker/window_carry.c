#include "tracker/window.h"

#include <stdint.h>
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

/* A part of the carry: rows of `count` floats, `stride` apart. */
typedef struct Part {
    float *at;
    int64_t rows, count, stride;
    bool on_host;
} Part;

enum { PARTS = 3 + 2 * SP_CORRELATION_LEVELS };

/* Of the first `tracks` tracks. */
static void parts_of(const SpTracker *t, const SpWindowCarry *c, int64_t tracks,
                     bool features_on_host, Part part[PARTS])
{
    const int64_t patch = t->patch_side * t->patch_side, o = t->overlap;
    const int64_t map = t->model_height / t->stride * (t->model_width / t->stride) * t->channels;
    part[0] = (Part){c->features, o, map, map, features_on_host};
    part[1] = (Part){c->track, o, 3 * tracks, 3 * c->users, true};
    part[2] = (Part){c->point, o, 3 * tracks, 3 * c->users, true};
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        const int64_t row = patch * t->channels;
        part[3 + 2 * l] = (Part){c->templates[l], tracks, row, row, false};
        part[4 + 2 * l] = (Part){c->template_points[l], tracks, 3 * patch, 3 * patch, true};
    }
}

int64_t sp_carry_floats(const SpTracker *t, int64_t tracks)
{
    const SpWindowCarry none = {.users = tracks};
    Part part[PARTS];
    int64_t count = 0;
    parts_of(t, &none, tracks, true, part);
    for (int i = 0; i < PARTS; i++)
        count += part[i].rows * part[i].count;
    return count;
}

/* `kind`: to the host or from there, where the rows stand closely. */
static void copy(SpNn *nn, const Part *part, SpCopyKind kind, float *host)
{
    const bool down = kind == SP_DOWNLOAD;
    float *to = down ? host : part->at;
    const float *from = down ? part->at : host;
    const int64_t to_stride = down ? part->count : part->stride;
    const int64_t from_stride = down ? part->stride : part->count;
    if (!part->on_host) {
        sp_nn_copy_rows(nn, kind, to, to_stride, from, from_stride, part->count, part->rows);
        return;
    }
    for (int64_t i = 0; i < part->rows && sp_nn_live(nn); i++)
        memcpy(to + i * to_stride, from + i * from_stride, (size_t)part->count * sizeof *to);
}

void sp_carry_save(const SpTracker *t, SpNn *nn, const SpWindowCarry *c, float *to)
{
    Part part[PARTS];
    parts_of(t, c, c->tracks, nn->plan.features_on_host, part);
    for (int i = 0; i < PARTS; to += part[i].rows * part[i].count, i++)
        copy(nn, part + i, SP_DOWNLOAD, to);
}

void sp_carry_restore(const SpTracker *t, SpNn *nn, const float *from, SpWindowCarry *c)
{
    Part part[PARTS];
    parts_of(t, c, c->tracks, nn->plan.features_on_host, part);
    for (int i = 0; i < PARTS; from += part[i].rows * part[i].count, i++)
        copy(nn, part + i, SP_UPLOAD, (float *)(uintptr_t)from);
}

/* Track `to` becomes what track `from` is. */
static void move(const SpTracker *t, SpNn *nn, const SpWindowCarry *c, int64_t to, int64_t from)
{
    const int64_t patch = t->patch_side * t->patch_side, row = patch * t->channels;
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        float *points = c->template_points[l];
        sp_nn_copy(nn, SP_ON_DEVICE, c->templates[l] + to * row, c->templates[l] + from * row, row);
        memcpy(points + to * 3 * patch, points + from * 3 * patch,
               (size_t)(3 * patch) * sizeof *points);
    }
    for (int64_t f = 0; f < t->overlap; f++) {
        const int64_t at = 3 * f * c->users;
        memcpy(c->track + at + 3 * to, c->track + at + 3 * from, 3 * sizeof(float));
        memcpy(c->point + at + 3 * to, c->point + at + 3 * from, 3 * sizeof(float));
    }
}

void sp_carry_keep(const SpTracker *t, SpNn *nn, const int32_t *keep, int64_t count,
                   SpWindowCarry *c)
{
    for (int64_t n = 0; n < count && sp_nn_live(nn); n++)
        if (keep[n] != n)
            move(t, nn, c, n, keep[n]);
    c->tracks = count;
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
