#include "tracker/tokens.h"

#include <math.h>

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

/* Rows of `count` values and their position encoding to y, rows ldy apart. */
static void encode(SpNn *nn, const float *x, int64_t rows, int64_t count, int degree, float *y,
                   int64_t ldy)
{
    sp_nn_run(nn, posenc, &(SpPosenc){x, rows, count, count, degree, y, ldy});
}

void sp_tokens_finish(const SpTracker *t, SpNn *nn, const SpTokenInputs *in, const SpTokens *out)
{
    const int64_t m = in->pairs, width = t->token_width, width3 = t->token3_width;
    const int64_t motion_column = 2 + SP_CORRELATION_LEVELS * t->corr_width;
    const int64_t encoded3 = SP_MOTION_3D * (1 + 2 * SP_DEGREE);
    SP_NN_SCOPE(nn);
    float *code = sp_nn_alloc(nn, m * encoded3);
    sp_nn_copy_rows(nn, SP_ON_DEVICE, out->token, width, in->logits, 2, 2, m);
    sp_nn_copy_rows(nn, SP_ON_DEVICE, out->token3, width3, in->logits, 2, 2, m);
    encode(nn, in->motion2, m, SP_MOTION_2D, SP_DEGREE, out->token + motion_column, width);
    encode(nn, in->motion3, m, SP_MOTION_3D, SP_DEGREE, code, encoded3);
    sp_mlp_run(nn, &t->xyz_mlp, code, m, out->token3 + motion_column, width3);
    encode(nn, in->rigid, m, SP_RIGID_CARRY, SP_DEGREE_FINE, out->token3 + width, width3);
    sp_mlp_run(nn, &t->proj_xyz_embed, out->token3, m, out->projected, width);
    float *const embedded[] = {out->token, out->projected};
    for (int i = 0; i < 2; i++)
        sp_nn_run(nn, elementwise,
                  &(SpElementwise){embedded[i], m * width, 1, in->time, in->frames * width,
                                   SP_IDENTITY, embedded[i]});
}
