/*
 * The choice of a plan: a stage is run dry under each plan, from the fastest to the leanest, and
 * the first that fits is chosen. A dry run is the stage's own code, so what it finds is exact.
 */
#ifndef SP_NN_PLANNER_H
#define SP_NN_PLANNER_H

#include "nn/nn.h"

/* A stage that can be run dry any number of times: `run(self, nn)` with a dry nn. */
typedef struct SpDryRun {
    SpStatus (*run)(void *self, SpNn *nn);
    void *self;
    SpWeights *weights; /* of its model */
} SpDryRun;

typedef struct SpPlanConstraints {
    bool forced; /* weights in `mode`, whatever else would fit */
    SpWeightMode mode;
    bool keep_weights; /* weights on the device are used again after the stage */
    SpPrecision precision;
} SpPlanConstraints;

/* What a stage may take, in bytes. */
typedef struct SpMemoryLimits {
    size_t device; /* arena and weights */
    size_t host;   /* host memory; with device->reads_host both come from here */
} SpMemoryLimits;

/* A plan and what the stage takes under it. */
typedef struct SpFootprint {
    SpPlan plan;
    size_t device, host;   /* peak bytes of the arenas */
    size_t weights;        /* bytes of resident weights, outside the arena */
    double moved_bytes;    /* weights and features that are copied to the device */
    double work[SP_WORKS]; /* operations */
} SpFootprint;

/* What a stage takes under `plan`. Failures of the stage itself. */
SpStatus sp_plan_footprint(SpDevice *device, const SpDryRun *stage, const SpPlan *plan,
                           SpFootprint *footprint);

/* The fastest plan within the limits, or with *fits false the leanest. SP_USAGE when the
 * constraints force weights in place and the device does not read host memory; failures of the
 * stage itself. */
SpStatus sp_plan_choose(SpDevice *device, const SpDryRun *stage,
                        const SpPlanConstraints *constraints, const SpMemoryLimits *limits,
                        SpFootprint *footprint, bool *fits);

/* What a device does in a second, measured on a few small ops. */
typedef struct SpRates {
    double work[SP_WORKS]; /* operations */
    double moved_bytes;
} SpRates;

/* Measures them in about a quarter of a second on two cores. SP_MEMORY, SP_DEVICE. */
SpStatus sp_rates_measure(SpDevice *device, SpPrecision precision, SpRates *rates);

/* About how many seconds a stage takes: its operations one after another, and the copies where
 * nothing hides them. Only products, attention and convolutions are counted. */
double sp_plan_seconds(const SpDevice *device, const SpFootprint *footprint, const SpRates *rates);

/* Where the weights are, "in place", "resident" or "streamed", and ", host maps" where features are
 * on the host; a static string. */
const char *sp_plan_mode(const SpPlan *plan);

#endif
