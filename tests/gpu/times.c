#include "gpu/times.h"

#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gpu/check.h"
#include "gpu/fronts.h"
#include "kernels/cuda/core.h"
#include "support/synth.h"

enum { WIDTH = 1024, HEADS = 16, TOKENS = 32 * SP_ROW_TILE, GLOBAL = 40 * SP_ROW_TILE };

/* Memory for the ops, filled with noise: zeros cost less power, and so up to 13 % less time. */
typedef struct Bench {
    SpDevice *gpu;
    float *x, *w, *y;
} Bench;

static void product(const Bench *b)
{
    b->gpu->ops.linear(b->gpu, &(SpLinear){.x = b->x,
                                           .rows = TOKENS,
                                           .ldx = WIDTH,
                                           .w = {b->w, SP_F32, 2, {4 * WIDTH, WIDTH}},
                                           .act = SP_GELU,
                                           .y = b->y,
                                           .ldy = 4 * WIDTH});
}

static void product_bf16(const Bench *b)
{
    b->gpu->ops.linear(b->gpu, &(SpLinear){.x = b->x,
                                           .rows = TOKENS,
                                           .ldx = WIDTH,
                                           .w = {b->w, SP_BF16, 2, {3 * WIDTH, WIDTH}},
                                           .y = b->y,
                                           .ldy = 3 * WIDTH});
}

static void attention_of(const Bench *b, int64_t batch, int64_t n)
{
    b->gpu->ops.attention(b->gpu, &(SpAttention){.batch = batch,
                                                 .nq = n,
                                                 .nk = n,
                                                 .heads = HEADS,
                                                 .head = WIDTH / HEADS,
                                                 .scale = 0.125f,
                                                 .q = b->x,
                                                 .k = b->x + WIDTH,
                                                 .v = b->x + 2 * WIDTH,
                                                 .q_batch = n * 3 * WIDTH,
                                                 .q_row = 3 * WIDTH,
                                                 .k_batch = n * 3 * WIDTH,
                                                 .k_row = 3 * WIDTH,
                                                 .v_batch = n * 3 * WIDTH,
                                                 .v_row = 3 * WIDTH,
                                                 .y = b->y,
                                                 .y_batch = n * WIDTH,
                                                 .y_row = WIDTH});
}

static void attention_frame(const Bench *b)
{
    attention_of(b, 4, 893);
}

static void attention_global(const Bench *b)
{
    attention_of(b, 1, GLOBAL);
}

static void convolution(const Bench *b)
{
    b->gpu->ops.conv2d(b->gpu, &(SpConv2d){.x = b->x,
                                           .n = 1,
                                           .h = 96,
                                           .w = 148,
                                           .cin = 256,
                                           .ldx = 256,
                                           .packed = b->w,
                                           .cout = 256,
                                           .kh = 3,
                                           .kw = 3,
                                           .stride = 1,
                                           .pad = 1,
                                           .y = b->y,
                                           .ldy = 256});
}

/* Seconds of one call: of the shortest of three rounds of ten after a first call, which may choose
 * and compile. */
static double time_of(const Bench *b, void (*run)(const Bench *), double *first)
{
    enum { CALLS = 10 };
    double shortest = 1e9;
    for (int i = 0; i < 4; i++) {
        const int calls = i ? CALLS : 1;
        const double began = sp_clock();
        for (int call = 0; call < calls; call++)
            run(b);
        b->gpu->status(b->gpu);
        const double seconds = (sp_clock() - began) / calls;
        *first = i == 0 ? seconds : *first;
        shortest = i > 0 && seconds < shortest ? seconds : shortest;
    }
    return shortest;
}

/* Device memory of noise; NULL when there is none. */
static float *noise_on(SpDevice *gpu, const char *name, size_t bytes)
{
    float *memory = gpu->alloc(gpu, bytes), *host = malloc(bytes);
    if (memory && host) {
        synth_fill(name, 1, 0, 0, (int64_t)(bytes / sizeof *host), host);
        gpu->ops.copy(gpu, &(SpCopy){SP_UPLOAD, memory, bytes, host, bytes, bytes, 1});
        gpu->status(gpu);
    }
    free(host);
    return memory;
}

