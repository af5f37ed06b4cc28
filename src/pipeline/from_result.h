/*
 * A run on a finished result in the place of a video: nothing is computed, no model or device is
 * opened; what is asked for is written from what the result holds.
 */
#ifndef SP_PIPELINE_FROM_RESULT_H
#define SP_PIPELINE_FROM_RESULT_H

#include "pipeline/run.h"

/* Before any work, for run->from: opens the result and looks whether it holds what each file that
 * is asked for needs, and whether the video that is given can be the result's. SP_INPUT; SP_MEMORY.
 * Released by sp_from_result_close, also after a failure. */
SpStatus sp_from_result_open(SpRun *run);
void sp_from_result_close(SpRun *run);

/* Reads what the files need into run->from->result; run->clip says what of it the report tells.
 * SP_INPUT; SP_MEMORY. */
SpStatus sp_from_result_read(SpRun *run);

/* --plan: prints what is in the result and how much memory reading it takes. SP_MEMORY when there
 * is less. */
SpStatus sp_from_result_plan(SpRun *run);

/* How the result's video is read. */
SpReaderSettings sp_from_result_reader(const SpRun *run);

#endif
