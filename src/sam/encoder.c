/* The vision encoder (section 4). */
#include <math.h>

#include "nn/stream.h"
#include "sam/internal.h"

static const float EPS = 1e-6f;

/* Tokens that go through the norm and the MLP together, unless the plan says otherwise. */
enum { MOST_ROWS = 4 * SP_ROW_TILE };

void sp_sam_embed(const SpSam *sam, SpNn *nn, const float *picture, float *x)
{
    const SpSamVision *v = &sam->vision;
    const int64_t values = 3 * sam->side * sam->side;
    const SpNnMark mark = sp_nn_mark(nn);
    float *image = sp_nn_alloc(nn, values), *packed = sp_nn_conv_pack(nn, v->embed.w);
    sp_nn_copy(nn, SP_UPLOAD, image, picture, values);
    sp_nn_convolve(nn, (SpFeatureMap){image, sam->side, sam->side, 3}, &v->embed, packed, v->patch,
                   SP_IDENTITY, v->positions, (SpFeatureMap){x, v->grid, v->grid, v->width});
    sp_nn_release(nn, mark);
}

/* y = residual + projected attention over packed q, k, v, which it overwrites. */
static void attend(SpNn *nn, const SpSamLayer *layer, int64_t grid, float *qkv,
                   const float *residual, float *y)
{
    const int64_t width = layer->width, head = width / layer->heads;
    sp_nn_run(nn, grid_attention,
              &(SpGridAttention){.qkv = qkv,
                                 .h = grid,
                                 .w = grid,
                                 .side = layer->side,
                                 .heads = layer->heads,
                                 .head = head,
                                 .scale = 1 / sqrtf((float)head),
                                 .beyond = layer->qkv.b,
                                 .rows = layer->rows,
                                 .columns = layer->columns,
                                 .y = qkv,
                                 .y_row = 3 * width});
    sp_nn_run(nn, linear,
              &(SpLinear){.x = qkv,
                          .rows = grid * grid,
                          .ldx = 3 * width,
                          .w = layer->proj.w,
                          .b = layer->proj.b,
                          .residual = residual,
                          .ldr = width,
                          .y = y,
                          .ldy = width});
}

void sp_sam_layer_attention(SpNn *nn, const SpSamLayer *layer, int64_t grid, const float *x,
                            const float *residual, float *y)
{
    const SpNnMark mark = sp_nn_mark(nn);
    float *qkv = sp_nn_alloc(nn, grid * grid * 3 * layer->width);
    sp_nn_linear(nn, x, grid * grid, layer->qkv.w, layer->qkv.b, SP_IDENTITY, qkv);
    attend(nn, layer, grid, qkv, residual, y);
    sp_nn_release(nn, mark);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void sp_sam_layer_run(SpNn *nn, const SpSamLayer *layer, int64_t grid, float *x)
{
    const int64_t rows = grid * grid, width = layer->width, hidden = layer->lin1.w.dim[0];
    const int64_t chunk = sp_nn_chunk_rows(rows, nn->plan.rows ? nn->plan.rows : MOST_ROWS),
                  most = least(rows, chunk);
    const SpNnMark mark = sp_nn_mark(nn);
    float *normed = sp_nn_alloc(nn, most * width);
    const SpNnMark inner = sp_nn_mark(nn);
    float *qkv = sp_nn_alloc(nn, rows * 3 * width);
    for (int64_t at = 0; at < rows; at += chunk) {
        const int64_t count = least(chunk, rows - at);
        sp_nn_layer_norm(nn, x + at * width, count, width, layer->norm1.w, layer->norm1.b, EPS,
                         normed);
        sp_nn_linear(nn, normed, count, layer->qkv.w, layer->qkv.b, SP_IDENTITY,
                     qkv + at * 3 * width);
    }
    attend(nn, layer, grid, qkv, x, x);
    sp_nn_release(nn, inner);
    float *between = sp_nn_alloc(nn, most * hidden);
    for (int64_t at = 0; at < rows; at += chunk) {
        const int64_t count = least(chunk, rows - at);
        float *y = x + at * width;
        sp_nn_layer_norm(nn, y, count, width, layer->norm2.w, layer->norm2.b, EPS, normed);
        sp_nn_linear(nn, normed, count, layer->lin1.w, layer->lin1.b, SP_GELU, between);
        sp_nn_run(nn, linear,
                  &(SpLinear){.x = between,
                              .rows = count,
                              .ldx = hidden,
                              .w = layer->lin2.w,
                              .b = layer->lin2.b,
                              .residual = y,
                              .ldr = width,
                              .y = y,
                              .ldy = width});
    }
    sp_nn_release(nn, mark);
}

void sp_sam_neck(const SpSam *sam, SpNn *nn, const float *x, float *embedding)
{
    const SpSamVision *v = &sam->vision;
    const int64_t pixels = v->grid * v->grid, d = sam->width;
    const SpNnMark mark = sp_nn_mark(nn);
    float *narrow = sp_nn_alloc(nn, pixels * d), *packed = sp_nn_conv_pack(nn, v->neck2.w);
    sp_nn_linear(nn, x, pixels, v->neck1, NULL, SP_IDENTITY, narrow);
    sp_nn_layer_norm(nn, narrow, pixels, d, v->neck_norm1.w, v->neck_norm1.b, EPS, narrow);
    sp_nn_convolve(nn, (SpFeatureMap){narrow, v->grid, v->grid, d}, &v->neck2, packed, 1,
                   SP_IDENTITY, NULL, (SpFeatureMap){embedding, v->grid, v->grid, d});
    sp_nn_layer_norm(nn, embedding, pixels, d, v->neck_norm2.w, v->neck_norm2.b, EPS, embedding);
    sp_nn_release(nn, mark);
}

void sp_sam_encode(const SpSam *sam, SpNn *nn, const float *picture, float *embedding)
{
    const SpSamVision *v = &sam->vision;
    const SpNnMark mark = sp_nn_mark(nn);
    float *x = sp_nn_alloc(nn, v->grid * v->grid * v->width);
    SpStream rest = sp_stream_load(nn, v->segment, 1);
    SpStream stream = sp_stream_begin(nn, v->layer->segment, (int)v->layers, false);
    sp_sam_embed(sam, nn, picture, x);
    for (int64_t i = 0; i < v->layers; i++) {
        sp_stream_use(nn, &stream, v->layer[i].segment);
        sp_sam_layer_run(nn, &v->layer[i], v->grid, x);
        sp_progress(nn->progress, (double)(i + 1), (double)v->layers);
    }
    sp_stream_end(nn, &stream);
    sp_sam_neck(sam, nn, x, embedding);
    sp_stream_end(nn, &rest);
    sp_nn_release(nn, mark);
}
