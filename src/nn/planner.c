#include "nn/planner.h"

#include <math.h>

#include "base/clock.h"
#include "nn/layers.h"

/* Candidates from the fastest to the leanest, but for the weights. What each step costs: taps on
 * the host two copies of them; features on the host a copy of them whenever they are read; queries
 * in parts computing k and v twice, some 2 %; loop weights that are not kept their copies; few rows
 * at a time small products, which leave a third of a large card's multiprocessors idle. */
enum { WIDE = 32 * SP_ROW_TILE };
/* Of a card with memory to spare (has_room); and where it has none. */
static const SpPlan with_room = {
    .keep_loop_weights = true, .taps_on_device = true, .rows = WIDE, .roomy = true};
static const SpPlan candidates[] = {
    {.keep_loop_weights = true, .taps_on_device = true, .rows = WIDE},
    {.keep_loop_weights = true, .rows = WIDE},
    {.keep_loop_weights = true},
    {.keep_loop_weights = true, .features_on_host = true},
    {.keep_loop_weights = true, .features_on_host = true, .queries = 32 * SP_ROW_TILE},
    {.features_on_host = true, .queries = 8 * SP_ROW_TILE},
    {.features_on_host = true, .queries = 2 * SP_ROW_TILE, .rows = 2 * SP_ROW_TILE},
    {.features_on_host = true, .queries = SP_ROW_TILE, .rows = SP_ROW_TILE},
};
/* FOR_HOST: the first of a device whose memory is the host's. */
enum { CANDIDATES = sizeof candidates / sizeof *candidates, FOR_HOST = 2 };

/* Taps stay on the device while a stage takes no more than this of it, the libraries' workspace
 * included, or no more than this share of what is free: other programs may want the memory. */
static const size_t MAX_BYTES_WITH_TAPS = 2000000000;
enum { SHARE = 8 };

const char *sp_plan_mode(const SpPlan *plan)
{
    static const char *const name[][2] = {{"in place", "in place, host maps"},
                                          {"resident", "resident, host maps"},
                                          {"streamed", "streamed, host maps"}};
    return name[plan->weights][plan->features_on_host];
}

SpStatus sp_plan_footprint(SpDevice *device, const SpDryRun *stage, const SpPlan *plan,
                           SpFootprint *footprint)
{
    SpNn dry = sp_nn_dry(device);
    dry.plan = *plan;
    dry.weights = stage->weights;
    SP_TRY(stage->run(stage->self, &dry));
    *footprint = (SpFootprint){.plan = *plan,
                               .device = dry.arena.peak,
                               .host = dry.host.peak,
                               .moved_bytes = dry.moved_bytes};
    footprint->plan.features_on_host = plan->features_on_host && dry.caches_features;
    for (int i = 0; i < SP_WORKS; i++)
        footprint->work[i] = dry.work[i];
    if (plan->weights == SP_RESIDENT) {
        footprint->weights =
            sp_weights_bytes(stage->weights, 1, sp_weights_groups(stage->weights) - 1);
        footprint->moved_bytes += (double)footprint->weights;
    }
    return sp_ok();
}

static bool taps_too_large(const SpDevice *device, const SpFootprint *footprint,
                           const SpMemoryLimits *limits)
{
    const size_t bytes = footprint->device + footprint->weights + device->workspace_bytes;
    return footprint->plan.taps_on_device && bytes > MAX_BYTES_WITH_TAPS &&
           bytes > limits->device / SHARE;
}

/* Features stay on a device where a stage with them takes a small share of it. */
static bool has_room(const SpDevice *device, const SpFootprint *footprint,
                     const SpMemoryLimits *limits)
{
    return footprint->device + footprint->weights + device->workspace_bytes <=
           limits->device / SHARE;
}

static bool fits_limits(const SpDevice *device, const SpFootprint *footprint,
                        const SpMemoryLimits *limits)
{
    const size_t on_device = footprint->device + footprint->weights;
    return on_device <= limits->device &&
           footprint->host + (device->reads_host ? on_device : 0) <= limits->host;
}

/* In which order the weights' modes are tried; a model that is used once streams as fast as it
 * loads, or faster, as its copies are hidden. Returns how many there are. */
static int modes_of(const SpDevice *device, const SpPlanConstraints *constraints,
                    SpWeightMode modes[2])
{
    modes[0] = constraints->keep_weights ? SP_RESIDENT : SP_STREAMED;
    modes[1] = constraints->keep_weights ? SP_STREAMED : SP_RESIDENT;
    if (constraints->forced)
        modes[0] = constraints->mode;
    else if (device->reads_host)
        modes[0] = SP_IN_PLACE;
    return constraints->forced || device->reads_host ? 1 : 2;
}

