/*
 * Images of floats as OpenEXR, through FFmpeg's encoder.
 */
#ifndef SP_MEDIA_EXR_H
#define SP_MEDIA_EXR_H

#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

typedef struct SpExr SpExr;

/* What sp_exr_open asks for when `encoder` is NULL. */
#define SP_EXR_ENCODER "exr"

/* Before any work: whether this FFmpeg has the encoder. SP_OUTPUT naming the flag that chooses
 * another format; SP_INPUT without FFmpeg; SP_MEMORY. */
SpStatus sp_exr_check(const char *encoder);

/* For images [h, w]. SP_OUTPUT where they cannot be encoded; SP_INPUT without FFmpeg; SP_MEMORY.
 * The caller closes it. */
SpStatus sp_exr_open(int64_t h, int64_t w, SpExr **out);

/* Frees it; NULL is allowed. */
void sp_exr_close(SpExr *exr);

/* Writes pixels [h, w] to `stream`, which stays the caller's, as one channel of 32-bit floats, Y,
 * bit by bit as they are, in ZIP blocks of 16 lines; `label` is what messages call it. SP_OUTPUT;
 * SP_MEMORY. */
SpStatus sp_exr_write(SpExr *exr, FILE *stream, const char *label, const float *pixels);

#endif
