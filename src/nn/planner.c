#include "nn/planner.h"

#include <math.h>

#include "base/clock.h"

/* From the fastest to the leanest, but for the weights. What each step costs: outputs by way of the
 * host two copies of them; maps on the host a copy of them whenever they are read; queries in parts
 * the second computing of k and v, some 2 %; repeats that are not kept their copies; few rows at a
 * time small products. */
static const SpPlan levels[] = {
    {.whole_repeats = true, .taps_on_device = true},
    {.whole_repeats = true},
    {.whole_repeats = true, .maps_on_host = true},
    {.whole_repeats = true, .maps_on_host = true, .queries = 32 * SP_ROW_TILE},
    {.maps_on_host = true, .queries = 8 * SP_ROW_TILE},
    {.maps_on_host = true, .queries = 2 * SP_ROW_TILE, .rows = 2 * SP_ROW_TILE},
    {.maps_on_host = true, .queries = SP_ROW_TILE, .rows = SP_ROW_TILE},
};
enum { LEVELS = sizeof levels / sizeof *levels };

/* Outputs stay on the device while a stage takes no more than this of it, library's room included:
 * their copies cost a few hundredths of the time, other programs may want the memory. */
static const size_t LIGHT = 2000000000;

const char *sp_plan_mode(const SpPlan *plan)
{
    static const char *const name[][2] = {{"in place", "in place, host maps"},
                                          {"resident", "resident, host maps"},
                                          {"streamed", "streamed, host maps"}};
    return name[plan->weights][plan->maps_on_host];
}

SpStatus sp_plan_need(SpDevice *device, const SpDryRun *stage, const SpPlan *plan, SpNeed *need)
{
    SpNn dry = sp_nn_dry(device);
    dry.plan = *plan;
    dry.weights = stage->weights;
    SP_TRY(stage->run(stage->self, &dry));
    *need = (SpNeed){.plan = *plan,
                     .device = dry.arena.peak,
                     .host = dry.host.peak,
                     .moved_bytes = dry.moved_bytes};
    need->plan.maps_on_host = plan->maps_on_host && dry.has_maps;
    for (int i = 0; i < SP_WORKS; i++)
        need->work[i] = dry.work[i];
    if (plan->weights == SP_RESIDENT) {
        need->weights =
            sp_weights_bytes(stage->weights, 1, sp_weights_segments(stage->weights) - 1);
        need->moved_bytes += (double)need->weights;
    }
    return sp_ok();
}

static bool too_heavy(const SpDevice *device, const SpNeed *need)
{
    return need->plan.taps_on_device &&
           need->device + need->weights + device->workspace_bytes > LIGHT;
}

bool sp_plan_fits(const SpDevice *device, const SpNeed *need, const SpRoom *room)
{
    const size_t on_device = need->device + need->weights;
    return on_device <= room->device &&
           need->host + (device->reads_host ? on_device : 0) <= room->host;
}

/* In which order the weights' modes are tried; a model that is used once streams as fast as it
 * loads, or faster, as its copies are hidden. */
static int modes_of(const SpDevice *device, const SpWish *wish, SpWeightMode modes[2])
{
    modes[0] = wish->forced ? wish->mode : device->reads_host ? SP_IN_PLACE : SP_RESIDENT;
    if (wish->forced || device->reads_host)
        return 1;
    modes[!wish->keep] = SP_RESIDENT;
    modes[wish->keep] = SP_STREAMED;
    return 2;
}

SpStatus sp_plan_choose(SpDevice *device, const SpDryRun *stage, const SpWish *wish,
                        const SpRoom *room, SpNeed *need, bool *fits)
{
    SpWeightMode modes[2];
    SpNeed tried;
    const int count = modes_of(device, wish, modes);
    *fits = false;
    *need = (SpNeed){.device = SIZE_MAX};
    if (wish->forced && wish->mode == SP_IN_PLACE && !device->reads_host)
        return sp_error(SP_USAGE, "%s cannot read weights in place; leave out --weight-mode",
                        device->name);
    /* A device of its own memory leaves to the host what waits, as copies run beside its ops, and
     * keeps it where the host lacks the room. Where device memory is host memory, outputs have no
     * way to go. */
    for (int spare = !device->reads_host; spare >= 0 && !*fits; spare--)
        for (int level = device->reads_host; level < LEVELS && !*fits; level++)
            for (int i = 0; i < count && !*fits; i++) {
                SpPlan plan = levels[level];
                plan.weights = modes[i];
                plan.precision = wish->precision;
                plan.maps_on_host = device->reads_host ? plan.maps_on_host : spare;
                SP_TRY(sp_plan_need(device, stage, &plan, &tried));
                *fits = sp_plan_fits(device, &tried, room) && !(spare && too_heavy(device, &tried));
                if (*fits || tried.device + tried.weights < need->device + need->weights)
                    *need = tried;
            }
    return sp_ok();
}

