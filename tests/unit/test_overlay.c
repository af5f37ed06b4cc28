/* Shapes, colours, the video writer, and an overlay of ground truth found again in its video. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "media/png.h"
#include "media/spool.h"
#include "media/writer.h"
#include "output/npz.h"
#include "output/overlay.h"
#include "output/palette.h"
#include "output/sheet.h"
#include "support/scratch.h"

static const SpColour WHITE = {{255, 255, 255}}, RED = {{255, 0, 0}};
static void *allocate(size_t bytes)
{
    void *memory = calloc(bytes, 1);
    assert_non_null(memory);
    return memory;
}

static SpImage black(int64_t height, int64_t width)
{
    return (SpImage){height, width, allocate((size_t)(3 * height * width))};
}

static void expect_ok(SpStatus status)
{
    assert_string_equal(status.text, "");
}

/* Weight and centre of an image's brightness. */
typedef struct Spot {
    double weight, x, y;
} Spot;

static Spot centre_of(const SpImage *image, int (*weight_of)(const uint8_t *pixel))
{
    Spot spot = {0};
    for (int64_t i = 0; i < image->height * image->width; i++) {
        const double weight = weight_of(image->rgb + 3 * i);
        spot.weight += weight;
        spot.x += weight * (double)(i % image->width);
        spot.y += weight * (double)(i / image->width);
    }
    spot.x /= spot.weight;
    spot.y /= spot.weight;
    return spot;
}

static int brightness(const uint8_t *pixel)
{
    return pixel[0] + pixel[1] + pixel[2];
}

/* How red a pixel is; 0 for what an encoder makes of gray. */
static int redness(const uint8_t *pixel)
{
    const int red = 2 * pixel[0] - pixel[1] - pixel[2];
    return red > 60 ? red : 0;
}

/* Drawing ---------------------------------------------------------------------------------------*/

static void discs_have_their_area_and_centre(void **state)
{
    (void)state;
    for (int k = 0; k < 10; k++) {
        const float x = 20 + 0.1f * (float)k, y = 15.7f - 0.07f * (float)k, r = 2 + 0.4f * (float)k;
        SpImage image = black(32, 40);
        sp_draw_disc(&image, x, y, r, WHITE, 1);
        const Spot spot = centre_of(&image, brightness);
        assert_true(fabs(spot.weight / 765 / (M_PI * (double)r * (double)r) - 1) < 0.03);
        assert_true(fabs(spot.x - (double)x) < 0.03 && fabs(spot.y - (double)y) < 0.03);
        free(image.rgb);
    }
}

static void rings_are_hollow(void **state)
{
    (void)state;
    SpImage image = black(40, 40);
    sp_draw_ring(&image, 20, 20, 8, 3, RED, 1);
    assert_int_equal(image.rgb[3 * (20 * 40 + 20)], 0);
    assert_int_equal(image.rgb[3 * (20 * 40 + 28)], 255);
    assert_int_equal(image.rgb[3 * (20 * 40 + 28) + 1], 0);
    const Spot spot = centre_of(&image, brightness);
    assert_true(fabs(spot.weight / 255 / (M_PI * 2 * 8 * 3) - 1) < 0.02);
    assert_true(fabs(spot.x - 20) < 1e-6 && fabs(spot.y - 20) < 1e-6);
    free(image.rgb);
}

