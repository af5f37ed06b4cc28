/*
 * Inside of the CPU device. The files that fill SpOps are compiled once per instruction set with
 * SP_ISA defined (see meson.build); every such file names its functions SP_FN(name), so the
 * copies live side by side, and table.c collects one copy in a table that device.c picks from.
 */
#ifndef SP_KERNELS_CPU_CPU_H
#define SP_KERNELS_CPU_CPU_H

#include "kernels/ops.h"

enum {
    SP_TILE_OUTS = 512,              /* columns of a linear layer computed together */
    SP_WORK_FLOATS = 5 * 512 * 1024, /* a thread's workspace: 10 MB, touched as needed */
    SP_SHARED_FLOATS = 512 * 1024    /* workspace of an op as a whole */
};

typedef struct SpCpu {
    SpDevice device; /* first, so that the device is the SpCpu */
    int threads;
    const char *isa;
    float *work, *shared;
    size_t work_bytes;
} SpCpu;

static inline SpCpu *sp_cpu(SpDevice *device)
{
    return (SpCpu *)device;
}

/* The calling thread's workspace inside a parallel region. */
float *sp_cpu_work(SpDevice *device);

#define SP_JOIN_(a, b) a##_##b
#define SP_JOIN(a, b)  SP_JOIN_(a, b)
#define SP_FN(name)    SP_JOIN(name, SP_ISA)

/* One instruction set's ops. */
extern const SpOps sp_cpu_ops_baseline, sp_cpu_ops_avx2, sp_cpu_ops_avx512;

/* As sp_cpu_open with a given instruction set ("baseline", "avx2", "avx512"); SP_DEVICE when the
 * processor lacks it. For tests. */
SpStatus sp_cpu_open_isa(int threads, const char *isa, SpDevice **device);

#ifdef SP_ISA
void SP_FN(sp_cpu_linear)(SpDevice *, const SpLinear *);
void SP_FN(sp_cpu_layer_norm)(SpDevice *, const SpLayerNorm *);
void SP_FN(sp_cpu_attention)(SpDevice *, const SpAttention *);
void SP_FN(sp_cpu_grid_attention)(SpDevice *, const SpGridAttention *);
void SP_FN(sp_cpu_qk_norm_rope)(SpDevice *, const SpQkNormRope *);
void SP_FN(sp_cpu_conv_pack)(SpDevice *, const SpConvPack *);
void SP_FN(sp_cpu_conv2d)(SpDevice *, const SpConv2d *);
void SP_FN(sp_cpu_deconv_pack)(SpDevice *, const SpConvPack *);
void SP_FN(sp_cpu_deconv)(SpDevice *, const SpDeconv *);
void SP_FN(sp_cpu_resize)(SpDevice *, const SpResize *);
void SP_FN(sp_cpu_instance_norm)(SpDevice *, const SpInstanceNorm *);
void SP_FN(sp_cpu_map)(SpDevice *, const SpMap *);
void SP_FN(sp_cpu_axis_add)(SpDevice *, const SpAxisAdd *);
void SP_FN(sp_cpu_modulate)(SpDevice *, const SpModulate *);
void SP_FN(sp_cpu_copy)(SpDevice *, const SpCopy *);
void SP_FN(sp_cpu_sample_patches)(SpDevice *, const SpSamplePatches *);
void SP_FN(sp_cpu_correlate)(SpDevice *, const SpCorrelate *);
void SP_FN(sp_cpu_neighbours)(SpDevice *, const SpNeighbours *);
void SP_FN(sp_cpu_posenc)(SpDevice *, const SpPosenc *);
void SP_FN(sp_cpu_group_mean)(SpDevice *, const SpGroupMean *);
void SP_FN(sp_cpu_pick_rows)(SpDevice *, const SpPickRows *);
void SP_FN(sp_cpu_add_rows)(SpDevice *, const SpAddRows *);
void SP_FN(sp_cpu_scale_rows)(SpDevice *, const SpScaleRows *);
void SP_FN(sp_cpu_unit_rows)(SpDevice *, const SpUnitRows *);
void SP_FN(sp_cpu_halve)(SpDevice *, const SpHalve *);

/* y[i] = residual[i] + gain[i] * act(x[i] + b[i]) for one row; NULL parts are left out. */
void SP_FN(sp_cpu_finish_row)(const float *x, int64_t n, const float *b, SpActivation act,
                              const float *gain, const float *residual, float *y);

/* `count` weights of a float dtype from element `begin` on, as float32. */
void SP_FN(sp_cpu_widen)(const SpTensor *w, int64_t begin, int64_t count, float *out);
#endif

#endif
