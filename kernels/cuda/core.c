#include "kernels/cuda/core.h"

void sp_cuda_fail(SpCuda *cuda, SpCode code, const char *what, const char *where,
                  const char *reason)
{
    if (sp_cuda_live(cuda))
        cuda->failure = sp_error(code, "cuda: %s failed in %s: %s", what, where, reason);
}

void *sp_cuda_scratch(SpCuda *cuda, size_t bytes)
{
    const size_t rounded = sp_cuda_aligned(bytes);
    if (rounded > sp_cuda_scratch_left(cuda)) {
        sp_cuda_fail(cuda, SP_DEVICE, "an op", "the workspace",
                     "its operands are larger than any model's");
        return NULL;
    }
    char *at = cuda->work + cuda->scratch_used;
    cuda->scratch_used += rounded;
    return at;
}

void sp_cuda_set_precision(SpDevice *device, SpPrecision precision)
{
    SpCuda *cuda = sp_cuda(device);
    cuda->format = precision == SP_PRECISION_BF16 ? cuda->half : SP_F32;
    cuda->tf32 = precision == SP_PRECISION_TF32 && cuda->major >= 8;
}
