#include "media/reader.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "media/ffmpeg.h"
#include "media/images.h"

static const double IMAGE_RATE = 30;

enum { MAX_SIDE = 16384, MAX_PIXELS = 100000000, DECODER_THREADS = 2, MAX_FAILURES = 100 };

/* One opened container and the decoder of its video. */
typedef struct Source {
    AVIOContext *io;
    AVFormatContext *format;
    AVCodecContext *codec;
    AVStream *stream;
    bool drained; /* the decoder knows that no more comes */
} Source;

struct SpReader {
    const SpFfmpeg *ff;
    SpReaderSettings settings;
    char *path;
    SpImages images; /* none: the path is one container */
    int64_t next_image;
    Source source;
    AVPacket *packet;
    AVFrame *frame;
    struct SwsContext *scaler;
    uint8_t *unrotated; /* a frame before its rotation */
    int quarter_turns;
    int64_t height, width; /* after rotation */
    double rate;
    SpPixelAspect pixel;
    int64_t decoded;              /* frames so far */
    int64_t used;                 /* of them given out */
    int64_t candidates;           /* frames from start on */
    double first_time, last_time; /* of the frames decoded so far */
    bool pending;                 /* `frame` holds the first used frame, not given out yet */
    SpFrameInfo first;            /* of that frame */
};

/* The file that is being read: of a list the image. */
static const char *current(const SpReader *reader)
{
    return reader->next_image > 0 ? reader->images.path[reader->next_image - 1] : reader->path;
}

static SpStatus check_size(const SpReader *reader, int w, int h)
{
    if (w < 1 || h < 1 || w > MAX_SIDE || h > MAX_SIDE || (int64_t)w * h > MAX_PIXELS)
        return sp_error(SP_INPUT, "%.300s: frames of %dx%d; at most %d a side and %d in all",
                        current(reader), w, h, MAX_SIDE, MAX_PIXELS);
    return sp_ok();
}

static SpStatus unreadable(const SpReader *reader, const char *path, int code)
{
    char why[128] = "";
    reader->ff->av_strerror(code, why, sizeof why);
    if (code == AVERROR(ENOMEM))
        return sp_no_memory("decoding");
    return sp_error(SP_INPUT, "%.300s: not a video that FFmpeg can read (%s)", path, why);
}

static void close_source(SpReader *reader)
{
    reader->ff->avcodec_free_context(&reader->source.codec);
    reader->ff->avformat_close_input(&reader->source.format);
    reader->ff->avio_closep(&reader->source.io);
    reader->source = (Source){0};
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

/* Opens the file and finds its format by its first bytes and its name. */
static SpStatus probe(SpReader *reader, const char *path, const char *url, AVDictionary **settings,
                      const AVInputFormat **format)
{
    const SpFfmpeg *ff = reader->ff;
    Source *source = &reader->source;
    int code = ff->avio_open2(&source->io, url, AVIO_FLAG_READ, NULL, settings);
    if (code >= 0)
        code = ff->av_probe_input_buffer2(source->io, format, url, NULL, 0, 0);
    if (code < 0)
        return unreadable(reader, path, code);
    if (is_playlist((*format)->name))
        return sp_error(SP_INPUT, "%.300s: a playlist (%.40s), not a video; give the video itself",
                        path, (*format)->name);
    return sp_ok();
}

static SpStatus open_url(SpReader *reader, const char *path, const char *url, const char *protocol)
{
    const SpFfmpeg *ff = reader->ff;
    Source *source = &reader->source;
    AVDictionary *settings = NULL;
    const AVInputFormat *format = NULL;
    ff->av_dict_set(&settings, "protocol_whitelist", protocol, 0);
    SpStatus status = probe(reader, path, url, &settings, &format);
    ff->av_dict_free(&settings);
    if (status.code != SP_OK)
        return status;
    source->format = ff->avformat_alloc_context();
    if (!source->format)
        return sp_no_memory("opening the video");
    source->format->pb = source->io;
    ff->av_dict_set(&settings, "protocol_whitelist", protocol, 0);
    ff->av_dict_set(&settings, "pattern_type", "none", 0); /* % and * of a name stand for itself */
    const int code = ff->avformat_open_input(&source->format, url, format, &settings);
    ff->av_dict_free(&settings);
    return code < 0 ? unreadable(reader, path, code) : sp_ok();
}

static SpStatus open_container(SpReader *reader, const char *path)
{
    if (strcmp(path, "-") == 0)
        return open_url(reader, path, "pipe:0", "pipe");
    const size_t size = strlen(path) + sizeof "file:";
    char *url = malloc(size);
    if (!url)
        return sp_no_memory("opening the video");
    snprintf(url, size, "file:%s", path);
    const SpStatus status = open_url(reader, path, url, "file");
    free(url);
    return status;
}

/* The stream to read: FFmpeg's choice, but a cover picture only where nothing else is. */
static int best_video(const SpReader *reader, const AVCodec **codec)
{
    AVFormatContext *format = reader->source.format;
    const int best =
        reader->ff->av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, (void *)codec, 0);
    if (best < 0 || !(format->streams[best]->disposition & AV_DISPOSITION_ATTACHED_PIC))
        return best;
    for (unsigned i = 0; i < format->nb_streams; i++)
        if (format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
            !(format->streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC))
            return reader->ff->av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, (int)i, -1,
                                                   (void *)codec, 0);
    return best;
}

