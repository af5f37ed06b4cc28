/* Order statistics of positive numbers, found in three passes. */
#ifndef SP_TRACKER_ORDER_H
#define SP_TRACKER_ORDER_H

#include <stdint.h>

/* How many of `count` numbers are positive. */
int64_t sp_count_positive(const float *x, int64_t count);

/* out[i]: the k[i]-th smallest (from 1) of the positive ones among `count` numbers, of which there
 * are as many. */
void sp_kth_positive(const float *x, int64_t count, const int64_t k[2], float out[2]);

#endif
