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
} SpReaderSettings;

typedef struct SpFrameInfo {
    int64_t index;    /* number in the file, from 0 */
    double timestamp; /* presentation time in seconds */
} SpFrameInfo;

/* How wide a pixel is shown to how high; 1, 1 for square ones. */
typedef struct SpPixelShape {
    int wide, high;
} SpPixelShape;

/* Opens a file of any container and codec FFmpeg reads, a folder of images (png, jpg, jpeg, bmp,
 * tif, tiff, webp, ppm; sorted by name), a printf pattern of images ("frames/%04d.png") or "-"
 * for standard input. Images get the timestamps of 30 frames a second. Networks are never used.
 * SP_INPUT naming the file: missing, no video in it, unreadable, ends before `start`; SP_MEMORY.
 * The caller closes it (NULL allowed). */
SpStatus sp_reader_open(const char *path, const SpReaderSettings *settings, SpReader **out);
void sp_reader_close(SpReader *reader);

/* The size of the frames, turned as the file's rotation says. */
int64_t sp_reader_height(const SpReader *reader);
int64_t sp_reader_width(const SpReader *reader);

/* Frames a second of the file as its container tells; 0 when it does not. */
double sp_reader_rate(const SpReader *reader);

/* The shape of the pixels, turned as the frames are; square where the file does not tell. */
SpPixelShape sp_reader_pixel(const SpReader *reader);

/* How many used frames there will be as the container tells; 0 when it does not. */
int64_t sp_reader_guess(const SpReader *reader);

/* The next used frame into rgb [h, w, 3], or *end. A damaged frame in the middle is skipped. A
 * frame of another size than the first is scaled to it in a video, and an error among images. */
SpStatus sp_reader_next(SpReader *reader, uint8_t *rgb, SpFrameInfo *info, bool *end);

/* After the end: how many more frames start and stride would have used without max_frames. */
SpStatus sp_reader_left_out(SpReader *reader, int64_t *count);

#endif
