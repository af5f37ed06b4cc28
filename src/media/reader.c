#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/minmax.h"
#include "media/reader_internal.h"

static const double IMAGE_RATE = 30;
static const double MAX_RATE = 1000; /* of frames without a time; what is beyond is no rate */
static const double NEW_CLOCK = 1;   /* seconds back: the clock began again */
static const double MAX_TIME = 1e12; /* seconds; what is beyond, either way, is no time */

enum { MAX_FAILURES = 100, MAX_UNDATED = 64 };

/* Whether the open container is an image, and no video. */
static bool is_image(const SpReader *r)
{
    const char *name = r->format->iformat->name;
    return r->images.count || strstr(name, "_pipe") || strstr(name, "image2");
}

/* Notes what an image's file says beside its pixels. */
static void look_at_image(SpReader *r)
{
    const AVPacket *packet = r->packet;
    const size_t size = (size_t)sp_max(packet->size, 0);
    if (r->stream->codecpar->codec_id == AV_CODEC_ID_MJPEG)
        r->damaged += sp_jpeg_is_cut(packet->data, size);
    if (!r->exif)
        r->exif = sp_exif_orientation(packet->data, size);
}

/* Tells the decoder that no more comes. Where it does not take that, the frames it holds are lost:
 * of how many nobody knows, so one counts. */
static SpStatus drain(SpReader *r)
{
    const int code = r->ff->avcodec_send_packet(r->codec, NULL);
    r->drained = true;
    r->refused += code < 0 && code != AVERROR_EOF;
    return code == AVERROR(ENOMEM) ? sp_no_memory("decoding") : sp_ok();
}

/* Hands the decoder one more packet of the video, or the end. */
static SpStatus feed(SpReader *r)
{
    int code;
    while ((code = r->ff->av_read_frame(r->format, r->packet)) >= 0) {
        const bool ours = sp_length_count(&r->length, r->format, r->stream, r->packet);
        if (ours && is_image(r))
            look_at_image(r);
        if (ours) /* a damaged packet is the decoder's to refuse: the next ones may be good */
            code = r->ff->avcodec_send_packet(r->codec, r->packet);
        r->refused += code < 0 && r->packet->size > 0;
        r->ff->av_packet_unref(r->packet);
        if (code == AVERROR(ENOMEM))
            return sp_no_memory("decoding");
        if (ours)
            return sp_ok();
    }
    return drain(r);
}

/* The next frame of the open container into r->frame, or *end. */
static SpStatus decode(SpReader *r, bool *end)
{
    *end = false;
    for (int failures = 0;;) { /* damaged frames at the end do not hide the good ones after them */
        const int code = r->ff->avcodec_receive_frame(r->codec, r->frame);
        if (code >= 0) {
            r->damaged += (r->frame->flags & AV_FRAME_FLAG_CORRUPT) || r->frame->decode_error_flags;
            return sp_ok();
        }
        if (code == AVERROR(ENOMEM))
            return sp_no_memory("decoding");
        const bool hungry = code == AVERROR(EAGAIN);
        r->refused += !hungry && code != AVERROR_EOF;
        failures += !hungry || r->drained;
        *end = code == AVERROR_EOF || (r->drained && failures > MAX_FAILURES);
        if (*end)
            return sp_ok();
        if (!r->drained && (hungry || failures > MAX_FAILURES))
            SP_TRY(feed(r));
    }
}

/* As decode, over a list of images. */
static SpStatus decode_any(SpReader *r, bool *end)
{
    if (!r->images.count)
        return decode(r, end);
    *end = r->next_image == r->images.count;
    if (*end)
        return sp_ok();
    r->next_image++;
    sp_reader_close_container(r);
    r->exif = 0;
    SP_TRY(sp_reader_open_video(r));
    SP_TRY(decode(r, end));
    if (*end)
        return sp_error(SP_INPUT, "%.400s: not an image that FFmpeg can read",
                        sp_reader_current(r));
    return sp_ok();
}

/* Sets the time of the frame decoded last; `previous` is that of the one before it. Until a frame
 * has a time they are counted from 0, and the first that has one shows when the first was. */
