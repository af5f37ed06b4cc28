/*
 * A video given as a folder or a numbered pattern of images.
 */
#ifndef SP_MEDIA_IMAGES_H
#define SP_MEDIA_IMAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Paths in the order of the frames; owned, released by sp_images_free also after a failure. */
typedef struct SpImages {
    char **path;
    int64_t count;
    int64_t matching; /* images that exist: of a pattern those behind a gap, too */
    int64_t missing;  /* of a pattern, the first number after `count` images */
} SpImages;

/* Whether a file of that name in a folder is one of its images, by its ending. */
bool sp_images_is_name(const char *name);

/* The images (png, jpg, bmp, tif, webp, ppm) of a folder by name, runs of digits by their
 * value, added to *out, which must be empty. SP_INPUT when the folder cannot be read or has none;
 * SP_MEMORY. */
SpStatus sp_images_of_folder(const char *path, SpImages *out);

/* Whether `pattern` has exactly one %d, of the form %5d or %05d, and %% besides. */
bool sp_images_is_pattern(const char *pattern);

/* The images pattern(first), pattern(first + 1), ... up to the first gap; `first` is the smallest
 * number that exists. SP_INPUT when there are none; SP_MEMORY. */
SpStatus sp_images_of_pattern(const char *pattern, SpImages *out);

/* Frees the paths; the list is empty afterwards. */
void sp_images_free(SpImages *images);

#endif
