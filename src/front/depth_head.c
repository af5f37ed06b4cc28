#include <math.h>

#include "front/internal.h"
#include "nn/stream.h"

static void resize(SpNn *nn, SpFeatureMap x, SpFeatureMap y)
{
    sp_nn_run(nn, resize, &(SpResize){x.x, 1, x.h, x.w, x.c, y.x, y.h, y.w, y.c});
}

/* Weights and where they go in the device's order. */
typedef struct Packing {
    const SpTensor *w;
    float **packed;
    bool transposed;
} Packing;

enum { MOST_PACKINGS = 32 };

typedef struct Packings {
    Packing item[MOST_PACKINGS];
    int count;
} Packings;

static void add(Packings *all, const SpConvWeights *conv, float **packed, bool transposed)
{
    all->item[all->count++] = (Packing){&conv->w, packed, transposed};
}

static void add_unit(Packings *all, const SpResidualUnit *unit, SpPackedUnit *packed)
{
    add(all, &unit->conv1, &packed->conv1, false);
    add(all, &unit->conv2, &packed->conv2, false);
}

static void list(const SpDepthHead *head, SpPackedDepthHead *p, Packings *all)
{
    for (int k = 0; k < SP_FRONT_TAPS; k++) {
        add(all, &head->project[k], &p->project[k], false);
        add(all, &head->layer_rn[k], &p->layer_rn[k], false);
        if (k != 2)
            add(all, &head->resize[k], &p->resize[k], k < 2);
        if (k < 3)
            add_unit(all, &head->unit1[k], &p->unit1[k]);
        add_unit(all, &head->unit2[k], &p->unit2[k]);
        add(all, &head->out_conv[k], &p->out_conv[k], false);
    }
    add(all, &head->output1, &p->output1, false);
    add(all, &head->output2a, &p->output2a, false);
    add(all, &head->output2b, &p->output2b, false);
}

SpPackedDepthHead sp_depth_head_pack(const SpFront *front, SpNn *nn)
{
    SpPackedDepthHead p = {0};
    Packings all = {.count = 0};
    list(&front->dpt, &p, &all);
    for (int i = 0; i < all.count; i++)
        *all.item[i].packed = sp_nn_alloc(nn, sp_tensor_count(all.item[i].w));
    const SpNnMark mark = sp_nn_mark(nn);
    SpStream weights = sp_stream_load(nn, front->dpt.convolutions, 1);
    for (int i = 0; i < all.count; i++) {
        const SpConvPack pack = {*all.item[i].w, *all.item[i].packed};
        if (all.item[i].transposed)
            sp_nn_run(nn, deconv_pack, &pack);
        else
            sp_nn_run(nn, conv_pack, &pack);
    }
    sp_stream_end(nn, &weights);
    sp_nn_release(nn, mark);
    return p;
}

void sp_residual_unit_run(SpNn *nn, const SpResidualUnit *unit, const SpPackedUnit *packed,
                          int64_t h, int64_t w, float *x)
{
    const SpNnMark mark = sp_nn_mark(nn);
    const SpFeatureMap in = {x, h, w, unit->conv1.w.dim[0]},
                       middle = sp_nn_feature_map(nn, h, w, in.c);
    sp_nn_run(nn, map, &(SpMap){x, h * w * in.c, 1, NULL, 0, SP_RELU, x});
    sp_nn_convolve(nn, in, &unit->conv1, packed->conv1, 1, SP_RELU, NULL, middle);
    sp_nn_convolve(nn, middle, &unit->conv2, packed->conv2, 1, SP_IDENTITY, x, in);
    sp_nn_release(nn, mark);
}

void sp_uv_add(const SpFront *front, SpNn *nn, const SpFrontDims *dims, int64_t h, int64_t w,
               int64_t c, float *x)
{
    const double aspect = (double)dims->width / (double)dims->height;
    const double diagonal = sqrt(aspect * aspect + 1);
    const int64_t half = c / 2;
    const SpNnMark mark = sp_nn_mark(nn);
    float *u = sp_nn_alloc(nn, w * half), *v = sp_nn_alloc(nn, h * half);
    float *host = sp_nn_alloc_host(nn, (size_t)((w > h ? w : h) * half) * sizeof *host);
    if (sp_nn_live(nn)) {
        const double base = (double)front->dpt.uv_base, ratio = (double)front->dpt.uv_ratio;
        sp_uv_axis(w, aspect / diagonal, half, base, ratio, host);
        sp_nn_copy(nn, SP_UPLOAD, u, host, w * half);
        sp_uv_axis(h, 1 / diagonal, half, base, ratio, host);
        sp_nn_copy(nn, SP_UPLOAD, v, host, h * half);
        sp_nn_run(nn, axis_add, &(SpAxisAdd){x, h, w, c, u, v});
    }
    sp_nn_release(nn, mark);
}

/* Step 1 of section 7: a tap's tokens as the k-th map of the pyramid, before layer_rn. */
static SpFeatureMap pyramid(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                            const SpPackedDepthHead *packed, const float *tap, int64_t plane, int k,
                            SpFeatureMap out)
{
    const SpDepthHead *head = &front->dpt;
    const int64_t width = front->width, n = dims->patches;
    const SpNnMark mark = sp_nn_mark(nn);
    SpFeatureMap tokens = sp_nn_feature_map(nn, dims->gh, dims->gw, 2 * width);
    const SpFeatureMap projected =
        k == 2 ? out : sp_nn_feature_map(nn, dims->gh, dims->gw, head->project[k].w.dim[0]);
    for (int64_t half = 0; half < 2; half++)
        sp_nn_copy_rows(nn, nn->plan.taps_on_device ? SP_ON_DEVICE : SP_UPLOAD,
                        tokens.x + half * width, 2 * width, tap + half * plane, width, width, n);
    sp_nn_layer_norm(nn, tokens.x, n, tokens.c, head->norm_w, head->norm_b, head->eps, tokens.x);
    sp_nn_convolve(nn, tokens, &head->project[k], packed->project[k], 1, SP_IDENTITY, NULL,
                   projected);
    sp_uv_add(front, nn, dims, projected.h, projected.w, projected.c, projected.x);
    if (k < 2)
        sp_nn_run(nn, deconv,
                  &(SpDeconv){projected.x, 1, projected.h, projected.w, projected.c,
                              packed->resize[k], projected.c, out.h / projected.h,
                              head->resize[k].b, out.x});
    if (k == 3)
        sp_nn_convolve(nn, projected, &head->resize[k], packed->resize[k], 2, SP_IDENTITY, NULL,
                       out);
    sp_nn_release(nn, mark);
    return out;
}

