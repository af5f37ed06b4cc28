/* What other programs read, of a tiny made result: USD, cameras, PLY; and what a cloud is made of.
 */
#define _GNU_SOURCE /* memmem */

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "media/exr.h"
#include "output/cloud.h"
#include "output/formats.h"
#include "support/scratch.h"

enum { FRAMES = 2, TRACKS = 2, SIDE = 4, PIXELS = SIDE * SIDE };

/* A camera at the origin, then one that is 1 to the right, 2 below, and turned to the right by 90
 * degrees, so that it looks along x. Frames of 4 x 4 of a video of 8 x 8. */
static const float C2W[] = {1, 0, 0, 0, 0, 1, 0, 0, 0,  0, 1, 0, 0, 0, 0, 1,
                            0, 0, 1, 1, 0, 1, 0, 2, -1, 0, 0, 0, 0, 0, 0, 1};
static const float K[] = {4, 0, 1.5f, 0, 4, 1.5f, 0, 0, 1, 8, 0, 1.5f, 0, 4, 1, 0, 0, 1};
static const char NAMES[2][16] = {"a \"cup\"", "bad\xff\n"};
static const float POINTS[] = {1, 2, 3, -1, 0.5f, 2, 0, 0, 4, 1, 1, 1};
static const float SIGMA[] = {0.5f, -NAN, 0.25f, 1};
static int64_t index_in_file[] = {0, 2};
static double timestamps[] = {0.5, 0.58};
static float depth[FRAMES * PIXELS], confidence[FRAMES * PIXELS], video[FRAMES * 3 * PIXELS];

static const SpClip CLIP = {.plan = {8, 8, 4, 4, 4, 4, 0, 4, 4},
                            .frames = FRAMES,
                            .rate = 25,
                            .video = video,
                            .index = index_in_file,
                            .timestamps = timestamps};
static const SpResult RESULT = {.clip = &CLIP,
                                .depth = depth,
                                .confidence = confidence,
                                .c2w = C2W,
                                .intrinsics = K,
                                .tracks = TRACKS,
                                .queries = (const float[]){0, 1, 1, 1, 5, 5},
                                .points = POINTS,
                                .visibility = (const float[]){1, 0.5f, 0.2f, 1.2f},
                                .confs = (const float[]){0.25f, 1, 0.5f, 0},
                                .dynamic = (const float[]){0.1f, 1},
                                .sigma = SIGMA,
                                .object = (const uint8_t[]){2, 1},
                                .objects = 2,
                                .object_names = NAMES[0],
                                .object_name_size = sizeof NAMES[0],
                                .scale = 2,
                                .version = "{\"program\":\"spatrack 1\"}"};
static const SpOutput OUTPUT = {.result = &RESULT, .reader = {.stride = 2}, .max_side = SIDE};

static int make(void **state)
{
    for (int i = 0; i < FRAMES * PIXELS; i++) {
        depth[i] = 2;
        confidence[i] = 1;
    }
    for (int i = 0; i < FRAMES * 3 * PIXELS; i++)
        video[i] = (float)(100 * (i / PIXELS % 3)) - 4.5f; /* -4.5, 95.5, 195.5 */
    return scratch_make(state);
}

/* What the product's format of the name writes; to be freed. */
static char *written(SpProduct product, const char *name, const SpOutput *output, size_t *size)
{
    const SpFormat *format = sp_format_of(product, name);
    const char *path = scratch_path(name);
    SpAtomicFile file;
    setlocale(LC_ALL, "de_DE.UTF-8"); /* a decimal comma, where there is one */
    assert_ok(sp_atomic_open(path, "-o", &file));
    assert_ok(format->write(&file, output));
    assert_ok(sp_atomic_commit(&file));
    setlocale(LC_ALL, "C");
    char *text = file_read(path, size);
    if (format->is_own)
        assert_true(format->is_own(path));
    scratch_empty();
    return text;
}

static void assert_holds(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in:\n%s", part, text);
}

/* A list of samples, of frames 1 and 2. */
static void assert_samples(const char *text, const char *name, const char *one, const char *two)
{
    char part[400];
    snprintf(part, sizeof part, " %s.timeSamples = {\n            1: %s,\n            2: %s,\n",
             name, one, two);
    assert_holds(text, part);
}

