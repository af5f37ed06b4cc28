#include "tracker/track_features.h"

#include <string.h>

static int64_t query_frame(const SpWindow *w, int64_t n)
{
    return sp_max(0, sp_min((int64_t)w->query[3 * n], w->frames - 1));
}

/* The order of rows, and where they sample: xy [levels, fresh, 2], then zeros [fresh]. */
static void place_patches(const SpTracker *t, const SpWindow *w, const SpPatches *p, float *xy,
                          int32_t *row)
{
    int64_t at = 0;
    for (int64_t f = 0; f < w->frames; f++)
        for (int64_t n = 0; n < p->fresh; n++)
            if (query_frame(w, p->continued + n) == f) {
                row[n] = (int32_t)at;
                p->order[at++] = (int32_t)n;
            }
    for (int64_t i = 0; i < SP_CORRELATION_LEVELS * p->fresh; i++) {
        const float *query = w->query + 3 * (p->continued + p->order[i % p->fresh]);
        const float scale = (float)(t->stride << i / p->fresh);
        xy[2 * i] = query[1] / scale;
        xy[2 * i + 1] = query[2] / scale;
    }
    memset(xy + 2 * SP_CORRELATION_LEVELS * p->fresh, 0, (size_t)p->fresh * sizeof *xy);
}

SpPatches sp_patches_alloc(const SpTracker *t, SpNn *nn, const SpWindow *w,
                           const SpWindowCarry *carry)
{
    const int64_t all = w->tracks, patch = t->patch_side * t->patch_side;
    const int64_t places = 2 * SP_CORRELATION_LEVELS + 1; /* floats of a row in xy and frame */
    SpPatches p = {.continued = w->continued, .fresh = all - w->continued};
    const size_t rows = (size_t)p.fresh * sizeof *p.row;
    float *xy = sp_nn_host_floats(nn, places * all);
    int32_t *row = sp_nn_alloc_host(nn, (size_t)all * sizeof *row);
    p.order = sp_nn_alloc_host(nn, (size_t)all * sizeof *p.order);
    p.xy = sp_nn_alloc(nn, places * all);
    p.frame = p.xy + 2 * SP_CORRELATION_LEVELS * p.fresh;
    p.row = (int32_t *)(void *)sp_nn_alloc(nn, all);
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        p.features[l] = sp_nn_alloc(nn, all * patch * t->channels);
        p.points[l] = sp_nn_alloc(nn, all * patch * 3);
    }
    p.normalised = sp_nn_host_floats(nn, carry->users * patch * 3);
    if (sp_nn_live(nn))
        place_patches(t, w, &p, xy, row);
    sp_nn_copy(nn, SP_UPLOAD, p.xy, xy, places * p.fresh);
    sp_nn_run(nn, copy, &(SpCopy){SP_UPLOAD, p.row, rows, row, rows, rows, 1});
    return p;
}

void sp_patches_sample(const SpTracker *t, SpNn *nn, const SpWindow *w, int64_t f, SpPatches *p)
{
    const int64_t patch = t->patch_side * t->patch_side, c = t->channels, from = p->done;
    if (!sp_nn_live(nn))
        return;
    while (p->done < p->fresh && query_frame(w, p->continued + p->order[p->done]) == f)
        p->done++;
    for (int l = 0; l < SP_CORRELATION_LEVELS && p->done > from; l++) {
        const SpCorrelationLevel *level = &w->cache.level[l];
        SpSamplePatches samples = {.map = level->features,
                                   .frames = 1,
                                   .h = level->h,
                                   .w = level->w,
                                   .c = c,
                                   .xy = p->xy + 2 * (l * p->fresh + from),
                                   .frame = p->frame,
                                   .pairs = p->done - from,
                                   .side = t->patch_side,
                                   .out = p->features[l] + from * patch * c,
                                   .ldy = c};
        sp_nn_run(nn, sample_patches, &samples);
        samples.map = level->points;
        samples.c = samples.ldy = 3;
        samples.out = p->points[l] + from * patch * 3;
        sp_nn_run(nn, sample_patches, &samples);
    }
}

/* Patches of `width` floats in the order of the new tracks. */
static void sort_patches(SpNn *nn, const SpPatches *p, const float *patches, int64_t width,
                         float *templates)
{
    sp_nn_run(nn, gather_rows,
              &(SpGatherRows){patches, p->row, 1, p->fresh, p->fresh, width,
                              templates + p->continued * width, width});
}

void sp_window_templates(const SpTracker *t, SpNn *nn, const SpWindow *w,
                         const SpWindowCarry *carry, const SpPatches *p)
{
    const int64_t patch = t->patch_side * t->patch_side, c = t->channels, old = p->continued;
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        const SpCorrelationLevel *level = &w->cache.level[l];
        sort_patches(nn, p, p->features[l], patch * c, level->templates);
        sort_patches(nn, p, p->points[l], patch * 3, level->template_points);
        if (old) {
            sp_nn_copy(nn, SP_ON_DEVICE, level->templates, carry->templates[l], old * patch * c);
            for (int64_t i = 0; i < old * patch && sp_nn_live(nn); i++)
                sp_normalise(w, carry->template_points[l] + 3 * i, p->normalised + 3 * i);
            sp_nn_copy(nn, SP_UPLOAD, level->template_points, p->normalised, old * patch * 3);
        }
        sp_correlation_query(t, nn, level, w->tracks);
    }
}
