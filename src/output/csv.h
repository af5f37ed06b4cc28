/*
 * Tracks as text: one line a track and frame.
 */
#ifndef SP_OUTPUT_CSV_H
#define SP_OUTPUT_CSV_H

#include <stdio.h>

#include "base/status.h"
#include "output/result.h"

/* Writes the line `track,frame,time,x,y,X,Y,Z,visible,confidence` and then [N] times [T] rows,
 * by track, then frame: frame is the used frame's number 0..T-1, x, y and X, Y, Z are pixels and
 * world points, as sp_result_tracks2d and sp_result_coords give them, visible is 0 or 1. Floats
 * have the 9 digits that give the same float32 back, with a point in any locale. Flushes `stream`,
 * which stays the caller's. `label`: the file's name. Errors: SP_OUTPUT "cannot write LABEL: No
 * space left on device". */
SpStatus sp_csv_write(FILE *stream, const char *label, const SpResult *result, const float *coords,
                      const float *tracks2d);

#endif
