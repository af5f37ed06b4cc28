#include "media/png.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SIDE = 32768 };

/* libpng's simplified interface lays colour and transparency over black for us. */
static SpStatus read_image(png_image *image, const char *path, uint8_t **pixels)
{
    static const png_color black = {0, 0, 0};
    if (image->width > MOST_SIDE || image->height > MOST_SIDE)
        return sp_error(SP_INPUT, "%.300s: %ux%u pixels; at most %d a side", path, image->width,
                        image->height, MOST_SIDE);
    image->format = PNG_FORMAT_GRAY;
    image->flags |= PNG_IMAGE_FLAG_16BIT_sRGB; /* half as bright in 16 bits is half in 8 */
    *pixels = malloc(PNG_IMAGE_SIZE(*image));
    if (!*pixels)
        return sp_no_memory("the mask");
    if (png_image_finish_read(image, &black, *pixels, 0, NULL))
        return sp_ok();
    free(*pixels);
    *pixels = NULL;
    return sp_error(SP_INPUT, "%.300s: damaged PNG (%.100s)", path, image->message);
}

SpStatus sp_png_read_gray(const char *path, int64_t *height, int64_t *width, uint8_t **pixels)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    *pixels = NULL;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return sp_error(SP_INPUT, "cannot open %.400s: %s", path, strerror(errno));
    SpStatus status = png_image_begin_read_from_stdio(&image, file)
                          ? read_image(&image, path, pixels)
                          : sp_error(SP_INPUT, "%.300s: not a PNG (%.100s)", path, image.message);
    *height = image.height;
    *width = image.width;
    png_image_free(&image);
    fclose(file);
    return status;
}

SpStatus sp_png_write_rgb(FILE *stream, const char *label, int64_t h, int64_t w, const uint8_t *rgb)
{
    if (h < 1 || w < 1 || h > MOST_SIDE || w > MOST_SIDE)
        return sp_error(SP_OUTPUT, "cannot write %.300s: %lldx%lld pixels; 1 to %d a side", label,
                        (long long)w, (long long)h, MOST_SIDE);
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)w,
                       .height = (png_uint_32)h,
                       .format = PNG_FORMAT_RGB};
    errno = 0;
    const int written = png_image_write_to_stdio(&image, stream, 0, rgb, 0, NULL);
    const int why = errno;
    png_image_free(&image);
    return written ? sp_ok()
                   : sp_error(SP_OUTPUT, "cannot write %.300s: %.100s", label,
                              why ? strerror(why) : image.message);
}
