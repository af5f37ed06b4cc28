/* The CPU backend's parity tests on the emulated CUDA device, unchanged (ld --wrap): its memory is
 * host memory, so they may read what an op wrote. */
#include "gpu/emulate/device.h"

SpStatus __wrap_sp_cpu_open(int threads, SpDevice **device);

SpStatus __wrap_sp_cpu_open(int threads, SpDevice **device)
{
    (void)threads;
    *device = emulated_open(8);
    (*device)->reads_host = true;
    return sp_ok();
}
