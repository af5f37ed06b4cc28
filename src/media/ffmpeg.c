#include "media/ffmpeg.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define LIBRARY(name, major)                                                                       \
    {                                                                                              \
        "lib" name ".so." AV_STRINGIFY(major), "lib" name AV_STRINGIFY(major)                      \
    }

typedef enum Library { util, codec, format, scale, LIBRARIES } Library;

/* Each library and the package it comes in on Debian and Ubuntu. */
static const struct {
    const char *file, *package;
} names[LIBRARIES] = {
    [util] = LIBRARY("avutil", LIBAVUTIL_VERSION_MAJOR),
    [codec] = LIBRARY("avcodec", LIBAVCODEC_VERSION_MAJOR),
    [format] = LIBRARY("avformat", LIBAVFORMAT_VERSION_MAJOR),
    [scale] = LIBRARY("swscale", LIBSWSCALE_VERSION_MAJOR),
};

static const struct {
    Library library;
    const char *name;
    size_t field;
} functions[] = {
#define ENTRY(library, name) {library, #name, offsetof(SpFfmpeg, name)},
    SP_FFMPEG_FUNCTIONS(ENTRY)
#undef ENTRY
};

static SpFfmpeg table;
static bool loaded;

/* `why`: the loader's own words. Those about memory are ENOMEM's and the loader's for a file that
 * is there and cannot be mapped. */
static SpStatus cannot_load(const char *package, const char *why)
{
    const bool memory = strstr(why, strerror(ENOMEM)) || strstr(why, "failed to map segment") ||
                        strstr(why, "cannot map zero-fill pages");
    if (memory)
        return sp_error(SP_MEMORY, "not enough memory to load FFmpeg: %.300s", why);
    return sp_error(SP_INPUT, "cannot load FFmpeg (package %s), which reads videos: %.300s",
                    package, why);
}

SpStatus sp_ffmpeg_load(const SpFfmpeg **out)
{
    void *handles[LIBRARIES];
    *out = &table;
    if (loaded)
        return sp_ok();
    for (int i = 0; i < LIBRARIES; i++) {
        handles[i] = dlopen(names[i].file, RTLD_NOW | RTLD_LOCAL);
        if (!handles[i])
            return cannot_load(names[i].package, dlerror());
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(handles[functions[i].library], functions[i].name);
        if (!function)
            return sp_error(SP_INPUT, "FFmpeg's %s lacks %s", names[functions[i].library].file,
                            functions[i].name);
        memcpy((char *)&table + functions[i].field, &function, sizeof function);
    }
    table.av_log_set_level(AV_LOG_QUIET);
    loaded = true;
    return sp_ok();
}

const char *sp_ffmpeg_version(void)
{
    return loaded ? table.av_version_info() : NULL;
}
