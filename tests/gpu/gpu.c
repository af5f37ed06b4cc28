/*
 * The CUDA device on a real card: every op against the CPU, the libraries' kernels against ours,
 * weights copied beside the ops, the front network's goldens, memory as planned, budgets, sleep,
 * and tables of times. Run by tests/gpu/run, a section a process; exits 77 where there is no card.
 *
 *     gpu-tests GOLDENS full | quick | tiny SECTION...
 *
 * quick: without the full-size models; tiny: as much as an emulated card can do. Sections:
 * describe, ops, memory, sleep, sleep-kept (the context stays), front, tracker, sam, videos, times,
 * profile.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "gpu/check.h"
#include "gpu/golden.h"
#include "gpu/ops.h"
#include "gpu/profile.h"
#include "gpu/runs.h"
#include "gpu/times.h"
#include "kernels/cuda/core.h"
#include "kernels/cuda/cuda.h"

typedef enum Size { FULL, QUICK, TINY } Size;

static float *floats(int64_t count)
{
    float *x = calloc((size_t)count, sizeof *x);
    if (!x)
        abort();
    return x;
}

/* ---- ops ---- */

static bool one_op(const OpCase *c, SpDevice *cpu, SpDevice *gpu, double tolerance, const char *how)
{
    float *exact = op_noise("y", c->count), *ours = op_noise("y", c->count);
    c->run(cpu, exact);
    c->run(gpu, ours);
    double worst = 0;
    for (int64_t i = 0; i < c->count; i++) {
        const double error =
            fabs((double)ours[i] - (double)exact[i]) / fmax(1, fabs((double)exact[i]));
        worst = error <= 1e30 ? fmax(worst, error) : INFINITY;
    }
    const bool good =
        check(worst <= tolerance, "%s, %s: %.2g of %.2g", c->name, how, worst, tolerance);
    free(exact), free(ours);
    return good;
}

static const char *const format_name[] = {
    [SP_PRECISION_F32] = "f32", [SP_PRECISION_TF32] = "tf32", [SP_PRECISION_BF16] = "bf16"};

static void ops(SpDevice *cpu, SpDevice *gpu, Size size)
{
    for (SpPrecision p = SP_PRECISION_F32; p <= SP_PRECISION_BF16; p++)
        for (int own = 0; own < (size == TINY ? 1 : 2); own++) { /* `unit cuda kernels` has ours */
            char how[32];
            snprintf(how, sizeof how, "%s%s", format_name[p], own ? ", own kernels" : "");
            gpu->set_precision(gpu, p);
            sp_cuda(gpu)->own_kernels = own;
            for (size_t i = 0; op_case(i); i++)
                if (op_tolerance(op_case(i), p) >= 0 && !(size == TINY && op_case(i)->slow))
                    one_op(op_case(i), cpu, gpu, op_tolerance(op_case(i), p), how);
        }
    sp_cuda(gpu)->own_kernels = false;
    gpu->set_precision(gpu, SP_PRECISION_F32);
    check_status(gpu->status(gpu), "after all ops");
    fact("%lld products of odd shapes that cuBLASLt had no algorithm for, %lld convolutions that "
         "cuDNN "
         "had no plan for",
         (long long)sp_cuda(gpu)->own_gemms, (long long)sp_cuda(gpu)->refused_convs);
}

static float *on_device(SpDevice *gpu, const char *name, int64_t count)
{
    const size_t bytes = (size_t)count * sizeof(float);
    float *x = op_noise(name, count), *memory = gpu->alloc(gpu, bytes);
    if (!memory)
        abort();
    gpu->ops.copy(gpu, &(SpCopy){SP_UPLOAD, memory, bytes, x, bytes, bytes, 1});
    free(x);
    return memory;
}

static void off_device(SpDevice *gpu, const float *memory, int64_t count, float *to)
{
    const size_t bytes = (size_t)count * sizeof(float);
    gpu->ops.copy(gpu, &(SpCopy){SP_DOWNLOAD, to, bytes, memory, bytes, bytes, 1});
}

/* Splitting the rows of a product at multiples of SP_ROW_TILE changes no bit, as long as the
 * library's kernels are what their manual lets one expect. */
