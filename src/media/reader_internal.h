/*
 * A reader's state, and how it opens a container: what the two files of the reader share.
 */
#ifndef SP_MEDIA_READER_INTERNAL_H
#define SP_MEDIA_READER_INTERNAL_H

#include "media/exif.h"
#include "media/ffmpeg.h"
#include "media/images.h"
#include "media/length.h"
#include "media/reader.h"
#include "media/scaler.h"

struct SpReader {
    const SpFfmpeg *ff;
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
    SpScaler scaler;
    SpOrientation orientation; /* of the frame decoded last */
    SpVideoInfo video;
    int64_t decoded;    /* frames so far */
    int64_t candidates; /* of them, those from `start` on */
    int64_t all;        /* frames of the file; known at its end */
    int64_t used;       /* of them, those that sp_reader_next returned */
    bool dated;         /* a frame had a time */
    double first_time;  /* of the first frame; 0 until then */
    int64_t ticks;      /* the time of the file that came last */
    double clock;       /* seconds added to the times of the file */
    SpFrameInfo info;   /* of the frame decoded last; sp_reader_open decodes the first used one */
    int exif;           /* the orientation that an image's file names, 0 none */
    SpLength length;    /* of the container, as read so far */
    int64_t refused;    /* errors of the decoder */
    int64_t damaged;    /* frames with damage that the decoder has covered up */
};

/* The file that is being read: of a list the image. */
const char *sp_reader_current(const SpReader *reader);

/* SP_INPUT where frames of that size are not read. */
SpStatus sp_reader_check_size(const SpReader *reader, int width, int height);

/* Opens the current file: its format, the stream that is read, a decoder. SP_INPUT, SP_MEMORY. */
SpStatus sp_reader_open_video(SpReader *reader);
void sp_reader_close_container(SpReader *reader);

#endif
