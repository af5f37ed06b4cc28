#include "media/clip.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/minmax.h"

struct SpClipReader {
    SpReader *reader;
    SpClipSettings settings;
    SpClip *clip;
    uint8_t *rgb;
    int64_t room, listed; /* frames that `video` and the other arrays have memory for */
    double first_time;    /* that stands in the timestamps */
};

/* Floats of a prepared frame. */
static int64_t size_of(const SpClip *clip)
{
    return 3 * clip->plan.height * clip->plan.width;
}

/* Whether there is memory for one more frame, asked each time that 64 MiB are full: the system
 * promises more than it has. */
static bool has_memory(const SpClip *clip)
{
    const size_t frame = (size_t)size_of(clip) * sizeof *clip->video;
    const size_t step = 64 << 20, used = (size_t)(clip->frames - clip->first) * frame;
    if (used / step == (used + frame) / step)
        return true;
    return sp_memory_available() > (frame > step ? frame : step);
}

static SpStatus no_memory(void)
{
    return sp_no_memory("the clip's frames; use fewer with --max-frames");
}

/* Allocates for one more frame: twice as much as before. */
static SpStatus grow(SpClipReader *r)
{
    SpClip *clip = r->clip;
    if (clip->frames == r->listed) {
        const int64_t more = r->listed ? 2 * r->listed : 16;
        double *timestamps = realloc(clip->timestamps, (size_t)more * sizeof *timestamps);
        clip->timestamps = timestamps ? timestamps : clip->timestamps;
        int64_t *index = realloc(clip->index, (size_t)more * sizeof *index);
        clip->index = index ? index : clip->index;
        if (!timestamps || !index)
            return no_memory();
        r->listed = more;
    }
    if (r->settings.no_video)
        return sp_ok();
    if (!has_memory(clip))
        return no_memory();
    if (clip->frames - clip->first < r->room)
        return sp_ok();
    const int64_t first = r->settings.room ? r->settings.room : 16;
    const int64_t more = r->room ? 2 * r->room : first;
    float *video = realloc(clip->video, (size_t)(more * size_of(clip)) * sizeof *video);
    if (!video)
        return no_memory();
    clip->video = video;
    r->room = more;
    return sp_ok();
}

static SpStatus keep_original(const SpClipReader *r)
{
    const SpFramePlan *plan = &r->clip->plan;
    const size_t bytes = (size_t)(3 * plan->input_height * plan->input_width);
    if (!r->settings.keep_original || r->settings.original_frame != r->clip->frames)
        return sp_ok();
    if (!(r->clip->original = malloc(bytes)))
        return sp_no_memory("a frame");
    memcpy(r->clip->original, r->rgb, bytes);
    return sp_ok();
}

static SpStatus read_frame(SpClipReader *r, bool *end)
{
    SpClip *clip = r->clip;
    const SpClipSettings *settings = &r->settings;
    const bool passed = settings->no_video && !settings->keep_original && !settings->see;
    SpFrameInfo info;
    SP_TRY(sp_reader_next(r->reader, passed ? NULL : r->rgb, &info, end));
    if (*end)
        return sp_ok();
    SP_TRY(grow(r));
    SP_TRY(keep_original(r));
    if (settings->see)
        settings->see(settings->self, clip->frames, r->rgb);
    if (!settings->no_video)
        SP_TRY(sp_frame_resize(&clip->plan, r->rgb,
                               clip->video + (clip->frames - clip->first) * size_of(clip)));
    clip->timestamps[clip->frames] = info.timestamp + r->first_time;
    clip->index[clip->frames++] = info.index;
    clip->damage = sp_reader_damage(r->reader);
    return sp_ok();
}

static SpStatus find_losses(SpClipReader *r)
{
    SP_TRY(sp_reader_left_out(r->reader, &r->clip->left_out));
    r->clip->losses = sp_reader_losses(r->reader);
    r->clip->damage = sp_reader_damage(r->reader);
    r->clip->gap = sp_reader_gap(r->reader);
    r->clip->ended = true;
    return sp_ok();
}

/* The first frame's time is known for sure at the end. */
static void settle_times(SpClipReader *r)
{
    const double time = sp_reader_first_time(r->reader);
    for (int64_t t = 0; t < r->clip->frames && time != r->first_time; t++)
        r->clip->timestamps[t] += time - r->first_time;
    r->first_time = time;
}

SpStatus sp_clip_read_to(SpClipReader *r, int64_t frames, const SpProgress *progress)
{
    SpClip *clip = r->clip;
    while (clip->frames < frames && !clip->ended) {
        bool end;
        SP_TRY(read_frame(r, &end));
        if (end)
            SP_TRY(find_losses(r));
        else
            sp_progress(progress, (double)clip->frames,
                        (double)sp_max(clip->expected, clip->frames));
    }
    settle_times(r);
    return sp_ok();
}

void sp_clip_drop(SpClip *clip, int64_t first)
{
    const int64_t kept = clip->frames - first;
    if (first <= clip->first)
        return;
    if (clip->video)
        memmove(clip->video, clip->video + (first - clip->first) * size_of(clip),
                (size_t)(kept * size_of(clip)) * sizeof *clip->video);
    clip->first = first;
}

static SpStatus look(const char *path, SpClipReader *r)
{
    const SpClipSettings *settings = &r->settings;
    const SpVideoInfo video = sp_reader_video(r->reader);
    const int64_t height = video.height, width = video.width;
    SpClip *clip = r->clip;
    clip->rate = video.rate;
    clip->pixel = video.pixel;
    clip->streams = video.streams;
    clip->stream = video.stream;
    clip->rotation = video.rotation;
    clip->expected = video.expected;
    SP_TRY(sp_frame_plan(height, width, settings->size, settings->patch, settings->portrait,
                         settings->max_short_side, &clip->plan));
    if (height < settings->patch || width < settings->patch)
        return sp_error(SP_INPUT, "%.300s: frames of %lldx%lld are too small; at least %lldx%lld",
                        path, (long long)width, (long long)height, (long long)settings->patch,
                        (long long)settings->patch);
    r->rgb = malloc((size_t)(3 * height * width));
    return r->rgb ? sp_ok() : sp_no_memory("a frame");
}

SpStatus sp_clip_open(const char *path, const SpClipSettings *settings, SpClip *clip,
                      SpClipReader **out)
{
    SpClipReader *r = *out = calloc(1, sizeof *r);
    *clip = (SpClip){0};
    if (!r)
        return sp_no_memory("a frame");
    *r = (SpClipReader){.settings = *settings, .clip = clip};
    SpStatus status = sp_reader_open(path, &settings->reader, &r->reader);
    if (status.code == SP_OK)
        status = look(path, r);
    if (status.code == SP_OK)
        return status;
    sp_clip_close(r);
    *out = NULL;
    return status;
}

void sp_clip_close(SpClipReader *r)
{
    if (!r)
        return;
    sp_reader_close(r->reader);
    free(r->rgb);
    free(r);
}

SpStatus sp_clip_read(const char *path, const SpClipSettings *settings, const SpProgress *progress,
                      SpClip *clip)
{
    SpClipReader *reader;
    const SpStatus opened = sp_clip_open(path, settings, clip, &reader);
    if (opened.code != SP_OK || !reader)
        return opened;
    const SpStatus status = sp_clip_read_to(reader, INT64_MAX, progress);
    sp_clip_close(reader);
    if (status.code != SP_OK)
        sp_clip_free(clip);
    return status;
}

void sp_clip_free(SpClip *clip)
{
    free(clip->video);
    free(clip->timestamps);
    free(clip->index);
    free(clip->original);
    *clip = (SpClip){0};
}
