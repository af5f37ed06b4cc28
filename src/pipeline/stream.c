#include "pipeline/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/minmax.h"
#include "geometry/camera.h"
#include "media/reread.h"
#include "pipeline/arrays.h"
#include "pipeline/chunks.h"
#include "pipeline/frames.h"
#include "pipeline/front_chunks.h"
#include "pipeline/refinement.h"
#include "pipeline/results.h"
#include "pipeline/stages.h"
#include "pipeline/stream_plan.h"
#include "pipeline/world.h"

typedef struct Stream {
    SpRun *run;
    SpChunking chunking;
    bool whole; /* the clip is one that the front takes at once */
    SpFrontChunks *front;
    SpChunkPiece piece;    /* the front's last one */
    SpTrackerState *state; /* NULL: no tracker */
    SpRereader *again;     /* NULL: nobody looks at frames a second time */
    float *xy;             /* [N, 2] for the refinement */
    int64_t known;         /* frames that the front is done with */
    int64_t final;         /* and the tracker, if there is one */
    int64_t written;
    int64_t next_grid;  /* frame from which on a new grid is due; 0: never */
    float to_first[16]; /* without a tracker: from the front's world to its first camera */
    SpResult result;    /* what `output` is of: what does not change from frame to frame */
    SpOutput output;
} Stream;

static SpStatus call_front(void *self, SpNn *nn)
{
    Stream *s = self;
    return sp_front_chunks_next(s->front, nn, &s->piece);
}

/* Copies what the front found to the run's arrays, behind what is known. */
static void keep_piece(Stream *s)
{
    SpRun part;
    sp_arrays_part(s->run, s->known, s->piece.count, &part);
    sp_geometry_copy(&part.geometry, &s->piece.geometry, s->piece.count,
                     part.clip.plan.height * part.clip.plan.width);
    sp_world_fix_intrinsics(&part, part.geometry.intrinsics);
    if (s->state)
        sp_stages_threshold(&part);
}

/* The front's next frames, for which the clip is read as far as it must be. */
static SpStatus run_front(Stream *s)
{
    SpRun *run = s->run;
    SP_TRY(sp_frames_read_to(run, s->known + s->chunking.frames + 1));
    SP_TRY(sp_stages_acquire(run, SP_STAGE_FRONT));
    SP_TRY(sp_models_run(run->models, SP_STAGE_FRONT, &run->footprint[SP_STAGE_FRONT], 0,
                         call_front, s, &run->report));
    if (s->piece.count == 0)
        return sp_ok();
    keep_piece(s);
    if (s->known == 0) /* what has no scale is known before the tracker runs */
        SP_TRY(sp_world_choose_scale(run));
    s->known += s->piece.count;
    return sp_ok();
}

static bool goes_on(const Stream *s)
{
    return !s->run->clip.ended || s->known < s->run->clip.frames;
}

static void add_seconds(Stream *s, const char *stage, double seconds)
{
    const SpStageReport one = {.name = stage, .seconds = seconds};
    sp_report_add_stage(&s->run->report, &one);
}

/* What sp_stages_run does with all frames after the tracker, and the files with what it gives. */
static SpStatus write_frame(Stream *s, int64_t t)
{
    SpRun *run = s->run, part;
    const double began = sp_clock();
    uint8_t *rgb = NULL;
    sp_arrays_part(run, t, 1, &part);
    if (s->again)
        SP_TRY(sp_rereader_next(s->again, t, &rgb));
    if (s->state)
        sp_world_fix_intrinsics(&part, part.tracks.intrinsics);
    if (run->refines)
        sp_refinement_frame(&part, t, rgb, s->xy);
    const double refined = sp_clock();
    if (t == 0)
        SP_TRY(sp_world_choose_scale(run));
    part.scale = run->scale;
    sp_world_scale(&part, run->scale);
    if (!s->state && t == 0)
        sp_pose_invert(part.geometry.c2w, s->to_first);
    if (!s->state)
        sp_world_move(&part, s->to_first);
    sp_run_settle(&part);
    const SpResult result = sp_run_result(&part);
    SP_TRY(sp_files_add(run->file, t, &result, rgb));
    if (run->refines)
        add_seconds(s, "refine", refined - began);
    add_seconds(s, "result", sp_clock() - refined);
    return sp_ok();
}

