#include <string.h>

#include "front/internal.h"
#include "nn/stream.h"

/* d = pose_branch(trunk(modulated c)) for one round's running pose p (device [T, 9]). */
static void camera_round(const SpCameraHead *head, SpNn *nn, SpStream *stream, int64_t frames,
                         const float *c, const float *p, float *d)
{
    const int64_t width = head->width, count = frames * width;
    const SpNnMark mark = sp_nn_mark(nn);
    float *e = sp_nn_alloc(nn, count), *n = sp_nn_alloc(nn, count);
    float *m = sp_nn_alloc(nn, 3 * count), *x = sp_nn_alloc(nn, count);
    sp_nn_linear(nn, p, frames, head->embed_pose, head->embed_pose_b, SP_SILU, e);
    sp_nn_linear(nn, e, frames, head->modulation, head->modulation_b, SP_IDENTITY, m);
    sp_nn_layer_norm(nn, c, frames, width, NULL, NULL, head->adaln_eps, n);
    sp_nn_run(nn, modulate, &(SpModulate){n, m, c, frames, width, x});
    for (int64_t i = 0; i < head->depth; i++) {
        sp_stream_use(nn, stream, head->block[i].segment);
        sp_block_run(nn, &head->block[i], x, 1, frames, NULL);
    }
    sp_nn_layer_norm(nn, x, frames, width, head->trunk_norm_w, head->trunk_norm_b, head->eps, n);
    sp_nn_linear(nn, n, frames, head->fc1, head->fc1_b, SP_GELU, e);
    sp_nn_linear(nn, e, frames, head->fc2, head->fc2_b, SP_IDENTITY, d);
    sp_nn_release(nn, mark);
}

void sp_camera_head_run(const SpFront *front, SpNn *nn, int64_t frames, const float *tokens,
                        float *encoding, float *deltas, float *poses)
{
    const SpCameraHead *head = &front->camera;
    const int64_t width = head->width, values = frames * SP_FRONT_ENCODING;
    const SpNnMark mark = sp_nn_mark(nn);
    float *c = sp_nn_alloc(nn, frames * width);
    float *p = sp_nn_alloc(nn, values), *d = sp_nn_alloc(nn, values);
    float *host_p = sp_nn_alloc_host(nn, (size_t)values * sizeof *host_p);
    float *host_d = sp_nn_alloc_host(nn, (size_t)values * sizeof *host_d);
    SpStream rest = sp_stream_load(nn, head->segment, 1);
    SpStream stream = sp_stream_begin(nn, head->block->segment, (int)head->depth, true);
    sp_nn_copy(nn, SP_UPLOAD, c, tokens, frames * width);
    sp_nn_layer_norm(nn, c, frames, width, head->token_norm_w, head->token_norm_b, head->eps, c);
    for (int64_t t = 0; t < frames; t++)
        sp_nn_copy(nn, SP_UPLOAD, p + t * SP_FRONT_ENCODING, head->empty_pose, SP_FRONT_ENCODING);
    for (int64_t round = 0; round < head->rounds; round++) {
        camera_round(head, nn, &stream, frames, c, p, d);
        sp_nn_copy(nn, SP_DOWNLOAD, host_d, d, values);
        if (!sp_nn_live(nn))
            continue;
        for (int64_t i = 0; i < values; i++)
            host_p[i] = round ? host_p[i] + host_d[i] : host_d[i];
        sp_nn_copy(nn, SP_UPLOAD, p, host_p, values);
        for (int64_t i = 0; i < values; i++)
            encoding[i] = i % SP_FRONT_ENCODING >= 7 && host_p[i] < 0 ? 0 : host_p[i];
        if (deltas)
            memcpy(deltas + round * values, host_d, (size_t)values * sizeof *deltas);
        if (poses)
            memcpy(poses + round * values, encoding, (size_t)values * sizeof *poses);
    }
    sp_stream_end(nn, &stream);
    sp_stream_end(nn, &rest);
    sp_nn_release(nn, mark);
}
