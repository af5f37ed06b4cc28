/* A finished result read back: what it gives, what it lacks, and what is no result. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zlib.h>

#include <cmocka.h>

#include "output/result_file.h"
#include "support/scratch.h"

enum { T = 2, N = 3, H = 4, W = 6, MOST = 12 };

/* An array of a file that a test writes. */
typedef struct Given {
    const char *name;
    SpDtype dtype;
    int rank;
    int64_t dim[4];
    const void *data;
} Given;

/* The second camera is 1 to the right of the first. */
static const float W2C[] = {1, 0, 0, 0,  0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1,
                            1, 0, 0, -1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
static const float K[] = {3, 0, 3, 0, 3, 2, 0, 0, 1, 3, 0, 3, 0, 3, 2, 0, 0, 1};
static const float COORDS[T * N * 3] = {0, 0, 2, 1, 1, 3, -1, 0, 1, 0, 0, 2, 1, 1, 3, 1, 0, 0};
static const float VISIBS[] = {1, 0.2f, 1, 1, 1, 0.2f};
static float depths[T * H * W], video[T * 3 * H * W];

static const Given coords = {"coords", SP_F32, 3, {T, N, 3}, COORDS};
static const Given visibs = {"visibs", SP_F32, 3, {T, N, 1}, VISIBS};
static const Given extrinsics = {"extrinsics", SP_F32, 3, {T, 4, 4}, W2C};
static const Given intrinsics = {"intrinsics", SP_F32, 3, {T, 3, 3}, K};
static const Given depth = {"depths", SP_F32, 3, {T, H, W}, depths};
static const Given frames = {"video", SP_F32, 4, {T, 3, H, W}, video};

static int make(void **state)
{
    for (int i = 0; i < T * H * W; i++)
        depths[i] = i == 5 ? INFINITY : 2;
    for (int i = 0; i < T * 3 * H * W; i++)
        video[i] = (float)(i % 256) * (1.0f / 255);
    return scratch_make(state);
}

/* Writes the arrays up to the first without a name. */
static const char *write_file(const char *name, const Given given[MOST])
{
    SpNpzWriter *npz;
    FILE *stream = fopen(scratch_path(name), "wb");
    assert_non_null(stream);
    assert_ok(sp_npz_create(stream, name, true, &npz));
    for (int i = 0; i < MOST && given[i].name; i++)
        assert_ok(sp_npz_array(npz, given[i].name, given[i].dtype, given[i].rank, given[i].dim,
                               given[i].data));
    assert_ok(sp_npz_finish(npz));
    sp_npz_discard(npz);
    fclose(stream);
    return scratch_path(name);
}

static void the_predecessors_keys_make_a_result(void **state)
{
    (void)state;
    const Given given[MOST] = {coords, visibs, extrinsics, intrinsics, depth, frames};
    SpResultFile file;
    assert_ok(sp_result_file_open(write_file("r.npz", given), &file));
    assert_int_equal(file.has, SP_PART_ALL);
    assert_true(file.result.tracks == N && file.clip.frames == T);
    assert_ok(sp_result_file_read(&file, SP_PART_ALL));
    const SpResult *r = &file.result;
    assert_memory_equal(r->coords, COORDS, sizeof COORDS);
    assert_memory_equal(r->w2c, W2C, sizeof W2C);
    assert_true(r->c2w[16 + 3] == 1); /* where the second camera is */
    assert_true(sp_result_visible(r, 0, 0) && !sp_result_visible(r, 0, 1));
    assert_true(r->points[3 * N] == -1 && r->points[3 * N + 2] == 2);
    /* (0, 0, 2) is at the principal point of the first frame; the last is the camera's place. */
    assert_true(r->tracks2d[0] == 3 && r->tracks2d[1] == 2);
    assert_true(r->points[3 * (2 * N - 1) + 2] == 0 && isnan(r->tracks2d[2 * (2 * N - 1)]));
    assert_true(r->queries[3] == 0 && r->queries[4] == r->tracks2d[2]);
    assert_true(r->confs[1] == 1 && r->dynamic[1] == 0 && !r->sigma && !r->object);
    assert_true(r->depth[4] == 2 && r->depth[5] == 0 && r->confidence[5] == 0);
    assert_true(r->scale == 1 && file.clip.rate == 30 && file.clip.timestamps[1] == 1 / 30.0);
    assert_true(file.clip.plan.input_width == W && file.clip.plan.height == H);
    for (int i = 0; i < T * 3 * H * W; i++)
        assert_true(sp_result_shade(file.clip.video[i]) == video[i]);
    sp_result_file_close(&file);
}

static void what_is_absent_is_no_part(void **state)
{
    (void)state;
    static const float pixels[T * N * 2];
    const Given xy = {"tracks2d", SP_F32, 3, {T, N, 2}, pixels};
    static const unsigned tracks = SP_PART_TRACKS, both = SP_PART_TRACKS | SP_PART_PIXELS;
    const struct {
        unsigned has;
        Given given[MOST];
    } cases[] = {
        {tracks, {coords}},
        {both, {coords, xy}},
        {0, {xy}},
        {both | SP_PART_CAMERAS, {coords, extrinsics, intrinsics}},
        {tracks, {coords, extrinsics}},
        {SP_PART_DEPTH, {depth, intrinsics}},
        {SP_PART_FRAMES, {frames}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SpResultFile file;
        assert_ok(sp_result_file_open(write_file("r.npz", cases[i].given), &file));
        assert_int_equal(file.has, cases[i].has);
        assert_ok(sp_result_file_read(&file, SP_PART_ALL));
        assert_true(!file.result.depth == !(file.has & SP_PART_DEPTH));
        assert_true(!file.clip.video == !(file.has & SP_PART_FRAMES));
        sp_result_file_close(&file);
    }
}

static void what_does_not_fit_together_is_told(void **state)
{
    (void)state;
    static const float zeros[T * N * 16] = {0}, late[N * 3] = {0, 1, 1, 2, 1, 1, 0, 1, 1};
    static const float mirrored[32] = {-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1,
                                       1,  0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    static const double back[] = {1, 1}, none[] = {0, 5}, little[] = {640, 0.25};
    static const double huge[] = {1e300, 480};
    static const uint8_t wide[T << 21];
    const struct {
        const char *part;
        Given given;
    } cases[] = {
        {"array visibs is for 1 frames, others are for 2", {"visibs", SP_F32, 2, {1, N}, zeros}},
        {"array confs is for 2 tracks, others are for 3", {"confs", SP_F32, 2, {T, 2}, zeros}},
        {"array video is for 4 rows, others are for 3", {"depths", SP_F32, 3, {T, 3, W}, zeros}},
        {"array tracks2d: expected shape *,*,2, found 2,3,3",
         {"tracks2d", SP_F32, 3, {T, N, 3}, zeros}},
        {"array intrinsics holds a matrix", {"intrinsics", SP_F32, 3, {T, 3, 3}, zeros}},
        {"array extrinsics holds a matrix", {"extrinsics", SP_F32, 3, {T, 4, 4}, mirrored}},
        {"array extrinsics: expected shape *,4,4", {"extrinsics", SP_F32, 3, {T, 2, 4}, zeros}},
        {"array queries starts a track", {"queries", SP_F32, 2, {N, 3}, late}},
        {"array timestamps does not grow", {"timestamps", SP_F64, 1, {T}, back}},
        {"array frame_index does not grow", {"frame_index", SP_F64, 1, {T}, back}},
        {"array size holds a value", {"size", SP_F64, 1, {2}, none}},
        {"array size is less than a pixel", {"size", SP_F64, 1, {2}, little}},
        {"array size is too large", {"size", SP_F64, 1, {2}, huge}},
        {"maps of more than 1048576 pixels a side", {"depths", SP_U8, 3, {T, 1 << 21, 1}, wide}},
        {"array scale: expected shape ()", {"scale", SP_F64, 1, {2}, none}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Given given[MOST] = {coords, cases[i].given.dtype == SP_U8 ? visibs : frames,
                                   cases[i].given};
        SpResultFile file;
        SpStatus status = sp_result_file_open(write_file("r.npz", given), &file);
        if (status.code == SP_OK)
            status = sp_result_file_read(&file, SP_PART_ALL);
        sp_result_file_close(&file);
        if (status.code != SP_INPUT || !strstr(status.text, cases[i].part))
            fail_msg("\"%s\" is not: %s", cases[i].part, status.text);
    }
    const Given none_at_all[MOST] = {{"coords", SP_F32, 3, {T, 0, 3}, zeros}};
    SpResultFile file;
    assert_error(sp_result_file_open(write_file("r.npz", none_at_all), &file), SP_INPUT,
                 "r.npz: array coords is empty");
    sp_result_file_close(&file);
}

static void every_end_of_a_file_is_needed(void **state)
{
    (void)state;
    const Given given[MOST] = {coords, visibs, extrinsics, intrinsics, depth, frames};
    size_t size;
    char *data = file_read(write_file("r.npz", given), &size);
    for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 61) {
        SpResultFile file;
        file_write(scratch_path("cut.npz"), data, cut);
        assert_true(sp_npz_begins(scratch_path("cut.npz")) == (cut >= 4));
        assert_int_equal(sp_result_file_open(scratch_path("cut.npz"), &file).code, SP_INPUT);
        sp_result_file_close(&file);
    }
    free(data);
}

/* Packed, it is small: it must be known to be too much before any of it is read. */
static void what_memory_does_not_hold_is_not_begun(void **state)
{
    (void)state;
    enum { SIDE = 4096, COUNT = 8 }; /* 512 MiB */
    const int64_t dims[] = {COUNT, SIDE, SIDE};
    float *zeros = calloc(SIDE * SIDE, sizeof *zeros);
    FILE *stream = fopen(scratch_path("big.npz"), "wb");
    SpNpzWriter *npz;
    assert_ok(sp_npz_create(stream, "big.npz", true, &npz));
    assert_ok(sp_npz_begin(npz, "depths", SP_F32, 3, dims));
    for (int i = 0; i < COUNT; i++)
        assert_ok(sp_npz_write(npz, zeros, SIDE * SIDE * sizeof *zeros));
    assert_ok(sp_npz_finish(npz));
    sp_npz_discard(npz);
    fclose(stream);
    free(zeros);
    SpResultFile file;
    struct rlimit before, little;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    assert_ok(sp_result_file_open(scratch_path("big.npz"), &file));
    assert_int_equal(sp_result_file_bytes(&file, SP_PART_DEPTH), 2ull * 4 * SIDE * SIDE * COUNT);
    assert_int_equal(sp_result_file_bytes(&file, SP_PART_FRAMES), 0);
    little = (struct rlimit){1ull << 29, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    const SpStatus status = sp_result_file_read(&file, SP_PART_DEPTH);
    setrlimit(RLIMIT_AS, &before);
    assert_int_equal(status.code, SP_MEMORY);
    assert_non_null(strstr(status.text, "big.npz needs 1024.0 MB of memory"));
    assert_null(file.value[SP_ARRAY_DEPTHS]);
    sp_result_file_close(&file);
}

/* Beside an extent of 0 others of any size multiply to nothing, without running over. */
static void extents_of_nothing_are_refused(void **state)
{
    (void)state;
    static const int64_t big = INT64_C(1) << 62;
    const int64_t dims[][3] = {{big, big, 0}, {0, big, big}, {big, 0, INT64_MAX}, {0, 0, 0}};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        /* by hand: the writer does not lie */
        char header[128];
        unsigned char bytes[512] = {0}, *central = bytes + 256;
        const int length =
            snprintf(header, sizeof header,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld, %lld), }",
                     (long long)dims[i][0], (long long)dims[i][1], (long long)dims[i][2]);
        const size_t size = 10 + (size_t)length;
        memcpy(bytes, "PK\3\4", 4);
        bytes[26] = 10;
        memcpy(bytes + 30, "depths.npy\x93NUMPY\1", 17);
        bytes[48] = (unsigned char)length;
        memcpy(bytes + 50, header, (size_t)length);
        const uint32_t crc = (uint32_t)crc32_z(0, bytes + 40, size);
        memcpy(central, "PK\1\2", 4);
        memcpy(central + 16, &crc, 4);
        central[20] = central[24] = (unsigned char)size;
        central[28] = 10;
        memcpy(central + 46, "depths.npy", 10);
        memcpy(central + 56, "PK\5\6", 4);
        central[66] = 1;
        central[68] = 56;
        central[72 + 1] = 1; /* 256 */
        file_write(scratch_path("n.npz"), bytes, 256 + 56 + 22);
        SpResultFile file;
        assert_error(sp_result_file_open(scratch_path("n.npz"), &file), SP_INPUT, "is empty");
        sp_result_file_close(&file);
    }
}

static void texts_come_back(void **state)
{
    (void)state;
    static const char names[2][16] = {"caf\xc3\xa9 \xf0\x9f\x8d\xb5", "b"};
    static const int64_t object[] = {1, 0, 1}, one[] = {0, 2, 0};
    for (int i = 0; i < 2; i++) {
        FILE *stream = fopen(scratch_path("t.npz"), "wb");
        const int64_t points[] = {T, N, 3}, count = N;
        SpNpzWriter *npz;
        SpResultFile file;
        assert_ok(sp_npz_create(stream, "t.npz", true, &npz));
        assert_ok(sp_npz_array(npz, "coords", SP_F32, 3, points, COORDS));
        assert_ok(sp_npz_array(npz, "object", SP_I64, 1, &count, i ? one : object));
        assert_ok(sp_npz_texts(npz, "object_names", 2, names[0], sizeof names[0]));
        assert_ok(sp_npz_text(
            npz, "version", i ? "{\"program\":\"spatrack 1\"} x" : "{\"program\":\"spatrack 1\"}"));
        assert_ok(sp_npz_finish(npz));
        sp_npz_discard(npz);
        fclose(stream);
        assert_ok(sp_result_file_open(scratch_path("t.npz"), &file));
        if (i == 0) {
            assert_ok(sp_result_file_read(&file, 0));
            assert_string_equal(file.result.version, "{\"program\":\"spatrack 1\"}");
            assert_true(file.result.objects == 2 && file.result.object[0] == 2);
            assert_string_equal(file.result.object_names, names[0]);
            assert_string_equal(file.result.object_names + file.result.object_name_size, "b");
        } else { /* an object without a name; a version that is no JSON */
            assert_int_equal(sp_result_file_read(&file, 0).code, SP_INPUT);
            assert_null(file.result.version);
        }
        sp_result_file_close(&file);
    }
}

/* Rows above and below are cut off: the place of the frame in the video comes back from K. */
static void a_cropped_frame_is_where_it_was(void **state)
{
    (void)state;
    enum { SIDE = 6 };
    static float square[T * SIDE * SIDE];
    static const float own[] = {6, 0, 3, 0, 6, 3, 0, 0, 1, 6, 0, 3, 0, 6, 3, 0, 0, 1};
    static const float input[] = {60, 0, 30, 0, 60, 60, 0, 0, 1, 60, 0, 30, 0, 60, 60, 0, 0, 1};
    static const int64_t size[] = {60, 120};
    const Given given[MOST] = {{"depths", SP_F32, 3, {T, SIDE, SIDE}, square},
                               {"intrinsics", SP_F32, 3, {T, 3, 3}, own},
                               {"intrinsics_input", SP_F32, 3, {T, 3, 3}, input},
                               {"size", SP_I64, 1, {2}, size}};
    SpResultFile file;
    float x, y;
    assert_ok(sp_result_file_open(write_file("r.npz", given), &file));
    const SpFramePlan *plan = &file.clip.plan;
    assert_true(plan->resized_height == 12 && plan->first_row == 3 && plan->height == SIDE);
    sp_point_to_input(plan, 3, 3, &x, &y);
    assert_true(x == 30 && y == 60);
    assert_ok(sp_result_file_read(&file, SP_PART_DEPTH)); /* on its own, it is all there is */
    assert_true(file.own_clip.plan.input_height == SIDE && file.own_clip.plan.first_row == 0);
    assert_true(file.own.input_intrinsics[0] == 6 && file.result.input_intrinsics[0] == 60);
    assert_true(file.own_clip.pixel.wide == file.own_clip.pixel.high);
    sp_result_file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_predecessors_keys_make_a_result),
        cmocka_unit_test(what_is_absent_is_no_part),
        cmocka_unit_test(what_does_not_fit_together_is_told),
        cmocka_unit_test(every_end_of_a_file_is_needed),
        cmocka_unit_test(what_memory_does_not_hold_is_not_begun),
        cmocka_unit_test(extents_of_nothing_are_refused),
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(a_cropped_frame_is_where_it_was),
    };
    return cmocka_run_group_tests(tests, make, scratch_remove);
}