static void a_scene_has_y_up(void **state)
{
    (void)state;
    char *text = written(SP_PRODUCT_SCENE, "a.usda", &OUTPUT, NULL);
    assert_ptr_equal(strstr(text, "#usda 1.0\n(\n"), text);
    assert_holds(text, "    upAxis = \"Y\"\n    metersPerUnit = 1\n    startTimeCode = 1\n"
                       "    endTimeCode = 2\n    timeCodesPerSecond = 12.5\n");
    assert_holds(text, "string spatrack = \"{\\\"program\\\":\\\"spatrack 1\\\"}\"\n");
    assert_samples(text, "xformOp:transform",
                   "( (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1) )",
                   "( (0, 0, 1, 0), (0, 1, 0, 0), (-1, 0, 0, 0), (1, -2, 0, 1) )");
    assert_samples(text, "points", "[(1, -2, -3), (-1, -0.5, -2)]", "[(5, -2, 0), (2, -3, 1)]");
    free(text);
}

/* From fx 8 and 16, fy 8, cx 3, cy 3 and 2 of 8 x 8 pixels, whose middle is 3.5. */
static void a_lens_is_that_of_each_frame(void **state)
{
    (void)state;
    char *text = written(SP_PRODUCT_SCENE, "a.usda", &OUTPUT, NULL);
    assert_holds(text, "float horizontalAperture = 0.36\n");
    assert_samples(text, "focalLength", "0.36", "0.72");
    assert_samples(text, "verticalAperture", "0.36", "0.72");
    assert_samples(text, "horizontalApertureOffset", "0.0225", "0.0225");
    assert_samples(text, "verticalApertureOffset", "-0.0225", "-0.135");
    assert_holds(text, "float2 clippingRange = (0.02, 200)\n");
    free(text);
}

static void tracks_of_a_scene_have_attributes(void **state)
{
    (void)state;
    char *text = written(SP_PRODUCT_SCENE, "a.usda", &OUTPUT, NULL);
    assert_holds(text, "int64[] ids = [0, 1]\n        float[] widths = [0.039, 0.0065]\n");
    /* Red, which is 1, 0.2, 0.2 in sRGB, comes first. */
    assert_holds(text, "color3f[] primvars:displayColor = [(1, 0.0331, 0.0331), (");
    assert_holds(text, "float[] primvars:dynamic = [0.100000001, 1] (");
    assert_holds(text, "int[] primvars:object = [1, 0] (");
    assert_holds(text, "primvars:object_names = [\"a \\\"cup\\\"\", \"bad\xef\xbf\xbd \"] (");
    assert_samples(text, "primvars:visible", "[1, 0]", "[0, 1]");
    assert_samples(text, "primvars:sigma", "[0.5, nan]", "[0.25, 1]");
    assert_null(strstr(text, "Cloud"));
    free(text);
}

static void a_scene_without_tracks_is_a_camera(void **state)
{
    (void)state;
    SpResult front = RESULT;
    SpOutput output = OUTPUT;
    front.tracks = 0;
    output.result = &front;
    char *text = written(SP_PRODUCT_SCENE, "a.usda", &output, NULL);
    assert_holds(text, "def Camera");
    assert_null(strstr(text, "def Points"));
    free(text);
}

static void a_scene_may_hold_the_first_frame(void **state)
{
    (void)state;
    SpOutput output = OUTPUT;
    output.usd_cloud = true;
    confidence[0] = 0.5f;
    char *text = written(SP_PRODUCT_SCENE, "a.usda", &output, NULL);
    confidence[0] = 1;
    /* Pixel 1, 0 at depth 2 with K = 4, 1.5; its colour 0, 96, 196 of 255. */
    assert_holds(text, "def Points \"Cloud\"\n    {\n"
                       "        point3f[] points = [(-0.25, 0.75, -2), (0.25, 0.75, -2), ");
    assert_holds(text, "float[] widths = [0.5, 0.5, ");
    assert_holds(text, "displayColor = [(0, 0.117, 0.552), (0, 0.117, 0.552), ");
    free(text);
}

static void rates_come_from_times_where_the_file_has_none(void **state)
{
    (void)state;
    SpClip clip = CLIP;
    SpResult result = RESULT;
    SpOutput output = OUTPUT;
    clip.rate = 0;
    result.clip = &clip;
    output.result = &result;
    char *text = written(SP_PRODUCT_SCENE, "a.usda", &output, NULL);
    assert_holds(text, "timeCodesPerSecond = 12.5\n");
    free(text);
    clip.frames = result.tracks = 1; /* the second track begins with the second frame */
    text = written(SP_PRODUCT_SCENE, "a.usda", &output, NULL);
    assert_holds(text, "endTimeCode = 1\n    timeCodesPerSecond = 24\n");
    free(text);
}

