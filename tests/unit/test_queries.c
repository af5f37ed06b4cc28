/* Queries from files and grids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "input/queries.h"

enum { FRAMES = 5, HEIGHT = 40, WIDTH = 60 };

/* Frames used as they are. */
static const SpFramePlan plan = {.input_height = HEIGHT,
                                 .input_width = WIDTH,
                                 .resized_height = HEIGHT,
                                 .resized_width = WIDTH,
                                 .height = HEIGHT,
                                 .width = WIDTH};

static char path[] = "/tmp/spatrack-queries-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

/* Reads the queries of a file with that text. */
static SpStatus read_text(const char *text, size_t size, SpQueries *out)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    fclose(file);
    return sp_queries_read(path, FRAMES, &plan, out);
}

static void files_are_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "t,x,y\n0,1.5,2\n4,59,39\n",
        "0,1.5,2\n4,59,39",
        "# made by hand\r\n\r\n t , x , y \r\n 0 ,\t1.5 , 2 \r\n4,59,39\r\n",
        "\xef\xbb\xbft,x,y\n0.0,15e-1,+2\n\n#0,0,0\n4,59.0,39.\n",
    };
    static const float expected[] = {0, 1.5f, 2, 4, 59, 39};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        SpQueries queries;
        const SpStatus status = read_text(texts[i], strlen(texts[i]), &queries);
        assert_string_equal(status.text, "");
        assert_int_equal(queries.count, 2);
        assert_memory_equal(queries.query, expected, sizeof expected);
        sp_queries_free(&queries);
    }
}

/* A pixel reaches half a pixel around its centre. */
static void edges_belong_to_the_frame(void **state)
{
    (void)state;
    static const char text[] = "0,-0.5,-0.5\n0,59.5,39.5\n0,-0.25,39\n";
    static const float expected[] = {0, -0.5f, -0.5f, 0, 59.5f, 39.5f, 0, -0.25f, 39};
    SpQueries queries;
    assert_string_equal(read_text(text, sizeof text - 1, &queries).text, "");
    assert_int_equal(queries.count, 3);
    assert_memory_equal(queries.query, expected, sizeof expected);
    sp_queries_free(&queries);
}