SpStatus sp_plan_choose(SpDevice *device, const SpDryRun *stage,
                        const SpPlanConstraints *constraints, const SpMemoryLimits *limits,
                        SpFootprint *footprint, bool *fits)
{
    SpWeightMode modes[2];
    SpFootprint tried;
    const bool host = device->reads_host; /* device memory is host memory */
    const int count = modes_of(device, constraints, modes);
    *fits = false;
    *footprint = (SpFootprint){.device = SIZE_MAX};
    if (constraints->forced && constraints->mode == SP_IN_PLACE && !host)
        return sp_error(SP_USAGE, "%s cannot read weights in place; use another --weight-mode",
                        device->name);
    if (!host) { /* the fastest of all, if there is room for it */
        SpPlan plan = with_room;
        plan.weights = modes[0];
        plan.precision = constraints->precision;
        SP_TRY(sp_plan_footprint(device, stage, &plan, footprint));
        *fits = fits_limits(device, footprint, limits) && has_room(device, footprint, limits);
    }
    /* Else a device of its own memory leaves features to the host, as copies run in parallel to its
     * ops, unless the host lacks the memory. Where device memory is host memory, taps have nowhere
     * else to go. */
    for (int on_host = !host; on_host >= 0 && !*fits; on_host--)
        for (int i = host ? FOR_HOST : 0; i < CANDIDATES && !*fits; i++)
            for (int m = 0; m < count && !*fits; m++) {
                SpPlan plan = candidates[i];
                plan.weights = modes[m];
                plan.precision = constraints->precision;
                plan.features_on_host = host ? plan.features_on_host : on_host;
                SP_TRY(sp_plan_footprint(device, stage, &plan, &tried));
                *fits = fits_limits(device, &tried, limits) &&
                        !(on_host && taps_too_large(device, &tried, limits));
                if (*fits || tried.device + tried.weights < footprint->device + footprint->weights)
                    *footprint = tried;
            }
    return sp_ok();
}

/* The sizes of a published front's layers: rows of `W` values, maps of SIDE x SIDE. A CPU's
 * rate is the same on a part of a map, and known sooner. */
enum { ROWS = 4 * SP_ROW_TILE, W = 1024, HEADS = 16, SIDE = 64, CPU_SIDE = 24, CHANNELS = 256 };

/* Runs one op of a kind on nn, whose arena lies over memory of the device. */
static void run_one(SpNn *nn, SpWork kind, float *x, float *w, float *y)
{
    const int64_t side = nn->device->reads_host ? CPU_SIDE : SIDE;
    const SpDense dense = {.w = {w, SP_F32, 2, {W, W}}};
    const SpConvWeights conv = {.w = {w, SP_F32, 4, {CHANNELS, CHANNELS, 3, 3}}, .packed = w};
    if (kind == SP_WORK_PRODUCT)
        sp_dense_run(nn, &dense, x, ROWS, SP_IDENTITY, y);
    else if (kind == SP_WORK_ATTENTION)
        sp_attention_run(nn, HEADS, W,
                         (SpAttention){1, ROWS, ROWS, .q = x, .q_row = W, .k = x, .k_row = W,
                                       .v = x, .v_row = W, .y = y});
    else
        sp_nn_convolve(nn, (SpFeatureMap){x, 1, side, side, CHANNELS}, &conv, 1, SP_IDENTITY, NULL,
                       (SpFeatureMap){y, 1, side, side, CHANNELS});
}

/* Operations a second: the second of two runs, as the first one touches the memory. */
static SpStatus measure(SpNn *nn, SpNn *dry, SpWork kind, float *x, float *w, float *y,
                        double *rate)
{
    double seconds = 0;
    dry->work[kind] = 0;
    run_one(dry, kind, x, w, y);
    for (int i = 0; i < 2; i++) {
        const double start = sp_clock();
        run_one(nn, kind, x, w, y);
        SP_TRY(nn->device->status(nn->device));
        seconds = sp_clock() - start;
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
    float *x = sp_nn_alloc(&nn, size), *w = sp_nn_alloc(&nn, size), *y = sp_nn_alloc(&nn, size);
    char *host = sp_nn_alloc_host(&nn, bytes);
    for (size_t i = 0; i < bytes; i++)
        host[i] = 0;
    nn.plan.precision = precision;
    sp_nn_precision(&nn, precision);
    SpStatus status = sp_ok();
    for (int i = 0; i < 2; i++) {
        const double start = sp_clock();
        device->release_slot(device, 0);
        device->prefetch(device, 0, i ? w : x, host, bytes);
        device->wait_slot(device, 0);
        status = device->status(device);
        rates->moved_bytes = (double)bytes / fmax(sp_clock() - start, 1e-9);
    }
    for (SpWork kind = 0; kind < SP_WORKS && status.code == SP_OK; kind++)
        status = measure(&nn, &dry, kind, x, w, y, &rates->work[kind]);
    sp_nn_precision(&nn, SP_PRECISION_F32);
    sp_nn_close(&nn);
    return status;
}

double sp_plan_seconds(const SpDevice *device, const SpFootprint *footprint, const SpRates *rates)
{
    const double loading = (double)footprint->weights / rates->moved_bytes; /* before the stage */
    const double moving = footprint->moved_bytes / rates->moved_bytes - loading;
    double seconds = 0;
    for (int i = 0; i < SP_WORKS; i++)
        seconds += footprint->work[i] / rates->work[i];
    return loading + (device->reads_host ? seconds + moving : fmax(seconds, moving));
}