static void set_time(SpReader *r, double previous)
{
    const bool known = r->video.rate > 0 && r->video.rate <= MAX_RATE;
    const double rate = known ? r->video.rate : IMAGE_RATE;
    const double step = r->decoded > 1 ? r->info.timestamp / (double)(r->decoded - 1) : 1 / rate;
    AVRational base = {0};
    if (!r->images.count)
        base = r->stream->time_base;
    const int64_t stamp = base.den ? r->frame->best_effort_timestamp : AV_NOPTS_VALUE;
    double time = (double)stamp * base.num / (base.den ? base.den : 1) + r->clock;
    const int64_t ticks = fabs(time) < MAX_TIME ? stamp : AV_NOPTS_VALUE;
    if (!r->dated && ticks == AV_NOPTS_VALUE) {
        time = (double)r->decoded / rate;
    } else if (!r->dated) {
        r->first_time = time - (double)r->decoded / rate;
        r->dated = true;
    } else if (ticks == AV_NOPTS_VALUE || ticks == r->ticks) {
        time = previous + step;
    } else if (time <= previous - NEW_CLOCK) {
        r->clock += previous + step - time;
        time = previous + step;
    } else if (time <= previous) {
        time = previous + step / 2; /* the next may be right again */
    }
    if (ticks != AV_NOPTS_VALUE)
        r->ticks = ticks;
    /* Where a step is lost in the digits of the time, it grows by the least there is. */
    const double after = r->decoded ? nextafter(r->info.timestamp, INFINITY) : -INFINITY;
    r->info = (SpFrameInfo){r->decoded, fmax(time - r->first_time, after)};
}

/* The display matrix of the frame decoded last: its own, else its stream's; NULL: none. */
static const int32_t *display_matrix(const SpReader *r)
{
    const AVFrameSideData *own =
        r->ff->av_frame_get_side_data(r->frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (own && own->size >= 9 * sizeof(int32_t))
        return (const void *)own->data;
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 16, 100) /* FFmpeg 6.1 */
    const AVPacketSideData *data = r->stream->codecpar->coded_side_data;
    const int count = r->stream->codecpar->nb_coded_side_data;
#else
    const AVPacketSideData *data = r->stream->side_data;
    const int count = r->stream->nb_side_data;
#endif
    for (int i = 0; i < count; i++)
        if (data[i].type == AV_PKT_DATA_DISPLAYMATRIX && data[i].size >= 9 * sizeof(int32_t))
            return (const void *)data[i].data;
    return NULL;
}

/* Of an image without a display matrix FFmpeg may have EXIF's orientation as text, or not at all.
 */
static SpOrientation image_orientation(const SpReader *r)
{
    const AVDictionaryEntry *text = r->ff->av_dict_get(r->frame->metadata, "Orientation", NULL, 0);
    return sp_orientation_of_exif(text && is_image(r) ? strtol(text->value, NULL, 10) : r->exif);
}

/* How the frame decoded last is shown. What a frame of a video says holds until another says it;
 * each image speaks for itself. */
static void set_orientation(SpReader *r)
{
    const bool own = r->ff->av_frame_get_side_data(r->frame, AV_FRAME_DATA_DISPLAYMATRIX);
    const int32_t *matrix = display_matrix(r);
    if (r->decoded > 0 && !own && !r->images.count)
        return;
    r->orientation = matrix ? sp_orientation_of_matrix(matrix) : image_orientation(r);
    r->video.rotation = matrix ? sp_orientation_angle(matrix) : 0;
}

/* Decodes the next frame and counts it. */
static SpStatus decode_next(SpReader *r, bool *end)
{
    SP_TRY(decode_any(r, end));
    if (*end)
        return sp_ok();
    set_time(r, r->info.timestamp + r->first_time);
    set_orientation(r);
    r->decoded++;
    return sp_ok();
}

/* Decodes up to the next frame that start and stride use. */
static SpStatus next_used(SpReader *r, bool *end)
{
    for (;;) {
        SP_TRY(decode_next(r, end));
        if (*end)
            return sp_ok();
        /* Half a millisecond: --start 0.1 means the frame shown at 0.1. */
        if (r->info.timestamp < r->settings.start - 5e-4)
            continue;
        if (r->candidates++ % r->settings.stride == 0)
            return sp_ok();
    }
}

