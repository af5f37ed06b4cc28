/*
 * Copies between host memory, which is not pinned, and the device, through two pinned buffers in
 * turns: the driver's own way with such memory is one thread and, row by row, slower still. An
 * upload is done with its host memory when it returns, but the ops need not have come to it: small
 * ones lie one behind the other in a buffer.
 */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/runtime.h"

enum {
    BUFFERS = 2,
    BUFFER_BYTES = 8 << 20,
    COPIERS = 8,
    COPIER_BYTES = 1 << 18 /* at least, for a thread more */
};

struct SpCudaCopies {
    char *buffer[BUFFERS];
    cudaEvent_t used[BUFFERS]; /* the last copy from or to the buffer is done */
    int now;                   /* the buffer that uploads fill */
    size_t filled;
};

SpStatus sp_cuda_copies_open(SpCuda *cuda)
{
    struct SpCudaCopies *c = calloc(1, sizeof *c);
    if (!c)
        return sp_no_memory("the CUDA device");
    cuda->copies = c;
    cudaError_t error = cudaSuccess;
    for (int i = 0; i < BUFFERS && error == cudaSuccess; i++) {
        error = cudaMallocHost((void **)&c->buffer[i], BUFFER_BYTES);
        if (error == cudaSuccess)
            error = cudaEventCreateWithFlags(&c->used[i], cudaEventDisableTiming);
    }
    return sp_cuda_ok(cuda, error, "the staging buffers", "open") ? sp_ok() : cuda->failure;
}

void sp_cuda_copies_close(SpCuda *cuda)
{
    struct SpCudaCopies *c = cuda->copies;
    for (int i = 0; c && i < BUFFERS; i++) {
        if (c->used[i])
            cudaEventDestroy(c->used[i]);
        if (c->buffer[i])
            cudaFreeHost(c->buffer[i]);
    }
    free(c);
    cuda->copies = NULL;
}

/* Threads for so many bytes: one reaches a sixth of the bus. */
static int threads_for(size_t bytes)
{
    const size_t share = bytes / COPIER_BYTES, half = (size_t)omp_get_num_procs() / 2;
    const size_t most = half < COPIERS ? half : COPIERS;
    return share < 2 || most < 2 ? 1 : share < most ? (int)share : (int)most;
}

void sp_cuda_copy_host(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t bytes,
                       size_t rows)
{
    const int threads = threads_for(bytes * rows);
    const size_t piece = (bytes + (size_t)threads - 1) / (size_t)threads;
    const bool whole = rows > 1; /* a single row is cut */
    const int64_t parts = whole ? (int64_t)rows : threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t i = 0; i < parts; i++) {
        const size_t at = whole ? 0 : (size_t)i * piece, left = at < bytes ? bytes - at : 0;
        const size_t row = whole ? (size_t)i : 0;
        memcpy((char *)to + row * to_pitch + at, (const char *)from + row * from_pitch + at,
               whole || left < piece ? left : piece);
    }
}

/* Room for `bytes` in the buffer that uploads fill, after waiting for the other one where this one
 * is full. */
static char *room(SpCuda *cuda, size_t bytes)
{
    struct SpCudaCopies *c = cuda->copies;
    if (c->filled + bytes > BUFFER_BYTES) {
        c->now = (c->now + 1) % BUFFERS;
        c->filled = 0;
        if (!sp_cuda_ok(cuda, cudaEventSynchronize(c->used[c->now]), "an op", "copy"))
            return NULL;
    }
    char *at = c->buffer[c->now] + c->filled;
    c->filled += (bytes + SP_CUDA_ALIGN - 1) / SP_CUDA_ALIGN * SP_CUDA_ALIGN;
    return at;
}

