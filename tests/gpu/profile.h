/* Where the time of a model goes on a card. */
#ifndef SP_TESTS_GPU_PROFILE_H
#define SP_TESTS_GPU_PROFILE_H

#include "kernels/ops.h"

/* Prints the milliseconds of each op inside a run of the front and, with `tracker`, of the tracker,
 * between events before and after each call: the published models (100 frames of 336x518; 80
 * frames, 1012 points) or, not `full`, the tiny front and the built-in tracker. The sum of the ops
 * beside the whole run says how long the card waited for the host. */
void profiles(const char *goldens, SpDevice *gpu, bool full, bool tracker);

#endif
