#include "cli/version.h"

#include "pipeline/libraries.h"

void sp_version_print(FILE *stream)
{
    SpLibraryVersion libraries[SP_REPORT_LIBRARIES];
    const int count = sp_libraries(libraries, SP_REPORT_LIBRARIES);
    fprintf(stream, "spatrack %s\n", SP_VERSION);
    for (int i = 0; i < count; i++)
        fprintf(stream, "%s %s\n", libraries[i].name, libraries[i].version);
}
