/* The page that --viewer writes: what is in it, and that it keeps to its size. What a browser makes
 * of it is tests/viewer's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "output/formats.h"
#include "output/npz.h"
#include "support/scratch.h"
#include "viewer/page.h"

enum { FRAMES = 30, TRACKS = 600, H = 150, W = 200, PIXELS = H * W };

static float depth[FRAMES * PIXELS], confidence[FRAMES * PIXELS], video[3 * FRAMES * PIXELS];
static float c2w[16 * FRAMES], k[9 * FRAMES], points[3 * FRAMES * TRACKS], values[FRAMES * TRACKS];
static float queries[3 * TRACKS], dynamic[TRACKS];
static int64_t index_in_file[FRAMES];
static double timestamps[FRAMES];

static SpClip clip = {.plan = {H, W, H, W, H, W, 0, H, W},
                      .frames = FRAMES,
                      .rate = 25,
                      .video = video,
                      .index = index_in_file,
                      .timestamps = timestamps};
static SpResult result = {.clip = &clip,
                          .depth = depth,
                          .confidence = confidence,
                          .c2w = c2w,
                          .intrinsics = k,
                          .tracks = TRACKS,
                          .queries = queries,
                          .points = points,
                          .visibility = values,
                          .confs = values,
                          .dynamic = dynamic,
                          .scale = 1,
                          .version = "{}"};
static const SpOutput OUTPUT = {.result = &result,
                                .input = "clips/<script>alert(1)<script>.mp4",
                                .reader = {.stride = 1},
                                .max_side = 336,
                                .viewer_size = 8};

/* Noise, which does not pack: the worst there is. */
static float noise(void)
{
    static uint32_t state = 1;
    state = state * 1664525 + 1013904223;
    return (float)(state >> 8) / (float)(1 << 24);
}

static int make(void **state)
{
    for (int i = 0; i < FRAMES * PIXELS; i++) {
        depth[i] = 1 + noise();
        confidence[i] = noise();
    }
    for (int i = 0; i < 3 * FRAMES * PIXELS; i++)
        video[i] = 255 * noise();
    for (int i = 0; i < 3 * FRAMES * TRACKS; i++)
        points[i] = 1 + noise();
    for (int i = 0; i < FRAMES * TRACKS; i++)
        values[i] = noise();
    for (int t = 0; t < FRAMES; t++) {
        timestamps[t] = t / 25.0;
        c2w[16 * t] = c2w[16 * t + 5] = c2w[16 * t + 10] = c2w[16 * t + 15] = 1;
        memcpy(k + 9 * t, (const float[]){200, 0, 99.5f, 0, 200, 74.5f, 0, 0, 1}, 9 * sizeof *k);
    }
    return scratch_make(state);
}

/* The page; to be freed. */
static char *written(const SpOutput *output, size_t *size)
{
    const SpFormat *format = sp_format_of(SP_PRODUCT_VIEWER, "a.html");
    SpAtomicFile file;
    assert_ok(sp_atomic_open(scratch_path("a.html"), "--viewer", &file));
    assert_ok(format->write(&file, output));
    assert_ok(sp_atomic_commit(&file));
    assert_true(format->is_own(scratch_path("a.html")));
    return file_read(scratch_path("a.html"), size);
}

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return (int)(strchr(digits, c) - digits);
}

/* Opens the archive that a page holds. */
static SpNpz *archive(const char *page, size_t size)
{
    size_t begin, bytes = 0;
    sp_viewer_page(&begin);
    unsigned char *data = malloc(size);
    assert_non_null(data);
    const char *at = page + begin, *end = page + size - strlen(SP_VIEWER_END);
    while (at < end)
        if (*at == '\n') {
            at++;
        } else {
            const int pad = (at[2] == '=') + (at[3] == '=');
            const int bits = digit(at[0]) << 18 | digit(at[1]) << 12 |
                             (pad > 1 ? 0 : digit(at[2])) << 6 | (pad > 0 ? 0 : digit(at[3]));
            data[bytes] = (unsigned char)(bits >> 16);
            data[bytes + 1] = (unsigned char)(bits >> 8);
            data[bytes + 2] = (unsigned char)bits;
            bytes += 3 - (size_t)pad;
            at += 4;
        }
    file_write(scratch_path("a.npz"), data, bytes);
    free(data);
    SpNpz *npz;
    assert_ok(sp_npz_open(scratch_path("a.npz"), &npz));
    return npz;
}

static void extents(SpNpz *npz, const char *name, int64_t dims[SP_MAX_RANK])
{
    int rank;
    assert_ok(sp_npz_shape(npz, name, &rank, dims));
}

static void a_page_begins_as_the_sources_and_ends_its_script(void **state)
{
    (void)state;
    size_t size, begin;
    char *page = written(&OUTPUT, &size);
    const char *text = sp_viewer_page(&begin);
    assert_memory_equal(page, text, begin);
    assert_memory_equal(page, SP_VIEWER_BEGINNING, strlen(SP_VIEWER_BEGINNING));
    assert_string_equal(page + size - strlen(SP_VIEWER_END), SP_VIEWER_END);
    assert_null(strstr(page, "alert(1)"));
    free(page);
    scratch_empty();
}