static const cJSON *at(const cJSON *matrix, int row, int column)
{
    return cJSON_GetArrayItem(cJSON_GetArrayItem(matrix, row), column);
}

static void cameras_are_json(void **state)
{
    (void)state;
    char *text = written(SP_PRODUCT_CAMERAS, "a.json", &OUTPUT, NULL);
    cJSON *root = cJSON_Parse(text);
    assert_non_null(root);
    const cJSON *frames = cJSON_GetObjectItem(root, "frames");
    assert_int_equal(cJSON_GetArraySize(frames), FRAMES);
    assert_true(cJSON_GetObjectItem(root, "rate")->valuedouble == 12.5);
    assert_true(cJSON_GetObjectItem(root, "scale")->valuedouble == 2);
    const cJSON *frame = cJSON_GetArrayItem(frames, 1);
    assert_int_equal(cJSON_GetObjectItem(frame, "index")->valueint, 2);
    assert_true(cJSON_GetObjectItem(frame, "time")->valuedouble == 0.58);
    const cJSON *k = cJSON_GetObjectItem(frame, "K"), *w2c = cJSON_GetObjectItem(frame, "w2c");
    const cJSON *c2w = cJSON_GetObjectItem(frame, "c2w");
    assert_true(at(k, 0, 0)->valuedouble == 16 && at(k, 1, 2)->valuedouble == 2);
    assert_true(at(c2w, 0, 3)->valuedouble == 1 && at(c2w, 2, 0)->valuedouble == -1);
    assert_true(at(w2c, 0, 2)->valuedouble == -1 && at(w2c, 1, 3)->valuedouble == -2 &&
                at(w2c, 2, 3)->valuedouble == -1);
    cJSON_Delete(root);
    free(text);
}

static void numbers_that_json_lacks_are_null(void **state)
{
    (void)state;
    float bad[sizeof C2W / sizeof *C2W];
    SpResult result = RESULT;
    SpOutput output = OUTPUT;
    memcpy(bad, C2W, sizeof bad);
    bad[3] = NAN;
    result.c2w = bad;
    output.result = &result;
    char *text = written(SP_PRODUCT_CAMERAS, "a.json", &output, NULL);
    assert_holds(text, "\"c2w\": [[1, 0, 0, null]");
    free(text);
}

static void cameras_are_a_chan(void **state)
{
    (void)state;
    char *text = written(SP_PRODUCT_CAMERAS, "a.chan", &OUTPUT, NULL);
    assert_string_equal(text,
                        "1\t0\t0\t0\t0\t0\t0\t53.1301024\n2\t1\t-2\t0\t0\t-90\t0\t53.1301024\n");
    free(text);
}

/* The second frame's pixels lie half as far apart, two in a cube. */
static void a_ply_has_two_elements(void **state)
{
    (void)state;
    static const char end[] = "end_header\n";
    size_t size;
    char *text = written(SP_PRODUCT_CLOUD, "a.ply", &OUTPUT, &size);
    assert_holds(text, "format binary_little_endian 1.0\n");
    assert_holds(text, "element vertex 24\n");
    assert_holds(text, "element track 4\n");
    const char *vertex = strstr(text, end) + sizeof end - 1, *track = vertex + 24 * 15;
    assert_int_equal(size, (size_t)(track - text) + 4 * 28);
    float xyz[3], confs;
    int32_t names[2];
    memcpy(xyz, vertex, sizeof xyz); /* pixel 0, 0 of the first frame */
    assert_true(xyz[0] == -0.75f && xyz[1] == -0.75f && xyz[2] == 2);
    assert_memory_equal(vertex + 12, "\0\x60\xc4", 3); /* 0, 96, 196 */
    memcpy(names, track + 3 * 28, sizeof names);
    memcpy(xyz, track + 28 + 8, sizeof xyz); /* track 0, frame 1 */
    memcpy(&confs, track + 28 + 20, sizeof confs);
    assert_true(names[0] == 1 && names[1] == 1);
    assert_true(xyz[0] == 5 && xyz[1] == 2 && xyz[2] == 0 && confs == 0.5f);
    assert_memory_equal(track + 24, "\xff\x33\x33\x01", 4);
    assert_int_equal(track[28 + 27], 0);
    free(text);
}

