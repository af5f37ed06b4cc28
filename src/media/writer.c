#define _GNU_SOURCE /* asprintf */

#include "media/writer.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "media/ffmpeg.h"

/* MPEG-4 allows no more than 65535 ticks a second. The number of threads is fixed because x264's
 * bytes depend on it. */
enum { MAX_TICKS = 60000, ENCODER_THREADS = 4, MAX_SIDE = 16384 };

static const double IMAGE_RATE = 30, SAME_TIME = 1.1e-3; /* a container may round to 1 ms */

/* Without B-frames every frame is stored in the order it is shown. */
static const struct Encoder {
    const char *name, *codec, *settings;
} encoders[] = {
    {"libx264", "H.264", "preset=veryfast:crf=18:bf=0:g=60"},
    {"libopenh264", "H.264", "b=16M:g=60"},
    {"libvpx-vp9", "VP9", "crf=24:b=0:cpu-used=4:lag-in-frames=0:g=60"},
    {"mpeg4", "MPEG-4", "flags=+qscale:global_quality=354:bf=0:g=60"}, /* 3 * FF_QP2LAMBDA */
};

static const SpFfmpeg *ff; /* since the first writer was opened */

struct SpWriter {
    char *label;
    AVFormatContext *format;
    AVCodecContext *codec;
    AVStream *stream;
    AVFrame *frame;
    AVPacket *packet;
    struct SwsContext *scaler;
    const struct Encoder *encoder;
    uint8_t *padded; /* a frame padded to even sides, when they are odd */
    int64_t height, width;
    double start;  /* timestamp of the first frame */
    int64_t next;  /* the earliest tick for the next frame */
    int64_t last;  /* ticks that the last frame is shown */
    bool constant; /* the rate: a frame a tick, unless times break away from it */
    AVRational base, pixel;
};

static SpStatus failed(const SpWriter *writer, int code)
{
    char why[128] = "";
    if (code == AVERROR(ENOMEM))
        return sp_no_memory("encoding");
    ff->av_strerror(code, why, sizeof why);
    return sp_error(SP_OUTPUT, "cannot write %.300s: %s", writer->label, why);
}

/* Whether frame t is shown at t / rate, within what containers round to. */
static bool keeps_rate(const SpWriterSettings *settings, double rate)
{
    for (int64_t t = 0; t < settings->frames; t++) {
        const double time = settings->timestamps[t] - settings->timestamps[0];
        if (!(fabs(time - (double)t / rate) < SAME_TIME))
            return false;
    }
    return true;
}

/* One tick a frame where the rate is constant. */
static void set_times(SpWriter *writer, const SpWriterSettings *settings)
{
    const int64_t last = settings->frames - 1;
    const double length = settings->timestamps[last] - settings->timestamps[0];
    double rate = settings->rate > 0 ? settings->rate : IMAGE_RATE;
    if (!(settings->rate > 0) && length > 0)
        rate = (double)last / length;
    writer->constant = rate >= 1e-3 && rate <= 1e4 && keeps_rate(settings, rate);
    const AVRational exact = ff->av_d2q(rate, MAX_TICKS);
    writer->base =
        writer->constant ? (AVRational){exact.den, exact.num} : (AVRational){1, MAX_TICKS};
    writer->start = settings->timestamps[0];
    writer->last = 1;
}

/* The tick of a frame: time never stands still. */
static int64_t tick_of(SpWriter *writer, double timestamp)
{
    const AVRational rate = {writer->base.den, writer->base.num};
    const double time = timestamp - writer->start, ticks = time * av_q2d(rate);
    const int64_t at = ticks >= 0 && ticks < 1e15 ? llrint(ticks) : 0, next = writer->next;
    const bool kept = writer->constant && fabs(time - (double)next / av_q2d(rate)) < SAME_TIME;
    const int64_t tick = at > next && !kept ? at : next;
    writer->last = next ? tick - (next - 1) : 1;
    writer->next = tick + 1;
    return tick;
}

static void set_codec(SpWriter *writer)
{
    AVCodecContext *codec = writer->codec;
    codec->width = (int)(writer->width + writer->width % 2);
    codec->height = (int)(writer->height + writer->height % 2);
    codec->pix_fmt = AV_PIX_FMT_YUV420P;
    codec->time_base = writer->base;
    codec->framerate = (AVRational){writer->base.den, writer->base.num};
    codec->sample_aspect_ratio = writer->pixel;
    codec->color_range = AVCOL_RANGE_MPEG;
    codec->colorspace = AVCOL_SPC_BT709;
    codec->color_primaries = AVCOL_PRI_BT709;
    codec->color_trc = AVCOL_TRC_BT709;
    codec->thread_count = ENCODER_THREADS;
    codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
}

