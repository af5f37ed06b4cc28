/*
 * Runs of the front network with synthetic weights, on any device and under any plan.
 */
#ifndef SP_TESTS_GPU_FRONTS_H
#define SP_TESTS_GPU_FRONTS_H

#include "front/front.h"
#include "gpu/stages.h"

/* A model with synthetic weights by a manifest ("front_tiny", "front"), or with the built-in ones.
 */
typedef struct Front {
    SpCheckpoint *checkpoint;
    SpFront *front;
} Front;
SpStatus front_make(const char *goldens, const char *manifest, SpDtype dtype, Front *out);
SpStatus front_built_in(Front *out);
void front_end(Front *front);

/* Frames and host memory for what the network makes of them. */
typedef struct Clip {
    int64_t frames, height, width;
    float *video, *depth, *confidence, *pose_enc, *c2w, *intrinsics;
} Clip;

/* Frames of noise; memory for the result. */
Clip clip_of_noise(int64_t frames, int64_t height, int64_t width);
void clip_end(Clip *clip);
/* Memory for another result of the same frames, which stay the first clip's. */
Clip clip_again(const Clip *clip);
void clip_again_end(Clip *clip);

/* A clip and the model that sees it, as the planner runs it: `stage` stays the caller's. */
typedef struct FrontStage {
    const Front *front;
    Clip *clip;
} FrontStage;
SpDryRun front_stage(const Front *front, Clip *clip, FrontStage *stage);

/* What the run needs under `plan`. */
SpStatus front_footprint(const Front *front, SpDevice *device, const SpPlan *plan, Clip *clip,
                         SpFootprint *footprint);

/* The run in exactly that memory. */
SpStatus front_run(const Front *front, SpDevice *device, const SpPlan *plan, Clip *clip,
                   Took *took);

/* The plan that fits into `budget` bytes of device memory beside the workspace; false: none does.
 */
bool front_fit(const Front *front, SpDevice *device, size_t budget, SpPrecision precision,
               Clip *clip, SpFootprint *footprint);

#endif
