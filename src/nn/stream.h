/*
 * Weights copied to the device while a forward function runs. In the modes SP_IN_PLACE and
 * SP_RESIDENT all of this does nothing; in SP_STREAMED it takes arena memory, so a dry run counts
 * it, and an op whose weights are not resident fails the dry run already.
 */
#ifndef SP_NN_STREAM_H
#define SP_NN_STREAM_H

#include "nn/nn.h"

/* Weight groups first .. first + count - 1 of the model, which are read one after another. */
typedef struct SpStream {
    int first, count;
    bool resident; /* all of them until sp_stream_end: nothing is prefetched */
    bool loops;    /* after the last one the first is read again */
    char *memory[SP_PREFETCH_SLOTS];
    int group[SP_PREFETCH_SLOTS]; /* in the slot's memory, or in flight to it; -1: none */
    bool in_flight[SP_PREFETCH_SLOTS];
} SpStream;

/* Where the groups are not resident, allocates arena memory: a slot for one group and one for the
 * next. `loops`: they are read more than once, so the plan may load them all. */
SpStream sp_stream_begin(SpNn *nn, int first, int count, bool loops);

/* Until the next call ops read `group`; the copy of the one after it starts. */
void sp_stream_use(SpNn *nn, SpStream *stream, int group);

/* No group of the stream is read any more; its memory goes with the caller's scope. */
void sp_stream_end(SpNn *nn, SpStream *stream);

/* Loads all these groups to arena memory until sp_stream_end; those that are resident stay so. */
SpStream sp_stream_load(SpNn *nn, int first, int count);

/* Starts to copy `count` floats from the host, which must stay, to arena memory through a slot of
 * the device: in parallel to the ops issued from now on, after those issued before. No weights may
 * be in flight. */
void sp_stream_prefetch(SpNn *nn, int slot, float *to, const float *from, int64_t count);

/* Ops issued from now on wait for the slot's copies. */
void sp_stream_wait(SpNn *nn, int slot);

#endif
