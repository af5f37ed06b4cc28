#include <stdlib.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/libraries.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/transfer.h"

static void *alloc_memory(SpDevice *device, size_t bytes)
{
    SpCuda *cuda = sp_cuda(device);
    void *memory = NULL;
    if (!sp_cuda_live(cuda))
        return NULL;
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError(); /* the caller's to report; the device goes on */
        return NULL;
    }
    if (!sp_cuda_ok(cuda, error, "cudaMalloc", "alloc"))
        return NULL;
    if (!sp_cuda_ok(cuda, cudaMemsetAsync(memory, 0, bytes, cuda->stream), "cudaMemset", "alloc") ||
        !sp_cuda_ok(cuda, cudaStreamSynchronize(cuda->stream), "an op", "alloc")) {
        cudaFree(memory);
        return NULL;
    }
    return memory;
}

static void free_memory(SpDevice *device, void *memory, size_t bytes)
{
    (void)bytes;
    sp_cuda_prefetch_finish(sp_cuda(device));
    sp_cuda_copies_finish(sp_cuda(device));
    cudaFree(memory); /* waits for the ops */
}

static size_t available_memory(SpDevice *device)
{
    size_t left = 0, all = 0;
    sp_cuda_ok(sp_cuda(device), cudaMemGetInfo(&left, &all), "cudaMemGetInfo", "available_memory");
    return left;
}

static SpStatus status(SpDevice *device)
{
    SpCuda *cuda = sp_cuda(device);
    sp_cuda_prefetch_finish(cuda);
    sp_cuda_copies_finish(cuda);
    sp_cuda_ok(cuda, cudaStreamSynchronize(cuda->stream), "an op", "the stream");
    return cuda->failure;
}

/* What is left is freed by cudaDeviceReset, which also ends the context, unless that is kept. */
static void close_cuda(SpDevice *device)
{
    SpCuda *cuda = sp_cuda(device);
    sp_cuda_prefetch_close(cuda);
    if (cuda->stream)
        cudaStreamSynchronize(cuda->stream);
    sp_cuda_copies_close(cuda);
    sp_cuda_dnn_close(cuda);
    sp_cuda_blas_close(cuda);
    if (cuda->work)
        cudaFree(cuda->work);
    if (cuda->stream)
        cudaStreamDestroy(cuda->stream);
    if (!cuda->keeps_context)
        cudaDeviceReset();
    free(cuda);
}

/* How many cards there are; 0 and the reason. (Without a driver the runtime words it as if there
 * were one.) */
static int cards(const char **why)
{
    int count = 0, driver = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    *why = error == cudaSuccess ? "the driver lists none" : cudaGetErrorString(error);
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
        *why = "no NVIDIA driver is installed";
    return error == cudaSuccess ? count : 0;
}

/* SP_DEVICE unless card `index` is one that we have code for. */
static SpStatus check_card(SpCuda *cuda, int index)
{
    const char *why;
    const int count = cards(&why);
    if (count == 0)
        return sp_error(SP_DEVICE, "cuda: no card: %s", why);
    if (index < 0 || index >= count)
        return sp_error(SP_DEVICE, "cuda: no card %d: there are %d", index, count);
    cudaDeviceGetAttribute(&cuda->major, cudaDevAttrComputeCapabilityMajor, index);
    cudaDeviceGetAttribute(&cuda->minor, cudaDevAttrComputeCapabilityMinor, index);
    cudaDeviceGetAttribute(&cuda->processors, cudaDevAttrMultiProcessorCount, index);
    if (10 * cuda->major + cuda->minor < 75)
        return sp_error(SP_DEVICE,
                        "cuda: card %d has compute capability %d.%d; 7.5 or more is needed", index,
                        cuda->major, cuda->minor);
    return sp_ok();
}

static SpStatus open_parts(SpCuda *cuda)
{
    if (!sp_cuda_ok(cuda, cudaSetDevice(cuda->index), "cudaSetDevice", "open") ||
        !sp_cuda_ok(cuda, cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking),
                    "cudaStreamCreate", "open") ||
        !sp_cuda_ok(cuda, cudaMalloc((void **)&cuda->work, cuda->device.workspace_bytes),
                    "taking the workspace", "open"))
        return cuda->failure;
    SP_TRY(sp_cuda_blas_open(cuda));
    SP_TRY(sp_cuda_dnn_open(cuda));
    SP_TRY(sp_cuda_copies_open(cuda));
    return sp_cuda_prefetch_open(cuda);
}

SpStatus sp_cuda_open(int index, SpDevice **device)
{
    *device = NULL;
    SpCuda *cuda = calloc(1, sizeof *cuda);
    if (!cuda)
        return sp_no_memory("the CUDA device");
    SpStatus failure = check_card(cuda, index);
    if (failure.code != SP_OK) {
        free(cuda);
        return failure;
    }
    cuda->index = index;
    cuda->library_keys = SP_CUDA_LIBRARY_KEYS;
    cuda->half = cuda->major >= 8 ? SP_BF16 : SP_F16;
    cuda->device = (SpDevice){.name = "cuda",
                              .prefers_bf16 = true,
                              .ops = sp_cuda_ops,
                              .workspace_bytes = SP_CUDA_SCRATCH + SP_CUDA_LIBRARY,
                              .available_memory = available_memory,
                              .set_precision = sp_cuda_set_precision,
                              .prefetch = sp_cuda_prefetch,
                              .wait_slot = sp_cuda_wait_slot,
                              .release_slot = sp_cuda_release_slot,
                              .alloc = alloc_memory,
                              .free = free_memory,
                              .status = status,
                              .hidden_seconds = sp_cuda_hidden_seconds,
                              .close = close_cuda};
    failure = open_parts(cuda);
    if (failure.code != SP_OK) {
        close_cuda(&cuda->device);
        return failure;
    }
    *device = &cuda->device;
    return sp_ok();
}

static void describe_card(FILE *stream, int index)
{
    struct cudaDeviceProp p;
    size_t left = 0, all = 0;
    if (cudaGetDeviceProperties(&p, index) != cudaSuccess || cudaSetDevice(index) != cudaSuccess) {
        fprintf(stream, "cuda %d: does not answer\n", index);
        return;
    }
    cudaMemGetInfo(&left, &all);
    cudaDeviceReset(); /* asking for free memory made a context */
    fprintf(stream, "cuda %d: %s, compute capability %d.%d, %.1f GB, %.1f GB free\n", index, p.name,
            p.major, p.minor, (double)p.totalGlobalMem / 0x1p30, (double)left / 0x1p30);
}

void sp_cuda_describe(FILE *stream)
{
    const char *why;
    const int count = cards(&why);
    int driver = 0, runtime = 0;
    if (count == 0) {
        fprintf(stream, "cuda: no card: %s\n", why);
        return;
    }
    for (int i = 0; i < count; i++)
        describe_card(stream, i);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    const size_t blas = sp_cuda_blas_version(), dnn = sp_cuda_dnn_version();
    fprintf(stream, "cuda: driver for %d.%d, toolkit %d.%d, cuBLASLt ", driver / 1000,
            driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (blas)
        fprintf(stream, "%zu.%zu.%zu, cuDNN ", blas / 10000, blas / 100 % 100, blas % 100);
    else
        fputs("missing, cuDNN ", stream);
    const size_t major = dnn < 10000 ? 1000 : 10000; /* 8.9.7 is 8907, 9.0.0 is 90000 */
    if (dnn)
        fprintf(stream, "%zu.%zu.%zu\n", dnn / major, dnn % major / 100, dnn % 100);
    else
        fputs("missing\n", stream);
}
