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
    int64_t *line;   /* [N] of the file; NULL: from a grid */
} SpQueries;

enum { SP_ANY_FRAMES = INT32_MAX };

/* Points a side of the grid where the user does not say. */
enum { SP_GRID = 10, SP_GRID_WITH_MASK = 50 };

/* Reads a line `t,x,y` a query from `path`; the first line may be that heading. Blank lines and
 * lines starting with # are skipped, spaces around numbers and CRLF are fine. `frames`: used
 * frames of the clip, prepared by `plan`; SP_ANY_FRAMES where they are not known yet.
 * Errors: SP_INPUT when the file cannot be read; SP_USAGE naming file and line when a line is
 * malformed or its query is more than half a pixel outside the frame, the part of it that is used,
 * or the clip, or when there is no query, or more than 2^20; SP_MEMORY. Release with
 * sp_queries_free; after a failure *out is empty. */
SpStatus sp_queries_read(const char *path, int64_t frames, const SpFramePlan *plan, SpQueries *out);

/* Queries from `path` once the clip's frames are known: SP_USAGE naming file and line of one that
 * lies behind them. */
SpStatus sp_queries_check(const char *path, const SpQueries *queries, int64_t frames);

/* An n x n grid over the working frame of used frame `frame`, row by row, with a margin of a 64th
 * of its width all around (src/sam/README.md, "How the mask is used"). With `mask` (bytes of the
 * input's size, or NULL) only the points whose pixel is not zero there. Errors: SP_USAGE when no
 * point is left; SP_MEMORY. *out as above. */
SpStatus sp_queries_grid(int64_t n, int64_t frame, const SpFramePlan *plan, const uint8_t *mask,
                         SpQueries *out);

/* Adds one behind the others: frame, x, y; of no object. SP_MEMORY. */
SpStatus sp_queries_add(SpQueries *queries, const float query[3]);

/* Frees the arrays and zeroes the struct. */
void sp_queries_free(SpQueries *queries);

#endif
