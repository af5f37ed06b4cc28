/*
 * The videos of a run: those of the command line, then those of --list, in one process or side by
 * side in several, with models that stay open as long as --sleep-after says.
 */
#ifndef SP_PIPELINE_BATCH_H
#define SP_PIPELINE_BATCH_H

#include "base/console.h"
#include "pipeline/job.h"

/* Runs `job` for each of the `count` videos and those of its list. Of several videos, one that
 * fails is reported on the console and does not stop the next, except with --fail-fast; a last line
 * counts them all, and the status is SP_SOME_FAILED when any failed. Of a single one, it is that
 * video's status. Where no video runs, as names collide or the list cannot be read: SP_USAGE,
 * SP_INPUT. */
SpStatus sp_batch_run(const SpJob *job, const char *const *videos, int count, SpConsole *console);

#endif