static void nothing_is_drawn_outside(void **state)
{
    (void)state;
    static const float far[] = {-1e30f, -50, 50, 3e9f, INFINITY, NAN};
    SpImage image = black(20, 30), small = black(4, 4);
    uint8_t *mask = allocate(20 * 30);
    for (int i = 0; i < 6; i++) {
        const SpLinePoint line[] = {{far[i], far[i], 1}, {far[i] + 1, far[i], 1}};
        sp_draw_disc(&image, far[i], 10, 5, WHITE, 1);
        sp_draw_ring(&image, 10, far[i], 5, 2, WHITE, 1);
        sp_draw_line(&image, mask, line, 2, 3, WHITE);
    }
    memset(small.rgb, 255, 3 * 4 * 4);
    sp_draw_image(&image, -4, 0, &small);
    sp_draw_image(&image, 30, 18, &small);
    sp_draw_box(&image, -5, -5, 5, 100, WHITE);
    sp_draw_text(&image, 31, 3, 2, "0.5", WHITE);
    for (int i = 0; i < 3 * 20 * 30; i++)
        assert_int_equal(image.rgb[i], 0);
    sp_draw_image(&image, 28, 18, &small); /* a corner of it fits */
    assert_true(centre_of(&image, brightness).weight / 765 == 4);
    const SpLinePoint through[] = {{-1e6f, 10, 1}, {1e6f, 10, 1}};
    sp_draw_line(&image, mask, through, 2, 3, RED);
    assert_int_equal(image.rgb[3 * (10 * 30 + 15)], 255);
    free(image.rgb);
    free(small.rgb);
    free(mask);
}

static void lines_never_cover_themselves_twice(void **state)
{
    (void)state;
    const SpLinePoint corner[] = {{5, 5, 0.5f}, {25, 5, 0.5f}, {25, 25, 0.5f}, {5, 5, 0.5f}};
    SpImage image = black(32, 32);
    uint8_t *mask = allocate(32 * 32);
    sp_draw_line(&image, mask, corner, 4, 4, WHITE);
    for (int i = 0; i < 32 * 32; i++) {
        assert_true(image.rgb[3 * i] <= 128);
        assert_int_equal(mask[i], 0);
    }
    assert_in_range(image.rgb[3 * (5 * 32 + 25)], 127, 128); /* where two segments meet */
    assert_in_range(image.rgb[3 * (15 * 32 + 15)], 127, 128);
    const SpLinePoint fading[] = {{2, 28, 1}, {30, 28, 0}};
    sp_draw_line(&image, mask, fading, 2, 1, RED);
    assert_in_range(image.rgb[3 * (28 * 32 + 9)], 185, 195); /* a quarter of the way */
    free(image.rgb);
    free(mask);
}

static void text_is_read_by_its_dots(void **state)
{
    (void)state;
    SpImage image = black(16, 40);
    sp_draw_text(&image, 2, 1, 2, "1-", WHITE);
    assert_int_equal(image.rgb[3 * (1 * 40 + 6)], 255); /* the tip of 1 */
    assert_int_equal(image.rgb[3 * (1 * 40 + 2)], 0);
    assert_int_equal(image.rgb[3 * (7 * 40 + 14)], 255); /* the dash, 6 dots on */
    assert_int_equal(sp_text_width(2, "1-"), 22);
    assert_int_equal(sp_text_width(2, ""), 0);
    assert_int_equal(sp_text_height(2), 14);
    free(image.rgb);
}

/* Colours ---------------------------------------------------------------------------------------*/

static int difference(SpColour a, SpColour b)
{
    return abs(a.rgb[0] - b.rgb[0]) + abs(a.rgb[1] - b.rgb[1]) + abs(a.rgb[2] - b.rgb[2]);
}

/* Tracks given in any order: sorted by start row, colours go round in small steps. */
static void colours_follow_the_start_row(void **state)
{
    (void)state;
    enum { TRACKS = 100 };
    float queries[3 * TRACKS];
    SpColour colours[TRACKS], sorted[TRACKS];
    for (int n = 0; n < TRACKS; n++) {
        const int place = n * 37 % TRACKS; /* the n-th track is the place-th of a 10 x 10 grid */
        queries[3 * n] = (float)(n % 3);
        queries[3 * n + 1] = (float)(place % 10);
        queries[3 * n + 2] = (float)(place / 10);
    }
    expect_ok(sp_palette_tracks(queries, TRACKS, colours));
    for (int n = 0; n < TRACKS; n++)
        sorted[n * 37 % TRACKS] = colours[n];
    for (int n = 1; n < TRACKS; n++)
        assert_in_range(difference(sorted[n - 1], sorted[n]), 1, 30);
    assert_true(difference(sorted[0], sorted[TRACKS - 1]) > 200);
    expect_ok(sp_palette_tracks(queries, 1, colours));
    assert_true(colours[0].rgb[0] == 255);
}

