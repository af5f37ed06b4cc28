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

/* Pixel x, y of the picture on the model image. */
static void place(const SpSam *sam, const SpSamSizes *s, const double from[2], double to[2])
{
    if (s->view.side) {
        sp_sam_view_place(sam, &s->view, from, to);
        return;
    }
    to[0] = to_model(from[0], s->width, s->frame_width, s->model_width);
    to[1] = to_model(from[1], s->height, s->frame_height, s->model_height);
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
    for (int64_t i = 0; i < prompt->points; i++)
        place(sam, s, prompt->point + 2 * i, point + 2 * i);
    for (int i = 0; prompt->box && i < 4; i += 2)
        place(sam, s, (double[2]){(float)prompt->box[i], (float)prompt->box[i + 1]}, box + i);
    if (prompt->box && s->view.mirrored) {
        const double left = box[2];
        box[2] = box[0];
        box[0] = left;
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

/* The picture as `s` shows it to device embedding [G, G, D]. */
static void encode(const SpSam *sam, SpNn *nn, const SpSamInput *input, const SpSamSizes *s,
                   float *embedding)
{
    const SpNnMark mark = sp_nn_mark(nn);
    float *picture = sp_nn_host(nn, (size_t)(3 * sam->side * sam->side) * sizeof *picture);
    sp_sam_picture(sam, nn, s, input->rgb, picture);
    sp_sam_encode(sam, nn, picture, embedding);
    sp_nn_release(nn, mark);
}

/* The masks of a prompt, host low [4, 4G, 4G], and their IoUs. */
static void decode(const SpSam *sam, SpNn *nn, const SpSamInput *input, const SpSamSizes *s,
                   int64_t object, const float *embedding, const float *position, float *low,
                   float iou[SP_SAM_MASKS])
{
    const SpSamPrompt *prompt = &input->prompt[object];
    const SpNnMark mark = sp_nn_mark(nn);
    const float *sparse = sparse_tokens(sam, nn, s, prompt);
    sp_sam_decode(sam, nn, embedding, position, sparse, sp_sam_sparse_count(prompt), low, iou);
    sp_nn_release(nn, mark);
}

/* Where the grid's cells are, device [G, G, D], which stays taken. */
static const float *position_map(const SpSam *sam, SpNn *nn)
{
    const int64_t map = sam->vision.grid * sam->vision.grid * sam->width;
    float *position = sp_nn_floats(nn, map);
    const SpNnMark mark = sp_nn_mark(nn);
    float *code = sp_nn_host(nn, (size_t)map * sizeof *code);
    if (sp_nn_live(nn))
        sp_sam_image_position(sam, code);
    sp_nn_copy(nn, SP_UPLOAD, position, code, map);
    sp_nn_release(nn, mark);
    return position;
}

/* Every object on one embedding of the whole picture. */
static void segment_whole(const SpSam *sam, SpNn *nn, const SpSamInput *input, const SpSamSizes *s,
                          const float *embedding, const float *position, float *low,
                          const SpSamOutput *output)
{
    const int64_t pixels = 16 * sam->vision.grid * sam->vision.grid;
    SpStream weights = sp_stream_hold(nn, sam->decoder.segment, 1);
    for (int64_t i = 0; i < input->objects; i++) {
        float iou[SP_SAM_MASKS] = {0};
        decode(sam, nn, input, s, i, embedding, position, low, iou);
        const int64_t kept = choose(input->select, iou);
        sp_sam_postprocess(sam, nn, s, low + kept * pixels, NULL, (uint8_t)(i + 1),
                           nn->dry ? NULL : output->mask);
        if (sp_nn_live(nn) && output->iou)
            output->iou[i] = iou[kept];
    }
    sp_stream_end(nn, &weights);
}

/* What looks at one object have in common. */
typedef struct Near {
    const SpSam *sam;
    const SpSamInput *input;
    int64_t object;
    float *embedding;
    const float *position;
    float *low, *mirrored; /* [4, 4G, 4G] */
} Near;

/* What a look shows: the kept mask's IoU, and the box of its pixels if it has any. */
typedef struct Look {
    float iou;
    bool any;
    double box[4];
} Look;

/* The masks of a view, low [4, 4G, 4G], and their IoUs. */
static void logits_of(const Near *near, SpNn *nn, const SpSamSizes *s, float *low,
                      float iou[SP_SAM_MASKS])
{
    encode(near->sam, nn, near->input, s, near->embedding);
    SpStream weights = sp_stream_hold(nn, near->sam->decoder.segment, 1);
    decode(near->sam, nn, near->input, s, near->object, near->embedding, near->position, low, iou);
    sp_stream_end(nn, &weights);
}

/* Looks once more, with left and right changed, and takes the mean of the kept mask's two. */
static void look_mirrored(const Near *near, SpNn *nn, SpSamSizes s, int64_t kept, float *iou)
{
    const int64_t cells = 4 * near->sam->vision.grid, first = kept * cells * cells;
    float again[SP_SAM_MASKS] = {0};
    s.view.mirrored = true;
    logits_of(near, nn, &s, near->mirrored, again);
    *iou = (*iou + again[kept]) / 2;
    for (int64_t i = 0; sp_nn_live(nn) && i < cells * cells; i++) {
        const int64_t other = first + i / cells * cells + cells - 1 - i % cells;
        near->low[first + i] = (near->low[first + i] + near->mirrored[other]) / 2;
    }
}

/* Looks at the object in a view, for the last time in both ways; the mask goes into host `mask`
 * [height, width] (NULL: not wanted). */
static Look look_at(const Near *near, SpNn *nn, SpSamSizes s, SpSamView view, bool last,
                    uint8_t *mask)
{
    const int64_t pixels = 16 * near->sam->vision.grid * near->sam->vision.grid;
    float iou[SP_SAM_MASKS] = {0};
    s.view = view;
    logits_of(near, nn, &s, near->low, iou);
    const int64_t kept = choose(near->input->select, iou);
    Look look = {.iou = iou[kept]};
    if (last)
        look_mirrored(near, nn, s, kept, &look.iou);
    if (sp_nn_live(nn))
        look.any = sp_sam_view_mask(near->sam, &s, near->low + kept * pixels,
                                    (uint8_t)(near->object + 1), mask, look.box);
    return look;
}

/* The best of looks of several sizes around the first point on the object (src/lite/sam_view.py).
 */
static Look look_around(const Near *near, SpNn *nn, const SpSamSizes *s, const SpSamPrompt *prompt)
{
    static const double shares[] = {1, 0.5, 0.25}; /* of the picture's longer side */
    const double extent = (double)(s->height > s->width ? s->height : s->width);
    int64_t first = 0;
    while (first < prompt->points - 1 && prompt->label[first] != 1)
        first++;
    const double x = prompt->point[2 * first], y = prompt->point[2 * first + 1];
    Look best = {0};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        const SpSamView view = sp_sam_view_of((double[4]){x, y, x, y}, shares[i] * extent);
        const Look look = look_at(near, nn, *s, view, false, NULL);
        if (i == 0 || look.iou > best.iou)
            best = look;
    }
    return best;
}

/* One object from near: around its box, or around what its points find. */
static void segment_near(const Near *near, SpNn *nn, const SpSamSizes *s, const SpSamOutput *output)
{
    const SpSamPrompt *prompt = &near->input->prompt[near->object];
    Look found = {.any = true};
    if (prompt->box)
        memcpy(found.box, prompt->box, sizeof found.box);
    else
        found = look_around(near, nn, s, prompt);
    if (found.any || nn->dry)
        found = look_at(near, nn, *s, sp_sam_view_of(found.box, near->sam->zoom), true,
                        nn->dry ? NULL : output->mask);
    if (sp_nn_live(nn) && output->iou)
        output->iou[near->object] = found.iou;
}

SpStatus sp_sam_run(const SpSam *sam, SpNn *nn, const SpSamInput *input, const SpSamOutput *output)
{
    const SpSamSizes s = sp_sam_sizes(sam, input->height, input->width, input->short_side);
    const int64_t cells = sam->vision.grid * sam->vision.grid;
    const SpNnMark mark = sp_nn_mark(nn);
    float *embedding = sp_nn_floats(nn, cells * sam->width);
    sp_nn_precision(nn, SP_PRECISION_TF32);
    if (sam->zoom == 0)
        encode(sam, nn, input, &s, embedding);
    const float *position = position_map(sam, nn);
    const size_t masks = (size_t)(SP_SAM_MASKS * 16 * cells) * sizeof(float);
    float *low = sp_nn_host(nn, masks), *mirrored = sam->zoom > 0 ? sp_nn_host(nn, masks) : NULL;
    if (sp_nn_live(nn))
        memset(output->mask, 0, (size_t)(input->height * input->width));
    if (sam->zoom == 0)
        segment_whole(sam, nn, input, &s, embedding, position, low, output);
    for (int64_t i = 0; sam->zoom > 0 && i < input->objects; i++)
        segment_near(&(Near){sam, input, i, embedding, position, low, mirrored}, nn, &s, output);
    sp_nn_precision(nn, SP_PRECISION_F32);
    sp_nn_release(nn, mark);
    return nn->status;
}
