/*
 * Whether a run fits, and what would, before any network runs.
 */
#ifndef SP_PIPELINE_PLANNING_H
#define SP_PIPELINE_PLANNING_H

#include "pipeline/run.h"

/* Plans the front and the tracker for `queries` points, so that nothing starts that cannot end for
 * lack of memory. SP_MEMORY with how many frames, or points, would fit. */
SpStatus sp_run_plan(SpRun *run, int64_t queries);

/* The longest clip, and the most points on this one, that fit, up to these; 0: not even one. */
enum { SP_MAX_FRAMES = 10000, SP_MAX_POINTS = 1000000 };
SpStatus sp_run_max_frames(SpRun *run, int64_t queries, int64_t *frames);
SpStatus sp_run_max_points(SpRun *run, int64_t *queries);

#endif
