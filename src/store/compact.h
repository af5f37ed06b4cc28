/*
 * A compact copy of a published checkpoint for devices that compute in bf16: beside
 * model.safetensors the file model.compact.safetensors. Of the front it has the matrices of the
 * transformers (aggregator. and its patch_embed.) in bf16, as they are computed, and the large ones
 * of the camera head in f16, which are computed in f32: eleven bits of each weight change a pose by
 * a hundredth of a degree, eight would by a tenth. Of SAM it has the matrices of the vision
 * encoder's layers in f16, computed in f32. All else is read from the published file, whose size
 * and time the copy's metadata hold. With it the front takes 2.4 GB of the host's memory
 * and SAM huge 1.3 GB.
 */
#ifndef SP_STORE_COMPACT_H
#define SP_STORE_COMPACT_H

#include <stdbool.h>
#include <stdio.h>

#include "store/safetensors.h"

#define SP_COMPACT_NAME "model.compact.safetensors"

/* Whether `folder` has a copy that was made of the published file that is there now, by its size
 * and time. */
bool sp_compact_is_current(const char *folder);

/* Opens such a copy, which the caller closes; *out is NULL where there is none. SP_CHECKPOINT when
 * it is damaged; SP_MEMORY. */
SpStatus sp_compact_open(const char *folder, SpSafetensors **out);

/* Writes the copy of folder/model.safetensors to `stream`, which stays the caller's; *bytes is its
 * size. SP_CHECKPOINT, SP_OUTPUT, SP_MEMORY. */
SpStatus sp_compact_write(const char *folder, FILE *stream, size_t *bytes);

#endif