static void inferno_is_matplotlibs(void **state)
{
    (void)state;
    static const struct {
        float at;
        SpColour colour;
    } known[] = {{0, {{0, 0, 4}}},       {0.25f, {{87, 16, 110}}}, {0.5f, {{188, 55, 84}}},
                 {1, {{252, 255, 164}}}, {7, {{252, 255, 164}}},   {-1, {{0, 0, 4}}},
                 {NAN, {{0, 0, 4}}}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(difference(sp_palette_inferno(known[i].at), known[i].colour) <= 2);
}

/* The writer ------------------------------------------------------------------------------------*/

enum { FRAMES = 6 };

/* Frame t of a test clip: gray levels that grow with t, and an edge column and row that differ. */
static void paint(SpImage *image, int64_t t)
{
    memset(image->rgb, (int)(60 + 20 * t), (size_t)(3 * image->height * image->width));
}

static SpStatus write_clip(const char *path, const SpWriterSettings *settings, char codec[16])
{
    SpWriter *writer;
    SpImage image = black(settings->height, settings->width);
    SpStatus status = sp_writer_open(path, path, settings, &writer);
    for (int64_t t = 0; t < settings->frames && status.code == SP_OK; t++) {
        paint(&image, t);
        status = sp_writer_add(writer, image.rgb);
    }
    if (status.code == SP_OK)
        status = sp_writer_finish(writer);
    if (status.code == SP_OK)
        snprintf(codec, 16, "%s", sp_writer_codec(writer));
    sp_writer_close(writer);
    free(image.rgb);
    return status;
}

/* Reads a clip back and expects the frames of `paint` at those times. */
static void expect_clip(const char *path, int64_t height, int64_t width, const double *times,
                        double rate)
{
    static const SpReaderSettings all = {0, 1, 1000};
    SpReader *reader;
    SpFrameInfo info;
    bool end;
    expect_ok(sp_reader_open(path, &all, &reader));
    assert_int_equal(sp_reader_height(reader), height);
    assert_int_equal(sp_reader_width(reader), width);
    if (rate > 0)
        assert_true(fabs(sp_reader_rate(reader) / rate - 1) < 1e-6);
    uint8_t *rgb = allocate((size_t)(3 * height * width));
    for (int64_t t = 0; t < FRAMES; t++) {
        expect_ok(sp_reader_next(reader, rgb, &info, &end));
        assert_false(end);
        assert_true(fabs(info.timestamp - (times[t] - times[0])) < 1e-4);
        for (int64_t i = 0; i < 3 * height * width; i++)
            assert_in_range(rgb[i], 60 + 20 * t - 4, 60 + 20 * t + 4);
    }
    expect_ok(sp_reader_next(reader, rgb, &info, &end));
    assert_true(end);
    free(rgb);
    sp_reader_close(reader);
}

static void rates_and_timestamps_are_kept(void **state)
{
    (void)state;
    static const double rates[] = {25, 30000.0 / 1001, 24000.0 / 1001 / 7, 0.5, 0};
    double times[FRAMES], uneven[] = {5, 5.1, 5.15, 5.4, 5.45, 6};
    char codec[16];
    SpWriterSettings settings = {.height = 48, .width = 64, .frames = FRAMES, .timestamps = times};
    for (int i = 0; i < 5; i++) {
        const double rate = rates[i] > 0 ? rates[i] : 30;
        for (int t = 0; t < FRAMES; t++) /* as a container keeps them that counts milliseconds */
            times[t] = 2 + (i == 1 ? round(1000 * t / rate) / 1000 : t / rate);
        settings.rate = rates[i];
        expect_ok(write_clip(scratch_path("rate.mp4"), &settings, codec));
        for (int t = 0; t < FRAMES; t++)
            times[t] = 2 + t / rate;
        expect_clip(scratch_path("rate.mp4"), 48, 64, times, rate);
    }
    settings.timestamps = uneven;
    settings.rate = 10;
    expect_ok(write_clip(scratch_path("uneven.mp4"), &settings, codec));
    expect_clip(scratch_path("uneven.mp4"), 48, 64, uneven, 0);
    for (int t = 0; t < FRAMES; t++)
        times[t] = 1; /* a broken container */
    settings.timestamps = times;
    expect_ok(write_clip(scratch_path("still.mp4"), &settings, codec));
}

static void odd_sizes_grow_by_one(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{47, 64}, {48, 63}, {33, 35}, {16, 1}, {1, 16}};
    const double times[FRAMES] = {0, 1, 2, 3, 4, 5};
    char codec[16];
    for (int i = 0; i < 5; i++) {
        const int64_t h = sizes[i][0], w = sizes[i][1];
        const SpWriterSettings settings = {
            .height = h, .width = w, .frames = FRAMES, .timestamps = times, .rate = 1};
        expect_ok(write_clip(scratch_path("odd.mp4"), &settings, codec));
        expect_clip(scratch_path("odd.mp4"), h + (h & 1), w + (w & 1), times, 1);
    }
}

