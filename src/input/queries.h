/*
 * Which points to track: read from a file or laid out as a grid. Pixel
 * coordinates are 0 at the centre of the first pixel.
 */
#ifndef SP_INPUT_QUERIES_H
#define SP_INPUT_QUERIES_H

#include <stdint.h>

#include "media/frame_plan.h"

typedef struct SpQueries {
    int64_t count;   /* N */
    float *query;    /* [N, 3] used frame, x, y in pixels of the input video */
    uint8_t *object; /* [N] the mask's value at a query, 1 without a mask; NULL: from a file */
} SpQueries;

/* Reads a line `t,x,y` a query from `path`; the first line may be that heading. Blank lines and
 * lines starting with # are skipped, spaces around numbers and CRLF are fine. `frames`: used
 * frames of the clip, prepared by `plan`.
 * Errors: SP_INPUT when the file cannot be read; SP_USAGE naming file and line when a line is
 * malformed or its query is more than half a pixel outside the frame, the part of it that is used,
 * or the clip, or when there is no query, or more than 2^20; SP_MEMORY. Release with
 * sp_queries_free; after a failure *out is empty. */
SpStatus sp_queries_read(const char *path, int64_t frames, const SpFramePlan *plan, SpQueries *out);

/* An n x n grid over the working frame of used frame `frame`, row by row, with a margin of a 64th
 * of its width all around (src/sam/README.md, "How the mask is used"). With `mask` (bytes of the
 * input's size, or NULL) only the points whose pixel is not zero there. Errors: SP_USAGE when no
 * point is left; SP_MEMORY. *out as above. */
SpStatus sp_queries_grid(int64_t n, int64_t frame, const SpFramePlan *plan, const uint8_t *mask,
                         SpQueries *out);

/* Frees the arrays and zeroes the struct. */
void sp_queries_free(SpQueries *queries);

#endif
