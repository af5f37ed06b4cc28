/* src/sam/README.md, "Mask decoder". */
#include "nn/dump.h"
#include "sam/internal.h"

/* y = a + b. */
static void add(SpNn *nn, const float *a, const float *b, int64_t count, float *y)
{
    sp_nn_run(nn, elementwise, &(SpElementwise){a, count, 1, b, 0, SP_IDENTITY, y});
}

/* Rows of D values: queries [nq], keys and values [nk]. */
typedef struct Rows {
    const float *q, *k, *v;
    int64_t nq, nk;
} Rows;

/* y = residual + out(attention); y may be residual (NULL: none) or one of the inputs. */
static void attend(const SpSam *sam, SpNn *nn, const SpSamAttention *a, Rows in,
                   const float *residual, float *y)
{
    const int64_t inner = a->q.w.dim[0];
    SP_NN_SCOPE(nn);
    float *q = sp_nn_alloc(nn, in.nq * inner), *k = sp_nn_alloc(nn, in.nk * inner);
    float *v = sp_nn_alloc(nn, in.nk * inner);
    sp_dense_run(nn, &a->q, in.q, in.nq, SP_IDENTITY, q);
    sp_dense_run(nn, &a->k, in.k, in.nk, SP_IDENTITY, k);
    sp_dense_run(nn, &a->v, in.v, in.nk, SP_IDENTITY, v);
    sp_attention_run(nn, sam->decoder.heads, inner,
                     (SpAttention){1, in.nq, in.nk, .q = q, .q_row = inner, .k = k, .k_row = inner,
                                   .v = v, .y = q});
    sp_dense_call(nn, &a->out, (SpLinear){.x = q, .rows = in.nq, .residual = residual, .y = y});
}

/* The two-way transformer's state; device arrays. */
typedef struct TwoWay {
    int64_t tokens, pixels;
    const float *position; /* [pixels, D] of the image */
    float *first;          /* [tokens, D] the tokens as they were: also their position term */
    float *t, *z;          /* [tokens, D], [pixels, D] */
} TwoWay;

static TwoWay two_way_begin(const SpSam *sam, SpNn *nn, const SpSamDecoding *in)
{
    const int64_t d = sam->width, grid = sam->vision.grid, special = 1 + SP_SAM_MASKS;
    TwoWay s = {.tokens = special + in->count, .pixels = grid * grid, .position = in->position};
    s.first = sp_nn_alloc(nn, s.tokens * d);
    s.t = sp_nn_alloc(nn, s.tokens * d);
    s.z = sp_nn_alloc(nn, s.pixels * d);
    sp_nn_copy(nn, SP_UPLOAD, s.first, sam->decoder.iou_token, d);
    sp_nn_copy(nn, SP_UPLOAD, s.first + d, sam->decoder.mask_tokens, SP_SAM_MASKS * d);
    sp_nn_copy(nn, SP_UPLOAD, s.first + special * d, in->sparse, in->count * d);
    sp_nn_copy(nn, SP_ON_DEVICE, s.t, s.first, s.tokens * d);
    sp_nn_run(
        nn, elementwise,
        &(SpElementwise){in->embedding, s.pixels * d, 1, sam->prompt.no_mask, d, SP_IDENTITY, s.z});
    return s;
}

static void two_way_block(const SpSam *sam, SpNn *nn, int64_t index, const TwoWay *s)
{
    const SpSamBlock *block = &sam->decoder.block[index];
    const int64_t d = sam->width, n = s->tokens, pixels = s->pixels;
    SP_NN_SCOPE(nn);
    float *tp = sp_nn_alloc(nn, n * d), *zp = sp_nn_alloc(nn, pixels * d);
    add(nn, s->z, s->position, pixels * d, zp);
    if (index == 0) {
        attend(sam, nn, &block->self, (Rows){s->t, s->t, s->t, n, n}, NULL, s->t);
    } else {
        add(nn, s->t, s->first, n * d, tp);
        attend(sam, nn, &block->self, (Rows){tp, tp, s->t, n, n}, s->t, s->t);
    }
    sp_norm_run(nn, &block->norm[0], s->t, n, s->t);
    add(nn, s->t, s->first, n * d, tp);
    attend(sam, nn, &block->to_image, (Rows){tp, zp, s->z, n, pixels}, s->t, s->t);
    sp_norm_run(nn, &block->norm[1], s->t, n, s->t);
    sp_mlp_add(nn, &block->mlp, NULL, NULL, s->t, n, n);
    sp_norm_run(nn, &block->norm[2], s->t, n, s->t);
    add(nn, s->t, s->first, n * d, tp);
    attend(sam, nn, &block->to_tokens, (Rows){zp, tp, s->t, pixels, n}, s->z, s->z);
    sp_norm_run(nn, &block->norm[3], s->z, pixels, s->z);
    sp_nn_dump(nn, s->t, 2, SP_DIMS(n, d), "sam/decoder/block%d.tokens", (int)index);
    sp_nn_dump(nn, s->z, 2, SP_DIMS(pixels, d), "sam/decoder/block%d.image", (int)index);
}

