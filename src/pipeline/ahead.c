#include "pipeline/ahead.h"

#include <stdlib.h>

#include "pipeline/results.h"

static size_t values(const SpFramePlan *plan)
{
    return (size_t)(3 * plan->height * plan->width);
}

/* Each picture settled, in a copy: the tracker still needs it as it is. */
static void *write_pictures(void *of)
{
    SpRun *run = of;
    SpAhead *ahead = &run->ahead;
    const size_t size = values(&run->clip.plan);
    SpResultFrame frame;
    for (int64_t t = 0; t < run->clip.frames && ahead->status.code == SP_OK; t++) {
        sp_run_settle_pictures(&run->clip.plan, 1, run->clip.video + (size_t)t * size,
                               ahead->picture);
        sp_result_frame(&ahead->result, t, &frame);
        frame.clip.video = ahead->picture;
        ahead->status = sp_files_add_picture(run->file, t, &frame.result);
    }
    return NULL;
}

size_t sp_ahead_bytes(const SpRun *run)
{
    return run->report.threads < 2 || !sp_files_have_pictures(run->file)
               ? 0
               : values(&run->clip.plan) * sizeof *run->ahead.picture;
}

SpStatus sp_ahead_begin(SpRun *run)
{
    SpAhead *ahead = &run->ahead;
    const size_t bytes = sp_ahead_bytes(run);
    if (!bytes)
        return sp_ok();
    ahead->picture = malloc(bytes);
    if (!ahead->picture)
        return sp_no_memory("the result");
    ahead->result = sp_run_result(run);
    ahead->output = sp_run_output(run, &ahead->result);
    SP_TRY(sp_files_begin_pictures(run->file, &ahead->output));
    ahead->runs = pthread_create(&ahead->thread, NULL, write_pictures, run) == 0;
    if (!ahead->runs)
        write_pictures(run);
    return ahead->status;
}

SpStatus sp_ahead_end(SpRun *run)
{
    SpAhead *ahead = &run->ahead;
    if (ahead->runs)
        pthread_join(ahead->thread, NULL);
    ahead->runs = false;
    free(ahead->picture);
    ahead->picture = NULL;
    return ahead->status;
}
