/* An overlay of the repository's clip with its ground truth, found again in its video. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "media/png.h"
#include "output/npz.h"
#include "output/overlay.h"
#include "output/sheet.h"
#include "support/picture.h"
#include "support/scratch.h"

enum { BALL_FRAMES = 24, BALL_TRACKS = 192, BALL_HEIGHT = 360, BALL_WIDTH = 480 };

typedef struct Truth {
    char video[300];
    float *tracks, *visible, *queries; /* of all tracks */
    double times[BALL_FRAMES];
} Truth;

static Truth read_truth(void)
{
    char path[300];
    int64_t xy[] = {BALL_FRAMES, BALL_TRACKS, 2}, visible[] = {BALL_FRAMES, BALL_TRACKS};
    int64_t queries[] = {BALL_TRACKS, 3};
    Truth truth;
    SpNpz *npz;
    snprintf(truth.video, sizeof truth.video, "%s/../data/ball.mp4", getenv("SP_GOLDEN_DIR"));
    snprintf(path, sizeof path, "%s/../data/ball.npz", getenv("SP_GOLDEN_DIR"));
    assert_ok(sp_npz_open(path, &npz));
    assert_ok(sp_npz_read_f32(npz, "tracks", 3, xy, &truth.tracks));
    assert_ok(sp_npz_read_f32(npz, "visible", 2, visible, &truth.visible));
    assert_ok(sp_npz_read_f32(npz, "queries", 2, queries, &truth.queries));
    sp_npz_close(npz);
    for (int t = 0; t < BALL_FRAMES; t++)
        truth.times[t] = t / 12.0;
    return truth;
}

static void free_truth(Truth *truth)
{
    free(truth->tracks);
    free(truth->visible);
    free(truth->queries);
}

/* One track of the truth as an overlay of its own. */
typedef struct Single {
    SpOverlay overlay;
    float xy[2 * BALL_FRAMES], visible[BALL_FRAMES], query[3];
} Single;

static void single(const Truth *truth, int n, float from, Single *out)
{
    for (int t = 0; t < BALL_FRAMES; t++) {
        memcpy(out->xy + 2 * t, truth->tracks + 2 * (t * BALL_TRACKS + n), 2 * sizeof(float));
        out->visible[t] = truth->visible[t * BALL_TRACKS + n];
    }
    memcpy(out->query, truth->queries + 3 * n, sizeof out->query);
    out->query[0] = from;
    out->overlay = (SpOverlay){.video = truth->video,
                               .reader = {0, 1, 80},
                               .frames = BALL_FRAMES,
                               .height = BALL_HEIGHT,
                               .width = BALL_WIDTH,
                               .timestamps = truth->times,
                               .rate = 12,
                               .tracks = 1,
                               .xy = out->xy,
                               .visibility = out->visible,
                               .queries = out->query,
                               .background = SP_BACKGROUND_GRAY};
}

static void write_overlay(const SpOverlay *overlay, const char *path)
{
    const char *codec = NULL;
    SpAtomicFile file;
    assert_ok(sp_atomic_open_for(path, "--overlay", &file));
    assert_ok(sp_overlay_write(&file, overlay, NULL, &codec));
    assert_ok(sp_atomic_commit(&file));
    assert_non_null(codec);
}

/* Decodes the overlay and looks for what is red in it: the first colour, on gray. Returns how many
 * frames the marker was looked at in. */
static int find_marker(const Single *track, const char *path)
{
    SpReader *reader;
    SpFrameInfo info;
    SpImage image = black(BALL_HEIGHT, BALL_WIDTH);
    bool end;
    int seen = 0;
    assert_ok(sp_reader_open(path, &track->overlay.reader, &reader));
    for (int t = 0; t < BALL_FRAMES; t++) {
        assert_ok(sp_reader_next(reader, image.rgb, &info, &end));
        assert_true(!end && fabs(info.timestamp - t / 12.0) < 1e-4);
        const double x = (double)track->xy[2 * t], y = (double)track->xy[2 * t + 1];
        const Spot spot = centre_of(&image, redness);
        if ((float)t < track->query[0]) {
            assert_true(spot.weight == 0); /* no marker before its query frame */
        } else if (x > 8 && y > 8 && x < BALL_WIDTH - 9 && y < BALL_HEIGHT - 9) {
            assert_true(spot.weight > 500);
            if (hypot(spot.x - x, spot.y - y) >= 1)
                fail_msg("frame %d: marker at %.2f, %.2f; truth %.2f, %.2f", t, spot.x, spot.y, x,
                         y);
            seen++;
        }
    }
    assert_ok(sp_reader_next(reader, image.rgb, &info, &end));
    assert_true(end);
    sp_reader_close(reader);
    free(image.rgb);
    return seen;
}

