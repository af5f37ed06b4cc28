/*
 * What a run holds of each frame once its networks have seen it: depth, cameras, tracks; of all
 * frames, or, while a clip streams, of those from `run->first` on.
 */
#ifndef SP_PIPELINE_ARRAYS_H
#define SP_PIPELINE_ARRAYS_H

#include "pipeline/run.h"

/* Bytes of the arrays of so many frames and points. */
size_t sp_arrays_bytes(const SpRun *run, int64_t frames, int64_t queries);

/* Allocates those of `frames` frames and the run's queries, which run->memory owns. SP_MEMORY. */
SpStatus sp_arrays_alloc(SpRun *run, int64_t frames);

/* The run has more queries than the `before` that they were allocated for: the new ones' values are
 * 0. SP_MEMORY, and nothing has changed. */
SpStatus sp_arrays_widen(SpRun *run, int64_t before);

/* Forgets the frames before `first`, of which `end` is the one behind the last that is held. */
void sp_arrays_drop(SpRun *run, int64_t first, int64_t end);

/* The run as if `count` frames from `first` on were all: views of its arrays and its clip, for
 * what is done frame by frame. It has no chunks, owns nothing, and must not outlive the next change
 * of the run's arrays. */
void sp_arrays_part(const SpRun *run, int64_t first, int64_t count, SpRun *part);

#endif