/* Every codec that this FFmpeg has, and none. */
static void other_codecs_are_fallen_back_on(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"libx264", "H.264"}, {"libvpx-vp9", "VP9"}, {"mpeg4", "MPEG-4"}};
    const double times[FRAMES] = {0, 0.1, 0.2, 0.3, 0.4, 0.5};
    char codec[16];
    int found = 0;
    SpWriterSettings settings = {
        .height = 64, .width = 64, .frames = FRAMES, .timestamps = times, .rate = 10};
    for (int i = 0; i < 3; i++) {
        settings.encoder = names[i][0];
        const SpStatus status = write_clip(scratch_path("codec.mp4"), &settings, codec);
        if (status.code == SP_OUTPUT && strstr(status.text, "no encoder"))
            continue;
        expect_ok(status);
        assert_string_equal(codec, names[i][1]);
        expect_clip(scratch_path("codec.mp4"), 64, 64, times, 10);
        found++;
    }
    assert_true(found > 0);
    settings.encoder = "none";
    const SpStatus status = write_clip(scratch_path("codec.mp4"), &settings, codec);
    assert_int_equal(status.code, SP_OUTPUT);
    assert_non_null(strstr(status.text, "no encoder"));
}

static void write_failures_name_the_file(void **state)
{
    (void)state;
    static const char *const paths[] = {"/none/x.mp4", "/dev/full"};
    const double times[FRAMES] = {0, 0.1, 0.2, 0.3, 0.4, 0.5};
    char codec[16];
    SpWriterSettings settings = {
        .height = 64, .width = 64, .frames = FRAMES, .timestamps = times, .rate = 10};
    for (int i = 0; i < 2; i++) {
        const SpStatus status = write_clip(paths[i], &settings, codec);
        assert_int_equal(status.code, SP_OUTPUT);
        assert_non_null(strstr(status.text, paths[i]));
    }
    settings.width = 20000;
    assert_int_equal(write_clip(scratch_path("wide.mp4"), &settings, codec).code, SP_OUTPUT);
}

static void the_same_frames_give_the_same_bytes(void **state)
{
    (void)state;
    const double times[FRAMES] = {0, 0.1, 0.2, 0.3, 0.4, 0.5};
    char codec[16], command[300];
    const SpWriterSettings settings = {
        .height = 480, .width = 640, .frames = FRAMES, .timestamps = times, .rate = 10};
    expect_ok(write_clip(scratch_path("a.mp4"), &settings, codec));
    expect_ok(write_clip(scratch_path("b.mp4"), &settings, codec));
    snprintf(command, sizeof command, "cmp -s %s %s", scratch_path("a.mp4"), scratch_path("b.mp4"));
    assert_int_equal(system(command), 0);
}