static void many_queries_are_read(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    char text[MANY * 12] = "";
    size_t at = 0;
    for (int i = 0; i < MANY; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d,%d,%d\n", i % 5, i % 60, i % 40);
    SpQueries queries;
    assert_int_equal(read_text(text, at, &queries).code, SP_OK);
    assert_int_equal(queries.count, MANY);
    for (int i = 0; i < MANY; i++)
        assert_true(queries.query[3 * i] == (float)(i % 5) &&
                    queries.query[3 * i + 1] == (float)(i % 60) &&
                    queries.query[3 * i + 2] == (float)(i % 40));
    sp_queries_free(&queries);
}

static void bad_lines_are_named(void **state)
{
    (void)state;
#define BAD(text, part)                                                                            \
    {                                                                                              \
        text, sizeof text - 1, part                                                                \
    }
    static const struct {
        const char *text;
        size_t size;
        const char *part;
    } cases[] = {
        BAD("", ": no queries"),
        BAD("t,x,y\n# nothing\n\n", ": no queries"),
        BAD("0,1\n", ":1: not a query"),
        BAD("0,1,2,3\n", ":1: not a query"),
        BAD("0,1,2\n0;1;2\n", ":2: not a query"),
        BAD("0,1,\n", ":1: not a query"),
        BAD("0,1,nan\n", ":1: not a query"),
        BAD("0,inf,2\n", ":1: not a query"),
        BAD("0,0x10,2\n", ":1: not a query"),
        BAD("0,1e999,2\n", ":1: not a query"),
        BAD("0,1,2-3\n", ":1: not a query"),
        BAD("0,1,2\0\n", ":1: not a query"),
        BAD("0 1 2\n", ":1: not a query"),
        BAD("0,1,2\nt,x,y\n", ":2: not a query"),
        BAD("t,x,y\nt,x,y\n", ":2: not a query"),
        BAD("x,y,t\n", ":1: not a query"),
        BAD("5,1,2\n", ":1: t is 5; it must be the number of a used frame, 0..4"),
        BAD("-1,1,2\n", ":1: t is -1;"),
        BAD("0.5,1,2\n", ":1: t is 0.5;"),
        BAD("\n0,-0.51,2\n", ":2: x is -0.51; it must be -0.5..59.5"),
        BAD("0,59.6,2\n", ":1: x is 59.6;"),
        BAD("0,1,39.51\n", ":1: y is 39.51; it must be -0.5..39.5"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SpQueries queries;
        const SpStatus status = read_text(cases[i].text, cases[i].size, &queries);
        assert_int_equal(status.code, SP_USAGE);
        assert_null(queries.query);
        assert_memory_equal(status.text, path, sizeof path - 1);
        if (!strstr(status.text, cases[i].part) || strchr(status.text, '\n'))
            fail_msg("'%s' lacks '%s'", status.text, cases[i].part);
    }
}

static void unreadable_files_are_named(void **state)
{
    (void)state;
    SpQueries queries;
    SpStatus status = sp_queries_read("/none.csv", FRAMES, &plan, &queries);
    assert_int_equal(status.code, SP_INPUT);
    assert_string_equal(status.text, "/none.csv: No such file or directory");
    status = sp_queries_read("/", FRAMES, &plan, &queries);
    assert_int_equal(status.code, SP_INPUT);
    status = sp_queries_read("/dev/zero", FRAMES, &plan, &queries);
    assert_int_equal(status.code, SP_USAGE);
    assert_non_null(strstr(status.text, "/dev/zero:1: longer than"));
}

/* Points sit at the margin of a 64th of the width, on whole cells between. */
static void a_grid_has_its_margin(void **state)
{
    (void)state;
    SpFramePlan twice;
    SpQueries queries;
    assert_int_equal(sp_frame_plan(147, 259, 518, 14, SP_PORTRAIT_CROP, 0, &twice).code, SP_OK);
    assert_int_equal(twice.height, 294);
    assert_int_equal(sp_queries_grid(3, 0, &twice, NULL, &queries).code, SP_OK);
    assert_int_equal(queries.count, 9);
    const float expected[] = {0, 4, 4, 0, 129.5f, 4, 0, 255, 4, 0, 4, 73.5f};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_true(queries.query[i] == expected[i]);
    sp_queries_free(&queries);
    assert_int_equal(sp_queries_grid(1, 0, &twice, NULL, &queries).code, SP_OK);
    assert_int_equal(queries.count, 1);
    assert_true(queries.query[1] == 129.5f && queries.query[2] == 73.5f);
    sp_queries_free(&queries);
}

static void a_mask_keeps_its_points(void **state)
{
    (void)state;
    static uint8_t mask[HEIGHT * WIDTH];
    SpQueries queries;
    memset(mask, 0, sizeof mask);
    SpStatus status = sp_queries_grid(2, 0, &plan, mask, &queries);
    assert_int_equal(status.code, SP_USAGE);
    assert_non_null(strstr(status.text, "no point of the 2 x 2 grid"));
    mask[0] = 1; /* width 60: no margin */
    status = sp_queries_grid(2, 0, &plan, mask, &queries);
    assert_int_equal(status.code, SP_OK);
    assert_int_equal(queries.count, 1);
    assert_true(queries.query[0] == 0 && queries.query[1] == 0 && queries.query[2] == 0);
    sp_queries_free(&queries);
}

/* What the crop of a tall frame cuts off cannot be asked for. */
static void cropped_queries_are_refused(void **state)
{
    (void)state;
    SpFramePlan tall;
    SpQueries queries;
    assert_int_equal(sp_frame_plan(518 * 2, 518, 518, 14, SP_PORTRAIT_CROP, 0, &tall).code, SP_OK);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("0,5,518\n0,5,100\n", file);
    fclose(file);
    const SpStatus status = sp_queries_read(path, FRAMES, &tall, &queries);
    assert_int_equal(status.code, SP_USAGE);
    assert_non_null(strstr(status.text, ":2: y is 100, which is cropped"));
}

/* As many as the finest grid has, and no more, however long the file is. */
static void too_many_queries_are_refused(void **state)
{
    (void)state;
    enum { MOST = 1 << 20 };
    static char text[6 * (MOST + 1)];
    SpQueries queries;
    for (int i = 0; i <= MOST; i++)
        memcpy(text + 6 * i, "0,1,1\n", 6);
    assert_int_equal(read_text(text, 6 * MOST, &queries).code, SP_OK);
    assert_int_equal(queries.count, MOST);
    sp_queries_free(&queries);
    const SpStatus status = read_text(text, 6 * (MOST + 1), &queries);
    assert_int_equal(status.code, SP_USAGE);
    assert_non_null(strstr(status.text, ":1048577: more than 1048576 queries"));
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(many_queries_are_read),
        cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(unreadable_files_are_named),
        cmocka_unit_test(a_grid_has_its_margin),
        cmocka_unit_test(cropped_queries_are_refused),
        cmocka_unit_test(a_mask_keeps_its_points),
        cmocka_unit_test(edges_belong_to_the_frame),
        cmocka_unit_test(too_many_queries_are_refused),
    };
    return cmocka_run_group_tests_name("queries", cases, make_file, remove_file);
}