/* Opens one encoder: below 0 when the build has none of that name or it refuses. */
static int open_encoder(SpWriter *writer, const struct Encoder *encoder)
{
    const AVCodec *codec = ff->avcodec_find_encoder_by_name(encoder->name);
    AVDictionary *settings = NULL;
    if (!codec)
        return AVERROR_ENCODER_NOT_FOUND;
    writer->codec = ff->avcodec_alloc_context3(codec);
    if (!writer->codec)
        return AVERROR(ENOMEM);
    set_codec(writer);
    int code = ff->av_dict_parse_string(&settings, encoder->settings, "=", ":", 0);
    if (code >= 0)
        code = ff->avcodec_open2(writer->codec, codec, &settings);
    ff->av_dict_free(&settings);
    if (code < 0)
        ff->avcodec_free_context(&writer->codec);
    else
        writer->encoder = encoder;
    return code;
}

static SpStatus find_encoder(SpWriter *writer, const char *only)
{
    int code = AVERROR_ENCODER_NOT_FOUND;
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++)
        if (code < 0 && code != AVERROR(ENOMEM) && (!only || strcmp(only, encoders[i].name) == 0))
            code = open_encoder(writer, encoders + i);
    if (code == AVERROR_ENCODER_NOT_FOUND)
        return sp_error(SP_OUTPUT, "cannot write %.300s: this FFmpeg has no encoder for it",
                        writer->label);
    return code < 0 ? failed(writer, code) : sp_ok();
}

static SpStatus open_container(SpWriter *writer, const char *path)
{
    AVDictionary *settings = NULL;
    char *url;
    if (asprintf(&url, "file:%s", path) < 0)
        return sp_no_memory("the video to write");
    int code = ff->avformat_alloc_output_context2(&writer->format, NULL, "mp4", url);
    free(url);
    if (code < 0)
        return failed(writer, code);
    AVFormatContext *format = writer->format;
    format->flags |= AVFMT_FLAG_BITEXACT; /* no version of FFmpeg in the file */
    AVStream *stream = writer->stream = ff->avformat_new_stream(format, NULL);
    if (!stream)
        return sp_no_memory("encoding");
    stream->time_base = writer->base;
    stream->avg_frame_rate = (AVRational){writer->base.den, writer->base.num};
    stream->sample_aspect_ratio = writer->codec->sample_aspect_ratio;
    code = ff->avcodec_parameters_from_context(stream->codecpar, writer->codec);
    if (code >= 0)
        code = ff->avio_open2(&format->pb, format->url, AVIO_FLAG_WRITE, NULL, NULL);
    if (code >= 0)
        code = ff->av_dict_set(&settings, "movflags", "+faststart", 0);
    if (code >= 0)
        code = ff->avformat_write_header(format, &settings);
    ff->av_dict_free(&settings);
    return code < 0 ? failed(writer, code) : sp_ok();
}

static SpStatus make_frame(SpWriter *writer)
{
    if (!writer->codec)
        return sp_no_memory("encoding");
    const int w = writer->codec->width, h = writer->codec->height;
    AVFrame *frame = writer->frame = ff->av_frame_alloc();
    writer->packet = ff->av_packet_alloc();
    if (!frame || !writer->packet)
        return sp_no_memory("encoding");
    frame->format = AV_PIX_FMT_YUV420P;
    frame->width = w;
    frame->height = h;
    frame->color_range = AVCOL_RANGE_MPEG;
    frame->colorspace = AVCOL_SPC_BT709;
    const int code = ff->av_frame_get_buffer(frame, 0);
    if (code < 0)
        return failed(writer, code);
    if ((w != writer->width || h != writer->height) &&
        !(writer->padded = malloc((size_t)(3 * w) * (size_t)h)))
        return sp_no_memory("a frame");
    writer->scaler = ff->sws_getCachedContext(
        NULL, w, h, AV_PIX_FMT_RGB24, w, h, AV_PIX_FMT_YUV420P,
        SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_BITEXACT, NULL, NULL, NULL);
    if (!writer->scaler)
        return sp_no_memory("encoding");
    ff->sws_setColorspaceDetails(writer->scaler, ff->sws_getCoefficients(SWS_CS_DEFAULT), 1,
                                 ff->sws_getCoefficients(SWS_CS_ITU709), 0, 0, 1 << 16, 1 << 16);
    return sp_ok();
}

