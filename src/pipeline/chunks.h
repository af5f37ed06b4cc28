/*
 * Depth and cameras in overlapping chunks of frames, one after another, each brought into the world
 * of the first: by a similarity between the points and cameras that both chunks have of the shared
 * frames, in the way of VGGT-Long (Deng et al., 2025) without its loops. A chunk whose cameras
 * stand still has no world but its own; of two of these the depth's scale alone is aligned. Over
 * the shared frames one chunk fades into the next, so that there is no seam. What is final comes
 * out in pieces, in the order of the frames; a clip's length need not be known.
 */
#ifndef SP_PIPELINE_CHUNKS_H
#define SP_PIPELINE_CHUNKS_H

#include <stddef.h>

#include "input/geometry_file.h"
#include "output/result.h"
#include "pipeline/job.h"

/* Frames of a chunk, and how many of them it shares with the next: 0 < overlap < frames. frames 0:
 * no chunks, all frames at once. */
typedef struct SpChunking {
    int64_t frames, overlap;
} SpChunking;

/* What --front-chunk and --front-overlap say of a clip of so many frames; without them chunks of 60
 * that share 30 where it is longer than the mode's default. Never chunks where one would do. */
SpChunking sp_chunking_of(const SpJob *job, int64_t frames);

/* The most frames that the job takes at once. */
int64_t sp_chunking_whole(const SpJob *job);

/* How many chunks cover so many frames, and how many frames the last one has. */
int64_t sp_chunking_count(const SpChunking *chunking, int64_t frames, int64_t *last);

/* Where chunks come from. Both take frames from `first` on, count the used frames, and never go
 * back to before the frames of the last chunk. */
typedef struct SpChunkSource {
    void *self;
    int64_t height, width;
    /* How many there are, at most `most`. */
    SpStatus (*count)(void *self, int64_t first, int64_t most, int64_t *count);
    /* Depth, confidence and cameras of `count` of them into `out`. */
    SpStatus (*compute)(void *self, int64_t first, int64_t count, const SpGeometry *out);
} SpChunkSource;

/* Frames that no later chunk changes: views, until the next call. */
typedef struct SpChunkPiece {
    int64_t first, count; /* 0: the clip has ended */
    SpGeometry geometry;
} SpChunkPiece;

typedef struct SpChunks SpChunks;

/* Host memory that chunks of that size take, less the list of them. */
size_t sp_chunks_bytes(const SpChunking *chunking, int64_t height, int64_t width);

/* Nothing is computed yet. `source` must outlive the chunks. SP_MEMORY. Release with
 * sp_chunks_close (NULL allowed). */
SpStatus sp_chunks_open(const SpChunkSource *source, const SpChunking *chunking, SpChunks **out);
void sp_chunks_close(SpChunks *chunks);

/* Computes the next chunk where there is one, and hands over what is final. Failures of the source;
 * SP_MEMORY. */
SpStatus sp_chunks_next(SpChunks *chunks, SpChunkPiece *piece);

/* The chunks so far; a view until the next call of sp_chunks_next. */
const SpResultChunk *sp_chunks_list(const SpChunks *chunks, int64_t *count);

#endif
