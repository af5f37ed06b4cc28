/*
 * What image files say of themselves that FFmpeg does not hand on.
 */
#ifndef SP_MEDIA_EXIF_H
#define SP_MEDIA_EXIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The tag Orientation, 1 to 8, of a TIFF file or of a PNG file's chunk eXIf; 0 where there is none.
 */
int sp_exif_orientation(const uint8_t *data, size_t size);

/* Whether a JPEG file has no marker of its end behind its first scan. */
bool sp_jpeg_is_cut(const uint8_t *data, size_t size);

#endif
