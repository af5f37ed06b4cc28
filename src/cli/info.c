#include "cli/info.h"

#include "kernels/devices.h"
#include "pipeline/libraries.h"
#include "store/locate.h"

static void print_model(FILE *stream, const char *weights, SpModelId model)
{
    const char *name = sp_model_info(model)->name;
    SpLocated place;
    SpCheckpoint *checkpoint;
    SpStatus status = sp_weights_locate(weights, model, &place);
    const bool none = status.code == SP_OK && !sp_weights_exist(&place);
    if (status.code == SP_OK && !none)
        status = sp_weights_open(&place, &checkpoint);
    if (none || status.code != SP_OK) {
        fprintf(stream, "%s: %s\n", name, none ? "none" : status.text);
        return;
    }
    fprintf(stream, "%s: %.1f MB, %s%s%s%s\n", name,
            (double)sp_checkpoint_bytes(checkpoint) / (1 << 20), place.embedded ? "" : place.folder,
            place.embedded ? "" : " (", place.where, place.embedded ? "" : ")");
    sp_checkpoint_close(checkpoint);
}

void sp_info_print(FILE *stream, const char *weights)
{
    sp_devices_describe(stream);
    for (SpModelId id = 0; id < SP_MODELS; id++)
        if (sp_model_info(id)->published)
            print_model(stream, weights, id);
}

void sp_version_print(FILE *stream)
{
    SpLibraryVersion libraries[SP_REPORT_LIBRARIES];
    const int count = sp_libraries(libraries);
    fprintf(stream, "spatrack %s\n", SP_VERSION);
    for (int i = 0; i < count; i++)
        fprintf(stream, "%s %s\n", libraries[i].name, libraries[i].version);
}
