/* The tracker in windows: against the reference's recorded run, and what holds for any clip. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/locate.h"
#include "support/model.h"
#include "support/tracker.h"
#include "tracker/window.h"

enum { WINDOW = 20, OVERLAP = 6, STEP = WINDOW - OVERLAP };

static SpCheckpoint *published, *embedded;
static SpTracker *online, *lite;

static SpTracker *opened(SpCheckpoint *checkpoint, SpTrackerMode mode)
{
    SpTracker *tracker;
    const SpStatus status = sp_tracker_open(checkpoint, mode, &tracker);
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
    return tracker;
}

static int open_models(void **state)
{
    (void)state;
    const SpLocated built_in = {.model = SP_MODEL_ONLINE, .embedded = true};
    published = model_checkpoint("tracker_online");
    assert_int_equal(sp_weights_open(&built_in, &embedded).code, SP_OK);
    online = opened(published, SP_TRACKER_ONLINE);
    lite = opened(embedded, SP_TRACKER_ONLINE);
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    sp_tracker_close(online);
    sp_tracker_close(lite);
    sp_checkpoint_close(published);
    sp_checkpoint_close(embedded);
    return 0;
}

static void expect_windows(SpCheckpoint *checkpoint, SpTrackerMode mode, int64_t window,
                           int64_t overlap, int64_t table)
{
    SpTracker *tracker = opened(checkpoint, mode);
    assert_int_equal(tracker->window, window);
    assert_int_equal(tracker->overlap, overlap);
    assert_int_equal(tracker->time_length, table);
    sp_tracker_close(tracker);
}

/* The rule at sp_tracker_open: weights made for whole clips serve online as well. */
static void windows_follow_mode_and_weights(void **state)
{
    (void)state;
    SpCheckpoint *offline = model_checkpoint("tracker_offline");
    expect_windows(offline, SP_TRACKER_OFFLINE, 500, 4, 60);
    expect_windows(offline, SP_TRACKER_ONLINE, WINDOW, OVERLAP, 60);
    expect_windows(published, SP_TRACKER_ONLINE, WINDOW, OVERLAP, 20);
    expect_windows(embedded, SP_TRACKER_OFFLINE, 500, 4, 60);
    expect_windows(embedded, SP_TRACKER_ONLINE, WINDOW, OVERLAP, 60);
    sp_checkpoint_close(offline);
}

/* Three windows of 20 frames: what continues from one to the next. Positions agree as in one
 * window; 3D points only to a tenth, because moving a given camera by 1e-6 already moves those of
 * our own result by 0.02 to 0.05 of 4.6 from the second window on. */
static void whole_run(void **state)
{
    (void)state;
    tracker_golden_run(online, "tracker/online.safetensors", 72, 14, 0.2, 1e-1, 5e-2);
}

/* One window of the online golden. */
typedef struct Recorded {
    Golden *golden;
    int64_t index;
} Recorded;

static const float *recorded(const Recorded *r, const char *name)
{
    char path[60];
    snprintf(path, sizeof path, "win%d.%s", (int)r->index, name);
    return golden_f32(r->golden, path, NULL);
}

static void compare(const Recorded *r, const char *name, const float *ours, double tolerance)
{
    char path[60];
    snprintf(path, sizeof path, "win%d.%s", (int)r->index, name);
    golden_compare(r->golden, path, ours, tolerance);
}

/* The window's set-up from the recorded queries; support queries are drawn and compared. */
static void start_window(const Recorded *r, SpNn *nn, const SpTrackerInput *in, SpRandom *random,
                         const SpWindowCarry *carried, SpWindow *w)
{
    const int64_t first = r->index * STEP;
    const float *query = recorded(r, "start.queries"), *z = recorded(r, "start.queries_z");
    int32_t *scratch = malloc(SP_SUPPORT_SCRATCH * sizeof *scratch);
    assert_non_null(scratch);
    *w = (SpWindow){.first = first, .frames = WINDOW, .continued = carried->tracks};
    for (int64_t n = 0; n < in->queries; n++)
        w->users += in->query[3 * n] < (float)(first + WINDOW);
    w->tracks = w->users + 72;
    sp_working_size(online->resolution, in->height, in->width, &w->height, &w->width);
    sp_window_alloc(online, nn, w);
    model_check(nn);
    sp_window_inputs(online, in, w);
    sp_window_support(w, random, scratch);
    compare(r, "start.support", w->query + 3 * w->users, 0);
    memcpy(w->query, query, (size_t)(3 * w->tracks) * sizeof *query);
    sp_window_init(online, nn, in, carried, z, w);
    model_check(nn);
    free(scratch);
}

