/* src/sam/README.md, "Vision encoder". */
#include <math.h>

#include "nn/dump.h"
#include "nn/stream.h"
#include "sam/internal.h"

/* Tokens that go through the norm and the MLP together, unless the plan says otherwise. */
enum { MAX_ROWS = 4 * SP_ROW_TILE };

/* Patches with their positions: host image [S, S, 3] to device x [G, G, C]. */
static void embed(const SpSam *sam, SpNn *nn, const float *image, float *x)
{
    const SpSamVision *v = &sam->vision;
    SP_NN_SCOPE(nn);
    const SpFeatureMap pixels = sp_nn_feature_map(nn, 1, sam->side, sam->side, 3);
    const SpConvWeights projection = sp_nn_conv_pack(nn, &v->embed);
    sp_nn_copy(nn, SP_UPLOAD, pixels.x, image, 3 * sam->side * sam->side);
    sp_nn_dump_map(nn, pixels, "sam/vision/pixel_values");
    sp_nn_convolve(nn, pixels, &projection, v->patch, SP_IDENTITY, v->positions,
                   (SpFeatureMap){x, 1, v->grid, v->grid, v->width});
    sp_nn_dump(nn, x, 3, SP_DIMS(v->grid, v->grid, v->width), "sam/vision/patches_plus_position");
}

void sp_sam_layer_attention(SpNn *nn, const SpSamLayer *layer, int64_t grid, float *qkv, float *x)
{
    const int64_t width = layer->width, head = width / layer->heads;
    sp_nn_run(nn, window_attention,
              &(SpWindowAttention){qkv, grid, grid, layer->side, layer->heads, head,
                                   1 / sqrtf((float)head), layer->qkv.b, layer->rel_pos_h,
                                   layer->rel_pos_w, qkv, 3 * width});
    sp_dense_call(
        nn, &layer->proj,
        (SpLinear){.x = qkv, .rows = grid * grid, .ldx = 3 * width, .residual = x, .y = x});
}

void sp_sam_layer_run(SpNn *nn, const SpSamLayer *layer, int64_t grid, float *x)
{
    const int64_t rows = grid * grid;
    const int64_t chunk = sp_nn_chunk_rows(rows, nn->plan.rows ? nn->plan.rows : MAX_ROWS);
    {
        SP_NN_SCOPE(nn);
        float *qkv = sp_nn_alloc(nn, rows * 3 * layer->width);
        sp_dense_normed(nn, &layer->qkv, &layer->norm1, x, rows, chunk, qkv);
        sp_sam_layer_attention(nn, layer, grid, qkv, x);
    }
    sp_mlp_add(nn, &layer->mlp, &layer->norm2, NULL, x, rows, chunk);
}

/* Device x [G, G, C] to embedding [G, G, D]. */
static void neck(const SpSam *sam, SpNn *nn, const float *x, float *embedding)
{
    const SpSamVision *v = &sam->vision;
    const int64_t pixels = v->grid * v->grid, d = sam->width;
    SP_NN_SCOPE(nn);
    const SpFeatureMap narrow = sp_nn_feature_map(nn, 1, v->grid, v->grid, d);
    const SpFeatureMap out = {embedding, 1, v->grid, v->grid, d};
    const SpConvWeights neck2 = sp_nn_conv_pack(nn, &v->neck2);
    sp_dense_run(nn, &v->neck1, x, pixels, SP_IDENTITY, narrow.x);
    sp_norm_run(nn, &v->neck_norm1, narrow.x, pixels, narrow.x);
    sp_nn_convolve(nn, narrow, &neck2, 1, SP_IDENTITY, NULL, out);
    sp_norm_run(nn, &v->neck_norm2, embedding, pixels, embedding);
    sp_nn_dump_map(nn, out, "sam/vision/output");
}

void sp_sam_encode(const SpSam *sam, SpNn *nn, const float *image, float *embedding)
{
    const SpSamVision *v = &sam->vision;
    SP_NN_SCOPE(nn);
    float *x = sp_nn_alloc(nn, v->grid * v->grid * v->width);
    SpStream rest = sp_stream_load(nn, v->weight_group, 1);
    SpStream stream = sp_stream_begin(nn, v->layer->weight_group, (int)v->layers, false);
    embed(sam, nn, image, x);
    for (int64_t i = 0; i < v->layers; i++) {
        sp_stream_use(nn, &stream, v->layer[i].weight_group);
        sp_sam_layer_run(nn, &v->layer[i], v->grid, x);
        sp_nn_dump(nn, x, 3, SP_DIMS(v->grid, v->grid, v->width), "sam/vision/layer%d", (int)i);
        sp_progress(nn->progress, (double)(i + 1), (double)v->layers);
    }
    sp_stream_end(nn, &stream);
    neck(sam, nn, x, embedding);
    sp_stream_end(nn, &rest);
}