/* Reads what the product's i-th format writes as `name` of a folder; to be freed. */
static char *written_in_folder(SpProduct product, int i, const char *const *names, const char *name,
                               size_t *size)
{
    const SpFormat *format = sp_format_at(product, i);
    char path[64];
    SpAtomicFolder folder;
    assert_ok(sp_atomic_folder_open(scratch_path("set"), "-o", &folder));
    setlocale(LC_ALL, "de_DE.UTF-8");
    assert_ok(format->write_all(&folder, names ? names : format->names, &OUTPUT));
    setlocale(LC_ALL, "C");
    assert_ok(sp_atomic_folder_commit(&folder));
    snprintf(path, sizeof path, "set/%s", name);
    char *data = file_read(scratch_path(path), size);
    for (int frame = 0; frame < FRAMES; frame++) {
        snprintf(path + strlen(path) - 5, 6, "%d%s", frame, strrchr(name, '.'));
        assert_int_equal(unlink(scratch_path(path)), 0);
    }
    assert_int_equal(rmdir(scratch_path("set")), 0);
    return data;
}

/* The second frame's pixels, of which one is not trusted, and its tracks. */
static void a_pattern_of_ply_has_the_frames_own_points(void **state)
{
    (void)state;
    static const char end[] = "end_header\n";
    const char *const names[] = {"cloud_%03d.ply", NULL};
    size_t size;
    confidence[PIXELS + 3] = 0.5f;
    char *text = written_in_folder(SP_PRODUCT_CLOUD, 1, names, "cloud_001.ply", &size);
    confidence[PIXELS + 3] = 1;
    assert_holds(text, "element vertex 15\n");
    assert_holds(text, "element track 2\n");
    const char *vertex = strstr(text, end) + sizeof end - 1, *track = vertex + 15 * 15;
    assert_int_equal(size, (size_t)(track - text) + 2 * 28);
    float xyz[3];
    int32_t at[2];
    memcpy(xyz, vertex, sizeof xyz); /* (0, 0) at 2, of fx 8, fy 4, cx 1.5, cy 1, looking along x */
    assert_true(xyz[0] == 3 && xyz[1] == 1.5f && xyz[2] == 0.375f);
    assert_memory_equal(vertex + 12, "\0\x60\xc4", 3);
    memcpy(at, track + 28, sizeof at);
    assert_true(at[0] == 1 && at[1] == 1);
    free(text);
}

/* Of 2 everywhere but in one place, whose depth is the largest; one that is none is 0. */
static void depth_images_say_their_unit(void **state)
{
    (void)state;
    size_t size;
    depth[0] = 6.5535f;
    depth[1] = -1;
    char *png = written_in_folder(SP_PRODUCT_DEPTH, 1, NULL, "depth_000001.png", &size);
    char *exr = written_in_folder(SP_PRODUCT_DEPTH, 0, NULL, "depth_000000.exr", NULL);
    depth[0] = depth[1] = 2;
    assert_memory_equal(png + 1, "PNG", 3);
    assert_int_equal(png[24], 16); /* bits */
    const char *key = memmem(png, size, "tEXtdepth_scale", 15);
    assert_non_null(key);
    assert_true(fabs(strtod(key + 16, NULL) - 0.0001) < 1e-10); /* behind a 0 */
    assert_memory_equal(exr, "\x76\x2f\x31\x01", 4);
    free(png);
    free(exr);
}

static void a_missing_encoder_is_named(void **state)
{
    (void)state;
    assert_ok(sp_exr_check(SP_EXR_ENCODER));
    assert_error(sp_exr_check("none"), SP_OUTPUT, "no encoder for EXR; use --depth-format png");
}

