/* Arrays of an npz that grow side by side. */
#define _GNU_SOURCE

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "output/npz_internal.h"
#include "support/npz_ways.h"
#include "support/scratch.h"

/* Two arrays row by row in turn, of which one is left out and one has rows of nothing, with the
 * header of a third between them; or all at once. */
static void write_growing(FILE *stream, const Way *way, bool grows, const float *value)
{
    enum { ROWS = 40, ROW = 700 };
    static const char *const names[] = {"a", "b", "left", "empty"};
    const int64_t dims[][2] = {{ROWS, ROW}, {ROWS / 2, ROW}, {ROWS, ROW}, {0, 0}};
    SpNpzGrowing *array[4] = {NULL};
    SpNpzWriter *npz;
    assert_ok(sp_npz_create_limited(stream, "out.npz", way->compress, way->zip64_from, &npz));
    sp_npz_omit(npz, "left");
    for (int k = 0; k < 4 && grows; k++)
        assert_ok(
            sp_npz_grow(npz, scratch_path("beside"), names[k], SP_F32, 2, dims[k], &array[k]));
    assert_true(array[2] == NULL);
    for (int64_t t = 0; t < ROWS && grows; t++)
        for (int k = 0; k < 3; k++)
            if (t < dims[k][0])
                assert_ok(sp_npz_growing_write(array[k], value + t * ROW, ROW * sizeof *value));
    assert_ok(sp_npz_array(npz, "first", SP_F32, 0, NULL, value));
    for (int k = 0; k < 4; k++) {
        if (grows) {
            assert_ok(sp_npz_growing_add(npz, array[k]));
            continue;
        }
        assert_ok(sp_npz_begin(npz, names[k], SP_F32, 2, dims[k]));
        for (int64_t t = 0; t < dims[k][0]; t++)
            assert_ok(sp_npz_write(npz, value + t * ROW, ROW * sizeof *value));
    }
    assert_ok(sp_npz_finish(npz));
    for (int k = 0; k < 4; k++)
        sp_npz_growing_discard(array[k]);
    sp_npz_discard(npz);
}

static void growing_arrays_give_the_same_bytes(void **state)
{
    (void)state;
    static float value[40 * 700];
    for (int i = 0; i < 40 * 700; i++)
        value[i] = sinf((float)i / 9) * 100;
    for (int i = 0; i < WAY_COUNT; i++) {
        char *bytes[2];
        size_t size[2];
        for (int grows = 0; grows < 2; grows++) {
            FILE *stream = open_memstream(&bytes[grows], &size[grows]);
            assert_non_null(stream);
            write_growing(stream, &WAYS[i], grows, value);
            fclose(stream);
        }
        assert_int_equal(size[0], size[1]);
        assert_memory_equal(bytes[0], bytes[1], size[0]);
        free(bytes[0]);
        free(bytes[1]);
    }
}

static void a_growing_array_ends_with_a_row(void **state)
{
    (void)state;
    const int64_t dims[] = {0, 3};
    const float value[4] = {0};
    char *bytes;
    size_t size;
    SpNpzWriter *npz;
    SpNpzGrowing *array;
    FILE *stream = open_memstream(&bytes, &size);
    assert_ok(sp_npz_create(stream, "out.npz", true, &npz));
    assert_ok(sp_npz_grow(npz, NULL, "a", SP_F32, 2, dims, &array));
    assert_ok(sp_npz_growing_write(array, value, sizeof value));
    const SpStatus status = sp_npz_growing_add(npz, array);
    assert_int_equal(status.code, SP_OUTPUT);
    assert_non_null(strstr(status.text, "array a does not end with a row"));
    sp_npz_growing_discard(array);
    sp_npz_discard(npz);
    fclose(stream);
    free(bytes);
}

/* Rows that get longer are filled up to the last one's length. */
static void rows_may_get_longer(void **state)
{
    (void)state;
    const float rows[][3] = {{1, 2}, {3, 4}, {5, 6, 7}}, expected[] = {1, 2, 9, 3, 4, 9, 5, 6, 7};
    const int64_t dims[] = {0, 0, 1};
    SpNpzWriter *npz;
    SpNpzGrowing *array;
    SpNpz *back;
    int64_t found[3] = {-1, -1, -1};
    float *value;
    FILE *stream = fopen(scratch_path("widens.npz"), "wb");
    assert_non_null(stream);
    assert_ok(sp_npz_create(stream, "widens.npz", true, &npz));
    assert_ok(sp_npz_grow(npz, NULL, "a", SP_F32, 3, dims, &array));
    sp_npz_growing_widens(array, 9);
    for (int t = 0; t < 3; t++)
        assert_ok(sp_npz_growing_write(array, rows[t], (t < 2 ? 2 : 3) * sizeof(float)));
    assert_ok(sp_npz_growing_add(npz, array));
    assert_ok(sp_npz_finish(npz));
    sp_npz_growing_discard(array);
    sp_npz_discard(npz);
    fclose(stream);
    assert_ok(sp_npz_open(scratch_path("widens.npz"), &back));
    assert_ok(sp_npz_read_f32(back, "a", 3, found, &value));
    assert_true(found[0] == 3 && found[1] == 3 && found[2] == 1);
    assert_memory_equal(value, expected, sizeof expected);
    free(value);
    sp_npz_close(back);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(growing_arrays_give_the_same_bytes),
        cmocka_unit_test(a_growing_array_ends_with_a_row),
        cmocka_unit_test(rows_may_get_longer),
    };
    return cmocka_run_group_tests_name("npz_grow", cases, scratch_make, scratch_remove);
}
