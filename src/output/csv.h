/*
 * Tracks as text: one line a track and frame.
 */
#ifndef SP_OUTPUT_CSV_H
#define SP_OUTPUT_CSV_H

#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

/* What the tracker found, named as in src/output/README.md, "The arrays"; views, row-major. */
typedef struct SpTrackTable {
    int64_t frames, tracks;     /* T, N */
    const double *time;         /* [T] presentation time, seconds */
    const float *tracks2d;      /* [T, N, 2] x, y in pixels of the input video */
    const float *coords;        /* [T, N, 3] world points */
    const float *visibs;        /* [T, N] visible when > 0.5 */
    const float *confs;         /* [T, N] */
    const int64_t *frame_index; /* [T] number of each used frame in the file; may be NULL */
} SpTrackTable;

/* Writes the line `track,frame,time,x,y,X,Y,Z,visible,confidence` and then [N] times [T] rows,
 * by track, then frame: frame is the used frame's number 0..T-1, x, y and X, Y, Z are pixels and
 * world points, visible is 0 or 1. Floats have the 9 digits that give the same float32 back, with a
 * point in any locale. Flushes `stream`, which stays the caller's. `label`: the file's name.
 * Errors: SP_OUTPUT "cannot write LABEL: No space left on device". */
SpStatus sp_csv_write(FILE *stream, const char *label, const SpTrackTable *table);

#endif
