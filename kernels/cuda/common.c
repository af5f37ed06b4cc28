/* The table of ops, the sticky failure and the scratch: what needs nothing of CUDA. */
#include "kernels/cuda/internal.h"

const SpOps sp_cuda_ops = {
    .linear = sp_cuda_linear,
    .layer_norm = sp_cuda_layer_norm,
    .attention = sp_cuda_attention,
    .grid_attention = sp_cuda_grid_attention,
    .qk_norm_rope = sp_cuda_qk_norm_rope,
    .conv_pack = sp_cuda_conv_pack,
    .conv2d = sp_cuda_conv2d,
    .deconv_pack = sp_cuda_deconv_pack,
    .deconv = sp_cuda_deconv,
    .resize = sp_cuda_resize,
    .instance_norm = sp_cuda_instance_norm,
    .map = sp_cuda_map,
    .axis_add = sp_cuda_axis_add,
    .modulate = sp_cuda_modulate,
    .copy = sp_cuda_copy,
    .sample_patches = sp_cuda_sample_patches,
    .correlate = sp_cuda_correlate,
    .neighbours = sp_cuda_neighbours,
    .posenc = sp_cuda_posenc,
    .group_mean = sp_cuda_group_mean,
    .pick_rows = sp_cuda_pick_rows,
    .add_rows = sp_cuda_add_rows,
    .scale_rows = sp_cuda_scale_rows,
    .unit_rows = sp_cuda_unit_rows,
    .halve = sp_cuda_halve,
};

void sp_cuda_fail(SpCuda *cuda, SpCode code, const char *what, const char *where,
                  const char *reason)
{
    if (sp_cuda_live(cuda))
        cuda->failure = sp_error(code, "cuda: %s failed in %s: %s", what, where, reason);
}

void *sp_cuda_scratch(SpCuda *cuda, size_t bytes)
{
    const size_t rounded = (bytes + SP_CUDA_ALIGN - 1) / SP_CUDA_ALIGN * SP_CUDA_ALIGN;
    if (rounded > sp_cuda_scratch_left(cuda)) {
        sp_cuda_fail(cuda, SP_DEVICE, "an op", "the workspace",
                     "its operands are larger than any model's");
        return NULL;
    }
    char *at = cuda->work + cuda->taken;
    cuda->taken += rounded;
    return at;
}
