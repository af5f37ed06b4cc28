/*
 * The stages with a network that every run may have, front and tracker: whether they fit, and what
 * would, before any network runs; and their results.
 */
#ifndef SP_PIPELINE_STAGES_H
#define SP_PIPELINE_STAGES_H

#include "pipeline/run.h"

/* Opens the models of the stages that the run has, and plans them for `queries` points, so that
 * nothing starts that cannot end for lack of memory. SP_CHECKPOINT; SP_MEMORY with how many frames,
 * or points, would fit. */
SpStatus sp_stages_plan(SpRun *run, int64_t queries);

/* The longest clip with `queries` points, and the most points on this one (0: no tracker), that
 * fit, up to these, to a thousandth; 0: not even one. Only after sp_stages_plan. */
enum { SP_MAX_FRAMES = 10000, SP_MAX_POINTS = 1000000 };
SpStatus sp_stages_max(SpRun *run, int64_t queries, int64_t *frames, int64_t *points);

/* The tracker on what the run holds, as far as that goes: frames before `known` of the clip, which
 * goes on where there is `more`. What is computed stands in `tracks`. */
SpStatus sp_stages_advance(SpRun *run, int64_t known, bool more, SpTrackerState *state);

/* The front's confidence as the tracker wants it, 0 or 1. */
void sp_stages_threshold(const SpRun *run);

/* Opens the stage's model where the run has that stage. As sp_models_acquire. */
SpStatus sp_stages_acquire(SpRun *run, SpStage stage);

/* Front, or the user's geometry, and tracker into `geometry` and `tracks`, whose memory is
 * allocated here. The run is planned. */
SpStatus sp_stages_run(SpRun *run);

#endif
