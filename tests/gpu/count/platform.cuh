/* The twin of kernels/cuda/native/platform.cuh for a device that counts: the kernels are compiled,
 * and none is run. */
#ifndef SP_TESTS_GPU_COUNT_PLATFORM_CUH
#define SP_TESTS_GPU_COUNT_PLATFORM_CUH

#include "gpu/count/count.h"
#include "gpu/emulate/platform.cuh"

#undef SP_LAUNCH
#define SP_LAUNCH(cuda, what, kernel, grid, threads, shared, ...)                                  \
    do {                                                                                           \
        const int64_t sp_grid = (grid);                                                            \
        if (sp_cuda_live(cuda) && sp_grid > 0) {                                                   \
            auto sp_kernel = [&](auto... arguments) { kernel(arguments...); };                     \
            (void)sp_kernel, (void)(threads), (void)(shared);                                      \
            count_launch(what, sp_grid, __VA_ARGS__);                                              \
        }                                                                                          \
    } while (0)

/* What a launch reads, writes and computes, by the kernel's name and its arguments; a kernel of which
 * there is nothing to say is a launch alone. */
struct SpConvert;
struct SpEpilogue;
struct SpGemm;
struct SpUnits;
void count_work(const char *what, const SpLayerNorm &a);
void count_work(const char *what, const SpQkNormRope &a);
void count_work(const char *what, const SpInstanceNorm &a);
void count_work(const char *what, const SpElementwise &a);
void count_work(const char *what, const SpAttention &a);
void count_work(const char *what, const SpResize &a);
void count_work(const char *what, const SpAxisAdd &a);
void count_work(const char *what, const SpCopy &a);
void count_work(const char *what, const SpCorrelate &a);
void count_work(const char *what, const SpSamplePatches &a);
void count_work(const char *what, const SpPosenc &a);
void count_work(const char *what, const SpConvert &a);
void count_work(const char *what, const SpEpilogue &a);
void count_work(const char *what, const SpUnits &a);
void count_work(const char *what, const SpGemm &a);
void count_nothing(const char *what);

template <typename T>
static inline auto count_first(const char *what, const T &first, int)
    -> decltype(count_work(what, first))
{
    count_work(what, first);
}

template <typename T> static inline void count_first(const char *what, const T &, long)
{
    count_nothing(what);
}

template <typename T, typename... Rest>
static inline void count_launch(const char *what, int64_t, const T &first, const Rest &...)
{
    count_first(what, first, 0);
}

/* Kernels whose first argument does not say enough. */
void count_launch(const char *what, int64_t grid, const SpConv2d &a, int64_t ho, int64_t wo,
                  int64_t first, int64_t m, void *out, int64_t ld);
void count_launch(const char *what, int64_t grid, const SpDeconv &a, int64_t first, int64_t m,
                  const float *t);
void count_launch(const char *what, int64_t grid, const SpAttention &a, int64_t first,
                  int64_t tiles, const uint16_t *k, const uint16_t *v);

#endif
