#include "segment.h"

#include <stdlib.h>

#include "base/nearest.h"
#include "media/png.h"
#include "memory.h"
#include "store/locate.h"

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

SpStatus sp_segment_weights(const SpJob *job)
{
    SpLocated place;
    const bool found = job->sam == SP_SAM_AUTO || locate(job, job->sam, &place);
    return found ? sp_ok() : not_there(job, job->sam);
}

/* An open model and the memory that a run takes. */
typedef struct Model {
    SpLocated place;
    SpCheckpoint *checkpoint;
    SpSam *sam;
    size_t device, host;
    size_t passed; /* bytes that a better one needs, which is there but does not fit; or 0 */
} Model;

static void close_model(Model *model)
{
    sp_sam_close(model->sam);
    sp_checkpoint_close(model->checkpoint);
    *model = (Model){0};
}

static SpStatus open_model(const SpJob *job, SpSamChoice choice, SpDevice *device,
                           const SpSamInput *input, Model *model)
{
    SpNn dry = sp_nn_dry(device);
    *model = (Model){0};
    if (!locate(job, choice, &model->place))
        return not_there(job, choice);
    SP_TRY(sp_weights_open(&model->place, folder_of[choice], &model->checkpoint));
    SpStatus status = sp_sam_open(model->checkpoint, &model->sam);
    if (status.code == SP_OK)
        status = sp_sam_run(model->sam, &dry, input, NULL);
    model->device = dry.arena.peak;
    model->host = dry.host.peak;
    if (status.code != SP_OK)
        close_model(model);
    return status;
}

static bool fits(const Model *model)
{
    return model->device + model->host <= sp_memory_available();
}

/* What --sam asks for; with auto the largest that is there and fits. */
static SpStatus choose_model(const SpJob *job, SpDevice *device, const SpSamInput *input,
                             Model *model)
{
    size_t need = 0;
    for (int i = 0; i < PREFERRED; i++) {
        SpLocated place;
        if (job->sam == SP_SAM_AUTO ? !locate(job, preferred[i], &place) : preferred[i] != job->sam)
            continue;
        SP_TRY(open_model(job, preferred[i], device, input, model));
        model->passed = need;
        if (fits(model))
            return sp_ok();
        need = model->device + model->host;
        close_model(model);
    }
    return need ? sp_error(SP_MEMORY, "SAM needs %zu MB, %zu MB are available", need >> 20,
                           sp_memory_available() >> 20)
                : not_there(job, job->sam);
}

/* Says which weights are used where that is not what might be expected. */
static void tell_weights(SpConsole *console, const Model *model)
{
    if (model->place.embedded && model->passed)
        sp_console_note(console,
                        "using the built-in lite weights for SAM: larger ones need %zu MB, %zu MB "
                        "are available",
                        model->passed >> 20, sp_memory_available() >> 20);
    else if (model->place.embedded)
        sp_console_note(console, "using the built-in lite weights for SAM; get published ones with "
                                 "make -f weights.mk sam-base");
}

/* Says what was found; an error when that is nothing at all. */
static SpStatus tell(SpConsole *console, const SpPrompts *prompts, const uint8_t *mask,
                     int64_t pixels, const float *iou)
{
    int64_t count[1 + 2 * SP_MOST_TEXTS] = {0};
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

static SpStatus run_model(const SpPrompts *prompts, const Model *model, const SpSamInput *input,
                          SpDevice *device, SpConsole *console, uint8_t *mask, SpStageReport *stage)
{
    float iou[2 * SP_MOST_TEXTS];
    SpNn nn;
    SP_TRY(sp_nn_open(device, model->device, model->host, &nn));
    nn.progress = &console->progress;
    sp_console_begin(console, "sam", 0);
    const SpStatus status = sp_sam_run(model->sam, &nn, input, &(SpSamOutput){mask, iou});
    *stage = (SpStageReport){.name = "sam",
                             .seconds = sp_console_end(console),
                             .peak_host_bytes = nn.arena.peak + nn.host.peak,
                             .weight_bytes = sp_checkpoint_bound_bytes(model->checkpoint)};
    sp_nn_close(&nn);
    sp_console_detail(console, "weights: %s (%s)",
                      model->place.embedded ? "SAM" : model->place.folder, model->place.where);
    return status.code == SP_OK ? tell(console, prompts, mask, input->height * input->width, iou)
                                : status;
}

SpStatus sp_segment_run(const SpJob *job, const SpPrompts *prompts, const SpClip *clip,
                        SpDevice *device, SpConsole *console, uint8_t **mask, SpStageReport *stage)
{
    const SpSamInput input = {.height = clip->plan.input_height,
                              .width = clip->plan.input_width,
                              .rgb = clip->kept,
                              .short_side = SP_SAM_SHORT_SIDE,
                              .objects = prompts->objects,
                              .prompt = prompts->prompt,
                              .select = job->mask_select};
    Model model;
    *mask = NULL;
    if (!clip->kept)
        return sp_error(SP_USAGE,
                        "--prompt-frame is %lld; it must be one of the used frames 0..%lld",
                        (long long)job->prompt_frame, (long long)clip->frames - 1);
    SP_TRY(sp_prompts_check(prompts, input.height, input.width));
    SP_TRY(choose_model(job, device, &input, &model));
    tell_weights(console, &model);
    *mask = malloc((size_t)(input.height * input.width));
    const SpStatus status = *mask
                                ? run_model(prompts, &model, &input, device, console, *mask, stage)
                                : sp_no_memory("the mask");
    close_model(&model);
    return status;
}

SpStatus sp_mask_read(const char *path, const SpFramePlan *plan, uint8_t **mask)
{
    const int64_t rows = plan->input_height, columns = plan->input_width;
    int64_t height, width;
    uint8_t *file;
    SP_TRY(sp_png_read_gray(path, &height, &width, &file));
    *mask = malloc((size_t)(rows * columns));
    for (int64_t i = 0; *mask && i < rows; i++) {
        const uint8_t *from = file + sp_nearest_index(i, height, rows) * width;
        for (int64_t j = 0; j < columns; j++)
            (*mask)[i * columns + j] = from[sp_nearest_index(j, width, columns)] > 0;
    }
    free(file);
    return *mask ? sp_ok() : sp_no_memory("the mask");
}

SpStatus sp_mask_working(const SpFramePlan *plan, const uint8_t *mask, uint8_t **working)
{
    *working = malloc((size_t)(plan->height * plan->width));
    if (!*working)
        return sp_no_memory("the mask");
    sp_mask_to_working(plan, mask, *working);
    return sp_ok();
}

SpStatus sp_mask_write(const char *path, const SpFramePlan *plan, const uint8_t *mask,
                       int64_t objects, SpAtomicFile *file)
{
    const int64_t pixels = plan->input_height * plan->input_width;
    uint8_t *gray = malloc((size_t)pixels);
    if (!gray)
        return sp_no_memory("the mask");
    for (int64_t i = 0; i < pixels; i++)
        gray[i] = (uint8_t)(255 * mask[i] / objects);
    SpStatus status = sp_atomic_open_for(path, "--mask-out", file);
    if (status.code == SP_OK)
        status = sp_png_write_gray(file->stream, file->label, plan->input_height, plan->input_width,
                                   gray);
    if (status.code == SP_OK)
        status = sp_atomic_settle(file);
    free(gray);
    return status;
}
