/*
 * One video from file to file: frames, SAM, front, tracker, result, overlay, report.
 */
#ifndef SP_PIPELINE_VIDEO_H
#define SP_PIPELINE_VIDEO_H

#include "pipeline/models.h"

/* How a run without a failure ended. */
typedef enum SpOutcome {
    SP_OUTCOME_DONE,
    SP_OUTCOME_SKIPPED, /* --skip-done: everything was there */
    SP_OUTCOME_LEFT     /* of several videos: another process is doing it */
} SpOutcome;

/* Runs the job with models that may be open from the video before. What is worth saying goes to
 * `console`; a failure leaves existing outputs as they were. Codes as in base/status.h. */
SpStatus sp_video_run(const SpJob *job, SpModels *models, SpConsole *console, SpOutcome *outcome);

#endif
