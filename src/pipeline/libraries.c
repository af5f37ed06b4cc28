#include "pipeline/libraries.h"

#include <stdbool.h>

#include <cjson/cJSON.h>
#include <isa-l.h>
#include <png.h>
#include <zlib.h>

#include "media/ffmpeg.h"

#define TEXT(x)         #x
#define DOTTED(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)
/* It has no function that tells: what it was built with. */
#define ISAL DOTTED(ISAL_MAJOR_VERSION, ISAL_MINOR_VERSION, ISAL_PATCH_VERSION)

int sp_libraries(SpLibraryVersion out[SP_REPORT_LIBRARIES])
{
    const SpLibraryVersion all[] = {{"cJSON", cJSON_Version()},
                                    {"libpng", png_get_libpng_ver(NULL)},
                                    {"zlib", zlibVersion()},
                                    {"ISA-L", ISAL},
                                    {"FFmpeg", sp_ffmpeg_version()}};
    int count = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].version)
            out[count++] = all[i];
    return count;
}
