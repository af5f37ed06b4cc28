/* One run of a job, which job.c starts and ends and job_stages.c computes. */
#ifndef SP_PIPELINE_RUN_H
#define SP_PIPELINE_RUN_H

#include "front/front.h"
#include "input/geometry_file.h"
#include "input/prompts.h"
#include "media/clip.h"
#include "output/atomic.h"
#include "output/report.h"
#include "pipeline/job.h"
#include "pipeline/models.h"

/* Everything a run holds; run_free releases it. */
typedef struct SpRun {
    const SpJob *job;
    SpConsole *console;
    SpModels *models;
    char output[SP_PATH_CAPACITY], report_name[SP_PATH_CAPACITY];
    bool with_front, with_tracker; /* which stages there are */
    SpLocated front_place, tracker_place;
    int64_t width, patch;        /* of the working frames */
    int64_t support;             /* points that the tracker adds */
    SpFootprint need[SP_STAGES]; /* of the front and the tracker, once planned */
    bool planned;
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

/* The tracker's name: "offline" or "online". */
const char *sp_run_tracker_model(const SpJob *job);

/* Adds a stage without a network to the report. */
void sp_run_add_stage(SpRun *run, const char *name, double seconds);

/* Plans the front and the tracker for `queries` points, so that nothing starts that cannot end for
 * lack of memory. SP_MEMORY telling how many frames, or points, would fit. */
SpStatus sp_run_plan(SpRun *run, int64_t queries);

/* The longest clip, and the most points on this one, that fit, up to these; 0: not even one. */
enum { SP_MAX_FRAMES = 10000, SP_MAX_POINTS = 1000000 };
SpStatus sp_run_max_frames(SpRun *run, int64_t queries, int64_t *frames);
SpStatus sp_run_max_points(SpRun *run, int64_t *queries);

/* --plan: the table on standard output. SP_MEMORY when the clip does not fit. */
SpStatus sp_run_print_plan(SpRun *run, int64_t queries, const SpFootprint *sam,
                           const char *sam_name);

/* Front, or the user's geometry, and tracker into geometry and found, whose memory is taken here.
 */
SpStatus sp_run_stages(SpRun *run);

#endif