static SpStatus start_decoder(SpReader *reader, const char *path, const AVCodec *codec)
{
    const SpFfmpeg *ff = reader->ff;
    Source *source = &reader->source;
    source->codec = ff->avcodec_alloc_context3(codec);
    if (!source->codec)
        return sp_no_memory("the decoder");
    int code = ff->avcodec_parameters_to_context(source->codec, source->stream->codecpar);
    source->codec->pkt_timebase = source->stream->time_base;
    source->codec->thread_count = DECODER_THREADS;
    if (code >= 0)
        code = ff->avcodec_open2(source->codec, codec, NULL);
    return code < 0 ? unreadable(reader, path, code) : sp_ok();
}

static SpStatus open_decoder(SpReader *reader, const char *path)
{
    Source *source = &reader->source;
    const AVCodec *codec = NULL;
    int code = reader->ff->avformat_find_stream_info(source->format, NULL);
    if (code < 0)
        return unreadable(reader, path, code);
    code = best_video(reader, &codec);
    if (code == AVERROR_DECODER_NOT_FOUND)
        return sp_error(SP_INPUT, "%.300s: this FFmpeg has no decoder for its video", path);
    if (code < 0)
        return sp_error(SP_INPUT, "%.300s: there is no video stream in it", path);
    source->stream = source->format->streams[code];
    if (source->stream->codecpar->width > 0) /* else only decoding shows it */
        SP_TRY(
            check_size(reader, source->stream->codecpar->width, source->stream->codecpar->height));
    return start_decoder(reader, path, codec);
}

static SpStatus open_source(SpReader *reader, const char *path)
{
    SP_TRY(open_container(reader, path));
    SP_TRY(open_decoder(reader, path));
    for (unsigned i = 0; i < reader->source.format->nb_streams; i++)
        if (reader->source.format->streams[i] != reader->source.stream)
            reader->source.format->streams[i]->discard = AVDISCARD_ALL;
    return sp_ok();
}

/* Hands the decoder one more packet of the video, or the end. */
static SpStatus feed(SpReader *reader)
{
    const SpFfmpeg *ff = reader->ff;
    Source *source = &reader->source;
    int code;
    while ((code = ff->av_read_frame(source->format, reader->packet)) >= 0) {
        const bool ours = reader->packet->stream_index == source->stream->index;
        if (ours) /* a damaged packet is the decoder's to refuse: the next ones may be good */
            code = ff->avcodec_send_packet(source->codec, reader->packet);
        ff->av_packet_unref(reader->packet);
        if (code == AVERROR(ENOMEM))
            return sp_no_memory("decoding");
        if (ours)
            return sp_ok();
    }
    ff->avcodec_send_packet(source->codec, NULL);
    source->drained = true;
    return sp_ok();
}

