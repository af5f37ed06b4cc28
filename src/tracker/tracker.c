#include "tracker/tracker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/camera.h"
#include "nn/stream.h"
#include "tracker/state.h"
#include "tracker/window.h"

SpStatus sp_tracker_open(SpCheckpoint *checkpoint, SpTrackerMode mode, SpTracker **out)
{
    *out = NULL;
    SpTracker *tracker = calloc(1, sizeof *tracker);
    if (!tracker)
        return sp_no_memory("the tracker");
    SpBinder binder = {.checkpoint = checkpoint};
    sp_tracker_bind(&binder, mode, tracker);
    if (binder.status.code == SP_OK)
        *out = tracker;
    else
        sp_tracker_close(tracker);
    return binder.status;
}

void sp_tracker_close(SpTracker *tracker)
{
    free(tracker);
}

int64_t sp_tracker_support(const SpTracker *tracker)
{
    return tracker->support;
}

int64_t sp_tracker_iterations(const SpTracker *tracker)
{
    return tracker->iterations;
}

int64_t sp_tracker_window(const SpTracker *tracker)
{
    return tracker->window;
}

size_t sp_tracker_state_bytes(const SpTracker *tracker, int64_t queries)
{
    return (size_t)queries * (sizeof(double) + sizeof(int64_t) + sizeof(int32_t) + sizeof(bool)) +
           (size_t)sp_carry_floats(tracker, queries) * sizeof(float);
}

/* A part of the clip. Tracks in the order of their first frame. */
typedef struct Run {
    const SpTracker *tracker;
    SpNn *nn;
    const SpTrackerInput *input;
    const SpTrackerSettings *settings;
    const SpTrackerOutput *output;
    SpTrackerState *state;
    int64_t step;     /* frames from a window to the next */
    float *overlap_z; /* [those at once] */
    int32_t *keep;    /* likewise */
    int32_t *scratch; /* [SP_SUPPORT_SCRATCH] */
    SpWindowCarry carry;
} Run;

/* The clip's windows (src/tracker/README.md, "Windows"): as published, one more than needed where
 * the last one ends with the clip: that one sees the overlap and then the last frame repeated, and
 * its result for the overlap counts. */
static bool has_window(const Run *run, int64_t first)
{
    const int64_t frames = run->input->frames, length = run->tracker->window;
    if (run->input->more)
        return first + length <= frames;
    return first == 0 || (frames > length && first + run->tracker->overlap <= frames);
}

/* How many there are from the next one on. */
static int64_t count_windows(const Run *run)
{
    const int64_t first = run->state->window;
    int64_t count = 0;
    while (has_window(run, (first + count) * run->step))
        count++;
    return count;
}

/* The frame of the overlap in which the output's visibility times confidence of track `row` is
 * largest: later frames have not been written yet. */
static int64_t best_frame(const Run *run, int64_t first, int64_t row)
{
    const SpTrackerOutput *out = run->output;
    int64_t best = 0;
    float max = -1;
    for (int64_t f = 0; f < run->tracker->overlap && first + f < run->input->frames; f++) {
        const int64_t i = (first + f - run->input->first) * run->input->queries + row;
        const float trust = out->visibility[i] * out->confidence[i];
        if (trust > max) {
            max = trust;
            best = f;
        }
    }
    return best;
}

/* The window's queries in working pixels: continued tracks at their best frame, then new ones. None
 * is dropped: the published code replaces those that it finds on invalid depth in the first window
 * by copies of others, so that its rows no longer are those asked for. */
static void user_queries(const Run *run, SpWindow *w)
{
    const SpTrackerInput *in = run->input;
    const float sx = (float)w->width / (float)in->width;
    const float sy = (float)w->height / (float)in->height;
    for (int64_t n = 0; n < w->users; n++) {
        const int64_t row = run->state->order[n];
        float *query = w->query + 3 * n;
        const float *at = in->query + 3 * row + 1;
        query[0] = in->query[3 * row] - (float)w->first;
        if (n < w->continued) {
            const int64_t best = best_frame(run, w->first, row);
            at = run->output->tracks + ((w->first + best - in->first) * in->queries + row) * 3;
            query[0] = (float)best;
            run->overlap_z[n] = at[2];
        }
        query[1] = at[0] * sx;
        query[2] = at[1] * sy;
    }
}

static void queries_to_model(const SpTracker *t, SpWindow *w)
{
    for (int64_t n = 0; n < w->tracks; n++) {
        w->query[3 * n + 1] *= (float)t->model_width / (float)w->width;
        w->query[3 * n + 2] *= (float)t->model_height / (float)w->height;
    }
}

/* Column j of an axis of n samples that are resized to m, with aligned ends. */
typedef struct Between {
    int64_t before, after;
    float fraction;
} Between;

