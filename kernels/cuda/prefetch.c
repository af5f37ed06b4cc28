/*
 * Host memory is not pinned, and reading a mapped file may wait for the disk: so a thread of ours
 * copies it through two pinned buffers into a stream of its own, while the caller goes on issuing
 * ops. When the queue is full, the caller waits.
 */
#include "kernels/cuda/transfer.h"

#include <pthread.h>
#include <stdlib.h>

#include "kernels/cuda/runtime.h"

enum {
    JOBS = 256,
    TIMINGS = 64 /* of prefetches whose times are not yet known */
};

typedef struct Job {
    int slot;
    char *to;
    const char *from;
    size_t bytes;
    cudaEvent_t begin; /* recorded before it, or NULL */
} Job;

/* When a slot's copies began and ended, and how long the ops waited for them: from when the ops
 * before them were done to when the ops after them could go on. */
typedef struct Timing {
    enum { FREE, OPEN, CLOSED } state;
    cudaEvent_t at[4]; /* BEGIN .. RESUMED */
} Timing;
enum { BEGIN, END, IDLE, RESUMED, EVENTS };

struct SpCudaPrefetch {
    SpCuda *cuda;
    cudaStream_t stream;
    SpStaging staging;
    int next; /* buffer */
    cudaEvent_t released[SP_PREFETCH_SLOTS], done[SP_PREFETCH_SLOTS];
    pthread_t thread;
    bool started;

    /* The caller's alone. */
    Timing timing[TIMINGS], *open[SP_PREFETCH_SLOTS]; /* open: of what now comes through a slot */
    double moving, waiting;                           /* seconds */

    /* Under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Job job[JOBS];
    size_t head, count; /* count: those not yet issued to the stream */
    size_t pending[SP_PREFETCH_SLOTS];
    bool ends;
    cudaError_t error; /* the first */
};

/* Issues a job to the stream, in pieces of a buffer. */
static cudaError_t run(struct SpCudaPrefetch *f, const Job *job)
{
    cudaError_t error = cudaStreamWaitEvent(f->stream, f->released[job->slot], 0);
    if (error == cudaSuccess && job->begin)
        error = cudaEventRecord(job->begin, f->stream);
    for (size_t at = 0; at < job->bytes && error == cudaSuccess; at += SP_STAGING_BYTES) {
        const size_t left = job->bytes - at,
                     bytes = left < SP_STAGING_BYTES ? left : SP_STAGING_BYTES;
        const int b = f->next;
        f->next = (b + 1) % SP_STAGING_BUFFERS;
        error = cudaEventSynchronize(f->staging.used[b]);
        if (error != cudaSuccess)
            break;
        sp_staging_copy(f->staging.buffer[b], bytes, job->from + at, bytes, bytes, 1);
        error = cudaMemcpyAsync(job->to + at, f->staging.buffer[b], bytes, cudaMemcpyHostToDevice,
                                f->stream);
        if (error == cudaSuccess)
            error = cudaEventRecord(f->staging.used[b], f->stream);
    }
    return error == cudaSuccess ? cudaEventRecord(f->done[job->slot], f->stream) : error;
}

static void *work(void *argument)
{
    struct SpCudaPrefetch *f = argument;
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

static cudaError_t make_events(cudaEvent_t *event, int count, unsigned flags)
{
    cudaError_t error = cudaSuccess;
    for (int i = 0; i < count && error == cudaSuccess; i++)
        error = cudaEventCreateWithFlags(&event[i], flags);
    return error;
}

static void destroy_events(cudaEvent_t *event, int count)
{
    for (int i = 0; i < count && event[i]; i++)
        cudaEventDestroy(event[i]);
}

/* Adds up a closed timing, if its copies and ops are done. */
static void read_timing(struct SpCudaPrefetch *f, Timing *t)
{
    float moving = 0, waiting = 0;
    const bool known = cudaEventElapsedTime(&moving, t->at[BEGIN], t->at[END]) == cudaSuccess &&
                       cudaEventElapsedTime(&waiting, t->at[IDLE], t->at[RESUMED]) == cudaSuccess;
    if (!known) {
        cudaGetLastError(); /* "not ready" is none of the ops' failures */
        return;
    }
    t->state = FREE;
    f->moving += (double)moving / 1000;
    f->waiting += (double)waiting / 1000;
}

static void read_timings(struct SpCudaPrefetch *f)
{
    for (int i = 0; i < TIMINGS; i++)
        if (f->timing[i].state == CLOSED)
            read_timing(f, &f->timing[i]);
}

/* A free timing, now open; NULL when there is none: then the copies are not counted. */
static Timing *open_timing(struct SpCudaPrefetch *f)
{
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < TIMINGS; i++)
            if (f->timing[i].state == FREE) {
                f->timing[i].state = OPEN;
                return &f->timing[i];
            }
        read_timings(f);
    }
    return NULL;
}

