#include "output/formats.h"

#include <string.h>

/* A new format is one entry here, and a file of this folder that defines its sp_format_NAME. */
#define EACH_FORMAT(X)                                                                             \
    X(npz) X(csv) X(video) X(sheet) X(mask) X(report) X(usd) X(cameras) X(chan) X(ply) X(viewer)

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

const SpFormat *sp_format_of(SpProduct product, const char *path)
{
    const SpFormat *format;
    for (int i = 0; (format = sp_format_at(product, i)); i++) {
        const size_t length = strlen(path), ending = strlen(format->ending);
        if (length >= ending && strcmp(path + length - ending, format->ending) == 0)
            return format;
    }
    return NULL;
}