/* What is final goes to the files, and nobody holds it any more. */
static SpStatus write_frames(Stream *s)
{
    SpRun *run = s->run;
    if (s->written == 0 && s->final > 0)
        SP_TRY(sp_files_begin(run->file, &s->output));
    for (; s->written < s->final; s->written++) {
        SP_TRY(write_frame(s, s->written));
        sp_progress(&run->console->progress, (double)(s->written + 1),
                    (double)sp_max(run->length, s->written + 1));
    }
    sp_arrays_drop(run, s->final, s->known);
    sp_clip_drop(&run->clip, s->final);
    return sp_ok();
}

/* Of a file that is shorter than it says. */
static void warn_of_late_queries(const SpRun *run)
{
    int64_t late = 0;
    for (int64_t n = 0; n < run->queries.count; n++)
        late += run->queries.query[3 * n] >= (float)run->clip.frames;
    if (late)
        sp_console_warn(run->console, "%lld queries lie behind the last frame, %lld",
                        (long long)late, (long long)run->clip.frames - 1);
}

/* Whether one of the first `tracks` is seen in a cell of the grid around x, y, pixels of the
 * working frame, at the first frame that is held. */
static bool is_covered(const SpRun *run, int64_t tracks, float x, float y)
{
    const SpFramePlan *plan = &run->clip.plan;
    const float reach_x = (float)plan->width / (float)(2 * sp_stream_side(run));
    const float reach_y = (float)plan->height / (float)(2 * sp_stream_side(run));
    for (int64_t n = 0; n < tracks; n++) {
        const float *track = run->tracks.tracks + 3 * n;
        if (run->tracks.visibility[n] > 0.5f && fabsf(track[0] - x) < reach_x &&
            fabsf(track[1] - y) < reach_y)
            return true;
    }
    return false;
}

/* Adds those of a grid that are not covered, as many as may be followed. */
static SpStatus add_queries(Stream *s, const SpQueries *grid)
{
    SpRun *run = s->run;
    const int64_t before = run->queries.count;
    const int64_t most = before + sp_stream_at_once(run) - sp_tracker_active(s->state);
    for (int64_t n = 0; n < grid->count && run->queries.count < most; n++) {
        const float *query = grid->query + 3 * n;
        float at[3] = {query[0]};
        sp_point_to_working(&run->clip.plan, query[1], query[2], at + 1, at + 2);
        if (is_covered(run, before, at[1], at[2]))
            continue;
        float *working =
            realloc(run->working, (size_t)(3 * run->queries.count + 3) * sizeof *working);
        if (!working)
            return sp_no_memory("the queries");
        run->working = working;
        memcpy(working + 3 * run->queries.count, at, sizeof at);
        SP_TRY(sp_queries_add(&run->queries, query));
    }
    return sp_ok();
}

/* All that has a place for each query gets more of them. */
static SpStatus make_room(Stream *s, int64_t before)
{
    SpRun *run = s->run;
    const int64_t count = run->queries.count;
    float *xy = realloc(s->xy, (size_t)(2 * count) * sizeof *xy);
    if (!xy)
        return sp_no_memory("the refinement");
    s->xy = xy;
    SP_TRY(sp_arrays_widen(run, before));
    SP_TRY(sp_tracker_state_grow(s->state, count));
    return run->refines ? sp_refinement_grow(run) : sp_ok();
}

/* New points at the first frame that is not final, which is where the next window begins. */
static SpStatus start_grid(Stream *s)
{
    SpRun *run = s->run;
    const int64_t before = run->queries.count;
    SpQueries grid;
    if (!s->next_grid || s->final < s->next_grid || s->final >= s->known)
        return sp_ok();
    s->next_grid = s->final + run->job->grid_every;
    SP_TRY(sp_queries_grid(sp_stream_side(run), s->final, &run->clip.plan, NULL, &grid));
    const SpStatus status = add_queries(s, &grid);
    sp_queries_free(&grid);
    SP_TRY(status);
    return run->queries.count > before ? make_room(s, before) : sp_ok();
}

