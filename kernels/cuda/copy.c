/*
 * Copies between host memory, which is not pinned, and the device, through two pinned buffers in
 * turn: for such memory the driver itself uses one thread, and is slower still row by row. When an
 * upload returns, its host memory may be overwritten, but the copy to the device may still be in
 * flight: small uploads stand one behind the other in a buffer. Downloads for later have two
 * buffers of their own: while the host takes what lies in one, copies to the other go on beside the
 * ops.
 */
#include "kernels/cuda/transfer.h"

#include <stdlib.h>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/runtime.h"

enum { LATER = 64 /* downloads that lie in a buffer */ };

/* A buffer of downloads that the host has not taken yet. */
typedef struct Later {
    SpCopy copy[LATER];
    const char *at[LATER];
    int count;
    size_t filled;
} Later;

struct SpCudaCopies {
    SpStaging staging;
    int now; /* the buffer that uploads fill */
    size_t filled;
    SpStaging later_staging;
    Later later[SP_STAGING_BUFFERS];
    int later_now;
};

SpStatus sp_cuda_copies_open(SpCuda *cuda)
{
    struct SpCudaCopies *c = calloc(1, sizeof *c);
    if (!c)
        return sp_no_memory("the CUDA device");
    cuda->copies = c;
    if (sp_cuda_ok(cuda, sp_staging_open(&c->staging), "the staging buffers", "open"))
        sp_cuda_ok(cuda, sp_staging_open(&c->later_staging), "the staging buffers", "open");
    return cuda->failure;
}

void sp_cuda_copies_close(SpCuda *cuda)
{
    if (cuda->copies) {
        sp_staging_close(&cuda->copies->staging);
        sp_staging_close(&cuda->copies->later_staging);
    }
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

/* What lies in buffer `b` to its places. After a failure it is forgotten. */
static void take_later(SpCuda *cuda, int b)
{
    struct SpCudaCopies *c = cuda->copies;
    Later *l = &c->later[b];
    if (l->count && sp_cuda_live(cuda) &&
        sp_cuda_ok(cuda, cudaEventSynchronize(c->later_staging.used[b]), "an op", "copy"))
        for (int i = 0; i < l->count; i++) {
            const SpCopy *a = &l->copy[i];
            sp_staging_copy(a->to, a->to_pitch, l->at[i], a->bytes, a->bytes, a->rows);
        }
    l->count = 0;
    l->filled = 0;
}

void sp_cuda_copies_finish(SpCuda *cuda)
{
    struct SpCudaCopies *c = cuda->copies;
    for (int i = 1; c && i <= SP_STAGING_BUFFERS; i++)
        take_later(cuda, (c->later_now + i) % SP_STAGING_BUFFERS);
}

/* At most a buffer. */
static void download_later(SpCuda *cuda, const SpCopy *a)
{
    struct SpCudaCopies *c = cuda->copies;
    const size_t bytes = a->bytes * a->rows;
    Later *l = &c->later[c->later_now];
    if (l->count == LATER || l->filled + bytes > SP_STAGING_BYTES) {
        c->later_now = (c->later_now + 1) % SP_STAGING_BUFFERS;
        take_later(cuda, c->later_now);
        l = &c->later[c->later_now];
    }
    char *at = c->later_staging.buffer[c->later_now] + l->filled;
    cudaError_t error = cudaMemcpy2DAsync(at, a->bytes, a->from, a->from_pitch, a->bytes, a->rows,
                                          cudaMemcpyDeviceToHost, cuda->stream);
    if (error == cudaSuccess)
        error = cudaEventRecord(c->later_staging.used[c->later_now], cuda->stream);
    if (!sp_cuda_ok(cuda, error, "a download", "copy"))
        return;
    l->copy[l->count] = *a;
    l->at[l->count++] = at;
    l->filled += sp_cuda_aligned(bytes);
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
    if (a->kind == SP_ON_DEVICE) {
        sp_cuda_copy_rows(cuda, a);
    } else if (a->kind == SP_DOWNLOAD_LATER && a->bytes * a->rows <= SP_STAGING_BYTES) {
        download_later(cuda, a);
    } else if (a->kind == SP_DOWNLOAD_LATER) {
        SpCopy now = *a;
        now.kind = SP_DOWNLOAD;
        sp_cuda_copy(device, &now);
    } else if (a->rows == 1 || (a->to_pitch == a->bytes && a->from_pitch == a->bytes)) {
        copy_dense(cuda, a);
    } else if (a->bytes <= SP_STAGING_BYTES) {
        copy_parts(cuda, a);
    } else {
        for (size_t r = 0; r < a->rows; r++) {
            const SpCopy row = part_of(a, r, 1);
            copy_dense(cuda, &row);
        }
    }
}