/* A result of two frames by one camera, of a wall 2 away. */
static SpResult standing(const SpClip *clip)
{
    static const float c2w[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1,
                                1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    static const float k[] = {4, 0, 1.5f, 0, 4, 1.5f, 0, 0, 1, 4, 0, 1.5f, 0, 4, 1.5f, 0, 0, 1};
    return (SpResult){
        .clip = clip, .depth = depth, .confidence = confidence, .c2w = c2w, .intrinsics = k};
}

static int64_t points_of(const SpCloud *cloud)
{
    int64_t points = 0;
    for (int64_t i = 0; i < cloud->count; i++)
        points += cloud->cell[i].count;
    return points;
}

static void a_cloud_leaves_out_what_moves_or_is_not_trusted(void **state)
{
    (void)state;
    const SpResult result = standing(&CLIP);
    SpCloud cloud;
    assert_ok(sp_cloud_fuse(&result, &cloud));
    assert_int_equal(points_of(&cloud), FRAMES * PIXELS);
    assert_int_equal(cloud.count, PIXELS);
    assert_true(cloud.cell[0].rgb[1] == 2 * 96 && cloud.cell[0].sum[2] == 4);
    assert_true(fabsf(cloud.side - 0.5f) < 1e-6f);
    sp_cloud_free(&cloud);

    depth[5] = 1; /* the other frame looks through it */
    assert_ok(sp_cloud_fuse(&result, &cloud));
    assert_int_equal(points_of(&cloud), FRAMES * PIXELS - 1);
    for (int64_t i = 0; i < cloud.count; i++)
        assert_true(cloud.cell[i].sum[2] == 2 * (float)cloud.cell[i].count);
    sp_cloud_free(&cloud);

    depth[5] = NAN;
    depth[6] = 0;
    confidence[7] = 0.5f;
    confidence[8] = NAN;
    assert_ok(sp_cloud_fuse(&result, &cloud));
    assert_int_equal(points_of(&cloud), FRAMES * PIXELS - 4);
    sp_cloud_free(&cloud);
    depth[5] = depth[6] = 2;
    confidence[7] = confidence[8] = 1;
}

static void large_clouds_are_thinned(void **state)
{
    (void)state;
    enum { LARGE = 1100 };
    SpClip clip = {.plan = {LARGE, LARGE, LARGE, LARGE, LARGE, LARGE, 0, LARGE, LARGE},
                   .frames = 1};
    SpResult result = standing(&clip);
    SpCloud cloud;
    const size_t pixels = (size_t)LARGE * LARGE;
    float *maps = malloc(2 * pixels * sizeof *maps);
    clip.video = calloc(6 * pixels, sizeof *clip.video);
    assert_true(maps && clip.video);
    for (size_t i = 0; i < 2 * pixels; i++)
        maps[i] = 1;
    result.depth = result.confidence = maps;
    assert_ok(sp_cloud_fuse(&result, &cloud));
    assert_int_equal(points_of(&cloud), LARGE * LARGE);
    assert_int_equal(cloud.count, LARGE * LARGE);
    sp_cloud_free(&cloud);
    clip.frames = 2;
    assert_ok(sp_cloud_fuse(&result, &cloud));
    assert_int_equal(points_of(&cloud), 2 * (LARGE / 2) * (LARGE / 2));
    assert_int_equal(cloud.count, (LARGE / 2) * (LARGE / 2));
    sp_cloud_free(&cloud);
    free(clip.video);
    free(maps);
}

static void a_full_disk_is_reported(void **state)
{
    (void)state;
    for (SpProduct product = SP_PRODUCT_SCENE; product <= SP_PRODUCT_VIEWER; product++) {
        const SpFormat *format;
        for (int i = 0; (format = sp_format_at(product, i)); i++) {
            SpAtomicFile file;
            if (format->write_all)
                continue;
            assert_ok(sp_atomic_open("/dev/full", "-o", &file));
            assert_error(format->write(&file, &OUTPUT), SP_OUTPUT,
                         "/dev/full: No space left on device");
            sp_atomic_abandon(&file);
        }
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_scene_has_y_up),
        cmocka_unit_test(a_lens_is_that_of_each_frame),
        cmocka_unit_test(tracks_of_a_scene_have_attributes),
        cmocka_unit_test(a_scene_without_tracks_is_a_camera),
        cmocka_unit_test(a_scene_may_hold_the_first_frame),
        cmocka_unit_test(rates_come_from_times_where_the_file_has_none),
        cmocka_unit_test(cameras_are_json),
        cmocka_unit_test(numbers_that_json_lacks_are_null),
        cmocka_unit_test(cameras_are_a_chan),
        cmocka_unit_test(a_ply_has_two_elements),
        cmocka_unit_test(a_pattern_of_ply_has_the_frames_own_points),
        cmocka_unit_test(depth_images_say_their_unit),
        cmocka_unit_test(a_missing_encoder_is_named),
        cmocka_unit_test(a_cloud_leaves_out_what_moves_or_is_not_trusted),
        cmocka_unit_test(large_clouds_are_thinned),
        cmocka_unit_test(a_full_disk_is_reported),
    };
    return cmocka_run_group_tests_name("exports", cases, make, scratch_remove);
}
