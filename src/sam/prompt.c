/* src/sam/README.md, "Prompt encoder", on the host: a few rows of D values, and one map. */
#include <math.h>
#include <string.h>

#include "sam/internal.h"

/* The position code of (x, y), 0..1 of the model image. */
static void position_code(const SpSam *sam, double x, double y, float *out)
{
    const int64_t half = sam->width / 2;
    const float cx = (float)(2 * x - 1), cy = (float)(2 * y - 1);
    const float *gauss = sam->prompt.gauss;
    for (int64_t f = 0; f < half; f++) {
        const float turns = cx * gauss[f] + cy * gauss[half + f];
        const float angle = 6.28318530717958648f * turns;
        out[f] = sinf(angle);
        out[half + f] = cosf(angle);
    }
}

int64_t sp_sam_sparse_count(const SpPrompt *prompt)
{
    const int64_t closing = prompt->points && !prompt->box;
    return prompt->points + closing + (prompt->box ? 2 : 0);
}

/* The token of pixel (x, y) with what kind of point it is. */
static void point_token(const SpSam *sam, double x, double y, const float *kind, float *out)
{
    const double side = (double)sam->side;
    position_code(sam, (x + 0.5) / side, (y + 0.5) / side, out);
    for (int64_t i = 0; i < sam->width; i++)
        out[i] += kind[i];
}

void sp_sam_sparse(const SpSam *sam, const SpPrompt *prompt, float *out)
{
    const SpSamPromptEncoder *p = &sam->prompt;
    const size_t row = (size_t)sam->width * sizeof *out;
    for (int64_t i = 0; i < prompt->points; i++, out += sam->width) {
        const double *at = prompt->point + 2 * i;
        if (prompt->label[i] >= 0)
            point_token(sam, at[0], at[1], p->corner[prompt->label[i] > 0], out);
        else if (prompt->label[i] == -1)
            memcpy(out, p->no_point, row);
        else
            memset(out, 0, row);
    }
    if (prompt->points && !prompt->box)
        memcpy(out, p->no_point, row);
    for (int i = 0; prompt->box && i < 2; i++, out += sam->width)
        point_token(sam, prompt->box[2 * i], prompt->box[2 * i + 1], p->corner[2 + i], out);
}

void sp_sam_image_position(const SpSam *sam, float *out)
{
    const int64_t grid = sam->vision.grid;
    for (int64_t i = 0; i < grid; i++)
        for (int64_t j = 0; j < grid; j++, out += sam->width)
            position_code(sam, ((double)j + 0.5) / (double)grid, ((double)i + 0.5) / (double)grid,
                          out);
}
