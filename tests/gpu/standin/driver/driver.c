/*
 * A driver for machines without one, as much of it as cuDNN wants when it plans for a card that is
 * described to it (gpu-plans): libcuda.so.1. It has no device, takes every program for loaded and
 * runs none.
 */
#include <stddef.h>

enum { SUCCESS = 0, NO_DEVICE = 100 };
#define CALL(name, result)                                                                         \
    int name(void);                                                                                \
    int name(void)                                                                                 \
    {                                                                                              \
        return result;                                                                             \
    }
#define NOT_HERE(name) CALL(name, NO_DEVICE)
#define NOTHING(name)  CALL(name, SUCCESS)
/* A call whose first argument is where what it makes goes to. */
#define MAKES(name)                                                                                \
    int name(void **made);                                                                         \
    int name(void **made)                                                                          \
    {                                                                                              \
        static int something;                                                                      \
        *made = &something;                                                                        \
        return SUCCESS;                                                                            \
    }

NOT_HERE(cuInit)
NOT_HERE(cuDriverGetVersion)
NOT_HERE(cuCtxGetCurrent)
NOT_HERE(cuCtxGetDevice)
NOT_HERE(cuCtxGetLimit)
NOT_HERE(cuCtxPopCurrent)
NOT_HERE(cuCtxPushCurrent)
NOT_HERE(cuDeviceGet)
NOT_HERE(cuDeviceGetAttribute)
NOT_HERE(cuDeviceGetCount)
NOT_HERE(cuDevicePrimaryCtxRelease)
NOT_HERE(cuDevicePrimaryCtxRetain)
NOT_HERE(cuGetErrorName)
NOT_HERE(cuGetErrorString)
NOT_HERE(cuLaunchCooperativeKernel)
NOT_HERE(cuLaunchKernel)
NOT_HERE(cuLaunchKernelEx)
NOT_HERE(cuLinkAddData)
NOT_HERE(cuLinkAddData_v2)
NOT_HERE(cuLinkAddFile_v2)
NOT_HERE(cuLinkComplete)
NOT_HERE(cuLinkCreate)
NOT_HERE(cuLinkCreate_v2)
NOT_HERE(cuLinkDestroy)
NOT_HERE(cuMemcpyDtoH_v2)
NOT_HERE(cuStreamGetCtx)
NOT_HERE(cuStreamSynchronize)
NOT_HERE(cuTensorMapEncodeTiled)
NOTHING(cuFuncGetAttribute)
NOTHING(cuFuncSetAttribute)
NOTHING(cuKernelGetAttribute)
NOTHING(cuKernelSetAttribute)
NOTHING(cuLibraryUnload)
NOTHING(cuModuleUnload)
NOTHING(cuOccupancyMaxActiveBlocksPerMultiprocessor)
NOTHING(cuOccupancyMaxPotentialClusterSize)
MAKES(cuKernelGetFunction)
MAKES(cuLibraryGetKernel)
MAKES(cuLibraryLoadData)
MAKES(cuLibraryLoadFromFile)
MAKES(cuModuleGetFunction)
MAKES(cuModuleGetGlobal_v2)
MAKES(cuModuleLoadData)
MAKES(cuModuleLoadDataEx)
MAKES(cuModuleLoadFatBinary)
