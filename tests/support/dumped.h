/*
 * The intermediate tensors that a run hands over (nn/dump.h), kept to be compared with goldens.
 */
#ifndef SP_TESTS_DUMPED_H
#define SP_TESTS_DUMPED_H

#include "nn/dump.h"
#include "support/golden.h"

typedef struct Dumped Dumped;

/* Keeps what `nn` dumps from now on; dumped_end releases it. */
Dumped *dumped_begin(SpNn *nn);
void dumped_end(SpNn *nn, Dumped *dumped);

/* The values of all tensors of that name, one after another; there must be such. */
const float *dumped_values(const Dumped *dumped, const char *name, int64_t *count);

/* golden_compare for each tensor UNIT/NAME that the golden has as PREFIX.NAME (or NAME, where
 * prefix is NULL), which holds at least its first values. Returns how many these are. */
int dumped_compare(const Dumped *dumped, const char *unit, Golden *golden, const char *prefix,
                   double tolerance);

#endif