/* The next frame of the open source into reader->frame, or *end. */
static SpStatus decode(SpReader *reader, bool *end)
{
    *end = false;
    for (int failures = 0;;) { /* damaged frames at the end do not hide the good ones after them */
        const int code = reader->ff->avcodec_receive_frame(reader->source.codec, reader->frame);
        if (code >= 0)
            return sp_ok();
        if (code == AVERROR(ENOMEM))
            return sp_no_memory("decoding");
        *end = code == AVERROR_EOF || (reader->source.drained && ++failures > MAX_FAILURES);
        if (*end)
            return sp_ok();
        if (!reader->source.drained)
            SP_TRY(feed(reader));
    }
}

/* As decode, over a list of images. */
static SpStatus decode_any(SpReader *reader, bool *end)
{
    if (!reader->images.count)
        return decode(reader, end);
    *end = reader->next_image == reader->images.count;
    if (*end)
        return sp_ok();
    const char *path = reader->images.path[reader->next_image++];
    close_source(reader);
    SP_TRY(open_source(reader, path));
    SP_TRY(decode(reader, end));
    if (*end)
        return sp_error(SP_INPUT, "%.400s: not an image that FFmpeg can read", path);
    return sp_ok();
}

static double frame_time(const SpReader *reader)
{
    const AVFrame *frame = reader->frame;
    const AVRational base =
        reader->images.count ? (AVRational){0, 1} : reader->source.stream->time_base;
    if (reader->images.count)
        return (double)reader->decoded / IMAGE_RATE;
    if (frame->best_effort_timestamp != AV_NOPTS_VALUE && base.den)
        return (double)frame->best_effort_timestamp * (double)base.num / (double)base.den;
    return (double)reader->decoded / (reader->rate > 0 ? reader->rate : IMAGE_RATE);
}

/* Decodes up to the next frame that start and stride use. */
static SpStatus next_used(SpReader *reader, SpFrameInfo *info, bool *end)
{
    for (;;) {
        SP_TRY(decode_any(reader, end));
        if (*end)
            return sp_ok();
        *info = (SpFrameInfo){reader->decoded, frame_time(reader)};
        if (reader->decoded++ == 0)
            reader->first_time = info->timestamp;
        reader->last_time = info->timestamp;
        /* Half a millisecond: --start 0.1 means the frame shown at 0.1. */
        if (info->timestamp - reader->first_time < reader->settings.start - 5e-4)
            continue;
        if (reader->candidates++ % reader->settings.stride == 0)
            return sp_ok();
    }
}

static int quarter_turns_of(const SpReader *reader)
{
    const int32_t *matrix = NULL;
    const AVStream *stream = reader->source.stream;
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 16, 100) /* FFmpeg 6.1 */
    for (int i = 0; i < stream->codecpar->nb_coded_side_data; i++)
        if (stream->codecpar->coded_side_data[i].type == AV_PKT_DATA_DISPLAYMATRIX)
            matrix = (const int32_t *)(const void *)stream->codecpar->coded_side_data[i].data;
#else
    for (int i = 0; i < stream->nb_side_data; i++)
        if (stream->side_data[i].type == AV_PKT_DATA_DISPLAYMATRIX)
            matrix = (const int32_t *)(const void *)stream->side_data[i].data;
#endif
    if (!matrix)
        return 0;
    /* The matrix rotates counterclockwise by its angle, so frames are shown clockwise by -angle. */
    const double angle = reader->ff->av_display_rotation_get(matrix);
    return isfinite(angle) ? (int)lrint(-angle / 90) & 3 : 0;
}

/* Colours as the frame says, BT.601 as FFmpeg has it where it does not. */
static void set_colours(const SpReader *reader, const AVFrame *frame)
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
    const int *to = reader->ff->sws_getCoefficients(SWS_CS_DEFAULT);
    reader->ff->sws_setColorspaceDetails(reader->scaler, reader->ff->sws_getCoefficients(space),
                                         full, to, 1, 0, 1 << 16, 1 << 16);
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

