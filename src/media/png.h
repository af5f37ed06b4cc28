/* PNG files through libpng. */
#ifndef SP_MEDIA_PNG_H
#define SP_MEDIA_PNG_H

#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

/* Reads any PNG as one byte a pixel, [height, width]: its brightest channel, and 0 only where the
 * pixel is black or transparent. *pixels is malloc'ed and the caller's. At most 32768 pixels a side
 * and 2^26 in all. SP_INPUT naming the file; SP_MEMORY. */
SpStatus sp_png_read_gray(const char *path, int64_t *height, int64_t *width, uint8_t **pixels);

/* Writes pixels [h, w, channels], gray (1) or RGB (3), to `stream`, which stays the caller's;
 * `label` is what messages call it. SP_OUTPUT. */
SpStatus sp_png_write(FILE *stream, const char *label, int64_t h, int64_t w, int64_t channels,
                      const uint8_t *pixels);

/* An image to write. */
typedef struct SpPngImage {
    int64_t height, width, channels; /* 1: gray, 3: RGB */
    int bits;                        /* of a channel: 8 or 16, as uint8_t or uint16_t */
    const void *pixels;              /* [height, width, channels] */
    const char *const *text;         /* keyword, text, keyword, ..., NULL: what it says of itself */
} SpPngImage;

/* Writes an image to `stream`, quickly rather than small. SP_OUTPUT; SP_MEMORY. */
SpStatus sp_png_write_image(FILE *stream, const char *label, const SpPngImage *image);

#endif