/* The measure: the marker of a known track, decoded again, within 1 px of the truth. */
static void markers_are_where_the_truth_is(void **state)
{
    (void)state;
    Truth truth = read_truth();
    int hidden = 0, seen = 0;
    for (int n = 5; n < BALL_TRACKS; n += 23) {
        Single track;
        single(&truth, n, n % 2 ? 0 : 7, &track);
        write_overlay(&track.overlay, scratch_path("truth.mp4"));
        seen += find_marker(&track, scratch_path("truth.mp4"));
        for (int t = 0; t < BALL_FRAMES; t++)
            hidden += track.visible[t] <= 0.5f;
    }
    assert_true(seen > 100 && hidden > 0);
    free_truth(&truth);
}

/* A frame with one visible and one hidden track. */
static void hidden_markers_are_hollow(void **state)
{
    (void)state;
    static const float xy[] = {40, 50, 120, 50}, visible[] = {0.51f, 0.5f};
    static const float queries[] = {0, 40, 50, 0, 120, 50};
    const SpOverlay overlay = {.frames = 1,
                               .height = 720,
                               .width = 1280,
                               .tracks = 2,
                               .xy = xy,
                               .visibility = visible,
                               .queries = queries};
    SpOverlayBrush brush;
    SpImage image = black(720, 1280);
    memset(image.rgb, 100, 3 * 720 * 1280);
    assert_ok(sp_overlay_brush_open(&overlay, 720 * 1280, &brush));
    sp_overlay_draw(&brush, 0, &image);
    assert_memory_equal(image.rgb + 3 * (50 * 1280 + 40), brush.colours[0].rgb, 3);
    assert_int_equal(image.rgb[3 * (50 * 1280 + 120)], 100);
    assert_memory_equal(image.rgb + 3 * (50 * 1280 + 126), brush.colours[1].rgb, 3);
    sp_overlay_brush_close(&brush);
    free(image.rgb);
}

static void backgrounds_dim_or_lose_colour(void **state)
{
    (void)state;
    static const uint8_t expected[][3] = {{200, 100, 50}, {80, 40, 20}, {118, 118, 118}};
    SpOverlay overlay = {.frames = 1, .height = 2, .width = 2};
    for (int i = 0; i < 3; i++) {
        SpOverlayBrush brush;
        uint8_t pixels[12] = {200, 100, 50, 200, 100, 50, 200, 100, 50, 200, 100, 50};
        const SpImage image = {2, 2, pixels};
        overlay.background = (SpBackground)i;
        assert_ok(sp_overlay_brush_open(&overlay, 4, &brush));
        sp_overlay_draw(&brush, 0, &image);
        assert_memory_equal(pixels + 9, expected[i], 3);
        sp_overlay_brush_close(&brush);
    }
}

static void a_trail_fades_behind_the_marker(void **state)
{
    (void)state;
    enum { STEPS = 12 };
    float xy[2 * STEPS], visible[STEPS];
    static const float query[] = {2, 20, 30};
    for (int t = 0; t < STEPS; t++) {
        xy[2 * t] = (float)(10 * t);
        xy[2 * t + 1] = 30;
        visible[t] = 1;
    }
    SpOverlay overlay = {.frames = STEPS,
                         .height = 60,
                         .width = 140,
                         .tracks = 1,
                         .xy = xy,
                         .visibility = visible,
                         .queries = query,
                         .trail = 20};
    SpOverlayBrush brush;
    SpImage image = black(60, 140);
    assert_ok(sp_overlay_brush_open(&overlay, 60 * 140, &brush));
    sp_overlay_draw(&brush, 11, &image);
    const uint8_t *row = image.rgb + 3 * 30 * 140;
    for (int x = 25; x < 95; x += 5)
        assert_true(row[3 * x] > 0 && row[3 * x] < row[3 * (x + 5)]);
    assert_int_equal(row[3 * 15], 0); /* before its query frame */
    overlay.trail = 3;
    memset(image.rgb, 0, 3 * 60 * 140);
    sp_overlay_draw(&brush, 11, &image);
    assert_int_equal(row[3 * 75], 0);
    assert_true(row[3 * 90] > 0);
    sp_overlay_brush_close(&brush);
    free(image.rgb);
}

