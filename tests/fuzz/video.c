/* Videos through a protocol of memory in FFmpeg's place for files, whose packets and frames lose
 * their times, are damaged or cut on the way. */
#include <stdlib.h>
#include <string.h>

#include <libavformat/avio.h>
#include <libavutil/mem.h>

#include "fuzz/targets.h"
#include "media/ffmpeg.h"
#include "media/reader.h"

enum { MOST_HARMS = 16, MOST_FRAMES = 12, MOST_PIXELS = 1 << 18, BUFFER = 4096 };

/* What happens to a packet, or a frame, by its number. */
enum {
    NO_TIME,
    NO_DTS,
    OTHER_TIME,
    FLIP,
    CUT,
    EMPTY,
    FRAME_NO_TIME,
    FRAME_OTHER_TIME,
    FRAME_HARMS
};

typedef struct Harm {
    uint8_t place, kind, value;
} Harm;

/* The file that is open, and what becomes of it. */
static struct {
    const uint8_t *data;
    size_t size, at;
    bool seeks;
    Harm harm[MOST_HARMS];
    int harms, packets, frames;
} video;

static SpFfmpeg real;

static int read_memory(void *opaque, uint8_t *to, int size)
{
    (void)opaque;
    const size_t left = video.size - video.at, some = left < (size_t)size ? left : (size_t)size;
    if (some == 0)
        return AVERROR_EOF;
    memcpy(to, video.data + video.at, some);
    video.at += some;
    return (int)some;
}

static int64_t seek_memory(void *opaque, int64_t offset, int whence)
{
    (void)opaque;
    const int64_t size = (int64_t)video.size;
    if (whence == AVSEEK_SIZE)
        return size;
    const int64_t base = whence == SEEK_CUR ? (int64_t)video.at : whence == SEEK_END ? size : 0;
    if (offset < -base || offset > size - base)
        return AVERROR(EINVAL);
    video.at = (size_t)(base + offset);
    return (int64_t)video.at;
}

static int open_memory(AVIOContext **out, const char *url, int flags,
                       const AVIOInterruptCB *interrupt, AVDictionary **settings)
{
    (void)url, (void)flags, (void)interrupt, (void)settings;
    uint8_t *buffer = av_malloc(BUFFER);
    video.at = 0;
    *out = avio_alloc_context(buffer, BUFFER, 0, NULL, read_memory, NULL,
                              video.seeks ? seek_memory : NULL);
    return *out ? 0 : AVERROR(ENOMEM);
}

static int close_memory(AVIOContext **io)
{
    if (*io)
        av_freep(&(*io)->buffer);
    avio_context_free(io);
    return 0;
}

/* Near both ends of what times there are, and around 0. */
static int64_t time_of(uint8_t value)
{
    static const int64_t base[] = {0, INT64_MAX, INT64_MIN + 1, INT64_C(1) << 33};
    const int64_t off = value >> 2;
    return value & 3 ? base[value & 3] + ((value & 3) == 1 ? -off : off) : off - 32;
}

static void harm_packet(AVPacket *packet, const Harm *harm)
{
    switch (harm->kind) {
    case NO_TIME:
        packet->pts = AV_NOPTS_VALUE;
        break;
    case NO_DTS:
        packet->dts = AV_NOPTS_VALUE;
        packet->pts = AV_NOPTS_VALUE;
        break;
    case OTHER_TIME:
        packet->pts = packet->dts = time_of(harm->value);
        packet->duration = harm->value & 1 ? INT64_MAX / 2 : packet->duration;
        break;
    case FLIP:
        if (packet->size > 0 && av_packet_make_writable(packet) == 0)
            packet->data[harm->value * packet->size / 256] ^= (uint8_t)(1 << harm->value % 8);
        break;
    case CUT:
        av_shrink_packet(packet, packet->size * harm->value / 256);
        break;
    case EMPTY:
        av_shrink_packet(packet, 0);
        break;
    default:
        break;
    }
}

