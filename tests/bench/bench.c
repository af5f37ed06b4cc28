/*
 * bench front|tracker|sam CHECKPOINT INPUT THREADS [SUPPORT] [--isa NAME]
 *
 * One timed run of a stage on the clip or picture in INPUT (made by twin.py), as one line of JSON:
 * seconds (wall, CPU) of the run without opening, arena bytes, how many floating point operations a
 * second its products, convolutions and attentions came to, how many a product of the stage's
 * commonest shape comes to by itself, and means of the results that the twin must agree with.
 * tests/bench/run starts it and watches its memory.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "front/front.h"
#include "kernels/cpu/cpu.h"
#include "sam/sam.h"
#include "store/safetensors.h"
#include "tracker/tracker.h"

static void stop(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void stop(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(SP_USAGE);
}

static void check(SpStatus status)
{
    if (status.code != SP_OK)
        stop("%s", status.text);
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static const SpTensor *tensor(const SpSafetensors *file, const char *name)
{
    const SpTensor *t = sp_safetensors_find(file, name);
    if (!t || t->dtype != SP_F32)
        stop("the input has no F32 tensor %s", name);
    return t;
}

static float *floats(int64_t count)
{
    float *x = malloc((size_t)count * sizeof *x);
    if (!x)
        stop("no memory for %lld values", (long long)count);
    return x;
}

static double mean(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i];
    return sum / (double)count;
}

static SpNn open_nn(SpDevice *device, const SpNn *dry)
{
    SpNn nn;
    check(dry->status);
    check(sp_nn_open(device, dry->arena.peak, dry->host.peak, &nn));
    return nn;
}

typedef struct Begin {
    double wall, cpu;
} Begin;

static Begin begin_now(void)
{
    return (Begin){now(CLOCK_MONOTONIC), now(CLOCK_PROCESS_CPUTIME_ID)};
}

/* Operations a second of the best of some products [rows, in] x [outs, in]. */
static double product_rate(SpDevice *device, int64_t rows, int64_t outs, int64_t in)
{
    enum { TIMES = 12 };
    const double operations = 2 * (double)rows * (double)outs * (double)in;
    float *x = floats(rows * in), *w = floats(outs * in), *y = floats(rows * outs);
    for (int64_t i = 0; i < rows * in; i++)
        x[i] = (float)(i % 7) - 3;
    for (int64_t i = 0; i < outs * in; i++)
        w[i] = (float)(i % 5) - 2;
    const SpLinear product = {
        .x = x, .rows = rows, .ldx = in, .w = {w, SP_F32, 2, {outs, in}}, .y = y, .ldy = outs};
    double best = 0;
    for (int i = 0; i < TIMES; i++) {
        const double begin = now(CLOCK_PROCESS_CPUTIME_ID);
        device->ops.linear(device, &product);
        const double rate = operations / (now(CLOCK_PROCESS_CPUTIME_ID) - begin);
        best = rate > best ? rate : best;
    }
    free(x), free(w), free(y);
    return best;
}

/* Rates are those of a second of CPU time, of all threads together, which others on the machine
 * change least. */
static void report(const SpNn *nn, const SpNn *dry, Begin begin)
{
    const double wall = now(CLOCK_MONOTONIC) - begin.wall;
    const double cpu = now(CLOCK_PROCESS_CPUTIME_ID) - begin.cpu;
    double work = 0;
    for (int i = 0; i < SP_WORKS; i++)
        work += dry->work[i];
    printf("{\"seconds\": %.3f, \"cpu\": %.3f, \"isa\": \"%s\", \"arena\": %zu, \"rate\": %.4g",
           wall, cpu, nn->device->isa, nn->arena.size + nn->host.size, work / cpu);
}

static void bench_front(SpCheckpoint *checkpoint, const SpSafetensors *file, SpDevice *device)
{
    SpFront *front;
    check(sp_front_open(checkpoint, &front));
    const SpTensor *video = tensor(file, "video");
    const int64_t t = video->dim[0], pixels = video->dim[2] * video->dim[3];
    const SpFrontInput input = {t, video->dim[2], video->dim[3], video->data, 0};
    const SpFrontOutput out = {floats(t * pixels), floats(t * pixels), floats(9 * t),
                               floats(16 * t), floats(9 * t)};
    SpNn dry = sp_nn_dry(device);
    check(sp_front_run(front, &dry, &input, &out));
    const Begin begin = begin_now();
    SpNn nn = open_nn(device, &dry);
    check(sp_front_run(front, &nn, &input, &out));
    report(&nn, &dry, begin);
    printf(", \"means\": [%.6g, %.6g, %.6g]", mean(out.depth, t * pixels),
           mean(out.confidence, t * pixels), mean(out.pose_enc, 9 * t));
    sp_nn_close(&nn);
    free(out.depth), free(out.confidence), free(out.pose_enc), free(out.c2w), free(out.intrinsics);
    sp_front_close(front);
}

