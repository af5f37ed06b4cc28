/* The CUDA backend's kernels as ordinary C++ (platform.cuh here), each file in its own namespace
 * because they are one unit here. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/kernel.cuh"
#include "kernels/cuda/pack.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/tiled.cuh"

namespace attention
{
#include "kernels/cuda/attention.cu"
}
namespace attention_mma
{
#include "kernels/cuda/attention_mma.cu"
}
namespace gemm
{
#include "kernels/cuda/gemm.cu"
}
namespace grid_attention
{
#include "kernels/cuda/grid_attention.cu"
}
namespace maps
{
#include "kernels/cuda/maps.cu"
}
#undef OP
namespace norm
{
#include "kernels/cuda/norm.cu"
}
namespace pack
{
#include "kernels/cuda/pack.cu"
}
namespace patches
{
#include "kernels/cuda/patches.cu"
}
namespace rows
{
#include "kernels/cuda/rows.cu"
}
