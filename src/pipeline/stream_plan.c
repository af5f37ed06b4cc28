#include "pipeline/stream_plan.h"

#include "base/minmax.h"
#include "media/reread.h"

int64_t sp_stream_window(const SpRun *run)
{
    return run->has[SP_STAGE_TRACKER]
               ? sp_tracker_window(run->models->model[SP_STAGE_TRACKER].tracker)
               : 0;
}

SpChunking sp_stream_chunking(const SpRun *run)
{
    return sp_chunking_of(run->job, INT64_MAX);
}

bool sp_stream_looks_again(const SpRun *run)
{
    return run->refines || run->job->overlay;
}

int64_t sp_stream_side(const SpRun *run)
{
    return run->job->grid ? run->job->grid : SP_GRID;
}

/* Points start where none is seen in their cell, and few that are not seen are followed on. */
int64_t sp_stream_at_once(const SpRun *run)
{
    return run->job->grid_every ? 4 * sp_stream_side(run) * sp_stream_side(run) : 0;
}

bool sp_stream_may(const SpRun *run)
{
    const SpJob *job = run->job;
    const char *video = job->video;
    if (!run->has[SP_STAGE_FRONT] || !sp_stream_chunking(run).frames || job->dump ||
        !sp_files_stream(run->file))
        return false;
    const bool reads_twice = sp_stream_looks_again(run) || run->has[SP_STAGE_SAM];
    return !reads_twice || (sp_reread_beside(video) && sp_reread_is_free(video));
}

static bool would_stream(const SpRun *run, int64_t frames)
{
    return run->may_stream && (frames > sp_chunking_whole(run->job) || run->job->grid_every);
}

/* What the front takes at once of so many frames. */
static int64_t chunk_of(const SpRun *run, int64_t frames)
{
    return frames > sp_chunking_whole(run->job) ? sp_stream_chunking(run).frames : frames;
}

/* Of those that the front knows, fewer than a window's wait for the next chunk. */
int64_t sp_stream_frames(const SpRun *run, int64_t frames)
{
    return would_stream(run, frames) ? sp_min(frames, sp_stream_window(run) + chunk_of(run, frames))
                                     : frames;
}

/* One frame more than a chunk tells whether the clip goes on. */
int64_t sp_stream_room(const SpRun *run)
{
    return run->may_stream ? sp_stream_window(run) + sp_stream_chunking(run).frames + 1 : 0;
}

size_t sp_stream_bytes(const SpRun *run, int64_t frames, int64_t queries)
{
    const SpFramePlan *plan = &run->clip.plan;
    const size_t frame = (size_t)(3 * plan->height * plan->width) * sizeof(float);
    if (!would_stream(run, frames))
        return 0;
    const size_t state =
        run->has[SP_STAGE_TRACKER]
            ? sp_tracker_state_bytes(run->models->model[SP_STAGE_TRACKER].tracker, queries)
            : 0;
    return (size_t)(sp_stream_window(run) + chunk_of(run, frames) + 1) * frame + state;
}
