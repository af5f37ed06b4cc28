/*
 * Goldens: recorded inputs and outputs of the reference, as safetensors under $SP_GOLDEN_DIR.
 * Every function fails the running cmocka test with a message instead of returning an error.
 */
#ifndef SP_TESTS_GOLDEN_H
#define SP_TESTS_GOLDEN_H

#include <stdbool.h>

#include "store/safetensors.h"

typedef struct Golden Golden;

/* Opens `relative` ("front/tiny.safetensors"); golden_close releases it with all it returned. */
Golden *golden_open(const char *relative);
void golden_close(Golden *golden);

/* A tensor's view, and whether there is one. */
const SpTensor *golden_tensor(Golden *golden, const char *name);
bool golden_has(Golden *golden, const char *name);

/* A tensor's values as float32 (converted from any dtype); `count` may be NULL. */
const float *golden_f32(Golden *golden, const char *name, int64_t *count);

/* "UNIT.PART"; what the last call but one returned is overwritten. */
const char *golden_name(const char *unit, const char *part);

/* A string of the file's metadata. */
const char *golden_meta(Golden *golden, const char *key);

/* Of a tensor that was cut down, "stride.NAME" in the metadata: every how many-th value is kept, in
 * row-major order (tests/golden/make/files.py). 1 where there is none. */
int64_t golden_stride(Golden *golden, const char *name);

/* max |ours - golden| / max(1, max |golden|), the measure of tests/golden/README.md. */
double golden_error(Golden *golden, const char *name, const float *ours);

/* Fails unless golden_error is at most `tolerance`. `ours` has the tensor's shape before any
 * cutting. */
void golden_compare(Golden *golden, const char *name, const float *ours, double tolerance);

/* `count` zeros, to be freed. */
float *golden_zeros(int64_t count);

/* [n, pixels, c] to [n, c, pixels], the order of the goldens; to be freed. */
float *golden_channels_first(const float *x, int64_t n, int64_t pixels, int64_t c);

/* The share of entries whose |ours - golden| is at most `limit`; NaN never is. */
double golden_share_within(Golden *golden, const char *name, const float *ours, double limit);

#endif