void times_of_ops(SpDevice *gpu, bool tiny)
{
    static const struct {
        const char *name;
        void (*run)(const Bench *);
        double operations;
        bool slow_in_f32;
    } op[] = {
        {"linear 12288 x 1024 -> 4096, GELU, weights f32", product,
         2.0 * TOKENS * WIDTH * 4 * WIDTH, false},
        {"linear 12288 x 1024 -> 3072, weights bf16", product_bf16,
         2.0 * TOKENS * WIDTH * 3 * WIDTH, false},
        {"attention 4 x 893, 16 heads of 64", attention_frame, 4.0 * 4 * 893 * 893 * WIDTH, false},
        {"attention 15360, 16 heads of 64", attention_global, 4.0 * GLOBAL * GLOBAL * WIDTH, true},
        {"convolution 96 x 148 x 256, 3 x 3 -> 256", convolution, 2.0 * 96 * 148 * 9 * 256 * 256,
         false},
    };
    const size_t bytes = (size_t)GLOBAL * 3 * WIDTH * sizeof(float);
    if (tiny) { /* none of these is anything that an emulation does in time */
        fact("an emulated card has no times");
        return;
    }
    Bench b = {gpu, noise_on(gpu, "x", bytes), noise_on(gpu, "w", bytes),
               noise_on(gpu, "y", bytes)};
    if (!check(b.x && b.w && b.y, "memory for the timing of ops"))
        return;
    sp_cuda(gpu)->library_keys = 1;
    printf("# %-48s %10s %10s %10s %10s   TFLOP/s   first call in bf16\n", "op", "f32", "f32 own",
           "bf16", "bf16 own");
    for (size_t i = 0; i < sizeof op / sizeof *op; i++) {
        double first[4] = {0};
        printf("# %-48s", op[i].name);
        for (int way = 0; way < 4; way++) {
            gpu->set_precision(gpu, way < 2 ? SP_PRECISION_F32 : SP_PRECISION_BF16);
            sp_cuda(gpu)->own_kernels = way % 2;
            if (way == 1 && op[i].slow_in_f32)
                printf(" %10s", "-"); /* the same kernel */
            else
                printf(" %10.1f", op[i].operations / time_of(&b, op[i].run, &first[way]) / 1e12);
            fflush(stdout);
        }
        printf(" %20.3f s\n", first[2]);
    }
    sp_cuda(gpu)->library_keys = SP_CUDA_LIBRARY_KEYS;
    gpu->set_precision(gpu, SP_PRECISION_F32);
    sp_cuda(gpu)->own_kernels = false;
    gpu->free(gpu, b.x, bytes), gpu->free(gpu, b.w, bytes);
    gpu->free(gpu, b.y, bytes);
    check_status(gpu->status(gpu), "timing of ops");
}

/* Bytes a second of one copy from pinned memory; 0 when there is none. */
static double bus_rate(void *device, size_t bytes)
{
    void *pinned = NULL;
    double shortest = 1e9;
    if (cudaMallocHost(&pinned, bytes) != cudaSuccess)
        return 0;
    for (int i = 0; i < 4; i++) {
        const double began = sp_clock();
        cudaMemcpy(device, pinned, bytes, cudaMemcpyHostToDevice);
        shortest = i && sp_clock() - began < shortest ? sp_clock() - began : shortest;
    }
    cudaFreeHost(pinned);
    return (double)bytes / shortest;
}

