/*
 * The arrays of a finished result, as spatrack, SpatialTrackerV2 and others write them: looked at
 * by their headers, then read one by one (src/output/README.md, "The arrays").
 */
#ifndef SP_OUTPUT_RESULT_ARRAYS_H
#define SP_OUTPUT_RESULT_ARRAYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "output/npz.h"

typedef enum SpArrayId {
    SP_ARRAY_COORDS,            /* T, N, 3 */
    SP_ARRAY_TRACKS2D,          /* T, N, 2 */
    SP_ARRAY_VISIBS,            /* T, N */
    SP_ARRAY_CONFS,             /* T, N */
    SP_ARRAY_SIGMA,             /* T, N */
    SP_ARRAY_DYNAMIC,           /* N */
    SP_ARRAY_QUERIES,           /* N, 3 */
    SP_ARRAY_OBJECT,            /* N */
    SP_ARRAY_EXTRINSICS,        /* T, 4, 4 or T, 3, 4 */
    SP_ARRAY_INTRINSICS,        /* T, 3, 3 */
    SP_ARRAY_INTRINSICS_INPUT,  /* T, 3, 3 */
    SP_ARRAY_DEPTHS,            /* T, h, w */
    SP_ARRAY_CONFS_DEPTH,       /* T, h, w; also called unc_metric */
    SP_ARRAY_VIDEO,             /* T, 3, h, w or T, h, w, 3 */
    SP_ARRAY_FRAME_INDEX,       /* T */
    SP_ARRAY_TIMESTAMPS,        /* T */
    SP_ARRAY_SIZE,              /* 2 */
    SP_ARRAY_SCALE,             /* a scalar */
    SP_ARRAY_RATE,              /* a scalar */
    SP_ARRAY_CHUNKS,            /* C */
    SP_ARRAY_CHUNKS_SIMILARITY, /* C, 4, 4 */
    SP_ARRAYS
} SpArrayId;

/* Of several arrays. */
#define SP_ARRAY_BIT(id) (1u << (id))
enum { SP_ALL_ARRAYS = (1 << SP_ARRAYS) - 1 };

/* What an array's header says. */
typedef struct SpResultArray {
    const char *name; /* in the file; static. NULL: not there */
    char type;        /* f, u, i or b */
    int rank;         /* without axes of one element that do not belong to the array */
    int64_t dim[SP_MAX_RANK], count;
} SpResultArray;

typedef struct SpResultArrays {
    const char *path; /* a view */
    SpNpz *npz;
    SpResultArray array[SP_ARRAYS];
    int64_t frames, tracks, height, width, chunks; /* T, N, h, w, C; -1: no array says */
    bool channels_last;                            /* the video is T, h, w, 3 */
} SpResultArrays;

/* The array's own name. */
const char *sp_result_array_name(SpArrayId id);

/* Opens the .npz at `path` and looks at the headers of those of the arrays that `wanted`
 * (SP_ARRAY_BIT) names; no data are read. Release with sp_result_arrays_close, also after a
 * failure. SP_INPUT naming the file: unreadable; an array of another type, size or shape, or with
 * other T, N, h or w than the file's others. SP_MEMORY. */
SpStatus sp_result_arrays_open(const char *path, unsigned wanted, SpResultArrays *arrays);
void sp_result_arrays_close(SpResultArrays *arrays);

/* Whether the file has the array, and it was wanted. */
bool sp_result_arrays_have(const SpResultArrays *arrays, SpArrayId id);

/* The array's values in the order of the file, [count], malloc'ed and the caller's. As
 * sp_npz_read_f32. */
SpStatus sp_result_arrays_read(const SpResultArrays *arrays, SpArrayId id, float **out);

/* Likewise as float64, into out [count], which is the caller's. */
SpStatus sp_result_arrays_read_f64(const SpResultArrays *arrays, SpArrayId id, double *out);

#endif
