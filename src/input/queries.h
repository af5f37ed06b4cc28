/*
 * Which points to track: read from a file or laid out as a grid.
 */
#ifndef SP_INPUT_QUERIES_H
#define SP_INPUT_QUERIES_H

#include <stdint.h>

#include "media/frame_plan.h"

/* Queries are [N, 3] float32 rows t, x, y: t the number of a used frame, x and y pixels of the
 * input video with (0, 0) the centre of the first pixel. */

/* Reads a line `t,x,y` a query from `path`; the first line may be that heading. Blank lines and
 * lines starting with # are skipped, spaces around numbers and CRLF are fine. `frames`: used
 * frames of the clip, prepared as `plan` tells.
 * Errors: SP_INPUT when the file cannot be read; SP_USAGE naming file and line when a line is
 * malformed or its query is outside the frame, the part of it that is used, or the clip, or when
 * there is no query; SP_MEMORY. *out [*count, 3] is malloc'ed and the caller's. */
SpStatus sp_queries_read(const char *path, int64_t frames, const SpFramePlan *plan, float **out,
                         int64_t *count);

/* An n x n grid over the working frame of used frame `frame`, row by row, with a margin of a 64th
 * of its width all around (src/sam/README.md, "How the mask is used").
 * With `mask` (bytes of the working frame's size, or NULL) only the points whose pixel is not zero
 * there; then `values` (NULL: not wanted) gets those bytes, malloc'ed and the caller's. Errors:
 * SP_USAGE when no point is left; SP_MEMORY. *out as above. */
SpStatus sp_queries_grid(int64_t n, int64_t frame, const SpFramePlan *plan, const uint8_t *mask,
                         float **out, int64_t *count, uint8_t **values);

#endif
