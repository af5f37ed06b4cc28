/*
 * The front's network on a clip that is in memory, in chunks where the run asks for them.
 */
#ifndef SP_PIPELINE_FRONT_CHUNKS_H
#define SP_PIPELINE_FRONT_CHUNKS_H

#include "pipeline/run.h"

/* Host memory that chunks take beside the results of so many frames; 0: no chunks. */
size_t sp_front_chunks_bytes(const SpRun *run, int64_t frames);

/* Runs the front on `frames` frames, all at once or chunk by chunk, each in the memory of one. Dry
 * it counts, `run` is not changed and may have another number of frames. Live, `geometry` of the
 * run is written, and its chunks listed. Failures of the network; SP_MEMORY. */
SpStatus sp_front_chunks_run(SpRun *run, SpNn *nn, int64_t frames);

/* One line about the chunks of the run's clip, such as "5 chunks of 60 frames, 30 of them shared";
 * false and "" where there are none. */
bool sp_front_chunks_text(const SpRun *run, char *text, size_t size);

#endif
