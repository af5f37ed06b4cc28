#include "store/locate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lite/embedded.h"

static bool is_checkpoint(const char *folder)
{
    static const char *const files[] = {"model.safetensors", "model.safetensors.index.json"};
    char path[SP_FOLDER_CAPACITY + 40];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

/* root/middle/name if it fits and holds a checkpoint. */
static bool try_folder(const char *root, const char *middle, const char *name, const char *where,
                       SpLocated *out)
{
    if (!root || !*root)
        return false;
    const int length = snprintf(out->folder, sizeof out->folder, "%s%s/%s", root, middle, name);
    out->where = where;
    return length > 0 && (size_t)length < sizeof out->folder && is_checkpoint(out->folder);
}

SpStatus sp_weights_locate(const char *weights, SpModelId model, SpLocated *out)
{
    const char *name = sp_model_info(model)->name;
    const char *parent = weights ? weights : getenv("SPATRACK_WEIGHTS");
    const char *where = weights ? "--weights" : "$SPATRACK_WEIGHTS";
    *out = (SpLocated){.model = model};
    if (parent && *parent) {
        if (try_folder(parent, "", name, where, out))
            return sp_ok();
        return sp_error(SP_CHECKPOINT,
                        "%.150s/%s: no model.safetensors there (%s); %s %s DEST=%.150s fetches it",
                        parent, name, where, sp_weights_make(), name, parent);
    }
    const char *data = getenv("XDG_DATA_HOME");
    const bool found = data && *data
                           ? try_folder(data, "/spatrack/weights", name, "$XDG_DATA_HOME", out)
                           : try_folder(getenv("HOME"), "/.local/share/spatrack/weights", name,
                                        "your data folder", out);
    if (!found && !try_folder(SP_DATADIR, "/spatrack/weights", name, "installed", out))
        *out = (SpLocated){.model = model, .embedded = true, .where = "built in"};
    return sp_ok();
}

bool sp_weights_exist(const SpLocated *located)
{
    return !located->embedded || sp_model_info(located->model)->builtin != SP_LITE_NONE;
}

SpStatus sp_weights_open(const SpLocated *located, SpCheckpoint **out)
{
    const SpModelInfo *model = sp_model_info(located->model);
    size_t size;
    char label[64];
    if (!located->embedded)
        return sp_checkpoint_open(located->folder, out);
    *out = NULL;
    const void *data = sp_embedded((SpLiteWeights)model->builtin, &size);
    if (!data)
        return sp_error(SP_CHECKPOINT, "there are no built-in weights for %s", model->name);
    snprintf(label, sizeof label, "built-in %s weights", model->name);
    return sp_checkpoint_open_memory(data, size, label, out);
}
