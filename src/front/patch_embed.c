#include "front/internal.h"
#include "nn/dump.h"
#include "nn/imagenet.h"
#include "nn/stream.h"

/* Host rgb 0..255 [3, H, W] to (v / 255 - mean) / deviation as a map. */
static void normalise(SpNn *nn, const float *rgb, SpFeatureMap image)
{
    const int64_t pixels = image.h * image.w;
    SP_NN_SCOPE(nn);
    float *planes = sp_nn_alloc(nn, 3 * pixels);
    sp_nn_copy(nn, SP_UPLOAD, planes, rgb, 3 * pixels);
    sp_nn_run(nn, normalize_image,
              &(SpNormalizeImage){planes, pixels, 255, SP_IMAGENET_MEAN(1),
                                  SP_IMAGENET_DEVIATION(1), image.x});
}

/* What all frames get, device arrays. */
typedef struct Constants {
    float *special;  /* [1 + registers, D] the class token with its position, the registers */
    float *position; /* [N, D] the position embedding of the patches */
} Constants;

static Constants constants(const SpFront *front, SpNn *nn, const SpFrontDims *dims)
{
    const SpPatchEmbed *e = &front->embed;
    const int64_t width = front->width, n = dims->patches;
    Constants c = {.special = sp_nn_alloc(nn, (1 + e->registers) * width)};
    c.position = sp_nn_alloc(nn, n * width);
    SP_NN_SCOPE(nn);
    float *table = sp_nn_host_floats(nn, (1 + n) * width);
    if (sp_nn_live(nn)) {
        sp_position_embedding(e->pos_embed, e->grid, dims->gh, dims->gw, width, table);
        sp_nn_copy(nn, SP_UPLOAD, c.position, table + width, n * width);
        for (int64_t i = 0; i < width; i++)
            table[i] += e->cls_token[i];
        sp_nn_copy(nn, SP_UPLOAD, c.special, table, width);
        sp_nn_copy(nn, SP_UPLOAD, c.special + width, e->register_tokens, e->registers * width);
    }
    return c;
}

/* The frames to the blocks' input x: device [T, 1 + registers + N, D]. */
static void embed(const SpFront *front, SpNn *nn, const SpFrontDims *dims, const Constants *c,
                  const float *video, float *x)
{
    const SpPatchEmbed *e = &front->embed;
    const int64_t width = front->width, first = 1 + e->registers,
                  pixels = dims->height * dims->width;
    SP_NN_SCOPE(nn);
    const SpFeatureMap image = sp_nn_feature_map(nn, 1, dims->height, dims->width, 3);
    const SpConvWeights proj = sp_nn_conv_pack(nn, &e->proj);
    for (int64_t t = 0; t < dims->frames; t++, x += (first + dims->patches) * width) {
        normalise(nn, nn->dry ? NULL : video + t * 3 * pixels, image);
        sp_nn_dump_map(nn, image, "front/patch_embed/normalised");
        sp_nn_copy(nn, SP_ON_DEVICE, x, c->special, first * width);
        sp_nn_convolve(nn, image, &proj, front->patch, SP_IDENTITY, c->position,
                       (SpFeatureMap){x + first * width, 1, dims->gh, dims->gw, width});
        sp_nn_dump(nn, x, 2, SP_DIMS(first + dims->patches, width), "front/patch_embed/tokens_in");
    }
}

void sp_patch_embed_run(const SpFront *front, SpNn *nn, const SpFrontDims *dims, const float *video,
                        float *tokens)
{
    const SpPatchEmbed *e = &front->embed;
    const int64_t width = front->width, frames = dims->frames, first = 1 + e->registers;
    const int64_t length = first + dims->patches;
    const double total = (double)(e->depth + 2 * front->depth);
    SP_NN_SCOPE(nn);
    float *x = sp_nn_alloc(nn, frames * length * width);
    SpStream rest = sp_stream_load(nn, e->weight_group, 1);
    const Constants c = constants(front, nn, dims);
    embed(front, nn, dims, &c, video, x);
    SpStream stream = sp_stream_begin(nn, e->block->weight_group, (int)e->depth, false);
    for (int64_t i = 0; i < e->depth; i++) {
        sp_stream_use(nn, &stream, e->block[i].weight_group);
        sp_block_run(nn, &e->block[i], x, frames, length, NULL);
        sp_nn_dump(nn, x, 3, SP_DIMS(frames, length, width), "front/patch_embed/block%d", (int)i);
        sp_progress(nn->progress, (double)(i + 1), total);
    }
    sp_stream_end(nn, &stream);
    for (int64_t t = 0; t < frames; t++) {
        float *patches = tokens + (t * dims->tokens + dims->tokens - dims->patches) * width;
        sp_norm_run(nn, &e->norm, x + (t * length + first) * width, dims->patches, patches);
        sp_nn_dump(nn, patches, 2, SP_DIMS(dims->patches, width), "front/patch_embed/patch_tokens");
    }
    sp_stream_end(nn, &rest);
}
