#include "front/internal.h"
#include "nn/dump.h"
#include "nn/imagenet.h"
#include "nn/stream.h"

void sp_front_normalise(const float *rgb, int64_t height, int64_t width, float *out)
{
    static const float mean[3] = SP_IMAGENET_MEAN(1), deviation[3] = SP_IMAGENET_DEVIATION(1);
    const int64_t pixels = height * width;
    for (int64_t p = 0; p < pixels; p++)
        for (int c = 0; c < 3; c++)
            out[3 * p + c] = (rgb[c * pixels + p] / 255 - mean[c]) / deviation[c];
}

SpEmbedRun sp_patch_embed_begin(const SpFront *front, SpNn *nn, const SpFrontDims *dims)
{
    const SpPatchEmbed *e = &front->embed;
    const int64_t width = front->width, n = dims->patches;
    float *special = sp_nn_alloc(nn, (1 + e->registers) * width);
    float *position = sp_nn_alloc(nn, n * width);
    const SpNnMark mark = sp_nn_mark(nn);
    float *table = sp_nn_alloc_host(nn, (size_t)((1 + n) * width) * sizeof *table);
    if (sp_nn_live(nn)) {
        sp_position_embedding(e->pos_embed, e->grid, dims->gh, dims->gw, width, table);
        sp_nn_copy(nn, SP_UPLOAD, position, table + width, n * width);
        for (int64_t c = 0; c < width; c++)
            table[c] += e->cls_token[c];
        sp_nn_copy(nn, SP_UPLOAD, special, table, width);
        sp_nn_copy(nn, SP_UPLOAD, special + width, e->register_tokens, e->registers * width);
    }
    sp_nn_release(nn, mark);
    return (SpEmbedRun){special, position};
}

void sp_patch_embed_tokens(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                           const SpEmbedRun *run, const float *video, float *x)
{
    const SpPatchEmbed *e = &front->embed;
    const int64_t width = front->width, first = 1 + e->registers,
                  pixels = dims->height * dims->width;
    const SpNnMark mark = sp_nn_mark(nn);
    float *staged = sp_nn_alloc_host(nn, (size_t)(3 * pixels) * sizeof *staged);
    const SpFeatureMap image = sp_nn_feature_map(nn, dims->height, dims->width, 3);
    const SpConvWeights proj = sp_nn_conv_pack(nn, &e->proj);
    for (int64_t t = 0; t < dims->frames; t++, x += (first + dims->patches) * width) {
        if (sp_nn_live(nn))
            sp_front_normalise(video + t * 3 * pixels, dims->height, dims->width, staged);
        sp_nn_copy(nn, SP_UPLOAD, image.x, staged, 3 * pixels);
        sp_nn_dump_map(nn, image, "front/patch_embed/normalised");
        sp_nn_copy(nn, SP_ON_DEVICE, x, run->special, first * width);
        sp_nn_convolve(nn, image, &proj, front->patch, SP_IDENTITY, run->position,
                       (SpFeatureMap){x + first * width, dims->gh, dims->gw, width});
        sp_nn_dump(nn, x, 2, SP_DIMS(first + dims->patches, width), "front/patch_embed/tokens_in");
    }
    sp_nn_release(nn, mark);
}

void sp_patch_embed_frames(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                           const float *video, float *tokens)
{
    const SpPatchEmbed *e = &front->embed;
    const int64_t count = dims->frames;
    const int64_t width = front->width, first = 1 + e->registers, length = first + dims->patches;
    const double total = (double)(e->depth + 2 * front->depth);
    const SpNnMark mark = sp_nn_mark(nn);
    float *x = sp_nn_alloc(nn, count * length * width);
    SpStream rest = sp_stream_load(nn, e->group, 1);
    const SpEmbedRun run = sp_patch_embed_begin(front, nn, dims);
    sp_patch_embed_tokens(front, nn, dims, &run, video, x);
    SpStream stream = sp_stream_begin(nn, e->block->group, (int)e->depth, false);
    for (int64_t i = 0; i < e->depth; i++) {
        sp_stream_use(nn, &stream, e->block[i].group);
        sp_block_run(nn, &e->block[i], x, count, length, NULL);
        sp_nn_dump(nn, x, 3, SP_DIMS(count, length, width), "front/patch_embed/block%d", (int)i);
        sp_progress(nn->progress, (double)(i + 1), total);
    }
    sp_stream_end(nn, &stream);
    for (int64_t t = 0; t < count; t++) {
        float *patches = tokens + (t * dims->tokens + dims->tokens - dims->patches) * width;
        sp_norm_run(nn, &e->norm, x + (t * length + first) * width, dims->patches, patches);
        sp_nn_dump(nn, patches, 2, SP_DIMS(dims->patches, width), "front/patch_embed/patch_tokens");
    }
    sp_stream_end(nn, &rest);
    sp_nn_release(nn, mark);
}
