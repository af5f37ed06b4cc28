/*
 * Two results of the same video, one expected, one found: how far apart they are, and whether that
 * is allowed (--compare; man/spatrack.1, "COMPARING RESULTS"). No model, no video.
 */
#ifndef SP_COMPARE_COMPARE_H
#define SP_COMPARE_COMPARE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"

/* What is allowed; 0: the compared arrays must hold the same values. */
typedef struct SpTolerances {
    double pixels;   /* of tracks, in 95 % of the places where they are visible in both */
    double relative; /* of points and depth, of the median depth; of cameras, and in radians */
} SpTolerances;

/* Compares the .npz `actual` with `expected` and writes a table to `stream`, or one JSON object.
 * SP_DIFFERENT, naming what is too far apart; SP_INPUT for a file that cannot be read or is no
 * result; SP_MEMORY. Nothing is written before both files are read. */
SpStatus sp_compare(const char *expected, const char *actual, const SpTolerances *tolerances,
                    bool json, FILE *stream);

#endif
