/*
 * Where the weights of one model are: mapped from their file, and in the memory of a device.
 *
 * The binder (store/checkpoint.h) lists every tensor that a model binds, in weight groups: what is
 * loaded and dropped together, a transformer block or the rest of a part. A model keeps pointers
 * into the mapping and nothing else; before an op runs, nn/ops.c asks here for their addresses on
 * the device. So loading, streaming and dropping change no model, and nothing has to be put back.
 */
#ifndef SP_NN_RESIDENCY_H
#define SP_NN_RESIDENCY_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/ops.h"

/* The group of what only the host reads: tables that are uploaded or computed with. It is never
 * loaded. */
enum { SP_HOST_GROUP = 0 };

/* The weights of one model and where they are; it owns no weight, only the memory they are loaded
 * to. */
typedef struct SpWeights SpWeights;

/* An empty list, whose current group is SP_HOST_GROUP; NULL when memory is short. */
SpWeights *sp_weights_new(void);

/* Frees the list (NULL allowed), whose device memory must have been dropped. */
void sp_weights_free(SpWeights *weights);

/* Begins a group, which becomes the current one, and returns its number, one more than the last
 * one's; -1 when memory is short. */
int sp_weights_new_group(SpWeights *weights);

/* Makes `group` the current one. */
void sp_weights_select_group(SpWeights *weights, int group);

/* Adds `bytes` bytes at `data`, which must outlive the list, to the current group. What is listed
 * already stays in its group, unless that is the host's. false when memory is short. */
bool sp_weights_add(SpWeights *weights, const void *data, size_t bytes);

/* The number of groups, that of the host included. */
int sp_weights_groups(const SpWeights *weights);

/* Bytes that groups first .. first + count - 1 take on a device together: each tensor aligned to
 * 64. */
size_t sp_weights_bytes(const SpWeights *weights, int first, int count);

/* Starts to copy a group through `slot` of the device to `memory`, which has
 * sp_weights_bytes(weights, group, 1) bytes; ops may read it after device->wait_slot(slot). */
void sp_weights_prefetch(SpWeights *weights, SpDevice *device, int slot, int group, void *memory);

/* From now on ops find the group at `memory` of the device, or (NULL) not at all. */
void sp_weights_set_address(SpWeights *weights, int group, void *memory);

/* Whether ops find the group on the device. */
bool sp_weights_is_resident(const SpWeights *weights, int group);

/* Loads all groups into memory of their own on `device`, until sp_weights_drop. Does nothing when
 * they are loaded. SP_MEMORY. */
SpStatus sp_weights_load(SpWeights *weights, SpDevice *device);

/* Frees that memory; allowed when nothing is loaded. */
void sp_weights_drop(SpWeights *weights, SpDevice *device);

/* Bytes of the memory of sp_weights_load; 0 when nothing is loaded. */
size_t sp_weights_loaded(const SpWeights *weights);

/* Where the ops find what the model calls `data`: its address on the device; NULL when `data` is a
 * weight that is not resident; `data` itself when it is no weight. */
const void *sp_weights_find(const SpWeights *weights, const void *data);

/* Whether `data` is a weight of SP_HOST_GROUP. */
bool sp_weights_only_host(const SpWeights *weights, const void *data);

#endif
