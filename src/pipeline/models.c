#include "pipeline/models.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"

const char *const sp_stage_name[SP_STAGES] = {"sam", "front", "tracker"};

void sp_models_init(SpModels *models, const SpJob *job, SpConsole *console)
{
    *models = (SpModels){.job = job, .console = console};
}

/* Bytes of weights that a model has on the device. */
static size_t loaded(const SpModel *model)
{
    return model->checkpoint ? sp_weights_loaded(sp_checkpoint_weights(model->checkpoint)) : 0;
}

static size_t all_loaded(const SpModels *models)
{
    size_t bytes = 0;
    for (SpStage stage = 0; stage < SP_STAGES; stage++)
        bytes += loaded(&models->model[stage]);
    return bytes;
}

/* Keeps what is cached now, for the report; of very many events the first. */
static void record(SpModels *models, const char *what, SpModelId model, double seconds)
{
    if (models->events == SP_REPORT_EVENTS)
        return;
    SpCacheEvent *event = &models->event[models->events++];
    *event = (SpCacheEvent){.what = what,
                            .model = sp_model_info(model)->name,
                            .seconds = seconds,
                            .device_bytes = all_loaded(models) +
                                            (models->device ? models->device->workspace_bytes : 0),
                            .rss_bytes = sp_memory_resident()};
    for (SpStage stage = 0; stage < SP_STAGES; stage++)
        if (models->model[stage].checkpoint) {
            event->models++;
            event->host_bytes += sp_checkpoint_bound_bytes(models->model[stage].checkpoint);
        }
}

SpStatus sp_models_open_device(SpModels *models)
{
    const SpJob *job = models->job;
    SpStatus fell_back = sp_ok();
    if (!models->device)
        SP_TRY(sp_devices_open(job->device, (int)job->threads, &models->device, &fell_back));
    if (fell_back.code != SP_OK && !models->reported)
        sp_console_note(models->console, "%s; using the CPU", fell_back.text);
    models->reported = true;
    return sp_ok();
}

static void drop(SpModels *models, SpModel *model)
{
    if (models->device && model->checkpoint)
        sp_weights_drop(sp_checkpoint_weights(model->checkpoint), models->device);
}

void sp_models_discard(SpModels *models, SpStage stage)
{
    SpModel *model = &models->model[stage];
    drop(models, model);
    sp_front_close(model->front);
    sp_tracker_close(model->tracker);
    sp_sam_close(model->sam);
    sp_checkpoint_close(model->checkpoint);
    *model = (SpModel){0};
}

static void close_device(SpModels *models)
{
    if (models->device)
        models->device->close(models->device);
    models->device = NULL;
}

void sp_models_close(SpModels *models)
{
    for (SpStage stage = 0; stage < SP_STAGES; stage++)
        sp_models_discard(models, stage);
    close_device(models);
}

static SpPrecision precision_of(const SpModels *models)
{
    const SpPrecisionChoice choice = models->job->precision;
    return choice == SP_WANT_BF16 || (choice == SP_WANT_BEST && models->device->prefers_bf16)
               ? SP_PRECISION_BF16
               : SP_PRECISION_F32;
}

static SpStatus open_model(SpModels *models, SpStage stage, SpModel *model)
{
    SP_TRY(sp_weights_open(&model->place, &model->checkpoint));
    if (stage != SP_STAGE_TRACKER && precision_of(models) == SP_PRECISION_BF16 &&
        !model->place.embedded)
        SP_TRY(sp_checkpoint_use_compact(model->checkpoint));
    if (stage == SP_STAGE_FRONT)
        return sp_front_open(model->checkpoint, &model->front);
    if (stage == SP_STAGE_TRACKER)
        return sp_tracker_open(model->checkpoint, models->job->mode, &model->tracker);
    return sp_sam_open(model->checkpoint, &model->sam);
}

SpStatus sp_models_acquire(SpModels *models, SpStage stage, const SpLocated *place)
{
    SpModel *model = &models->model[stage];
    if (model->checkpoint && model->place.model == place->model) {
        model->idle = false;
        return sp_ok();
    }
    sp_models_discard(models, stage);
    SP_TRY(sp_models_open_device(models));
    const double began = sp_clock();
    model->place = *place;
    const SpStatus status = open_model(models, stage, model);
    if (status.code != SP_OK)
        sp_models_discard(models, stage);
    else
        record(models, "wake", place->model, sp_clock() - began);
    return status;
}