static void the_same_result_gives_the_same_page(void **state)
{
    (void)state;
    size_t one, two;
    char *page = written(&OUTPUT, &one), *again = written(&OUTPUT, &two);
    assert_int_equal(one, two);
    assert_memory_equal(page, again, one);
    free(page);
    free(again);
    scratch_empty();
}

static void a_page_holds_the_result(void **state)
{
    (void)state;
    size_t size;
    int64_t dims[SP_MAX_RANK];
    char *page = written(&OUTPUT, &size);
    SpNpz *npz = archive(page, size);
    bool begins;
    assert_ok(sp_npz_text_begins(
        npz, "page", "{\"name\":\"<script>alert(1)<script>.mp4\",\"note\":\"\"", &begins));
    assert_true(begins);
    extents(npz, "depth", dims);
    assert_true(dims[0] == FRAMES && dims[1] == 2 && dims[2] == H && dims[3] == W);
    extents(npz, "points", dims);
    assert_true(dims[0] == FRAMES && dims[1] == 4 && dims[2] == TRACKS && dims[3] == 3);
    int64_t seen_dims[] = {FRAMES, TRACKS, 2};
    float *seen;
    assert_ok(sp_npz_read_f32(npz, "seen", 3, seen_dims, &seen));
    for (int i = 0; i < FRAMES * TRACKS; i++) {
        assert_true(fabsf(seen[2 * i] / 255 - values[i]) < 0.0021f);
        assert_int_equal(seen[2 * i] > 127, values[i] > 0.5f);
    }
    free(seen);
    sp_npz_close(npz);
    free(page);
    scratch_empty();
}

static void a_page_keeps_to_its_size(void **state)
{
    (void)state;
    static const double sizes[] = {4, 2, 1, 0.5, 0.25};
    int64_t pixels = INT64_MAX;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        SpOutput output = OUTPUT;
        output.viewer_size = sizes[i];
        size_t size;
        int64_t depth_dims[SP_MAX_RANK], times[SP_MAX_RANK], tracks[SP_MAX_RANK];
        char *page = written(&output, &size);
        SpNpz *npz = archive(page, size);
        assert_true((double)size <= 1e6 * sizes[i]);
        assert_true((double)size > 0.6e6 * sizes[i]);
        extents(npz, "depth", depth_dims);
        extents(npz, "timestamps", times);
        extents(npz, "points", tracks);
        assert_true(depth_dims[0] == times[0] && tracks[0] == times[0]);
        assert_true(depth_dims[0] * depth_dims[2] * depth_dims[3] < pixels);
        pixels = depth_dims[0] * depth_dims[2] * depth_dims[3];
        sp_npz_close(npz);
        free(page);
        scratch_empty();
    }
}

static void many_tracks_are_thinned_first(void **state)
{
    (void)state;
    SpResult tracks_alone = result;
    SpClip no_video = clip;
    SpOutput output = OUTPUT;
    tracks_alone.clip = &no_video;
    output.result = &tracks_alone;
    output.viewer_size = 0.25;
    no_video.video = NULL;
    tracks_alone.depth = tracks_alone.confidence = NULL;
    size_t size;
    int64_t dims[SP_MAX_RANK];
    char *page = written(&output, &size);
    SpNpz *npz = archive(page, size);
    assert_true(size <= 250000);
    extents(npz, "points", dims);
    assert_true(dims[0] == FRAMES && dims[2] < TRACKS && dims[2] >= TRACKS / 3);
    sp_npz_close(npz);
    free(page);
    scratch_empty();
}

static void what_a_result_lacks_is_left_out(void **state)
{
    (void)state;
    SpResult bare = result;
    SpClip no_video = clip;
    SpOutput output = {.result = &bare, .viewer_size = 8, .max_side = 336};
    bare.clip = &no_video;
    no_video.video = NULL;
    no_video.timestamps = NULL;
    no_video.index = NULL;
    no_video.rate = 0;
    bare.queries = bare.dynamic = bare.confs = bare.confidence = bare.depth = NULL;
    size_t size;
    char *page = written(&output, &size);
    SpNpz *npz = archive(page, size);
    static const char *const absent[] = {"depth",   "trust",   "picture", "timestamps",
                                         "queries", "dynamic", "object"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_false(sp_npz_has(npz, absent[i]));
    assert_true(sp_npz_has(npz, "points") && sp_npz_has(npz, "extrinsics"));
    sp_npz_close(npz);
    free(page);
    bare.depth = depth;
    bare.tracks = 0;
    page = written(&output, &size);
    npz = archive(page, size);
    assert_true(sp_npz_has(npz, "depth") && !sp_npz_has(npz, "trust") &&
                !sp_npz_has(npz, "points"));
    sp_npz_close(npz);
    free(page);
    scratch_empty();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_page_begins_as_the_sources_and_ends_its_script),
        cmocka_unit_test(the_same_result_gives_the_same_page),
        cmocka_unit_test(a_page_holds_the_result),
        cmocka_unit_test(a_page_keeps_to_its_size),
        cmocka_unit_test(many_tracks_are_thinned_first),
        cmocka_unit_test(what_a_result_lacks_is_left_out),
    };
    return cmocka_run_group_tests_name("viewer", cases, make, scratch_remove);
}
