#include "cli/info.h"

#include "kernels/devices.h"
#include "store/locate.h"
#include "store/registry.h"

static void print_model(FILE *stream, const char *weights, const char *name)
{
    SpLocated place;
    SpCheckpoint *checkpoint;
    SpStatus status = sp_weights_locate(weights, name, &place);
    if (status.code == SP_OK && !sp_weights_exist(&place, name)) {
        fprintf(stream, "%s: none\n", name);
        return;
    }
    if (status.code == SP_OK)
        status = sp_weights_open(&place, name, &checkpoint);
    if (status.code != SP_OK) {
        fprintf(stream, "%s: %s\n", name, status.text);
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
            print_model(stream, weights, sp_model_info(id)->name);
}
