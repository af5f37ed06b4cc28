/* The front's goldens (docs in ../golden of the project's shared folder) for programs without a
 * test library. */
#ifndef SP_TESTS_GPU_GOLDEN_H
#define SP_TESTS_GPU_GOLDEN_H

#include "gpu/fronts.h"
#include "store/safetensors.h"

typedef struct Golden {
    SpSafetensors *file;
} Golden;

/* Opens FOLDER/NAME and prepares its frames for the model. */
SpStatus golden_read(const char *folder, const char *name, const Front *front, Golden *golden,
                     Clip *clip);
void golden_end(Golden *golden);

/* Checks poses, intrinsics, depth and confidence, every seventh pixel of the maps. */
void golden_check(const Golden *golden, const Clip *clip, const char *name, double tolerance);

#endif
