#include "front/internal.h"
#include "nn/dump.h"
#include "nn/stream.h"

/* What the rounds share; device arrays. */
typedef struct Rounds {
    const SpCameraHead *head;
    SpStream stream; /* of the trunk's weights */
    int64_t frames;
    float *c;     /* [T, 2 D] the normalised tokens */
    float *p, *d; /* [T, 9] the running pose and what a round adds to it */
} Rounds;

/* d = pose_branch(trunk(modulated c)) for the pose p. */
static void camera_round(SpNn *nn, Rounds *r, int64_t round)
{
    const SpCameraHead *head = r->head;
    const int64_t width = head->width, frames = r->frames, count = frames * width;
    SP_NN_SCOPE(nn);
    float *e = sp_nn_alloc(nn, count), *n = sp_nn_alloc(nn, count);
    float *m = sp_nn_alloc(nn, 3 * count), *x = sp_nn_alloc(nn, count);
    sp_dense_run(nn, &head->embed_pose, r->p, frames, SP_SILU, e);
    sp_dense_run(nn, &head->modulation, e, frames, SP_IDENTITY, m);
    sp_nn_dump(nn, m, 2, SP_DIMS(frames, 3 * width), "front/camera/modulation%d", (int)round);
    sp_norm_run(nn, &head->adaptive_norm, r->c, frames, n);
    sp_nn_run(nn, modulate, &(SpModulate){n, m, r->c, frames, width, x});
    for (int64_t i = 0; i < head->depth; i++) {
        sp_stream_use(nn, &r->stream, head->block[i].weight_group);
        sp_block_run(nn, &head->block[i], x, 1, frames, NULL);
    }
    sp_nn_dump(nn, x, 2, SP_DIMS(frames, width), "front/camera/trunk%d", (int)round);
    sp_norm_run(nn, &head->trunk_norm, x, frames, n);
    sp_dense_run(nn, &head->pose_branch.fc1, n, frames, head->pose_branch.act, e);
    sp_dense_run(nn, &head->pose_branch.fc2, e, frames, SP_IDENTITY, r->d);
}

void sp_camera_head_run(const SpFront *front, SpNn *nn, int64_t frames, const float *tokens,
                        float *encoding)
{
    const SpCameraHead *head = &front->camera;
    const int64_t width = head->width, values = frames * SP_FRONT_ENCODING;
    const int64_t *shape = SP_DIMS(frames, SP_FRONT_ENCODING);
    SP_NN_SCOPE(nn);
    Rounds r = {.head = head, .frames = frames, .c = sp_nn_alloc(nn, frames * width)};
    r.p = sp_nn_alloc(nn, values);
    r.d = sp_nn_alloc(nn, values);
    float *host_p = sp_nn_host_floats(nn, values);
    float *host_d = sp_nn_host_floats(nn, values);
    SpStream rest = sp_stream_load(nn, head->weight_group, 1);
    r.stream = sp_stream_begin(nn, head->block->weight_group, (int)head->depth, true);
    sp_nn_copy(nn, SP_UPLOAD, r.c, tokens, frames * width);
    sp_norm_run(nn, &head->token_norm, r.c, frames, r.c);
    sp_nn_dump(nn, r.c, 2, SP_DIMS(frames, width), "front/camera/token_norm");
    for (int64_t t = 0; t < frames; t++)
        sp_nn_copy(nn, SP_UPLOAD, r.p + t * SP_FRONT_ENCODING, head->empty_pose, SP_FRONT_ENCODING);
    for (int64_t round = 0; round < head->rounds; round++) {
        camera_round(nn, &r, round);
        sp_nn_copy(nn, SP_DOWNLOAD, host_d, r.d, values);
        if (!sp_nn_live(nn))
            continue;
        for (int64_t i = 0; i < values; i++)
            host_p[i] = round ? host_p[i] + host_d[i] : host_d[i];
        sp_nn_copy(nn, SP_UPLOAD, r.p, host_p, values);
        for (int64_t i = 0; i < values; i++)
            encoding[i] = i % SP_FRONT_ENCODING >= 7 && host_p[i] < 0 ? 0 : host_p[i];
        sp_nn_dump_host(nn, host_d, 2, shape, "front/camera/delta");
        sp_nn_dump_host(nn, encoding, 2, shape, "front/camera/poses");
    }
    sp_stream_end(nn, &r.stream);
    sp_stream_end(nn, &rest);
}