static SpStatus convert(SpReader *reader, uint8_t *rgb)
{
    const SpFfmpeg *ff = reader->ff;
    const AVFrame *frame = reader->frame;
    const bool sideways = reader->quarter_turns & 1;
    const int w = (int)(sideways ? reader->height : reader->width);
    const int h = (int)(sideways ? reader->width : reader->height);
    if (reader->images.count && (frame->width != w || frame->height != h))
        return sp_error(SP_INPUT, "%.300s: %dx%d; the images before it are %dx%d", current(reader),
                        frame->width, frame->height, w, h);
    SP_TRY(check_size(reader, frame->width, frame->height));
    reader->scaler = ff->sws_getCachedContext(
        reader->scaler, frame->width, frame->height, (enum AVPixelFormat)frame->format, w, h,
        AV_PIX_FMT_RGB24,
        SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT,
        NULL, NULL, NULL);
    if (!reader->scaler)
        return sp_error(SP_INPUT, "%.300s: this FFmpeg cannot convert its pixels to RGB",
                        current(reader));
    set_colours(reader, frame);
    uint8_t *to = reader->quarter_turns ? reader->unrotated : rgb;
    ff->sws_scale(reader->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0,
                  frame->height, (uint8_t *const[]){to, NULL, NULL, NULL},
                  (const int[]){3 * w, 0, 0, 0});
    if (reader->quarter_turns)
        rotate(to, reader->height, reader->width, reader->quarter_turns, rgb);
    return sp_ok();
}

static SpStatus find_source(SpReader *reader)
{
    struct stat info;
    if (strcmp(reader->path, "-") == 0)
        return open_source(reader, reader->path);
    if (stat(reader->path, &info) != 0) {
        const int why = errno;
        if (sp_images_is_pattern(reader->path))
            return sp_images_of_pattern(reader->path, &reader->images);
        return sp_error(SP_INPUT, "cannot open %.400s: %s", reader->path, strerror(why));
    }
    if (S_ISDIR(info.st_mode))
        return sp_images_of_folder(reader->path, &reader->images);
    if (S_ISREG(info.st_mode) && info.st_size == 0)
        return sp_error(SP_INPUT, "%.400s: an empty file", reader->path);
    return open_source(reader, reader->path);
}

static SpStatus no_frame(const SpReader *reader)
{
    const char *why =
        strcmp(reader->path, "-") == 0
            ? "; an MP4 with its index at the end cannot come through a pipe: give the "
              "file, or remux it with ffmpeg -movflags +faststart"
            : "; it is damaged or cut, or larger than can be read";
    return sp_error(SP_INPUT, "%.300s: no frame of it can be decoded%s", reader->path, why);
}

/* The container's ratio before the codec's, as FFmpeg's own tools have it. */
static SpPixelAspect pixel_of(const SpReader *reader)
{
    const AVStream *stream = reader->source.stream;
    const AVRational ratio[] = {stream->sample_aspect_ratio, stream->codecpar->sample_aspect_ratio};
    for (int i = 0; i < 2; i++)
        if (ratio[i].num > 0 && ratio[i].den > 0)
            return reader->quarter_turns & 1 ? (SpPixelAspect){ratio[i].den, ratio[i].num}
                                             : (SpPixelAspect){ratio[i].num, ratio[i].den};
    return (SpPixelAspect){1, 1};
}

/* Decodes the first used frame, which gives the size. */
static SpStatus start(SpReader *reader)
{
    bool end;
    reader->packet = reader->ff->av_packet_alloc();
    reader->frame = reader->ff->av_frame_alloc();
    if (!reader->packet || !reader->frame)
        return sp_no_memory("decoding");
    SP_TRY(find_source(reader));
    reader->pixel = (SpPixelAspect){1, 1};
    if (!reader->images.count) {
        const AVRational rate = reader->source.stream->avg_frame_rate;
        reader->rate = rate.num > 0 && rate.den > 0 ? (double)rate.num / (double)rate.den : 0;
        reader->quarter_turns = quarter_turns_of(reader);
        reader->pixel = pixel_of(reader);
    }
    SP_TRY(next_used(reader, &reader->first, &end));
    if (end && reader->decoded == 0)
        return no_frame(reader);
    if (end)
        return sp_error(SP_INPUT, "%.300s: ends before --start %g (its last frame is at %.4g s)",
                        reader->path, reader->settings.start,
                        reader->last_time - reader->first_time);
    const int w = reader->frame->width, h = reader->frame->height;
    SP_TRY(check_size(reader, w, h));
    reader->width = reader->quarter_turns & 1 ? h : w;
    reader->height = reader->quarter_turns & 1 ? w : h;
    if (reader->quarter_turns && !(reader->unrotated = malloc((size_t)(3 * w) * (size_t)h)))
        return sp_no_memory("a frame");
    reader->pending = true;
    return sp_ok();
}

