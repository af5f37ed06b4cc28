/*
 * Synthetic checkpoints by the rule of tests/golden/README.md, "Synthetic checkpoints", whose
 * Python side is tests/golden/make/synth.py. From a manifest
 * {"config": {...}, "tensors": [{"name", "shape", "scale", "offset"}, ...]}:
 *
 *     h    = FNV-1a 64 of the name
 *     x(i) = splitmix64 finaliser of h + (i + 1) * 0x9E3779B97F4A7C15
 *     w(i) = float32(offset + scale * (2 (x(i) >> 40) / 2^24 - 1)), in double
 */
#ifndef SP_TESTS_SYNTH_H
#define SP_TESTS_SYNTH_H

#include "base/status.h"
#include "base/tensor.h"

/* Fills out[0 .. count) with elements begin .. of the tensor `name`. */
void synth_fill(const char *name, double scale, double offset, int64_t begin, int64_t count,
                float *out);

/* Writes `folder`/model.safetensors (dtype F32, F16 or BF16) and `folder`/config.json. */
SpStatus synth_checkpoint(const char *manifest, const char *folder, SpDtype dtype);

/* The same in F32 without its values, for what only asks for sizes: takes no room on disk. */
SpStatus synth_outline(const char *manifest, const char *folder);

#endif
