#define _GNU_SOURCE /* asprintf */

#include "media/images.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

bool sp_images_is_name(const char *name)
{
    static const char *const ends[] = {"png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "ppm"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && name[0] != '.' && i < sizeof ends / sizeof *ends; i++)
        if (strcasecmp(dot + 1, ends[i]) == 0)
            return true;
    return false;
}

static SpStatus add_image(SpImages *images, const char *folder, const char *name)
{
    char **grown = realloc(images->path, (size_t)(images->count + 1) * sizeof *grown);
    if (!grown)
        return sp_no_memory("the list of images");
    images->path = grown;
    if (asprintf(&grown[images->count], "%s%s%s", folder, *folder ? "/" : "", name) < 0)
        return sp_no_memory("the list of images");
    images->count++;
    return sp_ok();
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

SpStatus sp_images_of_folder(const char *path, SpImages *out)
{
    DIR *folder = opendir(path);
    if (!folder)
        return sp_error(SP_INPUT, "cannot open %.400s: %s", path, strerror(errno));
    SpStatus status = sp_ok();
    for (const struct dirent *entry; status.code == SP_OK && (entry = readdir(folder));)
        if (sp_images_is_name(entry->d_name))
            status = add_image(out, path, entry->d_name);
    closedir(folder);
    if (status.code != SP_OK)
        return status;
    if (out->count == 0)
        return sp_error(SP_INPUT, "%.400s: a folder without images (png, jpg, bmp, tif, webp, ppm)",
                        path);
    qsort(out->path, (size_t)out->count, sizeof *out->path, by_name);
    return sp_ok();
}

bool sp_images_is_pattern(const char *pattern)
{
    int numbers = 0;
    for (const char *at = strchr(pattern, '%'); at; at = strchr(at, '%')) {
        const size_t digits = strspn(++at, "0123456789");
        const bool number = digits <= 3 && at[digits] == 'd';
        if (!number && *at != '%')
            return false;
        numbers += number;
        at += digits + 1;
    }
    return numbers == 1;
}

SpStatus sp_images_of_pattern(const char *pattern, SpImages *out)
{
    char path[4096];
    struct stat info;
    int number = 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    for (;; number++) { /* sp_images_is_pattern has checked the format */
        const int length = snprintf(path, sizeof path, pattern, number);
        if (length > 0 && (size_t)length < sizeof path && stat(path, &info) == 0)
            SP_TRY(add_image(out, "", path));
        else if (out->count || number >= 4)
            break;
    }
#pragma GCC diagnostic pop
    if (out->count == 0)
        return sp_error(SP_INPUT, "%.400s: no image has number 0 to 4 of this pattern", pattern);
    return sp_ok();
}

void sp_images_free(SpImages *images)
{
    for (int64_t i = 0; i < images->count; i++)
        free(images->path[i]);
    free(images->path);
    *images = (SpImages){0};
}
