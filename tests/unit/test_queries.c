/* Queries from files and grids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "queries.h"

enum { FRAMES = 5, HEIGHT = 40, WIDTH = 60 };

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
static SpStatus read_text(const char *text, size_t size, float **out, int64_t *count)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    fclose(file);
    return sp_queries_read(path, FRAMES, HEIGHT, WIDTH, out, count);
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
        float *query;
        int64_t count;
        const SpStatus status = read_text(texts[i], strlen(texts[i]), &query, &count);
        assert_string_equal(status.text, "");
        assert_int_equal(count, 2);
        assert_memory_equal(query, expected, sizeof expected);
        free(query);
    }
}

static void many_queries_are_read(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    char text[MANY * 12] = "";
    size_t at = 0;
    for (int i = 0; i < MANY; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d,%d,%d\n", i % 5, i % 60, i % 40);
    float *query;
    int64_t count;
    assert_int_equal(read_text(text, at, &query, &count).code, SP_OK);
    assert_int_equal(count, MANY);
    for (int i = 0; i < MANY; i++)
        assert_true(query[3 * i] == (float)(i % 5) && query[3 * i + 1] == (float)(i % 60) &&
                    query[3 * i + 2] == (float)(i % 40));
    free(query);
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
        BAD("5,1,2\n", ":1: t is 5; it must be a whole number of the used frames 0..4"),
        BAD("-1,1,2\n", ":1: t is -1;"),
        BAD("0.5,1,2\n", ":1: t is 0.5;"),
        BAD("\n0,-0.1,2\n", ":2: x is -0.1; it must be 0..59"),
        BAD("0,59.5,2\n", ":1: x is 59.5;"),
        BAD("0,1,39.01\n", ":1: y is 39.01; it must be 0..39"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float *query;
        int64_t count;
        const SpStatus status = read_text(cases[i].text, cases[i].size, &query, &count);
        assert_int_equal(status.code, SP_USAGE);
        assert_null(query);
        assert_memory_equal(status.text, path, sizeof path - 1);
        if (!strstr(status.text, cases[i].part) || strchr(status.text, '\n'))
            fail_msg("'%s' lacks '%s'", status.text, cases[i].part);
    }
}

static void unreadable_files_are_named(void **state)
{
    (void)state;
    float *query;
    int64_t count;
    SpStatus status = sp_queries_read("/none.csv", FRAMES, HEIGHT, WIDTH, &query, &count);
    assert_int_equal(status.code, SP_INPUT);
    assert_string_equal(status.text, "/none.csv: No such file or directory");
    status = sp_queries_read("/", FRAMES, HEIGHT, WIDTH, &query, &count);
    assert_int_equal(status.code, SP_INPUT);
    status = sp_queries_read("/dev/zero", FRAMES, HEIGHT, WIDTH, &query, &count);
    assert_int_equal(status.code, SP_USAGE);
    assert_non_null(strstr(status.text, "/dev/zero:1: longer than"));
}

static void a_grid_has_the_cell_centres(void **state)
{
    (void)state;
    static const float expected[] = {0, 14.5f, 9.5f,  0, 44.5f, 9.5f,
                                     0, 14.5f, 29.5f, 0, 44.5f, 29.5f};
    float *query;
    int64_t count;
    assert_int_equal(sp_queries_grid(2, HEIGHT, WIDTH, NULL, &query, &count).code, SP_OK);
    assert_int_equal(count, 4);
    assert_memory_equal(query, expected, sizeof expected);
    free(query);
}

/* A grid finer than the pixels stays where queries are allowed. */
static void a_fine_grid_stays_inside(void **state)
{
    (void)state;
    float *query;
    int64_t count;
    assert_int_equal(sp_queries_grid(20, 3, 4, NULL, &query, &count).code, SP_OK);
    assert_int_equal(count, 400);
    for (int64_t i = 0; i < count; i++)
        assert_true(query[3 * i + 1] >= 0 && query[3 * i + 1] <= 3 && query[3 * i + 2] >= 0 &&
                    query[3 * i + 2] <= 2);
    free(query);
}

static void a_mask_keeps_its_points(void **state)
{
    (void)state;
    static uint8_t mask[HEIGHT * WIDTH];
    float *query;
    int64_t count;
    memset(mask, 0, sizeof mask);
    SpStatus status = sp_queries_grid(2, HEIGHT, WIDTH, mask, &query, &count);
    assert_int_equal(status.code, SP_USAGE);
    assert_non_null(strstr(status.text, "no point of the 2 x 2 grid"));
    mask[30 * WIDTH + 15] = 1; /* the nearest pixel of 14.5, 29.5 */
    status = sp_queries_grid(2, HEIGHT, WIDTH, mask, &query, &count);
    assert_int_equal(status.code, SP_OK);
    assert_int_equal(count, 1);
    assert_true(query[0] == 0 && query[1] == 14.5f && query[2] == 29.5f);
    free(query);
    assert_int_equal(sp_queries_grid(0, HEIGHT, WIDTH, NULL, &query, &count).code, SP_USAGE);
    assert_int_equal(sp_queries_grid(5000, HEIGHT, WIDTH, NULL, &query, &count).code, SP_USAGE);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(many_queries_are_read),
        cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(unreadable_files_are_named),
        cmocka_unit_test(a_grid_has_the_cell_centres),
        cmocka_unit_test(a_fine_grid_stays_inside),
        cmocka_unit_test(a_mask_keeps_its_points),
    };
    return cmocka_run_group_tests_name("queries", cases, make_file, remove_file);
}
