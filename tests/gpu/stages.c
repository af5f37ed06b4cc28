#define _GNU_SOURCE
#include "gpu/stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/synth.h"

SpStatus synthetic_checkpoint(const char *goldens, const char *manifest, SpDtype dtype,
                              SpCheckpoint **out)
{
    char folder[] = "/tmp/spatrack-gpu-XXXXXX", path[4096];
    *out = NULL;
    if (!mkdtemp(folder))
        return sp_error(SP_OUTPUT, "cannot make a folder in /tmp");
    snprintf(path, sizeof path, "%s/manifest/%s.json", goldens, manifest);
    SpStatus status = synth_checkpoint(path, folder, dtype);
    if (status.code == SP_OK)
        status = sp_checkpoint_open(folder, out);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", folder);
    unlink(path);
    rmdir(folder);
    return status;
}

static SpStatus load(const SpDryRun *stage, SpDevice *device, const SpPlan *plan, double *seconds)
{
    const double began = sp_clock();
    if (plan->weights == SP_RESIDENT)
        SP_TRY(sp_weights_load(stage->weights, device));
    SP_TRY(device->status(device));
    *seconds = sp_clock() - began;
    device->hidden_seconds(device);
    return sp_ok();
}

SpStatus stage_run(const SpDryRun *stage, SpDevice *device, const SpPlan *plan, Took *took)
{
    const bool stays = sp_weights_loaded(stage->weights) > 0;
    SpFootprint footprint;
    SpNn nn;
    SP_TRY(sp_plan_footprint(device, stage, plan, &footprint));
    SpStatus status = load(stage, device, plan, &took->moving);
    if (status.code == SP_OK)
        status = sp_nn_open(device, footprint.device, footprint.host, &nn);
    if (status.code == SP_OK) {
        nn.plan = *plan;
        nn.weights = stage->weights;
        const double began = sp_clock();
        status = stage->run(stage->self, &nn);
        if (status.code == SP_OK)
            status = device->status(device);
        took->planned = footprint.device;
        took->peak = nn.arena.peak;
        took->seconds = sp_clock() - began;
        took->hidden = device->hidden_seconds(device);
        sp_nn_close(&nn);
    }
    if (!stays)
        sp_weights_drop(stage->weights, device);
    return status;
}