/* Runs the windows whose frames are known; where new points may come, one at a time. */
static SpStatus run_tracker(Stream *s)
{
    const int64_t window = sp_stream_window(s->run);
    if (!s->state) {
        s->final = s->known;
        return write_frames(s);
    }
    while (s->final < s->known) {
        int64_t known = s->known;
        bool more = goes_on(s);
        if (s->next_grid && known > s->final + window) {
            known = s->final + window;
            more = true;
        }
        if (more && known < s->final + window)
            return sp_ok();
        SP_TRY(sp_stages_advance(s->run, known, more, s->state));
        s->final = sp_tracker_final(s->state);
        SP_TRY(write_frames(s));
        SP_TRY(start_grid(s));
    }
    return sp_ok();
}

/* What is known of all frames at the end. */
static SpStatus finish(Stream *s)
{
    SpRun *run = s->run;
    run->length = run->clip.frames;
    sp_frames_warn_of_losses(run);
    warn_of_late_queries(run);
    if (!s->whole)
        SP_TRY(sp_front_chunks_list(s->front));
    sp_run_settle_chunks(run);
    const SpResult whole = sp_run_result(run);
    const double began = sp_clock();
    SP_TRY(sp_files_end(run->file, &whole));
    add_seconds(s, "result", sp_clock() - began);
    return sp_ok();
}

static bool is_whole(const SpRun *run)
{
    return run->clip.ended && run->clip.frames <= sp_chunking_whole(run->job);
}

/* Of a clip that is taken at once, one chunk that it does not fill. */
static SpChunking chunking_for(const SpRun *run)
{
    return is_whole(run) ? (SpChunking){run->clip.frames + 1, 1} : sp_stream_chunking(run);
}

static SpStatus begin(Stream *s)
{
    SpRun *run = s->run;
    s->whole = is_whole(run);
    s->chunking = chunking_for(run);
    s->next_grid = run->job->grid_every;
    const SpReread reread = {
        .video = run->job->video, .settings = sp_job_reader(run->job), .clip = &run->clip};
    SP_TRY(sp_arrays_alloc(run, sp_stream_window(run) + s->chunking.frames));
    SP_TRY(sp_front_chunks_open(run, &s->chunking, &s->front));
    if (run->has[SP_STAGE_TRACKER])
        SP_TRY(sp_tracker_state_open(run->queries.count, (uint64_t)run->job->seed, &s->state));
    if (sp_stream_looks_again(run))
        SP_TRY(sp_rereader_open(&reread, &s->again));
    s->xy = malloc((size_t)(2 * run->queries.count + 1) * sizeof *s->xy);
    if (!s->xy)
        return sp_no_memory("the refinement");
    SP_TRY(sp_run_version(run));
    s->result = sp_run_result(run);
    s->output = sp_run_output(run, &s->result);
    s->output.grows = run->job->grid_every > 0;
    return sp_ok();
}

static SpStatus run_all(Stream *s)
{
    SP_TRY(begin(s));
    do {
        SP_TRY(run_front(s));
        SP_TRY(run_tracker(s));
    } while (goes_on(s));
    return finish(s);
}

SpStatus sp_stream_run(SpRun *run)
{
    Stream s = {.run = run};
    char chunks[96];
    if (sp_front_chunks_text(run, chunks, sizeof chunks))
        sp_console_note(run->console, "front: %s (--front-chunk)", chunks);
    sp_console_begin(run->console, "frames", (double)run->length);
    const SpStatus status = run_all(&s);
    sp_console_end(run->console);
    sp_front_chunks_close(s.front);
    sp_tracker_state_close(s.state);
    sp_rereader_close(s.again);
    free(s.xy);
    return status;
}
