/*
 * Decoded frames to RGB, to the byte as the ffmpeg program converts them (src/media/README.md,
 * "Decoding").
 */
#ifndef SP_MEDIA_SCALER_H
#define SP_MEDIA_SCALER_H

#include "media/ffmpeg.h"
#include "media/orientation.h"

/* Zeroed but for `ff`, it has converted nothing yet; release with sp_scaler_close. */
typedef struct SpScaler {
    const SpFfmpeg *ff;
    struct SwsContext *context;
    int made_for[7];    /* sizes, format and colours of the context */
    uint8_t *unrotated; /* a frame before its rotation, row by row */
    size_t capacity;    /* bytes of it */
} SpScaler;

/* `frame` as shown: rgb [h, w, 3], the caller's. `label` is what messages call the file. SP_INPUT
 * when FFmpeg cannot convert its pixels; SP_MEMORY. */
SpStatus sp_scaler_run(SpScaler *scaler, const AVFrame *frame, SpOrientation orientation, int h,
                       int w, const char *label, uint8_t *rgb);
void sp_scaler_close(SpScaler *scaler);

#endif