static void upload(SpCuda *cuda, const SpCopy *a)
{
    struct SpCudaCopies *c = cuda->copies;
    char *staged = room(cuda, a->bytes * a->rows);
    if (!staged)
        return;
    sp_cuda_copy_host(staged, a->bytes, a->from, a->from_pitch, a->bytes, a->rows);
    cudaError_t error = cudaMemcpy2DAsync(a->to, a->to_pitch, staged, a->bytes, a->bytes, a->rows,
                                          cudaMemcpyHostToDevice, cuda->stream);
    if (error == cudaSuccess)
        error = cudaEventRecord(c->used[c->now], cuda->stream);
    sp_cuda_ok(cuda, error, "an upload", "copy");
}

/* What was asked for of a download, in buffer `b`, to its place. */
static bool land(SpCuda *cuda, const SpCopy *a, int b)
{
    struct SpCudaCopies *c = cuda->copies;
    if (!sp_cuda_ok(cuda, cudaEventSynchronize(c->used[b]), "an op", "copy"))
        return false;
    sp_cuda_copy_host(a->to, a->to_pitch, c->buffer[b], a->bytes, a->bytes, a->rows);
    return true;
}

static bool ask(SpCuda *cuda, const SpCopy *a, int b)
{
    struct SpCudaCopies *c = cuda->copies;
    cudaError_t error = cudaMemcpy2DAsync(c->buffer[b], a->bytes, a->from, a->from_pitch, a->bytes,
                                          a->rows, cudaMemcpyDeviceToHost, cuda->stream);
    if (error == cudaSuccess)
        error = cudaEventRecord(c->used[b], cuda->stream);
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

/* While one part comes, the one before it is put in its place. Uploads' buffers are free: their
 * copies are before these on the stream, and each buffer is waited for before it is read. */
static void download(SpCuda *cuda, const SpCopy *a, size_t rows)
{
    const size_t parts = (a->rows + rows - 1) / rows;
    SpCopy before = {0};
    bool good = true;
    for (size_t i = 0; i <= parts && good; i++) {
        const SpCopy part = i < parts ? part_of(a, i, rows) : before;
        if (i < parts)
            good = ask(cuda, &part, (int)(i % BUFFERS));
        if (i > 0)
            good = good && land(cuda, &before, (int)((i - 1) % BUFFERS));
        before = part;
    }
    cuda->copies->filled = BUFFER_BYTES; /* uploads begin with a buffer that they wait for */
}

/* All of a dense copy as rows of a buffer, the rest of it as `last`. */
static SpCopy in_buffers(const SpCopy *a, SpCopy *last)
{
    const size_t all = a->bytes * a->rows, whole = all / BUFFER_BYTES * BUFFER_BYTES;
    SpCopy rows = *a;
    rows.bytes = rows.to_pitch = rows.from_pitch = BUFFER_BYTES;
    rows.rows = whole / BUFFER_BYTES;
    *last = rows;
    last->to = (char *)a->to + whole;
    last->from = (const char *)a->from + whole;
    last->bytes = last->to_pitch = last->from_pitch = all - whole;
    last->rows = all > whole;
    return rows;
}

/* Rows of at most a buffer. */
static void copy_parts(SpCuda *cuda, const SpCopy *a)
{
    const size_t rows = a->rows ? BUFFER_BYTES / a->bytes : 1;
    if (a->kind == SP_DOWNLOAD && a->rows) {
        download(cuda, a, rows);
        return;
    }
    for (size_t i = 0; i * rows < a->rows && sp_cuda_live(cuda); i++) {
        const SpCopy part = part_of(a, i, rows);
        upload(cuda, &part);
    }
}

static void copy_dense(SpCuda *cuda, const SpCopy *a)
{
    SpCopy last;
    const SpCopy rows = in_buffers(a, &last);
    copy_parts(cuda, &rows);
    copy_parts(cuda, &last);
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
    else if (a->bytes <= BUFFER_BYTES)
        copy_parts(cuda, a);
    else
        for (size_t r = 0; r < a->rows; r++) {
            const SpCopy row = part_of(a, r, 1);
            copy_dense(cuda, &row);
        }
}
