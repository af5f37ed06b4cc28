#include "output/formats.h"

#include <string.h>

/* A new format is one entry here, and a file of this folder that defines its sp_format_NAME. */
#define EACH_FORMAT(X)                                                                             \
    X(npz)                                                                                         \
    X(csv)                                                                                         \
    X(video)                                                                                       \
    X(sheet)                                                                                       \
    X(mask) X(report) X(usd) X(cameras) X(chan) X(ply) X(plys) X(colmap) X(exr) X(png) X(viewer)

#define DECLARE(name) extern const SpFormat sp_format_##name;
EACH_FORMAT(DECLARE)

#define ENTRY(name) &sp_format_##name,
static const SpFormat *const formats[] = {EACH_FORMAT(ENTRY)};
enum { FORMATS = sizeof formats / sizeof *formats };

const SpFormat *sp_format_at(SpProduct product, int index)
{
    for (int i = 0; i < FORMATS; i++)
        if (formats[i]->product == product && index-- == 0)
            return formats[i];
    return NULL;
}

static bool has_pattern(const SpFormat *format)
{
    return format->write_all && !format->names;
}

const SpFormat *sp_format_of(SpProduct product, const char *path)
{
    const SpFormat *format;
    const char *slash = strrchr(path, '/');
    const bool pattern = strchr(slash ? slash : path, '%');
    bool any = false;
    for (int i = 0; (format = sp_format_at(product, i)); i++)
        any |= has_pattern(format);
    for (int i = 0; (format = sp_format_at(product, i)); i++) {
        const char *dot = strrchr(format->ending, '.'), *ending = dot ? dot : format->ending;
        const size_t length = strlen(path), end = strlen(ending);
        if (length >= end && strcmp(path + length - end, ending) == 0 &&
            (!any || has_pattern(format) == pattern))
            return format;
    }
    return NULL;
}

unsigned sp_format_needs(const SpFormat *format)
{
    unsigned needs = SP_PART_ALL & ~(format->unused | format->optional);
    if (!format->needs_tracks)
        needs &= ~(unsigned)(SP_PART_TRACKS | SP_PART_PIXELS);
    return needs;
}
