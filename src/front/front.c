#include "front/front.h"

#include <stdlib.h>

#include "base/minmax.h"
#include "front/internal.h"
#include "geometry/camera.h"
#include "nn/stream.h"

SpStatus sp_front_open(SpCheckpoint *checkpoint, SpFront **out)
{
    *out = NULL;
    SpFront *front = calloc(1, sizeof *front);
    if (!front)
        return sp_no_memory("the front");
    SpBinder binder = {.checkpoint = checkpoint};
    sp_front_bind(&binder, front);
    if (binder.status.code == SP_OK)
        *out = front;
    else
        sp_front_close(front);
    return binder.status;
}

void sp_front_close(SpFront *front)
{
    if (!front)
        return;
    free(front->embed.block);
    free(front->frame_block);
    free(front->global_block);
    free(front->camera.block);
    free(front);
}

int64_t sp_front_width(const SpFront *front)
{
    return front->image_size;
}

int64_t sp_front_patch(const SpFront *front)
{
    return front->patch;
}

SpFrontDims sp_front_dims(const SpFront *front, int64_t frames, int64_t height, int64_t width)
{
    const int64_t gh = height / front->patch, gw = width / front->patch;
    return (SpFrontDims){.frames = frames,
                         .height = height,
                         .width = width,
                         .gh = gh,
                         .gw = gw,
                         .patches = gh * gw,
                         .tokens = 1 + front->registers + gh * gw};
}

static SpStatus cameras(const SpFrontDims *dims, int64_t first, const SpFrontOutput *output)
{
    for (int64_t t = 0; t < dims->frames; t++)
        if (!sp_camera_of_encoding(output->pose_enc + t * SP_FRONT_ENCODING, dims->height,
                                   dims->width, output->c2w + 16 * t, output->intrinsics + 9 * t))
            return sp_error(SP_INPUT,
                            "frame %lld: the network found no usable camera (field of view %g x "
                            "%g); try other frames, or give --geometry",
                            (long long)(first + t),
                            (double)output->pose_enc[t * SP_FRONT_ENCODING + 8],
                            (double)output->pose_enc[t * SP_FRONT_ENCODING + 7]);
    return sp_ok();
}

static void depth_maps(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                       const SpFrontFeatures *features, const SpFrontOutput *output)
{
    const int64_t image = dims->height * dims->width, map = dims->patches * front->width;
    SP_NN_SCOPE(nn);
    const SpDepthHead head = sp_depth_head_pack(front, nn, dims);
    sp_nn_precision(nn, SP_PRECISION_TF32);
    SpStream rest = sp_stream_load(nn, head.weight_group, 1);
    /* Every group of frames needs the same memory, or less: a dry run looks at one. */
    const int64_t together = sp_depth_head_frames(nn, dims);
    const int64_t groups = (dims->frames + together - 1) / together;
    const int64_t rounds = sp_nn_loop_begin(nn, groups);
    for (int64_t round = 0; round < rounds; round++) {
        const int64_t t = round * together;
        SpDepthFrames frames = {.count = sp_min(together, dims->frames - t)};
        for (int k = 0; k < SP_FRONT_TAPS; k++)
            frames.tap[k] = features->tap[k] + t * map;
        if (!nn->dry) {
            frames.depth = output->depth + t * image;
            frames.confidence = output->confidence + t * image;
        }
        sp_depth_head_run(front, nn, dims, &head, &frames);
        sp_progress(nn->progress, (double)(t + frames.count), (double)dims->frames);
    }
    sp_nn_loop_end(nn, groups);
    if (!nn->dry) /* the last maps are there then */
        sp_nn_fail(nn, nn->device->status(nn->device));
    sp_nn_precision(nn, SP_PRECISION_F32);
    sp_stream_end(nn, &rest);
}

SpStatus sp_front_run(const SpFront *front, SpNn *nn, const SpFrontInput *input,
                      const SpFrontOutput *output)
{
    if (input->frames < 1 || input->height < front->patch || input->width < front->patch ||
        input->height % front->patch || input->width % front->patch)
        return sp_error(SP_INPUT,
                        "the front takes frames of a multiple of %lld pixels, not %lldx%lld",
                        (long long)front->patch, (long long)input->width, (long long)input->height);
    const SpFrontDims dims = sp_front_dims(front, input->frames, input->height, input->width);
    SP_NN_SCOPE(nn);
    SpFrontFeatures features;
    const int64_t tap = 2 * dims.frames * dims.patches * front->width;
    for (int k = 0; k < SP_FRONT_TAPS; k++)
        features.tap[k] =
            nn->plan.taps_on_device ? sp_nn_alloc(nn, tap) : sp_nn_host_floats(nn, tap);
    features.camera = sp_nn_host_floats(nn, dims.frames * 2 * front->width);
    sp_aggregator_run(front, nn, &dims, input->video, &features);
    sp_camera_head_run(front, nn, dims.frames, features.camera, nn->dry ? NULL : output->pose_enc);
    depth_maps(front, nn, &dims, &features, output);
    if (!sp_nn_live(nn))
        return nn->status;
    return cameras(&dims, input->first, output);
}
