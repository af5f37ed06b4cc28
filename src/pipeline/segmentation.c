#include "pipeline/segmentation.h"

#include <stdlib.h>

static const char *const folder_of[] = {[SP_SAM_BASE] = "sam-base",
                                        [SP_SAM_LARGE] = "sam-large",
                                        [SP_SAM_HUGE] = "sam-huge",
                                        [SP_SAM_LITE] = "sam-lite"};

/* What --sam auto tries, best first. */
static const SpSamChoice preferred[] = {SP_SAM_HUGE, SP_SAM_LARGE, SP_SAM_BASE, SP_SAM_LITE};
enum { PREFERRED = sizeof preferred / sizeof *preferred };

/* Whether the weights are there, and where: for lite at least in the program. */
static bool locate(const SpJob *job, SpSamChoice choice, SpLocated *place)
{
    if (sp_weights_locate(job->weights, folder_of[choice], place).code == SP_OK && !place->embedded)
        return true;
    *place = (SpLocated){.embedded = true, .where = "built in"};
    return choice == SP_SAM_LITE;
}

static SpStatus not_there(const SpJob *job, SpSamChoice choice)
{
    SpLocated place;
    SP_TRY(sp_weights_locate(job->weights, folder_of[choice], &place));
    return sp_error(SP_CHECKPOINT,
                    "no %s weights are installed; make -f weights.mk %s fetches them",
                    folder_of[choice], folder_of[choice]);
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
    size_t passed; /* bytes that a better one needs, which is there but does not fit; or 0 */
} Call;

static SpStatus call_sam(void *self, SpNn *nn)
{
    const Call *call = self;
    return sp_sam_run(call->models->model[SP_STAGE_SAM].sam, nn, &call->input, &call->output);
}

static SpStatus make_call(const SpJob *job, const SpPrompts *prompts, const SpClip *clip,
                          const SpModels *models, Call *call)
{
    *call = (Call){.models = models,
                   .input = {.height = clip->plan.input_height,
                             .width = clip->plan.input_width,
                             .rgb = clip->original,
                             .short_side = SP_SAM_SHORT_SIDE,
                             .objects = prompts->objects,
                             .prompt = prompts->prompt,
                             .select = job->mask_select}};
    if (!clip->original)
        return sp_error(SP_USAGE,
                        "--prompt-frame is %lld; it must be one of the used frames 0..%lld",
                        (long long)job->prompt_frame, (long long)clip->frames - 1);
    return sp_prompts_check(prompts, call->input.height, call->input.width);
}

static SpStatus does_not_fit(const SpModels *models, const SpFootprint *need,
                             const SpMemoryLimits *room)
{
    const SpDevice *device = models->device;
    const size_t on_device = need->device + need->weights, beside = device->workspace_bytes;
    if (on_device > room->device)
        return sp_error(SP_MEMORY, "SAM needs %.1f MB on the device, %.1f MB are %s",
                        (double)(on_device + beside) / 0x1p20,
                        (double)(room->device + beside) / 0x1p20,
                        models->job->vram_budget ? "allowed (--vram-budget)" : "available");
    return sp_error(SP_MEMORY, "SAM needs %.1f MB, %.1f MB are available",
                    (double)(need->host + (device->reads_host ? on_device : 0)) / 0x1p20,
                    (double)room->host / 0x1p20);
}

/* What --sam asks for; with auto the largest that is there and fits. */
static SpStatus choose_model(const SpJob *job, SpModels *models, Call *call, SpFootprint *need,
                             const char **name)
{
    SpStatus status = job->sam == SP_SAM_AUTO ? sp_ok() : not_there(job, job->sam);
    for (int i = 0; i < PREFERRED; i++) {
        SpLocated place;
        SpMemoryLimits room;
        bool fits;
        if ((job->sam != SP_SAM_AUTO && preferred[i] != job->sam) ||
            !locate(job, preferred[i], &place))
            continue;
        *name = folder_of[preferred[i]];
        SP_TRY(sp_models_acquire(models, SP_STAGE_SAM, *name, &place));
        SP_TRY(sp_models_memory_limits(models, 0, &room));
        SP_TRY(sp_models_plan(models, SP_STAGE_SAM, &room, call_sam, call, need, &fits));
        if (fits)
            return sp_ok();
        status = does_not_fit(models, need, &room);
        call->passed = need->device + need->weights + need->host;
    }
    return status;
}

SpStatus sp_segmentation_plan(const SpJob *job, const SpPrompts *prompts, const SpClip *clip,
                              SpModels *models, SpFootprint *need, const char **name)
{
    Call call;
    SP_TRY(make_call(job, prompts, clip, models, &call));
    return choose_model(job, models, &call, need, name);
}

/* Says which weights are used where that is not what might be expected. */
static void tell_weights(SpConsole *console, const SpModels *models, const Call *call)
{
    if (!models->model[SP_STAGE_SAM].place.embedded)
        return;
    if (call->passed)
        sp_console_note(
            console,
            "using the built-in lite weights for SAM: larger ones need %.1f MB, more than "
            "there is",
            (double)call->passed / 0x1p20);
    else
        sp_console_note(console, "using the built-in lite weights for SAM; get published ones with "
                                 "make -f weights.mk sam-base");
}

/* Says what was found; an error when that is nothing at all. */
static SpStatus tell(SpConsole *console, const SpPrompts *prompts, const uint8_t *mask,
                     int64_t pixels, const float *iou)
{
    int64_t count[1 + 2 * SP_MAX_TEXTS] = {0};
    for (int64_t i = 0; i < pixels; i++)
        count[mask[i]]++;
    if (count[0] == pixels)
        return sp_error(SP_USAGE, "SAM found nothing there; give other points or a box");
    for (int64_t k = 0; k < prompts->objects; k++)
        if (count[k + 1] == 0)
            sp_console_warn(console, "SAM found nothing of %s", prompts->name[k]);
        else
            sp_console_detail(console, "%s: %lld pixels, %.1f %% of the frame; predicted IoU %.2f",
                              prompts->name[k], (long long)count[k + 1],
                              100 * (double)count[k + 1] / (double)pixels, (double)iou[k]);
    return sp_ok();
}

SpStatus sp_segmentation_run(const SpJob *job, const SpPrompts *prompts, const SpClip *clip,
                             SpModels *models, SpConsole *console, uint8_t **mask,
                             SpStageReport *stage)
{
    const char *name;
    float iou[2 * SP_MAX_TEXTS];
    SpFootprint need;
    Call call;
    *mask = NULL;
    SP_TRY(make_call(job, prompts, clip, models, &call));
    SP_TRY(choose_model(job, models, &call, &need, &name));
    tell_weights(console, models, &call);
    const SpLocated *place = &models->model[SP_STAGE_SAM].place;
    sp_console_detail(console, "weights: %s (%s)", place->embedded ? "SAM" : place->folder,
                      place->where);
    *mask = malloc((size_t)(call.input.height * call.input.width));
    if (!*mask)
        return sp_no_memory("the mask");
    call.output = (SpSamOutput){*mask, iou};
    SP_TRY(sp_models_run(models, SP_STAGE_SAM, &need, 0, call_sam, &call, stage));
    return tell(console, prompts, *mask, call.input.height * call.input.width, iou);
}
