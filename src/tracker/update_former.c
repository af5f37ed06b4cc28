#include "tracker/update_former.h"

#include "nn/stream.h"

/* Tokens of one kind in all frames, device [tracks T, width]. */
typedef struct Tokens {
    float *x;
    int64_t tracks;
} Tokens;

/* The former while it runs: its weights come by `stream`. */
typedef struct Run {
    const SpUpdateFormer *former;
    SpNn *nn;
    SpStream stream;
    int64_t frames;
} Run;

static Tokens alloc_tokens(const Run *r, int64_t tracks)
{
    return (Tokens){sp_nn_alloc(r->nn, tracks * r->frames * r->former->width), tracks};
}

static void self(Run *r, const SpTrackBlock *block, Tokens x, SpAttentionAxis axis)
{
    sp_stream_use(r->nn, &r->stream, block->weight_group);
    sp_track_self(r->nn, block, x.x, x.tracks, r->frames, axis);
}

static void cross(Run *r, const SpTrackBlock *block, Tokens x, Tokens context)
{
    sp_stream_use(r->nn, &r->stream, block->weight_group);
    sp_track_cross(r->nn, block, x.x, x.tracks, context.x, context.tracks, r->frames);
}

/* y = x + residual_head(cross(x, context)) */
static void exchange(Run *r, const SpTrackBlock *block, Tokens x, Tokens context, Tokens y)
{
    const int64_t rows = x.tracks * r->frames;
    SP_NN_SCOPE(r->nn);
    const Tokens crossed = alloc_tokens(r, x.tracks);
    sp_nn_copy(r->nn, SP_ON_DEVICE, crossed.x, x.x, rows * r->former->width);
    cross(r, block, crossed, context);
    sp_dense_call(r->nn, &r->former->residual_head,
                  (SpLinear){.x = crossed.x, .rows = rows, .residual = x.x, .y = y.x});
}

/* Step 2 of block j: points p, virtual tokens v and 3D tokens d of every frame. */
static void over_space(Run *r, int64_t j, Tokens p, Tokens v, Tokens d)
{
    const SpUpdateFormer *f = r->former;
    const int64_t row = r->frames * f->width, switchers = v.tracks - 1;
    SP_NN_SCOPE(r->nn);
    const Tokens s = alloc_tokens(r, switchers);
    const Tokens v2 = alloc_tokens(r, v.tracks), s2 = alloc_tokens(r, switchers);
    sp_nn_copy(r->nn, SP_ON_DEVICE, s.x, v.x + row, switchers * row);
    cross(r, &f->track_to_switcher[j], s, d);
    cross(r, &f->virtual_to_point[j], v, p);
    cross(r, &f->virtual_to_switcher[j], s, v);
    exchange(r, &f->switcher_to_virtual[j], v, s, v2);
    exchange(r, &f->switcher_to_virtual[j], s, v, s2);
    self(r, &f->virtual_self[j], v2, SP_OVER_TRACKS);
    self(r, &f->switcher_self[j], s2, SP_OVER_TRACKS);
    cross(r, &f->point_to_virtual[j], p, v2);
    cross(r, &f->switcher_to_track[j], d, s2);
    sp_nn_copy(r->nn, SP_ON_DEVICE, v.x, v2.x, v.tracks * row);
}

/* The virtual tracks' tokens, each repeated over time. */
static void upload_virtual(const Run *r, Tokens v)
{
    const int64_t width = r->former->width;
    for (int64_t i = 0; i < v.tracks; i++) {
        float *first = v.x + i * r->frames * width;
        sp_nn_copy(r->nn, SP_UPLOAD, first, r->former->virtual_token + i * width, width);
        sp_nn_copy_rows(r->nn, SP_ON_DEVICE, first + width, width, first, 0, width, r->frames - 1);
    }
}

static void head(const Run *r, const SpDense *dense, Tokens x, float *host)
{
    const int64_t rows = x.tracks * r->frames, count = rows * dense->w.dim[0];
    SP_NN_SCOPE(r->nn);
    float *y = sp_nn_alloc(r->nn, count);
    sp_dense_run(r->nn, dense, x.x, rows, SP_IDENTITY, y);
    sp_nn_copy(r->nn, SP_DOWNLOAD, host, y, count);
}

void sp_update_former_run(const SpUpdateFormer *f, SpNn *nn, int64_t tracks, int64_t frames,
                          float *stream2, float *stream3, const SpUpdates *updates)
{
    const Tokens p = {stream2, tracks}, d = {stream3, tracks};
    const Tokens v = {stream2 + tracks * frames * f->width, f->virtual_tracks};
    const Tokens both = {stream2, tracks + f->virtual_tracks};
    SP_NN_SCOPE(nn);
    Run run = {.former = f, .nn = nn, .frames = frames};
    upload_virtual(&run, v);
    run.stream = sp_stream_begin(nn, f->first_group, f->groups, false);
    for (int64_t j = 0; j < f->depth; j++) {
        self(&run, &f->time[j], both, SP_OVER_TIME);
        self(&run, &f->time3[j], d, SP_OVER_TIME);
        over_space(&run, j, p, v, d);
    }
    sp_stream_end(nn, &run.stream);
    head(&run, &f->flow_head, p, updates->flow);
    head(&run, &f->vis_conf_head, p, updates->vis_conf);
    head(&run, &f->point_head, d, updates->point);
    head(&run, &f->weight_head, d, updates->weight);
}
