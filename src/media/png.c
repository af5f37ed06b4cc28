#include "media/png.h"

#include <errno.h>
#include <png.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 32768, MAX_PIXELS = 1 << 26 };

/* The brightest channel of RGB pixels of 1 or 2 bytes a channel as a byte, so that what is not
 * black is not 0. */
static SpStatus to_gray(const void *rgb, bool wide, size_t count, uint8_t **pixels)
{
    const uint16_t *words = rgb;
    const uint8_t *bytes = rgb;
    *pixels = calloc(count, 1);
    if (!*pixels)
        return sp_no_memory("the mask");
    for (size_t i = 0; i < 3 * count; i++) {
        const int whole = wide ? words[i] >> 8 : bytes[i];
        const int value = whole == 0 && wide && words[i] ? 1 : whole;
        if (value > (*pixels)[i / 3])
            (*pixels)[i / 3] = (uint8_t)value;
    }
    return sp_ok();
}

/* libpng's simplified interface lays transparency over black for us. It keeps 16 bits when asked
 * for linear light, and would round dark bytes away on that path. */
static SpStatus read_image(png_image *image, const char *path, uint8_t **pixels)
{
    static const png_color black = {0, 0, 0};
    const size_t count = (size_t)image->width * image->height;
    if (image->width > MAX_SIDE || image->height > MAX_SIDE || count > MAX_PIXELS)
        return sp_error(SP_INPUT, "%.300s: %ux%u pixels; at most %d a side and %d million", path,
                        image->width, image->height, MAX_SIDE, MAX_PIXELS / 1000000);
    const bool wide = image->format & PNG_FORMAT_FLAG_LINEAR;
    image->format = wide ? PNG_FORMAT_LINEAR_RGB : PNG_FORMAT_RGB;
    void *rgb = malloc(PNG_IMAGE_SIZE(*image));
    if (!rgb)
        return sp_no_memory("the mask");
    const SpStatus status =
        png_image_finish_read(image, &black, rgb, 0, NULL)
            ? to_gray(rgb, wide, count, pixels)
            : sp_error(SP_INPUT, "%.300s: damaged PNG (%.100s)", path, image->message);
    free(rgb);
    return status;
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

static SpStatus check_size(const char *label, int64_t h, int64_t w)
{
    if (h >= 1 && w >= 1 && h <= MAX_SIDE && w <= MAX_SIDE)
        return sp_ok();
    return sp_error(SP_OUTPUT, "cannot write %.300s: %lldx%lld pixels; 1 to %d a side", label,
                    (long long)w, (long long)h, MAX_SIDE);
}

SpStatus sp_png_write(FILE *stream, const char *label, int64_t h, int64_t w, int64_t channels,
                      const uint8_t *pixels)
{
    SP_TRY(check_size(label, h, w));
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)w,
                       .height = (png_uint_32)h,
                       .format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    errno = 0;
    const int written = png_image_write_to_stdio(&image, stream, 0, pixels, 0, NULL);
    const int why = errno;
    png_image_free(&image);
    return written ? sp_ok()
                   : sp_error(SP_OUTPUT, "cannot write %.300s: %.100s", label,
                              why ? strerror(why) : image.message);
}

/* libpng's own words, for what errno does not say. */
static void keep_message(png_structp png, png_const_charp message)
{
    snprintf(png_get_error_ptr(png), sizeof(SpStatus){0}.text, "%s", message);
    png_longjmp(png, 1);
}

static void ignore(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void put_text(png_structp png, png_infop info, const char *const *text)
{
    for (int i = 0; text && text[i]; i += 2) {
        png_text one = {.compression = PNG_TEXT_COMPRESSION_NONE};
        one.key = (char *)text[i]; /* libpng copies it */
        one.text = (char *)text[i + 1];
        png_set_text(png, info, &one, 1);
    }
}

static void put_image(png_structp png, png_infop info, const SpPngImage *image)
{
    const size_t row = (size_t)(image->width * image->channels * image->bits / 8);
    const uint16_t one = 1;
    png_set_IHDR(png, info, (png_uint_32)image->width, (png_uint_32)image->height, image->bits,
                 image->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    put_text(png, info, image->text);
    png_set_compression_level(png, 1);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_SUB);
    png_write_info(png, info);
    if (image->bits == 16 && *(const uint8_t *)&one)
        png_set_swap(png); /* a PNG is big endian */
    for (int64_t y = 0; y < image->height; y++)
        png_write_row(png, (const uint8_t *)image->pixels + (size_t)y * row);
    png_write_end(png, info);
}

SpStatus sp_png_write_image(FILE *stream, const char *label, const SpPngImage *image)
{
    char message[sizeof(SpStatus){0}.text] = "";
    SP_TRY(check_size(label, image->height, image->width));
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, message, keep_message, ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    volatile bool written = false;
    errno = 0;
    if (info && setjmp(png_jmpbuf(png)) == 0) {
        png_init_io(png, stream);
        put_image(png, info, image);
        written = true;
    }
    const int why = errno;
    png_destroy_write_struct(&png, &info);
    if (written)
        return sp_ok();
    return !*message || why == ENOMEM ? sp_no_memory(label)
                                      : sp_error(SP_OUTPUT, "cannot write %.300s: %.100s", label,
                                                 why ? strerror(why) : message);
}
