/*
 * One model's checkpoint: a folder with `model.safetensors`, or shards listed by
 * `model.safetensors.index.json`, and `config.json`; or the same embedded in the program. Plus
 * the binder with which a model collects its tensors.
 */
#ifndef SP_STORE_CHECKPOINT_H
#define SP_STORE_CHECKPOINT_H

#include <stdbool.h>

#include "nn/residency.h"
#include "store/safetensors.h"

typedef struct SpCheckpoint SpCheckpoint;

/* Maps the checkpoint in `folder`; takes milliseconds at any size. An index's shards are files of
 * that folder, also where links lead. SP_CHECKPOINT naming file and tensor; SP_MEMORY. The caller
 * closes it. */
SpStatus sp_checkpoint_open(const char *folder, SpCheckpoint **out);

/* From now on tensors are found in the compact copy beside the folder's file (store/compact.h)
 * before the file itself; nothing changes where there is no current one. To be called before
 * anything is bound, for a device that computes in bf16. SP_CHECKPOINT, SP_MEMORY. */
SpStatus sp_checkpoint_use_compact(SpCheckpoint *checkpoint);

/* A checkpoint in memory that stays valid until close: safetensors whose metadata holds the
 * configuration as JSON text under "config". `label` is its name in messages. SP_CHECKPOINT,
 * SP_MEMORY. The caller closes it. */
SpStatus sp_checkpoint_open_memory(const void *data, size_t size, const char *label,
                                   SpCheckpoint **out);

/* Unmaps; what was found or bound may not be used any more. NULL is allowed. */
void sp_checkpoint_close(SpCheckpoint *checkpoint);

/* The tensor called `name`, a view that lives until close, or NULL. */
const SpTensor *sp_checkpoint_find(const SpCheckpoint *checkpoint, const char *name);

/* What was bound, and where it is (nn/residency.h); the checkpoint's own. */
SpWeights *sp_checkpoint_weights(const SpCheckpoint *checkpoint);

/* Bytes of all its tensors. */
size_t sp_checkpoint_bytes(const SpCheckpoint *checkpoint);

/* Bytes of the tensors bound so far. */
size_t sp_checkpoint_bound_bytes(const SpCheckpoint *checkpoint);

/* Collects a model's tensors. The first failure stays in `status`, and later calls return zeroed
 * views, so a model binds everything and then looks once. */
typedef struct SpBinder {
    SpCheckpoint *checkpoint;
    SpStatus status;
} SpBinder;

/* Records a failure of the checkpoint: its label, then the formatted text. */
void sp_bind_fail(SpBinder *binder, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Number `key` of the configuration ("a.b": key b of object a), or `default_value` when it is
 * absent. A value that is not a number within [min, max] is an error. */
double sp_bind_number(SpBinder *binder, const char *key, double default_value, double min,
                      double max);

/* Likewise a whole number: one with a fraction is an error. */
int64_t sp_bind_whole(SpBinder *binder, const char *key, int64_t default_value, int64_t min,
                      int64_t max);

/* Whole numbers of the array `key`: fills out[0 .. count) and returns true; false when absent. */
bool sp_bind_numbers(SpBinder *binder, const char *key, int count, int64_t *out);

/* Weights in their own dtype (F32, F16 or BF16) of the given shape, -1 for any size. The name is
 * formatted as by printf. */
SpTensor sp_bind_weights(SpBinder *binder, int rank, const int64_t *dims, const char *name, ...)
    __attribute__((format(printf, 4, 5)));

/* The length of one axis of a tensor of the given shape, -1 for any size, which is bound by another
 * call or not at all; 0 after a failure. */
int64_t sp_bind_dim(SpBinder *binder, int axis, int rank, const int64_t *dims, const char *name,
                    ...) __attribute__((format(printf, 5, 6)));

/* `count` values as float32 whatever the shape: biases, norms, tokens. A view into the file where
 * that is possible, else a converted copy that the checkpoint owns. */
const float *sp_bind_floats(SpBinder *binder, int64_t count, const char *name, ...)
    __attribute__((format(printf, 3, 4)));

/* Begins a weight group, to which what is bound from now on belongs, and returns its number, one
 * more than the last one's: its tensors are loaded and dropped together (nn/residency.h). Before
 * the first call everything belongs to SP_HOST_GROUP, which no op may be given. */
int sp_bind_new_group(SpBinder *binder);

/* What is bound from now on belongs to that group. */
void sp_bind_into_group(SpBinder *binder, int group);

/* Whether there is such a tensor. */
bool sp_bind_has(const SpBinder *binder, const char *name, ...)
    __attribute__((format(printf, 2, 3)));

#endif
