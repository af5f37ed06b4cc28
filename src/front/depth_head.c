#include <math.h>
#include <stddef.h>

#include "base/minmax.h"
#include "front/internal.h"
#include "nn/dump.h"
#include "nn/stream.h"

/* Frames that a card with memory to spare takes at a time: the coarsest maps of one fill a tenth of
 * its multiprocessors. */
enum { TOGETHER = 4 };

static void resize(SpNn *nn, SpFeatureMap x, SpFeatureMap y)
{
    sp_nn_run(nn, resize, &(SpResize){x.x, x.n, x.h, x.w, x.c, y.x, y.h, y.w, y.c});
}

static int64_t count_of(SpFeatureMap x)
{
    return x.n * x.h * x.w * x.c;
}

/* y = conv(x), without stride. */
static void convolve(SpNn *nn, SpFeatureMap x, const SpConvWeights *conv, SpFeatureMap y)
{
    sp_nn_convolve(nn, x, conv, 1, SP_IDENTITY, NULL, y);
}

_Static_assert(offsetof(SpDepthHead, output2b) ==
                   offsetof(SpDepthHead, all[SP_DEPTH_CONVOLUTIONS - 1]),
               "the list holds every convolution");

void sp_residual_unit_run(SpNn *nn, const SpResidualUnit *unit, SpFeatureMap x)
{
    SP_NN_SCOPE(nn);
    const SpFeatureMap middle = sp_nn_feature_map(nn, x.n, x.h, x.w, x.c);
    sp_nn_run(nn, elementwise, &(SpElementwise){x.x, count_of(x), 1, NULL, 0, SP_RELU, x.x});
    sp_nn_convolve(nn, x, &unit->conv1, 1, SP_RELU, NULL, middle);
    sp_nn_convolve(nn, middle, &unit->conv2, 1, SP_IDENTITY, x.x, x);
}

/* Half a UV embedding (src/front/README.md, "UV embedding"): device [count, half] for positions
 * evenly from -max to max (max = span (count - 1) / count): first half / 2 columns sines, then
 * cosines, times the ratio. */
static const float *uv_axis(const SpDepthHead *head, SpNn *nn, int64_t count, double span,
                            int64_t half)
{
    const int64_t quarter = half / 2;
    const double max = span * (double)(count - 1) / (double)count;
    const double step = count > 1 ? 2 * max / (double)(count - 1) : 0;
    float *axis = sp_nn_alloc(nn, count * half);
    SP_NN_SCOPE(nn);
    float *host = sp_nn_host_floats(nn, count * half);
    for (int64_t i = 0; sp_nn_live(nn) && i < count; i++) {
        const double at = (double)(float)(-max + step * (double)i);
        for (int64_t m = 0; m < quarter; m++) {
            const double angle = at * pow((double)head->uv_base, -(double)m / (double)quarter);
            host[i * half + m] = (float)sin(angle) * head->uv_ratio;
            host[i * half + quarter + m] = (float)cos(angle) * head->uv_ratio;
        }
    }
    sp_nn_copy(nn, SP_UPLOAD, axis, host, count * half);
    return axis;
}

SpUvTables sp_uv_tables(const SpFront *front, SpNn *nn, const SpFrontDims *dims, int64_t h,
                        int64_t w, int64_t c)
{
    const double aspect = (double)dims->width / (double)dims->height;
    const double diagonal = sqrt(aspect * aspect + 1);
    const float *u = uv_axis(&front->dpt, nn, w, aspect / diagonal, c / 2);
    return (SpUvTables){u, uv_axis(&front->dpt, nn, h, 1 / diagonal, c / 2)};
}

void sp_uv_add(SpNn *nn, SpUvTables uv, SpFeatureMap x)
{
    sp_nn_run(nn, axis_add, &(SpAxisAdd){x.x, x.n, x.h, x.w, x.c, uv.u, uv.v});
}