SpStatus sp_reader_open(const char *path, const SpReaderSettings *settings, SpReader **out)
{
    const SpFfmpeg *ff;
    *out = NULL;
    SP_TRY(sp_ffmpeg_load(&ff));
    SpReader *reader = calloc(1, sizeof *reader);
    if (!reader || !(reader->path = strdup(path))) {
        free(reader);
        return sp_no_memory("the reader");
    }
    reader->ff = ff;
    reader->settings = *settings;
    const SpStatus status = start(reader);
    if (status.code == SP_OK)
        *out = reader;
    else
        sp_reader_close(reader);
    return status;
}

void sp_reader_close(SpReader *reader)
{
    if (!reader)
        return;
    close_source(reader);
    reader->ff->av_packet_free(&reader->packet);
    reader->ff->av_frame_free(&reader->frame);
    reader->ff->sws_freeContext(reader->scaler);
    sp_images_free(&reader->images);
    free(reader->unrotated);
    free(reader->path);
    free(reader);
}

int64_t sp_reader_height(const SpReader *reader)
{
    return reader->height;
}

int64_t sp_reader_width(const SpReader *reader)
{
    return reader->width;
}

double sp_reader_rate(const SpReader *reader)
{
    return reader->rate;
}

SpPixelAspect sp_reader_pixel_aspect(const SpReader *reader)
{
    return reader->pixel;
}

/* Frames of the whole file, by its table of frames or else by its duration; 0 unknown. */
static int64_t container_frames(const SpReader *reader)
{
    if (reader->images.count)
        return reader->images.count;
    if (reader->source.stream->nb_frames > 0)
        return reader->source.stream->nb_frames;
    const double seconds = (double)reader->source.format->duration / AV_TIME_BASE;
    const double frames = seconds > 0 ? seconds * reader->rate : 0;
    return frames < 1e9 ? llrint(frames) : 0;
}

int64_t sp_reader_expected(const SpReader *reader)
{
    const int64_t stride = reader->settings.stride, frames = container_frames(reader);
    const double rate = reader->images.count ? IMAGE_RATE : reader->rate;
    const int64_t from = frames - (int64_t)fmin(reader->settings.start * rate, (double)frames);
    const int64_t used = (from + stride - 1) / stride;
    return used < reader->settings.max_frames ? used : reader->settings.max_frames;
}

SpStatus sp_reader_next(SpReader *reader, uint8_t *rgb, SpFrameInfo *info, bool *end)
{
    *end = reader->used >= reader->settings.max_frames;
    if (*end)
        return sp_ok();
    if (reader->pending)
        *info = reader->first;
    else
        SP_TRY(next_used(reader, info, end));
    if (*end)
        return sp_ok();
    reader->pending = false;
    reader->used++;
    return convert(reader, rgb);
}

/* Packets of the video that were not decoded yet. */
static int64_t packets_left(SpReader *reader)
{
    const SpFfmpeg *ff = reader->ff;
    int64_t count = 0;
    while (ff->av_read_frame(reader->source.format, reader->packet) >= 0) {
        count += reader->packet->stream_index == reader->source.stream->index &&
                 reader->packet->size > 0 && !(reader->packet->flags & AV_PKT_FLAG_DISCARD);
        ff->av_packet_unref(reader->packet);
    }
    return count;
}

SpStatus sp_reader_left_out(SpReader *reader, int64_t *count)
{
    bool end = false;
    *count = 0;
    if (reader->used < reader->settings.max_frames)
        return sp_ok();
    int64_t rest = 0;
    if (reader->images.count) {
        rest = reader->images.count - reader->next_image;
    } else if (!reader->source.drained) {
        rest = packets_left(reader);
        reader->ff->avcodec_send_packet(reader->source.codec, NULL);
        reader->source.drained = true;
    }
    while (!reader->images.count && !end) { /* frames the decoder still holds */
        SP_TRY(decode(reader, &end));
        rest += !end;
    }
    const int64_t stride = reader->settings.stride;
    *count = (reader->candidates + rest + stride - 1) / stride -
             (reader->candidates + stride - 1) / stride;
    return sp_ok();
}
