/*
 * Frames of a video as RGB bytes, in the order they are shown.
 */
#ifndef SP_MEDIA_READER_H
#define SP_MEDIA_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct SpReader SpReader;

typedef struct SpReaderSettings {
    double start;       /* seconds after the first frame; frames before it are skipped */
    int64_t stride;     /* every stride-th frame from there is used */
    int64_t max_frames; /* at most so many are used */
    int64_t stream;     /* number of the stream in the file, from 0; below 0: the largest video */
} SpReaderSettings;

typedef struct SpFrameInfo {
    int64_t index;    /* number in the file, from 0 */
    double timestamp; /* presentation time, seconds after the first frame; always grows */
} SpFrameInfo;

/* The pixel aspect ratio, wide : high as shown; 1, 1 for square pixels. */
typedef struct SpPixelAspect {
    int wide, high;
} SpPixelAspect;

typedef struct SpVideoInfo {
    int64_t height, width; /* of a frame in pixels, rotated and mirrored as shown */
    double rate;           /* frames a second by the container, 0 unknown */
    SpPixelAspect pixel;   /* rotated as the frames are; square where the file has none */
    int64_t expected;      /* used frames by the container's word, 0 unknown */
    int streams, stream;   /* video streams there are to choose from, and the number of this one */
    double rotation;       /* degrees clockwise that the file asks for; frames get quarter turns */
} SpVideoInfo;

/* What of a file could not be read. */
typedef struct SpLosses {
    int64_t read;     /* frames that came out of it, with those that were left out */
    int64_t declared; /* frames that it should have: more than `read` when it is cut or damaged */
    int64_t damaged;  /* of `read`, frames that can be seen to be damaged */
} SpLosses;

/* Where the numbers of a pattern's images break off. */
typedef struct SpGap {
    int64_t behind;  /* images that exist behind the gap; 0: there is none */
    int64_t missing; /* its first number */
} SpGap;

/* Opens a file of any container and codec FFmpeg reads, a folder of images (png, jpg, jpeg, bmp,
 * tif, tiff, webp, ppm; in natural order of the names), a printf pattern of images
 * ("frames/%04d.png") or "-" for standard input. Images get the timestamps of 30 frames a second.
 * Networks are never used. SP_INPUT naming the file: missing, no video in it, unreadable, ends
 * before `start`; SP_MEMORY. The caller closes it. */
SpStatus sp_reader_open(const char *path, const SpReaderSettings *settings, SpReader **out);

/* Closes the file; NULL is allowed. */
void sp_reader_close(SpReader *reader);

/* What is known of the open video. */
SpVideoInfo sp_reader_video(const SpReader *reader);

/* Presentation time of the first frame in seconds; as the first frames of a file may have none, it
 * is known for sure at the end. */
double sp_reader_first_time(const SpReader *reader);

/* The next used frame into rgb [h, w, 3], NULL: it is passed over; or *end. A damaged frame in the
 * middle is skipped. A frame of another size than the first is scaled to it in a video, and an
 * error among images. SP_INPUT, SP_MEMORY. */
SpStatus sp_reader_next(SpReader *reader, uint8_t *rgb, SpFrameInfo *info, bool *end);

/* After the end: how many more frames start and stride would have used without max_frames.
 * SP_INPUT, SP_MEMORY. */
SpStatus sp_reader_left_out(SpReader *reader, int64_t *count);

/* After sp_reader_left_out: what is lost, by the number of frames or the duration that the file
 * names, the decoder's errors, and JPEG files without an end. */
SpLosses sp_reader_losses(const SpReader *reader);

/* Damaged frames and refused packets as far as the file has been read. */
int64_t sp_reader_damage(const SpReader *reader);

/* Of a pattern of images: what its first gap leaves out. */
SpGap sp_reader_gap(const SpReader *reader);

#endif
