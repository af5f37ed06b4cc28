#include "support/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/compact.h"
#include "support/synth.h"

static void must(SpStatus status)
{
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
}

static void write_compact(const char *folder, const char *path)
{
    size_t bytes;
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    must(sp_compact_write(folder, stream, &bytes));
    assert_int_equal(fclose(stream), 0);
}

typedef enum Kind { PLAIN, COMPACT, OUTLINE } Kind;

static SpCheckpoint *make(const char *manifest, Kind kind)
{
    static const char *const files[] = {"model.safetensors", "config.json", SP_COMPACT_NAME};
    char folder[] = "/tmp/spatrack-test-XXXXXX", path[4096];
    const char *goldens = getenv("SP_GOLDEN_DIR");
    SpCheckpoint *checkpoint;
    assert_non_null(goldens);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/manifest/%s.json", goldens, manifest);
    must(kind == OUTLINE ? synth_outline(path, folder) : synth_checkpoint(path, folder, SP_F32));
    snprintf(path, sizeof path, "%s/%s", folder, SP_COMPACT_NAME);
    if (kind == COMPACT)
        write_compact(folder, path);
    const SpStatus status = sp_checkpoint_open(folder, &checkpoint);
    if (status.code == SP_OK && kind == COMPACT)
        must(sp_checkpoint_use_compact(checkpoint));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    must(status);
    return checkpoint;
}

SpCheckpoint *model_checkpoint(const char *manifest)
{
    return make(manifest, PLAIN);
}

SpCheckpoint *model_checkpoint_compact(const char *manifest)
{
    return make(manifest, COMPACT);
}

SpCheckpoint *model_outline(const char *manifest)
{
    return make(manifest, OUTLINE);
}

SpNn model_context(size_t megabytes)
{
    SpDevice *device;
    SpNn nn;
    assert_int_equal(sp_cpu_open(0, &device).code, SP_OK);
    assert_int_equal(sp_nn_open(device, megabytes << 20, megabytes << 20, &nn).code, SP_OK);
    return nn;
}

void model_close(SpNn *nn)
{
    SpDevice *device = nn->device;
    sp_nn_close(nn);
    device->close(device);
}

void model_check(const SpNn *nn)
{
    if (nn->status.code != SP_OK)
        fail_msg("%s", nn->status.text);
}
