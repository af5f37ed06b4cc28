/*
 * Copies between host memory, which is not pinned, and the device, through two pinned buffers in
 * turn: for such memory the driver itself uses one thread, and is slower still row by row. When an
 * upload returns, its host memory may be overwritten, but the copy to the device may still be in
 * flight: small uploads stand one behind the other in a buffer.
 */
#include "kernels/cuda/transfer.h"

#include <stdlib.h>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/runtime.h"

struct SpCudaCopies {
    SpStaging staging;
    int now; /* the buffer that uploads fill */
    size_t filled;
};

SpStatus sp_cuda_copies_open(SpCuda *cuda)
{
    struct SpCudaCopies *c = calloc(1, sizeof *c);
    if (!c)
        return sp_no_memory("the CUDA device");
    cuda->copies = c;
    sp_cuda_ok(cuda, sp_staging_open(&c->staging), "the staging buffers", "open");
    return cuda->failure;
}

void sp_cuda_copies_close(SpCuda *cuda)
{
    if (cuda->copies)
        sp_staging_close(&cuda->copies->staging);
    free(cuda->copies);
    cuda->copies = NULL;
}

/* Space for `bytes` in the buffer that uploads fill. When it is full, the other one is filled next,
 * once its copies are done. */
static char *reserve(SpCuda *cuda, size_t bytes)
{
    struct SpCudaCopies *c = cuda->copies;
    if (c->filled + bytes > SP_STAGING_BYTES) {
        c->now = (c->now + 1) % SP_STAGING_BUFFERS;
        c->filled = 0;
        if (!sp_cuda_ok(cuda, cudaEventSynchronize(c->staging.used[c->now]), "an op", "copy"))
            return NULL;
    }
    char *at = c->staging.buffer[c->now] + c->filled;
    c->filled += sp_cuda_aligned(bytes);
    return at;
}

static void upload(SpCuda *cuda, const SpCopy *a)
{
    struct SpCudaCopies *c = cuda->copies;
    char *staged = reserve(cuda, a->bytes * a->rows);
    if (!staged)
        return;
    sp_staging_copy(staged, a->bytes, a->from, a->from_pitch, a->bytes, a->rows);
    cudaError_t error = cudaMemcpy2DAsync(a->to, a->to_pitch, staged, a->bytes, a->bytes, a->rows,
                                          cudaMemcpyHostToDevice, cuda->stream);
    if (error == cudaSuccess)
        error = cudaEventRecord(c->staging.used[c->now], cuda->stream);
    sp_cuda_ok(cuda, error, "an upload", "copy");
}

/* Waits for the download into buffer `b`, and copies it to its place. */
static bool finish_download(SpCuda *cuda, const SpCopy *a, int b)
{
    struct SpCudaCopies *c = cuda->copies;
    if (!sp_cuda_ok(cuda, cudaEventSynchronize(c->staging.used[b]), "an op", "copy"))
        return false;
    sp_staging_copy(a->to, a->to_pitch, c->staging.buffer[b], a->bytes, a->bytes, a->rows);
    return true;
}

static bool begin_download(SpCuda *cuda, const SpCopy *a, int b)
{
    struct SpCudaCopies *c = cuda->copies;
    cudaError_t error = cudaMemcpy2DAsync(c->staging.buffer[b], a->bytes, a->from, a->from_pitch,
                                          a->bytes, a->rows, cudaMemcpyDeviceToHost, cuda->stream);
    if (error == cudaSuccess)
        error = cudaEventRecord(c->staging.used[b], cuda->stream);
    return sp_cuda_ok(cuda, error, "a download", "copy");
}

/* Part `i` of a copy whose rows go `rows` at a time. */
static SpCopy part_of(const SpCopy *a, size_t i, size_t rows)
{
    SpCopy part = *a;
    const size_t first = i * rows;
    part.to = (char *)a->to + first * a->to_pitch;
    part.from = (const char *)a->from + first * a->from_pitch;
    part.rows = a->rows - first < rows ? a->rows - first : rows;
    return part;
}

/* While one part is in flight, the one before it is copied to its place. Buffers of uploads can be
 * used: their copies are before these on the stream, and each buffer is waited for before it is
 * read. */
static void download(SpCuda *cuda, const SpCopy *a, size_t rows)
{
    const size_t parts = (a->rows + rows - 1) / rows;
    SpCopy before = {0};
    bool good = true;
    for (size_t i = 0; i <= parts && good; i++) {
        const SpCopy part = i < parts ? part_of(a, i, rows) : before;
        if (i < parts)
            good = begin_download(cuda, &part, (int)(i % SP_STAGING_BUFFERS));
        if (i > 0)
            good = good && finish_download(cuda, &before, (int)((i - 1) % SP_STAGING_BUFFERS));
        before = part;
    }
    cuda->copies->filled = SP_STAGING_BYTES; /* uploads begin with a buffer that they wait for */
}

/* Rows of at most a buffer. */
static void copy_parts(SpCuda *cuda, const SpCopy *a)
{
    if (a->rows == 0)
        return;
    const size_t rows = SP_STAGING_BYTES / a->bytes;
    if (a->kind == SP_DOWNLOAD)
        download(cuda, a, rows);
    for (size_t i = 0; a->kind == SP_UPLOAD && i * rows < a->rows && sp_cuda_live(cuda); i++) {
        const SpCopy part = part_of(a, i, rows);
        upload(cuda, &part);
    }
}

/* All of a dense copy as rows of a buffer, then the rest of it. */
static void copy_dense(SpCuda *cuda, const SpCopy *a)
{
    const size_t row = SP_STAGING_BYTES, rows = a->bytes * a->rows / row, whole = rows * row;
    const size_t left = a->bytes * a->rows - whole;
    copy_parts(cuda, &(SpCopy){a->kind, a->to, row, a->from, row, row, rows});
    copy_parts(cuda, &(SpCopy){a->kind, (char *)a->to + whole, left, (const char *)a->from + whole,
                               left, left, left > 0});
}

void sp_cuda_copy(SpDevice *device, const SpCopy *a)
{
    SpCuda *cuda = sp_cuda(device);
    if (!sp_cuda_live(cuda) || a->bytes == 0 || a->rows == 0)
        return;
    if (a->kind == SP_ON_DEVICE)
        sp_cuda_copy_rows(cuda, a);
    else if (a->rows == 1 || (a->to_pitch == a->bytes && a->from_pitch == a->bytes))
        copy_dense(cuda, a);
    else if (a->bytes <= SP_STAGING_BYTES)
        copy_parts(cuda, a);
    else
        for (size_t r = 0; r < a->rows; r++) {
            const SpCopy row = part_of(a, r, 1);
            copy_dense(cuda, &row);
        }
}
