#define _GNU_SOURCE /* asprintf */

#include "media/images.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/folder.h"

#define DIGITS "0123456789"

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

/* Runs of digits as numbers, everything else by bytes: "f2" comes before "f10". */
static int natural_order(const char *a, const char *b)
{
    while (*a && *b) {
        const bool numbers = isdigit((unsigned char)*a) && isdigit((unsigned char)*b);
        if (numbers) {
            a += strspn(a, "0");
            b += strspn(b, "0");
        }
        const size_t digits = numbers ? strspn(a, DIGITS) : 1;
        if (numbers && digits != strspn(b, DIGITS))
            return digits < strspn(b, DIGITS) ? -1 : 1;
        const int order = memcmp(a, b, digits);
        if (order)
            return order;
        a += digits;
        b += digits;
    }
    return (*a != 0) - (*b != 0);
}

static int by_name(const void *a, const void *b)
{
    const char *one = *(const char *const *)a, *two = *(const char *const *)b;
    const int order = natural_order(one, two);
    return order ? order : strcmp(one, two); /* "f1" and "f01" */
}

SpStatus sp_images_of_folder(const char *path, SpImages *out)
{
    DIR *folder = opendir(path);
    if (!folder)
        return sp_error(SP_INPUT, "cannot open %.400s: %s", path, strerror(errno));
    int error = 0;
    SpStatus status = sp_ok();
    for (const struct dirent *entry;
         status.code == SP_OK && (entry = sp_folder_next(folder, &error));)
        if (sp_images_is_name(entry->d_name))
            status = add_image(out, path, entry->d_name);
    closedir(folder);
    if (error)
        status = sp_error(SP_INPUT, "cannot read %.400s: %s", path, strerror(error));
    if (status.code != SP_OK)
        return status;
    if (out->count == 0)
        return sp_error(SP_INPUT, "%.400s: a folder without images (png, jpg, bmp, tif, webp, ppm)",
                        path);
    qsort(out->path, (size_t)out->count, sizeof *out->path, by_name);
    out->matching = out->count;
    return sp_ok();
}

bool sp_images_is_pattern(const char *pattern)
{
    int numbers = 0;
    for (const char *at = strchr(pattern, '%'); at; at = strchr(at, '%')) {
        const size_t digits = strspn(++at, DIGITS);
        const bool number = digits <= 3 && at[digits] == 'd';
        if (!number && *at != '%')
            return false;
        numbers += number;
        at += digits + 1;
    }
    return numbers == 1;
}

/* A pattern's parts: `folder` is listed for names that begin with `prefix`, a number behind it. */
typedef struct Pattern {
    const char *format;
    char folder[PATH_MAX], prefix[PATH_MAX]; /* folder: empty or with its slash */
    size_t digits;                           /* right behind the number */
} Pattern;

static SpStatus split_pattern(const char *format, Pattern *out)
{
    char *to = out->folder, *name = out->folder;
    const char *at = format;
    out->format = format;
    if (strlen(format) >= sizeof out->folder)
        return sp_error(SP_INPUT, "%.100s...: the name is too long", format);
    for (; at[0] != '%' || at[1] == '%'; at++) {
        at += at[0] == '%';
        *to++ = *at;
        if (*at == '/')
            name = to;
    }
    *to = 0;
    strcpy(out->prefix, name);
    *name = 0;
    out->digits = strspn(strchr(at, 'd') + 1, DIGITS);
    return sp_ok();
}

static bool path_of(const Pattern *pattern, int number, char path[PATH_MAX])
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    /* sp_images_is_pattern has checked the format */
    const int length = snprintf(path, PATH_MAX, pattern->format, number);
#pragma GCC diagnostic pop
    return length > 0 && length < PATH_MAX;
}

/* The number of a name in the pattern's folder when the file of that number exists, else -1. */
static int number_of(const Pattern *pattern, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    const size_t before = strlen(pattern->folder), length = strlen(name);
    const size_t prefix = strlen(pattern->prefix);
    if (strncmp(name, pattern->prefix, prefix) != 0)
        return -1;
    const char *at = name + prefix + strspn(name + prefix, " "); /* %4d pads with spaces */
    const size_t digits = strspn(at, DIGITS);
    int64_t number = 0;
    for (size_t i = 0; i + pattern->digits < digits && number <= INT_MAX; i++)
        number = 10 * number + (at[i] - '0');
    if (number > INT_MAX || !path_of(pattern, (int)number, path))
        return -1;
    const bool same = strncmp(path + before, name, length) == 0 &&
                      (path[before + length] == 0 || path[before + length] == '/');
    return same && stat(path, &info) == 0 ? (int)number : -1;
}

static int by_number(const void *a, const void *b)
{
    const int one = *(const int *)a, two = *(const int *)b;
    return (one > two) - (one < two);
}

/* The numbers that exist, in order; owned by the caller also after a failure. */
static SpStatus list_numbers(const Pattern *pattern, int **numbers, int64_t *count)
{
    int64_t capacity = 0;
    int error = 0;
    SpStatus status = sp_ok();
    DIR *folder = opendir(*pattern->folder ? pattern->folder : ".");
    if (!folder)
        return sp_error(SP_INPUT, "cannot open %.400s: %s", pattern->folder, strerror(errno));
    for (const struct dirent *entry;
         status.code == SP_OK && (entry = sp_folder_next(folder, &error));) {
        const int number = number_of(pattern, entry->d_name);
        if (number < 0)
            continue;
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            int *grown = realloc(*numbers, (size_t)capacity * sizeof *grown);
            if (!grown) {
                status = sp_no_memory("the list of images");
                break;
            }
            *numbers = grown;
        }
        (*numbers)[(*count)++] = number;
    }
    closedir(folder);
    if (error)
        status = sp_error(SP_INPUT, "cannot read %.400s: %s", pattern->folder, strerror(error));
    if (*count)
        qsort(*numbers, (size_t)*count, sizeof **numbers, by_number);
    return status;
}

/* Those without a gap, from the first one on. */
static SpStatus add_numbers(const Pattern *pattern, const int *numbers, int64_t count,
                            SpImages *out)
{
    char path[PATH_MAX];
    if (count == 0)
        return sp_error(SP_INPUT, "%.400s: no image has a name of this pattern", pattern->format);
    out->matching = count;
    for (int64_t i = 0; i < count && numbers[i] - numbers[0] == i; i++)
        if (path_of(pattern, numbers[i], path))
            SP_TRY(add_image(out, "", path));
    out->missing = numbers[0] + out->count;
    return sp_ok();
}

SpStatus sp_images_of_pattern(const char *format, SpImages *out)
{
    Pattern pattern;
    int *numbers = NULL;
    int64_t count = 0;
    SP_TRY(split_pattern(format, &pattern));
    SpStatus status = list_numbers(&pattern, &numbers, &count);
    if (status.code == SP_OK)
        status = add_numbers(&pattern, numbers, count, out);
    free(numbers);
    return status;
}

void sp_images_free(SpImages *images)
{
    for (int64_t i = 0; i < images->count; i++)
        free(images->path[i]);
    free(images->path);
    *images = (SpImages){0};
}
