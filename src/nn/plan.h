/*
 * How a model runs in the memory there is: nothing here but the precision changes a result by a
 * bit.
 */
#ifndef SP_NN_PLAN_H
#define SP_NN_PLAN_H

#include "kernels/ops.h"

typedef enum SpWeightMode {
    SP_IN_PLACE, /* the ops read the mapped file: only where device->reads_host */
    SP_RESIDENT, /* all on the device before the stage begins */
    SP_STREAMED  /* one group at a time, while the next one is prefetched */
} SpWeightMode;

/* Zeroed: the fastest on the CPU. */
typedef struct SpPlan {
    SpWeightMode weights;
    bool keep_loop_weights; /* streamed: the weights of a loop stay resident while it runs */
    int64_t rows;           /* of an MLP at a time, a multiple of SP_ROW_TILE; 0: SP_NN_ROWS */
    int64_t queries;        /* of a long attention at a time, likewise; 0: all */
    bool taps_on_device;    /* outputs that a later part reads wait on the device, not the host */
    bool features_on_host;  /* feature maps that are read again and again are on the host */
    SpPrecision precision;  /* the coarsest allowed: BF16 in the parts that may be computed so */
} SpPlan;

#endif
