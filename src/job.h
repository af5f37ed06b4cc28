/*
 * One video from file to file: frames, sam, front, tracker, result, overlay.
 */
#ifndef SP_JOB_H
#define SP_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "console.h"
#include "media/prepare.h"
#include "output/overlay.h"
#include "sam/sam.h"
#include "tracker/tracker.h"

typedef enum SpStopAfter { SP_STOP_NEVER, SP_STOP_FRONT, SP_STOP_SAM } SpStopAfter;
typedef enum SpSamChoice {
    SP_SAM_AUTO,
    SP_SAM_BASE,
    SP_SAM_LARGE,
    SP_SAM_HUGE,
    SP_SAM_LITE
} SpSamChoice;
typedef enum SpDeviceChoice { SP_DEVICE_AUTO, SP_DEVICE_CPU } SpDeviceChoice;

/* What a flag that may be repeated was given, in order. */
enum { SP_MOST_TEXTS = 64 };
typedef struct SpTexts {
    const char *item[SP_MOST_TEXTS];
    int64_t count;
} SpTexts;

/* What the user asks for; paths are views, NULL where nothing was given. */
typedef struct SpJob {
    const char *video;   /* file, folder or printf pattern of images, "-" */
    const char *output;  /* .npz or .csv; NULL: the video's name with .npz */
    const char *overlay; /* .mp4 or .png */
    const char *geometry, *queries, *mask, *report, *weights;
    SpTexts points, boxes; /* as prompt.h reads them */
    const char *mask_out;
    int64_t prompt_frame; /* used frame that points and boxes are on */
    SpSamChoice sam;
    SpSamSelect mask_select;
    double start; /* seconds */
    int64_t stride, max_frames, max_input_side;
    SpPortrait portrait;
    int64_t grid;      /* points a side; 0: the default, 10, or 50 with a mask */
    int64_t vo_points; /* below 0: as many as the weights say */
    int64_t iterations, seed, max_side, threads;
    int64_t trail; /* frames */
    SpBackground background;
    SpTrackerMode mode;
    SpStopAfter stop_after;
    SpDeviceChoice device;
    bool fixed_camera, no_compress, no_clobber;
    const char *settings; /* JSON that is written into the result */
} SpJob;

/* Runs the job. What is worth saying goes to `console`; a failure leaves an existing output as it
 * was. Codes as in base/status.h. */
SpStatus sp_job_run(const SpJob *job, SpConsole *console);

#endif
