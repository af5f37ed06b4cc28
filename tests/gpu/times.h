/* Tables of times, printed as comments of the TAP output; budgets are checked on the way. */
#ifndef SP_TESTS_GPU_TIMES_H
#define SP_TESTS_GPU_TIMES_H

#include "kernels/ops.h"

/* Products, attentions and convolutions of the published front, float32 and bf16, with the
 * libraries' kernels and with ours. */
void times_of_ops(SpDevice *gpu, bool tiny);

/* How fast weights come to the device, as waking from level 1 does it, beside a plain copy of
 * pinned memory: a fact. */
void times_of_bus(SpDevice *gpu, bool tiny);

/* The front with bf16 weights: 100 frames of 336x518 as the planner has it and resident; 80 of
 * 294x518 resident, streamed, and within 1 GB. */
void times_of_front(const char *goldens, SpDevice *gpu);

/* That no library refused anything since the device was opened, and that they are there: our own
 * kernels would do the same at a fraction of the speed. */
void check_no_refusals(SpDevice *gpu, const char *name);

#endif