static void row_split(SpDevice *gpu, SpPrecision precision, Size size)
{
    const int64_t N = 8 * SP_ROW_TILE + 100;
    const int64_t IN = size == TINY ? 64 : 1024, OUTS = size == TINY ? 40 : 768;
    float *x = on_device(gpu, "x", N * IN), *w = on_device(gpu, "w", OUTS * IN);
    float *whole = on_device(gpu, "a", N * OUTS), *parts = on_device(gpu, "a", N * OUTS);
    float *a = floats(N * OUTS), *b = floats(N * OUTS);
    gpu->set_precision(gpu, precision);
    SpLinear call = {
        .x = x, .rows = N, .ldx = IN, .w = {w, SP_F32, 2, {OUTS, IN}}, .y = whole, .ldy = OUTS};
    gpu->ops.linear(gpu, &call);
    for (int64_t r = 0; r < N; r += SP_ROW_TILE) {
        call.x = x + r * IN;
        call.y = parts + r * OUTS;
        call.rows = N - r < SP_ROW_TILE ? N - r : SP_ROW_TILE;
        gpu->ops.linear(gpu, &call);
    }
    off_device(gpu, whole, N * OUTS, a);
    off_device(gpu, parts, N * OUTS, b);
    fact("rows split, %s: %s", format_name[precision],
         memcmp(a, b, (size_t)(N * OUTS) * sizeof *a) ? "other bits" : "the same bits");
    check(correlation(a, b, N * OUTS) > 0.9999, "rows split, %s: the same numbers",
          format_name[precision]);
    gpu->set_precision(gpu, SP_PRECISION_F32);
    gpu->free(gpu, x, 0), gpu->free(gpu, w, 0);
    gpu->free(gpu, whole, 0), gpu->free(gpu, parts, 0);
    free(a), free(b);
}

/* A long attention three ways: float32, tensor cores of ours, cuDNN. */
static void long_attention(SpDevice *gpu, int64_t head, Size size)
{
    enum { HEADS = 3 };
    const int64_t N = size == TINY ? 130 : 3000;
    const int64_t width = HEADS * head, count = N * width;
    float *qkv = on_device(gpu, "qkv", 3 * count), *y = on_device(gpu, "y", count);
    float *result[3];
    sp_cuda(gpu)->library_keys = 1;
    SpAttention a = {.batch = 1,
                     .nq = N,
                     .nk = N,
                     .heads = HEADS,
                     .head = head,
                     .scale = 8 / sqrtf((float)head),
                     .q = qkv,
                     .k = qkv + width,
                     .v = qkv + 2 * width,
                     .q_row = 3 * width,
                     .k_row = 3 * width,
                     .v_row = 3 * width,
                     .y = y,
                     .y_row = width};
    for (int i = 0; i < 3; i++) {
        gpu->set_precision(gpu, i ? SP_PRECISION_BF16 : SP_PRECISION_F32);
        sp_cuda(gpu)->own_kernels = i == 1;
        gpu->ops.attention(gpu, &a);
        off_device(gpu, y, count, result[i] = floats(count));
    }
    gpu->set_precision(gpu, SP_PRECISION_F32);
    sp_cuda(gpu)->own_kernels = false;
    sp_cuda(gpu)->library_keys = SP_CUDA_LIBRARY_KEYS;
    check(correlation(result[1], result[0], count) >= 0.999,
          "attention, heads of %d, tensor cores: correlation %.6f", (int)head,
          correlation(result[1], result[0], count));
    const bool others = memcmp(result[1], result[2], (size_t)count * sizeof(float)) != 0;
    check(correlation(result[2], result[0], count) >= 0.999 && (others || sp_cuda(gpu)->major < 9),
          "attention, heads of %d, %s: correlation %.6f", (int)head,
          others ? "cuDNN" : "no cuDNN, ours again", correlation(result[2], result[0], count));
    for (int i = 0; i < 3; i++)
        free(result[i]);
    gpu->free(gpu, qkv, 0), gpu->free(gpu, y, 0);
}

/* Weights through both slots in turn while ops run: every byte arrives, and no slot is filled
 * while it is still read. */
