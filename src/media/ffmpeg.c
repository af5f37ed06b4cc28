#include "media/ffmpeg.h"

#include <dlfcn.h>
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

SpStatus sp_ffmpeg_load(const SpFfmpeg **out)
{
    void *handles[LIBRARIES];
    *out = &table;
    if (loaded)
        return sp_ok();
    for (int i = 0; i < LIBRARIES; i++) {
        handles[i] = dlopen(names[i].file, RTLD_NOW | RTLD_LOCAL);
        if (!handles[i])
            return sp_error(SP_INPUT,
                            "cannot read videos without FFmpeg's %s; install it (package %s)",
                            names[i].file, names[i].package);
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
