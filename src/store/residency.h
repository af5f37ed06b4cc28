/*
 * Where the weights of one model are: mapped from their file, and in the memory of a device.
 *
 * The binder (store/checkpoint.h) lists every tensor that a model binds, in segments: what is
 * loaded and dropped together, a transformer block or the rest of a part. A model keeps pointers
 * into the mapping and nothing else; before an op runs, nn/ops.c asks here where on the device they
 * are. So loading, streaming and dropping change no model, and nothing has to be put back.
 */
#ifndef SP_STORE_RESIDENCY_H
#define SP_STORE_RESIDENCY_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/ops.h"

/* The segment of what only the host reads: tables that are uploaded or computed with. It is never
 * loaded. */
enum { SP_HOST_SEGMENT = 0 };

typedef struct SpWeights SpWeights;

/* An empty list, whose current segment is SP_HOST_SEGMENT; NULL when memory is short. */
SpWeights *sp_weights_new(void);
void sp_weights_free(SpWeights *weights); /* NULL allowed; the device's memory must be dropped */

/* Begins a segment and returns its number, the next one; -1 when memory is short. */
int sp_weights_begin(SpWeights *weights);

/* What follows belongs to that segment. */
void sp_weights_select(SpWeights *weights, int segment);

/* Adds `bytes` bytes at `data` to the current segment; what is listed stays where it was listed
 * first, unless that was the host's. false when memory is short. */
bool sp_weights_add(SpWeights *weights, const void *data, size_t bytes);

/* Segments there are, that of the host included. */
int sp_weights_segments(const SpWeights *weights);

/* Bytes that segments first .. first + count take on a device: each tensor aligned to 64. */
size_t sp_weights_bytes(const SpWeights *weights, int first, int count);

/* The most that one of these segments takes. */
size_t sp_weights_largest(const SpWeights *weights, int first, int count);

/* Bytes of the tensors that the ops read (all segments but the host's), as they are in the file. */
size_t sp_weights_file_bytes(const SpWeights *weights);

/* Starts to copy a segment through `slot` of the device to `memory`, of sp_weights_bytes(.., 1);
 * the ops may read it after device->wait_slot(slot). */
void sp_weights_fetch(SpWeights *weights, SpDevice *device, int slot, int segment, void *memory);

/* Says that a segment is at `memory` of the device, or (NULL) no longer. */
void sp_weights_place(SpWeights *weights, int segment, void *memory);

/* Loads all segments into memory of their own on `device`, until sp_weights_drop. Nothing happens
 * when they are loaded. SP_MEMORY. */
SpStatus sp_weights_load(SpWeights *weights, SpDevice *device);

/* Gives that memory back; allowed when nothing is loaded. */
void sp_weights_drop(SpWeights *weights, SpDevice *device);

/* Bytes that sp_weights_load holds now. */
size_t sp_weights_loaded(const SpWeights *weights);

/* Whether the segment is placed. */
bool sp_weights_placed(const SpWeights *weights, int segment);

/* Where the ops find what the model calls `data`: the place on the device; NULL when `data` is a
 * weight that is not there; `data` itself when it is no weight. */
const void *sp_weights_find(const SpWeights *weights, const void *data);

/* Whether `data` is a weight of SP_HOST_SEGMENT. */
bool sp_weights_only_host(const SpWeights *weights, const void *data);

#endif