static void fetches(SpDevice *gpu)
{
    enum { COUNT = 3 << 20, ROUNDS = 6 };
    const size_t bytes = COUNT * sizeof(float);
    float *host = op_noise("weights", COUNT * ROUNDS), *back = floats(COUNT);
    float *slot[SP_PREFETCH_SLOTS], *y = on_device(gpu, "zero", COUNT);
    double worst = 0;
    float *sum = floats(COUNT);
    gpu->ops.elementwise(gpu, &(SpElementwise){y, COUNT, 0, NULL, 0, SP_IDENTITY, y});
    for (int s = 0; s < SP_PREFETCH_SLOTS; s++) {
        slot[s] = gpu->alloc(gpu, bytes);
        gpu->release_slot(gpu, s);
    }
    gpu->prefetch(gpu, 0, slot[0], host, bytes);
    for (int i = 0; i < ROUNDS; i++) {
        const int s = i % SP_PREFETCH_SLOTS, next = (i + 1) % SP_PREFETCH_SLOTS;
        if (i + 1 < ROUNDS)
            gpu->prefetch(gpu, next, slot[next], host + (i + 1) * COUNT, bytes);
        gpu->wait_slot(gpu, s);
        gpu->ops.add_rows(gpu, &(SpAddRows){y, slot[s], COUNT, 1, COUNT});
        gpu->release_slot(gpu, s);
    }
    off_device(gpu, y, COUNT, back);
    for (int64_t i = 0; i < COUNT * ROUNDS; i++)
        sum[i % COUNT] += host[i];
    for (int64_t i = 0; i < COUNT; i++)
        worst = fmax(worst, fabs((double)back[i] - (double)sum[i]));
    check(worst == 0, "weights through two slots: %.2g", worst);
    for (int s = 0; s < SP_PREFETCH_SLOTS; s++)
        gpu->free(gpu, slot[s], bytes);
    gpu->free(gpu, y, bytes);
    free(host), free(back), free(sum);
}

/* ---- memory ---- */

/* More than there is: refused, and the device goes on. */
static void too_much_memory(SpDevice *gpu)
{
    SpStatus fell = sp_ok();
    check(!gpu->alloc(gpu, (size_t)1 << 50), "memory that no card has is refused");
    fell = gpu->status(gpu);
    check(fell.code == SP_OK, "and the device goes on");
}

/* A product, an attention and a convolution, so that the libraries have something to lose. */
static void use_libraries(SpDevice *gpu)
{
    enum { N = 384, WIDTH = 256, HEADS = 4, SIDE = 16 };
    float *x = on_device(gpu, "x", N * 3 * WIDTH), *w = on_device(gpu, "w", 9 * WIDTH * WIDTH);
    float *y = on_device(gpu, "y", N * 3 * WIDTH);
    gpu->ops.conv2d(gpu, &(SpConv2d){.x = x,
                                     .n = 1,
                                     .h = SIDE,
                                     .w = SIDE,
                                     .cin = WIDTH,
                                     .ldx = WIDTH,
                                     .packed = w,
                                     .cout = WIDTH,
                                     .kh = 3,
                                     .kw = 3,
                                     .stride = 1,
                                     .pad = 1,
                                     .y = y,
                                     .ldy = WIDTH});
    gpu->set_precision(gpu, SP_PRECISION_BF16);
    sp_cuda(gpu)->library_keys = 1;
    gpu->ops.linear(gpu, &(SpLinear){.x = x,
                                     .rows = N,
                                     .ldx = WIDTH,
                                     .w = {w, SP_F32, 2, {3 * WIDTH, WIDTH}},
                                     .y = y,
                                     .ldy = 3 * WIDTH});
    gpu->ops.attention(gpu, &(SpAttention){.batch = 1,
                                           .nq = N,
                                           .nk = N,
                                           .heads = HEADS,
                                           .head = WIDTH / HEADS,
                                           .scale = 0.1f,
                                           .q = y,
                                           .k = y + WIDTH,
                                           .v = y + 2 * WIDTH,
                                           .q_row = 3 * WIDTH,
                                           .k_row = 3 * WIDTH,
                                           .v_row = 3 * WIDTH,
                                           .y = x,
                                           .y_row = WIDTH});
    sp_cuda(gpu)->library_keys = SP_CUDA_LIBRARY_KEYS;
    gpu->set_precision(gpu, SP_PRECISION_F32);
}

static SpStatus open_card(SpDevice **device)
{
    return sp_cuda_open(0, device);
}

/* Opened and closed again and again, as sleep at level 2 does: the libraries outlive the contexts,
 * or, where these are kept, the devices. What a context takes and how long it takes to make are
 * facts. */