/* The decoded frame as rgb, in the size of the first as shown. */
static SpStatus convert(SpReader *r, uint8_t *rgb)
{
    const int h = (int)r->video.height, w = (int)r->video.width;
    const bool sideways = r->orientation.quarter_turns & 1;
    const int high = sideways ? r->frame->width : r->frame->height; /* as shown */
    const int wide = sideways ? r->frame->height : r->frame->width;
    if (r->images.count && (wide != w || high != h))
        return sp_error(SP_INPUT, "%.300s: %dx%d; the images before it are %dx%d",
                        sp_reader_current(r), wide, high, w, h);
    SP_TRY(sp_reader_check_size(r, r->frame->width, r->frame->height));
    return sp_scaler_run(&r->scaler, r->frame, r->orientation, h, w, sp_reader_current(r), rgb);
}

/* Opens the video, or lists the images. */
static SpStatus find_source(SpReader *r)
{
    struct stat info;
    if (strcmp(r->path, "-") == 0)
        return sp_reader_open_video(r);
    if (stat(r->path, &info) != 0) {
        const int why = errno;
        if (sp_images_is_pattern(r->path))
            return sp_images_of_pattern(r->path, &r->images);
        return sp_error(SP_INPUT, "cannot open %.400s: %s", r->path, strerror(why));
    }
    if (S_ISDIR(info.st_mode))
        return sp_images_of_folder(r->path, &r->images);
    if (S_ISREG(info.st_mode) && info.st_size == 0)
        return sp_error(SP_INPUT, "%.400s: an empty file", r->path);
    return sp_reader_open_video(r);
}

/* What the container and the first frame say: size and rotation, and the pixel aspect ratio, of
 * which the container's goes before the codec's, as FFmpeg's own tools have it. */
static SpStatus read_first_frame(SpReader *r)
{
    const bool sideways = r->orientation.quarter_turns & 1;
    const int w = r->frame->width, h = r->frame->height;
    const AVRational ratio[] = {r->stream->codecpar->sample_aspect_ratio,
                                r->stream->sample_aspect_ratio};
    SP_TRY(sp_reader_check_size(r, w, h));
    r->video.width = sideways ? h : w;
    r->video.height = sideways ? w : h;
    for (int i = 0; i < 2 && !r->images.count; i++) /* the later one stands */
        if (ratio[i].num > 0 && ratio[i].den > 0)
            r->video.pixel = sideways ? (SpPixelAspect){ratio[i].den, ratio[i].num}
                                      : (SpPixelAspect){ratio[i].num, ratio[i].den};
    return sp_ok();
}

/* How many frames will be used, by the file's number of frames or else by its duration. */
static int64_t expected_frames(const SpReader *r)
{
    const int64_t stride = r->settings.stride;
    const double rate = r->images.count ? IMAGE_RATE : r->video.rate;
    int64_t frames = r->images.count ? r->images.count : r->stream->nb_frames;
    if (frames <= 0) {
        const double guess = fmax((double)r->format->duration / AV_TIME_BASE, 0) * rate;
        frames = guess < 1e9 ? llrint(guess) : 0;
    }
    frames = sp_min(frames, INT32_MAX);
    const int64_t from = frames - (int64_t)fmin(r->settings.start * rate, (double)frames);
    return sp_min((from + stride - 1) / stride, r->settings.max_frames);
}

/* Decodes the first used frame, which gives the size. */
static SpStatus start(SpReader *r)
{
    bool end;
    r->packet = r->ff->av_packet_alloc();
    r->frame = r->ff->av_frame_alloc();
    if (!r->packet || !r->frame)
        return sp_no_memory("decoding");
    SP_TRY(find_source(r));
    r->video.pixel = (SpPixelAspect){1, 1};
    if (!r->images.count) {
        const AVRational rate = r->stream->avg_frame_rate;
        r->video.rate = rate.num > 0 && rate.den > 0 ? (double)rate.num / rate.den : 0;
    }
    SP_TRY(next_used(r, &end));
    if (end && r->decoded == 0)
        return sp_error(SP_INPUT, "%.300s: no frame of it can be decoded; %s", r->path,
                        strcmp(r->path, "-") == 0
                            ? "an MP4 with its index at the end cannot come through a pipe: give "
                              "the file, or remux it with ffmpeg -movflags +faststart"
                            : "it is damaged or cut, or larger than can be read");
    if (end)
        return sp_error(SP_INPUT, "%.300s: ends before --start %g (its last frame is at %.4g s)",
                        r->path, r->settings.start, r->info.timestamp);
    SP_TRY(read_first_frame(r));
    r->video.expected = expected_frames(r);
    return sp_ok();
}

