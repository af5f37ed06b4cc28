/* Checkpoints: a file of tensors, an index of shards, a configuration. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "front/front.h"
#include "fuzz/targets.h"
#include "lite/embedded.h"
#include "sam/sam.h"
#include "store/checkpoint.h"
#include "tracker/tracker.h"

static volatile double touched; /* keeps what is read from being left out */

/* The sum of some of a tensor's values, all of which must lie in the file. */
static double touch(const SpTensor *tensor)
{
    const int64_t count = sp_tensor_count(tensor);
    return count ? sp_tensor_at(tensor, 0) + sp_tensor_at(tensor, count / 2) +
                       sp_tensor_at(tensor, count - 1)
                 : 0;
}

void fuzz_safetensors(const uint8_t *data, size_t size)
{
    SpSafetensors *file;
    const SpTensor *tensor;
    if (!fuzz_expect(sp_safetensors_open(fuzz_file(data, size), SP_CHECKPOINT, &file),
                     SP_CHECKPOINT))
        return;
    for (size_t i = 0; i < sp_safetensors_count(file); i++) {
        const char *name = sp_safetensors_at(file, i, &tensor);
        if (!sp_safetensors_find(file, name))
            abort();
        touched += touch(tensor);
    }
    sp_safetensors_metadata(file, "config");
    sp_safetensors_close(file);
}

static void write_shard(const char *name, char tensor)
{
    char file[200] = {0};
    const int length = snprintf(file + 8, sizeof file - 8,
                                "{\"%c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                                "\"__metadata__\":{\"config\":\"{}\"}}",
                                tensor);
    file[0] = (char)length;
    fuzz_write(name, file, 8 + (size_t)length + 4);
}

/* Beside two shards there are a link out of the folder and one to a device. */
static void make_shards(void)
{
    static int made;
    if (made++)
        return;
    write_shard("1.safetensors", 'a');
    write_shard("2.safetensors", 'b');
    if (symlink("/dev/zero", fuzz_path("zero")) != 0 ||
        symlink("/proc/self/exe", fuzz_path("out")) != 0)
        _exit(99);
}

void fuzz_index(const uint8_t *data, size_t size)
{
    SpCheckpoint *checkpoint;
    make_shards();
    fuzz_write("model.safetensors.index.json", data, size);
    if (fuzz_expect(sp_checkpoint_open(fuzz_folder(), &checkpoint), SP_CHECKPOINT))
        sp_checkpoint_close(checkpoint);
}

static SpStatus bind_model(SpCheckpoint *checkpoint, int model)
{
    SpFront *front;
    SpTracker *tracker;
    SpSam *sam;
    SpStatus status;
    if (model == 0) {
        status = sp_front_open(checkpoint, &front);
        if (status.code == SP_OK)
            sp_front_close(front);
    } else if (model == 1) {
        status = sp_sam_open(checkpoint, &sam);
        if (status.code == SP_OK)
            sp_sam_close(sam);
    } else {
        const SpTrackerMode mode = model == 2 ? SP_TRACKER_OFFLINE : SP_TRACKER_ONLINE;
        status = sp_tracker_open(checkpoint, mode, &tracker);
        if (status.code == SP_OK)
            sp_tracker_close(tracker);
    }
    return status;
}

/* A folder with a built-in model's weights: "0", say. */
static const char *weights_of(int model)
{
    static const SpLiteWeights built_in[] = {SP_LITE_FRONT, SP_LITE_SAM, SP_LITE_TRACKER};
    static bool made[4];
    static char name[64];
    snprintf(name, sizeof name, "%d", model);
    if (made[model])
        return name;
    size_t bytes;
    const void *weights = sp_embedded(built_in[model < 2 ? model : 2], &bytes);
    if (mkdir(fuzz_path(name), 0777) != 0)
        _exit(99);
    snprintf(name, sizeof name, "%d/model.safetensors", model);
    fuzz_write(name, weights, bytes);
    made[model] = true;
    return weights_of(model);
}

/* The first byte chooses which built-in model the configuration is given to. */
void fuzz_config(const uint8_t *data, size_t size)
{
    const int model = fuzz_take(&data, &size) % 4;
    const char *folder = weights_of(model);
    char config[80];
    SpCheckpoint *checkpoint;
    snprintf(config, sizeof config, "%s/config.json", folder);
    fuzz_write(config, data, size);
    if (!fuzz_expect(sp_checkpoint_open(fuzz_path(folder), &checkpoint), SP_CHECKPOINT))
        return;
    fuzz_expect(bind_model(checkpoint, model), SP_CHECKPOINT);
    sp_checkpoint_close(checkpoint);
}
