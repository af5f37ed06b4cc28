#include <math.h>

#include "tracker/internal.h"

void sp_time_embedding(int64_t length, int64_t width, int64_t frames, float *out)
{
    const int64_t half = width / 2;
    for (int64_t t = 0; t < frames; t++) {
        double at = ((double)t + 0.5) * (double)length / (double)frames - 0.5;
        at = frames == length ? (double)t : at > 0 ? at : 0;
        const int64_t p0 = (int64_t)at, p1 = p0 + 1 < length ? p0 + 1 : length - 1;
        const float mix = (float)(at - (double)p0);
        for (int64_t d = 0; d < half; d++) {
            const double w = pow(10000, -(double)d / (double)half);
            const double a0 = (double)p0 * w, a1 = (double)p1 * w;
            out[t * width + d] = (1 - mix) * (float)sin(a0) + mix * (float)sin(a1);
            out[t * width + half + d] = (1 - mix) * (float)cos(a0) + mix * (float)cos(a1);
        }
    }
}

/* token += the time embedding of its frame, for whole tracks. */
static void add_time(SpNn *nn, float *token, int64_t pairs, int64_t frames, int64_t width,
                     const float *time)
{
    sp_nn_run(nn, elementwise,
              &(SpElementwise){token, pairs * width, 1, time, frames * width, SP_IDENTITY, token});
}

void sp_tokens_finish(const SpTracker *t, SpNn *nn, const SpTokenInputs *in, int64_t first,
                      int64_t pairs, int64_t frames, const float *time, float *token, float *token3,
                      float *projected)
{
    const int64_t motion_column = 2 + SP_TRACK_LEVELS * t->corr;
    const int64_t encoded3 = SP_MOTION3 * (1 + 2 * SP_DEGREE);
    const int64_t hidden = t->xyz_mlp.fc1.w.dim[0], wide = t->proj_xyz_embed.fc1.w.dim[0];
    const SpNnMark mark = sp_nn_mark(nn);
    float *code = sp_nn_floats(nn, pairs * encoded3), *h = sp_nn_floats(nn, pairs * hidden);
    float *big = sp_nn_floats(nn, pairs * wide);
    sp_nn_copy_rows(nn, SP_ON_DEVICE, token, t->token, in->logits + 2 * first, 2, 2, pairs);
    sp_nn_copy_rows(nn, SP_ON_DEVICE, token3, t->token3, in->logits + 2 * first, 2, 2, pairs);
    sp_nn_run(nn, posenc,
              &(SpPosenc){in->motion + SP_MOTION * first, pairs, SP_MOTION, SP_MOTION, SP_DEGREE,
                          token + motion_column, t->token});
    sp_nn_run(nn, posenc,
              &(SpPosenc){in->motion3 + SP_MOTION3 * first, pairs, SP_MOTION3, SP_MOTION3,
                          SP_DEGREE, code, encoded3});
    sp_dense_run(nn, &t->xyz_mlp.fc1, code, pairs, SP_GELU, h, hidden);
    sp_dense_run(nn, &t->xyz_mlp.fc2, h, pairs, SP_IDENTITY, token3 + motion_column, t->token3);
    sp_nn_run(nn, posenc,
              &(SpPosenc){in->carry + SP_CARRY * first, pairs, SP_CARRY, SP_CARRY, SP_DEGREE_FINE,
                          token3 + t->token, t->token3});
    sp_dense_run(nn, &t->proj_xyz_embed.fc1, token3, pairs, SP_GELU, big, wide);
    sp_dense_run(nn, &t->proj_xyz_embed.fc2, big, pairs, SP_IDENTITY, projected, t->token);
    add_time(nn, token, pairs, frames, t->token, time);
    add_time(nn, projected, pairs, frames, t->token, time);
    sp_nn_release(nn, mark);
}

void sp_former_embed(const SpTracker *t, SpNn *nn, const float *token, int64_t rows, float *stream)
{
    const SpDense *transform = &t->former.input_transform;
    sp_dense_run(nn, transform, token, rows, SP_IDENTITY, stream, transform->w.dim[0]);
}
