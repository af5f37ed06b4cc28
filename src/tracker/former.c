#include "nn/stream.h"
#include "tracker/internal.h"

/* out = x + residual_head(cross(block; x, context)), a frame's x attending to its context. */
static void exchanged(const SpTracker *t, SpNn *nn, const SpTrackBlock *block, const float *x,
                      int64_t tracks, const float *context, int64_t others, int64_t frames,
                      float *out)
{
    const SpDense *head = &t->former.residual_head;
    const int64_t d = block->width, rows = tracks * frames;
    const SpNnMark mark = sp_nn_mark(nn);
    float *moved = sp_nn_alloc(nn, rows * d);
    sp_nn_copy(nn, SP_ON_DEVICE, moved, x, rows * d);
    sp_track_cross(nn, block, moved, tracks, context, others, frames);
    sp_nn_run(nn, linear,
              &(SpLinear){.x = moved,
                          .rows = rows,
                          .ldx = d,
                          .w = head->w,
                          .b = head->b,
                          .residual = x,
                          .ldr = d,
                          .y = out,
                          .ldy = d});
    sp_nn_release(nn, mark);
}

/* Section 5, "Update former", step 2: virtual tokens v, points p, 3D tokens d of every frame. */
static void space(const SpTracker *t, SpNn *nn, SpStream *stream, int64_t j, int64_t tracks,
                  int64_t frames, float *p, float *v, float *d)
{
    const SpUpdateFormer *f = &t->former;
    const int64_t width = f->time[0].width, nv = f->virtual_tracks, ns = nv - 1;
    const SpNnMark mark = sp_nn_mark(nn);
    float *s = sp_nn_alloc(nn, ns * frames * width);
    float *v2 = sp_nn_alloc(nn, nv * frames * width), *s2 = sp_nn_alloc(nn, ns * frames * width);
    sp_nn_copy(nn, SP_ON_DEVICE, s, v + frames * width, ns * frames * width);
    sp_stream_use(nn, stream, f->track_to_switcher[j].segment);
    sp_track_cross(nn, &f->track_to_switcher[j], s, ns, d, tracks, frames);
    sp_stream_use(nn, stream, f->virtual_to_point[j].segment);
    sp_track_cross(nn, &f->virtual_to_point[j], v, nv, p, tracks, frames);
    sp_stream_use(nn, stream, f->virtual_to_switcher[j].segment);
    sp_track_cross(nn, &f->virtual_to_switcher[j], s, ns, v, nv, frames);
    sp_stream_use(nn, stream, f->switcher_to_virtual[j].segment);
    exchanged(t, nn, &f->switcher_to_virtual[j], v, nv, s, ns, frames, v2);
    exchanged(t, nn, &f->switcher_to_virtual[j], s, ns, v, nv, frames, s2);
    sp_stream_use(nn, stream, f->virtual_self[j].segment);
    sp_track_self(nn, &f->virtual_self[j], v2, nv, frames, SP_OVER_TRACKS);
    sp_stream_use(nn, stream, f->switcher_self[j].segment);
    sp_track_self(nn, &f->switcher_self[j], s2, ns, frames, SP_OVER_TRACKS);
    sp_stream_use(nn, stream, f->point_to_virtual[j].segment);
    sp_track_cross(nn, &f->point_to_virtual[j], p, tracks, v2, nv, frames);
    sp_stream_use(nn, stream, f->switcher_to_track[j].segment);
    sp_track_cross(nn, &f->switcher_to_track[j], d, tracks, s2, ns, frames);
    sp_nn_copy(nn, SP_ON_DEVICE, v, v2, nv * frames * width);
    sp_nn_release(nn, mark);
}

static void head(SpNn *nn, const SpDense *dense, const float *x, int64_t rows, float *host)
{
    const int64_t outs = dense->w.dim[0];
    const SpNnMark mark = sp_nn_mark(nn);
    float *y = sp_nn_alloc(nn, rows * outs);
    sp_dense_run(nn, dense, x, rows, SP_IDENTITY, y, outs);
    sp_nn_copy(nn, SP_DOWNLOAD, host, y, rows * outs);
    sp_nn_release(nn, mark);
}

void sp_former_run(const SpTracker *t, SpNn *nn, int64_t tracks, int64_t frames, float *stream2,
                   float *stream3, const SpUpdates *updates)
{
    const SpUpdateFormer *f = &t->former;
    const int64_t width = f->time[0].width, rows = tracks * frames;
    float *v = stream2 + rows * width;
    const SpNnMark mark = sp_nn_mark(nn);
    for (int64_t i = 0; i < f->virtual_tracks; i++) {
        float *first = v + i * frames * width;
        sp_nn_copy(nn, SP_UPLOAD, first, f->virtual_token + i * width, width);
        sp_nn_copy_rows(nn, SP_ON_DEVICE, first + width, width, first, 0, width, frames - 1);
    }
    SpStream stream = sp_stream_begin(nn, f->first_group, f->segments, false);
    for (int64_t j = 0; j < f->depth; j++) {
        sp_stream_use(nn, &stream, f->time[j].segment);
        sp_track_self(nn, &f->time[j], stream2, tracks + f->virtual_tracks, frames, SP_OVER_TIME);
        sp_stream_use(nn, &stream, f->time3[j].segment);
        sp_track_self(nn, &f->time3[j], stream3, tracks, frames, SP_OVER_TIME);
        space(t, nn, &stream, j, tracks, frames, stream2, v, stream3);
    }
    sp_stream_end(nn, &stream);
    head(nn, &f->flow_head, stream2, rows, updates->flow);
    head(nn, &f->vis_conf_head, stream2, rows, updates->vis_conf);
    head(nn, &f->point_head, stream3, rows, updates->point);
    head(nn, &f->weight_head, stream3, rows, updates->weight);
    sp_nn_release(nn, mark);
}
