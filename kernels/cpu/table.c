#include "kernels/cpu/cpu.h"

#define ENTRY(op, type) .op = SP_FN(sp_cpu_##op),
const SpOps SP_FN(sp_cpu_ops) = {SP_EACH_OP(ENTRY)};