/* out_convK(A(RCU2(x), size of `to`)), the 1x1 convolution first: it commutes with A. */
static void fuse(const SpFront *front, SpNn *nn, const SpPackedDepthHead *packed, int k,
                 SpFeatureMap x, SpFeatureMap to)
{
    const SpDepthHead *head = &front->dpt;
    const SpNnMark mark = sp_nn_mark(nn);
    const SpFeatureMap mixed = sp_nn_feature_map(nn, x.h, x.w, x.c);
    sp_residual_unit_run(nn, &head->unit2[k], &packed->unit2[k], x.h, x.w, x.x);
    sp_nn_convolve(nn, x, &head->out_conv[k], packed->out_conv[k], 1, SP_IDENTITY, NULL, mixed);
    resize(nn, mixed, to);
    sp_nn_release(nn, mark);
}

/* Steps 4 to 7: the fused map [8 gh, 8 gw] to depth and confidence of the image. */
static void finish(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                   const SpPackedDepthHead *packed, SpFeatureMap fused, float *depth,
                   float *confidence)
{
    const SpDepthHead *head = &front->dpt;
    const int64_t pixels = dims->height * dims->width;
    const SpNnMark mark = sp_nn_mark(nn);
    const SpFeatureMap full =
        sp_nn_feature_map(nn, dims->height, dims->width, head->output1.w.dim[0]);
    const SpFeatureMap small = sp_nn_feature_map(nn, fused.h, fused.w, full.c);
    sp_nn_convolve(nn, fused, &head->output1, packed->output1, 1, SP_IDENTITY, NULL, small);
    resize(nn, small, full);
    sp_uv_add(front, nn, dims, full.h, full.w, full.c, full.x);
    const SpFeatureMap hidden = sp_nn_feature_map(nn, full.h, full.w, head->output2a.w.dim[0]);
    const SpFeatureMap out = sp_nn_feature_map(nn, full.h, full.w, 2);
    float *host = sp_nn_alloc_host(nn, (size_t)(2 * pixels) * sizeof *host);
    sp_nn_convolve(nn, full, &head->output2a, packed->output2a, 1, SP_RELU, NULL, hidden);
    sp_nn_convolve(nn, hidden, &head->output2b, packed->output2b, 1, SP_IDENTITY, NULL, out);
    sp_nn_copy(nn, SP_DOWNLOAD, host, out.x, 2 * pixels);
    for (int64_t p = 0; sp_nn_live(nn) && p < pixels; p++) {
        depth[p] = expf(host[2 * p]);
        confidence[p] = 1 / (1 + expf(-host[2 * p + 1]));
    }
    sp_nn_release(nn, mark);
}

void sp_depth_head_frame(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                         const SpPackedDepthHead *packed, const float *const tap[SP_FRONT_TAPS],
                         int64_t plane, float *depth, float *confidence)
{
    const SpDepthHead *head = &front->dpt;
    const int64_t gh = dims->gh, gw = dims->gw, c = head->layer_rn[0].w.dim[0];
    const int64_t rows[SP_FRONT_TAPS] = {4 * gh, 2 * gh, gh, (gh + 1) / 2};
    const int64_t columns[SP_FRONT_TAPS] = {4 * gw, 2 * gw, gw, (gw + 1) / 2};
    const SpNnMark mark = sp_nn_mark(nn);
    const SpFeatureMap fused = sp_nn_feature_map(nn, 8 * gh, 8 * gw, c);
    SpFeatureMap r[SP_FRONT_TAPS], o = {0};
    for (int k = 0; k < SP_FRONT_TAPS; k++) {
        r[k] = sp_nn_feature_map(nn, rows[k], columns[k], c);
        const SpNnMark inner = sp_nn_mark(nn);
        const SpFeatureMap from =
            pyramid(front, nn, dims, packed, tap[k], plane, k,
                    sp_nn_feature_map(nn, rows[k], columns[k], head->project[k].w.dim[0]));
        sp_nn_convolve(nn, from, &head->layer_rn[k], packed->layer_rn[k], 1, SP_IDENTITY, NULL,
                       r[k]);
        sp_nn_release(nn, inner);
    }
    for (int k = SP_FRONT_TAPS - 1; k >= 0; k--) {
        SpFeatureMap x = r[k];
        if (k < SP_FRONT_TAPS - 1) {
            sp_residual_unit_run(nn, &head->unit1[k], &packed->unit1[k], x.h, x.w, x.x);
            sp_nn_run(nn, map, &(SpMap){x.x, x.h * x.w * x.c, 1, o.x, 0, SP_IDENTITY, x.x});
        }
        o = k ? sp_nn_feature_map(nn, r[k - 1].h, r[k - 1].w, c) : fused;
        fuse(front, nn, packed, k, x, o);
    }
    finish(front, nn, dims, packed, fused, depth, confidence);
    sp_nn_release(nn, mark);
}
