#define _GNU_SOURCE /* asprintf */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/reader_internal.h"

enum {
    MAX_SIDE = 16384,
    MAX_PIXELS = 100000000,
    MAX_CODED_PIXELS = MAX_PIXELS + 2 * 64 * MAX_SIDE /* of whole blocks */
};

const char *sp_reader_current(const SpReader *r)
{
    return r->next_image > 0 ? r->images.path[r->next_image - 1] : r->path;
}

SpStatus sp_reader_check_size(const SpReader *r, int w, int h)
{
    if (w < 1 || h < 1 || w > MAX_SIDE || h > MAX_SIDE || (int64_t)w * h > MAX_PIXELS)
        return sp_error(SP_INPUT, "%.300s: frames of %dx%d; at most %d a side and %d in all",
                        sp_reader_current(r), w, h, MAX_SIDE, MAX_PIXELS);
    return sp_ok();
}

static SpStatus unreadable(const SpReader *r, int code)
{
    char why[128] = "";
    r->ff->av_strerror(code, why, sizeof why);
    if (code == AVERROR(ENOMEM))
        return sp_no_memory("decoding");
    return sp_error(SP_INPUT, "%.300s: not a video that FFmpeg can read (%s)", sp_reader_current(r),
                    why);
}

void sp_reader_close_container(SpReader *r)
{
    r->ff->avcodec_free_context(&r->codec);
    r->ff->avformat_close_input(&r->format);
    r->ff->avio_closep(&r->io);
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
    r->ff->av_dict_set(&settings, "protocol_whitelist", protocol, 0);
    int code = r->ff->avio_open2(&r->io, url, AVIO_FLAG_READ, NULL, &settings);
    r->ff->av_dict_free(&settings);
    if (code >= 0)
        code = r->ff->av_probe_input_buffer2(r->io, &format, url, NULL, 0, 0);
    if (code < 0)
        return unreadable(r, code);
    if (is_playlist(format->name))
        return sp_error(SP_INPUT, "%.300s: a playlist (%.40s), not a video; give the video itself",
                        sp_reader_current(r), format->name);
    r->format = r->ff->avformat_alloc_context();
    if (!r->format)
        return sp_no_memory("opening the video");
    r->format->pb = r->io;
    r->ff->av_dict_set(&settings, "protocol_whitelist", protocol, 0);
    r->ff->av_dict_set(&settings, "pattern_type", "none",
                       0); /* % and * of a name stand for itself */
    code = r->ff->avformat_open_input(&r->format, url, format, &settings);
    r->ff->av_dict_free(&settings);
    return code < 0 ? unreadable(r, code) : sp_ok();
}

static SpStatus open_container(SpReader *r)
{
    char *url;
    if (strcmp(sp_reader_current(r), "-") == 0)
        return open_url(r, "pipe:0", "pipe");
    if (asprintf(&url, "file:%s", sp_reader_current(r)) < 0)
        return sp_no_memory("opening the video");
    const SpStatus status = open_url(r, url, "file");
    free(url);
    return status;
}

/* The stream to read and its decoder: the one that is asked for or else the largest, of equal ones
 * the default; a cover picture only where nothing else is. Counts those there are to choose from.
 */
static int best_video(SpReader *r, const AVCodec **codec)
{
    const int64_t wanted = r->settings.stream;
    int best = AVERROR_STREAM_NOT_FOUND;
    int64_t best_rank = -1;
    r->video.streams = 0;
    for (unsigned i = 0; i < r->format->nb_streams; i++) {
        const AVStream *stream = r->format->streams[i];
        const AVCodecParameters *is = stream->codecpar;
        const bool cover = stream->disposition & AV_DISPOSITION_ATTACHED_PIC;
        const AVCodec *found = NULL;
        if (is->codec_type != AVMEDIA_TYPE_VIDEO || (wanted >= 0 && i != wanted))
            continue;
        r->video.streams += !cover;
        const int64_t rank = cover ? 0
                                   : 2 * (int64_t)is->width * is->height + 1 +
                                         !!(stream->disposition & AV_DISPOSITION_DEFAULT);
        const int code = r->ff->av_find_best_stream(r->format, AVMEDIA_TYPE_VIDEO, (int)i, -1,
                                                    (void *)&found, 0);
        if (code < 0 && best < 0)
            best = code;
        if (code < 0 || rank <= best_rank)
            continue;
        best = r->video.stream = code;
        best_rank = rank;
        *codec = found;
    }
    return best;
}

