/*
 * One call of each op on small odd shapes, for any device whose results are then held against the
 * CPU's: the emulated CUDA device in the ordinary tests, the real one in tests/gpu/run.
 */
#ifndef SP_TESTS_GPU_OPS_H
#define SP_TESTS_GPU_OPS_H

#include "kernels/ops.h"

/* Runs the op on `device` with inputs of its own; the result goes to y [count], host memory, which
 * holds op_noise("y") before. `tolerance` is of |difference| / max(1, |CPU's|) in float32,
 * half_tolerance in bf16 and f16; 0 where the format does not matter to the op. TF32 has three bits
 * more than bf16. */
typedef struct OpCase {
    const char *name;
    void (*run)(SpDevice *device, float *y);
    int64_t count;
    double tolerance, half_tolerance;
    bool slow; /* too much for an emulated device */
} OpCase;

/* What the case may differ by in a format; negative: it is left out there. */
double op_tolerance(const OpCase *c, SpPrecision precision);

/* The i-th case, NULL behind the last. */
const OpCase *op_case(size_t i);

/* Where the cases are. */
extern const OpCase op_products[], op_small[];
extern const size_t op_products_count, op_small_count;

/* `count` numbers of [-1, 1) that depend on the name alone; the caller frees them. Ends the program
 * when there is no memory. */
float *op_noise(const char *name, int64_t count);

#endif
