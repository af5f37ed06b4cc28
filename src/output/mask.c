#include "output/mask.h"

#include <stdlib.h>

#include "media/png.h"

SpStatus sp_mask_write(const char *path, const SpFramePlan *plan, const uint8_t *mask,
                       int64_t objects, SpAtomicFile *file)
{
    const int64_t pixels = plan->input_height * plan->input_width;
    uint8_t *gray = malloc((size_t)pixels);
    if (!gray)
        return sp_no_memory("the mask");
    for (int64_t i = 0; i < pixels; i++)
        gray[i] = (uint8_t)(255 * mask[i] / objects);
    SpStatus status = sp_atomic_open_for(path, "--mask-out", file);
    if (status.code == SP_OK)
        status = sp_png_write_gray(file->stream, file->label, plan->input_height, plan->input_width,
                                   gray);
    if (status.code == SP_OK)
        status = sp_atomic_settle(file);
    free(gray);
    return status;
}
