/*
 * The CPU backend's parity tests on a GPU, unchanged (ld --wrap). They hand the ops host arrays and
 * read what an op wrote as if it were their own memory; here it is: heap, stack and mapped files
 * are pinned host memory, which a card reads and writes through the bus, sp_cpu_open opens the
 * card, and every launch is waited for. Slow, but the kernels and libraries are the real ones. What
 * this leaves out (device memory, streams, residency) is for tests/gpu/gpu.c.
 */
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/cuda/cuda.h"
#include "support/golden.h"

void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void __real_free(void *memory);
void *__real_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset);
int __real_munmap(void *memory, size_t size);
int __real_main(int argc, char **argv);
void __real_golden_compare(Golden *golden, const char *name, const float *ours, double tolerance);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void __wrap_free(void *memory);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset);
int __wrap_munmap(void *memory, size_t size);
int __wrap_main(int argc, char **argv);
void __wrap_golden_compare(Golden *golden, const char *name, const float *ours, double tolerance);
SpStatus __wrap_sp_cpu_open(int threads, SpDevice **device);

enum { HEADER = 64, SMALL = 1 << 16, SLAB = 512 << 20, BLOCKS = 4096, STACK = 64 << 20 };

/* Pinned memory: a slab, of which small pieces are cut and not used again, or one large piece. */
typedef struct Block {
    char *base;
    size_t size;
    bool slab, used;
} Block;

static Block block[BLOCKS];
static int blocks;
static size_t slab_used = SLAB;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool ready;
static _Thread_local bool inside; /* what the runtime allocates while it pins stays ordinary */

static Block *pin(size_t size, bool slab)
{
    void *base = NULL;
    inside = true;
    const cudaError_t error = cudaHostAlloc(&base, size, cudaHostAllocPortable);
    inside = false;
    if (error != cudaSuccess || blocks == BLOCKS) {
        fprintf(stderr, "cannot pin %zu MB: %s\n", size >> 20, cudaGetErrorString(error));
        exit(1);
    }
    block[blocks] = (Block){base, size, slab, true};
    return &block[blocks++];
}

static char *slab;

static char *cut(size_t size)
{
    if (slab_used + size > SLAB) {
        slab = pin(SLAB, true)->base;
        slab_used = 0;
    }
    slab_used += size;
    return slab + slab_used - size;
}

/* A block freed before that is not much too large, or a new one. */
static char *large(size_t size)
{
    for (int i = 0; i < blocks; i++)
        if (!block[i].used && block[i].size >= size && block[i].size <= 2 * size) {
            block[i].used = true;
            return block[i].base;
        }
    return pin(size, false)->base;
}

/* Aligned to HEADER. */
static void *alloc_block(size_t size)
{
    const size_t bytes = HEADER + (size + HEADER - 1) / HEADER * HEADER;
    pthread_mutex_lock(&lock);
    char *base = bytes < SMALL ? cut(bytes) : large(bytes);
    pthread_mutex_unlock(&lock);
    memcpy(base, &size, sizeof size);
    return base + HEADER;
}

static Block *block_of(const void *memory)
{
    const char *at = memory;
    for (int i = 0; i < blocks; i++)
        if (at >= block[i].base && at < block[i].base + block[i].size)
            return &block[i];
    return NULL;
}

static bool ordinary(void)
{
    return !ready || inside;
}

void *__wrap_malloc(size_t size)
{
    return ordinary() ? __real_malloc(size) : alloc_block(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = __wrap_malloc(count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return ordinary() || align > HEADER ? __real_aligned_alloc(align, size) : alloc_block(size);
}

void __wrap_free(void *memory)
{
    pthread_mutex_lock(&lock);
    Block *from = block_of(memory);
    if (from && !from->slab)
        from->used = false;
    pthread_mutex_unlock(&lock);
    if (!from)
        __real_free(memory);
}

void *__wrap_realloc(void *old, size_t size)
{
    size_t before = 0;
    if (old && !block_of(old))
        return __real_realloc(old, size);
    void *memory = __wrap_malloc(size);
    if (old)
        memcpy(&before, (char *)old - HEADER, sizeof before);
    if (memory && old)
        memcpy(memory, old, before < size ? before : size);
    __wrap_free(old);
    return memory;
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    if (ordinary() || file < 0)
        return __real_mmap(at, size, protection, flags, file, offset);
    char *memory = alloc_block(size);
    for (size_t done = 0; done < size;) {
        const ssize_t some = pread(file, memory + done, size - done, offset + (off_t)done);
        if (some <= 0)
            return MAP_FAILED;
        done += (size_t)some;
    }
    return memory;
}

int __wrap_munmap(void *memory, size_t size)
{
    if (!block_of(memory))
        return __real_munmap(memory, size);
    __wrap_free(memory);
    return 0;
}

static void *alloc_memory(SpDevice *device, size_t bytes)
{
    (void)device;
    return __wrap_calloc(1, bytes);
}

static void free_memory(SpDevice *device, void *memory, size_t bytes)
{
    (void)bytes;
    device->status(device);
    __wrap_free(memory);
}

static void copy(SpDevice *device, const SpCopy *a)
{
    device->status(device);
    for (size_t r = 0; r < a->rows; r++)
        memcpy((char *)a->to + r * a->to_pitch, (const char *)a->from + r * a->from_pitch,
               a->bytes);
}

static void stay_open(SpDevice *device)
{
    device->status(device);
}

SpStatus __wrap_sp_cpu_open(int threads, SpDevice **device)
{
    static SpDevice *card;
    (void)threads;
    if (!card) {
        SP_TRY(sp_cuda_open(0, &card));
        card->reads_host = true;
        card->alloc = alloc_memory;
        card->free = free_memory;
        card->ops.copy = copy;
        card->close = stay_open;
    }
    *device = card;
    return sp_ok();
}

/* The card's sums have another order than the recorded ones: the tolerances are the CPU's. */
void __wrap_golden_compare(Golden *golden, const char *name, const float *ours, double tolerance)
{
    const double slack = 5;
    __real_golden_compare(golden, name, ours, slack * tolerance);
}

typedef struct Start {
    int argc, result;
    char **argv;
} Start;

static void *begin(void *argument)
{
    Start *start = argument;
    start->result = __real_main(start->argc, start->argv);
    return NULL;
}

/* The tests on a stack of pinned memory: some of their arrays are local. */
int __wrap_main(int argc, char **argv)
{
    Start start = {argc, 1, argv};
    pthread_attr_t attributes;
    pthread_t thread;
    int count = 0;
    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
        puts("no GPU to test on");
        return 77;
    }
    void *stack = pin(STACK, true)->base;
    cut(0); /* the first slab: pinning asks the runtime, which must not come to ask for more */
    ready = true;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack, STACK) != 0 ||
        pthread_create(&thread, &attributes, begin, &start) != 0) {
        puts("cannot start the tests");
        return 1;
    }
    pthread_join(thread, NULL);
    return start.result;
}