static int read_packet(AVFormatContext *format, AVPacket *packet)
{
    const int code = real.av_read_frame(format, packet);
    for (int i = 0; code >= 0 && i < video.harms; i++)
        if (video.harm[i].place == video.packets)
            harm_packet(packet, &video.harm[i]);
    video.packets += code >= 0;
    return code;
}

static int receive_frame(AVCodecContext *codec, AVFrame *frame)
{
    const int code = real.avcodec_receive_frame(codec, frame);
    for (int i = 0; code >= 0 && i < video.harms; i++) {
        const Harm *harm = &video.harm[i];
        if (harm->place != video.frames)
            continue;
        if (harm->kind == FRAME_NO_TIME)
            frame->best_effort_timestamp = AV_NOPTS_VALUE;
        else if (harm->kind == FRAME_OTHER_TIME)
            frame->best_effort_timestamp = time_of(harm->value);
        else if (harm->kind == FRAME_HARMS)
            frame->flags |= AV_FRAME_FLAG_CORRUPT;
    }
    video.frames += code >= 0;
    return code;
}

/* Puts memory and harm between the reader and FFmpeg, whose table is loaded once. */
static void interpose(void)
{
    const SpFfmpeg *table;
    if (real.av_read_frame)
        return;
    if (sp_ffmpeg_load(&table).code != SP_OK)
        _Exit(99);
    SpFfmpeg *ours = (SpFfmpeg *)(uintptr_t)table;
    real = *table;
    ours->avio_open2 = open_memory;
    ours->avio_closep = close_memory;
    ours->av_read_frame = read_packet;
    ours->avcodec_receive_frame = receive_frame;
}

static void read_frames(SpReader *reader)
{
    const SpVideoInfo info = sp_reader_video(reader);
    const int64_t pixels = info.height * info.width;
    SpFrameInfo frame;
    int64_t rest;
    double before = -1;
    bool end = false;
    uint8_t *rgb = pixels <= MOST_PIXELS ? malloc((size_t)(3 * pixels)) : NULL;
    SpStatus status = sp_ok();
    for (int i = 0; status.code == SP_OK && i <= MOST_FRAMES; i++) {
        status = sp_reader_next(reader, rgb, &frame, &end);
        if (status.code != SP_OK || end)
            break;
        if (!(frame.timestamp > before))
            abort();
        before = frame.timestamp;
    }
    if (fuzz_expect(status, SP_INPUT) && fuzz_expect(sp_reader_left_out(reader, &rest), SP_INPUT)) {
        const SpLosses losses = sp_reader_losses(reader);
        if (rest < 0 || losses.read < 0 || losses.damaged < 0)
            abort();
    }
    sp_reader_first_time(reader);
    free(rgb);
}

/* A byte of settings, one that says how many harms follow, of three bytes each, then the file. */
void fuzz_video(const uint8_t *data, size_t size)
{
    const uint8_t how = fuzz_take(&data, &size);
    SpReaderSettings settings = {.start = how & 4 ? 0.05 : 0,
                                 .stride = how & 8 ? 2 : 1,
                                 .max_frames = how & 16 ? 2 : MOST_FRAMES,
                                 .stream = -1};
    SpReader *reader;
    interpose();
    memset(&video, 0, sizeof video);
    video.seeks = how & 1;
    video.harms = fuzz_take(&data, &size) % (MOST_HARMS + 1);
    for (int i = 0; i < video.harms; i++) {
        video.harm[i].place = fuzz_take(&data, &size) % 32;
        video.harm[i].kind = fuzz_take(&data, &size) % (FRAME_HARMS + 1);
        video.harm[i].value = fuzz_take(&data, &size);
    }
    video.data = data;
    video.size = size;
    if (fuzz_expect(sp_reader_open("-", &settings, &reader), SP_INPUT)) {
        read_frames(reader);
        sp_reader_close(reader);
    }
}
