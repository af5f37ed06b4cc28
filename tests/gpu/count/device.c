#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "gpu/count/count.h"
#include "kernels/cuda/libraries.h"

enum {
    STAGED = 8 << 20, /* bytes of a pinned buffer */
    TILE = 128        /* rows and columns of a product that a block computes */
};

static size_t available_bytes;
static const SpCuda *counting; /* the device that is open */
static char uploads[STAGED], downloads[STAGED];

/* Memory that nobody may touch. */
static void *alloc_memory(SpDevice *device, size_t bytes)
{
    (void)device;
    void *memory = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void free_memory(SpDevice *device, void *memory, size_t bytes)
{
    (void)device;
    munmap(memory, bytes);
}

static void bus(const char *name, CountKind kind, double bytes)
{
    count_add(name, kind, (CountWork){.launches = 1, .bytes = bytes, .filled = 1});
}

static void prefetch(SpDevice *device, int slot, void *to, const void *from, size_t bytes)
{
    (void)device, (void)slot, (void)to, (void)from;
    bus("prefetch, beside", COUNT_BESIDE, (double)bytes);
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
    return available_bytes;
}

static SpStatus status(SpDevice *device)
{
    return sp_cuda(device)->failure;
}

static void close_counting(SpDevice *device)
{
    munmap(sp_cuda(device)->work, SP_CUDA_SCRATCH + SP_CUDA_LIBRARY);
    free(device);
}

SpDevice *count_open(int major, int processors, size_t available)
{
    const float half = 0.5f;
    SpCuda *cuda = calloc(1, sizeof *cuda);
    if (!cuda)
        abort();
    available_bytes = available;
    for (size_t i = 0; i < STAGED; i += sizeof half)
        memcpy(downloads + i, &half, sizeof half);
    cuda->device = (SpDevice){.name = "counting",
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
                              .close = close_counting};
    cuda->major = major;
    cuda->half = major >= 8 ? SP_BF16 : SP_F16;
    cuda->processors = processors;
    cuda->library_keys = SP_CUDA_LIBRARY_KEYS;
    counting = cuda;
    cuda->work = alloc_memory(&cuda->device, SP_CUDA_SCRATCH + SP_CUDA_LIBRARY);
    return &cuda->device;
}

/* The host's half of a copy, through a pinned buffer as kernels/cuda/copy.c does it. The device's
 * numbers are a half each. */
static void stage(const SpCopy *a)
{
    const size_t row = a->bytes < STAGED ? a->bytes : STAGED;
    for (size_t r = 0; r < a->rows; r++)
        for (size_t at = 0; at < a->bytes; at += row) {
            const size_t bytes = a->bytes - at < row ? a->bytes - at : row;
            const size_t in_buffer = r * row % (STAGED - row + 1) / 4 * 4;
            if (a->kind == SP_UPLOAD)
                memcpy(uploads + in_buffer, (const char *)a->from + r * a->from_pitch + at, bytes);
            else
                memcpy((char *)a->to + r * a->to_pitch + at, downloads + in_buffer, bytes);
        }
}

void sp_cuda_copy(SpDevice *device, const SpCopy *a)
{
    if (a->kind == SP_ON_DEVICE) {
        sp_cuda_copy_rows(sp_cuda(device), a);
        return;
    }
    static const char *const name[] = {[SP_UPLOAD] = "upload",
                                       [SP_DOWNLOAD] = "download",
                                       [SP_DOWNLOAD_LATER] = "download for later"};
    bus(name[a->kind], COUNT_BUS, (double)(a->bytes * a->rows));
    stage(a);
}

double count_element(bool operand)
{
    return (double)sp_dtype_size(sp_cuda_format(counting, operand));
}

/* The share of the multiprocessors that `blocks` blocks keep busy, one on each at a time. */
static double filled(const SpCuda *cuda, int64_t blocks)
{
    const int64_t rounds = (blocks + cuda->processors - 1) / cuda->processors;
    return (double)blocks / (double)(rounds * cuda->processors);
}

static bool aligned(const void *at, int64_t ld, SpDtype format)
{
    return (uintptr_t)at % 16 == 0 && ld * (int64_t)sp_dtype_size(format) % 16 == 0;
}

bool sp_cuda_blas_gemm(SpCuda *cuda, const SpGemm *a)
{
    const double operations = 2.0 * (double)a->m * (double)a->n * (double)a->k;
    const int64_t blocks = ((a->m + TILE - 1) / TILE) * ((a->n + TILE - 1) / TILE);
    const double element = (double)sp_dtype_size(a->format);
    const bool good = aligned(a->x, a->ldx, a->format) && aligned(a->w, a->ldw, a->format);
    const CountKind kind = a->format != SP_F32 ? COUNT_BF16 : a->tf32 ? COUNT_TF32 : COUNT_F32;
    static const char *const name[] = {
        [COUNT_BF16] = "product bf16", [COUNT_TF32] = "product tf32", [COUNT_F32] = "product f32"};
    count_add(name[kind], kind,
              (CountWork){.launches = 1,
                          .bytes = element * (double)(a->m * a->k + a->n * a->k) +
                                   (double)sp_dtype_size(a->y_format) * (double)(a->m * a->n) *
                                       (a->c ? 2 : 1),
                          .operations = operations,
                          .unaligned = good ? 0 : operations,
                          .filled = filled(cuda, blocks)});
    return true;
}

bool sp_cuda_dnn_conv(SpCuda *cuda, const SpConv2d *a, SpCudaConv *own)
{
    const int64_t ho = (a->h + 2 * a->pad - a->kh) / a->stride + 1;
    const int64_t wo = (a->w + 2 * a->pad - a->kw) / a->stride + 1, pixels = a->n * ho * wo;
    const int64_t taps = a->kh * a->kw * a->cin;
    const int64_t blocks = ((pixels + TILE - 1) / TILE) * ((a->cout + TILE - 1) / TILE);
    (void)own;
    count_add("convolution", cuda->tf32 ? COUNT_TF32 : COUNT_F32,
              (CountWork){.launches = 1,
                          .bytes = 4 * (double)(a->n * a->h * a->w * a->cin + pixels * a->cout),
                          .operations = 2.0 * (double)(pixels * a->cout) * (double)taps,
                          .filled = filled(cuda, blocks)});
    return true;
}

bool sp_cuda_dnn_has_attention(SpCuda *cuda, const SpFused *a)
{
    (void)a;
    return cuda->major >= 9;
}

void sp_cuda_dnn_attention(SpCuda *cuda, const SpFused *a)
{
    (void)cuda;
    const double head = (double)(a->units * a->head);
    count_add("attention, cuDNN", COUNT_FUSED,
              (CountWork){.launches = 1,
                          .bytes = 2 * head * (double)(2 * a->nq + 2 * a->nk),
                          .operations = 4 * head * (double)a->nq * (double)a->nk,
                          .filled = 1});
}