/* A GPU's driver and libraries take memory while they run. */
static size_t margin(size_t bytes)
{
    const size_t min = (size_t)64 << 20;
    return bytes / 32 > min ? bytes / 32 : min;
}

SpStatus sp_models_memory_limits(SpModels *models, SpMemoryLimits *limits)
{
    const size_t allowed = models->job->host_memory;
    *limits = (SpMemoryLimits){.device = SIZE_MAX, .host = sp_memory_available()};
    if (allowed && allowed < limits->host)
        limits->host = allowed;
    SP_TRY(sp_models_open_device(models));
    SpDevice *device = models->device;
    if (models->job->vram_budget > 0) {
        const size_t budget = (size_t)models->job->vram_budget;
        limits->device = budget > device->workspace_bytes ? budget - device->workspace_bytes : 0;
    }
    if (!device->reads_host) {
        const size_t free = device->available_memory(device) + all_loaded(models);
        const size_t all = free > margin(free) ? free - margin(free) : 0;
        const size_t rest = models->job->share > 1 ? all / (size_t)models->job->share : all;
        limits->device = rest < limits->device ? rest : limits->device;
    }
    return sp_ok();
}

SpStatus sp_models_plan(SpModels *models, SpStage stage, const SpMemoryLimits *limits,
                        SpStageRun *run, void *self, SpFootprint *footprint, bool *fits)
{
    const SpJob *job = models->job;
    SP_TRY(sp_models_open_device(models));
    const SpDryRun dry = {run, self, sp_checkpoint_weights(models->model[stage].checkpoint)};
    const SpPlanConstraints constraints = {
        .forced = job->weight_mode > 0,
        .mode = job->weight_mode > 0 ? (SpWeightMode)(job->weight_mode - 1) : SP_IN_PLACE,
        .keep_weights = job->sleep_after != SP_SLEEP_STAGE,
        .precision = precision_of(models)};
    return sp_plan_choose(models->device, &dry, &constraints, limits, footprint, fits);
}

/* Bytes as a flag has them: "900M". */
static void size_text(size_t bytes, char out[32])
{
    int unit = 0;
    for (; unit < 4 && bytes % 1024 == 0; unit++)
        bytes /= 1024;
    snprintf(out, 32, "%zu%.*s", bytes, unit > 0, &"KMGT"[unit > 0 ? unit - 1 : 0]);
}

SpStatus sp_models_do_not_fit(const SpModels *models, const char *subject,
                              const SpFootprint *footprint, size_t results,
                              const SpMemoryLimits *limits, const char *advice)
{
    const SpDevice *device = models->device;
    const size_t on_device = footprint->device + footprint->weights;
    const size_t overhead = device->workspace_bytes;
    const bool over_budget = on_device > limits->device;
    const size_t needed = over_budget
                              ? on_device + overhead
                              : footprint->host + (device->reads_host ? on_device : 0) + results;
    const size_t budget = (size_t)models->job->vram_budget;
    const bool by_flag = over_budget && budget && budget <= limits->device + overhead;
    const size_t available = by_flag       ? budget
                             : over_budget ? limits->device + overhead
                                           : limits->host;
    char why[64] = "available", size[32];
    size_text(budget, size);
    if (by_flag)
        snprintf(why, sizeof why, "allowed (--vram-budget %s)", size);
    return sp_error(SP_MEMORY, "%s %.1f MB%s, %.1f MB are %s%s", subject, (double)needed / 0x1p20,
                    over_budget ? " on the device" : "", (double)available / 0x1p20, why, advice);
}

/* Sleep at level 1, or in full where that is asked for. */
static void put_to_sleep(SpModels *models, SpStage stage)
{
    SpModel *model = &models->model[stage];
    const SpModelId id = model->place.model;
    const double began = sp_clock();
    if (!model->checkpoint)
        return;
    if (models->job->sleep_level == 2)
        sp_models_discard(models, stage);
    else
        drop(models, model);
    model->idle = false;
    if (models->job->sleep_level == 2 && all_loaded(models) == 0)
        close_device(models);
    record(models, "sleep", id, sp_clock() - began);
}

