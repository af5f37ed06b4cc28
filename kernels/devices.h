/*
 * Which devices there are: the only place outside kernels/cuda that knows whether CUDA is built.
 */
#ifndef SP_KERNELS_DEVICES_H
#define SP_KERNELS_DEVICES_H

#include <stdbool.h>
#include <stdio.h>

#include "kernels/ops.h"

typedef enum SpDeviceChoice { SP_DEVICE_AUTO, SP_DEVICE_CPU, SP_DEVICE_CUDA } SpDeviceChoice;

/* Opens a device; the caller closes it with device->close. SP_DEVICE_AUTO takes the GPU where CUDA
 * is built and a driver answers, else the CPU: then *fell_back is CUDA's failure, SP_OK where CUDA
 * is not built. `threads` as in sp_cpu_open. SP_DEVICE in one line where there is no such device;
 * SP_MEMORY. */
SpStatus sp_devices_open(SpDeviceChoice choice, int threads, SpDevice **device,
                         SpStatus *fell_back);

/* Whether sp_devices_open would find a GPU, as far as that can be told without opening one, which a
 * process that starts others must not. */
bool sp_devices_expect_gpu(SpDeviceChoice choice);

/* A line or more for each device: what it is, its libraries, what memory is free (--info). */
void sp_devices_describe(FILE *stream);

#endif
