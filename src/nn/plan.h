/*
 * How a model runs in the memory there is: nothing here changes a result by a bit.
 */
#ifndef SP_NN_PLAN_H
#define SP_NN_PLAN_H

#include "kernels/ops.h"

typedef enum SpWeightMode {
    SP_IN_PLACE, /* the ops read the mapped file: only where device->reads_host */
    SP_RESIDENT, /* all on the device before the stage begins */
    SP_STREAMED  /* a part at a time, the next one's copy beside this one's ops */
} SpWeightMode;

/* Zeroed: the fastest on the CPU. */
typedef struct SpPlan {
    SpWeightMode weights;
    bool keep_loop_weights; /* streamed: what runs again and again is kept while it does */
    int64_t rows;          /* that go through an MLP together, a multiple of SP_ROW_TILE; 0: 3072 */
    int64_t queries;       /* of a long attention together, likewise; 0: all */
    bool taps_on_device;   /* outputs that a later part reads wait on the device, not on the host */
    bool features_on_host; /* maps of frames that are read again and again come from the host */
    SpPrecision precision; /* the coarsest: BF16 is of the parts that may be computed so */
} SpPlan;

#endif
