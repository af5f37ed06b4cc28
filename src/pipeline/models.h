/*
 * What the videos of a command line share: the device, and each stage's model, open or asleep. A
 * model is acquired when it is asked for; after its stage, its video, or some seconds without use
 * it sleeps again (--sleep-after): at level 1 its weights leave the device; at level 2 its file is
 * unmapped, too, and the device closed, until one is acquired.
 */
#ifndef SP_PIPELINE_MODELS_H
#define SP_PIPELINE_MODELS_H

#include "base/console.h"
#include "front/front.h"
#include "nn/planner.h"
#include "output/report.h"
#include "pipeline/job.h"
#include "store/locate.h"
#include "store/registry.h"
#include "tracker/tracker.h"

typedef enum SpStage { SP_STAGE_SAM, SP_STAGE_FRONT, SP_STAGE_TRACKER, SP_STAGES } SpStage;

typedef struct SpModel {
    const char *name; /* "front", "offline", "sam-base", ...; NULL: not open */
    SpLocated place;
    SpCheckpoint *checkpoint;
    SpFront *front; /* one of the three, as the stage says */
    SpTracker *tracker;
    SpSam *sam;
    double used; /* sp_clock when its stage last ended */
    bool idle;   /* it has run since it was acquired */
} SpModel;

typedef struct SpModels {
    const SpJob *job; /* whose flags hold for all videos */
    SpConsole *console;
    SpDevice *device;   /* NULL: closed */
    bool reported;      /* that there is no GPU */
    const SpDump *dump; /* of the video that runs; NULL: nobody asks */
    SpModel model[SP_STAGES];
    SpCacheEvent event[SP_REPORT_EVENTS]; /* of the video that runs */
    int events;
} SpModels;

/* Nothing is opened yet. Release with sp_models_close. */
void sp_models_init(SpModels *models, const SpJob *job, SpConsole *console);
void sp_models_close(SpModels *models);

/* The device, opened where it is not. SP_DEVICE, SP_MEMORY. */
SpStatus sp_models_device(SpModels *models, SpDevice **device);

/* The stage's model `name` from `place`, opened where it is not; another one of that stage is
 * closed first. SP_CHECKPOINT, SP_MEMORY. */
SpStatus sp_models_acquire(SpModels *models, SpStage stage, const char *name,
                           const SpLocated *place);

/* Closes a model: weights off the device, file unmapped. */
void sp_models_discard(SpModels *models, SpStage stage);

/* What there is for a stage: what --vram-budget leaves beside the workspace, or what is free; and
 * of host memory, after `reserved` bytes that the caller will take. */
SpStatus sp_models_memory_limits(SpModels *models, size_t reserved, SpMemoryLimits *limits);

/* The fastest plan for the open model of a stage, run dry by `run(self, nn)`. */
SpStatus sp_models_plan(SpModels *models, SpStage stage, const SpMemoryLimits *limits,
                        SpStatus (*run)(void *self, SpNn *nn), void *self, SpFootprint *footprint,
                        bool *fits);

/* SP_MEMORY for a footprint, and `results` bytes of host memory more, that exceed the limits:
 * "SUBJECT 12.0 MB on the device, 8.0 MB are available; ADVICE". Subject: "SAM needs"; advice may
 * be NULL. */
SpStatus sp_models_do_not_fit(const SpModels *models, const char *subject,
                              const SpFootprint *footprint, size_t results,
                              const SpMemoryLimits *limits, const char *advice);

/* Runs a stage in exactly the memory planned and says in *report what it took; then models sleep as
 * --sleep-after says. Whatever else is on the device leaves where the budget asks for it. `frames`
 * is what the console shows as the stage's whole; 0: nothing. */
SpStatus sp_models_run(SpModels *models, SpStage stage, const SpFootprint *footprint, double frames,
                       SpStatus (*run)(void *self, SpNn *nn), void *self, SpStageReport *report);

/* A video has ended. */
void sp_models_end_video(SpModels *models);

#endif
