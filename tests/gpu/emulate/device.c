#include "gpu/emulate/device.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/libraries.h"

void emulate_wait_stream(struct CUstream_st *stream);
void emulate_wait_stream(struct CUstream_st *stream)
{
    (void)stream;
}

static void *alloc_memory(SpDevice *device, size_t bytes)
{
    (void)device;
    return aligned_alloc(SP_CUDA_ALIGN, sp_cuda_aligned(bytes));
}

static void free_memory(SpDevice *device, void *memory, size_t bytes)
{
    (void)device;
    (void)bytes;
    free(memory);
}

static void prefetch(SpDevice *device, int slot, void *to, const void *from, size_t bytes)
{
    (void)device, (void)slot;
    memcpy(to, from, bytes);
}

static void no_wait(SpDevice *device, int slot)
{
    (void)device, (void)slot;
}

static double none_hidden(SpDevice *device)
{
    (void)device;
    return 0;
}

static size_t available_memory(SpDevice *device)
{
    (void)device;
    return (size_t)1 << 30;
}

static SpStatus status(SpDevice *device)
{
    return sp_cuda(device)->failure;
}

static void close_emulated(SpDevice *device)
{
    free(sp_cuda(device)->work);
    free(device);
}

SpDevice *emulated_open(int major)
{
    SpCuda *cuda = calloc(1, sizeof *cuda);
    if (!cuda)
        abort();
    cuda->device = (SpDevice){.name = "emulated",
                              .prefers_bf16 = true,
                              .ops = sp_cuda_ops,
                              .workspace_bytes = SP_CUDA_SCRATCH + SP_CUDA_LIBRARY,
                              .available_memory = available_memory,
                              .prefetch = prefetch,
                              .wait_slot = no_wait,
                              .release_slot = no_wait,
                              .set_precision = sp_cuda_set_precision,
                              .alloc = alloc_memory,
                              .free = free_memory,
                              .status = status,
                              .hidden_seconds = none_hidden,
                              .close = close_emulated};
    cuda->major = major;
    cuda->half = major >= 8 ? SP_BF16 : SP_F16;
    cuda->processors = 1;
    cuda->work = aligned_alloc(SP_CUDA_ALIGN, SP_CUDA_SCRATCH + SP_CUDA_LIBRARY);
    if (!cuda->work)
        abort();
    /* What an op reads before it is written is NaN. */
    memset(cuda->work, 0xff, SP_CUDA_SCRATCH + SP_CUDA_LIBRARY);
    return &cuda->device;
}

void sp_cuda_copy(SpDevice *device, const SpCopy *a)
{
    if (a->kind == SP_ON_DEVICE) {
        sp_cuda_copy_rows(sp_cuda(device), a);
        return;
    }
    for (size_t r = 0; r < a->rows; r++)
        memcpy((char *)a->to + r * a->to_pitch, (const char *)a->from + r * a->from_pitch,
               a->bytes);
}

bool sp_cuda_blas_gemm(SpCuda *cuda, const SpGemm *a)
{
    (void)cuda, (void)a;
    return false;
}

bool sp_cuda_dnn_conv(SpCuda *cuda, const SpConv2d *a, SpCudaConv *own)
{
    (void)cuda, (void)a, (void)own;
    return false;
}

bool sp_cuda_dnn_has_attention(SpCuda *cuda, const SpFused *a)
{
    (void)cuda, (void)a;
    return false;
}

void sp_cuda_dnn_attention(SpCuda *cuda, const SpFused *a)
{
    (void)cuda, (void)a;
}
