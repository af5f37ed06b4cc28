/*
 * Safetensors files, mapped read-only: 8 bytes little-endian header length, a JSON header,
 * then raw tensors (https://github.com/huggingface/safetensors, "Format").
 */
#ifndef SP_STORE_SAFETENSORS_H
#define SP_STORE_SAFETENSORS_H

#include "base/status.h"
#include "base/tensor.h"

typedef struct SpSafetensors SpSafetensors;

/* Maps `path` and checks its header whole: lengths, offsets inside the file, shape against
 * bytes, overlaps, duplicate names. Payload values are not looked at (NaN is allowed).
 * Errors: SP_INPUT or the code given as `kind` (SP_CHECKPOINT for weights), naming file and
 * tensor; SP_MEMORY. *out is owned by the caller: sp_safetensors_close. */
SpStatus sp_safetensors_open(const char *path, SpCode kind, SpSafetensors **out);

/* As open, on `size` bytes at `data` that stay valid until close; `label` is what messages call
 * the file. For checkpoints embedded in the program. */
SpStatus sp_safetensors_open_memory(const void *data, size_t size, const char *label, SpCode kind,
                                    SpSafetensors **out);

/* Unmaps; NULL is allowed. */
void sp_safetensors_close(SpSafetensors *file);

/* The tensor called `name` (a view into the mapping), or NULL. */
const SpTensor *sp_safetensors_find(const SpSafetensors *file, const char *name);

/* The number of tensors. */
size_t sp_safetensors_count(const SpSafetensors *file);

/* The name of the i-th tensor in order of offset in the file, and in *tensor (NULL allowed) its
 * view; both live until close. */
const char *sp_safetensors_at(const SpSafetensors *file, size_t i, const SpTensor **tensor);

/* A string of the header's __metadata__, which lives until close, or NULL. */
const char *sp_safetensors_metadata(const SpSafetensors *file, const char *key);

#endif
