#include "sam/sam.h"

#include <math.h>
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

/* A coordinate of the image on the model image (src/sam/README.md, "Coordinates"); fractions are
 * kept. */
static double to_model(double at, int64_t extent, int64_t frame, int64_t model)
{
    const double on_frame = (at + 0.5) * ((double)frame / (double)extent) - 0.5;
    return on_frame * ((double)model / (double)frame);
}

/* Pixel x, y of the image on the model image. */
static void place(const SpSam *sam, const SpSamSizes *s, const double from[2], double to[2])
{
    if (s->crop.side) {
        sp_sam_crop_point(sam, &s->crop, from, to);
        return;
    }
    to[0] = to_model(from[0], s->width, s->frame_width, s->model_width);
    to[1] = to_model(from[1], s->height, s->frame_height, s->model_height);
}

/* The prompt's tokens into host memory, which stays taken. */
static const float *sparse_tokens(const SpSam *sam, SpNn *nn, const SpSamSizes *s,
                                  const SpPrompt *prompt)
{
    float *sparse = sp_nn_host_floats(nn, sp_sam_sparse_count(prompt) * sam->width);
    double *point = sp_nn_alloc_host(nn, (size_t)(2 * prompt->points) * sizeof *point), box[4];
    if (!sp_nn_live(nn))
        return sparse;
    for (int64_t i = 0; i < prompt->points; i++)
        place(sam, s, prompt->point + 2 * i, point + 2 * i);
    for (int i = 0; prompt->box && i < 4; i += 2)
        place(sam, s, (double[2]){(float)prompt->box[i], (float)prompt->box[i + 1]}, box + i);
    if (prompt->box && s->crop.mirrored) {
        const double left = box[2];
        box[2] = box[0];
        box[0] = left;
    }
    sp_sam_sparse(sam, &(SpPrompt){prompt->points, point, prompt->label, prompt->box ? box : NULL},
                  sparse);
    return sparse;
}

/* The kept one of masks 1, 2, 3. */
static int64_t choose(SpSamSelect select, const float *iou)
{
    int64_t chosen = 1;
    for (int64_t m = 2; select == SP_SAM_BEST && m < SP_SAM_MASKS; m++)
        chosen = iou[m] > iou[chosen] ? m : chosen;
    return chosen;
}

/* What the parts of a run share. */
typedef struct Run {
    const SpSam *sam;
    SpNn *nn;
    const SpSamInput *input;
    const SpSamOutput *output;
    float *embedding;      /* device [G, G, D] */
    const float *position; /* device [G, G, D] */
    float *low, *mirrored; /* host [4, 4G, 4G] */
    int64_t pixels;        /* of one of them */
} Run;

/* The image, or its crop, into the embedding. */
static void encode(const Run *run, const SpSamSizes *s)
{
    const int64_t side = run->sam->side;
    SP_NN_SCOPE(run->nn);
    float *image = sp_nn_host_floats(run->nn, 3 * side * side);
    sp_sam_model_image(run->sam, run->nn, s, run->input->rgb, image);
    sp_sam_encode(run->sam, run->nn, image, run->embedding);
}

/* The masks of an object's prompt into low [4, 4G, 4G], and their IoUs. */
static void decode(const Run *run, const SpSamSizes *s, int64_t object, float *low,
                   float iou[SP_SAM_MASKS])
{
    const SpPrompt *prompt = &run->input->prompt[object];
    SP_NN_SCOPE(run->nn);
    const SpSamDecoding in = {run->embedding, run->position,
                              sparse_tokens(run->sam, run->nn, s, prompt),
                              sp_sam_sparse_count(prompt)};
    sp_sam_decode(run->sam, run->nn, &in, low, iou);
}

/* Where the grid's cells are, device [G, G, D], which stays taken. */
static const float *position_map(const SpSam *sam, SpNn *nn)
{
    const int64_t map = sam->vision.grid * sam->vision.grid * sam->width;
    float *position = sp_nn_alloc(nn, map);
    SP_NN_SCOPE(nn);
    float *code = sp_nn_host_floats(nn, map);
    if (sp_nn_live(nn))
        sp_sam_image_position(sam, code);
    sp_nn_copy(nn, SP_UPLOAD, position, code, map);
    return position;
}

static void keep_iou(const Run *run, int64_t object, float iou)
{
    if (sp_nn_live(run->nn) && run->output->iou)
        run->output->iou[object] = iou;
}

/* Every object on one embedding of the whole image. */
static void segment_whole(const Run *run, const SpSamSizes *s)
{
    SpNn *nn = run->nn;
    SpStream weights = sp_stream_load(nn, run->sam->decoder.weight_group, 1);
    for (int64_t i = 0; i < run->input->objects; i++) {
        float iou[SP_SAM_MASKS] = {0};
        decode(run, s, i, run->low, iou);
        const int64_t kept = choose(run->input->select, iou);
        sp_sam_postprocess(run->sam, nn, s, run->low + kept * run->pixels, (uint8_t)(i + 1),
                           nn->dry ? NULL : run->output->mask);
        keep_iou(run, i, iou[kept]);
    }
    sp_stream_end(nn, &weights);
}

