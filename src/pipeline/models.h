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
#include "tracker/tracker.h"

/* The stages with a network, in the order in which they run. */
typedef enum SpStage { SP_STAGE_SAM, SP_STAGE_FRONT, SP_STAGE_TRACKER, SP_STAGES } SpStage;

/* "sam", "front", "tracker". */
extern const char *const sp_stage_name[SP_STAGES];

/* A stage's forward function, dry or not, on an `nn` for its open model. */
typedef SpStatus SpStageRun(void *self, SpNn *nn);

typedef struct SpModel {
    SpLocated place;
    SpCheckpoint *checkpoint; /* NULL: not open */
    SpFront *front;           /* one of the three, as the stage says */
    SpTracker *tracker;
    SpSam *sam;
    double used; /* sp_clock when its stage last ended */
    bool idle;   /* it has run since it was acquired */
} SpModel;

typedef struct SpModels {
    const SpJob *job; /* whose flags hold for all videos */
    SpConsole *console;
    SpDevice *device;                      /* NULL: closed */
    bool reported;                         /* that there is no GPU */
    bool reported_lite, reported_lite_sam; /* that the built-in weights are used */
    const SpDump *dump;                    /* of the video that runs; NULL: nobody asks */
    SpModel model[SP_STAGES];
    SpCacheEvent event[SP_REPORT_EVENTS]; /* of the video that runs */
    int events;
} SpModels;

/* Nothing is opened yet. Release with sp_models_close. */
void sp_models_init(SpModels *models, const SpJob *job, SpConsole *console);
void sp_models_close(SpModels *models);

/* Opens the device where it is closed. SP_DEVICE, SP_MEMORY. */
SpStatus sp_models_open_device(SpModels *models);

/* Opens the stage's model where it is not open; another one of that stage is closed first.
 * SP_CHECKPOINT, SP_MEMORY. */
SpStatus sp_models_acquire(SpModels *models, SpStage stage, const SpLocated *place);

/* Closes a model: weights off the device, file unmapped. */
void sp_models_discard(SpModels *models, SpStage stage);

/* What there is for a stage: device memory that is free, at most what --vram-budget leaves after
 * the workspace; and host memory. */
SpStatus sp_models_memory_limits(SpModels *models, SpMemoryLimits *limits);

/* The fastest plan for the open model of a stage, run dry by `run(self, nn)`; as sp_plan_choose. */
SpStatus sp_models_plan(SpModels *models, SpStage stage, const SpMemoryLimits *limits,
                        SpStageRun *run, void *self, SpFootprint *footprint, bool *fits);

/* SP_MEMORY for a footprint, and `results` bytes of host memory more, that exceed the limits:
 * "SUBJECT 12.0 MB on the device, 8.0 MB are available" and the advice. Subject: "SAM needs";
 * advice:
 * "" or "; do this instead". */
SpStatus sp_models_do_not_fit(const SpModels *models, const char *subject,
                              const SpFootprint *footprint, size_t results,
                              const SpMemoryLimits *limits, const char *advice);

/* Runs a stage in exactly the memory planned and adds to the report what it took; then models sleep
 * as --sleep-after says. Whatever else is on the device leaves where the budget asks for it. The
 * console shows `frames` as the stage's whole; 0: nothing. */
SpStatus sp_models_run(SpModels *models, SpStage stage, const SpFootprint *footprint, double frames,
                       SpStageRun *run, void *self, SpReport *report);

/* A video has ended. */
void sp_models_end_video(SpModels *models);

#endif
