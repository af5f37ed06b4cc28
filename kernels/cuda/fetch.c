/*
 * Weights to the device beside the ops. Host memory is not pinned, and reading a mapped file may
 * wait for the disk: so a thread of ours copies it through two pinned buffers of fixed size into a
 * stream of its own, while the caller goes on issuing ops. Without room in the queue the caller
 * waits.
 */
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/runtime.h"

enum {
    JOBS = 256,
    BUFFERS = 2,
    BUFFER_BYTES = 8 << 20,
    COPIERS = 4, /* threads that fill a buffer: one reaches a sixth of the bus */
    COPIER_BYTES = 1 << 18
};

typedef struct Job {
    int slot;
    char *to;
    const char *from;
    size_t bytes;
} Job;

struct SpCudaFetch {
    SpCuda *cuda;
    cudaStream_t stream;
    char *buffer[BUFFERS];
    cudaEvent_t emptied[BUFFERS]; /* the buffer's last copy is done */
    int next;                     /* buffer */
    cudaEvent_t spent[SP_FETCH_SLOTS], done[SP_FETCH_SLOTS];
    pthread_t thread;
    bool started;

    /* Under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Job job[JOBS];
    size_t head, count; /* count: those not yet handed to the stream */
    size_t pending[SP_FETCH_SLOTS];
    bool ends;
    cudaError_t error; /* the first */
};

static void fill(char *to, const char *from, size_t bytes)
{
    const int64_t parts = (int64_t)((bytes + COPIER_BYTES - 1) / COPIER_BYTES);
#pragma omp parallel for num_threads(COPIERS) schedule(static) if (parts > COPIERS)
    for (int64_t i = 0; i < parts; i++) {
        const size_t at = (size_t)i * COPIER_BYTES;
        memcpy(to + at, from + at, bytes - at < COPIER_BYTES ? bytes - at : COPIER_BYTES);
    }
}

/* Hands a job to the stream, in pieces of a buffer. */
static cudaError_t run(struct SpCudaFetch *f, const Job *job)
{
    cudaError_t error = cudaStreamWaitEvent(f->stream, f->spent[job->slot], 0);
    for (size_t at = 0; at < job->bytes && error == cudaSuccess; at += BUFFER_BYTES) {
        const size_t left = job->bytes - at, bytes = left < BUFFER_BYTES ? left : BUFFER_BYTES;
        const int b = f->next;
        f->next = (b + 1) % BUFFERS;
        error = cudaEventSynchronize(f->emptied[b]);
        if (error != cudaSuccess)
            break;
        fill(f->buffer[b], job->from + at, bytes);
        error =
            cudaMemcpyAsync(job->to + at, f->buffer[b], bytes, cudaMemcpyHostToDevice, f->stream);
        if (error == cudaSuccess)
            error = cudaEventRecord(f->emptied[b], f->stream);
    }
    return error == cudaSuccess ? cudaEventRecord(f->done[job->slot], f->stream) : error;
}

