/*
 * Colours of tracks and of values.
 */
#ifndef SP_OUTPUT_PALETTE_H
#define SP_OUTPUT_PALETTE_H

#include "base/status.h"
#include "output/draw.h"

/* A colour for each track: round the rainbow from red to violet in the order of the rows in which
 * tracks start (and of columns within a row), so that neighbours have neighbouring colours. They
 * depend on nothing but queries [N, 3] (t, x, y). out [N]. SP_MEMORY. */
SpStatus sp_palette_tracks(const float *queries, int64_t tracks, SpColour *out);

/* matplotlib's inferno, from black at 0 to pale yellow at 1: brightness grows evenly. */
SpColour sp_palette_inferno(float value);

#endif
