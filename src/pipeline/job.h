/*
 * What the user asks for of one video; the flags of cli/options.c fill it.
 */
#ifndef SP_PIPELINE_JOB_H
#define SP_PIPELINE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "input/prompts.h"
#include "kernels/devices.h"
#include "media/frame_plan.h"
#include "output/formats.h"
#include "sam/sam.h"
#include "tracker/tracker.h"

typedef enum SpStopAfter { SP_STOP_NEVER, SP_STOP_FRONT, SP_STOP_SAM } SpStopAfter;
typedef enum SpPrecisionChoice { SP_WANT_BEST, SP_WANT_F32, SP_WANT_BF16 } SpPrecisionChoice;
typedef enum SpRefineChoice { SP_REFINE_AUTO, SP_REFINE_ON, SP_REFINE_OFF } SpRefineChoice;
typedef enum SpSleep { SP_SLEEP_STAGE, SP_SLEEP_VIDEO, SP_SLEEP_NEVER, SP_SLEEP_SECONDS } SpSleep;

/* How many frames a mode uses where the user does not say. */
enum { SP_FRAMES_OFFLINE = 80, SP_FRAMES_ONLINE = 300 };

/* What the user asks for; paths are views, NULL where nothing was given. */
typedef struct SpJob {
    const char *video;    /* file, folder or printf pattern of images, "-"; a finished result */
    bool from_result;     /* the video is a finished result: nothing is computed */
    const char *original; /* of a finished result: the video that it is of, for the overlay */
    const char *output;   /* .npz, .csv or "-"; NULL: the video's name with .npz */
    const char *overlay;  /* .mp4 or .png */
    const char *geometry, *queries, *mask, *report, *weights;
    const char *mask_out, *dump;
    const char *usd, *cameras, *ply; /* .usda; .json or .chan; .ply */
    const char *colmap, *depth;      /* folders */
    int depth_format;                /* its place among the formats of the depth */
    const char *viewer;              /* .html */
    double viewer_size;              /* MB */
    const char *omit;                /* "video,depths": arrays that the result leaves out */
    int format; /* of a result on standard output: 0: not given; else 1 + its place among the
                   product's formats */
    const SpPrompts *prompts; /* from --point and --box */
    int64_t prompt_frame;     /* used frame that they are on */
    int sam;                  /* 0: auto; k: the k-th of the SAMs in store/registry.h */
    SpSamSelect mask_select;
    double start;              /* seconds */
    double fov, focal;         /* degrees across, pixels of the video; 0: as the front says */
    double scale_to, scale_by; /* median depth of the first frame, factor; 0: not given */
    int64_t stride, max_input_side;
    int64_t max_frames; /* 0: all */
    int64_t stream;     /* number in the file; below 0: the largest video */
    SpPortrait portrait;
    int64_t grid;          /* points a side; 0: the default, 10, or 50 with a mask */
    int64_t grid_every;    /* frames; 0: one grid alone */
    int64_t vo_points;     /* below 0: as many as the weights say */
    int64_t front_chunk;   /* frames; 0: all at once; below 0: as pipeline/chunks.h says */
    int64_t front_overlap; /* frames; 0: half a chunk */
    int64_t iterations;    /* below 0: as many as the weights say */
    int64_t seed, max_side, threads;
    int64_t result_max_side; /* as max_side, of an .npz from a finished result */
    int64_t trail;           /* frames */
    SpBackground background;
    SpTrackerMode mode;
    SpRefineChoice refine; /* auto: with the built-in weights */
    SpStopAfter stop_after;
    SpDeviceChoice device;
    SpPrecisionChoice precision;
    int weight_mode;     /* 0: auto; else 1 + SpWeightMode (nn/nn.h) */
    int64_t vram_budget; /* bytes, 0: what is free */
    SpSleep sleep_after;
    double sleep_seconds;
    int64_t sleep_level; /* 1 or 2 */
    bool plan;           /* only print what it would take */
    bool json;           /* that as JSON */
    bool fixed_camera, no_compress, no_clobber, usd_cloud;
    bool several;          /* the run is of several videos, of which this is one */
    const char *list;      /* "-", or a file of more videos */
    bool null;             /* its entries end in NULs */
    bool listed;           /* this video is one of them */
    bool fail_fast;        /* the first video that fails is the last */
    bool skip_done;        /* finished results stay as they are */
    int64_t shard, shards; /* of the videos, the part `shard`, from 1; 0: all */
    int64_t jobs;          /* videos side by side; 0: as many as there are threads for */
    int64_t share;         /* of the device's memory this process may have 1 / share; 0: all */
    size_t host_memory;    /* bytes of host memory that it may take; 0: what there is */
    const char *settings;  /* JSON that is written into the result */
} SpJob;

/* Makes `video` the job's, and looks whether it is a finished result. */
void sp_job_set_video(SpJob *job, const char *video);
/* As many frames as the job's mode uses where the user does not say. */
static inline int64_t sp_job_default_frames(const SpJob *job)
{
    return job->mode == SP_TRACKER_ONLINE ? SP_FRAMES_ONLINE : SP_FRAMES_OFFLINE;
}

/* The video whose frames a format may read: of a finished result the one that is given with it, or
 * NULL. */
static inline const char *sp_job_frames(const SpJob *job)
{
    return job->from_result ? job->original : job->video;
}

/* How the job's videos are read, the first time and again. */
static inline SpReaderSettings sp_job_reader(const SpJob *job)
{
    return (SpReaderSettings){.start = job->start,
                              .stride = job->stride,
                              .max_frames = job->max_frames ? job->max_frames : INT64_MAX,
                              .stream = job->stream};
}

#endif
