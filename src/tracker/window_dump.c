#include "tracker/window_dump.h"

#include <stdlib.h>
#include <string.h>

#include "nn/dump.h"

/* A host tensor of golden `unit`; dims end at the first 0. */
static void dump(SpNn *nn, const SpWindow *w, const char *unit, const char *name, const float *x,
                 const int64_t dims[4])
{
    int rank = 0;
    while (rank < 4 && dims[rank])
        rank++;
    sp_nn_dump_host(nn, x, rank, dims, "tracker/%s/%s%s", unit, w->label, name);
}

static void dump_state(SpNn *nn, const SpWindow *w, const char *name, const float *x,
                       const int64_t dims[4])
{
    dump(nn, w, strncmp(w->label, "win", 3) == 0 ? "online" : "offline", name, x, dims);
}

void sp_dump_features(SpNn *nn, const SpWindow *w)
{
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        const SpCorrelationLevel *level = &w->cache.level[l];
        const SpFeatureMap map = {level->features, 1, level->h, level->w, w->cache.channels};
        sp_nn_dump_map(nn, map, "tracker/fnet/%spyramid%d", w->label, l);
    }
}

void sp_dump_init(SpNn *nn, const SpWindow *w)
{
    const int64_t frames = w->frames, n = w->tracks;
    float range[2][3];
    for (int i = 0; i < 3 && sp_nn_dumps(nn); i++) {
        range[0][i] = (float)w->min[i];
        range[1][i] = (float)w->max[i];
    }
    dump_state(nn, w, "queries", w->query, SP_DIMS(n, 3, 0, 0));
    dump_state(nn, w, "queries_z", w->query_z, SP_DIMS(n, 1, 0, 0));
    dump_state(nn, w, "queries_z_unc", w->query_valid, SP_DIMS(n, 1, 0, 0));
    dump_state(nn, w, "min_pts", range[0], SP_DIMS(3, 0, 0, 0));
    dump_state(nn, w, "max_pts", range[1], SP_DIMS(3, 0, 0, 0));
    dump_state(nn, w, "intrs", w->model_intrinsics, SP_DIMS(frames, 3, 3, 0));
    dump_state(nn, w, "intrs_org", w->intrinsics, SP_DIMS(frames, 3, 3, 0));
    dump_state(nn, w, "cam_gt", w->c2w, SP_DIMS(frames, 4, 4, 0));
    dump_state(nn, w, "xyz_init", w->normalised, SP_DIMS(frames, n, 3, 0));
}

void sp_dump_points(SpNn *nn, const SpWindow *w)
{
    dump_state(nn, w, "xyz_unreplaced", w->point, SP_DIMS(w->frames, w->tracks, 3, 0));
}

void sp_dump_iteration(SpNn *nn, const SpTrackerSettings *settings, const float *replaced,
                       const SpWindow *w)
{
    const int64_t frames = w->frames, n = w->tracks, pairs = frames * n;
    float *xy = sp_nn_dump_buffer(nn, 2 * pairs);
    if (!xy)
        return;
    for (int64_t i = 0; i < pairs; i++)
        memcpy(xy + 2 * i, w->track + 3 * i, 2 * sizeof *xy);
    dump_state(nn, w, "xy", xy, SP_DIMS(frames, n, 2, 0));
    dump_state(nn, w, "cam_points", w->point, SP_DIMS(frames, n, 3, 0));
    dump_state(nn, w, "vis", w->vis, SP_DIMS(frames, n, 0, 0));
    dump_state(nn, w, "conf", w->conf, SP_DIMS(frames, n, 0, 0));
    dump_state(nn, w, "dyn", w->dyn, SP_DIMS(frames, n, 0, 0));
    dump_state(nn, w, "weight", w->weight, SP_DIMS(frames, n, 0, 0));
    dump_state(nn, w, "replaced", replaced, SP_DIMS(frames, n, 0, 0));
    if (!settings->fixed_camera)
        dump_state(nn, w, "c2w_init", w->c2w_init, SP_DIMS(frames, 4, 4, 0));
    dump_state(nn, w, "c2w", w->c2w, SP_DIMS(frames, 4, 4, 0));
    dump_state(nn, w, "intrinsics", w->intrinsics, SP_DIMS(frames, 3, 3, 0));
    free(xy);
}

void sp_dump_updates(SpNn *nn, const SpWindow *w, const SpUpdates *u)
{
    const int64_t frames = w->frames, n = w->tracks, pairs = frames * n;
    float *both = sp_nn_dump_buffer(nn, 8 * pairs);
    if (!both)
        return;
    float *xyz = both + 4 * pairs, *dyn = xyz + 3 * pairs;
    for (int64_t i = 0; i < pairs; i++) {
        memcpy(both + 4 * i, u->flow + 2 * i, 2 * sizeof *both);
        memcpy(both + 4 * i + 2, u->vis_conf + 2 * i, 2 * sizeof *both);
        memcpy(xyz + 3 * i, u->point + 4 * i, 3 * sizeof *xyz);
        dyn[i] = u->point[4 * i + 3];
    }
    dump(nn, w, "updateformer", "flow_vis_conf", both, SP_DIMS(n, frames, 4, 0));
    dump(nn, w, "updateformer", "xyz", xyz, SP_DIMS(n, frames, 3, 0));
    dump(nn, w, "updateformer", "dyn", dyn, SP_DIMS(n, frames, 1, 0));
    dump(nn, w, "updateformer", "weight", u->weight, SP_DIMS(n, frames, 1, 0));
    free(both);
}

void sp_dump_tokens_begin(SpNn *nn, const SpWindow *w, SpTokenDump *d)
{
    d->host = sp_nn_dump_buffer(nn, w->frames * w->tracks * d->width);
}

void sp_dump_tokens_add(SpNn *nn, const SpWindow *w, const SpPairs *p, int64_t frame,
                        const float *rows, int64_t stride, const SpTokenDump *d)
{
    const int64_t by_track = d->by_frame ? d->width : w->frames * d->width;
    const int64_t by_frame = d->by_frame ? w->tracks * d->width : d->width;
    for (int64_t f = 0; f < p->frames && d->host; f++)
        sp_nn_copy_rows(nn, SP_DOWNLOAD,
                        d->host + (frame + f) * by_frame + p->first_track * by_track, by_track,
                        rows + f * stride, p->frames * stride, d->width, p->tracks);
}

void sp_dump_tokens_end(SpNn *nn, const SpWindow *w, SpTokenDump *d)
{
    const int64_t rows = d->by_frame ? w->frames : w->tracks;
    const int64_t columns = d->by_frame ? w->tracks : w->frames;
    if (d->host)
        dump(nn, w, "tokens", d->name, d->host, SP_DIMS(rows, columns, d->width, 0));
    free(d->host);
    d->host = NULL;
}
