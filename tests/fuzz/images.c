/* Images: masks, and what headers say of orientation. */
#include <stdlib.h>

#include "fuzz/targets.h"
#include "input/masks.h"
#include "media/exif.h"

void fuzz_png(const uint8_t *data, size_t size)
{
    static const SpFramePlan plan = {.input_height = 7, .input_width = 9};
    uint8_t *mask;
    if (!fuzz_expect(sp_mask_read(fuzz_file(data, size), &plan, &mask), SP_INPUT))
        return;
    for (int i = 0; i < 7 * 9; i++)
        if (mask[i] > 1)
            abort();
    free(mask);
}

void fuzz_exif(const uint8_t *data, size_t size)
{
    const int orientation = sp_exif_orientation(data, size);
    if (orientation < 0 || orientation > 8)
        abort();
    sp_jpeg_is_cut(data, size);
}
