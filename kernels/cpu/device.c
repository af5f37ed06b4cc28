#define _GNU_SOURCE
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "kernels/cpu/cpu.h"

static size_t available_memory(SpDevice *device)
{
    (void)device;
    return sp_memory_available();
}

static void *alloc_memory(SpDevice *device, size_t bytes)
{
    (void)device;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void free_memory(SpDevice *device, void *memory, size_t bytes)
{
    (void)device;
    munmap(memory, bytes);
}

static void set_precision(SpDevice *device, SpPrecision precision)
{
    sp_cpu(device)->precision = precision;
}

/* At once: a thread for it would cost the ops a core. */
static void prefetch(SpDevice *device, int slot, void *to, const void *from, size_t bytes)
{
    (void)device;
    (void)slot;
    memcpy(to, from, bytes);
}

static void no_wait(SpDevice *device, int slot)
{
    (void)device;
    (void)slot;
}

static double none_hidden(SpDevice *device)
{
    (void)device;
    return 0;
}

static SpStatus never_fails(SpDevice *device)
{
    (void)device;
    return sp_ok();
}

static void close_cpu(SpDevice *device)
{
    SpCpu *cpu = sp_cpu(device);
    free_memory(device, cpu->work, device->workspace_bytes);
    free(cpu);
}

float *sp_cpu_work(SpDevice *device)
{
    return sp_cpu(device)->work + (size_t)omp_get_thread_num() * SP_WORK_FLOATS;
}

static int available_threads(void)
{
    cpu_set_t set;
    const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? count : 1;
}

/* The ops of the instruction set `*isa`, NULL when the processor lacks it; of the best where `*isa`
 * is NULL, which becomes its name. */
static const SpOps *find_ops(const char **isa)
{
    const struct {
        const char *name;
        const SpOps *ops;
        bool has;
    } isas[] = {
#ifndef SP_WITHOUT_AVX512
        {"avx512_bf16", &sp_cpu_ops_avx512_bf16, sp_has_avx512_bf16()},
        {"avx512", &sp_cpu_ops_avx512, sp_has_avx512()},
#endif
        {"avx2", &sp_cpu_ops_avx2, sp_has_avx2()},
        {"baseline", &sp_cpu_ops_baseline, true},
    };
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (isas[i].has && (!*isa || strcmp(*isa, isas[i].name) == 0)) {
            *isa = isas[i].name;
            return isas[i].ops;
        }
    return NULL;
}

static bool is_free(size_t bytes, int protection)
{
    void *memory = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED && munmap(memory, bytes) == 0;
}

/* Where libgomp cannot start a thread it ends the process, so all are started here, while there is
 * room for their stacks, and for the libraries that read videos, which call a clip damaged when
 * there is none. False where there is no room. */
static bool start_threads(int threads)
{
    static const size_t LIBRARIES = (size_t)192 << 20;
    size_t stack = 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_getstacksize(&attributes, &stack);
    pthread_attr_destroy(&attributes);
    const size_t bytes = (size_t)threads * stack;
    if (!is_free(bytes, PROT_NONE) || !is_free(LIBRARIES, PROT_READ | PROT_WRITE))
        return false;
    atomic_int started = 0;
#pragma omp parallel num_threads(threads)
    atomic_fetch_add(&started, 1);
    return true;
}

SpStatus sp_cpu_open_isa(int threads, const char *isa, SpDevice **device)
{
    *device = NULL;
    const SpOps *ops = find_ops(&isa);
    if (!ops)
        return sp_error(SP_DEVICE, "this processor lacks %s", isa);
    SpCpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return sp_no_memory("the CPU device");
    threads = threads > 0 ? threads : available_threads();
    const size_t bytes = ((size_t)threads * SP_WORK_FLOATS + SP_SHARED_FLOATS) * sizeof *cpu->work;
    cpu->device = (SpDevice){.name = "cpu",
                             .isa = isa,
                             .threads = threads,
                             .ops = *ops,
                             .reads_host = true,
                             .workspace_bytes = bytes,
                             .available_memory = available_memory,
                             .set_precision = set_precision,
                             .prefetch = prefetch,
                             .wait_slot = no_wait,
                             .release_slot = no_wait,
                             .alloc = alloc_memory,
                             .free = free_memory,
                             .status = never_fails,
                             .hidden_seconds = none_hidden,
                             .close = close_cpu};
    cpu->work = alloc_memory(&cpu->device, bytes);
    if (!cpu->work || !start_threads(threads)) {
        if (cpu->work)
            free_memory(&cpu->device, cpu->work, bytes);
        free(cpu);
        return sp_error(SP_MEMORY,
                        "not enough memory for the workspace of %d threads; use fewer with "
                        "--threads",
                        threads);
    }
    cpu->shared = cpu->work + (size_t)threads * SP_WORK_FLOATS;
    *device = &cpu->device;
    return sp_ok();
}

SpStatus sp_cpu_open(int threads, SpDevice **device)
{
    return sp_cpu_open_isa(threads, NULL, device);
}
