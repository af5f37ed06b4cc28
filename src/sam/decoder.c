/* The mask decoder (section 6). */
#include <math.h>

#include "sam/internal.h"

static const float EPS = 1e-6f, FINAL_EPS = 1e-5f;

static void norm(SpNn *nn, const SpSamNorm *n, int64_t rows, int64_t width, float eps, float *x)
{
    sp_nn_layer_norm(nn, x, rows, width, n->w, n->b, eps, x);
}

/* y = a + b. */
static void add(SpNn *nn, const float *a, const float *b, int64_t count, float *y)
{
    sp_nn_run(nn, elementwise,
              &(SpElementwise){.x = a, .count = count, .scale = 1, .add = b, .y = y});
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
    const int64_t inner = a->q.w.dim[0], head = inner / sam->decoder.heads;
    const SpNnMark mark = sp_nn_mark(nn);
    float *q = sp_nn_floats(nn, in.nq * inner), *k = sp_nn_floats(nn, in.nk * inner);
    float *v = sp_nn_floats(nn, in.nk * inner);
    sp_nn_linear(nn, in.q, in.nq, a->q.w, a->q.b, SP_IDENTITY, q);
    sp_nn_linear(nn, in.k, in.nk, a->k.w, a->k.b, SP_IDENTITY, k);
    sp_nn_linear(nn, in.v, in.nk, a->v.w, a->v.b, SP_IDENTITY, v);
    sp_nn_run(nn, attention,
              &(SpAttention){.batch = 1,
                             .nq = in.nq,
                             .nk = in.nk,
                             .heads = sam->decoder.heads,
                             .head = head,
                             .scale = 1 / sqrtf((float)head),
                             .q = q,
                             .k = k,
                             .v = v,
                             .q_row = inner,
                             .k_row = inner,
                             .v_row = inner,
                             .y = q,
                             .y_row = inner});
    sp_nn_run(nn, linear,
              &(SpLinear){.x = q,
                          .rows = in.nq,
                          .ldx = inner,
                          .w = a->out.w,
                          .b = a->out.b,
                          .residual = residual,
                          .ldr = sam->width,
                          .y = y,
                          .ldy = sam->width});
    sp_nn_release(nn, mark);
}

SpSamTwoWay sp_sam_two_way_begin(const SpSam *sam, SpNn *nn, const float *embedding,
                                 const float *position, const float *sparse, int64_t count)
{
    const int64_t d = sam->width, grid = sam->vision.grid, first = 1 + SP_SAM_MASKS;
    SpSamTwoWay s = {.tokens = first + count, .pixels = grid * grid, .position = position};
    s.start = sp_nn_floats(nn, s.tokens * d);
    s.t = sp_nn_floats(nn, s.tokens * d);
    s.z = sp_nn_floats(nn, s.pixels * d);
    sp_nn_copy(nn, SP_UPLOAD, s.start, sam->decoder.iou_token, d);
    sp_nn_copy(nn, SP_UPLOAD, s.start + d, sam->decoder.mask_tokens, SP_SAM_MASKS * d);
    sp_nn_copy(nn, SP_UPLOAD, s.start + first * d, sparse, count * d);
    sp_nn_copy(nn, SP_ON_DEVICE, s.t, s.start, s.tokens * d);
    sp_nn_run(nn, elementwise,
              &(SpElementwise){.x = embedding,
                               .count = s.pixels * d,
                               .scale = 1,
                               .add = sam->prompt.no_mask,
                               .period = d,
                               .y = s.z});
    return s;
}

static void mlp(SpNn *nn, const SpSamBlock *block, int64_t rows, int64_t width, float *t)
{
    const SpNnMark mark = sp_nn_mark(nn);
    const int64_t hidden = block->lin1.w.dim[0];
    float *between = sp_nn_floats(nn, rows * hidden);
    sp_nn_linear(nn, t, rows, block->lin1.w, block->lin1.b, SP_RELU, between);
    sp_nn_run(nn, linear,
              &(SpLinear){.x = between,
                          .rows = rows,
                          .ldx = hidden,
                          .w = block->lin2.w,
                          .b = block->lin2.b,
                          .residual = t,
                          .ldr = width,
                          .y = t,
                          .ldy = width});
    sp_nn_release(nn, mark);
}

void sp_sam_two_way_block(const SpSam *sam, SpNn *nn, int64_t index, const SpSamTwoWay *s)
{
    const SpSamBlock *block = &sam->decoder.block[index];
    const int64_t d = sam->width, n = s->tokens, pixels = s->pixels;
    const SpNnMark mark = sp_nn_mark(nn);
    float *tp = sp_nn_floats(nn, n * d), *zp = sp_nn_floats(nn, pixels * d);
    add(nn, s->z, s->position, pixels * d, zp);
    if (index == 0) {
        attend(sam, nn, &block->self, (Rows){s->t, s->t, s->t, n, n}, NULL, s->t);
    } else {
        add(nn, s->t, s->start, n * d, tp);
        attend(sam, nn, &block->self, (Rows){tp, tp, s->t, n, n}, s->t, s->t);
    }
    norm(nn, &block->norm[0], n, d, EPS, s->t);
    add(nn, s->t, s->start, n * d, tp);
    attend(sam, nn, &block->to_image, (Rows){tp, zp, s->z, n, pixels}, s->t, s->t);
    norm(nn, &block->norm[1], n, d, EPS, s->t);
    mlp(nn, block, n, d, s->t);
    norm(nn, &block->norm[2], n, d, EPS, s->t);
    add(nn, s->t, s->start, n * d, tp);
    attend(sam, nn, &block->to_tokens, (Rows){zp, tp, s->t, pixels, n}, s->z, s->z);
    norm(nn, &block->norm[3], pixels, d, EPS, s->z);
    sp_nn_release(nn, mark);
}

