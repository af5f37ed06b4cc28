/*
 * How long a file says that its video is, and how far its packets reach (src/media/README.md,
 * "Losses").
 */
#ifndef SP_MEDIA_LENGTH_H
#define SP_MEDIA_LENGTH_H

#include <stdbool.h>

#include "media/ffmpeg.h"

/* What has been read; zeroed: nothing. */
typedef struct SpLength {
    int64_t packets;    /* of the video */
    int64_t hidden;     /* of them, those that show no frame */
    double reached;     /* seconds; the end of the video's latest packet */
    double all_reached; /* of any stream that is read */
} SpLength;

/* Counts a packet; whether it is of the video. */
bool sp_length_count(SpLength *length, const AVFormatContext *format, const AVStream *video,
                     const AVPacket *packet);

/* What the file's header declares. */
typedef struct SpDeclared {
    int64_t frames; /* 0: it names nothing, or by its duration the file is whole */
    bool counted;   /* it names a number of frames, not only a duration */
    bool is_short;  /* less than that was there */
} SpDeclared;

/* At the end of the file. `rate`: frames a second. */
SpDeclared sp_length_declared(const SpLength *length, const SpFfmpeg *ff,
                              const AVFormatContext *format, const AVStream *video, double rate);

#endif
