#include "pipeline/libraries.h"

#include <stdbool.h>

#include <cjson/cJSON.h>
#include <png.h>
#include <zlib.h>

#include "media/ffmpeg.h"

int sp_libraries(SpLibraryVersion out[SP_REPORT_LIBRARIES])
{
    const SpLibraryVersion all[] = {{"cJSON", cJSON_Version()},
                                    {"libpng", png_get_libpng_ver(NULL)},
                                    {"zlib", zlibVersion()},
                                    {"FFmpeg", sp_ffmpeg_version()}};
    int count = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].version)
            out[count++] = all[i];
    return count;
}
