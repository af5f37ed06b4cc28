/*
 * A model's stage on any device under any plan, in exactly the memory that its dry run asks for.
 */
#ifndef SP_TESTS_GPU_STAGES_H
#define SP_TESTS_GPU_STAGES_H

#include "nn/planner.h"
#include "store/checkpoint.h"

/* Synthetic weights by GOLDENS/manifest/MANIFEST.json, made in a temporary folder whose files are
 * gone when this returns; their mapping stays. */
SpStatus synthetic_checkpoint(const char *goldens, const char *manifest, SpDtype dtype,
                              SpCheckpoint **out);

/* What a run took. */
typedef struct Took {
    size_t planned, peak; /* of the arena */
    double seconds;       /* without loading */
    double moving;        /* that loading took */
    double hidden;        /* seconds of streaming beside ops */
} Took;

/* Resident weights are loaded unless they were, and then dropped again. */
SpStatus stage_run(const SpDryRun *stage, SpDevice *device, const SpPlan *plan, Took *took);

#endif
