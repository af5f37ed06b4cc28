#include "pipeline/segmentation.h"

#include <stdlib.h>

#include "store/registry.h"

/* What --sam auto tries, best first. */
static const SpSamChoice preferred[] = {SP_SAM_HUGE, SP_SAM_LARGE, SP_SAM_BASE, SP_SAM_LITE};
enum { PREFERRED = sizeof preferred / sizeof *preferred };

static const char *name_of(SpSamChoice choice)
{
    static const SpModelId id[] = {[SP_SAM_BASE] = SP_MODEL_SAM_BASE,
                                   [SP_SAM_LARGE] = SP_MODEL_SAM_LARGE,
                                   [SP_SAM_HUGE] = SP_MODEL_SAM_HUGE,
                                   [SP_SAM_LITE] = SP_MODEL_SAM_LITE};
    return sp_model_info(id[choice])->name;
}

/* Whether the weights are there, and where: for lite at least in the program. */
static bool locate(const SpJob *job, SpSamChoice choice, SpLocated *place)
{
    if (sp_weights_locate(job->weights, name_of(choice), place).code == SP_OK && !place->embedded)
        return true;
    *place = (SpLocated){.embedded = true, .where = "built in"};
    return choice == SP_SAM_LITE;
}

static SpStatus not_there(const SpJob *job, SpSamChoice choice)
{
    SpLocated place;
    SP_TRY(sp_weights_locate(job->weights, name_of(choice), &place));
    return sp_error(SP_CHECKPOINT,
                    "no %s weights are installed; make -f weights.mk %s fetches them",
                    name_of(choice), name_of(choice));
}

SpStatus sp_segmentation_check_weights(const SpJob *job)
{
    SpLocated place;
    const bool found = job->sam == SP_SAM_AUTO || locate(job, job->sam, &place);
    return found ? sp_ok() : not_there(job, job->sam);
}

/* What SAM is run on. */
typedef struct Call {
    const SpModels *models;
    SpSamInput input;
    SpSamOutput output;
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
                             .prompt = job->prompts->prompt,
                             .select = job->mask_select}};
    if (!clip->original)
        return sp_error(SP_USAGE,
                        "--prompt-frame is %lld; it must be one of the used frames 0..%lld",
                        (long long)job->prompt_frame, (long long)clip->frames - 1);
    return sp_prompts_check(job->prompts, call->input.height, call->input.width);
}

/* What --sam asks for; with auto the largest that is there and fits. */
static SpStatus choose_model(SpRun *run, Call *call, SpFootprint *footprint, const char **name)
{
    const SpJob *job = run->job;
    SpModels *models = run->models;
    SpStatus status = job->sam == SP_SAM_AUTO ? sp_ok() : not_there(job, job->sam);
    for (int i = 0; i < PREFERRED; i++) {
        SpLocated place;
        SpMemoryLimits limits;
        bool fits;
        if ((job->sam != SP_SAM_AUTO && preferred[i] != job->sam) ||
            !locate(job, preferred[i], &place))
            continue;
        *name = name_of(preferred[i]);
        SP_TRY(sp_models_acquire(models, SP_STAGE_SAM, *name, &place));
        SP_TRY(sp_models_memory_limits(models, 0, &limits));
        SP_TRY(sp_models_plan(models, SP_STAGE_SAM, &limits, call_sam, call, footprint, &fits));
        if (fits)
            return sp_ok();
        status = sp_models_do_not_fit(models, "SAM needs", footprint, 0, &limits, NULL);
        call->too_large = footprint->device + footprint->weights + footprint->host;
    }
    return status;
}

SpStatus sp_segmentation_plan(SpRun *run, SpFootprint *footprint, const char **name)
{
    Call call;
    SP_TRY(make_call(run, &call));
    return choose_model(run, &call, footprint, name);
}

/* Which weights are used; a note where that is not what might be expected. */
static void report_weights(const SpRun *run, const Call *call)
{
    const SpLocated *place = &run->models->model[SP_STAGE_SAM].place;
    if (place->embedded && call->too_large)
        sp_console_note(run->console,
                        "using the built-in lite weights for SAM: larger ones need %.1f MB, more "
                        "than there is",
                        (double)call->too_large / 0x1p20);
    else if (place->embedded)
        sp_console_note(run->console,
                        "using the built-in lite weights for SAM; get published ones with "
                        "make -f weights.mk sam-base");
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
            sp_console_warn(run->console, "SAM found nothing of %s", prompts->name[k]);
        else
            sp_console_detail(run->console,
                              "%s: %lld pixels, %.1f %% of the frame; predicted IoU %.2f",
                              prompts->name[k], (long long)count[k + 1],
                              100 * (double)count[k + 1] / (double)pixels, (double)iou[k]);
    return sp_ok();
}

SpStatus sp_segmentation_run(SpRun *run)
{
    const char *name;
    float iou[2 * SP_MAX_TEXTS];
    SpFootprint footprint;
    Call call;
    SP_TRY(make_call(run, &call));
    SP_TRY(choose_model(run, &call, &footprint, &name));
    report_weights(run, &call);
    run->mask = malloc((size_t)(call.input.height * call.input.width));
    if (!run->mask)
        return sp_no_memory("the mask");
    call.output = (SpSamOutput){run->mask, iou};
    SP_TRY(sp_models_run(run->models, SP_STAGE_SAM, &footprint, 0, call_sam, &call,
                         sp_run_new_stage(run)));
    return report_mask(run, iou);
}
