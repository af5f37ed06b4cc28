#include "cli/compact_weights.h"

#include <stdio.h>

#include "output/atomic.h"
#include "store/compact.h"
#include "store/locate.h"

static SpStatus compact_model(const SpLocated *place, SpConsole *console)
{
    SpAtomicFile file;
    size_t bytes;
    char path[SP_FOLDER_CAPACITY + sizeof SP_COMPACT_NAME];
    snprintf(path, sizeof path, "%s/%s", place->folder, SP_COMPACT_NAME);
    if (sp_compact_is_current(place->folder)) {
        sp_console_note(console, "%s is up to date", path);
        return sp_ok();
    }
    SP_TRY(sp_atomic_open(path, "--weights", &file));
    SpStatus status = sp_compact_write(place->folder, file.stream, &bytes);
    if (status.code == SP_OK)
        status = sp_atomic_commit(&file);
    sp_atomic_abandon(&file);
    if (status.code == SP_OK)
        sp_console_note(console, "%s: %.1f MB", path, (double)bytes / (1 << 20));
    return status;
}

SpStatus sp_compact_weights(const char *weights, SpConsole *console)
{
    SpStatus missing = sp_error(SP_CHECKPOINT,
                                "no published weights of the front or of SAM are installed; "
                                "%s front fetches them",
                                sp_weights_make());
    bool any = false;
    for (SpModelId id = 0; id < SP_MODELS; id++) {
        SpLocated place;
        if (!sp_model_info(id)->compact)
            continue;
        const SpStatus found = sp_weights_locate(weights, id, &place);
        if (found.code != SP_OK && id == SP_MODEL_FRONT)
            missing = found;
        if (found.code != SP_OK || place.embedded)
            continue;
        any = true;
        SP_TRY(compact_model(&place, console));
    }
    return any ? sp_ok() : missing;
}
