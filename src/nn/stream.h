/*
 * Weights on their way to the device while a forward function runs. In the modes SP_IN_PLACE and
 * SP_RESIDENT all of this does nothing; in SP_STREAMED it takes arena memory, so a dry run counts
 * it, and an op whose weights are not there fails the dry run already.
 */
#ifndef SP_NN_STREAM_H
#define SP_NN_STREAM_H

#include "nn/nn.h"

/* Segments first .. first + count of the model's weights are read one after another. */
typedef struct SpStream {
    int first, count;
    bool kept, again;                /* all are there; they are read more than once */
    char *memory[SP_PREFETCH_SLOTS]; /* of the slots */
    int segment[SP_PREFETCH_SLOTS];  /* what stands in a slot, or is on its way; -1: nothing */
    bool coming[SP_PREFETCH_SLOTS];  /* nobody has waited for it yet */
} SpStream;

/* Nothing, where the segments are there already. Else it takes the memory: a slot for one segment
 * and one for the next. `again`: they are read more than once, so the plan may keep them all. */
SpStream sp_stream_begin(SpNn *nn, int first, int count, bool again);

/* The ops from now on read `segment`, until the next call; the one after it begins to come. */
void sp_stream_use(SpNn *nn, SpStream *stream, int segment);

/* Nothing of the stream is read any more; its memory goes with the caller's sp_nn_release. */
void sp_stream_end(SpNn *nn, SpStream *stream);

/* All these segments are there from now on until sp_stream_end, or if they were before, beyond it.
 */
SpStream sp_stream_hold(SpNn *nn, int first, int count);

/* Begins to copy `count` floats of the host, which must stay, to arena memory through a slot of the
 * device: beside the ops issued from now on, after those issued before. Weights must not be on
 * their way. */
void sp_stream_bring(SpNn *nn, int slot, float *to, const float *from, int64_t count);

/* Ops issued from now on wait for what was brought through the slot. */
void sp_stream_wait(SpNn *nn, int slot);

#endif
