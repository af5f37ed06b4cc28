/* The CUDA backend's kernels as ordinary C++ (platform.cuh here), each file in its own namespace
 * because they are one unit here. */
#include "kernels/cuda/kernel.cuh"
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
namespace window_attention
{
#include "kernels/cuda/window_attention.cu"
}
namespace image
{
#include "kernels/cuda/image.cu"
}
namespace norm
{
#include "kernels/cuda/norm.cu"
}
namespace pack
{
#include "kernels/cuda/pack.cu"
}
namespace correlation
{
#include "kernels/cuda/correlation.cu"
}
namespace rows
{
#include "kernels/cuda/rows.cu"
}
