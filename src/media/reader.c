#define _GNU_SOURCE /* asprintf */

#include "media/reader.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/minmax.h"
#include "media/ffmpeg.h"
#include "media/images.h"

static const double IMAGE_RATE = 30;

enum { MAX_SIDE = 16384, MAX_PIXELS = 100000000, DECODER_THREADS = 2, MAX_FAILURES = 100 };

static const SpFfmpeg *ff; /* since the first reader was opened */

struct SpReader {
    SpReaderSettings settings;
    char *path;
    SpImages images; /* none: the path is one container */
    int64_t next_image;
    AVIOContext *io; /* bytes of the open container */
    AVFormatContext *format;
    AVStream *stream; /* its video */
    AVCodecContext *codec;
    bool drained; /* the decoder knows that no more comes */
    AVPacket *packet;
    AVFrame *frame;
    struct SwsContext *scaler;
    int width, height;  /* of the first frame before its rotation */
    uint8_t *unrotated; /* a frame before its rotation */
    int quarter_turns;
    SpVideoInfo video;
    int64_t decoded;    /* frames so far */
    int64_t candidates; /* of them, those from `start` on */
    int64_t used;       /* of them, those that sp_reader_next returned */
    double first_time;  /* of the first frame */
    SpFrameInfo info;   /* of the frame decoded last; sp_reader_open decodes the first used one */
};

/* The file that is being read: of a list the image. */
static const char *current(const SpReader *r)
{
    return r->next_image > 0 ? r->images.path[r->next_image - 1] : r->path;
}

static SpStatus check_size(const SpReader *r, int w, int h)
{
    if (w < 1 || h < 1 || w > MAX_SIDE || h > MAX_SIDE || (int64_t)w * h > MAX_PIXELS)
        return sp_error(SP_INPUT, "%.300s: frames of %dx%d; at most %d a side and %d in all",
                        current(r), w, h, MAX_SIDE, MAX_PIXELS);
    return sp_ok();
}

static SpStatus unreadable(const SpReader *r, int code)
{
    char why[128] = "";
    ff->av_strerror(code, why, sizeof why);
    if (code == AVERROR(ENOMEM))
        return sp_no_memory("decoding");
    return sp_error(SP_INPUT, "%.300s: not a video that FFmpeg can read (%s)", current(r), why);
}

static void close_container(SpReader *r)
{
    ff->avcodec_free_context(&r->codec);
    ff->avformat_close_input(&r->format);
    ff->avio_closep(&r->io);
    r->drained = false;
}

/* Formats that name other files or hosts, or run as scripts: never opened. */
static bool is_playlist(const char *format)
{
    static const char *const names[] = {"hls", "concat", "dash",     "sdp",        "rtsp",
                                        "imf", "rtp",    "avisynth", "vapoursynth"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strstr(format, names[i]))
            return true;
    return false;
}

/* Finds the format by the first bytes and the name, and opens the container. */
static SpStatus open_url(SpReader *r, const char *url, const char *protocol)
{
    AVDictionary *settings = NULL;
    const AVInputFormat *format = NULL;
    ff->av_dict_set(&settings, "protocol_whitelist", protocol, 0);
    int code = ff->avio_open2(&r->io, url, AVIO_FLAG_READ, NULL, &settings);
    ff->av_dict_free(&settings);
    if (code >= 0)
        code = ff->av_probe_input_buffer2(r->io, &format, url, NULL, 0, 0);
    if (code < 0)
        return unreadable(r, code);
    if (is_playlist(format->name))
        return sp_error(SP_INPUT, "%.300s: a playlist (%.40s), not a video; give the video itself",
                        current(r), format->name);
    r->format = ff->avformat_alloc_context();
    if (!r->format)
        return sp_no_memory("opening the video");
    r->format->pb = r->io;
    ff->av_dict_set(&settings, "protocol_whitelist", protocol, 0);
    ff->av_dict_set(&settings, "pattern_type", "none", 0); /* % and * of a name stand for itself */
    code = ff->avformat_open_input(&r->format, url, format, &settings);
    ff->av_dict_free(&settings);
    return code < 0 ? unreadable(r, code) : sp_ok();
}

static SpStatus open_container(SpReader *r)
{
    char *url;
    if (strcmp(current(r), "-") == 0)
        return open_url(r, "pipe:0", "pipe");
    if (asprintf(&url, "file:%s", current(r)) < 0)
        return sp_no_memory("opening the video");
    const SpStatus status = open_url(r, url, "file");
    free(url);
    return status;
}

