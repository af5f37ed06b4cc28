#include "kernels/cpu/cpu.h"

const SpOps SP_FN(sp_cpu_ops) = {
    .linear = SP_FN(sp_cpu_linear),
    .layer_norm = SP_FN(sp_cpu_layer_norm),
    .attention = SP_FN(sp_cpu_attention),
    .qk_norm_rope = SP_FN(sp_cpu_qk_norm_rope),
    .conv_pack = SP_FN(sp_cpu_conv_pack),
    .conv2d = SP_FN(sp_cpu_conv2d),
    .deconv_pack = SP_FN(sp_cpu_deconv_pack),
    .deconv = SP_FN(sp_cpu_deconv),
    .resize = SP_FN(sp_cpu_resize),
    .instance_norm = SP_FN(sp_cpu_instance_norm),
    .map = SP_FN(sp_cpu_map),
    .axis_add = SP_FN(sp_cpu_axis_add),
    .modulate = SP_FN(sp_cpu_modulate),
    .copy = SP_FN(sp_cpu_copy),
};
