/*
 * RGB frames as an MP4 that browsers play: yuv420p, BT.709, its index at the front.
 */
#ifndef SP_MEDIA_WRITER_H
#define SP_MEDIA_WRITER_H

#include <stdint.h>

#include "base/status.h"
#include "media/reader.h"

typedef struct SpWriter SpWriter;

typedef struct SpWriterSettings {
    int64_t height, width;    /* of every frame */
    int64_t frames;           /* whose times are known, at least 1 */
    const double *timestamps; /* [frames] seconds; the first is shown at 0 */
    double rate;              /* frames a second when that is known, else 0 */
    SpPixelAspect pixel;      /* of the frames; 0, 0: square */
    const char *encoder;      /* FFmpeg's name of one; NULL: H.264 if it can be had */
} SpWriterSettings;

/* Starts `path`, which is overwritten in place; a caller that must not leave half a file gives the
 * name of another first (output/atomic.h). `label`: what messages call it (copied). Timestamps that
 * keep to one rate within a millisecond, as far as they are known, become that rate, others stay as
 * they are to a 60000th of a second. 4:2:0 has no odd sizes: an odd height or width is padded by
 * one row or column, a copy of the last. The same frames give the same bytes. Encoders tried, in
 * order: H.264 (libx264, libopenh264), VP9, MPEG-4. SP_OUTPUT naming the file: not writable, no
 * encoder that takes the size; SP_INPUT without FFmpeg; SP_MEMORY. The caller closes it. */
SpStatus sp_writer_open(const char *path, const char *label, const SpWriterSettings *settings,
                        SpWriter **out);

/* Closes the file as it is; NULL is allowed. Without sp_writer_finish it is not whole. */
void sp_writer_close(SpWriter *writer);

/* The codec that is written: "H.264", "VP9", "MPEG-4"; static. */
const char *sp_writer_codec(const SpWriter *writer);

/* The next frame, rgb [h, w, 3], shown at `timestamp`, seconds on the clock of the settings.
 * SP_OUTPUT, SP_MEMORY. */
SpStatus sp_writer_add(SpWriter *writer, double timestamp, const uint8_t *rgb);

/* After the last frame: writes what the encoder still holds, and the index. SP_OUTPUT,
 * SP_MEMORY. */
SpStatus sp_writer_finish(SpWriter *writer);

#endif
