/* The video writer, read back; standard input read twice. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "media/spool.h"
#include "media/writer.h"
#include "support/picture.h"
#include "support/scratch.h"

enum { FRAMES = 6 };

/* Frame t of a test clip: a gray that grows with t. */
static void paint(SpImage *image, int64_t t)
{
    memset(image->rgb, (int)(60 + 20 * t), (size_t)(3 * image->height * image->width));
}

/* Frames at `times`, of which `settings` may know only some. */
static SpStatus write_frames(const char *path, const SpWriterSettings *settings,
                             const double *times, int64_t frames, char codec[16])
{
    SpWriter *writer;
    SpImage image = black(settings->height, settings->width);
    SpStatus status = sp_writer_open(path, path, settings, &writer);
    for (int64_t t = 0; t < frames && status.code == SP_OK; t++) {
        paint(&image, t);
        status = sp_writer_add(writer, times[t], image.rgb);
    }
    if (status.code == SP_OK)
        status = sp_writer_finish(writer);
    if (status.code == SP_OK)
        snprintf(codec, 16, "%s", sp_writer_codec(writer));
    sp_writer_close(writer);
    free(image.rgb);
    return status;
}

static SpStatus write_clip(const char *path, const SpWriterSettings *settings, char codec[16])
{
    return write_frames(path, settings, settings->timestamps, settings->frames, codec);
}

/* Reads a clip back and expects the frames of `paint` at those times. */
static void expect_clip(const char *path, int64_t height, int64_t width, const double *times,
                        double rate)
{
    static const SpReaderSettings all = {0, 1, 1000, -1};
    SpReader *reader;
    SpFrameInfo info;
    bool end;
    assert_ok(sp_reader_open(path, &all, &reader));
    assert_int_equal(sp_reader_video(reader).height, height);
    assert_int_equal(sp_reader_video(reader).width, width);
    if (rate > 0)
        assert_true(fabs(sp_reader_video(reader).rate / rate - 1) < 1e-6);
    uint8_t *rgb = allocate((size_t)(3 * height * width));
    for (int64_t t = 0; t < FRAMES; t++) {
        assert_ok(sp_reader_next(reader, rgb, &info, &end));
        assert_false(end);
        assert_true(fabs(info.timestamp - (times[t] - times[0])) < 1e-4);
        for (int64_t i = 0; i < 3 * height * width; i++)
            assert_in_range(rgb[i], 60 + 20 * t - 4, 60 + 20 * t + 4);
    }
    assert_ok(sp_reader_next(reader, rgb, &info, &end));
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
        assert_ok(write_clip(scratch_path("rate.mp4"), &settings, codec));
        for (int t = 0; t < FRAMES; t++)
            times[t] = 2 + t / rate;
        expect_clip(scratch_path("rate.mp4"), 48, 64, times, rate);
    }
    settings.timestamps = uneven;
    settings.rate = 10;
    assert_ok(write_clip(scratch_path("uneven.mp4"), &settings, codec));
    expect_clip(scratch_path("uneven.mp4"), 48, 64, uneven, 0);
    for (int t = 0; t < FRAMES; t++)
        times[t] = 1; /* a broken container */
    settings.timestamps = times;
    assert_ok(write_clip(scratch_path("still.mp4"), &settings, codec));
}

/* Those of which only the first few are known at first keep to their rate, or break away from it.
 */
static void times_may_be_told_later(void **state)
{
    (void)state;
    static const double even[] = {2, 2.1, 2.2, 2.3, 2.4, 2.5}, late[] = {2, 2.1, 2.2, 2.3, 3, 3.6};
    char codec[16];
    SpWriterSettings settings = {.height = 48, .width = 64, .frames = 3, .rate = 10};
    for (int i = 0; i < 2; i++) {
        const double *times = i ? late : even;
        settings.timestamps = times;
        assert_ok(write_frames(scratch_path("later.mp4"), &settings, times, FRAMES, codec));
        expect_clip(scratch_path("later.mp4"), 48, 64, times, i ? 0 : 10);
    }
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
        assert_ok(write_clip(scratch_path("odd.mp4"), &settings, codec));
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
        assert_ok(status);
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
    assert_ok(write_clip(scratch_path("a.mp4"), &settings, codec));
    assert_ok(write_clip(scratch_path("b.mp4"), &settings, codec));
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
    assert_ok(sp_spool_stdin());
    for (int i = 0; i < 2; i++) {
        assert_ok(sp_spool_rewind());
        assert_int_equal(read(STDIN_FILENO, text, sizeof text), 6);
        assert_string_equal(text, "frames");
    }
    lseek(STDIN_FILENO, 2, SEEK_SET); /* a file is read from where it stands */
    assert_ok(sp_spool_stdin());
    assert_ok(sp_spool_rewind());
    assert_int_equal(read(STDIN_FILENO, text, sizeof text), 4);
    dup2(before, STDIN_FILENO);
    close(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_and_timestamps_are_kept),
        cmocka_unit_test(times_may_be_told_later),
        cmocka_unit_test(odd_sizes_grow_by_one),
        cmocka_unit_test(other_codecs_are_fallen_back_on),
        cmocka_unit_test(write_failures_name_the_file),
        cmocka_unit_test(the_same_frames_give_the_same_bytes),
        cmocka_unit_test(standard_input_is_read_twice),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
