#include "media/clip.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/minmax.h"

/* Whether there is memory for one more frame, asked each time that 64 MiB are full: the system
 * promises more than it has. */
static bool has_memory(const SpClip *clip, size_t frame)
{
    const size_t step = 64 << 20, used = (size_t)clip->frames * frame;
    if (used / step == (used + frame) / step)
        return true;
    return sp_memory_available() > (frame > step ? frame : step);
}

/* Allocates for one more frame. */
static SpStatus grow(SpClip *clip, int64_t *capacity)
{
    const size_t frame = (size_t)(3 * clip->plan.height * clip->plan.width) * sizeof(float);
    if (!has_memory(clip, frame))
        return sp_no_memory("the clip's frames; use fewer with --max-frames");
    if (clip->frames < *capacity)
        return sp_ok();
    const int64_t more = *capacity ? 2 * *capacity : 16;
    float *video = realloc(clip->video, (size_t)more * frame);
    clip->video = video ? video : clip->video;
    double *timestamps = realloc(clip->timestamps, (size_t)more * sizeof *timestamps);
    clip->timestamps = timestamps ? timestamps : clip->timestamps;
    int64_t *index = realloc(clip->index, (size_t)more * sizeof *index);
    clip->index = index ? index : clip->index;
    if (!video || !timestamps || !index)
        return sp_no_memory("the clip's frames; use fewer with --max-frames");
    *capacity = more;
    return sp_ok();
}

static SpStatus read_frames(SpReader *reader, const SpClipSettings *settings,
                            const SpProgress *progress, uint8_t *rgb, SpClip *clip)
{
    const int64_t size = 3 * clip->plan.height * clip->plan.width;
    const int64_t input = 3 * clip->plan.input_height * clip->plan.input_width;
    const int64_t expected = sp_reader_video(reader).expected;
    int64_t capacity = 0;
    for (;;) {
        SpFrameInfo info;
        bool end;
        SP_TRY(sp_reader_next(reader, rgb, &info, &end));
        if (end)
            break;
        SP_TRY(grow(clip, &capacity));
        if (settings->keep_original && settings->original_frame == clip->frames) {
            if (!(clip->original = malloc((size_t)input)))
                return sp_no_memory("a frame");
            memcpy(clip->original, rgb, (size_t)input);
        }
        SP_TRY(sp_frame_resize(&clip->plan, rgb, clip->video + clip->frames * size));
        clip->timestamps[clip->frames] = info.timestamp;
        clip->index[clip->frames++] = info.index;
        sp_progress(progress, (double)clip->frames, (double)sp_max(expected, clip->frames));
    }
    SP_TRY(sp_reader_left_out(reader, &clip->left_out));
    clip->losses = sp_reader_losses(reader);
    clip->gap = sp_reader_gap(reader);
    for (int64_t t = 0; t < clip->frames; t++)
        clip->timestamps[t] += sp_reader_first_time(reader);
    return sp_ok();
}

static SpStatus read_with(const char *path, SpReader *reader, const SpClipSettings *settings,
                          const SpProgress *progress, SpClip *clip)
{
    const SpVideoInfo video = sp_reader_video(reader);
    const int64_t height = video.height, width = video.width;
    clip->rate = video.rate;
    clip->pixel = video.pixel;
    clip->streams = video.streams;
    clip->stream = video.stream;
    clip->rotation = video.rotation;
    SP_TRY(sp_frame_plan(height, width, settings->size, settings->patch, settings->portrait,
                         settings->max_short_side, &clip->plan));
    if (height < settings->patch || width < settings->patch)
        return sp_error(SP_INPUT, "%.300s: frames of %lldx%lld are too small; at least %lldx%lld",
                        path, (long long)width, (long long)height, (long long)settings->patch,
                        (long long)settings->patch);
    uint8_t *rgb = malloc((size_t)(3 * height * width));
    if (!rgb)
        return sp_no_memory("a frame");
    const SpStatus status = read_frames(reader, settings, progress, rgb, clip);
    free(rgb);
    return status;
}

SpStatus sp_clip_read(const char *path, const SpClipSettings *settings, const SpProgress *progress,
                      SpClip *clip)
{
    SpReader *reader;
    *clip = (SpClip){0};
    SP_TRY(sp_reader_open(path, &settings->reader, &reader));
    const SpStatus status = read_with(path, reader, settings, progress, clip);
    sp_reader_close(reader);
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