/* Those that have not been used for --sleep-after seconds. */
static void sleep_idle(SpModels *models)
{
    for (SpStage stage = 0; stage < SP_STAGES; stage++)
        if (models->model[stage].idle && models->job->sleep_after == SP_SLEEP_SECONDS &&
            sp_clock() - models->model[stage].used >= models->job->sleep_seconds)
            put_to_sleep(models, stage);
}

/* Loads the weights, for which those of others may have to leave; *seconds: how long that took. */
static SpStatus load(SpModels *models, SpStage stage, const SpFootprint *footprint, double *seconds)
{
    SpModel *model = &models->model[stage];
    SpMemoryLimits limits;
    *seconds = 0;
    SP_TRY(sp_models_memory_limits(models, &limits));
    const size_t others = all_loaded(models) - loaded(model);
    for (SpStage other = 0; other < SP_STAGES; other++)
        if (other != stage && loaded(&models->model[other]) &&
            footprint->device + footprint->weights + others > limits.device)
            put_to_sleep(models, other);
    SP_TRY(sp_models_open_device(models)); /* the last of them may have closed it */
    if (footprint->plan.weights != SP_RESIDENT) {
        drop(models, model);
        return sp_ok();
    }
    if (loaded(model))
        return sp_ok();
    const double began = sp_clock();
    SP_TRY(sp_weights_load(sp_checkpoint_weights(model->checkpoint), models->device));
    SP_TRY(models->device->status(models->device));
    *seconds = sp_clock() - began;
    record(models, "load", model->place.model, *seconds);
    return sp_ok();
}

static SpStageReport report_of(const SpModels *models, SpStage stage, const SpFootprint *footprint,
                               const SpNn *nn)
{
    SpDevice *device = models->device;
    const size_t overhead = footprint->weights + device->workspace_bytes;
    return (SpStageReport){
        .name = sp_stage_name[stage],
        .mode = sp_plan_mode(&footprint->plan),
        .seconds = sp_console_end(models->console),
        .peak_host_bytes = nn->host.peak + (device->reads_host ? nn->arena.peak : 0),
        .planned_device_bytes = footprint->device + overhead,
        .peak_device_bytes = nn->arena.peak + overhead,
        .weight_bytes = sp_checkpoint_bound_bytes(models->model[stage].checkpoint),
        .moved_bytes = nn->moved_bytes,
        .moving_seconds = nn->moving_seconds,
        .hidden_seconds = device->hidden_seconds(device)};
}

SpStatus sp_models_run(SpModels *models, SpStage stage, const SpFootprint *footprint, double frames,
                       SpStageRun *run, void *self, SpReport *report)
{
    SpModel *model = &models->model[stage];
    SpNn nn;
    double loading;
    sleep_idle(models);
    sp_console_begin(models->console, sp_stage_name[stage], frames);
    SP_TRY(load(models, stage, footprint, &loading));
    SP_TRY(sp_nn_open(models->device, footprint->device, footprint->host, &nn));
    nn.plan = footprint->plan;
    nn.weights = sp_checkpoint_weights(model->checkpoint);
    nn.progress = &models->console->progress;
    nn.dump = models->dump;
    SpStatus status = run(self, &nn);
    if (status.code == SP_OK)
        status = models->device->status(models->device);
    if (loading > 0) {
        nn.moved_bytes += (double)footprint->weights;
        nn.moving_seconds += loading;
    }
    const SpStageReport one = report_of(models, stage, footprint, &nn);
    sp_report_add_stage(report, &one);
    sp_nn_close(&nn);
    model->used = sp_clock();
    model->idle = true;
    if (models->job->sleep_after == SP_SLEEP_STAGE)
        put_to_sleep(models, stage);
    return status;
}

void sp_models_end_video(SpModels *models)
{
    for (SpStage stage = 0; stage < SP_STAGES; stage++)
        if (models->job->sleep_after == SP_SLEEP_VIDEO)
            put_to_sleep(models, stage);
    sleep_idle(models);
}
