/*
 * The state of one run: what video.c puts together and the stages fill.
 */
#ifndef SP_PIPELINE_RUN_H
#define SP_PIPELINE_RUN_H

#include <pthread.h>

#include "input/geometry_file.h"
#include "input/queries.h"
#include "media/clip.h"
#include "output/lock.h"
#include "output/report.h"
#include "output/result_file.h"
#include "output/tensors.h"
#include "pipeline/done.h"
#include "pipeline/files.h"
#include "pipeline/models.h"
#include "refine/refine.h"

/* A thread that writes the result's pictures (pipeline/ahead.h). */
typedef struct SpAhead {
    pthread_t thread;
    bool runs; /* it has been started and not been waited for */
    SpOutput output;
    SpResult result;
    float *picture; /* [3, H, W] working pixels */
    SpStatus status;
} SpAhead;

/* Everything a run holds; video.c frees it. */
typedef struct SpRun {
    const SpJob *job;
    SpConsole *console;
    SpModels *models;
    SpRunFile file[SP_FILE_ROLES];
    bool has[SP_STAGES];              /* which stages there are */
    SpLocated place[SP_STAGES];       /* of the front's and the tracker's weights */
    SpFootprint footprint[SP_STAGES]; /* once planned */
    bool planned;                     /* front and tracker are */
    int64_t width, patch;             /* of the working frames, pixels */
    int64_t support;                  /* points that the tracker adds */
    int64_t iterations;               /* of the tracker */
    SpClip clip;
    SpClipReader *reader; /* NULL: the clip is there */
    int64_t
        length;    /* of the clip in frames; while it is read, by the container's word, 0 unknown */
    uint8_t *mask; /* of the input video's size: what to track; NULL: everything */
    SpQueries queries;
    float *working;                 /* [N, 3] the queries in pixels of the working frame */
    float *memory;                  /* behind geometry and tracks (pipeline/arrays.h) */
    int64_t first;                  /* frame with which they begin */
    int64_t room;                   /* frames that they have memory for */
    SpGeometry geometry;            /* from the front or the user */
    SpResultChunk *chunk;           /* [chunks] of the front */
    int64_t chunks;                 /* 0: all frames at once */
    bool may_stream;                /* a longer clip would: see pipeline/stream_plan.h */
    bool streams;                   /* frames come and go one by one: nothing is held of all */
    SpRefiner *refiner;             /* once queries are known; NULL: none yet */
    bool refines;                   /* tracks are refined on the video's own frames */
    float *sigma;                   /* [T, N] of the refinement, in `memory` */
    SpTrackerOutput tracks;         /* its depth and validity stand in those of `geometry` */
    double scale;                   /* of lengths in the result, in those of `geometry`'s source */
    float *w2c, *coords, *tracks2d; /* as they are saved, once that is settled */
    SpResultFile *from;             /* of a finished result; NULL: everything is computed */
    char *version;
    SpInputRecord input; /* what it is made from */
    SpLock lock;
    char *settings;         /* of a finished result, JSON; NULL: it has none */
    SpTensorFolder *dumped; /* NULL: no --dump */
    SpAhead ahead;
    SpReport report;
} SpRun;

#endif
