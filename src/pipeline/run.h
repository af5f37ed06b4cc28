/*
 * The state of one run: what video.c puts together and the stages fill.
 */
#ifndef SP_PIPELINE_RUN_H
#define SP_PIPELINE_RUN_H

#include "input/geometry_file.h"
#include "media/clip.h"
#include "output/report.h"
#include "output/tensors.h"
#include "pipeline/files.h"
#include "pipeline/models.h"

/* Everything a run holds; sp_run_free releases it. */
typedef struct SpRun {
    const SpJob *job;
    SpConsole *console;
    SpModels *models;
    SpRunFiles files;
    bool with_front, with_tracker; /* which stages there are */
    SpLocated front_place, tracker_place;
    int64_t width, patch;             /* of the working frames, pixels */
    int64_t support;                  /* points that the tracker adds */
    SpFootprint footprint[SP_STAGES]; /* of the front and the tracker, once planned */
    bool planned;
    SpClip clip;
    uint8_t *mask;   /* of the input video's size: what to track; NULL: everything */
    uint8_t *object; /* [N] the mask's value where a query is */
    float *query;    /* [N, 3] used frame, pixels of the input video */
    float *working;  /* [N, 3] used frame, pixels of the working frame */
    int64_t queries;
    float *memory;          /* behind geometry and tracks */
    SpGeometry geometry;    /* from the front or the user */
    SpTrackerOutput tracks; /* its depth and validity stand in those of `geometry` */
    char *version;
    SpTensorFolder *dumped; /* NULL: no --dump */
    SpReport report;
} SpRun;

void sp_run_free(SpRun *run);

/* The tracker's model: "offline" or "online". */
const char *sp_run_tracker_model(const SpJob *job);

/* A new stage of the report, for who runs it to fill. */
SpStageReport *sp_run_new_stage(SpRun *run);

/* Adds a stage without a network to the report. */
void sp_run_add_stage(SpRun *run, const char *name, double seconds);

#endif
