#include <stdlib.h>

#include "front/internal.h"
#include "nn/dump.h"
#include "nn/stream.h"

/* (y, x) of the patches from (1, 1) on, of the special tokens (0, 0). */
SpPositions sp_front_positions(const SpFront *front, SpNn *nn, const SpFrontDims *dims)
{
    const int64_t special = dims->tokens - dims->patches;
    const size_t bytes = (size_t)dims->tokens * 2 * sizeof(int32_t);
    float *device = sp_nn_alloc(nn, 2 * 2 * dims->tokens);
    SP_NN_SCOPE(nn);
    int32_t *host = sp_nn_alloc_host(nn, bytes);
    if (sp_nn_live(nn)) {
        for (int64_t i = 0; i < 2 * special; i++)
            host[i] = 0;
        for (int64_t p = 0; p < dims->patches; p++) {
            host[2 * (special + p)] = (int32_t)(p / dims->gw + 1);
            host[2 * (special + p) + 1] = (int32_t)(p % dims->gw + 1);
        }
        sp_nn_run(nn, copy, &(SpCopy){SP_UPLOAD, device, bytes, host, bytes, bytes, 1});
        sp_nn_copy(nn, SP_ON_DEVICE, device + 2 * dims->tokens, device, 2 * dims->tokens);
    }
    return (SpPositions){.yx = (const int32_t *)(const void *)device,
                         .period = dims->tokens,
                         .max = (int32_t)sp_max(dims->gh, dims->gw),
                         .base = front->rope_base};
}

/* Camera and register tokens: index 0 of the parameters for frame 0, index 1 for the others. */
static void place_special_tokens(const SpFront *front, SpNn *nn, const SpFrontDims *dims, float *x)
{
    const int64_t width = front->width;
    for (int64_t t = 0; t < dims->frames; t++, x += dims->tokens * width) {
        const int64_t index = t > 0;
        sp_nn_copy(nn, SP_UPLOAD, x, front->camera_token + index * width, width);
        sp_nn_copy(nn, SP_UPLOAD, x + width,
                   front->register_token + index * front->registers * width,
                   front->registers * width);
    }
}

/* Keeps half `half` (0 frame, 1 global) of output i where a head reads it. */
static void keep(const SpFront *front, SpNn *nn, const SpFrontDims *dims, const float *x, int64_t i,
                 int64_t half, const SpFrontFeatures *features)
{
    const int64_t width = front->width, patch_row = dims->tokens - dims->patches;
    for (int k = 0; k < SP_FRONT_TAPS; k++)
        if (front->taps[k] == i)
            sp_nn_copy_rows(nn, nn->plan.taps_on_device ? SP_ON_DEVICE : SP_DOWNLOAD,
                            features->tap[k] + half * dims->frames * dims->patches * width,
                            dims->patches * width, x + patch_row * width, dims->tokens * width,
                            dims->patches * width, dims->frames);
    if (i == front->depth - 1)
        sp_nn_copy_rows(nn, SP_DOWNLOAD, features->camera + half * width, 2 * width, x,
                        dims->tokens * width, width, dims->frames);
}

/* Half `half` of output i into `output`, [T, P, 2 D] as the golden has it; NULL: not asked for. */
static void dump(const SpFront *front, SpNn *nn, const SpFrontDims *dims, const float *x, int64_t i,
                 int64_t half, float *output)
{
    const int64_t width = front->width;
    if (!output)
        return;
    sp_nn_copy_rows(nn, SP_DOWNLOAD, output + half * width, 2 * width, x, width, width,
                    dims->frames * dims->tokens);
    if (half)
        sp_nn_dump_host(nn, output, 3, SP_DIMS(dims->frames, dims->tokens, 2 * width),
                        "front/aggregator/out%d", (int)i);
}

void sp_aggregator_run(const SpFront *front, SpNn *nn, const SpFrontDims *dims, const float *video,
                       const SpFrontFeatures *features)
{
    const int64_t width = front->width, frames = dims->frames, embed = front->embed.depth;
    const int64_t rows = frames * dims->tokens;
    const int first = front->frame_block[0].weight_group, blocks = 2 * (int)front->depth;
    SP_NN_SCOPE(nn);
    float *x = sp_nn_alloc(nn, rows * width), *output = sp_nn_dump_buffer(nn, rows * 2 * width);
    sp_nn_precision(nn, SP_PRECISION_BF16);
    place_special_tokens(front, nn, dims, x);
    sp_patch_embed_run(front, nn, dims, video, x);
    const SpPositions positions = sp_front_positions(front, nn, dims);
    SpStream stream = sp_stream_begin(nn, first, blocks, false);
    for (int64_t i = 0; i < front->depth; i++) {
        const SpBlock *frame = &front->frame_block[i], *global = &front->global_block[i];
        sp_stream_use(nn, &stream, frame->weight_group);
        sp_block_run(nn, frame, x, frames, dims->tokens, &positions);
        keep(front, nn, dims, x, i, 0, features);
        dump(front, nn, dims, x, i, 0, output);
        sp_stream_use(nn, &stream, global->weight_group);
        sp_block_run(nn, global, x, 1, rows, &positions);
        keep(front, nn, dims, x, i, 1, features);
        dump(front, nn, dims, x, i, 1, output);
        sp_progress(nn->progress, (double)(embed + 2 * (i + 1)), (double)(embed + blocks));
    }
    sp_stream_end(nn, &stream);
    sp_nn_precision(nn, SP_PRECISION_F32);
    free(output);
}
