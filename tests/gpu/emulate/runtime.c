/*
 * A CUDA runtime on the CPU. What is issued to a stream waits there until somebody waits for it, so
 * a program that reads or overwrites too early gets wrong results each time; events order streams
 * as CUDA's do. Time is the number of things done so far.
 */
#include "gpu/emulate/runtime.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef enum Kind { COPY, SET, ADD, RECORD, WAIT } Kind;

typedef struct Work {
    Kind kind;
    char *to;
    const char *from;
    size_t to_pitch, from_pitch, width, height;
    cudaEvent_t event;
    long record; /* of the event: the one recorded here, or waited for */
} Work;

enum { QUEUE = 4096 };
static const size_t MOST = (size_t)1 << 33; /* bytes that the card has */

struct CUstream_st {
    Work work[QUEUE];
    size_t head, count;
};

struct CUevent_st {
    cudaStream_t stream; /* of the last record */
    long recorded, done; /* how often */
    long time;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long fail_at, calls, held, now;
static cudaStream_t streams[8];
enum { STREAMS = sizeof streams / sizeof *streams };

void runtime_fail_at(long call)
{
    pthread_mutex_lock(&lock);
    fail_at = call;
    calls = 0;
    pthread_mutex_unlock(&lock);
}

/* As it stands between two calls. */
static long read_locked(const long *value)
{
    pthread_mutex_lock(&lock);
    const long read = *value;
    pthread_mutex_unlock(&lock);
    return read;
}

long runtime_calls(void)
{
    return read_locked(&calls);
}

long runtime_held(void)
{
    return read_locked(&held);
}

/* Begins a call; true when it is to fail. The caller ends it by leave(). */
static bool enter(void)
{
    pthread_mutex_lock(&lock);
    return ++calls == fail_at;
}

static cudaError_t leave(bool failed)
{
    pthread_mutex_unlock(&lock);
    return failed ? cudaErrorMemoryAllocation : cudaSuccess;
}

static void advance(cudaStream_t stream);

static void until(cudaEvent_t event, long record)
{
    while (event->done < record)
        advance(event->stream);
}

static void add(float *y, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

/* Does the first thing in a stream. */
static void advance(cudaStream_t stream)
{
    const Work w = stream->work[stream->head];
    stream->head = (stream->head + 1) % QUEUE;
    stream->count--;
    now++;
    if (w.kind == WAIT) {
        until(w.event, w.record);
    } else if (w.kind == RECORD) {
        w.event->done = w.record;
        w.event->time = now;
    } else if (w.kind == SET) {
        memset(w.to, (int)w.height, w.width);
    } else if (w.kind == ADD) {
        add((float *)(void *)w.to, (const float *)(const void *)w.from, w.width);
    } else {
        for (size_t r = 0; r < w.height; r++)
            memcpy(w.to + r * w.to_pitch, w.from + r * w.from_pitch, w.width);
    }
}

static void drain(cudaStream_t stream)
{
    while (stream->count)
        advance(stream);
}

void emulate_wait_stream(cudaStream_t stream);
void emulate_wait_stream(cudaStream_t stream)
{
    pthread_mutex_lock(&lock);
    drain(stream);
    pthread_mutex_unlock(&lock);
}

static void drain_all(void)
{
    for (int i = 0; i < STREAMS; i++)
        if (streams[i])
            drain(streams[i]);
}

static void issue(cudaStream_t stream, Work work)
{
    if (stream->count == QUEUE)
        advance(stream);
    stream->work[(stream->head + stream->count++) % QUEUE] = work;
}

void runtime_add(cudaStream_t stream, float *y, const float *x, size_t count)
{
    pthread_mutex_lock(&lock);
    issue(stream, (Work){.kind = ADD, .to = (char *)y, .from = (const char *)x, .width = count});
    pthread_mutex_unlock(&lock);
}

static cudaError_t alloc(void **out, size_t bytes)
{
    const bool failed = enter() || bytes > MOST;
    *out = failed ? NULL : calloc(1, bytes);
    held += *out != NULL;
    return leave(failed);
}

/* After all that was issued, as cudaFree waits for it. */
static cudaError_t release(void *memory)
{
    pthread_mutex_lock(&lock);
    drain_all();
    held -= memory != NULL;
    free(memory);
    return leave(false);
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? "out of memory" : "an error";
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    return alloc(memory, bytes);
}

cudaError_t cudaFree(void *memory)
{
    return release(memory);
}

cudaError_t cudaMallocHost(void **memory, size_t bytes)
{
    return alloc(memory, bytes);
}

cudaError_t cudaFreeHost(void *memory)
{
    return release(memory);
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    const bool failed = enter();
    if (!failed)
        issue(stream, (Work){.kind = SET, .to = memory, .width = bytes, .height = (size_t)value});
    return leave(failed);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    const bool failed = enter() || width > to_pitch || width > from_pitch;
    (void)kind;
    if (!failed)
        issue(stream, (Work){.kind = COPY,
                             .to = to,
                             .from = from,
                             .to_pitch = to_pitch,
                             .from_pitch = from_pitch,
                             .width = width,
                             .height = height});
    return leave(failed);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    const bool failed = enter();
    (void)kind;
    drain_all();
    if (!failed)
        memcpy(to, from, bytes);
    return leave(failed);
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *all)
{
    *left = *all = (size_t)1 << 30;
    return leave(enter());
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    const cudaError_t error = alloc((void **)stream, sizeof **stream);
    for (int i = 0; i < STREAMS && error == cudaSuccess; i++)
        if (!streams[i]) {
            streams[i] = *stream;
            break;
        }
    return error;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    drain_all();
    for (int i = 0; i < STREAMS; i++)
        streams[i] = streams[i] == stream ? NULL : streams[i];
    return release(stream);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    const bool failed = enter();
    drain(stream);
    return leave(failed);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    const bool failed = enter();
    (void)flags;
    if (!failed && event->recorded)
        issue(stream, (Work){.kind = WAIT, .event = event, .record = event->recorded});
    return leave(failed);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    return alloc((void **)event, sizeof **event);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    return release(event);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    const bool failed = enter();
    if (!failed) {
        event->stream = stream;
        issue(stream, (Work){.kind = RECORD, .event = event, .record = ++event->recorded});
    }
    return leave(failed);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    const bool failed = enter();
    until(event, event->recorded);
    return leave(failed);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end)
{
    pthread_mutex_lock(&lock);
    const bool known = begin->recorded && end->recorded && begin->done == begin->recorded &&
                       end->done == end->recorded;
    *milliseconds = (float)(end->time - begin->time);
    pthread_mutex_unlock(&lock);
    return known ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return leave(enter());
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    (void)device;
    memset(properties, 0, sizeof *properties);
    return leave(enter());
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    (void)device;
    *value = attribute == cudaDevAttrComputeCapabilityMajor ? 9
             : attribute == cudaDevAttrMultiProcessorCount  ? 1
                                                            : 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    (void)device;
    return leave(enter());
}

/* What is left goes with the context; here it shows as held, as nothing should be. */
cudaError_t cudaDeviceReset(void)
{
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}
