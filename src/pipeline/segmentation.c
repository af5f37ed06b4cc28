#include "pipeline/segmentation.h"

#include <stdlib.h>

/* What --sam auto tries, best first. */
static const SpModelId preferred[] = {SP_MODEL_SAM_HUGE, SP_MODEL_SAM_LARGE, SP_MODEL_SAM_BASE,
                                      SP_MODEL_SAM_LITE};
enum { PREFERRED = sizeof preferred / sizeof *preferred };

/* What --sam asks for by name. */
static SpModelId named(const SpJob *job)
{
    return (SpModelId)(SP_MODEL_SAM_BASE + job->sam - 1);
}

/* Whether the weights are there, and where: for lite at least in the program. */
static bool locate(const SpJob *job, SpModelId model, SpLocated *place)
{
    if (sp_weights_locate(job->weights, model, place).code != SP_OK)
        *place = (SpLocated){.model = model, .embedded = true, .where = "built in"};
    return sp_weights_exist(place);
}

static SpStatus not_there(const SpJob *job)
{
    SpLocated place;
    const char *name = sp_model_info(named(job))->name;
    SP_TRY(sp_weights_locate(job->weights, named(job), &place));
    return sp_error(SP_CHECKPOINT, "no %s weights are installed; %s %s fetches them", name,
                    sp_weights_make(), name);
}

SpStatus sp_segmentation_check_weights(const SpJob *job)
{
    SpLocated place;
    return !job->sam || locate(job, named(job), &place) ? sp_ok() : not_there(job);
}

/* What SAM is run on. */
typedef struct Call {
    const SpModels *models;
    SpSamInput input;
    SpSamOutput output;
    SpPrompt prompt[2 * SP_MAX_TEXTS]; /* what the user points at, cut to the frame */
    double box[4 * 2 * SP_MAX_TEXTS];
    size_t too_large; /* bytes of a better model, which is there but does not fit; or 0 */
} Call;

static SpStatus call_sam(void *self, SpNn *nn)
{
    const Call *call = self;
    return sp_sam_run(call->models->model[SP_STAGE_SAM].sam, nn, &call->input, &call->output);
}

static SpStatus make_call(const SpRun *run, Call *call)
{
    const SpJob *job = run->job;
    const SpClip *clip = &run->clip;
    *call = (Call){.models = run->models,
                   .input = {.height = clip->plan.input_height,
                             .width = clip->plan.input_width,
                             .rgb = clip->original,
                             .short_side = SP_SAM_SHORT_SIDE,
                             .objects = job->prompts->objects,
                             .prompt = call->prompt,
                             .select = job->mask_select}};
    if (!clip->original)
        return sp_error(SP_USAGE,
                        "--prompt-frame is %lld; it must be one of the used frames 0..%lld",
                        (long long)job->prompt_frame, (long long)run->length - 1);
    return sp_prompts_fit(job->prompts, call->input.height, call->input.width, call->prompt,
                          call->box);
}

/* What --sam asks for; with auto the largest that is there and fits. */
static SpStatus choose_model(SpRun *run, Call *call)
{
    const SpJob *job = run->job;
    SpModels *models = run->models;
    SpFootprint *footprint = &run->footprint[SP_STAGE_SAM];
    SpStatus status = job->sam ? not_there(job) : sp_ok();
    for (int i = 0; i < PREFERRED; i++) {
        SpLocated place;
        SpMemoryLimits limits;
        bool fits;
        if ((job->sam && preferred[i] != named(job)) || !locate(job, preferred[i], &place))
            continue;
        SP_TRY(sp_models_acquire(models, SP_STAGE_SAM, &place));
        SP_TRY(sp_models_memory_limits(models, &limits));
        SP_TRY(sp_models_plan(models, SP_STAGE_SAM, &limits, call_sam, call, footprint, &fits));
        if (fits)
            return sp_ok();
        status = sp_models_do_not_fit(models, "SAM needs", footprint, 0, &limits, "");
        call->too_large = footprint->device + footprint->weights + footprint->host;
    }
    return status;
}

SpStatus sp_segmentation_plan(SpRun *run)
{
    Call call;
    SP_TRY(make_call(run, &call));
    return choose_model(run, &call);
}

/* Which weights are used; a note where that is not what might be expected. */
static void report_weights(const SpRun *run, const Call *call)
{
    const SpLocated *place = &run->models->model[SP_STAGE_SAM].place;
    if (place->embedded && call->too_large && !run->models->reported_lite_sam)
        sp_console_note(run->console,
                        "using the built-in lite weights for SAM: larger ones need %.1f MB, more "
                        "than there is",
                        (double)call->too_large / 0x1p20);
    else if (place->embedded && !run->models->reported_lite_sam)
        sp_console_note(run->console,
                        "using the built-in lite weights for SAM; get published ones with "
                        "%s sam-base",
                        sp_weights_make());
    run->models->reported_lite_sam |= place->embedded;
    sp_console_detail(run->console, "weights: %s (%s)", place->embedded ? "SAM" : place->folder,
                      place->where);
}

/* What was found; an error when that is nothing at all. */
static SpStatus report_mask(const SpRun *run, const float *iou)
{
    const SpPrompts *prompts = run->job->prompts;
    const int64_t pixels = run->clip.plan.input_height * run->clip.plan.input_width;
    int64_t count[1 + 2 * SP_MAX_TEXTS] = {0};
    for (int64_t i = 0; i < pixels; i++)
        count[run->mask[i]]++;
    if (count[0] == pixels)
        return sp_error(SP_USAGE, "SAM found nothing there; give other points or a box");
    for (int64_t k = 0; k < prompts->objects; k++)
        if (count[k + 1] == 0)
            sp_console_warn(run->console, "SAM found no pixel of %s", prompts->name[k]);
        else
            sp_console_detail(run->console,
                              "%s: %lld pixels, %.1f %% of the frame; predicted IoU %.2f",
                              prompts->name[k], (long long)count[k + 1],
                              100 * (double)count[k + 1] / (double)pixels, (double)iou[k]);
    return sp_ok();
}

SpStatus sp_segmentation_run(SpRun *run)
{
    float iou[2 * SP_MAX_TEXTS];
    Call call;
    SP_TRY(make_call(run, &call));
    SP_TRY(choose_model(run, &call));
    report_weights(run, &call);
    run->mask = malloc((size_t)(call.input.height * call.input.width));
    if (!run->mask)
        return sp_no_memory("the mask");
    call.output = (SpSamOutput){run->mask, iou};
    SP_TRY(sp_models_run(run->models, SP_STAGE_SAM, &run->footprint[SP_STAGE_SAM], 0, call_sam,
                         &call, &run->report));
    return report_mask(run, iou);
}
