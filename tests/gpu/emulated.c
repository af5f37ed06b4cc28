/* The front network on the emulated CUDA device against the CPU: weights resident and streamed, in
 * float32 and in half precision. */
#include <stdlib.h>
#include <string.h>

#include "gpu/check.h"
#include "gpu/emulate/device.h"
#include "gpu/fronts.h"

static void compare(const char *name, const Clip *ours, const Clip *cpu)
{
    const int64_t area = cpu->frames * cpu->height * cpu->width;
    const double depth = worst_error(ours->depth, cpu->depth, area);
    const double confidence = worst_error(ours->confidence, cpu->confidence, area);
    const double pose = worst_error(ours->c2w, cpu->c2w, 16 * cpu->frames);
    check(depth <= 1e-4 && confidence <= 1e-4 && pose <= 1e-4,
          "%s: depth %.2g, confidence %.2g, poses %.2g of the CPU's", name, depth, confidence,
          pose);
}

static void correlate(const char *name, const Clip *ours, const Clip *cpu)
{
    const double depth =
        correlation(ours->depth, cpu->depth, cpu->frames * cpu->height * cpu->width);
    const double pose = correlation(ours->pose_enc, cpu->pose_enc, 9 * cpu->frames);
    check(depth >= 0.999 && pose >= 0.999, "%s: correlation of depth %.6f, poses %.6f", name, depth,
          pose);
}

int main(void)
{
    const char *goldens = getenv("SP_GOLDEN_DIR");
    SpDevice *cpu, *gpu = emulated_open(8);
    Front front;
    Took took;
    if (!goldens || !check_status(front_make(goldens, "front_tiny", SP_F32, &front), "weights") ||
        !check_status(sp_cpu_open(1, &cpu), "cpu"))
        return check_end();
    Clip exact = clip_of_noise(6, 42, 56), ours = clip_again(&exact), again = clip_again(&exact);
    SpPlan plan = {.weights = SP_IN_PLACE};
    check_status(front_run(&front, cpu, &plan, &exact, &took), "the CPU");
    plan.weights = SP_RESIDENT;
    check_status(front_run(&front, gpu, &plan, &ours, &took), "resident");
    check(took.planned == took.peak, "as much memory as planned");
    compare("float32", &ours, &exact);
    plan = (SpPlan){.weights = SP_STREAMED, .queries = SP_ROW_TILE, .rows = SP_ROW_TILE};
    emulate_descending = true;
    check_status(front_run(&front, gpu, &plan, &again, &took), "streamed");
    check(memcmp(ours.depth, again.depth,
                 (size_t)(ours.frames * ours.height * ours.width) * sizeof *ours.depth) == 0,
          "streamed, threads in the other order: the same bits");
    plan = (SpPlan){.weights = SP_RESIDENT, .taps_on_device = true, .roomy = true};
    check_status(front_run(&front, gpu, &plan, &again, &took),
                 "four frames' depth at a time, then two");
    check(took.planned == took.peak, "as much memory as planned");
    check(memcmp(ours.depth, again.depth,
                 (size_t)(ours.frames * ours.height * ours.width) * sizeof *ours.depth) == 0,
          "four frames' depth at a time: the same bits");
    plan = (SpPlan){.weights = SP_RESIDENT, .precision = SP_PRECISION_BF16};
    check_status(front_run(&front, gpu, &plan, &again, &took), "bf16");
    correlate("bf16", &again, &exact);
    clip_again_end(&ours), clip_again_end(&again), clip_end(&exact);
    front_end(&front);
    gpu->close(gpu), cpu->close(cpu);
    return check_end();
}