/* The sizes of a published front's layers: rows of `W` values. */
enum { ROWS = 4 * SP_ROW_TILE, W = 1024, HEADS = 16, SIDE = 64, CHANNELS = 256 };

/* Runs one op of each kind on nn, whose arena lies over memory of the device. */
static void run_one(SpNn *nn, SpWork kind, float *x, float *w, float *y)
{
    const SpTensor weights = {w, SP_F32, 2, {W, W}};
    if (kind == SP_WORK_PRODUCT)
        sp_nn_linear(nn, x, ROWS, weights, NULL, SP_IDENTITY, y);
    else if (kind == SP_WORK_ATTENTION)
        sp_nn_run(nn, attention,
                  &(SpAttention){.batch = 1,
                                 .nq = ROWS,
                                 .nk = ROWS,
                                 .heads = HEADS,
                                 .head = W / HEADS,
                                 .scale = 1,
                                 .q = x,
                                 .k = x,
                                 .v = x,
                                 .q_row = W,
                                 .k_row = W,
                                 .v_row = W,
                                 .y = y,
                                 .y_row = W});
    else
        sp_nn_run(nn, conv2d,
                  &(SpConv2d){.x = x,
                              .n = 1,
                              .h = SIDE,
                              .w = SIDE,
                              .cin = CHANNELS,
                              .ldx = CHANNELS,
                              .packed = w,
                              .cout = CHANNELS,
                              .kh = 3,
                              .kw = 3,
                              .stride = 1,
                              .pad = 1,
                              .y = y,
                              .ldy = CHANNELS});
}

/* Operations a second: the second of two runs, as the first one touches the memory. */
static SpStatus measure(SpNn *nn, SpNn *dry, SpWork kind, float *x, float *w, float *y,
                        double *rate)
{
    double seconds = 0;
    dry->work[kind] = 0;
    run_one(dry, kind, x, w, y);
    for (int i = 0; i < 2; i++) {
        const double began = sp_clock();
        run_one(nn, kind, x, w, y);
        SP_TRY(nn->device->status(nn->device));
        seconds = sp_clock() - began;
    }
    *rate = dry->work[kind] / fmax(seconds, 1e-9);
    return nn->status;
}

SpStatus sp_rates_measure(SpDevice *device, SpPrecision precision, SpRates *rates)
{
    const int64_t size = ROWS * W;
    const size_t bytes = (size_t)size * sizeof(float);
    SpNn nn, dry = sp_nn_dry(device);
    SP_TRY(sp_nn_open(device, 3 * bytes, bytes, &nn));
    float *x = sp_nn_floats(&nn, size), *w = sp_nn_floats(&nn, size), *y = sp_nn_floats(&nn, size);
    char *host = sp_nn_host(&nn, bytes);
    for (size_t i = 0; i < bytes; i++)
        host[i] = 0;
    nn.plan.precision = precision;
    sp_nn_precision(&nn, precision);
    SpStatus status = sp_ok();
    for (int i = 0; i < 2; i++) {
        const double began = sp_clock();
        device->release_slot(device, 0);
        device->prefetch(device, 0, i ? w : x, host, bytes);
        device->wait_slot(device, 0);
        status = device->status(device);
        rates->moved_bytes = (double)bytes / fmax(sp_clock() - began, 1e-9);
    }
    for (SpWork kind = 0; kind < SP_WORKS && status.code == SP_OK; kind++)
        status = measure(&nn, &dry, kind, x, w, y, &rates->work[kind]);
    sp_nn_precision(&nn, SP_PRECISION_F32);
    sp_nn_close(&nn);
    return status;
}

double sp_plan_seconds(const SpDevice *device, const SpNeed *need, const SpRates *rates)
{
    const double first = (double)need->weights / rates->moved_bytes; /* before the stage begins */
    const double moving = need->moved_bytes / rates->moved_bytes - first;
    double seconds = 0;
    for (int i = 0; i < SP_WORKS; i++)
        seconds += need->work[i] / rates->work[i];
    return first + (device->reads_host ? seconds + moving : fmax(seconds, moving));
}