SpStatus sp_reader_open(const char *path, const SpReaderSettings *settings, SpReader **out)
{
    *out = NULL;
    const SpFfmpeg *ff;
    SP_TRY(sp_ffmpeg_load(&ff));
    SpReader *r = calloc(1, sizeof *r);
    if (!r || !(r->path = strdup(path))) {
        free(r);
        return sp_no_memory("the reader");
    }
    r->settings = *settings;
    r->ff = r->scaler.ff = ff;
    const SpStatus status = start(r);
    if (status.code == SP_OK)
        *out = r;
    else
        sp_reader_close(r);
    return status;
}

void sp_reader_close(SpReader *r)
{
    if (!r)
        return;
    sp_reader_close_container(r);
    r->ff->av_packet_free(&r->packet);
    r->ff->av_frame_free(&r->frame);
    sp_scaler_close(&r->scaler);
    sp_images_free(&r->images);
    free(r->path);
    free(r);
}

SpVideoInfo sp_reader_video(const SpReader *r)
{
    return r->video;
}

double sp_reader_first_time(const SpReader *r)
{
    return r->first_time;
}

SpStatus sp_reader_next(SpReader *r, uint8_t *rgb, SpFrameInfo *info, bool *end)
{
    *end = r->used >= r->settings.max_frames;
    if (!*end && r->used > 0)
        SP_TRY(next_used(r, end));
    if (*end)
        return sp_ok();
    r->used++;
    *info = r->info;
    return rgb ? convert(r, rgb) : sp_ok();
}

/* Packets of the video that were not decoded yet. */
static int64_t packets_left(SpReader *r)
{
    int64_t count = 0;
    while (r->ff->av_read_frame(r->format, r->packet) >= 0) {
        count += sp_length_count(&r->length, r->format, r->stream, r->packet) &&
                 r->packet->size > 0 && !(r->packet->flags & AV_PKT_FLAG_DISCARD);
        r->ff->av_packet_unref(r->packet);
    }
    return count;
}

SpStatus sp_reader_left_out(SpReader *r, int64_t *count)
{
    const int64_t stride = r->settings.stride;
    const int64_t decoded = r->decoded;
    int64_t rest = 0;
    *count = 0;
    r->all = r->images.count ? r->images.count : decoded;
    if (r->used < r->settings.max_frames)
        return sp_ok();
    bool end = r->images.count > 0;
    while (!r->dated && !end && rest < MAX_UNDATED) { /* when did the first frame begin? */
        SP_TRY(decode_next(r, &end));
        rest += !end;
    }
    if (r->images.count) {
        rest = r->images.count - r->next_image;
    } else if (!r->drained) {
        rest += packets_left(r);
        SP_TRY(drain(r));
    }
    for (; !end; rest += !end) /* frames the decoder still holds */
        SP_TRY(decode(r, &end));
    *count = (r->candidates + rest + stride - 1) / stride - (r->candidates + stride - 1) / stride;
    r->all = r->images.count ? r->images.count : decoded + rest;
    return sp_ok();
}

SpLosses sp_reader_losses(const SpReader *r)
{
    SpLosses losses = {r->all, r->all, r->damaged};
    if (r->images.count)
        return losses;
    const SpDeclared declared = sp_length_declared(&r->length, r->ff, r->format, r->stream,
                                                   r->video.rate > 0 ? r->video.rate : IMAGE_RATE);
    if (declared.is_short || r->refused || r->damaged)
        losses.declared = sp_max(declared.frames, r->all + (declared.counted ? 0 : r->refused));
    if (losses.declared == r->all)
        losses.damaged += r->refused;
    return losses;
}

int64_t sp_reader_damage(const SpReader *r)
{
    return r->damaged + r->refused;
}

SpGap sp_reader_gap(const SpReader *r)
{
    return (SpGap){r->images.matching - r->images.count, r->images.missing};
}