/* The stream to read: FFmpeg's choice, but a cover picture only where nothing else is. */
static int best_video(const SpReader *r, const AVCodec **codec)
{
    const AVFormatContext *format = r->format;
    const int best =
        ff->av_find_best_stream(r->format, AVMEDIA_TYPE_VIDEO, -1, -1, (void *)codec, 0);
    if (best < 0 || !(format->streams[best]->disposition & AV_DISPOSITION_ATTACHED_PIC))
        return best;
    for (unsigned i = 0; i < format->nb_streams; i++)
        if (format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
            !(format->streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC))
            return ff->av_find_best_stream(r->format, AVMEDIA_TYPE_VIDEO, (int)i, -1, (void *)codec,
                                           0);
    return best;
}

static SpStatus open_decoder(SpReader *r, const AVCodec *codec)
{
    r->codec = ff->avcodec_alloc_context3(codec);
    if (!r->codec)
        return sp_no_memory("the decoder");
    int code = ff->avcodec_parameters_to_context(r->codec, r->stream->codecpar);
    r->codec->pkt_timebase = r->stream->time_base;
    r->codec->thread_count = DECODER_THREADS;
    if (code >= 0)
        code = ff->avcodec_open2(r->codec, codec, NULL);
    if (code == AVERROR(EAGAIN))
        return sp_no_memory("the decoder's threads");
    return code < 0 ? unreadable(r, code) : sp_ok();
}

static SpStatus open_video(SpReader *r)
{
    const AVCodec *codec = NULL;
    SP_TRY(open_container(r));
    int code = ff->avformat_find_stream_info(r->format, NULL);
    if (code < 0)
        return unreadable(r, code);
    code = best_video(r, &codec);
    if (code == AVERROR_DECODER_NOT_FOUND)
        return sp_error(SP_INPUT, "%.300s: this FFmpeg has no decoder for its video", current(r));
    if (code < 0)
        return sp_error(SP_INPUT, "%.300s: there is no video stream in it", current(r));
    r->stream = r->format->streams[code];
    if (r->stream->codecpar->width > 0) /* else only decoding shows it */
        SP_TRY(check_size(r, r->stream->codecpar->width, r->stream->codecpar->height));
    for (unsigned i = 0; i < r->format->nb_streams; i++)
        if (r->format->streams[i] != r->stream)
            r->format->streams[i]->discard = AVDISCARD_ALL;
    return open_decoder(r, codec);
}

/* Hands the decoder one more packet of the video, or the end. */
static SpStatus feed(SpReader *r)
{
    int code;
    while ((code = ff->av_read_frame(r->format, r->packet)) >= 0) {
        const bool ours = r->packet->stream_index == r->stream->index;
        if (ours) /* a damaged packet is the decoder's to refuse: the next ones may be good */
            code = ff->avcodec_send_packet(r->codec, r->packet);
        ff->av_packet_unref(r->packet);
        if (code == AVERROR(ENOMEM))
            return sp_no_memory("decoding");
        if (ours)
            return sp_ok();
    }
    ff->avcodec_send_packet(r->codec, NULL);
    r->drained = true;
    return sp_ok();
}

/* The next frame of the open container into r->frame, or *end. */
static SpStatus decode(SpReader *r, bool *end)
{
    *end = false;
    for (int failures = 0;;) { /* damaged frames at the end do not hide the good ones after them */
        const int code = ff->avcodec_receive_frame(r->codec, r->frame);
        if (code >= 0)
            return sp_ok();
        if (code == AVERROR(ENOMEM))
            return sp_no_memory("decoding");
        *end = code == AVERROR_EOF || (r->drained && ++failures > MAX_FAILURES);
        if (*end)
            return sp_ok();
        if (!r->drained)
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
    close_container(r);
    SP_TRY(open_video(r));
    SP_TRY(decode(r, end));
    if (*end)
        return sp_error(SP_INPUT, "%.400s: not an image that FFmpeg can read", current(r));
    return sp_ok();
}

static double frame_time(const SpReader *r)
{
    if (r->images.count)
        return (double)r->decoded / IMAGE_RATE;
    const AVRational base = r->stream->time_base;
    if (r->frame->best_effort_timestamp != AV_NOPTS_VALUE && base.den)
        return (double)r->frame->best_effort_timestamp * base.num / base.den;
    return (double)r->decoded / (r->video.rate > 0 ? r->video.rate : IMAGE_RATE);
}

/* Decodes up to the next frame that start and stride use. */
static SpStatus next_used(SpReader *r, bool *end)
{
    for (;;) {
        SP_TRY(decode_any(r, end));
        if (*end)
            return sp_ok();
        r->info = (SpFrameInfo){r->decoded, frame_time(r)};
        if (r->decoded++ == 0)
            r->first_time = r->info.timestamp;
        /* Half a millisecond: --start 0.1 means the frame shown at 0.1. */
        if (r->info.timestamp - r->first_time < r->settings.start - 5e-4)
            continue;
        if (r->candidates++ % r->settings.stride == 0)
            return sp_ok();
    }
}

static int quarter_turns_of(const AVStream *stream)
{
    const void *matrix = NULL;
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 16, 100) /* FFmpeg 6.1 */
    const AVPacketSideData *data = stream->codecpar->coded_side_data;
    const int count = stream->codecpar->nb_coded_side_data;
#else
    const AVPacketSideData *data = stream->side_data;
    const int count = stream->nb_side_data;
#endif
    for (int i = 0; i < count; i++)
        if (data[i].type == AV_PKT_DATA_DISPLAYMATRIX)
            matrix = data[i].data;
    if (!matrix)
        return 0;
    /* The matrix rotates counterclockwise by its angle, so frames are shown clockwise by -angle. */
    const double angle = ff->av_display_rotation_get(matrix);
    return isfinite(angle) ? (int)lrint(-angle / 90) & 3 : 0;
}