static void open_and_close(bool keep)
{
    enum { TIMES = 3 };
    size_t left[TIMES] = {0};
    double longest = 0, first = 0;
    SpStatus status = sp_ok();
    for (int i = 0; i < TIMES && status.code == SP_OK; i++) {
        SpDevice *gpu;
        const double began = sp_clock();
        status = open_card(&gpu);
        if (status.code != SP_OK)
            break;
        longest = fmax(longest, sp_clock() - began);
        first = i == 0 ? longest : first;
        left[i] = gpu->available_memory(gpu);
        use_libraries(gpu);
        status = gpu->status(gpu);
        sp_cuda(gpu)->keeps_context = keep;
        gpu->close(gpu); /* without a context, what was allocated with it */
    }
    check_status(status,
                 keep ? "opened, used and closed, the context kept" : "opened, used and closed");
    fact("opened %d times, the first in %.2f s, at most %.2f s: %zu MB free at first, %zu MB at "
         "last",
         TIMES, first, longest, left[0] >> 20, left[TIMES - 1] >> 20);
}

/* ---- the front network ---- */

static void front_agrees(const Front *front, SpDevice *gpu, Clip *clip, const char *name,
                         const Golden *golden, double tolerance)
{
    Took took;
    Clip again = clip_again(clip);
    SpPlan plan = {.weights = SP_RESIDENT, .taps_on_device = true};
    const int64_t area = clip->frames * clip->height * clip->width;
    if (!check_status(front_run(front, gpu, &plan, clip, &took), name))
        return;
    check(took.planned == took.peak, "%s: %zu MB, as planned", name, took.peak >> 20);
    golden_check(golden, clip, name, tolerance);
    plan = (SpPlan){.weights = SP_STREAMED, .queries = 8 * SP_ROW_TILE};
    if (check_status(front_run(front, gpu, &plan, &again, &took), "streamed"))
        check(memcmp(clip->depth, again.depth, (size_t)area * sizeof *clip->depth) == 0 &&
                  memcmp(clip->c2w, again.c2w, (size_t)(16 * clip->frames) * sizeof(float)) == 0,
              "%s, streamed under another plan: the same bits", name);
    plan = (SpPlan){.weights = SP_RESIDENT, .precision = SP_PRECISION_BF16};
    if (check_status(front_run(front, gpu, &plan, &again, &took), "bf16"))
        check(correlation(again.depth, clip->depth, area) >= 0.999 &&
                  correlation(again.pose_enc, clip->pose_enc, 9 * clip->frames) >= 0.999,
              "%s, bf16: correlation with f32 of depth %.6f, poses %.6f", name,
              correlation(again.depth, clip->depth, area),
              correlation(again.pose_enc, clip->pose_enc, 9 * clip->frames));
    clip_again_end(&again);
}

/* The same bits after the device was closed and opened again. */
static void after_waking(const Front *front, SpDevice **gpu, Clip *clip)
{
    Took took;
    const SpPlan plan = {.weights = SP_STREAMED};
    Clip again = clip_again(clip);
    check_status(front_run(front, *gpu, &plan, clip, &took), "before sleep");
    (*gpu)->close(*gpu);
    *gpu = NULL;
    if (check_status(sp_cuda_open(0, gpu), "waking") &&
        check_status(front_run(front, *gpu, &plan, &again, &took), "after waking"))
        check(memcmp(clip->depth, again.depth,
                     (size_t)(clip->frames * clip->height * clip->width) * sizeof(float)) == 0,
              "asleep at level 2 and awake: the same bits");
    clip_again_end(&again);
}

static void goldens(const char *folder, SpDevice **gpu, bool full)
{
    static const char *const manifest[] = {"front_tiny", "front"};
    static const char *const file[] = {"front/tiny.safetensors", "front/full.safetensors"};
    for (int i = 0; i <= full && *gpu; i++) {
        Front front;
        Golden golden;
        Clip clip;
        if (!check_status(front_make(folder, manifest[i], SP_F32, &front), manifest[i]) ||
            !check_status(golden_read(folder, file[i], &front, &golden, &clip), file[i]))
            return;
        front_agrees(&front, *gpu, &clip, manifest[i], &golden, 1e-3);
        if (i == 0)
            after_waking(&front, gpu, &clip);
        clip_end(&clip);
        golden_end(&golden);
        front_end(&front);
    }
}