void sp_sam_two_way_end(const SpSam *sam, SpNn *nn, const SpSamTwoWay *s)
{
    const int64_t d = sam->width, n = s->tokens, pixels = s->pixels;
    const SpNnMark mark = sp_nn_mark(nn);
    float *tp = sp_nn_floats(nn, n * d), *zp = sp_nn_floats(nn, pixels * d);
    add(nn, s->t, s->start, n * d, tp);
    add(nn, s->z, s->position, pixels * d, zp);
    attend(sam, nn, &sam->decoder.final, (Rows){tp, zp, s->z, n, pixels}, s->t, s->t);
    norm(nn, &sam->decoder.final_norm, n, d, FINAL_EPS, s->t);
    sp_nn_release(nn, mark);
}

int64_t sp_sam_upscaled_width(const SpSam *sam)
{
    return sam->decoder.up2.w.dim[1];
}

/* x [side, side, in] to y [2 side, 2 side, out]. */
static void deconvolve(SpNn *nn, const SpSamDense *layer, int64_t side, const float *x, float *y)
{
    const int64_t in = layer->w.dim[0], out = layer->w.dim[1];
    const SpNnMark mark = sp_nn_mark(nn);
    float *packed = sp_nn_floats(nn, sp_tensor_count(&layer->w));
    sp_nn_run(nn, deconv_pack, &(SpConvPack){layer->w, packed});
    sp_nn_run(nn, deconv, &(SpDeconv){x, 1, side, side, in, packed, out, 2, layer->b, y});
    sp_nn_release(nn, mark);
}

static void gelu(SpNn *nn, float *x, int64_t count)
{
    sp_nn_run(nn, elementwise,
              &(SpElementwise){.x = x, .count = count, .scale = 1, .act = SP_GELU, .y = x});
}

void sp_sam_upscale(const SpSam *sam, SpNn *nn, const float *z, float *out)
{
    const SpSamDecoder *d = &sam->decoder;
    const int64_t grid = sam->vision.grid, middle = d->up1.w.dim[1], pixels = grid * grid;
    const SpNnMark mark = sp_nn_mark(nn);
    float *twice = sp_nn_floats(nn, 4 * pixels * middle);
    deconvolve(nn, &d->up1, grid, z, twice);
    norm(nn, &d->up_norm, 4 * pixels, middle, EPS, twice);
    gelu(nn, twice, 4 * pixels * middle);
    deconvolve(nn, &d->up2, 2 * grid, twice, out);
    gelu(nn, out, 16 * pixels * sp_sam_upscaled_width(sam));
    sp_nn_release(nn, mark);
}

/* One token through a head. */
static void head_run(SpNn *nn, const SpSamHead *head, const float *token, float *out)
{
    const SpNnMark mark = sp_nn_mark(nn);
    const int64_t hidden = head->in.w.dim[0];
    float *x = sp_nn_floats(nn, hidden), *y = sp_nn_floats(nn, hidden);
    sp_nn_linear(nn, token, 1, head->in.w, head->in.b, SP_RELU, x);
    for (int64_t i = 0; i < head->depth; i++) {
        sp_nn_linear(nn, x, 1, head->layer[i].w, head->layer[i].b, SP_RELU, y);
        float *const swap = x;
        x = y;
        y = swap;
    }
    sp_nn_linear(nn, x, 1, head->out.w, head->out.b, SP_IDENTITY, out);
    sp_nn_release(nn, mark);
}

void sp_sam_hyper(const SpSam *sam, SpNn *nn, const float *t, float *out)
{
    for (int64_t m = 0; m < SP_SAM_MASKS; m++)
        head_run(nn, &sam->decoder.hyper[m], t + (1 + m) * sam->width,
                 out + m * sp_sam_upscaled_width(sam));
}

void sp_sam_decode(const SpSam *sam, SpNn *nn, const float *embedding, const float *position,
                   const float *sparse, int64_t count, float *masks, float *iou)
{
    const int64_t width = sp_sam_upscaled_width(sam), grid = sam->vision.grid;
    const int64_t pixels = 16 * grid * grid;
    const SpNnMark mark = sp_nn_mark(nn);
    const SpSamTwoWay s = sp_sam_two_way_begin(sam, nn, embedding, position, sparse, count);
    for (int64_t i = 0; i < sam->decoder.blocks; i++)
        sp_sam_two_way_block(sam, nn, i, &s);
    sp_sam_two_way_end(sam, nn, &s);
    float *upscaled = sp_nn_floats(nn, pixels * width);
    float *hyper = sp_nn_floats(nn, SP_SAM_MASKS * width);
    float *logits = sp_nn_floats(nn, SP_SAM_MASKS * pixels);
    float *scores = sp_nn_floats(nn, SP_SAM_MASKS);
    sp_sam_upscale(sam, nn, s.z, upscaled);
    sp_sam_hyper(sam, nn, s.t, hyper);
    /* The pixels take the weights' place, so that each mask comes out whole. */
    const SpTensor map = {upscaled, SP_F32, 2, {pixels, width}};
    sp_nn_linear(nn, hyper, SP_SAM_MASKS, map, NULL, SP_IDENTITY, logits);
    head_run(nn, &sam->decoder.iou, s.t, scores);
    sp_nn_copy(nn, SP_DOWNLOAD, masks, logits, SP_SAM_MASKS * pixels);
    sp_nn_copy(nn, SP_DOWNLOAD, iou, scores, SP_SAM_MASKS);
    sp_nn_release(nn, mark);
}