static void two_way_end(const SpSam *sam, SpNn *nn, const TwoWay *s)
{
    const int64_t d = sam->width, n = s->tokens, pixels = s->pixels;
    SP_NN_SCOPE(nn);
    float *tp = sp_nn_alloc(nn, n * d), *zp = sp_nn_alloc(nn, pixels * d);
    add(nn, s->t, s->first, n * d, tp);
    add(nn, s->z, s->position, pixels * d, zp);
    attend(sam, nn, &sam->decoder.final, (Rows){tp, zp, s->z, n, pixels}, s->t, s->t);
    sp_norm_run(nn, &sam->decoder.final_norm, s->t, n, s->t);
    sp_nn_dump(nn, s->t, 2, SP_DIMS(n, d), "sam/decoder/tokens");
}

static void deconvolve(SpNn *nn, const SpConvWeights *conv, SpFeatureMap x, SpFeatureMap y)
{
    SP_NN_SCOPE(nn);
    const SpConvWeights packed = sp_nn_conv_pack(nn, conv);
    sp_nn_deconvolve(nn, x, &packed, y);
}

static void gelu(SpNn *nn, SpFeatureMap x)
{
    sp_nn_run(nn, elementwise, &(SpElementwise){x.x, x.h * x.w * x.c, 1, NULL, 0, SP_GELU, x.x});
}

/* z [G, G, D] to out [4G, 4G, U]. */
static void upscale(const SpSam *sam, SpNn *nn, const float *z, float *out)
{
    const SpSamDecoder *d = &sam->decoder;
    const int64_t grid = sam->vision.grid;
    const SpFeatureMap image = {(float *)(uintptr_t)z, 1, grid, grid, sam->width};
    const SpFeatureMap upscaled = {out, 1, 4 * grid, 4 * grid, sam->decoder.up2.w.dim[1]};
    SP_NN_SCOPE(nn);
    const SpFeatureMap twice = sp_nn_feature_map(nn, 1, 2 * grid, 2 * grid, d->up1.w.dim[1]);
    deconvolve(nn, &d->up1, image, twice);
    sp_norm_run(nn, &d->up_norm, twice.x, twice.h * twice.w, twice.x);
    gelu(nn, twice);
    deconvolve(nn, &d->up2, twice, upscaled);
    gelu(nn, upscaled);
    sp_nn_dump_map(nn, upscaled, "sam/decoder/upscaled");
}

/* One token through a head. */
static void head_run(SpNn *nn, const SpSamHead *head, const float *token, float *out)
{
    SP_NN_SCOPE(nn);
    const int64_t hidden = head->in.w.dim[0];
    float *x = sp_nn_alloc(nn, hidden), *y = sp_nn_alloc(nn, hidden);
    sp_dense_run(nn, &head->in, token, 1, SP_RELU, x);
    for (int64_t i = 0; i < head->depth; i++) {
        sp_dense_run(nn, &head->layer[i], x, 1, SP_RELU, y);
        float *const swap = x;
        x = y;
        y = swap;
    }
    sp_dense_run(nn, &head->out, x, 1, SP_IDENTITY, out);
}

/* The final tokens to out [4, U]. */
static void hypernetworks(const SpSam *sam, SpNn *nn, const float *t, float *out)
{
    const int64_t width = sam->decoder.up2.w.dim[1];
    for (int64_t m = 0; m < SP_SAM_MASKS; m++)
        head_run(nn, &sam->decoder.hyper[m], t + (1 + m) * sam->width, out + m * width);
    sp_nn_dump(nn, out, 2, SP_DIMS(SP_SAM_MASKS, width), "sam/decoder/hyper");
}

void sp_sam_decode(const SpSam *sam, SpNn *nn, const SpSamDecoding *in, float *masks, float *iou)
{
    const int64_t width = sam->decoder.up2.w.dim[1], side = 4 * sam->vision.grid;
    const int64_t pixels = side * side;
    SP_NN_SCOPE(nn);
    sp_nn_dump_host(nn, in->sparse, 2, SP_DIMS(in->count, sam->width), "sam/decoder/sparse");
    const TwoWay s = two_way_begin(sam, nn, in);
    for (int64_t i = 0; i < sam->decoder.blocks; i++)
        two_way_block(sam, nn, i, &s);
    two_way_end(sam, nn, &s);
    float *upscaled = sp_nn_alloc(nn, pixels * width);
    float *hyper = sp_nn_alloc(nn, SP_SAM_MASKS * width);
    float *logits = sp_nn_alloc(nn, SP_SAM_MASKS * pixels);
    float *scores = sp_nn_alloc(nn, SP_SAM_MASKS);
    upscale(sam, nn, s.z, upscaled);
    hypernetworks(sam, nn, s.t, hyper);
    /* The pixels take the weights' place, so that each mask comes out whole. */
    const SpDense map = {.w = {upscaled, SP_F32, 2, {pixels, width}}};
    sp_dense_run(nn, &map, hyper, SP_SAM_MASKS, SP_IDENTITY, logits);
    head_run(nn, &sam->decoder.iou, s.t, scores);
    sp_nn_copy(nn, SP_DOWNLOAD, masks, logits, SP_SAM_MASKS * pixels);
    sp_nn_copy(nn, SP_DOWNLOAD, iou, scores, SP_SAM_MASKS);
    sp_nn_dump_host(nn, masks, 3, SP_DIMS(1, side, side), "sam/decoder/single_mask");
    sp_nn_dump_host(nn, masks + pixels, 3, SP_DIMS(SP_SAM_MASKS - 1, side, side),
                    "sam/decoder/masks");
    sp_nn_dump_host(nn, iou, 1, SP_DIMS(1), "sam/decoder/single_iou");
    sp_nn_dump_host(nn, iou + 1, 1, SP_DIMS(SP_SAM_MASKS - 1), "sam/decoder/iou");
}
