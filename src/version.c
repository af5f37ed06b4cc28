#include "version.h"

#include <cblas.h>
#include <cjson/cJSON.h>
#include <png.h>
#include <zlib.h>

#include "media/ffmpeg.h"

int sp_libraries(SpLibraryVersion *out, int room)
{
    const SpLibraryVersion all[] = {{"OpenBLAS", openblas_get_config()},
                                    {"cJSON", cJSON_Version()},
                                    {"libpng", png_get_libpng_ver(NULL)},
                                    {"zlib", zlibVersion()},
                                    {"FFmpeg", sp_ffmpeg_version()}};
    int count = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all && count < room; i++)
        if (all[i].version)
            out[count++] = all[i];
    return count;
}

void sp_version_print(FILE *stream)
{
    SpLibraryVersion libraries[SP_REPORT_LIBRARIES];
    const int count = sp_libraries(libraries, SP_REPORT_LIBRARIES);
    fprintf(stream, "spatrack %s\n", SP_VERSION);
    for (int i = 0; i < count; i++)
        fprintf(stream, "%s %s\n", libraries[i].name, libraries[i].version);
}