SpDepthHead sp_depth_head_pack(const SpFront *front, SpNn *nn, const SpFrontDims *dims)
{
    SpDepthHead head = front->dpt;
    for (int i = 0; i < SP_DEPTH_CONVOLUTIONS; i++)
        if (head.all[i].w.rank)
            sp_nn_conv_alloc(nn, &head.all[i]);
    for (int k = 0; k < SP_FRONT_TAPS; k++)
        head.uv[k] = sp_uv_tables(front, nn, dims, dims->gh, dims->gw, head.project[k].w.dim[0]);
    head.uv_full = sp_uv_tables(front, nn, dims, dims->height, dims->width, head.output1.w.dim[0]);
    SP_NN_SCOPE(nn);
    SpStream weights = sp_stream_load(nn, head.convolutions, 1);
    for (int i = 0; i < SP_DEPTH_CONVOLUTIONS; i++)
        if (head.all[i].w.rank)
            sp_nn_conv_fill(nn, &head.all[i]);
    sp_stream_end(nn, &weights);
    return head;
}

/* Step 1: a tap's tokens as the k-th maps of the pyramid, before layer_rn, into `out`. */
static void pyramid(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                    const SpDepthHead *head, const float *tap, int k, SpFeatureMap out)
{
    const int64_t width = front->width, rows = out.n * dims->patches;
    const int64_t plane = dims->frames * dims->patches * width;
    SP_NN_SCOPE(nn);
    SpFeatureMap tokens = sp_nn_feature_map(nn, out.n, dims->gh, dims->gw, 2 * width);
    const SpFeatureMap projected =
        k == 2 ? out : sp_nn_feature_map(nn, out.n, dims->gh, dims->gw, head->project[k].w.dim[0]);
    for (int64_t half = 0; half < 2; half++)
        sp_nn_copy_rows(nn, nn->plan.taps_on_device ? SP_ON_DEVICE : SP_UPLOAD,
                        tokens.x + half * width, 2 * width, tap + half * plane, width, width, rows);
    sp_norm_run(nn, &head->norm, tokens.x, rows, tokens.x);
    sp_nn_dump(nn, tokens.x, 2, SP_DIMS(rows, 2 * width), "front/dpt/norm%d", k);
    convolve(nn, tokens, &head->project[k], projected);
    sp_nn_dump_map(nn, projected, "front/dpt/project%d", k);
    sp_uv_add(nn, head->uv[k], projected);
    if (k < 2)
        sp_nn_deconvolve(nn, projected, &head->resize[k], out);
    if (k == 3)
        sp_nn_convolve(nn, projected, &head->resize[k], 2, SP_IDENTITY, NULL, out);
    sp_nn_dump_map(nn, out, "front/dpt/resize%d", k);
}

/* out_convK(A(RCU2(x), size of `to`)), the 1x1 convolution first: it commutes with A. */
static void fuse(SpNn *nn, const SpDepthHead *head, int k, SpFeatureMap x, SpFeatureMap to)
{
    SP_NN_SCOPE(nn);
    const SpFeatureMap mixed = sp_nn_feature_map(nn, x.n, x.h, x.w, x.c);
    sp_residual_unit_run(nn, &head->unit2[k], x);
    convolve(nn, x, &head->out_conv[k], mixed);
    resize(nn, mixed, to);
    sp_nn_dump_map(nn, to, "front/dpt/fuse%d", k + 1);
}