/* What is found in a crop: the kept mask's IoU, and the box of its pixels if it has any. */
typedef struct Found {
    float iou;
    bool any;
    double box[4];
} Found;

/* The masks of an object in a crop, low [4, 4G, 4G], and their IoUs. */
static void crop_logits(const Run *run, const SpSamSizes *s, int64_t object, float *low,
                        float iou[SP_SAM_MASKS])
{
    SP_NN_SCOPE(run->nn);
    encode(run, s);
    SpStream weights = sp_stream_load(run->nn, run->sam->decoder.weight_group, 1);
    decode(run, s, object, low, iou);
    sp_stream_end(run->nn, &weights);
}

/* Runs the mirrored crop as well: the kept mask and its IoU become the means of the two. */
static void average_mirrored(const Run *run, SpSamSizes s, int64_t object, int64_t kept, float *iou)
{
    const int64_t cells = 4 * run->sam->vision.grid, first = kept * run->pixels;
    float again[SP_SAM_MASKS] = {0};
    s.crop.mirrored = true;
    crop_logits(run, &s, object, run->mirrored, again);
    *iou = (*iou + again[kept]) / 2;
    for (int64_t i = 0; sp_nn_live(run->nn) && i < run->pixels; i++) {
        const int64_t other = first + i / cells * cells + cells - 1 - i % cells;
        run->low[first + i] = (run->low[first + i] + run->mirrored[other]) / 2;
    }
}

/* An object in a crop; the last one is run mirrored as well, and its mask is kept. */
static Found segment_crop(const Run *run, SpSamSizes s, int64_t object, SpSamCrop crop, bool last)
{
    float iou[SP_SAM_MASKS] = {0};
    s.crop = crop;
    crop_logits(run, &s, object, run->low, iou);
    const int64_t kept = choose(run->input->select, iou);
    Found found = {.iou = iou[kept]};
    if (last)
        average_mirrored(run, s, object, kept, &found.iou);
    if (sp_nn_live(run->nn))
        found.any =
            sp_sam_crop_mask(run->sam, &s, run->low + kept * run->pixels, (uint8_t)(object + 1),
                             last ? run->output->mask : NULL, found.box);
    return found;
}

/* The best of crops of several sizes around the first point on the object. */
static Found best_crop(const Run *run, const SpSamSizes *s, int64_t object)
{
    const SpPrompt *prompt = &run->input->prompt[object];
    const double extent = (double)sp_max(s->height, s->width);
    int64_t first = 0;
    while (first < prompt->points - 1 && prompt->label[first] != 1)
        first++;
    const double x = prompt->point[2 * first], y = prompt->point[2 * first + 1];
    Found best = {0};
    for (int i = 0; i < run->sam->crops; i++) {
        const SpSamCrop crop = sp_sam_crop_around((double[4]){x, y, x, y}, ldexp(extent, -i));
        const Found found = segment_crop(run, *s, object, crop, false);
        if (i == 0 || found.iou > best.iou)
            best = found;
    }
    return best;
}

/* One object in a crop around its box, or around what its points find. */
static void segment_cropped(const Run *run, const SpSamSizes *s, int64_t object)
{
    const double *box = run->input->prompt[object].box;
    Found found = {.any = true};
    if (box)
        memcpy(found.box, box, sizeof found.box);
    else
        found = best_crop(run, s, object);
    const SpSamCrop crop = sp_sam_crop_around(found.box, run->sam->crop_scale);
    if (found.any || run->nn->dry)
        found = segment_crop(run, *s, object, crop, true);
    keep_iou(run, object, found.iou);
}

SpStatus sp_sam_run(const SpSam *sam, SpNn *nn, const SpSamInput *input, const SpSamOutput *output)
{
    const SpSamSizes s = sp_sam_sizes(sam, input->height, input->width, input->short_side);
    const int64_t cells = sam->vision.grid * sam->vision.grid;
    const int64_t masks = SP_SAM_MASKS * 16 * cells;
    const bool crops = sam->crop_scale > 0;
    SP_NN_SCOPE(nn);
    Run run = {sam, nn, input, output, .pixels = 16 * cells};
    run.embedding = sp_nn_alloc(nn, cells * sam->width);
    sp_nn_precision(nn, SP_PRECISION_TF32);
    if (!crops)
        encode(&run, &s);
    run.position = position_map(sam, nn);
    run.low = sp_nn_host_floats(nn, masks);
    run.mirrored = crops ? sp_nn_host_floats(nn, masks) : NULL;
    if (sp_nn_live(nn))
        memset(output->mask, 0, (size_t)(input->height * input->width));
    if (!crops)
        segment_whole(&run, &s);
    for (int64_t i = 0; crops && i < input->objects; i++)
        segment_cropped(&run, &s, i);
    sp_nn_precision(nn, SP_PRECISION_F32);
    return nn->status;
}
