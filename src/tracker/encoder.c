#include "tracker/internal.h"

typedef struct Map {
    float *x;
    int64_t h, w, c;
} Map;

static void convolve(SpNn *nn, Map in, const SpConvLayer *conv, int64_t stride, SpActivation act,
                     Map out)
{
    const int64_t k = conv->w.dim[2];
    const SpNnMark mark = sp_nn_mark(nn);
    const float *packed = sp_nn_conv_pack(nn, conv->w);
    sp_nn_run(nn, conv2d,
              &(SpConv2d){.x = in.x,
                          .n = 1,
                          .h = in.h,
                          .w = in.w,
                          .cin = in.c,
                          .ldx = in.c,
                          .packed = packed,
                          .cout = out.c,
                          .kh = k,
                          .kw = k,
                          .stride = stride,
                          .pad = k / 2,
                          .b = conv->b,
                          .act = act,
                          .y = out.x,
                          .ldy = out.c});
    sp_nn_release(nn, mark);
}

static void normalise(SpNn *nn, Map map, bool relu)
{
    sp_nn_run(nn, instance_norm,
              &(SpInstanceNorm){map.x, 1, map.h * map.w, map.c, 1e-5f, relu, map.x});
}

static Map strided(SpNn *nn, Map in, const SpConvLayer *conv, int64_t stride)
{
    const int64_t k = conv->w.dim[2], pad = k / 2;
    Map out = {.h = (in.h + 2 * pad - k) / stride + 1,
               .w = (in.w + 2 * pad - k) / stride + 1,
               .c = conv->w.dim[0]};
    out.x = sp_nn_floats(nn, out.h * out.w * out.c);
    convolve(nn, in, conv, stride, SP_IDENTITY, out);
    return out;
}

/* relu(skip(x) + relu(IN(conv2(relu(IN(conv1 x)))))) into `out`. */
static void residual_block(SpNn *nn, const SpEncoderBlock *block, Map in, Map out)
{
    const SpNnMark mark = sp_nn_mark(nn);
    const Map middle = strided(nn, in, &block->conv1, block->stride);
    normalise(nn, middle, true);
    convolve(nn, middle, &block->conv2, 1, SP_IDENTITY, out);
    normalise(nn, out, true);
    Map skip = in;
    if (block->skip.w.rank) {
        skip = strided(nn, in, &block->skip, block->stride);
        normalise(nn, skip, false);
    }
    sp_nn_run(nn, map, &(SpMap){out.x, out.h * out.w * out.c, 1, skip.x, 0, SP_RELU, out.x});
    sp_nn_release(nn, mark);
}

void sp_encoder_run(const SpTracker *tracker, SpNn *nn, const float *image, int64_t h, int64_t w,
                    float *features)
{
    const SpEncoder *e = &tracker->encoder;
    const SpNnMark mark = sp_nn_mark(nn);
    Map x = strided(nn, (Map){(float *)(uintptr_t)image, h, w, 3}, &e->conv1, 2);
    normalise(nn, x, true);
    const Map all = {.x = sp_nn_floats(nn, h / 4 * (w / 4) * e->conv2.w.dim[1]),
                     .h = h / 4,
                     .w = w / 4,
                     .c = e->conv2.w.dim[1]};
    int64_t column = 0;
    for (int s = 0; s < SP_TRACK_STAGES; s++) {
        for (int i = 0; i < 2; i++) {
            const SpEncoderBlock *block = &e->block[s][i];
            Map y = {.h = (x.h - 1) / block->stride + 1,
                     .w = (x.w - 1) / block->stride + 1,
                     .c = block->conv2.w.dim[0]};
            y.x = sp_nn_floats(nn, y.h * y.w * y.c);
            residual_block(nn, block, x, y);
            x = y;
        }
        sp_nn_run(nn, resize,
                  &(SpResize){x.x, 1, x.h, x.w, x.c, all.x + column, all.h, all.w, all.c});
        column += x.c;
    }
    const Map mixed = strided(nn, all, &e->conv2, 1);
    normalise(nn, mixed, true);
    convolve(nn, mixed, &e->conv3, 1, SP_IDENTITY,
             (Map){features, mixed.h, mixed.w, tracker->channels});
    sp_nn_run(nn, unit_rows, &(SpUnitRows){features, mixed.h * mixed.w, tracker->channels});
    sp_nn_release(nn, mark);
}
