/*
 * The arrays of a result that are compared (src/output/README.md, "The arrays").
 */
#ifndef SP_COMPARE_RESULTS_H
#define SP_COMPARE_RESULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/tensor.h"
#include "output/result_arrays.h"

typedef enum SpComparedId {
    SP_COMPARED_COORDS,           /* T, N, 3 */
    SP_COMPARED_TRACKS2D,         /* T, N, 2 */
    SP_COMPARED_VISIBS,           /* T, N */
    SP_COMPARED_EXTRINSICS,       /* T, 4, 4 or T, 3, 4 */
    SP_COMPARED_INTRINSICS_INPUT, /* T, 3, 3 */
    SP_COMPARED_INTRINSICS,       /* T, 3, 3 */
    SP_COMPARED_DEPTHS,           /* T, h, w */
    SP_COMPARED_ARRAYS
} SpComparedId;

typedef struct SpComparedArray {
    float *value; /* NULL: not in the file */
    int rank;
    int64_t dim[SP_MAX_RANK], count;
} SpComparedArray;

typedef struct SpComparedResult {
    const char *path;
    SpResultArrays file;
    SpComparedArray array[SP_COMPARED_ARRAYS];
    int64_t frames, tracks; /* -1: no array says */
} SpComparedResult;

/* The array's name in the file. */
const char *sp_compared_name(SpComparedId id);

/* Reads the .npz at `path`; release with sp_compared_close, also after a failure. SP_INPUT naming
 * the file: unreadable, an array of another shape or for another number of frames or tracks than
 * the file's others, or none of them; SP_MEMORY. */
SpStatus sp_compared_open(const char *path, SpComparedResult *result);
void sp_compared_close(SpComparedResult *result);

/* Whether both hold the array; with *same, whether in the same shape. */
bool sp_compared_both(const SpComparedResult results[2], SpComparedId id, bool *same);

#endif