static Between between(int64_t j, int64_t n, int64_t m)
{
    const float at = (m > 1 ? (float)(n - 1) / (float)(m - 1) : 0) * (float)j;
    const int64_t before = (int64_t)at;
    return (Between){before, before + 1 < n ? before + 1 : before, at - (float)before};
}

static float blend(float above_left, float above_right, float below_left, float below_right,
                   float fx, float fy)
{
    return (above_left * (1 - fx) + above_right * fx) * (1 - fy) +
           (below_left * (1 - fx) + below_right * fx) * fy;
}

/* Maps z and valid [h, w] to [ho, wo], bilinear with aligned corners. */
static void resize_maps(const float *z, const uint8_t *valid, int64_t h, int64_t w, float *z_out,
                        float *valid_out, const SpTrackerInput *in)
{
    enum { COLUMNS = 512 };
    for (int64_t first = 0; first < in->width; first += COLUMNS) {
        Between column[COLUMNS];
        const int64_t count = sp_min(COLUMNS, in->width - first);
        for (int64_t j = 0; j < count; j++)
            column[j] = between(first + j, w, in->width);
        for (int64_t i = 0; i < in->height; i++) {
            const Between row = between(i, h, in->height);
            const int64_t above = row.before * w, below = row.after * w;
            const int64_t to = i * in->width + first;
            for (int64_t j = 0; j < count; j++) {
                const int64_t l = column[j].before, r = column[j].after;
                const float fx = column[j].fraction, fy = row.fraction;
                z_out[to + j] =
                    blend(z[above + l], z[above + r], z[below + l], z[below + r], fx, fy);
                valid_out[to + j] = blend((float)valid[above + l], (float)valid[above + r],
                                          (float)valid[below + l], (float)valid[below + r], fx, fy);
            }
        }
    }
}

/* The user's tracks in frame f of the window, which is `frame` of the output. `last`: no later
 * window sees that frame. */
static void write_tracks(const Run *run, const SpWindow *w, int64_t f, int64_t frame, bool last)
{
    const SpTrackerInput *in = run->input;
    const SpTrackerOutput *out = run->output;
    const float sx = (float)in->width / (float)w->width;
    const float sy = (float)in->height / (float)w->height;
    for (int64_t n = 0; n < w->users; n++) {
        const int64_t row = run->state->order[n], i = f * w->tracks + n,
                      to = frame * in->queries + row;
        out->tracks[3 * to] = w->track[3 * i] * sx;
        out->tracks[3 * to + 1] = w->track[3 * i + 1] * sy;
        out->tracks[3 * to + 2] = w->track[3 * i + 2];
        memcpy(out->camera_points + 3 * to, w->point + 3 * i, 3 * sizeof(float));
        out->visibility[to] = sp_sigmoid(w->vis[i]) + 0.2f;
        out->confidence[to] = sp_sigmoid(w->conf[i]);
        run->state->dynamic[row] += last ? (double)sp_sigmoid(w->dyn[i]) : 0;
        run->state->tracked[row] += last;
    }
}

static void write_camera(const Run *run, const SpWindow *w, int64_t f, int64_t frame,
                         const float base[16])
{
    const SpTrackerInput *in = run->input;
    const float sx = (float)in->width / (float)w->width;
    const float sy = (float)in->height / (float)w->height;
    sp_pose_multiply(base, w->c2w + 16 * f, run->output->c2w + 16 * frame);
    sp_intrinsics_scale(w->intrinsics + 9 * f, 1, (double)sx, (double)sy,
                        run->output->intrinsics + 9 * frame);
}

static void write_maps(const Run *run, const SpWindow *w, int64_t f, int64_t frame)
{
    const int64_t from = f * w->height * w->width;
    const int64_t to = frame * run->input->height * run->input->width;
    resize_maps(w->depth + from, w->valid + from, w->height, w->width, run->output->depth + to,
                run->output->valid + to, run->input);
}

/* Tracks and cameras of the overlap are written for the next window to start from, and again by
 * it; maps may be written over the input, so they wait until no window reads it. */
static void write_output(const Run *run, const SpWindow *w, bool last_window)
{
    static const float identity[16] = {[0] = 1, [5] = 1, [10] = 1, [15] = 1};
    const int64_t at = w->first - run->input->first;
    float base[16];
    memcpy(base, w->first ? run->output->c2w + 16 * at : identity, sizeof base);
    for (int64_t f = 0; f < w->frames && w->first + f < run->input->frames; f++) {
        write_tracks(run, w, f, at + f, f < run->step || last_window);
        write_camera(run, w, f, at + f, base);
    }
    const int64_t left = run->input->frames - w->first;
    const int64_t written = sp_min(left, last_window ? w->frames : run->step);
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (int64_t f = 0; f < written; f++)
        write_maps(run, w, f, at + f);
}

