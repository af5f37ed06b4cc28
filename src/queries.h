/*
 * Which points to track: read from a file or laid out as a grid.
 */
#ifndef SP_QUERIES_H
#define SP_QUERIES_H

#include <stdint.h>

#include "base/status.h"

/* Queries are [N, 3] float32 rows t, x, y: t the number of a used frame, x and y pixels of the
 * input video with (0, 0) the centre of the first pixel. */

/* Reads a line `t,x,y` a query from `path`; the first line may be that heading. Blank lines and
 * lines starting with # are skipped, spaces around numbers and CRLF are fine. `frames`: used
 * frames of the clip; `height`, `width`: the input video's.
 * Errors: SP_INPUT when the file cannot be read; SP_USAGE naming file and line when a line is
 * malformed or its query is outside the frame or the clip, or when there is no query; SP_MEMORY.
 * *out [*count, 3] is malloc'ed and the caller's. */
SpStatus sp_queries_read(const char *path, int64_t frames, int64_t height, int64_t width,
                         float **out, int64_t *count);

/* The centres of n x n equal cells of frame 0, row by row: x = (j + 0.5) / n * width - 0.5, y
 * likewise, kept inside the outermost pixel centres. With `mask` ([height, width] bytes, or NULL)
 * only the points whose nearest pixel is not zero there.
 * Errors: SP_USAGE when n is not 1..4096 or no point is left; SP_MEMORY. *out as above. */
SpStatus sp_queries_grid(int64_t n, int64_t height, int64_t width, const uint8_t *mask, float **out,
                         int64_t *count);

#endif
