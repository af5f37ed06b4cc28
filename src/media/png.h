/* PNG files through libpng. */
#ifndef SP_MEDIA_PNG_H
#define SP_MEDIA_PNG_H

#include <stdint.h>

#include "base/status.h"

/* Reads any PNG as one byte of brightness a pixel, [height, width]; where it is transparent the
 * pixel is 0. *pixels is malloc'ed and the caller's. SP_INPUT naming the file; SP_MEMORY. */
SpStatus sp_png_read_gray(const char *path, int64_t *height, int64_t *width, uint8_t **pixels);

#endif
