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
#include "support/picture.h"
#include "support/scratch.h"

enum { BALL_FRAMES = 24, BALL_TRACKS = 192, BALL_HEIGHT = 360, BALL_WIDTH = 480 };

typedef struct Truth {
    char video[300];
    float *tracks, *visible, *queries; /* of all tracks */
    double times[BALL_FRAMES];
    int64_t index[BALL_FRAMES];
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
    for (int t = 0; t < BALL_FRAMES; t++) {
        truth.times[t] = t / 12.0;
        truth.index[t] = t;
    }
    return truth;
}

static void free_truth(Truth *truth)
{
    free(truth->tracks);
    free(truth->visible);
    free(truth->queries);
}

/* A result to draw. */
typedef struct Drawing {
    SpClip clip;
    SpResult result;
    SpConsole console;
    SpOutput output;
} Drawing;

/* Tracks are in pixels of the height x width video, whose working frames are it. */
static void draw_on(int64_t frames, int64_t height, int64_t width, Drawing *out)
{
    *out =
        (Drawing){.clip = {.plan = {height, width, height, width, height, width, 0, height, width},
                           .frames = frames},
                  .result = {.clip = &out->clip, .tracks = 1},
                  .console = {.quiet = true},
                  .output = {.result = &out->result, .console = &out->console}};
}

/* One track of the truth. */
typedef struct Single {
    Drawing drawing;
    float track[3 * BALL_FRAMES], visible[BALL_FRAMES], query[3];
} Single;

static void single(Truth *truth, int n, float from, Single *out)
{
    for (int t = 0; t < BALL_FRAMES; t++) {
        memcpy(out->track + 3 * t, truth->tracks + 2 * (t * BALL_TRACKS + n), 2 * sizeof(float));
        out->visible[t] = truth->visible[t * BALL_TRACKS + n];
    }
    memcpy(out->query, truth->queries + 3 * n, sizeof out->query);
    out->query[0] = from;
    draw_on(BALL_FRAMES, BALL_HEIGHT, BALL_WIDTH, &out->drawing);
    out->drawing.clip.timestamps = truth->times;
    out->drawing.clip.index = truth->index;
    out->drawing.clip.rate = 12;
    out->drawing.result.track = out->track;
    out->drawing.result.visibility = out->visible;
    out->drawing.result.queries = out->query;
    out->drawing.output.video = truth->video;
    out->drawing.output.reader = (SpReaderSettings){0, 1, 80, -1};
    out->drawing.output.background = SP_BACKGROUND_GRAY;
}

