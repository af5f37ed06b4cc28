#include "tracker/encoder.h"

static void convolve(SpNn *nn, SpFeatureMap in, const SpConvWeights *conv, int64_t stride,
                     SpFeatureMap out)
{
    SP_NN_SCOPE(nn);
    const SpConvWeights packed = sp_nn_conv_pack(nn, conv);
    sp_nn_convolve(nn, in, &packed, stride, SP_IDENTITY, NULL, out);
}

/* Instance norm in place. */
static void normalise(SpNn *nn, SpFeatureMap map, bool relu)
{
    sp_nn_run(nn, instance_norm,
              &(SpInstanceNorm){map.x, 1, map.h * map.w, map.c, 1e-5f, relu, map.x});
}

static SpFeatureMap strided(SpNn *nn, SpFeatureMap in, const SpConvWeights *conv, int64_t stride)
{
    const int64_t k = conv->w.dim[2], pad = k / 2;
    const SpFeatureMap out = sp_nn_feature_map(nn, 1, (in.h + 2 * pad - k) / stride + 1,
                                               (in.w + 2 * pad - k) / stride + 1, conv->w.dim[0]);
    convolve(nn, in, conv, stride, out);
    return out;
}

/* relu(skip(x) + relu(IN(conv2(relu(IN(conv1 x)))))) into `out`. */
static void residual_block(SpNn *nn, const SpEncoderBlock *block, SpFeatureMap in, SpFeatureMap out)
{
    SP_NN_SCOPE(nn);
    const SpFeatureMap middle = strided(nn, in, &block->conv1, block->stride);
    normalise(nn, middle, true);
    convolve(nn, middle, &block->conv2, 1, out);
    normalise(nn, out, true);
    SpFeatureMap skip = in;
    if (block->skip.w.rank) {
        skip = strided(nn, in, &block->skip, block->stride);
        normalise(nn, skip, false);
    }
    sp_nn_run(nn, elementwise,
              &(SpElementwise){out.x, out.h * out.w * out.c, 1, skip.x, 0, SP_RELU, out.x});
}

void sp_encoder_run(const SpEncoder *e, SpNn *nn, const float *image, int64_t h, int64_t w,
                    float *features)
{
    SP_NN_SCOPE(nn);
    SpFeatureMap x =
        strided(nn, (SpFeatureMap){(float *)(uintptr_t)image, 1, h, w, 3}, &e->conv1, 2);
    normalise(nn, x, true);
    const SpFeatureMap all = sp_nn_feature_map(nn, 1, h / 4, w / 4, e->conv2.w.dim[1]);
    int64_t column = 0;
    for (int s = 0; s < SP_ENCODER_STAGES; s++) {
        for (int i = 0; i < 2; i++) {
            const SpEncoderBlock *block = &e->block[s][i];
            const SpFeatureMap y =
                sp_nn_feature_map(nn, 1, (x.h - 1) / block->stride + 1,
                                  (x.w - 1) / block->stride + 1, block->conv2.w.dim[0]);
            residual_block(nn, block, x, y);
            x = y;
        }
        sp_nn_run(nn, resize,
                  &(SpResize){x.x, 1, x.h, x.w, x.c, all.x + column, all.h, all.w, all.c});
        column += x.c;
    }
    const SpFeatureMap mixed = strided(nn, all, &e->conv2, 1);
    normalise(nn, mixed, true);
    const SpFeatureMap out = {features, 1, mixed.h, mixed.w, e->conv3.w.dim[0]};
    convolve(nn, mixed, &e->conv3, 1, out);
    sp_nn_run(nn, l2_normalize, &(SpL2Normalize){features, out.h * out.w, out.c});
}
