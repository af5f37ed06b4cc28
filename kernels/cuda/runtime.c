#include "kernels/cuda/runtime.h"

#include <dlfcn.h>
#include <stdio.h>

static const char *const FOLDERS[] = {"", "/usr/local/cuda/lib64/", "/usr/local/cuda/lib/"};

bool sp_cuda_ok(SpCuda *cuda, cudaError_t error, const char *what, const char *where)
{
    if (error == cudaSuccess)
        return true;
    cudaGetLastError(); /* or the next launch would find it again */
    sp_cuda_fail(cuda, error == cudaErrorMemoryAllocation ? SP_MEMORY : SP_DEVICE, what, where,
                 cudaGetErrorString(error));
    return false;
}

void sp_cuda_launched(SpCuda *cuda, const char *kernel)
{
    sp_cuda_ok(cuda, cudaGetLastError(), "a launch", kernel);
}

void *sp_cuda_library(const char *name, const char **why)
{
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s%s", FOLDERS[i], name);
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library && i == 0)
            *why = "not found";
    }
    return library;
}
