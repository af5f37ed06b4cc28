/*
 * What parity tests of a model share: a synthetic checkpoint made once per test program, a
 * device and arenas of a fixed size.
 */
#ifndef SP_TESTS_MODEL_H
#define SP_TESTS_MODEL_H

#include "nn/nn.h"
#include "store/checkpoint.h"

/* Writes the checkpoint of $SP_GOLDEN_DIR/manifest/NAME.json into a new temporary folder, opens
 * it and removes the files again (the mapping stays). Fails the test on error. */
SpCheckpoint *model_checkpoint(const char *manifest);

/* The same read through its compact copy (store/compact.h). */
SpCheckpoint *model_checkpoint_compact(const char *manifest);

/* The same without values, for dry runs alone. */
SpCheckpoint *model_outline(const char *manifest);

/* A live context with that many megabytes of device and of host memory; model_close ends it. */
SpNn model_context(size_t megabytes);
void model_close(SpNn *nn);

/* The first failure of `nn` fails the test. */
void model_check(const SpNn *nn);

#endif
