#include "media/length.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/minmax.h"

bool sp_length_count(SpLength *length, const AVFormatContext *format, const AVStream *video,
                     const AVPacket *packet)
{
    const AVRational base = format->streams[packet->stream_index]->time_base;
    const int64_t time = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    const bool ours = packet->stream_index == video->index;
    if (time != AV_NOPTS_VALUE && base.den) {
        const double end =
            ((double)time + (double)sp_max(packet->duration, 0)) * base.num / base.den;
        length->all_reached = fmax(length->all_reached, end);
        length->reached = ours ? fmax(length->reached, end) : length->reached;
    }
    length->packets += ours;
    length->hidden += ours && (packet->size <= 0 || (packet->flags & AV_PKT_FLAG_DISCARD));
    return ours;
}

/* How many packets of the video the file's header names, 0 unknown. AVI counts empty ones, too; of
 * an MP4 the index leaves out what its edit list cuts off. */
static int64_t named_packets(const SpFfmpeg *ff, const AVFormatContext *format,
                             const AVStream *video)
{
    const char *name = format->iformat->name;
    const int64_t frames = strcmp(name, "avi") == 0 ? 0 : video->nb_frames;
    const int64_t index = strstr(name, "mov") ? ff->avformat_index_get_entries_count(video) : 0;
    return index > 0 ? sp_min(frames, index) : frames;
}

/* What the file's header says of the length, and how far its packets reach, in seconds. */
typedef struct Named {
    double seconds; /* 0 unknown */
    double reached;
    double tolerance; /* what may be missing from a whole file */
} Named;

/* Of the video where the file names that, else of all its streams together. */
static Named named_length(const SpLength *length, const SpFfmpeg *ff, const AVFormatContext *format,
                          const AVStream *video, double frame)
{
    const AVDictionaryEntry *tag = ff->av_dict_get(video->metadata, "DURATION", NULL, 0);
    int hours, minutes;
    double seconds; /* of Matroska's tag */
    if (tag && sscanf(tag->value, "%d:%d:%lf", &hours, &minutes, &seconds) == 3)
        return (Named){3600.0 * hours + 60.0 * minutes + seconds, length->reached, 1.5 * frame};
    if (strcmp(format->iformat->name, "avi") == 0) /* its time base is a frame */
        return (Named){(double)video->nb_frames * video->time_base.num / video->time_base.den,
                       length->reached, 1.5 * frame};
    if (format->duration <= 0 || format->duration_estimation_method != AVFMT_DURATION_FROM_STREAM)
        return (Named){0};
    const double named = (double)format->duration / AV_TIME_BASE;
    return (Named){named, length->all_reached, fmax(fmax(2 * frame, 0.1), 0.01 * named)};
}

/* Of a file that ends clearly before the length it names: the frames of that length; else 0. */
static int64_t named_by_duration(const SpLength *length, const SpFfmpeg *ff,
                                 const AVFormatContext *format, const AVStream *video, double rate)
{
    const char *name = format->iformat->name;
    Named named = named_length(length, ff, format, video, 1 / rate);
    double start = 0;
    if (format->start_time != AV_NOPTS_VALUE)
        start = (double)format->start_time / AV_TIME_BASE;
    if (strstr(name, "matroska") || strcmp(name, "flv") == 0) /* where a length begins at 0 */
        named.seconds -= fmax(start, 0);
    const bool is_short = named.reached - start < named.seconds - named.tolerance;
    return is_short ? llrint(fmin(named.seconds * rate, 1e9)) : 0;
}

SpDeclared sp_length_declared(const SpLength *length, const SpFfmpeg *ff,
                              const AVFormatContext *format, const AVStream *video, double rate)
{
    const int64_t packets = named_packets(ff, format, video);
    if (packets > 0)
        return (SpDeclared){packets - length->hidden, true, length->packets < packets};
    const int64_t frames = named_by_duration(length, ff, format, video, rate);
    return (SpDeclared){frames, false, frames > 0};
}