static SpStatus open_decoder(SpReader *r, const AVCodec *codec)
{
    r->codec = r->ff->avcodec_alloc_context3(codec);
    if (!r->codec)
        return sp_no_memory("the decoder");
    int code = r->ff->avcodec_parameters_to_context(r->codec, r->stream->codecpar);
    r->codec->pkt_timebase = r->stream->time_base;
    /* Threads that share a frame wait for each other, and where one of them gives a damaged row up,
     * some decoders (VP8's) let the other wait for ever. */
    r->codec->thread_count = 1;
    r->codec->max_pixels = MAX_CODED_PIXELS; /* before memory is taken for a frame */
    if (code >= 0)
        code = r->ff->avcodec_open2(r->codec, codec, NULL);
    return code < 0 ? unreadable(r, code) : sp_ok();
}

/* Looks into the streams; FFmpeg decodes frames for that, none of which may be larger than is read
 * here. */
static SpStatus probe_streams(SpReader *r)
{
    const unsigned count = r->format->nb_streams;                    /* others may turn up */
    for (unsigned i = 0; i < count && r->settings.stream < 0; i++) { /* the largest is read */
        const AVStream *stream = r->format->streams[i];
        const AVCodecParameters *is = stream->codecpar;
        const bool cover = stream->disposition & AV_DISPOSITION_ATTACHED_PIC;
        if (is->codec_type == AVMEDIA_TYPE_VIDEO && !cover && is->width > 0)
            SP_TRY(sp_reader_check_size(r, is->width, is->height));
    }
    AVDictionary **settings = calloc(count + 1, sizeof *settings);
    if (!settings)
        return sp_no_memory("opening the video");
    for (unsigned i = 0; i < count; i++)
        r->ff->av_dict_set_int(&settings[i], "max_pixels", MAX_CODED_PIXELS, 0);
    const int code = r->ff->avformat_find_stream_info(r->format, settings);
    for (unsigned i = 0; i < count; i++)
        r->ff->av_dict_free(&settings[i]);
    free(settings);
    return code < 0 ? unreadable(r, code) : sp_ok();
}

SpStatus sp_reader_open_video(SpReader *r)
{
    const AVCodec *codec = NULL;
    SP_TRY(open_container(r));
    SP_TRY(probe_streams(r));
    int code = best_video(r, &codec);
    if (code == AVERROR_DECODER_NOT_FOUND)
        return sp_error(SP_INPUT, "%.300s: this FFmpeg has no decoder for its video",
                        sp_reader_current(r));
    if (code < 0 && r->settings.stream >= 0)
        return sp_error(SP_INPUT, "%.300s: its stream %lld is no video (--stream counts from 0)",
                        sp_reader_current(r), (long long)r->settings.stream);
    if (code < 0)
        return sp_error(SP_INPUT, "%.300s: there is no video stream in it", sp_reader_current(r));
    r->stream = r->format->streams[code];
    if (r->stream->codecpar->width > 0) /* else only decoding shows it */
        SP_TRY(sp_reader_check_size(r, r->stream->codecpar->width, r->stream->codecpar->height));
    /* Where the file names no number of frames, each stream shows how far the file reaches. */
    for (unsigned i = 0; i < r->format->nb_streams && r->stream->nb_frames > 0; i++)
        if (r->format->streams[i] != r->stream)
            r->format->streams[i]->discard = AVDISCARD_ALL;
    return open_decoder(r, codec);
}