static SpStatus start(SpWriter *writer, const char *path, const char *label,
                      const SpWriterSettings *settings)
{
    const int64_t h = writer->height = settings->height, w = writer->width = settings->width;
    const SpPixelAspect pixel = settings->pixel;
    writer->label = strdup(label);
    if (!writer->label)
        return sp_no_memory("the video to write");
    if (sp_min(h, w) < 1 || sp_max(h, w) > MAX_SIDE)
        return sp_error(SP_OUTPUT, "cannot write %.300s: frames of %lldx%lld; 1 to %d a side",
                        label, (long long)w, (long long)h, MAX_SIDE);
    const bool known = pixel.wide > 0 && pixel.high > 0;
    writer->pixel = known ? (AVRational){pixel.wide, pixel.high} : (AVRational){1, 1};
    set_times(writer, settings);
    SP_TRY(find_encoder(writer, settings->encoder));
    SP_TRY(make_frame(writer));
    return open_container(writer, path);
}

SpStatus sp_writer_open(const char *path, const char *label, const SpWriterSettings *settings,
                        SpWriter **out)
{
    *out = NULL;
    SP_TRY(sp_ffmpeg_load(&ff));
    SpWriter *writer = calloc(1, sizeof *writer);
    if (!writer)
        return sp_no_memory("the video to write");
    const SpStatus status = start(writer, path, label, settings);
    if (status.code == SP_OK)
        *out = writer;
    else
        sp_writer_close(writer);
    return status;
}

void sp_writer_close(SpWriter *writer)
{
    if (!writer)
        return;
    if (writer->format)
        ff->avio_closep(&writer->format->pb);
    ff->avformat_free_context(writer->format);
    ff->avcodec_free_context(&writer->codec);
    ff->av_frame_free(&writer->frame);
    ff->av_packet_free(&writer->packet);
    ff->sws_freeContext(writer->scaler);
    free(writer->padded);
    free(writer->label);
    free(writer);
}

const char *sp_writer_codec(const SpWriter *writer)
{
    return writer->encoder->codec;
}

/* Writes the packets that are ready; `code` is what handing over the frame gave. */
static SpStatus write_packets(SpWriter *writer, int code)
{
    while (code >= 0 && (code = ff->avcodec_receive_packet(writer->codec, writer->packet)) >= 0) {
        writer->packet->stream_index = writer->stream->index;
        writer->packet->duration = writer->last; /* only the last frame's counts */
        ff->av_packet_rescale_ts(writer->packet, writer->base, writer->stream->time_base);
        code = ff->av_interleaved_write_frame(writer->format, writer->packet);
        ff->av_packet_unref(writer->packet);
    }
    return code == AVERROR(EAGAIN) || code == AVERROR_EOF ? sp_ok() : failed(writer, code);
}

/* The frame with its last row and column repeated as far as even sides need. */
static const uint8_t *padded(const SpWriter *writer, const uint8_t *rgb)
{
    const int64_t w = writer->width, h = writer->height, wide = writer->codec->width;
    if (!writer->padded)
        return rgb;
    for (int64_t y = 0; y < writer->codec->height; y++) {
        uint8_t *row = writer->padded + 3 * wide * y;
        memcpy(row, rgb + 3 * w * sp_min(y, h - 1), (size_t)(3 * w));
        memcpy(row + 3 * (wide - 1), row + 3 * (w - 1), 3);
    }
    return writer->padded;
}

SpStatus sp_writer_add(SpWriter *writer, double timestamp, const uint8_t *rgb)
{
    int code = ff->av_frame_make_writable(writer->frame); /* the encoder may hold it */
    if (code >= 0)
        code = ff->sws_scale(writer->scaler,
                             (const uint8_t *const[]){padded(writer, rgb), NULL, NULL, NULL},
                             (const int[]){3 * writer->codec->width, 0, 0, 0}, 0,
                             writer->codec->height, writer->frame->data, writer->frame->linesize);
    if (code < 0)
        return failed(writer, code);
    writer->frame->pts = tick_of(writer, timestamp);
    return write_packets(writer, ff->avcodec_send_frame(writer->codec, writer->frame));
}

SpStatus sp_writer_finish(SpWriter *writer)
{
    SP_TRY(write_packets(writer, ff->avcodec_send_frame(writer->codec, NULL)));
    const int code = ff->av_write_trailer(writer->format);
    const int closed = ff->avio_closep(&writer->format->pb);
    return code < 0 || closed < 0 ? failed(writer, code < 0 ? code : closed) : sp_ok();
}
