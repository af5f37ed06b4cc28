/*
 * What of a result is known before the tracker has run, its pictures, is packed and written beside
 * the tracker, by a thread of its own.
 */
#ifndef SP_PIPELINE_AHEAD_H
#define SP_PIPELINE_AHEAD_H

#include "pipeline/run.h"

/* Begins with the pictures of all frames, in the result's format, where it can and the user lets
 * the run have more than one thread; else nothing is done. Where no thread can be had, all is done
 * at once. Until sp_ahead_end the file is the thread's, and the pictures must not change.
 * SP_OUTPUT; SP_MEMORY. */
SpStatus sp_ahead_begin(SpRun *run);

/* Waits for them; as sp_ahead_begin. Where nothing has begun it does nothing. */
SpStatus sp_ahead_end(SpRun *run);

/* Bytes of host memory that it takes. */
size_t sp_ahead_bytes(const SpRun *run);

#endif