SpStatus sp_cuda_prefetch_open(SpCuda *cuda)
{
    struct SpCudaPrefetch *f = calloc(1, sizeof *f);
    if (!f)
        return sp_no_memory("the CUDA device");
    cuda->prefetch = f;
    f->cuda = cuda;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    cudaError_t error = cudaStreamCreateWithFlags(&f->stream, cudaStreamNonBlocking);
    if (error == cudaSuccess)
        error = sp_staging_open(&f->staging);
    if (error == cudaSuccess)
        error = make_events(f->released, SP_PREFETCH_SLOTS, cudaEventDisableTiming);
    if (error == cudaSuccess)
        error = make_events(f->done, SP_PREFETCH_SLOTS, cudaEventDisableTiming);
    for (int i = 0; i < TIMINGS && error == cudaSuccess; i++)
        error = make_events(f->timing[i].at, EVENTS, cudaEventDefault);
    if (!sp_cuda_ok(cuda, error, "the staging buffers", "open"))
        return cuda->failure;
    if (pthread_create(&f->thread, NULL, work, f) != 0)
        return sp_error(SP_DEVICE, "cuda: cannot start the thread that copies weights");
    f->started = true;
    return sp_ok();
}

void sp_cuda_prefetch_close(SpCuda *cuda)
{
    struct SpCudaPrefetch *f = cuda->prefetch;
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
    sp_staging_close(&f->staging);
    destroy_events(f->released, SP_PREFETCH_SLOTS);
    destroy_events(f->done, SP_PREFETCH_SLOTS);
    for (int i = 0; i < TIMINGS; i++)
        destroy_events(f->timing[i].at, EVENTS);
    if (f->stream)
        cudaStreamDestroy(f->stream);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    cuda->prefetch = NULL;
}

void sp_cuda_prefetch(SpDevice *device, int slot, void *to, const void *from, size_t bytes)
{
    struct SpCudaPrefetch *f = sp_cuda(device)->prefetch;
    cudaEvent_t begin = NULL;
    if (!sp_cuda_live(sp_cuda(device)) || bytes == 0)
        return;
    if (!f->open[slot] && (f->open[slot] = open_timing(f)))
        begin = f->open[slot]->at[BEGIN];
    pthread_mutex_lock(&f->lock);
    while (f->count == JOBS)
        pthread_cond_wait(&f->changed, &f->lock);
    f->job[(f->head + f->count) % JOBS] = (Job){slot, to, from, bytes, begin};
    f->count++;
    f->pending[slot]++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* Until the slot's copies have been issued to their stream. */
static void wait_issued(struct SpCudaPrefetch *f, int slot)
{
    pthread_mutex_lock(&f->lock);
    while (f->pending[slot])
        pthread_cond_wait(&f->changed, &f->lock);
    const cudaError_t error = f->error;
    pthread_mutex_unlock(&f->lock);
    sp_cuda_ok(f->cuda, error, "a copy of weights", "prefetch");
}

void sp_cuda_wait_slot(SpDevice *device, int slot)
{
    SpCuda *cuda = sp_cuda(device);
    struct SpCudaPrefetch *f = cuda->prefetch;
    Timing *timing = f->open[slot];
    if (sp_cuda_live(cuda) && timing)
        sp_cuda_ok(cuda, cudaEventRecord(timing->at[IDLE], cuda->stream), "an event", "wait");
    wait_issued(f, slot);
    if (!sp_cuda_live(cuda))
        return;
    cudaError_t error = cudaStreamWaitEvent(cuda->stream, f->done[slot], 0);
    if (error == cudaSuccess && timing) {
        error = cudaEventRecord(timing->at[END], f->stream);
        if (error == cudaSuccess)
            error = cudaEventRecord(timing->at[RESUMED], cuda->stream);
        timing->state = CLOSED;
        f->open[slot] = NULL;
    }
    sp_cuda_ok(cuda, error, "waiting for weights", "wait");
}

double sp_cuda_hidden_seconds(SpDevice *device)
{
    struct SpCudaPrefetch *f = sp_cuda(device)->prefetch;
    read_timings(f);
    const double hidden = f->moving - f->waiting;
    f->moving = f->waiting = 0;
    return hidden > 0 ? hidden : 0;
}

void sp_cuda_release_slot(SpDevice *device, int slot)
{
    SpCuda *cuda = sp_cuda(device);
    if (sp_cuda_live(cuda))
        sp_cuda_ok(cuda, cudaEventRecord(cuda->prefetch->released[slot], cuda->stream),
                   "marking a slot", "release");
}

void sp_cuda_prefetch_finish(SpCuda *cuda)
{
    struct SpCudaPrefetch *f = cuda->prefetch;
    for (int slot = 0; f && slot < SP_PREFETCH_SLOTS; slot++)
        wait_issued(f, slot);
    if (f)
        sp_cuda_ok(cuda, cudaStreamSynchronize(f->stream), "a copy of weights", "prefetch");
}
