#include "pipeline/run.h"

#include <stdlib.h>

void sp_run_free(SpRun *run)
{
    sp_clip_free(&run->clip);
    free(run->mask);
    free(run->object);
    free(run->query);
    free(run->working);
    free(run->memory);
    free(run->version);
    sp_tensor_folder_close(run->dumped);
    sp_files_abandon(&run->files);
}

const char *sp_run_tracker_model(const SpJob *job)
{
    return sp_model_info(job->mode == SP_TRACKER_ONLINE ? SP_MODEL_ONLINE : SP_MODEL_OFFLINE)->name;
}

SpStageReport *sp_run_new_stage(SpRun *run)
{
    return &run->report.stages[run->report.stage_count++];
}

void sp_run_add_stage(SpRun *run, const char *name, double seconds)
{
    *sp_run_new_stage(run) = (SpStageReport){.name = name, .seconds = seconds};
}
