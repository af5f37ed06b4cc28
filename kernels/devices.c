#include "kernels/devices.h"

#include <omp.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

#ifdef SP_CUDA
#include "kernels/cuda/cuda.h"
enum { HAS_CUDA = 1 };
#else
enum { HAS_CUDA = 0 };

static SpStatus sp_cuda_open(int index, SpDevice **device)
{
    (void)index;
    *device = NULL;
    return sp_error(SP_DEVICE, "this spatrack is built without CUDA; use --device cpu or build it "
                               "with -Dcuda=enabled");
}

static void sp_cuda_describe(FILE *stream)
{
    fputs("cuda: not built in\n", stream);
}
#endif

/* With threads for what the host computes beside it, the bundle adjustment above all. */
static SpStatus open_cuda(int threads, SpDevice **device)
{
    SP_TRY(sp_cuda_open(0, device));
    (*device)->threads = threads > 0 ? threads : omp_get_num_procs();
    return sp_ok();
}

SpStatus sp_devices_open(SpDeviceChoice choice, int threads, SpDevice **device, SpStatus *fell_back)
{
    *fell_back = sp_ok();
    if (choice == SP_DEVICE_CUDA)
        return open_cuda(threads, device);
    if (choice == SP_DEVICE_AUTO && HAS_CUDA) {
        *fell_back = open_cuda(threads, device);
        if (fell_back->code == SP_OK)
            return sp_ok();
    }
    return sp_cpu_open(threads, device);
}

bool sp_devices_expect_gpu(SpDeviceChoice choice)
{
    return HAS_CUDA && choice != SP_DEVICE_CPU &&
           (access("/dev/nvidiactl", F_OK) == 0 || access("/dev/dxg", F_OK) == 0);
}

/* The processor's name as Linux reports it. */
static void processor(char *out, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    snprintf(out, size, "processor");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (colon) {
            snprintf(out, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    if (file)
        fclose(file);
}

void sp_devices_describe(FILE *stream)
{
    char name[200];
    SpDevice *cpu;
    processor(name, sizeof name);
    const SpStatus status = sp_cpu_open(0, &cpu);
    if (status.code != SP_OK) {
        fprintf(stream, "cpu: %s: %s\n", name, status.text);
    } else {
        fprintf(stream, "cpu: %s, %d threads, %s, %zu MB of memory free\n", name, cpu->threads,
                cpu->isa, sp_memory_available() >> 20);
        cpu->close(cpu);
    }
    sp_cuda_describe(stream);
}