/* Colours as the frame says, BT.601 as FFmpeg has it where it does not. */
static void set_colours(struct SwsContext *scaler, const AVFrame *frame)
{
    const int full = frame->color_range == AVCOL_RANGE_JPEG ||
                     frame->format == AV_PIX_FMT_YUVJ420P || frame->format == AV_PIX_FMT_YUVJ422P ||
                     frame->format == AV_PIX_FMT_YUVJ444P || frame->format == AV_PIX_FMT_YUVJ440P;
    const int space =
        frame->colorspace == AVCOL_SPC_BT709 ? SWS_CS_ITU709
        : frame->colorspace == AVCOL_SPC_BT2020_NCL || frame->colorspace == AVCOL_SPC_BT2020_CL
            ? SWS_CS_BT2020
        : frame->colorspace == AVCOL_SPC_SMPTE240M ? SWS_CS_SMPTE240M
                                                   : SWS_CS_ITU601;
    ff->sws_setColorspaceDetails(scaler, ff->sws_getCoefficients(space), full,
                                 ff->sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
}

/* out [h, w, 3] = in [w, h, 3] or [h, w, 3] rotated clockwise by 1, 2 or 3 quarter turns. */
static void rotate(const uint8_t *in, int64_t h, int64_t w, int turns, uint8_t *out)
{
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++, out += 3) {
            const int64_t at = turns == 1   ? (w - 1 - x) * h + y
                               : turns == 2 ? (h - 1 - y) * w + (w - 1 - x)
                                            : x * h + (h - 1 - y);
            memcpy(out, in + 3 * at, 3);
        }
}

/* The decoded frame as rgb, in the size of the first. */
static SpStatus convert(SpReader *r, uint8_t *rgb)
{
    const AVFrame *frame = r->frame;
    const int w = r->width, h = r->height;
    if (r->images.count && (frame->width != w || frame->height != h))
        return sp_error(SP_INPUT, "%.300s: %dx%d; the images before it are %dx%d", current(r),
                        frame->width, frame->height, w, h);
    SP_TRY(check_size(r, frame->width, frame->height));
    r->scaler = ff->sws_getCachedContext(r->scaler, frame->width, frame->height,
                                         (enum AVPixelFormat)frame->format, w, h, AV_PIX_FMT_RGB24,
                                         SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT |
                                             SWS_FULL_CHR_H_INP | SWS_BITEXACT,
                                         NULL, NULL, NULL);
    if (!r->scaler)
        return sp_error(SP_INPUT, "%.300s: this FFmpeg cannot convert its pixels to RGB",
                        current(r));
    set_colours(r->scaler, frame);
    uint8_t *to = r->quarter_turns ? r->unrotated : rgb;
    ff->sws_scale(r->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height,
                  (uint8_t *const[]){to, NULL, NULL, NULL}, (const int[]){3 * w, 0, 0, 0});
    if (r->quarter_turns)
        rotate(to, r->video.height, r->video.width, r->quarter_turns, rgb);
    return sp_ok();
}

/* Opens the video, or lists the images. */
static SpStatus find_source(SpReader *r)
{
    struct stat info;
    if (strcmp(r->path, "-") == 0)
        return open_video(r);
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
    return open_video(r);
}