static void *work(void *argument)
{
    struct SpCudaFetch *f = argument;
    const cudaError_t first = cudaSetDevice(f->cuda->index);
    pthread_mutex_lock(&f->lock);
    f->error = first;
    while (!f->ends || f->count) {
        if (!f->count) {
            pthread_cond_wait(&f->changed, &f->lock);
            continue;
        }
        const Job job = f->job[f->head];
        cudaError_t error = f->error;
        pthread_mutex_unlock(&f->lock);
        if (error == cudaSuccess)
            error = run(f, &job);
        pthread_mutex_lock(&f->lock);
        if (f->error == cudaSuccess)
            f->error = error;
        f->head = (f->head + 1) % JOBS;
        f->count--;
        f->pending[job.slot]--;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

SpStatus sp_cuda_fetch_open(SpCuda *cuda)
{
    struct SpCudaFetch *f = calloc(1, sizeof *f);
    if (!f)
        return sp_no_memory("the CUDA device");
    cuda->fetch = f;
    f->cuda = cuda;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    cudaError_t error = cudaStreamCreateWithFlags(&f->stream, cudaStreamNonBlocking);
    for (int i = 0; i < BUFFERS && error == cudaSuccess; i++) {
        error = cudaMallocHost((void **)&f->buffer[i], BUFFER_BYTES);
        if (error == cudaSuccess)
            error = cudaEventCreateWithFlags(&f->emptied[i], cudaEventDisableTiming);
    }
    for (int i = 0; i < SP_FETCH_SLOTS && error == cudaSuccess; i++) {
        error = cudaEventCreateWithFlags(&f->spent[i], cudaEventDisableTiming);
        if (error == cudaSuccess)
            error = cudaEventCreateWithFlags(&f->done[i], cudaEventDisableTiming);
    }
    if (!sp_cuda_ok(cuda, error, "the staging buffers", "open"))
        return cuda->failure;
    if (pthread_create(&f->thread, NULL, work, f) != 0)
        return sp_error(SP_DEVICE, "cuda: cannot start the thread that copies weights");
    f->started = true;
    return sp_ok();
}

void sp_cuda_fetch_close(SpCuda *cuda)
{
    struct SpCudaFetch *f = cuda->fetch;
    if (!f)
        return;
    if (f->started) {
        pthread_mutex_lock(&f->lock);
        f->ends = true;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
        pthread_join(f->thread, NULL);
    }
    if (f->stream)
        cudaStreamSynchronize(f->stream);
    for (int i = 0; i < BUFFERS; i++) {
        if (f->emptied[i])
            cudaEventDestroy(f->emptied[i]);
        if (f->buffer[i])
            cudaFreeHost(f->buffer[i]);
    }
    for (int i = 0; i < SP_FETCH_SLOTS; i++) {
        if (f->spent[i])
            cudaEventDestroy(f->spent[i]);
        if (f->done[i])
            cudaEventDestroy(f->done[i]);
    }
    if (f->stream)
        cudaStreamDestroy(f->stream);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    cuda->fetch = NULL;
}

void sp_cuda_fetch(SpDevice *device, int slot, void *to, const void *from, size_t bytes)
{
    struct SpCudaFetch *f = sp_cuda(device)->fetch;
    if (!sp_cuda_live(sp_cuda(device)) || bytes == 0)
        return;
    pthread_mutex_lock(&f->lock);
    while (f->count == JOBS)
        pthread_cond_wait(&f->changed, &f->lock);
    f->job[(f->head + f->count) % JOBS] = (Job){slot, to, from, bytes};
    f->count++;
    f->pending[slot]++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* Until the slot's copies have been handed to their stream. */
static void wait_handed(struct SpCudaFetch *f, int slot)
{
    pthread_mutex_lock(&f->lock);
    while (f->pending[slot])
        pthread_cond_wait(&f->changed, &f->lock);
    const cudaError_t error = f->error;
    pthread_mutex_unlock(&f->lock);
    sp_cuda_ok(f->cuda, error, "a copy of weights", "fetch");
}

void sp_cuda_fetched(SpDevice *device, int slot)
{
    SpCuda *cuda = sp_cuda(device);
    wait_handed(cuda->fetch, slot);
    if (sp_cuda_live(cuda))
        sp_cuda_ok(cuda, cudaStreamWaitEvent(cuda->stream, cuda->fetch->done[slot], 0),
                   "waiting for weights", "fetched");
}

void sp_cuda_spent(SpDevice *device, int slot)
{
    SpCuda *cuda = sp_cuda(device);
    if (sp_cuda_live(cuda))
        sp_cuda_ok(cuda, cudaEventRecord(cuda->fetch->spent[slot], cuda->stream), "marking a slot",
                   "spent");
}

void sp_cuda_fetch_wait(SpCuda *cuda)
{
    struct SpCudaFetch *f = cuda->fetch;
    for (int slot = 0; f && slot < SP_FETCH_SLOTS; slot++)
        wait_handed(f, slot);
    if (f)
        sp_cuda_ok(cuda, cudaStreamSynchronize(f->stream), "a copy of weights", "fetch");
}
