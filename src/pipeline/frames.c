#include "pipeline/frames.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/minmax.h"
#include "pipeline/chunks.h"
#include "pipeline/refinement.h"
#include "pipeline/stream_plan.h"

static const double SLANT = 0.1; /* degrees that a quarter turn may be off, silently */

void sp_frames_warn_of_losses(const SpRun *run)
{
    const SpClip *clip = &run->clip;
    const SpLosses *losses = &clip->losses;
    const char *video = run->job->video;
    const long long read = losses->read, declared = losses->declared, damaged = losses->damaged;
    if (clip->left_out > 0 && run->job->stop_after != SP_STOP_SAM)
        sp_console_warn(run->console,
                        "%lld frames left out: used the first %lld (--max-frames, --stride)",
                        (long long)clip->left_out, (long long)clip->frames);
    if (clip->gap.behind > 0)
        sp_console_warn(run->console,
                        "%.300s: number %lld is missing, so that only %lld of %lld images are "
                        "read; give the folder to read all",
                        video, (long long)clip->gap.missing, read, read + clip->gap.behind);
    if (declared > read && damaged > 0)
        sp_console_warn(run->console,
                        "%.300s: only %lld of %lld frames can be read, %lld of them with damage; "
                        "the file is damaged or cut off",
                        video, read, declared, damaged);
    else if (declared > read)
        sp_console_warn(
            run->console,
            "%.300s: only %lld of %lld frames can be read; the file is damaged or cut off", video,
            read, declared);
    else if (damaged > 0)
        sp_console_warn(run->console, "%.300s: %lld of %lld frames are damaged", video, damaged,
                        read);
}

static SpClipSettings settings_of(SpRun *run)
{
    const SpJob *job = run->job;
    return (SpClipSettings){.size = run->width,
                            .patch = run->patch,
                            .reader = sp_job_reader(job),
                            .portrait = job->portrait,
                            .max_short_side = job->max_input_side,
                            .keep_original = run->has[SP_STAGE_SAM] && !run->may_stream,
                            .original_frame = job->prompt_frame};
}

static void add_seconds(SpRun *run, double seconds)
{
    const SpStageReport stage = {.name = "frames", .seconds = seconds};
    sp_report_add_stage(&run->report, &stage);
}

static void say_what_is_used(const SpRun *run)
{
    const SpClip *clip = &run->clip;
    const SpFramePlan *plan = &clip->plan;
    if (clip->streams > 1)
        sp_console_warn(run->console, "%d videos are in the file; stream %d is read (--stream)",
                        clip->streams, clip->stream);
    if (fabs(remainder(clip->rotation, 90)) > SLANT)
        sp_console_warn(run->console,
                        "rotated by %.4g degrees clockwise; frames are turned by %.4g only",
                        clip->rotation, 90 * rint(clip->rotation / 90));
    if (plan->height < plan->resized_height)
        sp_console_note(
            run->console,
            "frames taller than wide: %lld of %lld rows are used (--portrait fit uses all)",
            (long long)(plan->height * plan->input_height / plan->resized_height),
            (long long)plan->input_height);
}

SpStatus sp_frames_open(SpRun *run)
{
    const SpJob *job = run->job;
    SpClipSettings settings = settings_of(run);
    if (job->stop_after == SP_STOP_SAM)
        settings.reader.max_frames = job->prompt_frame + 1;
    settings.see = sp_refinement_see;
    settings.self = run;
    settings.room = sp_stream_room(run);
    SP_TRY(sp_clip_open(job->video, &settings, &run->clip, &run->reader));
    run->length = run->clip.expected;
    say_what_is_used(run);
    return sp_ok();
}

/* The prompts' frame of a clip that may stream: before any other is read. */
static SpStatus read_original(SpRun *run)
{
    SpClipSettings settings = settings_of(run);
    SpClip clip;
    settings.no_video = settings.keep_original = true;
    settings.reader.max_frames = sp_min(settings.reader.max_frames, run->job->prompt_frame + 1);
    SP_TRY(sp_clip_read(run->job->video, &settings, NULL, &clip));
    run->clip.original = clip.original;
    clip.original = NULL;
    sp_clip_free(&clip);
    return sp_ok();
}

/* Whether the clip is longer than what is taken at once: by its frames or, where the container
 * names clearly more of them, which may be an estimate from its duration, by its word. */
static SpStatus look_ahead(SpRun *run)
{
    const int64_t whole = sp_chunking_whole(run->job);
    const bool surely = run->clip.expected > whole + whole / 8;
    if (!surely && !run->job->plan)
        SP_TRY(sp_clip_read_to(run->reader, whole + 1, &run->console->progress));
    run->streams = surely || run->clip.frames > whole || run->job->grid_every;
    if (run->clip.ended)
        run->length = run->clip.frames;
    else if (run->streams) /* at least so many */
        run->length = sp_max(run->length, whole + 1);
    return run->has[SP_STAGE_SAM] ? read_original(run) : sp_ok();
}

static SpStatus read_all(SpRun *run)
{
    SP_TRY(sp_clip_read_to(run->reader, INT64_MAX, &run->console->progress));
    sp_clip_close(run->reader);
    run->reader = NULL;
    run->length = run->clip.frames;
    return sp_ok();
}

SpStatus sp_frames_read(SpRun *run)
{
    sp_console_begin(run->console, "frames", 0);
    SpStatus status = run->may_stream ? look_ahead(run) : sp_ok();
    if (status.code == SP_OK && !run->streams)
        status = read_all(run);
    add_seconds(run, sp_console_end(run->console));
    if (status.code == SP_OK && !run->streams)
        sp_frames_warn_of_losses(run);
    return status;
}

SpStatus sp_frames_read_to(SpRun *run, int64_t frames)
{
    const double began = sp_clock();
    const SpStatus status = sp_clip_read_to(run->reader, frames, NULL);
    add_seconds(run, sp_clock() - began);
    return status;
}
