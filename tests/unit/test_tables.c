/* Tracks as csv, and the report. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "output/csv.h"
#include "output/formats.h"
#include "output/report.h"
#include "support/scratch.h"

static const SpClip CLIP = {.frames = 2, .timestamps = (double[]){0, 0.04}};
static const SpResult RESULT = {
    .clip = &CLIP,
    .tracks = 2,
    .visibility = (const float[]){1, 0.5f, 0.2f, 1.2f},
    .confs = (const float[]){0.25f, 1, 0.5f, 0},
};
static const float PIXELS[] = {1.5f, 2, 3, 4, 0.1f, -6, 7, 8};
static const float WORLD[] = {1, 2, 3, 4, 5, 6, 7, 8, 1e-7f, -1, -2, -3};
static const char TABLE_TEXT[] = "track,frame,time,x,y,X,Y,Z,visible,confidence\n"
                                 "0,0,0,1.5,2,1,2,3,1,0.25\n"
                                 "0,1,0.04,0.100000001,-6,7,8,1.00000001e-07,0,0.5\n"
                                 "1,0,0,3,4,4,5,6,0,1\n"
                                 "1,1,0.04,7,8,-1,-2,-3,1,0\n";

static void tracks_as_csv(void **state)
{
    (void)state;
    /* A locale with a decimal comma, where there is one. */
    setlocale(LC_ALL, "de_DE.UTF-8");
    FILE *stream = fopen(scratch_path("a.csv"), "w");
    assert_ok(sp_csv_write(stream, "a.csv", &RESULT, WORLD, PIXELS));
    fclose(stream);
    setlocale(LC_ALL, "C");
    assert_text(scratch_path("a.csv"), TABLE_TEXT);

    SpClip frame = CLIP;
    SpResult odd = RESULT;
    frame.frames = odd.tracks = 1;
    odd.clip = &frame;
    odd.confs = (const float[]){-(float)NAN};
    const float world[] = {INFINITY, -INFINITY, 3};
    stream = fopen(scratch_path("a.csv"), "w");
    assert_ok(sp_csv_write(stream, "a.csv", &odd, world, PIXELS));
    fclose(stream);
    char *text = file_read(scratch_path("a.csv"), NULL);
    assert_non_null(strstr(text, "\n0,0,0,1.5,2,inf,-inf,3,1,nan\n"));
    free(text);
    scratch_empty();
}

static void a_full_disk_is_reported_for_csv(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    assert_error(sp_csv_write(full, "a.csv", &RESULT, WORLD, PIXELS), SP_OUTPUT,
                 "cannot write a.csv: No space left on device");
    fclose(full);
}

static const SpCacheEvent EVENTS[] = {{"sleep", "front", 0.5, 1, 7, 8, 9}};

static const SpReport REPORT = {
    .program_version = "0.1.0",
    .settings_json = "{\"max_frames\": 80}",
    .input = "caf\xc3\xa9 \xff.mp4",
    .input_width = 640,
    .input_height = 360,
    .used_frames = 80,
    .left_out_frames = 3,
    .rate = NAN,
    .device = "cpu",
    .isa = "avx2",
    .threads = 2,
    .stage_count = 2,
    .stages = {{.name = "front",
                .mode = "streamed",
                .seconds = 1.5,
                .planned_device_bytes = 11,
                .peak_device_bytes = 10,
                .weight_bytes = 5000000000u,
                .moved_bytes = 12,
                .hidden_seconds = NAN},
               {.name = "tracker", .seconds = 0.25}},
    .event_count = 1,
    .events = EVENTS,
    .seconds = 2.25,
    .peak_rss_bytes = 6000000000u,
    .library_count = 1,
    .libraries = {{"zlib", "1.2.13"}},
};

static SpStatus write_report(const SpAtomicFile *file, const SpReport *report)
{
    return sp_format_of(SP_PRODUCT_REPORT, "a.json")->write(file, &(SpOutput){.report = report});
}

static const cJSON *item(const cJSON *object, const char *key)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!found)
        fail_msg("no %s", key);
    return found;
}

static void a_report_is_json(void **state)
{
    (void)state;
    const char *path = scratch_path("report.json");
    SpAtomicFile file;
    assert_ok(sp_atomic_open(path, "-o", &file));
    assert_ok(write_report(&file, &REPORT));
    assert_ok(sp_atomic_commit(&file));
    char *text = file_read(path, NULL);
    cJSON *root = cJSON_Parse(text);
    assert_non_null(root);
    assert_string_equal(item(root, "version")->valuestring, "0.1.0");
    assert_int_equal(item(item(root, "settings"), "max_frames")->valueint, 80);
    const cJSON *input = item(root, "input");
    assert_string_equal(item(input, "path")->valuestring, "caf\xc3\xa9 \xef\xbf\xbd.mp4");
    assert_int_equal(item(input, "width")->valueint, 640);
    assert_int_equal(item(input, "left_out_frames")->valueint, 3);
    assert_true(cJSON_IsNull(item(input, "rate")));
    assert_true(cJSON_IsNull(item(root, "weights")));
    const cJSON *stages = item(root, "stages");
    assert_int_equal(cJSON_GetArraySize(stages), 2);
    assert_string_equal(item(stages->child, "name")->valuestring, "front");
    assert_true(item(stages->child, "weight_bytes")->valuedouble == 5e9);
    assert_int_equal(item(stages->child, "planned_device_bytes")->valueint, 11);
    assert_int_equal(item(stages->child, "moved_bytes")->valueint, 12);
    assert_true(cJSON_IsNull(item(stages->child, "hidden_seconds")));
    assert_true(item(stages->child->next, "seconds")->valuedouble == 0.25);
    assert_true(cJSON_IsNull(item(stages->child->next, "mode")));
    const cJSON *event = item(root, "cache")->child;
    assert_string_equal(item(event, "event")->valuestring, "sleep");
    assert_int_equal(item(event, "host_bytes")->valueint, 7);
    assert_int_equal(item(event, "device_bytes")->valueint, 8);
    assert_true(item(root, "peak_rss_bytes")->valuedouble == 6e9);
    assert_string_equal(item(item(root, "libraries"), "zlib")->valuestring, "1.2.13");
    cJSON_Delete(root);
    free(text);
    assert_int_equal(scratch_empty(), 1);
}

static void a_report_that_cannot_be_written_is_reported(void **state)
{
    (void)state;
    SpReport bad = REPORT;
    bad.settings_json = "{";
    SpAtomicFile file;
    assert_ok(sp_atomic_open(scratch_path("report.json"), "-o", &file));
    assert_error(write_report(&file, &bad), SP_OUTPUT, "not JSON");
    sp_atomic_abandon(&file);
    bad.settings_json = NULL;
    assert_ok(sp_atomic_open("/dev/full", "-o", &file));
    assert_error(write_report(&file, &bad), SP_OUTPUT, "/dev/full: No space left on device");
    sp_atomic_abandon(&file);
    assert_int_equal(scratch_empty(), 0);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(tracks_as_csv),
        cmocka_unit_test(a_full_disk_is_reported_for_csv),
        cmocka_unit_test(a_report_is_json),
        cmocka_unit_test(a_report_that_cannot_be_written_is_reported),
    };
    return cmocka_run_group_tests_name("tables", cases, scratch_make, scratch_remove);
}