static void a_clip_that_changed_is_told(void **state)
{
    (void)state;
    const char *codec;
    Truth truth = read_truth();
    Single track;
    SpAtomicFile file;
    single(&truth, 0, 0, &track);
    for (int i = 0; i < 2; i++) {
        SpOverlay overlay = track.overlay;
        if (i == 0)
            overlay.reader.max_frames = 20;
        else
            overlay.width = 470;
        assert_ok(sp_atomic_open_for(scratch_path("changed.mp4"), "--overlay", &file));
        const SpStatus status = sp_overlay_write(&file, &overlay, NULL, &codec);
        assert_int_equal(status.code, SP_INPUT);
        assert_non_null(strstr(status.text, "second reading"));
        sp_atomic_abandon(&file);
        assert_int_not_equal(access(scratch_path("changed.mp4"), F_OK), 0);
    }
    free_truth(&truth);
}

/* The sheet's depth: the near half of a step is pale, the far half dark, the scale beside it runs
 * from one to the other. */
static void the_sheet_shows_depth_and_scale(void **state)
{
    (void)state;
    enum { H = 252, W = 336, GAP = 12, CAPTION = 14 + 6 };
    Truth truth = read_truth();
    Single track;
    SpFramePlan plan;
    SpAtomicFile file;
    int64_t h, w;
    uint8_t *gray;
    float *depth = allocate(H * W * sizeof *depth);
    for (int i = 0; i < H * W; i++)
        depth[i] = i < 10 * W ? NAN : i % W < W / 2 ? 2 : 8;
    single(&truth, 0, 0, &track);
    assert_ok(sp_frame_plan(BALL_HEIGHT, BALL_WIDTH, W, 14, SP_PORTRAIT_CROP, 0, &plan));
    assert_true(plan.height == H && plan.width == W);
    assert_ok(sp_atomic_open_for(scratch_path("sheet.png"), "--overlay", &file));
    assert_ok(sp_sheet_write(&file, &track.overlay, &plan, depth, NULL));
    assert_ok(sp_atomic_commit(&file));
    assert_ok(sp_png_read_gray(scratch_path("sheet.png"), &h, &w, &gray));
    assert_int_equal(h, 2 * (GAP + CAPTION + BALL_HEIGHT) + GAP);
    const int64_t x = 2 * GAP + BALL_WIDTH, y = 2 * (GAP + CAPTION) + BALL_HEIGHT;
    assert_true(gray[(y + 200) * w + x + 100] > 240 && gray[(y + 200) * w + x + 400] < 5);
    assert_in_range(gray[(y + 4) * w + x + 100], 60, 80); /* no depth there */
    const int64_t bar = x + BALL_WIDTH + GAP + 3;
    assert_true(gray[y * w + bar] > 240 && gray[(y + BALL_HEIGHT - 1) * w + bar] < 8);
    for (int64_t i = 1; i < BALL_HEIGHT; i++)
        assert_true(gray[(y + i) * w + bar] <= gray[(y + i - 1) * w + bar] + 4); /* rounding */
    free(gray);
    free(depth);
    free_truth(&truth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markers_are_where_the_truth_is),
        cmocka_unit_test(hidden_markers_are_hollow),
        cmocka_unit_test(backgrounds_dim_or_lose_colour),
        cmocka_unit_test(a_trail_fades_behind_the_marker),
        cmocka_unit_test(a_clip_that_changed_is_told),
        cmocka_unit_test(the_sheet_shows_depth_and_scale),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
