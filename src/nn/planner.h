/*
 * The choice of a plan: a stage is run dry under each plan, from the fastest to the leanest, and
 * the first that fits is taken. A dry run is the stage's own code, so what it finds is exact.
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
    bool keep; /* weights on the device are used again after the stage */
    SpPrecision precision;
} SpPlanConstraints;

/* What there is to have, in bytes. */
typedef struct SpMemoryLimits {
    size_t device; /* of the device for arena and weights */
    size_t host;   /* of host memory; with device->reads_host both come from here */
} SpMemoryLimits;

/* A plan and what the stage takes under it. */
typedef struct SpFootprint {
    SpPlan plan;
    size_t device, host;   /* most bytes of the arenas */
    size_t weights;        /* resident beside the arena */
    double moved_bytes;    /* weights and maps that go to the device */
    double work[SP_WORKS]; /* operations */
} SpFootprint;

/* What a stage takes under `plan`. Failures of the stage itself. */
SpStatus sp_plan_footprint(SpDevice *device, const SpDryRun *stage, const SpPlan *plan,
                           SpFootprint *need);

bool sp_plan_fits(const SpDevice *device, const SpFootprint *need, const SpMemoryLimits *room);

/* The fastest plan that fits, or with *fits false the leanest. SP_USAGE when the wish is for
 * weights in place and the device does not read host memory. */
SpStatus sp_plan_choose(SpDevice *device, const SpDryRun *stage, const SpPlanConstraints *wish,
                        const SpMemoryLimits *room, SpFootprint *need, bool *fits);

/* What a device does in a second, measured on a few small ops. */
typedef struct SpRates {
    double work[SP_WORKS]; /* operations */
    double moved_bytes;
} SpRates;

/* Takes about a quarter of a second on two cores. SP_MEMORY. */
SpStatus sp_rates_measure(SpDevice *device, SpPrecision precision, SpRates *rates);

/* About how long a stage takes: its operations one after another, and the copies where nothing
 * hides them. What ops do beside products, attention and convolutions is not counted. */
double sp_plan_seconds(const SpDevice *device, const SpFootprint *need, const SpRates *rates);

/* Where the weights are, "in place", "resident" or "streamed", and ", host maps" where maps wait on
 * the host. */
const char *sp_plan_mode(const SpPlan *plan);

#endif