/* What the container says: its rotation, its rate, and its pixel aspect ratio, which goes before
 * the codec's, as FFmpeg's own tools have it. */
static void read_stream(SpReader *r)
{
    const AVRational rate = r->stream->avg_frame_rate;
    const AVRational ratio[] = {r->stream->codecpar->sample_aspect_ratio,
                                r->stream->sample_aspect_ratio};
    r->video.rate = rate.num > 0 && rate.den > 0 ? (double)rate.num / rate.den : 0;
    r->quarter_turns = quarter_turns_of(r->stream);
    for (int i = 0; i < 2; i++) /* the later one stands */
        if (ratio[i].num > 0 && ratio[i].den > 0)
            r->video.pixel = r->quarter_turns & 1 ? (SpPixelAspect){ratio[i].den, ratio[i].num}
                                                  : (SpPixelAspect){ratio[i].num, ratio[i].den};
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
    const int64_t from = frames - (int64_t)fmin(r->settings.start * rate, (double)frames);
    return sp_min((from + stride - 1) / stride, r->settings.max_frames);
}

/* Decodes the first used frame, which gives the size. */
static SpStatus start(SpReader *r)
{
    bool end;
    r->packet = ff->av_packet_alloc();
    r->frame = ff->av_frame_alloc();
    if (!r->packet || !r->frame)
        return sp_no_memory("decoding");
    SP_TRY(find_source(r));
    r->video.pixel = (SpPixelAspect){1, 1};
    if (!r->images.count)
        read_stream(r);
    SP_TRY(next_used(r, &end));
    if (end && r->decoded == 0)
        return sp_error(SP_INPUT, "%.300s: no frame of it can be decoded; %s", r->path,
                        strcmp(r->path, "-") == 0
                            ? "an MP4 with its index at the end cannot come through a pipe: give "
                              "the file, or remux it with ffmpeg -movflags +faststart"
                            : "it is damaged or cut, or larger than can be read");
    if (end)
        return sp_error(SP_INPUT, "%.300s: ends before --start %g (its last frame is at %.4g s)",
                        r->path, r->settings.start, r->info.timestamp - r->first_time);
    const int w = r->width = r->frame->width, h = r->height = r->frame->height;
    SP_TRY(check_size(r, w, h));
    r->video.width = r->quarter_turns & 1 ? h : w;
    r->video.height = r->quarter_turns & 1 ? w : h;
    r->video.expected = expected_frames(r);
    if (r->quarter_turns && !(r->unrotated = malloc((size_t)(3 * w) * (size_t)h)))
        return sp_no_memory("a frame");
    return sp_ok();
}

SpStatus sp_reader_open(const char *path, const SpReaderSettings *settings, SpReader **out)
{
    *out = NULL;
    SP_TRY(sp_ffmpeg_load(&ff));
    SpReader *r = calloc(1, sizeof *r);
    if (!r || !(r->path = strdup(path))) {
        free(r);
        return sp_no_memory("the reader");
    }
    r->settings = *settings;
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
    close_container(r);
    ff->av_packet_free(&r->packet);
    ff->av_frame_free(&r->frame);
    ff->sws_freeContext(r->scaler);
    sp_images_free(&r->images);
    free(r->unrotated);
    free(r->path);
    free(r);
}

SpVideoInfo sp_reader_video(const SpReader *r)
{
    return r->video;
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
    return convert(r, rgb);
}

/* Packets of the video that were not decoded yet. */
static int64_t packets_left(SpReader *r)
{
    int64_t count = 0;
    while (ff->av_read_frame(r->format, r->packet) >= 0) {
        count += r->packet->stream_index == r->stream->index && r->packet->size > 0 &&
                 !(r->packet->flags & AV_PKT_FLAG_DISCARD);
        ff->av_packet_unref(r->packet);
    }
    return count;
}

SpStatus sp_reader_left_out(SpReader *r, int64_t *count)
{
    const int64_t stride = r->settings.stride;
    int64_t rest = 0;
    *count = 0;
    if (r->used < r->settings.max_frames)
        return sp_ok();
    if (r->images.count) {
        rest = r->images.count - r->next_image;
    } else if (!r->drained) {
        rest = packets_left(r);
        ff->avcodec_send_packet(r->codec, NULL);
        r->drained = true;
    }
    for (bool end = r->images.count > 0; !end; rest += !end) /* frames the decoder still holds */
        SP_TRY(decode(r, &end));
    *count = (r->candidates + rest + stride - 1) / stride - (r->candidates + stride - 1) / stride;
    return sp_ok();
}