/* Progress of a window's parts as a share of the whole run. */
typedef struct Part {
    const SpProgress *whole;
    double done, size, total;
} Part;

static void report_part(void *self, double done, double total)
{
    const Part *part = self;
    sp_progress(part->whole, part->done + part->size * done / total, part->total);
}

static int64_t at_once(const SpTrackerInput *in)
{
    return in->at_once ? in->at_once : in->queries;
}

/* Whether a track that was there before the window is seen in any of its frames. */
static bool is_seen(const SpWindow *w, int64_t n)
{
    for (int64_t f = 0; f < w->frames; f++)
        if (n >= w->continued || sp_sigmoid(w->vis[f * w->tracks + n]) + 0.2f > 0.5f)
            return true;
    return false;
}

/* What the window found of a row in frames that are not final is no result. */
static void take_back(const Run *run, const SpWindow *w, int64_t row)
{
    const SpTrackerInput *in = run->input;
    const SpTrackerOutput *out = run->output;
    for (int64_t t = w->first + run->step - in->first; t < in->frames - in->first; t++) {
        const int64_t at = t * in->queries + row;
        memset(out->tracks + 3 * at, 0, 3 * sizeof(float));
        memset(out->camera_points + 3 * at, 0, 3 * sizeof(float));
        out->visibility[at] = out->confidence[at] = 0;
    }
}

/* Tracks that are not seen any more do not go on to the next window. */
static void retire(Run *run, const SpWindow *w)
{
    SpTrackerState *state = run->state;
    int64_t count = 0;
    for (int64_t n = 0; n < w->users; n++)
        if (is_seen(w, n)) {
            run->keep[count] = (int32_t)n;
            state->order[count++] = state->order[n];
        } else
            take_back(run, w, state->order[n]);
    sp_carry_keep(run->tracker, run->nn, run->keep, count, &run->carry);
    state->active = count;
}

/* Window `index` of the clip, the `done`-th of `total` in this part. */
static void track_window(Run *run, int64_t index, int64_t done, int64_t total)
{
    const SpTracker *t = run->tracker;
    SpNn *nn = run->nn;
    const SpTrackerInput *in = run->input;
    const int64_t first = index * run->step, iterations = run->settings->iterations;
    const bool last = !has_window(run, first + run->step) && !in->more;
    const bool whole = !in->more && in->frames <= t->window; /* the only window */
    SpWindow w = {.threads = nn->device->threads > 1 ? nn->device->threads : 1,
                  .first = first,
                  .frames = whole ? in->frames : t->window,
                  .continued = run->carry.tracks};
    if (sp_nn_live(nn))
        sp_tracker_bring_in(run->state, in->query, first + w.frames);
    w.users = nn->dry ? at_once(in) : run->state->active;
    /* A window is encoded in about the time of one iteration. */
    Part part = {nn->progress, (double)(done * (iterations + 1)), 1,
                 (double)(total * (iterations + 1))};
    const SpProgress progress = {report_part, &part}, *const shown = nn->progress;
    SP_NN_SCOPE(nn);
    char name[16] = "";
    sp_working_size(t->resolution, in->height, in->width, &w.height, &w.width);
    w.tracks = w.users + run->settings->support;
    sp_window_alloc(t, nn, &w);
    if (sp_nn_live(nn)) {
        sp_window_inputs(t, in, &w);
        user_queries(run, &w);
        sp_window_support(&w, &run->state->random, run->scratch);
        queries_to_model(t, &w);
    }
    nn->progress = &progress;
    if (!whole)
        snprintf(name, sizeof name, "win%d.", (int)index);
    snprintf(w.label, sizeof w.label, "%sstart.", name);
    /* A window may lie before all queries: then support points alone refine its cameras, and
     * without them the input's stay. (The published code needs one or the other.) */
    if (w.tracks > 0)
        sp_window_init(t, nn, in, &run->carry, run->overlap_z, &w);
    const int64_t times = sp_nn_loop_begin(nn, iterations);
    for (int64_t i = 0; i < times && w.tracks > 0; i++) {
        part.done++;
        snprintf(w.label, sizeof w.label, "%sit%d.", name, (int)i);
        w.last = i + 1 == times;
        sp_window_iterate(t, nn, run->settings, &w);
    }
    sp_nn_loop_end(nn, iterations);
    nn->progress = shown;
    if (sp_nn_live(nn))
        write_output(run, &w, last);
    if (!last && w.users > 0)
        sp_window_carry(t, nn, &w, &run->carry);
    if (!last && run->settings->retires && sp_nn_live(nn))
        retire(run, &w);
    if (sp_nn_live(nn)) {
        run->state->window = index + 1;
        run->state->final = last ? in->frames : first + run->step;
    }
}

