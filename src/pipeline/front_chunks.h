/*
 * The front's network on the frames of a run, in chunks where the run asks for them.
 */
#ifndef SP_PIPELINE_FRONT_CHUNKS_H
#define SP_PIPELINE_FRONT_CHUNKS_H

#include "pipeline/chunks.h"
#include "pipeline/run.h"

/* Host memory that chunks take beside the results of so many frames; 0: no chunks. */
size_t sp_front_chunks_bytes(const SpRun *run, int64_t frames);

/* Runs the front on `frames` frames, all at once or chunk by chunk, each in the memory of one. Dry
 * it counts, `run` is not changed and may have another number of frames. Live, `geometry` of the
 * run is written, and its chunks listed. Failures of the network; SP_MEMORY. */
SpStatus sp_front_chunks_run(SpRun *run, SpNn *nn, int64_t frames);

/* The chunks one by one, while the clip is read: each needs the frames of the clip from the first
 * that is not final on. Release with sp_front_chunks_close (NULL allowed). */
typedef struct SpFrontChunks SpFrontChunks;
SpStatus sp_front_chunks_open(SpRun *run, const SpChunking *chunking, SpFrontChunks **out);
void sp_front_chunks_close(SpFrontChunks *chunks);

/* As sp_chunks_next, with the network on `nn`. */
SpStatus sp_front_chunks_next(SpFrontChunks *chunks, SpNn *nn, SpChunkPiece *piece);

/* Lists the chunks so far in the run. SP_MEMORY. */
SpStatus sp_front_chunks_list(const SpFrontChunks *chunks);

/* One line about the chunks of the run's clip, such as "5 chunks of 60 frames, 30 of them shared";
 * false and "" where there are none. */
bool sp_front_chunks_text(const SpRun *run, char *text, size_t size);

#endif
