/* Order statistics of positive numbers, found in two passes. */
#ifndef SP_TRACKER_ORDER_H
#define SP_TRACKER_ORDER_H

#include <stdint.h>

/* How many of the positive numbers have each upper half of their bits. */
enum { SP_ORDER_BINS = 1 << 16 };
typedef struct SpOrder {
    uint32_t bins[SP_ORDER_BINS];
} SpOrder;

/* The first pass: returns how many of `count` numbers are positive. */
int64_t sp_order_count(const float *x, int64_t count, SpOrder *order);

/* The second one over the same numbers: out[i] is the k[i]-th smallest (from 1) positive one, of
 * which there are as many. */
void sp_order_find(const float *x, int64_t count, const SpOrder *order, const int64_t k[2],
                   float out[2]);

#endif
