/*
 * The videos of a command line, one after another in one process, with models that stay open as
 * long as --sleep-after says.
 */
#ifndef SP_PIPELINE_BATCH_H
#define SP_PIPELINE_BATCH_H

#include "base/console.h"
#include "pipeline/job.h"

/* Runs `job` for each of the `count` videos. One of several that fails is reported on the
 * console and does not stop the next; the status then counts them, with the code of the first. */
SpStatus sp_batch_run(const SpJob *job, const char *const *videos, int count, SpConsole *console);

#endif
