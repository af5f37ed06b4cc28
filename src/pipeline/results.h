/*
 * What the formats get of a run.
 */
#ifndef SP_PIPELINE_RESULTS_H
#define SP_PIPELINE_RESULTS_H

#include "pipeline/run.h"

/* Views of the run's arrays. */
SpResult sp_run_result(const SpRun *run);

/* What they are written from, as the job asks; `result` and the run must outlive it. */
SpOutput sp_run_output(const SpRun *run, const SpResult *result);

/* What is saved is what counts: all else is made of it again, so that every file is the same from a
 * finished result. */
void sp_run_settle(SpRun *run);

/* The part of that which is about pictures, [frames, 3, H, W] of the plan's working size: `to` may
 * be `from`. */
void sp_run_settle_pictures(const SpFramePlan *plan, int64_t frames, const float *from, float *to);

/* The part of that which is about the chunks: their translations are in the result's unit. */
void sp_run_settle_chunks(SpRun *run);

/* Makes run->version. SP_MEMORY. */
SpStatus sp_run_version(SpRun *run);

/* Whether the result's cameras are the built-in front's, which does not estimate any. */
bool sp_run_has_still_cameras(const SpRun *run);

#endif
