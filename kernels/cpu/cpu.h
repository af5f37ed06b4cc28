/*
 * The inside of the CPU device. The files that fill SpOps are compiled once per instruction set
 * with SP_ISA defined (see meson.build); every such file names its functions SP_FN(name), so the
 * copies live side by side, and table.c collects one copy in a table that device.c picks from.
 */
#ifndef SP_KERNELS_CPU_CPU_H
#define SP_KERNELS_CPU_CPU_H

#include "base/isa.h"
#include "kernels/ops.h"

enum {
    SP_WORK_FLOATS = 13 << 17,     /* a thread's workspace: 6.5 MB, touched as needed */
    SP_SHARED_FLOATS = 512 * 1024, /* workspace of an op as a whole */
    SP_WORTH_THREADS = 1 << 21     /* multiplications of an op that is worth waking threads */
};

typedef struct SpCpu {
    SpDevice device; /* first, so that the device is the SpCpu */
    float *work, *shared;
    SpPrecision precision; /* of operands of linear layers and convolutions: BF16, else F32 */
} SpCpu;

static inline SpCpu *sp_cpu(SpDevice *device)
{
    return (SpCpu *)device;
}

/* The calling thread's workspace inside a parallel region. */
float *sp_cpu_work(SpDevice *device);

/* How many threads share an op of so many multiplications, or what takes as long. */
static inline int sp_cpu_threads(const SpDevice *device, int64_t multiplications)
{
    return multiplications < SP_WORTH_THREADS ? 1 : device->threads;
}

/* One instruction set's ops. */
extern const SpOps sp_cpu_ops_baseline, sp_cpu_ops_avx2, sp_cpu_ops_avx512, sp_cpu_ops_avx512_bf16;

/* As sp_cpu_open with the instruction set of that name; SP_DEVICE when the processor lacks it. For
 * tests. */
SpStatus sp_cpu_open_isa(int threads, const char *isa, SpDevice **device);

#ifdef SP_ISA
#define SP_CPU_OP(op, type) void SP_FN(sp_cpu_##op)(SpDevice *, const type *);
SP_EACH_OP(SP_CPU_OP)

/* y = residual + gain * act(x + b) for `rows` rows of n values; NULL parts are left out. */
typedef struct SpEpilogue {
    int64_t rows, n;
    const float *x;
    int64_t ldx;
    const float *b; /* [n] */
    SpActivation act;
    const float *gain, *residual; /* [n]; rows ldr apart */
    int64_t ldr;
    float *y;
    int64_t ldy;
} SpEpilogue;

#define sp_cpu_epilogue SP_FN(sp_cpu_epilogue)
void sp_cpu_epilogue(const SpEpilogue *a);

#endif

#endif