/* Queries, normalisation and first state: of continued tracks they are what was carried. */
static void compare_start(const Recorded *r, const SpWindow *w)
{
    const int64_t pairs = w->frames * w->tracks;
    float lo[3], hi[3], *q = golden_zeros(4 * pairs);
    for (int i = 0; i < 3; i++) {
        lo[i] = (float)w->min[i];
        hi[i] = (float)w->max[i];
    }
    for (int64_t i = 0; i < pairs; i++) {
        q[4 * i] = w->query[3 * (i % w->tracks)];
        q[4 * i + 1] = w->coords[3 * i] * (float)online->stride;
        q[4 * i + 2] = w->coords[3 * i + 1] * (float)online->stride;
        q[4 * i + 3] = w->coords[3 * i + 2];
    }
    compare(r, "start.queries_xyz", q, 1e-6);
    compare(r, "start.queries_z", w->query_z, 0);
    compare(r, "start.queries_z_unc", w->query_valid, 0);
    compare(r, "start.min_pts", lo, 2e-6);
    compare(r, "start.max_pts", hi, 2e-6);
    compare(r, "start.xyz_init", w->normalised, 2e-5);
    compare(r, "start.intrs", w->model_intrinsics, 1e-6);
    compare(r, "start.intrs_org", w->intrinsics, 1e-6);
    compare(r, "start.cam_gt", w->c2w, 2e-6);
    free(q);
}

static void most_within(const Recorded *r, const char *name, const float *ours, int64_t count,
                        bool pixels, double limit)
{
    char path[60];
    snprintf(path, sizeof path, "win%d.it3.%s", (int)r->index, name);
    tracker_most_within(r->golden, path, ours, count, pixels, limit);
}

/* After four iterations from the recorded state of the window before: tests/golden/README.md, it3.
 * 3D points are left to whole_run: moving a given camera by 1e-6 moves them by hundredths here. */
static void compare_end(const Recorded *r, const SpWindow *w)
{
    float *xy = golden_zeros(2 * w->frames * w->tracks);
    for (int64_t i = 0; i < w->frames * w->tracks; i++)
        memcpy(xy + 2 * i, w->track + 3 * i, 2 * sizeof *xy);
    most_within(r, "xy", xy, 2, true, 0.2);
    most_within(r, "vis", w->vis, 1, false, 1e-2);
    most_within(r, "conf", w->conf, 1, false, 1e-2);
    compare(r, "it3.c2w", w->c2w, 5e-2);
    free(xy);
}

/* What the next window gets, from the recorded end of this one. */
static void carry_recorded(const Recorded *r, SpNn *nn, SpWindow *w, SpWindowCarry *carried)
{
    const float *xy = recorded(r, "it3.xy"), *point = recorded(r, "it3.cam_points");
    memcpy(w->point, point, (size_t)(3 * w->frames * w->tracks) * sizeof *point);
    for (int64_t i = 0; i < w->frames * w->tracks; i++) {
        memcpy(w->track + 3 * i, xy + 2 * i, 2 * sizeof *xy);
        w->track[3 * i + 2] = point[3 * i + 2];
    }
    sp_window_carry(online, nn, w, carried);
    model_check(nn);
    assert_int_equal(carried->tracks, w->users);
}

/* Each window from the recorded state before it: the set-up tightly, its end as one window's. */
static void forced_windows(void **state)
{
    (void)state;
    Golden *g = golden_open("tracker/online.safetensors");
    const SpTrackerSettings settings = {.iterations = 4, .support = 72, .replace_ratio = 0.2};
    SpTrackerInput in = tracker_input(g, "");
    float *video = tracker_video(g, "in.frames");
    SpRandom random = {strtoull(golden_meta(g, "seed"), NULL, 10)};
    SpNn nn = model_context(1024);
    SpWindowCarry carried;
    in.video = video;
    sp_carry_alloc(online, &nn, in.queries, &carried);
    for (int64_t i = 0; i < 3; i++) {
        const Recorded r = {g, i};
        SP_NN_SCOPE(&nn);
        SpWindow w;
        start_window(&r, &nn, &in, &random, &carried, &w);
        compare_start(&r, &w);
        for (int k = 0; k < 4; k++)
            sp_window_iterate(online, &nn, &settings, &w);
        model_check(&nn);
        compare_end(&r, &w);
        carry_recorded(&r, &nn, &w, &carried);
    }
    free(video);
    model_close(&nn);
    golden_close(g);
}