/* The tiny front beside the CPU's: resident, and streamed in half precision. */
static void tiny_front(const char *folder, SpDevice *gpu)
{
    Front front;
    Took took;
    SpDevice *cpu;
    SpPlan plan = {.weights = SP_IN_PLACE};
    if (!check_status(front_make(folder, "front_tiny", SP_F32, &front), "front_tiny") ||
        !check_status(sp_cpu_open(0, &cpu), "cpu"))
        return;
    Clip exact = clip_of_noise(2, 42, 56), ours = clip_again(&exact);
    const int64_t area = exact.frames * exact.height * exact.width;
    check_status(front_run(&front, cpu, &plan, &exact, &took), "the CPU");
    plan = (SpPlan){.weights = SP_RESIDENT, .taps_on_device = true};
    check_status(front_run(&front, gpu, &plan, &ours, &took), "resident");
    check(worst_error(ours.depth, exact.depth, area) < 1e-4, "tiny front: depth %.2g of the CPU's",
          worst_error(ours.depth, exact.depth, area));
    check(took.planned == took.peak, "tiny front: %zu MB, as planned", took.peak >> 20);
    plan = (SpPlan){.weights = SP_STREAMED, .precision = SP_PRECISION_BF16};
    check_status(front_run(&front, gpu, &plan, &ours, &took), "bf16, streamed");
    check(correlation(ours.depth, exact.depth, area) > 0.999,
          "tiny front, bf16: correlation of depth %.6f",
          correlation(ours.depth, exact.depth, area));
    clip_again_end(&ours), clip_end(&exact);
    front_end(&front);
    cpu->close(cpu);
}

/* Whether a section is asked for. */
static bool wanted(const char *const *names, int count, const char *section)
{
    bool found = false;
    for (int i = 0; i < count; i++)
        found = found || strcmp(names[i], section) == 0;
    return found;
}

static void ops_of(SpDevice *gpu, Size size)
{
    SpDevice *cpu;
    if (!check_status(sp_cpu_open(0, &cpu), "cpu"))
        return;
    ops(cpu, gpu, size);
    for (SpPrecision p = SP_PRECISION_F32; p <= SP_PRECISION_BF16; p++)
        row_split(gpu, p, size);
    long_attention(gpu, 64, size);
    long_attention(gpu, 128, size);
    cpu->close(cpu);
}

static void on_open_device(const char *folder, SpDevice **gpu, const char *const *names, int count,
                           Size size)
{
    const bool full = size == FULL;
    if (wanted(names, count, "times"))
        times_of_ops(*gpu, size == TINY);
    if (wanted(names, count, "times") && full)
        times_of_front(folder, *gpu);
    if (wanted(names, count, "profile"))
        profiles(folder, *gpu, full, size != TINY);
    if (wanted(names, count, "ops"))
        ops_of(*gpu, size);
    if (wanted(names, count, "memory")) {
        fetches(*gpu);
        too_much_memory(*gpu);
        times_of_bus(*gpu, size == TINY);
    }
    if (wanted(names, count, "tracker"))
        tracker_runs(folder, *gpu, full);
    if (wanted(names, count, "sam"))
        sam_runs(folder, *gpu, full);
    if (wanted(names, count, "front") && size == TINY)
        tiny_front(folder, *gpu);
    else if (wanted(names, count, "front"))
        goldens(folder, gpu, full);
    if (*gpu && wanted(names, count, "videos"))
        many_videos(open_card, gpu, full ? 100 : 24);
}

int main(int argc, char **argv)
{
    static const char *const sizes[] = {[FULL] = "full", [QUICK] = "quick", [TINY] = "tiny"};
    SpDevice *gpu;
    Size size = FULL;
    if (argc < 4)
        return SP_USAGE;
    while (size < TINY && strcmp(argv[2], sizes[size]) != 0)
        size++;
    const char *const *names = (const char *const *)argv + 3;
    const int count = argc - 3;
    const SpStatus there = open_card(&gpu);
    if (there.code == SP_DEVICE) {
        printf("no GPU to test on: %s\n", there.text);
        return 77;
    }
    if (!check_status(there, "open"))
        return check_end();
    if (wanted(names, count, "describe"))
        sp_cuda_describe(stdout);
    if (wanted(names, count, "sleep") || wanted(names, count, "sleep-kept")) {
        sp_cuda(gpu)->keeps_context = wanted(names, count, "sleep-kept");
        gpu->close(gpu);
        open_and_close(wanted(names, count, "sleep-kept"));
        return check_end();
    }
    on_open_device(argv[1], &gpu, names, count, size);
    if (gpu) {
        check_status(gpu->status(gpu), "at the end");
        gpu->close(gpu);
    }
    return check_end();
}
