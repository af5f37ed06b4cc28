/*
 * The part of a job that draws: --overlay.
 */
#ifndef SP_PIPELINE_OVERLAY_STAGE_H
#define SP_PIPELINE_OVERLAY_STAGE_H

#include "output/atomic.h"
#include "output/result.h"
#include "pipeline/job.h"

/* Before any work, and only with job->overlay: SP_USAGE when it would replace the video, the result
 * (`output`) or the report, or the video cannot be read twice; SP_OUTPUT when it cannot be written,
 * or exists and --no-clobber keeps it. A video on standard input is kept for the second reading
 * (media/spool.h). */
SpStatus sp_job_overlay_begin(const SpJob *job, const char *output);

/* Draws the result's tracks as a video or a contact sheet, whichever job->overlay names, into
 * *file, which is opened and settled and the caller's to commit or abandon. *seconds: what it took.
 */
SpStatus sp_job_overlay_write(const SpJob *job, const SpResult *result, SpConsole *console,
                              SpAtomicFile *file, double *seconds);

#endif
