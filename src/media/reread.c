#include "media/reread.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/spool.h"

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
    if (strcmp(video, "-") == 0)
        return sp_spool_stdin();
    if (is_pipe(video))
        return sp_error(SP_USAGE,
                        "%.300s: not a regular file, but --%s reads the video twice; "
                        "use standard input: spatrack - < %.100s",
                        video, flag, video);
    return sp_ok();
}

static SpStatus changed(const char *video)
{
    return sp_error(SP_INPUT, "%.300s: its frames changed between the first and the second reading",
                    video);
}

static SpStatus read_frames(const char *video, SpReader *reader, int64_t frames, uint8_t *rgb,
                            const SpProgress *progress, SpEachFrame *each, void *self)
{
    for (int64_t t = 0; t < frames; t++) {
        SpFrameInfo info;
        bool end;
        SP_TRY(sp_reader_next(reader, rgb, &info, &end));
        if (end)
            return changed(video);
        SP_TRY(each(self, t, rgb));
        sp_progress(progress, (double)(t + 1), (double)frames);
    }
    return sp_ok();
}

SpStatus sp_reread(const char *video, const SpReaderSettings *settings, const SpClip *clip,
                   int64_t frames, const SpProgress *progress, SpEachFrame *each, void *self)
{
    const int64_t height = clip->plan.input_height, width = clip->plan.input_width;
    uint8_t *rgb = NULL;
    SpReader *reader;
    SpStatus status;
    if (strcmp(video, "-") == 0)
        SP_TRY(sp_spool_rewind());
    SP_TRY(sp_reader_open(video, settings, &reader));
    const SpVideoInfo now = sp_reader_video(reader);
    if (now.height != height || now.width != width)
        status = changed(video);
    else if (!(rgb = malloc((size_t)(3 * height * width))))
        status = sp_no_memory("a frame");
    else
        status = read_frames(video, reader, frames, rgb, progress, each, self);
    free(rgb);
    sp_reader_close(reader);
    return status;
}
