#include "kernels/cuda/core.h"

#define ENTRY(op, type) .op = sp_cuda_##op,
const SpOps sp_cuda_ops = {SP_EACH_OP(ENTRY)};
