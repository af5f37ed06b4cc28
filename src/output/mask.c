/* The mask that SAM found, as an 8-bit PNG: object k of n has value 255 k / n. */
#include <stdlib.h>

#include "media/png.h"
#include "output/formats.h"

static SpStatus write_mask(const SpAtomicFile *file, const SpOutput *output)
{
    const SpFramePlan *plan = &output->result->clip->plan;
    const int64_t pixels = plan->input_height * plan->input_width;
    uint8_t *gray = malloc((size_t)pixels);
    if (!gray)
        return sp_no_memory("the mask");
    for (int64_t i = 0; i < pixels; i++)
        gray[i] = (uint8_t)(255 * output->mask[i] / output->result->objects);
    const SpStatus status =
        sp_png_write(file->stream, file->label, plan->input_height, plan->input_width, 1, gray);
    free(gray);
    return status;
}

const SpFormat sp_format_mask = {.product = SP_PRODUCT_MASK,
                                 .ending = ".png",
                                 .what = "a gray level an object",
                                 .write = write_mask};
