#include "input/masks.h"

#include <stdlib.h>

#include "base/nearest.h"
#include "media/png.h"

SpStatus sp_mask_read(const char *path, const SpFramePlan *plan, uint8_t **mask)
{
    const int64_t rows = plan->input_height, columns = plan->input_width;
    int64_t height, width;
    uint8_t *file;
    SP_TRY(sp_png_read_gray(path, &height, &width, &file));
    *mask = malloc((size_t)(rows * columns));
    for (int64_t i = 0; *mask && i < rows; i++) {
        const uint8_t *from = file + sp_nearest_index(i, height, rows) * width;
        for (int64_t j = 0; j < columns; j++)
            (*mask)[i * columns + j] = from[sp_nearest_index(j, width, columns)] > 0;
    }
    free(file);
    return *mask ? sp_ok() : sp_no_memory("the mask");
}
