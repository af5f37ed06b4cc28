#define _GNU_SOURCE
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

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

/* There is one format. Prefetches copy at once: a thread for them would cost the ops a core. */
static void set_precision(SpDevice *device, SpPrecision precision)
{
    (void)device;
    (void)precision;
}

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
    free_memory(device, cpu->work, cpu->work_bytes);
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

static bool has_isa(const char *isa)
{
    if (strcmp(isa, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (strcmp(isa, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return strcmp(isa, "baseline") == 0;
}

SpStatus sp_cpu_open_isa(int threads, const char *isa, SpDevice **device)
{
    *device = NULL;
    if (!has_isa(isa))
        return sp_error(SP_DEVICE, "this processor lacks %s", isa);
    SpCpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return sp_no_memory("the CPU device");
    cpu->threads = threads > 0 ? threads : available_threads();
    cpu->isa = isa;
    cpu->device = (SpDevice){.name = "cpu",
                             .ops = strcmp(isa, "avx512") == 0 ? sp_cpu_ops_avx512
                                    : strcmp(isa, "avx2") == 0 ? sp_cpu_ops_avx2
                                                               : sp_cpu_ops_baseline,
                             .reads_host = true,
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
    cpu->work_bytes =
        ((size_t)cpu->threads * SP_WORK_FLOATS + SP_SHARED_FLOATS) * sizeof *cpu->work;
    cpu->work = alloc_memory(&cpu->device, cpu->work_bytes);
    cpu->device.workspace_bytes = cpu->work_bytes;
    if (!cpu->work || !sp_gemm_prepare(cpu->threads)) {
        if (cpu->work)
            free_memory(&cpu->device, cpu->work, cpu->work_bytes);
        const int used = cpu->threads;
        free(cpu);
        return sp_error(SP_MEMORY,
                        "not enough memory for the workspace of %d threads; use fewer "
                        "with --threads",
                        used);
    }
    cpu->shared = cpu->work + (size_t)cpu->threads * SP_WORK_FLOATS;
    *device = &cpu->device;
    return sp_ok();
}

SpStatus sp_cpu_open(int threads, SpDevice **device)
{
    return sp_cpu_open_isa(threads,
                           has_isa("avx512") ? "avx512"
                           : has_isa("avx2") ? "avx2"
                                             : "baseline",
                           device);
}

int sp_cpu_threads(const SpDevice *device)
{
    return ((const SpCpu *)(const void *)device)->threads;
}

const char *sp_cpu_isa(const SpDevice *device)
{
    return ((const SpCpu *)device)->isa;
}