/* The tracker's own memory for a clip of 294 x 518. */
static size_t memory_for(const SpTracker *tracker, int64_t frames, int64_t queries)
{
    const SpTrackerInput in = {.frames = frames, .height = 294, .width = 518, .queries = queries};
    const SpTrackerSettings settings = {
        .iterations = 4, .support = sp_tracker_support(tracker), .replace_ratio = 0.2};
    return tracker_run(tracker, &in, &settings, NULL);
}

/* Finished windows leave nothing in the arenas: 60 and 300 frames need the same. */
static void memory_does_not_grow(void **state)
{
    (void)state;
    const SpTracker *const trackers[] = {online, lite};
    SpTracker *whole = opened(embedded, SP_TRACKER_OFFLINE);
    for (int i = 0; i < 2; i++)
        for (int64_t queries = 1; queries <= 2500; queries *= 50) {
            const double few = (double)memory_for(trackers[i], 60, queries);
            const double many = (double)memory_for(trackers[i], 300, queries);
            assert_true(fabs(many - few) <= 0.05 * few);
        }
    assert_true(memory_for(whole, 300, 100) > 2 * memory_for(whole, 60, 100));
    sp_tracker_close(whole);
}

/* A sloping wall that the camera passes; the input's arrays but the queries lie behind `video`. */
static SpTrackerInput passing(int64_t frames, int64_t h, int64_t w)
{
    const int64_t area = frames * h * w;
    float *video = golden_zeros(5 * area + 25 * frames), *depth = video + 3 * area;
    float *ones = depth + area, *k = ones + area, *c2w = k + 9 * frames;
    for (int64_t i = 0; i < area; i++) {
        const int64_t x = i % w + i / (h * w), y = i / w % h;
        ones[i] = 1;
        depth[i] = 2 + 0.5f * (float)(i % w) / (float)w;
        for (int c = 0; c < 3; c++)
            video[((i / (h * w)) * 3 + c) * h * w + i % (h * w)] =
                (float)((x / 5 * 37 + y / 4 * 91 + c * 50) % 251);
    }
    for (int64_t f = 0; f < frames; f++) {
        k[9 * f] = k[9 * f + 4] = 60;
        k[9 * f + 2] = (float)w / 2;
        k[9 * f + 5] = (float)h / 2;
        k[9 * f + 8] = 1;
        for (int i = 0; i < 4; i++)
            c2w[16 * f + 5 * i] = 1;
        c2w[16 * f + 3] = 0.03f * (float)f;
    }
    return (SpTrackerInput){frames, h, w, video, depth, ones, k, c2w, 0, NULL, 0, false, 0};
}

