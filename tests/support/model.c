#include "support/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/synth.h"

SpCheckpoint *model_checkpoint(const char *manifest)
{
    char folder[] = "/tmp/spatrack-test-XXXXXX", path[4096];
    const char *goldens = getenv("SP_GOLDEN_DIR");
    assert_non_null(goldens);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/manifest/%s.json", goldens, manifest);
    SpStatus status = synth_checkpoint(path, folder, SP_F32);
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
    SpCheckpoint *checkpoint;
    status = sp_checkpoint_open(folder, &checkpoint);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", folder);
    unlink(path);
    rmdir(folder);
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
    return checkpoint;
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