/* Tracks are zero in the frames before their first window. */
static void clear_output(const Run *run)
{
    const SpTrackerOutput *out = run->output;
    const int64_t begin = run->state->cleared, end = run->input->frames;
    const size_t at = (size_t)((begin - run->input->first) * run->input->queries);
    const size_t pairs = (size_t)((end - begin) * run->input->queries);
    memset(out->tracks + 3 * at, 0, 3 * pairs * sizeof(float));
    memset(out->camera_points + 3 * at, 0, 3 * pairs * sizeof(float));
    memset(out->visibility + at, 0, pairs * sizeof(float));
    memset(out->confidence + at, 0, pairs * sizeof(float));
    run->state->cleared = end;
}

/* So far; 0 for queries behind the end. */
static void mean_dynamic(const Run *run)
{
    const SpTrackerState *state = run->state;
    for (int64_t n = 0; n < run->input->queries; n++)
        run->output->dynamic[n] =
            state->tracked[n] ? (float)(state->dynamic[n] / (double)state->tracked[n]) : 0;
}

/* Host memory for what the next part continues. */
static void keep_carry(Run *run)
{
    SpTrackerState *state = run->state;
    if (!sp_nn_live(run->nn) || !run->input->more)
        return;
    const int64_t floats = sp_carry_floats(run->tracker, run->carry.tracks);
    float *carry = realloc(state->carry, (size_t)floats * sizeof *carry);
    if (!carry) {
        sp_nn_fail(run->nn, sp_no_memory("the tracks"));
        return;
    }
    state->carry = carry;
    state->continued = run->carry.tracks;
    sp_carry_save(run->tracker, run->nn, &run->carry, carry);
}

static void take_carry(Run *run)
{
    if (!sp_nn_live(run->nn) || !run->state->carry)
        return;
    run->carry.tracks = run->state->continued;
    sp_carry_restore(run->tracker, run->nn, run->state->carry, &run->carry);
}

static void run_windows(Run *run)
{
    const SpTracker *tracker = run->tracker;
    SpNn *nn = run->nn;
    const int64_t first = run->state->window, count = count_windows(run);
    /* The former's blocks stay over windows and iterations if so planned. */
    const int groups = nn->plan.keep_loop_weights ? tracker->former.groups : 0;
    SpStream rest = sp_stream_load(nn, tracker->weight_group, 1);
    SpStream blocks = sp_stream_load(nn, tracker->former.first_group, groups);
    sp_nn_precision(nn, SP_PRECISION_TF32); /* of the network; the geometry is the host's */
    /* Every window needs the same memory: a dry run looks at one. */
    const int64_t windows = sp_nn_loop_begin(nn, count);
    for (int64_t i = 0; i < windows && nn->status.code == SP_OK; i++)
        track_window(run, first + i, i, windows);
    sp_nn_loop_end(nn, count);
    sp_nn_precision(nn, SP_PRECISION_F32);
    sp_stream_end(nn, &blocks);
    sp_stream_end(nn, &rest);
}

SpStatus sp_tracker_advance(const SpTracker *tracker, SpNn *nn, const SpTrackerInput *in,
                            const SpTrackerSettings *settings, SpTrackerState *state,
                            const SpTrackerOutput *output)
{
    const size_t queries = (size_t)at_once(in);
    SP_NN_SCOPE(nn);
    Run run = {.tracker = tracker,
               .nn = nn,
               .input = in,
               .settings = settings,
               .output = output,
               .state = state,
               .step = tracker->window - tracker->overlap};
    run.overlap_z = sp_nn_alloc_host(nn, queries * sizeof *run.overlap_z);
    run.keep = sp_nn_alloc_host(nn, queries * sizeof *run.keep);
    run.scratch = sp_nn_alloc_host(nn, SP_SUPPORT_SCRATCH * sizeof *run.scratch);
    if (in->more || in->frames > tracker->window)
        sp_carry_alloc(tracker, nn, at_once(in), &run.carry);
    if (sp_nn_live(nn))
        clear_output(&run);
    take_carry(&run);
    run_windows(&run);
    keep_carry(&run);
    if (sp_nn_live(nn))
        mean_dynamic(&run);
    return nn->status;
}

SpStatus sp_tracker_run(const SpTracker *tracker, SpNn *nn, const SpTrackerInput *in,
                        const SpTrackerSettings *settings, const SpTrackerOutput *output)
{
    SpTrackerState *state;
    SP_TRY(sp_tracker_state_open(in->queries, settings->seed, &state));
    const SpStatus status = sp_tracker_advance(tracker, nn, in, settings, state, output);
    sp_tracker_state_close(state);
    return status;
}
