#include "pipeline/overlay_stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/spool.h"
#include "output/overlay.h"
#include "output/sheet.h"

enum { PATH_ROOM = 4096 };

static bool is_sheet(const char *path)
{
    const size_t length = strlen(path);
    return length >= 4 && strcmp(path + length - 4, ".png") == 0;
}

/* Whether two paths are one file or folder, by whatever names. */
static bool same(const char *one, const char *two)
{
    struct stat a, b;
    if (strcmp(one, two) == 0)
        return true;
    return stat(one, &a) == 0 && stat(two, &b) == 0 && !S_ISCHR(a.st_mode) &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Whether the sheet would be the next run's last image. */
static bool is_among_images(const SpJob *job)
{
    char folder[PATH_ROOM];
    const char *slash = strrchr(job->overlay, '/');
    const int length = slash == job->overlay ? 1 : slash ? (int)(slash - job->overlay) : 0;
    snprintf(folder, sizeof folder, "%.*s", length ? length : 1, length ? job->overlay : ".");
    return is_sheet(job->overlay) && same(folder, job->video);
}

static SpStatus check_names(const SpJob *job, const char *output)
{
    const char *const others[] = {job->video, output, job->report};
    const char *const names[] = {"the video", "the result", "the report"};
    for (int i = 0; i < 3; i++)
        if (others[i] && same(job->overlay, others[i]))
            return sp_error(SP_USAGE, "%.400s: --overlay would replace %s; name another file",
                            job->overlay, names[i]);
    if (is_among_images(job))
        return sp_error(SP_USAGE, "%.400s: --overlay would lie among the images of the video",
                        job->overlay);
    if (job->no_clobber && access(job->overlay, F_OK) == 0)
        return sp_error(SP_OUTPUT, "%.400s exists; --no-clobber keeps it", job->overlay);
    return sp_ok();
}

SpStatus sp_job_overlay_begin(const SpJob *job, const char *output)
{
    SpAtomicFile file;
    struct stat info;
    SP_TRY(check_names(job, output));
    SP_TRY(sp_atomic_open_for(job->overlay, "--overlay", &file));
    sp_atomic_abandon(&file);
    if (strcmp(job->video, "-") == 0)
        return sp_spool_stdin();
    if (stat(job->video, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return sp_error(SP_USAGE,
                        "%.300s: no file, and --overlay reads the video twice; "
                        "read it from standard input: spatrack - < %.100s",
                        job->video, job->video);
    return sp_ok();
}

static SpStatus draw(const SpJob *job, const SpResult *result, const SpOverlay *overlay,
                     SpConsole *console, const SpAtomicFile *file)
{
    const char *codec;
    if (is_sheet(job->overlay))
        return sp_sheet_write(file, overlay, &result->clip->plan, result->depth,
                              &console->progress);
    SP_TRY(sp_overlay_write(file, overlay, &console->progress, &codec));
    if (strcmp(codec, "H.264") != 0)
        sp_console_note(console, "this FFmpeg cannot encode H.264; %.300s is %s", job->overlay,
                        codec);
    return sp_ok();
}

/* The overlay of a result, whose tracks are put into the video's pixels at xy [T, N, 2]. */
static SpOverlay overlay_of(const SpJob *job, const SpResult *result, float *xy)
{
    const SpClip *clip = result->clip;
    for (int64_t i = 0; i < clip->frames * result->tracks; i++)
        sp_point_to_input(&clip->plan, result->track[3 * i], result->track[3 * i + 1], xy + 2 * i,
                          xy + 2 * i + 1);
    return (SpOverlay){.video = job->video,
                       .reader = {job->start, job->stride, job->max_frames},
                       .frames = clip->frames,
                       .height = clip->plan.input_height,
                       .width = clip->plan.input_width,
                       .timestamps = clip->timestamps,
                       .rate = clip->rate / (double)job->stride,
                       .pixel = clip->pixel,
                       .tracks = result->tracks,
                       .xy = xy,
                       .visibility = result->visibility,
                       .queries = result->queries,
                       .trail = job->trail,
                       .background = job->background};
}

SpStatus sp_job_overlay_write(const SpJob *job, const SpResult *result, SpConsole *console,
                              SpAtomicFile *file, double *seconds)
{
    const int64_t pairs = result->clip->frames * result->tracks;
    float *xy = malloc((size_t)(2 * pairs) * sizeof *xy);
    *seconds = 0;
    if (!xy)
        return sp_no_memory("the overlay");
    SpStatus status = sp_atomic_open_for(job->overlay, "--overlay", file);
    if (status.code == SP_OK) {
        const SpOverlay overlay = overlay_of(job, result, xy);
        sp_console_begin(console, "overlay", (double)overlay.frames);
        status = draw(job, result, &overlay, console, file);
        *seconds = sp_console_end(console);
    }
    free(xy);
    return status.code == SP_OK ? sp_atomic_settle(file) : status;
}
