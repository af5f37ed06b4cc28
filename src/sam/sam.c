#include "sam/sam.h"

#include <stdlib.h>
#include <string.h>

#include "nn/stream.h"
#include "sam/internal.h"

SpStatus sp_sam_open(SpCheckpoint *checkpoint, SpSam **out)
{
    *out = NULL;
    SpSam *sam = calloc(1, sizeof *sam);
    if (!sam)
        return sp_no_memory("SAM");
    SpBinder binder = {.checkpoint = checkpoint};
    sp_sam_bind(&binder, sam);
    if (binder.status.code == SP_OK)
        *out = sam;
    else
        sp_sam_close(sam);
    return binder.status;
}

void sp_sam_close(SpSam *sam)
{
    if (!sam)
        return;
    free(sam->vision.layer);
    free(sam);
}

/* A coordinate of the picture on the model image (section 5.1); fractions are kept. */
static double to_model(double at, int64_t extent, int64_t frame, int64_t model)
{
    const double on_frame = (at + 0.5) * ((double)frame / (double)extent) - 0.5;
    return on_frame * ((double)model / (double)frame);
}

static double corner_to_model(double at, int64_t extent, int64_t frame, int64_t model)
{
    return to_model((double)(float)at, extent, frame, model);
}

/* The prompt's tokens into host memory, which stays taken. */
static const float *sparse_tokens(const SpSam *sam, SpNn *nn, const SpSamSizes *s,
                                  const SpSamPrompt *prompt)
{
    float *sparse =
        sp_nn_host(nn, (size_t)(sp_sam_sparse_count(prompt) * sam->width) * sizeof(float));
    double *point = sp_nn_host(nn, (size_t)(2 * prompt->points) * sizeof *point), box[4];
    if (!sp_nn_live(nn))
        return sparse;
    for (int64_t i = 0; i < prompt->points; i++) {
        point[2 * i] = to_model(prompt->point[2 * i], s->width, s->frame_width, s->model_width);
        point[2 * i + 1] =
            to_model(prompt->point[2 * i + 1], s->height, s->frame_height, s->model_height);
    }
    for (int i = 0; prompt->box && i < 4; i += 2) {
        box[i] = corner_to_model(prompt->box[i], s->width, s->frame_width, s->model_width);
        box[i + 1] =
            corner_to_model(prompt->box[i + 1], s->height, s->frame_height, s->model_height);
    }
    sp_sam_sparse(sam,
                  &(SpSamPrompt){prompt->points, point, prompt->label, prompt->box ? box : NULL},
                  sparse);
    return sparse;
}

/* The kept one of masks 1, 2, 3 (section 6). */
static int64_t choose(SpSamSelect select, const float *iou)
{
    int64_t chosen = 1;
    for (int64_t m = 2; select == SP_SAM_BEST && m < SP_SAM_MASKS; m++)
        chosen = iou[m] > iou[chosen] ? m : chosen;
    return chosen;
}

static void segment(const SpSam *sam, SpNn *nn, const SpSamInput *input, const SpSamSizes *s,
                    int64_t object, const float *embedding, const float *position,
                    const SpSamOutput *output)
{
    const int64_t pixels = 16 * sam->vision.grid * sam->vision.grid;
    const SpSamPrompt *prompt = &input->prompt[object];
    const SpNnMark mark = sp_nn_mark(nn);
    float *low = sp_nn_host(nn, (size_t)(SP_SAM_MASKS * pixels) * sizeof *low);
    float iou[SP_SAM_MASKS] = {0};
    const float *sparse = sparse_tokens(sam, nn, s, prompt);
    sp_sam_decode(sam, nn, embedding, position, sparse, sp_sam_sparse_count(prompt), low, iou);
    const int64_t chosen = choose(input->select, iou);
    sp_sam_postprocess(sam, nn, s, low + chosen * pixels, NULL, (uint8_t)(object + 1),
                       nn->dry ? NULL : output->mask);
    if (sp_nn_live(nn) && output->iou)
        output->iou[object] = iou[chosen];
    sp_nn_release(nn, mark);
}

SpStatus sp_sam_run(const SpSam *sam, SpNn *nn, const SpSamInput *input, const SpSamOutput *output)
{
    const SpSamSizes s = sp_sam_sizes(sam, input->height, input->width, input->short_side);
    const int64_t map = sam->vision.grid * sam->vision.grid * sam->width;
    const SpNnMark mark = sp_nn_mark(nn);
    float *embedding = sp_nn_floats(nn, map);
    const SpNnMark inner = sp_nn_mark(nn);
    float *picture = sp_nn_host(nn, (size_t)(3 * sam->side * sam->side) * sizeof *picture);
    sp_sam_picture(sam, nn, &s, input->rgb, picture);
    sp_sam_encode(sam, nn, picture, embedding);
    sp_nn_release(nn, inner);
    float *position = sp_nn_floats(nn, map);
    const SpNnMark placed = sp_nn_mark(nn);
    float *code = sp_nn_host(nn, (size_t)map * sizeof *code);
    if (sp_nn_live(nn))
        sp_sam_image_position(sam, code);
    sp_nn_copy(nn, SP_UPLOAD, position, code, map);
    sp_nn_release(nn, placed);
    if (sp_nn_live(nn))
        memset(output->mask, 0, (size_t)(input->height * input->width));
    SpStream weights = sp_stream_hold(nn, sam->decoder.segment, 1);
    for (int64_t i = 0; i < input->objects; i++)
        segment(sam, nn, input, &s, i, embedding, position, output);
    sp_stream_end(nn, &weights);
    sp_nn_release(nn, mark);
    return nn->status;
}
