#include "pipeline/batch.h"

#include "pipeline/files.h"
#include "pipeline/video.h"

SpStatus sp_batch_run(const SpJob *job, const char *const *videos, int count, SpConsole *console)
{
    SpModels models;
    SpStatus first = sp_ok();
    int failed = 0;
    SP_TRY(sp_files_apart(job, videos, count));
    sp_models_init(&models, job, console);
    for (int i = 0; i < count; i++) {
        SpJob one = *job;
        sp_job_set_video(&one, videos[i]);
        const SpStatus status = sp_video_run(&one, &models, console);
        if (status.code == SP_OK)
            continue;
        if (failed++ == 0)
            first = status;
        if (count > 1)
            sp_console_warn(console, "%s: %s", videos[i], status.text);
    }
    sp_models_close(&models);
    return failed && count > 1 ? sp_error(first.code, "%d of %d videos failed", failed, count)
                               : first;
}
