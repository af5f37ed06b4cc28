/*
 * The stages with a network that every run may have, front and tracker: as calls that the planner
 * runs dry, and computed.
 */
#ifndef SP_PIPELINE_STAGES_H
#define SP_PIPELINE_STAGES_H

#include "pipeline/run.h"

/* One call of a stage for so many frames and points. */
typedef struct SpStageCall {
    SpRun *run;
    int64_t frames, queries;
    const SpFrontOutput *front; /* NULL in a dry run */
} SpStageCall;

/* Whether the run has the stage. */
bool sp_stage_is_used(const SpRun *run, SpStage stage);

/* Runs the stage, for SP_STAGE_FRONT or SP_STAGE_TRACKER; `self` is an SpStageCall. */
SpStatus sp_stage_run_front(void *self, SpNn *nn);
SpStatus sp_stage_run_tracker(void *self, SpNn *nn);

/* Opens the models of both stages where the run has them. SP_CHECKPOINT, SP_MEMORY. */
SpStatus sp_stages_acquire(SpRun *run);

/* Bytes of what both stages compute for so many frames and points. */
size_t sp_stages_result_bytes(const SpRun *run, int64_t frames, int64_t queries);

/* Front, or the user's geometry, and tracker into `geometry` and `tracks`, whose memory is taken
 * here. The run is planned. */
SpStatus sp_stages_run(SpRun *run);

#endif