void times_of_bus(SpDevice *gpu, bool tiny)
{
    const size_t bytes = (size_t)1 << (tiny ? 24 : 30);
    float *host = calloc(1, bytes);
    void *memory = gpu->alloc(gpu, bytes);
    double shortest = 1e9;
    if (!check(host && memory, "memory for the timing of the bus"))
        return;
    for (size_t i = 0; i < bytes / sizeof *host; i += 1024)
        host[i] = 1; /* or all pages were one page of zeros */
    for (int i = 0; i < 4; i++) {
        const double began = sp_clock();
        gpu->release_slot(gpu, 0);
        gpu->prefetch(gpu, 0, memory, host, bytes);
        gpu->wait_slot(gpu, 0);
        gpu->status(gpu);
        shortest = i && sp_clock() - began < shortest ? sp_clock() - began : shortest;
    }
    const double ours = (double)bytes / shortest, bus = bus_rate(memory, bytes);
    fact("weights come at %.1f GB/s, %.0f %% of the bus's %.1f", ours / 1e9, 100 * ours / bus,
         bus / 1e9);
    gpu->free(gpu, memory, bytes);
    free(host);
}

void check_no_refusals(SpDevice *gpu, const char *name)
{
    const SpCuda *cuda = sp_cuda(gpu);
    check(cuda->own_gemms == 0 && cuda->refused_convs == 0 && cuda->refused_attentions == 0,
          "%s: %lld products, %lld convolutions and %lld attentions that a library refused", name,
          (long long)cuda->own_gemms, (long long)cuda->refused_convs,
          (long long)cuda->refused_attentions);
    check(cuda->dnn != NULL, "%s: cuDNN is there", name);
}

static double timed_run(const Front *front, SpDevice *gpu, const SpPlan *plan, Clip *clip,
                        const char *name)
{
    Took took = {0};
    SpFootprint footprint = {0};
    double shortest = 1e9, first = 0;
    front_footprint(front, gpu, plan, clip, &footprint);
    for (int i = 0; i < 2; i++) { /* the second one knows all its kernels and plans */
        if (!check_status(front_run(front, gpu, plan, clip, &took), name))
            return 0;
        first = i == 0 ? took.seconds : first;
        shortest = took.seconds < shortest ? took.seconds : shortest;
    }
    printf("# %-48s %8.3f s (first %.3f), %5zu MB of arena, %5zu MB of weights, %3zu MB of "
           "workspace, %.3f s "
           "hidden\n",
           name, shortest, first, took.peak >> 20, footprint.weights >> 20,
           gpu->workspace_bytes >> 20, took.hidden);
    return shortest;
}

void times_of_front(const char *goldens, SpDevice *gpu)
{
    Front front;
    SpFootprint footprint;
    if (!check_status(front_make(goldens, "front", SP_BF16, &front), "front, bf16 weights"))
        return;
    Clip large = clip_of_noise(100, 336, 518), clip = clip_of_noise(80, 294, 518);
    SpPlan plan = {.weights = SP_RESIDENT, .taps_on_device = true, .precision = SP_PRECISION_BF16};
    const size_t room = gpu->available_memory(gpu);
    if (check(front_fit(&front, gpu, room, SP_PRECISION_BF16, &large, &footprint),
              "100 frames of 336x518 fit"))
        timed_run(&front, gpu, &footprint.plan, &large, "front, 100 frames of 336x518, as planned");
    timed_run(&front, gpu, &plan, &large, "front, 100 frames of 336x518, resident");
    const double resident =
        timed_run(&front, gpu, &plan, &clip, "front, 80 frames of 294x518, resident");
    plan.weights = SP_STREAMED;
    timed_run(&front, gpu, &plan, &clip, "front, 80 frames of 294x518, streamed");
    for (size_t gb = 2; gb >= 1; gb--) {
        const size_t budget = (gb << 30) - gpu->workspace_bytes;
        if (!check(front_fit(&front, gpu, budget, SP_PRECISION_BF16, &clip, &footprint),
                   "80 frames of 294x518 fit into %zu GB", gb))
            continue;
        check(footprint.device + footprint.weights <= budget, "with %zu MB",
              (footprint.device + footprint.weights + gpu->workspace_bytes) >> 20);
        const double within =
            timed_run(&front, gpu, &footprint.plan, &clip, "front, 80 frames, within the budget");
        printf("# within %zu GB: %.1f %% over resident weights\n", gb,
               100 * (within / resident - 1));
    }
    check_no_refusals(gpu, "front");
    clip_end(&large), clip_end(&clip);
    front_end(&front);
}