static SpStatus write_overlay(const Drawing *drawing, const char *path)
{
    SpAtomicFile file;
    assert_ok(sp_atomic_open(path, "--overlay", &file));
    const SpStatus status = sp_format_of(SP_PRODUCT_OVERLAY, path)->write(&file, &drawing->output);
    if (status.code == SP_OK)
        assert_ok(sp_atomic_commit(&file));
    sp_atomic_abandon(&file);
    return status;
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
    assert_ok(sp_reader_open(path, &track->drawing.output.reader, &reader));
    for (int t = 0; t < BALL_FRAMES; t++) {
        assert_ok(sp_reader_next(reader, image.rgb, &info, &end));
        assert_true(!end && fabs(info.timestamp - t / 12.0) < 1e-4);
        const double x = (double)track->track[3 * t], y = (double)track->track[3 * t + 1];
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

/* The marker of a known track, decoded again, lies within 1 px of the truth. */
static void markers_are_where_the_truth_is(void **state)
{
    (void)state;
    Truth truth = read_truth();
    int hidden = 0, seen = 0;
    for (int n = 5; n < BALL_TRACKS; n += 23) {
        Single track;
        single(&truth, n, n % 2 ? 0 : 7, &track);
        assert_ok(write_overlay(&track.drawing, scratch_path("truth.mp4")));
        seen += find_marker(&track, scratch_path("truth.mp4"));
        for (int t = 0; t < BALL_FRAMES; t++)
            hidden += track.visible[t] <= 0.5f;
    }
    assert_true(seen > 100 && hidden > 0);
    free_truth(&truth);
}

/* Draws the frame after those before it. */
static void draw_up_to(int64_t t, SpOverlay *overlay, const SpImage *image)
{
    for (int64_t i = 0; i <= t; i++) {
        SpResultFrame frame;
        sp_result_frame(overlay->output->result, i, &frame);
        assert_ok(sp_overlay_place(overlay, i, &frame.result));
    }
    sp_overlay_draw(overlay, t, image);
}

/* A frame with one visible and one hidden track. */
static void hidden_markers_are_hollow(void **state)
{
    (void)state;
    static const float track[] = {40, 50, 1, 120, 50, 1}, visible[] = {0.51f, 0.5f};
    static const float queries[] = {0, 40, 50, 0, 120, 50};
    Drawing drawing;
    draw_on(1, 720, 1280, &drawing);
    drawing.result.tracks = 2;
    drawing.result.track = track;
    drawing.result.visibility = visible;
    drawing.result.queries = queries;
    SpOverlay overlay;
    SpImage image = black(720, 1280);
    memset(image.rgb, 100, 3 * 720 * 1280);
    assert_ok(sp_overlay_open(&drawing.output, 720 * 1280, &overlay));
    draw_up_to(0, &overlay, &image);
    assert_memory_equal(image.rgb + 3 * (50 * 1280 + 40), overlay.colours[0].rgb, 3);
    assert_int_equal(image.rgb[3 * (50 * 1280 + 120)], 100);
    assert_memory_equal(image.rgb + 3 * (50 * 1280 + 126), overlay.colours[1].rgb, 3);
    sp_overlay_close(&overlay);
    free(image.rgb);
}

static void backgrounds_dim_or_lose_colour(void **state)
{
    (void)state;
    static const uint8_t expected[][3] = {{200, 100, 50}, {80, 40, 20}, {118, 118, 118}};
    Drawing drawing;
    draw_on(1, 2, 2, &drawing);
    drawing.result.tracks = 0;
    for (int i = 0; i < 3; i++) {
        SpOverlay overlay;
        uint8_t pixels[12] = {200, 100, 50, 200, 100, 50, 200, 100, 50, 200, 100, 50};
        const SpImage image = {2, 2, pixels};
        drawing.output.background = (SpBackground)i;
        assert_ok(sp_overlay_open(&drawing.output, 4, &overlay));
        draw_up_to(0, &overlay, &image);
        assert_memory_equal(pixels + 9, expected[i], 3);
        sp_overlay_close(&overlay);
    }
}

static void a_trail_fades_behind_the_marker(void **state)
{
    (void)state;
    enum { STEPS = 12 };
    float track[3 * STEPS], visible[STEPS];
    static const float query[] = {2, 20, 30};
    for (int t = 0; t < STEPS; t++) {
        track[3 * t] = (float)(10 * t);
        track[3 * t + 1] = 30;
        visible[t] = 1;
    }
    Drawing drawing;
    draw_on(STEPS, 60, 140, &drawing);
    drawing.result.track = track;
    drawing.result.visibility = visible;
    drawing.result.queries = query;
    drawing.output.trail = 20;
    SpOverlay overlay;
    SpImage image = black(60, 140);
    assert_ok(sp_overlay_open(&drawing.output, 60 * 140, &overlay));
    draw_up_to(11, &overlay, &image);
    const uint8_t *row = image.rgb + 3 * 30 * 140;
    for (int x = 25; x < 95; x += 5)
        assert_true(row[3 * x] > 0 && row[3 * x] < row[3 * (x + 5)]);
    assert_int_equal(row[3 * 15], 0); /* before its query frame */
    sp_overlay_close(&overlay);
    drawing.output.trail = 3;
    memset(image.rgb, 0, 3 * 60 * 140);
    assert_ok(sp_overlay_open(&drawing.output, 60 * 140, &overlay));
    draw_up_to(11, &overlay, &image);
    assert_int_equal(row[3 * 75], 0);
    assert_true(row[3 * 90] > 0);
    sp_overlay_close(&overlay);
    free(image.rgb);
}

static void a_clip_that_changed_is_reported(void **state)
{
    (void)state;
    Truth truth = read_truth();
    Single track;
    for (int i = 0; i < 2; i++) {
        single(&truth, 0, 0, &track);
        if (i == 0)
            track.drawing.output.reader.max_frames = 20;
        else
            track.drawing.clip.plan.input_width = 470;
        const SpStatus status = write_overlay(&track.drawing, scratch_path("changed.mp4"));
        assert_int_equal(status.code, SP_INPUT);
        assert_non_null(strstr(status.text, "second reading"));
        assert_int_not_equal(access(scratch_path("changed.mp4"), F_OK), 0);
    }
    free_truth(&truth);
}

/* A clip that says which frames of which times it is made of. */
static void other_frames_are_reported(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        Truth truth = read_truth();
        Single track;
        single(&truth, 0, 0, &track);
        track.drawing.clip.result = "tracks.npz";
        if (i == 0) /* the last frame is one that the video does not have */
            truth.index[BALL_FRAMES - 1] = BALL_FRAMES;
        else if (i == 1)
            truth.times[3] += 0.01;
        else if (i == 2) /* every frame is later: the same */
            for (int t = 0; t < BALL_FRAMES; t++)
                truth.times[t] += 5;
        else { /* no file's times */
            truth.times[3] += 0.01;
            track.drawing.clip.timeless = true;
        }
        const SpStatus status = write_overlay(&track.drawing, scratch_path("other.mp4"));
        assert_int_equal(status.code, i < 2 ? SP_INPUT : SP_OK);
        if (i < 2)
            assert_non_null(strstr(status.text, "its frames are not those of tracks.npz"));
        free_truth(&truth);
    }
}

/* Without a video the clip's frames are drawn on, in their size, and with them the tracks. */
static void a_clips_own_frames_take_the_videos_place(void **state)
{
    (void)state;
    enum { H = 252, W = 336, FRAMES = 2 };
    Truth truth = read_truth();
    Single track;
    SpReader *reader;
    SpFrameInfo info;
    bool end;
    const SpReaderSettings settings = {0, 1, FRAMES, -1};
    float *video = allocate(FRAMES * 3 * H * W * sizeof *video);
    uint8_t *rgb = allocate(3 * H * W);
    for (int i = 0; i < FRAMES * 3 * H * W; i++)
        video[i] = (float)(60 + 60 * (i / (3 * H * W)));
    single(&truth, 0, 0, &track);
    SpFramePlan *plan = &track.drawing.clip.plan;
    *plan = (SpFramePlan){H, W, H, W, H, W, 0, H, W};
    for (int t = 0; t < FRAMES; t++) {
        track.track[3 * t] = 210;
        track.track[3 * t + 1] = 105;
        track.visible[t] = 1;
    }
    track.drawing.clip.frames = FRAMES;
    track.drawing.clip.video = video;
    track.drawing.output.video = NULL;
    track.drawing.output.background = SP_BACKGROUND_PLAIN;
    assert_ok(write_overlay(&track.drawing, scratch_path("own.mp4")));
    assert_ok(sp_reader_open(scratch_path("own.mp4"), &settings, &reader));
    assert_true(sp_reader_video(reader).height == H && sp_reader_video(reader).width == W);
    for (int t = 0; t < FRAMES; t++) {
        assert_ok(sp_reader_next(reader, rgb, &info, &end));
        assert_false(end);
        assert_in_range(rgb[3 * (20 * W + 20)], 57 + 60 * t, 63 + 60 * t);
        assert_true(rgb[3 * (105 * W + 210)] > 180); /* the first track is red */
    }
    sp_reader_close(reader);
    free(rgb);
    free(video);
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
    SpFramePlan *plan = &track.drawing.clip.plan;
    int64_t h, w;
    uint8_t *gray;
    float *depth = allocate(H * W * sizeof *depth);
    for (int i = 0; i < H * W; i++)
        depth[i] = i < 10 * W ? NAN : i % W < W / 2 ? 2 : 8;
    single(&truth, 0, 0, &track);
    assert_ok(sp_frame_plan(BALL_HEIGHT, BALL_WIDTH, W, 14, SP_PORTRAIT_CROP, 0, plan));
    assert_true(plan->height == H && plan->width == W);
    for (int t = 0; t < BALL_FRAMES; t++)
        sp_point_to_working(plan, track.track[3 * t], track.track[3 * t + 1], &track.track[3 * t],
                            &track.track[3 * t + 1]);
    track.drawing.result.depth = depth;
    assert_ok(write_overlay(&track.drawing, scratch_path("sheet.png")));
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
        cmocka_unit_test(a_clip_that_changed_is_reported),
        cmocka_unit_test(other_frames_are_reported),
        cmocka_unit_test(a_clips_own_frames_take_the_videos_place),
        cmocka_unit_test(the_sheet_shows_depth_and_scale),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