/* The bytes of every array of both results. */
static void expect_equal(const SpTrackerInput *in, const SpTrackerOutput *a,
                         const SpTrackerOutput *b)
{
    const int64_t pairs = in->frames * in->queries, area = in->frames * in->height * in->width;
    const struct {
        const float *a, *b;
        int64_t count;
    } parts[] = {{a->tracks, b->tracks, 3 * pairs},
                 {a->camera_points, b->camera_points, 3 * pairs},
                 {a->visibility, b->visibility, pairs},
                 {a->confidence, b->confidence, pairs},
                 {a->dynamic, b->dynamic, in->queries},
                 {a->c2w, b->c2w, 16 * in->frames},
                 {a->intrinsics, b->intrinsics, 9 * in->frames},
                 {a->depth, b->depth, area},
                 {a->valid, b->valid, area}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_memory_equal(parts[i].a, parts[i].b, (size_t)parts[i].count * sizeof(float));
}

/* Depth and mask of the result may take the place of those given. */
static void maps_in_place(void **state)
{
    (void)state;
    const SpTrackerSettings settings = {.iterations = 1, .support = 40, .replace_ratio = 0.2};
    const float query[] = {0, 10, 20, 30, 40, 30};
    SpTrackerInput in = passing(36, 48, 64);
    in.queries = 2;
    in.query = query;
    const SpTrackerOutput apart = tracker_output(&in), other = tracker_output(&in);
    SpTrackerOutput within = other;
    tracker_run(lite, &in, &settings, &apart);
    within.depth = (float *)in.video + 3 * in.frames * in.height * in.width;
    within.valid = within.depth + in.frames * in.height * in.width;
    assert_true(within.depth == in.depth && within.valid == in.confident);
    tracker_run(lite, &in, &settings, &within);
    expect_equal(&in, &apart, &within);
    tracker_output_free(&apart);
    tracker_output_free(&other);
    free((float *)in.video);
}

/* Rows in the queries' order: zero before the first frame of the window that brings them in, found
 * from there on, whatever window that is. */
static void expect_rows(const SpTrackerInput *in, const SpTrackerOutput *out)
{
    for (int64_t n = 0; n < in->queries; n++) {
        const int64_t frame = (int64_t)in->query[3 * n];
        const int64_t first = frame < WINDOW ? 0 : (frame - WINDOW + STEP) / STEP * STEP;
        for (int64_t f = 0; f < in->frames; f++) {
            const int64_t i = f * in->queries + n;
            const float *track = out->tracks + 3 * i;
            assert_true(isfinite(track[0]) && isfinite(track[1]) && isfinite(track[2]));
            assert_true(f < first ? out->visibility[i] == 0 && track[0] == 0 && track[2] == 0
                                  : out->visibility[i] > 0.2f && out->visibility[i] < 1.2f);
        }
        assert_true(out->dynamic[n] > 0 && out->dynamic[n] < 1);
    }
    for (int64_t i = 0; i < 16 * in->frames; i++)
        assert_true(isfinite(out->c2w[i]));
}

static void queries_start_in_any_window(void **state)
{
    (void)state;
    const float query[] = {49, 20, 30, 0,  11, 40, 25, 60, 30, 34, 30, 30, 33, 31,
                           33, 19, 40, 20, 20, 41, 21, 48, 12, 52, 0,  50, 50, 47};
    SpTrackerInput in = passing(50, 70, 56); /* four windows; taller than wide */
    in.query = query;
    in.queries = 9;
    const SpTrackerSettings settings = {.iterations = 2, .support = 60, .replace_ratio = 0.2};
    const SpTrackerOutput out = tracker_output(&in);
    tracker_run(lite, &in, &settings, &out);
    expect_rows(&in, &out);
    tracker_output_free(&out);
    free((float *)in.video);
}

/* Windows before every query, with support points and without. */
static void nothing_to_track_at_first(void **state)
{
    (void)state;
    const float query[] = {45, 20, 30, 30, 12, 31};
    for (int64_t support = 0; support <= 60; support += 60)
        for (int64_t queries = 1; queries <= 2; queries++) {
            const SpTrackerSettings settings = {
                .iterations = 2, .support = support, .replace_ratio = 0.2};
            SpTrackerInput in = passing(50, 48, 64);
            in.query = query;
            in.queries = queries;
            const SpTrackerOutput out = tracker_output(&in);
            tracker_run(lite, &in, &settings, &out);
            expect_rows(&in, &out);
            for (int64_t i = 0; i < 16 * STEP && support == 0; i++)
                assert_true(fabsf(out.c2w[i] - in.c2w[i]) < 1e-6f);
            tracker_output_free(&out);
            free((float *)in.video);
        }
}

/* What `in` and `out` hold from frame `first` on. */
static void leave_out(int64_t first, SpTrackerInput *in, SpTrackerOutput *out)
{
    const int64_t pairs = first * in->queries, area = first * in->height * in->width;
    in->first = first;
    in->video += 3 * area, in->depth += area, in->confident += area;
    in->intrinsics += 9 * first, in->c2w += 16 * first;
    out->tracks += 3 * pairs, out->camera_points += 3 * pairs;
    out->visibility += pairs, out->confidence += pairs;
    out->c2w += 16 * first, out->intrinsics += 9 * first;
    out->depth += area, out->valid += area;
}

/* A part of the clip, as if nothing stood before what is final; the device is a new one each time.
 */
static void advance(SpTrackerInput in, SpTrackerOutput out, const SpTrackerSettings *settings,
                    SpTrackerState *state)
{
    SpDevice *device;
    SpNn nn;
    assert_int_equal(sp_cpu_open(0, &device).code, SP_OK);
    SpNn dry = sp_nn_dry(device);
    leave_out(sp_tracker_final(state), &in, &out);
    assert_int_equal(sp_tracker_advance(lite, &dry, &in, settings, state, NULL).code, SP_OK);
    assert_int_equal(sp_nn_open(device, dry.arena.peak, dry.host.peak, &nn).code, SP_OK);
    assert_int_equal(sp_tracker_advance(lite, &nn, &in, settings, state, &out).code, SP_OK);
    sp_nn_close(&nn);
    device->close(device);
}

/* Cut anywhere, also so that a part has no window or the last one only the overlap. */
static void parts_are_the_whole(void **state)
{
    (void)state;
    const float query[] = {0, 20, 30, 30, 12, 31, 61, 40, 20, 3, 33, 9};
    const int64_t cuts[][4] = {{7, 20, 41, 62}, {34, 48, 62, 62}, {19, 21, 55, 61}};
    const SpTrackerSettings settings = {
        .iterations = 1, .support = 40, .seed = 3, .replace_ratio = 0.2};
    SpTrackerInput in = passing(62, 48, 64); /* the last window ends with the clip */
    in.query = query;
    in.queries = 4;
    const SpTrackerOutput whole = tracker_output(&in);
    tracker_run(lite, &in, &settings, &whole);
    for (int i = 0; i < 3; i++) {
        SpTrackerState *part;
        const SpTrackerOutput out = tracker_output(&in);
        assert_int_equal(sp_tracker_state_open(in.queries, settings.seed, &part).code, SP_OK);
        SpTrackerInput known = in;
        known.more = true;
        for (int k = 0; k < 4; k++) {
            known.frames = cuts[i][k];
            advance(known, out, &settings, part);
            assert_true(sp_tracker_final(part) <= known.frames - (WINDOW - STEP) ||
                        sp_tracker_final(part) == 0);
        }
        advance(in, out, &settings, part);
        assert_int_equal(sp_tracker_final(part), in.frames);
        expect_equal(&in, &whole, &out);
        sp_tracker_state_close(part);
        tracker_output_free(&out);
    }
    tracker_output_free(&whole);
    free((float *)in.video);
}

/* With the same weights, a clip of at most one window is the same in both modes. */
static void short_clips_are_as_offline(void **state)
{
    (void)state;
    SpTracker *whole = opened(embedded, SP_TRACKER_OFFLINE);
    const SpTrackerSettings settings = {.iterations = 2, .support = 60, .replace_ratio = 0.2};
    const int64_t frames[] = {1, 2, 5, WINDOW};
    for (int i = 0; i < 4; i++) {
        const float query[] = {0, 20, 30, (float)(frames[i] - 1), 12, 31};
        SpTrackerInput in = passing(frames[i], 48, 64);
        in.query = query;
        in.queries = 2;
        const SpTrackerOutput a = tracker_output(&in), b = tracker_output(&in);
        tracker_run(lite, &in, &settings, &a);
        tracker_run(whole, &in, &settings, &b);
        expect_rows(&in, &a);
        expect_equal(&in, &a, &b);
        tracker_output_free(&a);
        tracker_output_free(&b);
        free((float *)in.video);
    }
    sp_tracker_close(whole);
}

/* With an argument, the published dims against their golden: "whole" or "windows". */
int main(int argc, char **argv)
{
    const struct CMUnitTest whole[] = {cmocka_unit_test(whole_run)};
    const struct CMUnitTest windows[] = {cmocka_unit_test(forced_windows)};
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(windows_follow_mode_and_weights),
        cmocka_unit_test(memory_does_not_grow),
        cmocka_unit_test(maps_in_place),
        cmocka_unit_test(queries_start_in_any_window),
        cmocka_unit_test(nothing_to_track_at_first),
        cmocka_unit_test(parts_are_the_whole),
        cmocka_unit_test(short_clips_are_as_offline),
    };
    if (argc > 1 && strcmp(argv[1], "whole") == 0)
        return cmocka_run_group_tests_name("online, whole", whole, open_models, close_models);
    if (argc > 1)
        return cmocka_run_group_tests_name("online, windows", windows, open_models, close_models);
    return cmocka_run_group_tests_name("online", cases, open_models, close_models);
}