/* Steps 4 to 7: the fused maps [n, 8 gh, 8 gw] to depth and confidence of the images. */
static void finish(SpNn *nn, const SpFrontDims *dims, const SpDepthHead *head, SpFeatureMap fused,
                   const SpDepthFrames *frames)
{
    const int64_t n = fused.n, pixels = n * dims->height * dims->width;
    SP_NN_SCOPE(nn);
    const SpFeatureMap full =
        sp_nn_feature_map(nn, n, dims->height, dims->width, head->output1.w.dim[0]);
    const SpFeatureMap small = sp_nn_feature_map(nn, n, fused.h, fused.w, full.c);
    convolve(nn, fused, &head->output1, small);
    sp_nn_dump_map(nn, small, "front/dpt/conv1");
    resize(nn, small, full);
    sp_uv_add(nn, head->uv_full, full);
    const SpFeatureMap hidden = sp_nn_feature_map(nn, n, full.h, full.w, head->output2a.w.dim[0]);
    const SpFeatureMap out = sp_nn_feature_map(nn, n, full.h, full.w, 2);
    sp_nn_convolve(nn, full, &head->output2a, 1, SP_RELU, NULL, hidden);
    convolve(nn, hidden, &head->output2b, out);
    sp_nn_dump_map(nn, out, "front/dpt/before_activation");
    /* `full` has been read. */
    float *maps[2] = {full.x, full.x + pixels};
    const int64_t *shape = SP_DIMS(dims->height, dims->width);
    sp_nn_run(nn, depth_activation, &(SpDepthActivation){out.x, pixels, maps[0], maps[1]});
    for (int64_t i = 0, image = pixels / n; i < n; i++) {
        float *depth = nn->dry ? NULL : frames->depth + i * image;
        float *confidence = nn->dry ? NULL : frames->confidence + i * image;
        sp_nn_copy(nn, SP_DOWNLOAD_LATER, depth, maps[0] + i * image, image);
        sp_nn_copy(nn, SP_DOWNLOAD_LATER, confidence, maps[1] + i * image, image);
    }
    sp_nn_dump(nn, maps[0], 2, shape, "front/dpt/depth");
    sp_nn_dump(nn, maps[1], 2, shape, "front/dpt/conf");
}

int64_t sp_depth_head_frames(const SpNn *nn, const SpFrontDims *dims)
{
    return nn->plan.roomy && !nn->dump ? sp_min(TOGETHER, dims->frames) : 1;
}

void sp_depth_head_run(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                       const SpDepthHead *head, const SpDepthFrames *frames)
{
    const int64_t n = frames->count, gh = dims->gh, gw = dims->gw, c = head->layer_rn[0].w.dim[0];
    const int64_t rows[SP_FRONT_TAPS] = {4 * gh, 2 * gh, gh, (gh + 1) / 2};
    const int64_t columns[SP_FRONT_TAPS] = {4 * gw, 2 * gw, gw, (gw + 1) / 2};
    SP_NN_SCOPE(nn);
    const SpFeatureMap fused = sp_nn_feature_map(nn, n, 8 * gh, 8 * gw, c);
    SpFeatureMap r[SP_FRONT_TAPS], o = {0};
    for (int k = 0; k < SP_FRONT_TAPS; k++) {
        r[k] = sp_nn_feature_map(nn, n, rows[k], columns[k], c);
        SP_NN_SCOPE(nn);
        const SpFeatureMap from =
            sp_nn_feature_map(nn, n, rows[k], columns[k], head->project[k].w.dim[0]);
        pyramid(front, nn, dims, head, frames->tap[k], k, from);
        convolve(nn, from, &head->layer_rn[k], r[k]);
        sp_nn_dump_map(nn, r[k], "front/dpt/rn%d", k);
    }
    for (int k = SP_FRONT_TAPS - 1; k >= 0; k--) {
        SpFeatureMap x = r[k];
        if (k < SP_FRONT_TAPS - 1) {
            sp_residual_unit_run(nn, &head->unit1[k], x);
            sp_nn_run(nn, elementwise,
                      &(SpElementwise){x.x, count_of(x), 1, o.x, 0, SP_IDENTITY, x.x});
        }
        o = k ? sp_nn_feature_map(nn, n, r[k - 1].h, r[k - 1].w, c) : fused;
        fuse(nn, head, k, x, o);
    }
    finish(nn, dims, head, fused, frames);
}