static void standard_input_is_read_twice(void **state)
{
    (void)state;
    char text[8] = "";
    int ends[2];
    const int before = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "frames", 6), 6);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    expect_ok(sp_spool_stdin());
    for (int i = 0; i < 2; i++) {
        expect_ok(sp_spool_rewind());
        assert_int_equal(read(STDIN_FILENO, text, sizeof text), 6);
        assert_string_equal(text, "frames");
    }
    lseek(STDIN_FILENO, 2, SEEK_SET); /* a file is read from where it stands */
    expect_ok(sp_spool_stdin());
    expect_ok(sp_spool_rewind());
    assert_int_equal(read(STDIN_FILENO, text, sizeof text), 4);
    dup2(before, STDIN_FILENO);
    close(before);
}

/* Ground truth on the repository's clip ---------------------------------------------------------*/

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
    expect_ok(sp_npz_open(path, &npz));
    expect_ok(sp_npz_read_f32(npz, "tracks", 3, xy, &truth.tracks));
    expect_ok(sp_npz_read_f32(npz, "visible", 2, visible, &truth.visible));
    expect_ok(sp_npz_read_f32(npz, "queries", 2, queries, &truth.queries));
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
    expect_ok(sp_atomic_open_for(path, "--overlay", &file));
    expect_ok(sp_overlay_write(&file, overlay, NULL, &codec));
    expect_ok(sp_atomic_commit(&file));
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
    expect_ok(sp_reader_open(path, &track->overlay.reader, &reader));
    for (int t = 0; t < BALL_FRAMES; t++) {
        expect_ok(sp_reader_next(reader, image.rgb, &info, &end));
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
    expect_ok(sp_reader_next(reader, image.rgb, &info, &end));
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
    expect_ok(sp_overlay_brush_open(&overlay, 720 * 1280, &brush));
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
        expect_ok(sp_overlay_brush_open(&overlay, 4, &brush));
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
    expect_ok(sp_overlay_brush_open(&overlay, 60 * 140, &brush));
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
        expect_ok(sp_atomic_open_for(scratch_path("changed.mp4"), "--overlay", &file));
        const SpStatus status = sp_overlay_write(&file, &overlay, NULL, &codec);
        assert_int_equal(status.code, SP_INPUT);
        assert_non_null(strstr(status.text, "second time"));
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
    expect_ok(sp_frame_plan(BALL_HEIGHT, BALL_WIDTH, W, 14, SP_PORTRAIT_CROP, 0, &plan));
    assert_true(plan.height == H && plan.width == W);
    expect_ok(sp_atomic_open_for(scratch_path("sheet.png"), "--overlay", &file));
    expect_ok(sp_sheet_write(&file, &track.overlay, &plan, depth, NULL));
    expect_ok(sp_atomic_commit(&file));
    expect_ok(sp_png_read_gray(scratch_path("sheet.png"), &h, &w, &gray));
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
        cmocka_unit_test(discs_have_their_area_and_centre),
        cmocka_unit_test(rings_are_hollow),
        cmocka_unit_test(nothing_is_drawn_outside),
        cmocka_unit_test(lines_never_cover_themselves_twice),
        cmocka_unit_test(text_is_read_by_its_dots),
        cmocka_unit_test(colours_follow_the_start_row),
        cmocka_unit_test(inferno_is_matplotlibs),
        cmocka_unit_test(rates_and_timestamps_are_kept),
        cmocka_unit_test(odd_sizes_grow_by_one),
        cmocka_unit_test(other_codecs_are_fallen_back_on),
        cmocka_unit_test(write_failures_name_the_file),
        cmocka_unit_test(the_same_frames_give_the_same_bytes),
        cmocka_unit_test(standard_input_is_read_twice),
        cmocka_unit_test(markers_are_where_the_truth_is),
        cmocka_unit_test(hidden_markers_are_hollow),
        cmocka_unit_test(backgrounds_dim_or_lose_colour),
        cmocka_unit_test(a_trail_fades_behind_the_marker),
        cmocka_unit_test(a_clip_that_changed_is_told),
        cmocka_unit_test(the_sheet_shows_depth_and_scale),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
