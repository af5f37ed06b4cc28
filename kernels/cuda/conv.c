/*
 * Convolutions: by cuDNN, or as linear layers over gathered rows. Transposed convolutions: the
 * products of some pixels with all taps, then each tap's to its place.
 */
#include "base/minmax.h"
#include "kernels/cuda/libraries.h"

enum {
    MAX_ROWS = 8 * SP_ROW_TILE,
    TILE_BYTES = 24 << 20 /* of a transposed convolution's products at a time */
};

/* Of one image's result. */
static int64_t pixels_of(const SpConv2d *a)
{
    return ((a->h + 2 * a->pad - a->kh) / a->stride + 1) *
           ((a->w + 2 * a->pad - a->kw) / a->stride + 1);
}

static void by_linear(SpCuda *cuda, const SpConv2d *a)
{
    const SpLinear rows = sp_conv2d_linear(a, a->n * pixels_of(a));
    sp_cuda_linear_rows(cuda, &rows, sp_conv2d_pointwise(a) ? NULL : a);
}

/* cuDNN writes dense results: directly into y where y is dense, else through the scratch, as many
 * images together as fit it. */
static bool by_library(SpCuda *cuda, const SpConv2d *a)
{
    const int64_t pixels = pixels_of(a);
    const bool direct = a->ldy == a->cout && a->residual != a->y;
    const size_t bytes = (size_t)(pixels * a->cout) * sizeof(float);
    if (sp_conv2d_pointwise(a) || cuda->own_kernels || cuda->format != SP_F32 ||
        (!direct && bytes > SP_CUDA_SCRATCH / 2))
        return false;
    const int64_t together = direct ? a->n : sp_min(a->n, SP_CUDA_SCRATCH / 2 / (int64_t)bytes);
    const size_t mark = cuda->scratch_used;
    float *tile = direct ? NULL : sp_cuda_scratch(cuda, (size_t)together * bytes);
    bool done = true;
    for (int64_t i = 0; i < a->n && done && sp_cuda_live(cuda); i += together) {
        SpConv2d images = *a;
        float *y = a->y + i * pixels * a->ldy;
        images.n = sp_min(together, a->n - i);
        images.x += i * a->h * a->w * a->ldx;
        images.b = images.residual = NULL;
        images.act = SP_IDENTITY;
        images.y = direct ? y : tile;
        images.ldy = a->cout;
        done = sp_cuda_dnn_conv(cuda, &images, by_linear);
        if (done)
            sp_cuda_epilogue(
                cuda,
                &(SpEpilogue){.x = images.y,
                              .rows = images.n * pixels,
                              .width = a->cout,
                              .ldx = a->cout,
                              .b = a->b,
                              .act = a->act,
                              .residual = a->residual ? a->residual + i * pixels * a->cout : NULL,
                              .ldr = a->cout,
                              .y = y,
                              .ldy = a->ldy});
    }
    cuda->scratch_used = mark;
    return done;
}

void sp_cuda_conv2d(SpDevice *device, const SpConv2d *a)
{
    SpCuda *cuda = sp_cuda(device);
    if (sp_cuda_live(cuda) && !by_library(cuda, a))
        by_linear(cuda, a);
}

void sp_cuda_deconv(SpDevice *device, const SpDeconv *a)
{
    SpCuda *cuda = sp_cuda(device);
    const int64_t pixels = a->n * a->h * a->w, outs = a->s * a->s * a->cout;
    const int64_t fit = TILE_BYTES / (outs * (int64_t)sizeof(float)) / SP_ROW_TILE * SP_ROW_TILE;
    const int64_t step = sp_min(MAX_ROWS, fit > 0 ? fit : SP_ROW_TILE);
    float *tile = sp_cuda_scratch(cuda, (size_t)(sp_min(step, pixels) * outs) * sizeof *tile);
    for (int64_t first = 0; first < pixels && sp_cuda_live(cuda); first += step) {
        const int64_t m = sp_min(step, pixels - first);
        sp_cuda_linear_rows(cuda,
                            &(SpLinear){.x = a->x + first * a->cin,
                                        .rows = m,
                                        .ldx = a->cin,
                                        .w = {.data = a->packed, .rank = 2, .dim = {outs, a->cin}},
                                        .y = tile,
                                        .ldy = outs},
                            NULL);
        sp_cuda_scatter(cuda, a, first, m, tile);
    }
    cuda->scratch_used = 0;
}
