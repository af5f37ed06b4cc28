/* One run of a job, which job.c starts and ends and job_stages.c computes. */
#ifndef SP_JOB_INTERNAL_H
#define SP_JOB_INTERNAL_H

#include "front/front.h"
#include "given.h"
#include "job.h"
#include "media/clip.h"
#include "nn/nn.h"
#include "output/atomic.h"
#include "output/report.h"
#include "prompt.h"
#include "store/locate.h"
#include "tracker/tracker.h"

enum { PATH_ROOM = 4096 };

/* Everything a run holds; run_free releases it. */
typedef struct SpRun {
    const SpJob *job;
    SpConsole *console;
    char output[PATH_ROOM];
    SpDevice *device;
    SpLocated front_place, tracker_place;
    SpCheckpoint *front_weights, *tracker_weights;
    SpFront *front;
    SpTracker *tracker;
    SpClip clip;
    SpPrompts prompts;
    uint8_t *mask;   /* of the input video's size: what to track; NULL: everything */
    uint8_t *object; /* [N] the mask's value where a query is */
    float *query;    /* [N, 3] used frame, pixels of the input video */
    float *working;  /* [N, 3] used frame, pixels of the working frame */
    int64_t queries;
    float *memory;       /* behind geometry and found */
    SpGeometry geometry; /* from the front or the user */
    SpTrackerOutput found;
    char *version;
    SpReport report;
    SpAtomicFile mask_file, result_file, overlay_file,
        report_file; /* in place once all are whole */
} SpRun;

/* Adds a stage to the report; nn and weights may be NULL. */
void sp_run_add_stage(SpRun *run, const char *name, double seconds, const SpNn *nn,
                      const SpCheckpoint *weights);

/* Whether the stages and results of the clip fit: nothing starts that cannot end for lack of
 * memory. SP_MEMORY telling how many frames would fit. */
SpStatus sp_run_check_memory(SpRun *run);

/* Front, or the user's geometry, and tracker into geometry and found, whose memory is taken here.
 */
SpStatus sp_run_stages(SpRun *run);

#endif
