#include "media/reread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/spool.h"

static const double SAME_TIME = 1e-3; /* seconds */

/* Where it is no file, a name that stands for something else, or nothing at all, reading tells. */
static bool is_pipe(const char *video)
{
    struct stat info;
    return stat(video, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

bool sp_reread_is_free(const char *video)
{
    return strcmp(video, "-") == 0 ? lseek(STDIN_FILENO, 0, SEEK_CUR) >= 0 : !is_pipe(video);
}

SpStatus sp_reread_check(const char *video, const char *flag)
{
    if (video && strcmp(video, "-") == 0)
        return sp_spool_stdin();
    if (video && is_pipe(video))
        return sp_error(SP_USAGE,
                        "%.300s: not a regular file, but --%s reads the video twice; "
                        "use standard input: spatrack - < %.100s",
                        video, flag, video);
    return sp_ok();
}

static SpStatus changed(const char *video, const SpClip *clip)
{
    return clip->result ? sp_error(SP_INPUT, "%.200s: its frames are not those of %.200s", video,
                                   clip->result)
                        : sp_error(SP_INPUT,
                                   "%.300s: its frames changed between the first and the second "
                                   "reading",
                                   video);
}

/* A video that is read again, and of which clip. */
typedef struct Reading {
    const char *video;
    const SpClip *clip;
    SpReader *reader;
    uint8_t *rgb;
    double start; /* of the clip's first frame on the reader's clock */
} Reading;

/* Whether the frame is the clip's number t, by its number and, as far as that is known, its time.
 */
static bool is_frame(Reading *r, int64_t t, const SpFrameInfo *info)
{
    const double *times = r->clip->timestamps;
    if (t == 0)
        r->start = info->timestamp;
    return info->index == r->clip->index[t] &&
           (r->clip->timeless ||
            fabs(info->timestamp - r->start - (times[t] - times[0])) < SAME_TIME);
}

static SpStatus read_frame(Reading *r, int64_t t)
{
    SpFrameInfo info;
    bool end;
    do {
        SP_TRY(sp_reader_next(r->reader, r->rgb, &info, &end));
        if (end)
            return changed(r->video, r->clip);
    } while (info.index < r->clip->index[t]);
    return is_frame(r, t, &info) ? sp_ok() : changed(r->video, r->clip);
}

static SpStatus read_frames(Reading *r, int64_t frames, const SpProgress *progress,
                            SpEachFrame *each, void *self)
{
    for (int64_t t = 0; t < frames; t++) {
        SP_TRY(read_frame(r, t));
        SP_TRY(each(self, t, r->rgb));
        sp_progress(progress, (double)(t + 1), (double)frames);
    }
    return sp_ok();
}

SpStatus sp_reread(const char *video, const SpReaderSettings *settings, const SpClip *clip,
                   int64_t frames, const SpProgress *progress, SpEachFrame *each, void *self)
{
    const int64_t height = clip->plan.input_height, width = clip->plan.input_width;
    Reading r = {.video = video, .clip = clip};
    SpStatus status;
    if (strcmp(video, "-") == 0)
        SP_TRY(sp_spool_rewind());
    SP_TRY(sp_reader_open(video, settings, &r.reader));
    const SpVideoInfo now = sp_reader_video(r.reader);
    if (now.height != height || now.width != width)
        status = changed(video, clip);
    else if (!(r.rgb = malloc((size_t)(3 * height * width))))
        status = sp_no_memory("a frame");
    else
        status = read_frames(&r, frames, progress, each, self);
    free(r.rgb);
    sp_reader_close(r.reader);
    return status;
}
