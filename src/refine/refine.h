/*
 * Tracks to fractions of a pixel of the video: each point's patch, cut from its query's frame, is
 * found again near where the network says (src/refine/README.md).
 */
#ifndef SP_REFINE_REFINE_H
#define SP_REFINE_REFINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* The tracks of a clip of T frames; views. Pixels are those of the video. */
typedef struct SpRefineTracks {
    int64_t frames, tracks;  /* T, N */
    int64_t height, width;   /* of a frame; each at least 2 */
    const float *queries;    /* [N, 3] frame, x, y */
    float *xy;               /* [T, N, 2], improved in place; NaN: there is none, and it stays so */
    float *visibility;       /* [T, N], visible where > 0.5; raised where a hidden point is
                                surely found, lowered where one of low confidence is not,
                                or only roughly */
    const float *confidence; /* [T, N] how likely xy is right, 0..1 */
    float *sigma;  /* [T, N] out: standard deviation of x and of y; NaN: not found again */
    int threads;   /* to compute in; 0: one per processor */
    int64_t first; /* frame with which xy, visibility, confidence and sigma begin */
} SpRefineTracks;

typedef struct SpRefiner SpRefiner;

/* Bytes that a refiner takes beside the tracks, at most; threads: at least 1. */
size_t sp_refiner_bytes(int64_t tracks, int64_t height, int64_t width, int threads);

/* SP_MEMORY. The caller closes it. */
SpStatus sp_refiner_open(const SpRefineTracks *tracks, SpRefiner **out);
void sp_refiner_close(SpRefiner *refiner);

/* Number of the first frames that sp_refiner_cut must still see before the first sp_refiner_frame:
 * 0 when all other queries lie in frame 0. */
int64_t sp_refiner_cut_frames(const SpRefiner *refiner);

/* Whether sp_refiner_cut needs frame t; of the others it need not be called. */
bool sp_refiner_has_queries(const SpRefiner *refiner, int64_t t);

/* Frame t as RGB bytes [height, width, 3]: takes the patches of its queries. Also between two calls
 * of sp_refiner_frame. */
void sp_refiner_cut(SpRefiner *refiner, int64_t t, const uint8_t *rgb);

/* Other arrays of the same tracks take the place of those that it was opened with. */
void sp_refiner_set_tracks(SpRefiner *refiner, const SpRefineTracks *tracks);

/* More tracks, behind the others, before the next frame: none has a query before it. SP_MEMORY. */
SpStatus sp_refiner_grow(SpRefiner *refiner, const SpRefineTracks *tracks);

/* Frames 0 .. T-1 in order: improves the points of frame t. */
void sp_refiner_frame(SpRefiner *refiner, int64_t t, const uint8_t *rgb);

/* Seconds for each point and frame, and for each pixel of a frame. */
typedef struct SpRefinerPace {
    double point, pixel;
} SpRefinerPace;

/* Measures them in some milliseconds, on made frames. SP_MEMORY. */
SpStatus sp_refiner_measure(int threads, SpRefinerPace *pace);

#endif
