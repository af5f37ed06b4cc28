/* Tables of times, printed as comments of the TAP output; budgets are checked on the way. */
#ifndef SP_TESTS_GPU_TIMES_H
#define SP_TESTS_GPU_TIMES_H

#include "kernels/ops.h"

/* Products, attentions and convolutions of the published front, float32 and bf16, with the
 * libraries' kernels and with ours. */
void times_of_ops(SpDevice *gpu);

/* How fast weights come to the device, as waking from level 1 does it, beside a plain copy of
 * pinned memory: at least 80 % of its rate. */
void times_of_bus(SpDevice *gpu);

/* The front with bf16 weights: 100 frames of 336x518; 80 of 294x518 resident, streamed, and within
 * 1 GB. */
void times_of_front(const char *goldens, SpDevice *gpu);

#endif