static void bench_tracker(SpCheckpoint *checkpoint, const SpSafetensors *file, SpDevice *device,
                          int64_t support)
{
    SpTracker *tracker;
    check(sp_tracker_open(checkpoint, SP_TRACKER_OFFLINE, &tracker));
    const SpTensor *video = tensor(file, "video"), *query = tensor(file, "query");
    const int64_t t = video->dim[0], n = query->dim[0], pixels = video->dim[2] * video->dim[3];
    const SpTrackerInput input = {.frames = t,
                                  .height = video->dim[2],
                                  .width = video->dim[3],
                                  .video = video->data,
                                  .depth = tensor(file, "depth")->data,
                                  .confident = tensor(file, "confident")->data,
                                  .intrinsics = tensor(file, "intrinsics")->data,
                                  .c2w = tensor(file, "c2w")->data,
                                  .queries = n,
                                  .query = query->data};
    const SpTrackerSettings settings = {.iterations = 4, .support = support, .replace_ratio = 0.2};
    const SpTrackerOutput out = {.tracks = floats(3 * t * n),
                                 .camera_points = floats(3 * t * n),
                                 .visibility = floats(t * n),
                                 .confidence = floats(t * n),
                                 .dynamic = floats(n),
                                 .c2w = floats(16 * t),
                                 .intrinsics = floats(9 * t),
                                 .depth = floats(t * pixels),
                                 .valid = floats(t * pixels)};
    SpNn dry = sp_nn_dry(device);
    check(sp_tracker_run(tracker, &dry, &input, &settings, &out));
    const Begin begin = begin_now();
    SpNn nn = open_nn(device, &dry);
    check(sp_tracker_run(tracker, &nn, &input, &settings, &out));
    report(&nn, &dry, begin);
    printf(", \"means\": [%.6g, %.6g, %.6g]", mean(out.tracks, 3 * t * n),
           mean(out.visibility, t * n), mean(out.c2w, 16 * t));
    sp_nn_close(&nn);
    free(out.tracks), free(out.camera_points), free(out.visibility), free(out.confidence);
    free(out.dynamic), free(out.c2w), free(out.intrinsics), free(out.depth), free(out.valid);
    sp_tracker_close(tracker);
}

static void bench_sam(SpCheckpoint *checkpoint, const SpSafetensors *file, SpDevice *device)
{
    SpSam *sam;
    check(sp_sam_open(checkpoint, &sam));
    const SpTensor *rgb = sp_safetensors_find(file, "rgb"), *at = tensor(file, "point");
    if (!rgb || rgb->dtype != SP_U8)
        stop("the input has no U8 tensor rgb");
    const int64_t pixels = rgb->dim[0] * rgb->dim[1];
    const float *place = at->data;
    const double point[2] = {(double)place[0], (double)place[1]};
    const int label = 1;
    const SpPrompt prompt = {1, point, &label, NULL};
    const SpSamInput input = {.height = rgb->dim[0],
                              .width = rgb->dim[1],
                              .rgb = rgb->data,
                              .objects = 1,
                              .prompt = &prompt};
    float iou, *share = floats(pixels);
    uint8_t *mask = malloc((size_t)pixels);
    if (!mask)
        stop("no memory for the mask");
    SpNn dry = sp_nn_dry(device);
    check(sp_sam_run(sam, &dry, &input, NULL));
    const Begin begin = begin_now();
    SpNn nn = open_nn(device, &dry);
    check(sp_sam_run(sam, &nn, &input, &(SpSamOutput){mask, &iou}));
    report(&nn, &dry, begin);
    for (int64_t i = 0; i < pixels; i++)
        share[i] = mask[i];
    printf(", \"means\": [%.6g, %.6g]", mean(share, pixels), (double)iou);
    sp_nn_close(&nn);
    free(share), free(mask);
    sp_sam_close(sam);
}

int main(int argc, char **argv)
{
    const char *isa = NULL;
    if (argc > 6 && strcmp(argv[argc - 2], "--isa") == 0) {
        isa = argv[argc - 1];
        argc -= 2;
    }
    if (argc < 5)
        stop("usage: bench front|tracker|sam CHECKPOINT INPUT THREADS [SUPPORT] [--isa NAME]");
    SpCheckpoint *checkpoint;
    SpSafetensors *file;
    SpDevice *device;
    check(sp_checkpoint_open(argv[2], &checkpoint));
    check(sp_safetensors_open(argv[3], SP_INPUT, &file));
    check(sp_cpu_open_isa(atoi(argv[4]), isa, &device));
    double rate;
    if (strcmp(argv[1], "front") == 0) {
        bench_front(checkpoint, file, device);
        rate = product_rate(device, 3072, 4096, 1024);
    } else if (strcmp(argv[1], "sam") == 0) {
        bench_sam(checkpoint, file, device);
        rate = product_rate(device, 1536, 3072, 768);
    } else {
        bench_tracker(checkpoint, file, device, argc > 5 ? atoi(argv[5]) : 756);
        rate = product_rate(device, 3072, 1536, 384);
    }
    printf(", \"product_rate\": %.4g}\n", rate);
    device->close(device);
    sp_safetensors_close(file);
    sp_checkpoint_close(checkpoint);
    return 0;
}
