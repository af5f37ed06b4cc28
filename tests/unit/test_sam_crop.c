/* What a lite SAM sees of an image, and where its masks lie in it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sam/internal.h"

enum { SIDE = 24, GRID = 3, CELLS = 4 * GRID, MAX = 100 };
static const SpSam sam = {.side = SIDE, .vision.grid = GRID};
static const double RED = 0.485 * 255, RED_SCALE = 0.229 * 255;

static SpSamSizes sizes_of(int64_t height, int64_t width, SpSamCrop crop)
{
    return (SpSamSizes){.height = height, .width = width, .crop = crop};
}

static void the_crop_surrounds_its_box(void **state)
{
    (void)state;
    const double box[] = {10, 20, 29, 25}; /* 20 x 6 */
    const SpSamCrop tight = sp_sam_crop_around(box, 1), wide = sp_sam_crop_around(box, 1.5);
    assert_true(tight.side == 20 && tight.x == 10 && tight.y == 13);
    assert_true(wide.side == 30 && wide.x == 5 && wide.y == 8);
    const double point[] = {7, 7, 7, 7};
    const SpSamCrop one = sp_sam_crop_around(point, 1.4);
    assert_true(one.side == 2 && one.x == 7 && one.y == 7);
}

static void points_follow_the_crop(void **state)
{
    (void)state;
    SpSamCrop crop = {.x = -4, .y = 2, .side = 48};
    double to[2];
    /* The crop's edges lie half a pixel before its first and after its last pixel. */
    sp_sam_crop_point(&sam, &crop, (double[2]){-4.5, 25.5}, to);
    assert_true(fabs(to[0] + 0.5) < 1e-12 && fabs(to[1] - (SIDE / 2 - 0.5)) < 1e-12);
    sp_sam_crop_point(&sam, &crop, (double[2]){43.5, 1.5}, to);
    assert_true(fabs(to[0] - (SIDE - 0.5)) < 1e-12 && fabs(to[1] + 0.5) < 1e-12);
    crop.mirrored = true;
    sp_sam_crop_point(&sam, &crop, (double[2]){-4.5, 25.5}, to);
    assert_true(fabs(to[0] - (SIDE - 0.5)) < 1e-12 && fabs(to[1] - (SIDE / 2 - 0.5)) < 1e-12);
}

/* An image whose red rises by `step` a column. */
static void ramp(uint8_t *rgb, int64_t height, int64_t width, int step)
{
    memset(rgb, 0, (size_t)(3 * height * width));
    for (int64_t i = 0; i < height * width; i++)
        rgb[3 * i] = (uint8_t)(step * (i % width));
}

static double red_at(const float *image, int64_t row, int64_t column)
{
    return (double)image[3 * (row * SIDE + column)] * RED_SCALE + RED;
}

static void a_shrunk_crop_averages_areas(void **state)
{
    (void)state;
    uint8_t rgb[3 * 60 * 60];
    float image[3 * SIDE * SIDE];
    ramp(rgb, 60, 60, 4);
    const SpSamSizes s = sizes_of(60, 60, (SpSamCrop){.x = 0, .y = 0, .side = 60});
    sp_sam_crop_image(&sam, &s, rgb, image);
    /* Output 0 covers columns 0, 1 and half of 2: 4 (0 + 1 + 1) / 2.5 = 3.2. */
    assert_true(fabs(red_at(image, 0, 0) - 3) < 1e-3);
    assert_true(fabs(red_at(image, 7, SIDE - 1) - 233) < 1e-3); /* 4 (57 / 2 + 58 + 59) / 2.5 */
    const SpSamCrop mirrored = {.side = 60, .mirrored = true};
    const SpSamSizes m = sizes_of(60, 60, mirrored);
    sp_sam_crop_image(&sam, &m, rgb, image);
    assert_true(fabs(red_at(image, 7, 0) - 233) < 1e-3);
    assert_true(fabs(red_at(image, 0, SIDE - 1) - 3) < 1e-3);
}

static void a_grown_crop_is_bilinear(void **state)
{
    (void)state;
    uint8_t rgb[3 * 12 * 12];
    float image[3 * SIDE * SIDE];
    ramp(rgb, 12, 12, 20);
    const SpSamSizes s = sizes_of(12, 12, (SpSamCrop){.x = 0, .y = 0, .side = 12});
    sp_sam_crop_image(&sam, &s, rgb, image);
    assert_true(fabs(red_at(image, 3, 0) - 0) < 1e-3); /* the edge is repeated */
    assert_true(fabs(red_at(image, 3, 1) - 5) < 1e-3); /* at column 0.25 */
    assert_true(fabs(red_at(image, 3, SIDE - 1) - 220) < 1e-3);
}

static void what_is_beyond_the_image_is_empty(void **state)
{
    (void)state;
    uint8_t rgb[3 * 10 * 8];
    float image[3 * SIDE * SIDE];
    memset(rgb, 200, sizeof rgb);
    const SpSamSizes s = sizes_of(10, 8, (SpSamCrop){.x = -4, .y = 4, .side = 12});
    sp_sam_crop_image(&sam, &s, rgb, image);
    for (int64_t i = 0; i < SIDE; i++)
        for (int64_t j = 0; j < SIDE; j++) {
            const bool inside = i < 12 && j >= 8; /* rows 4..9 and columns 0..7, twice as large */
            if (inside)
                assert_true(fabs(red_at(image, i, j) - 200) < 1e-3);
            else
                assert_true(image[3 * (i * SIDE + j)] == 0);
        }
}

/* A crop that shows less than half of one of its pixels still shows it. */
static void a_sliver_is_shown(void **state)
{
    (void)state;
    uint8_t rgb[3 * MAX];
    float image[3 * SIDE * SIDE];
    memset(rgb, 100, sizeof rgb);
    const SpSamSizes s = sizes_of(1, MAX, (SpSamCrop){.x = 0, .y = -50, .side = MAX});
    sp_sam_crop_image(&sam, &s, rgb, image);
    assert_true(fabs(red_at(image, 12, 0) - 100) < 1e-3 && image[3 * 13 * SIDE] == 0);
}

static void masks_come_back_to_their_place(void **state)
{
    (void)state;
    float low[CELLS * CELLS];
    uint8_t mask[30 * 40];
    double box[4];
    for (int64_t i = 0; i < CELLS * CELLS; i++)
        low[i] = i % CELLS < CELLS / 2 ? 5 : -5; /* the crop's left half */
    const SpSamSizes s = sizes_of(30, 40, (SpSamCrop){.x = 10, .y = -6, .side = 24});
    memset(mask, 0, sizeof mask);
    mask[3 * 40 + 12] = 9; /* taken already */
    assert_true(sp_sam_crop_mask(&sam, &s, low, 2, mask, box));
    assert_true(box[0] == 10 && box[1] == 0 && box[2] == 21 && box[3] == 17);
    for (int64_t i = 0; i < 30; i++)
        for (int64_t j = 0; j < 40; j++) {
            const bool inside = i < 18 && j >= 10 && j < 22;
            assert_int_equal(mask[i * 40 + j], i == 3 && j == 12 ? 9 : inside ? 2 : 0);
        }
    assert_true(sp_sam_crop_mask(&sam, &s, low, 1, NULL, box));
    for (int64_t i = 0; i < CELLS * CELLS; i++)
        low[i] = -1;
    assert_false(sp_sam_crop_mask(&sam, &s, low, 1, mask, box));
    const SpSam lower = {.side = SIDE, .vision.grid = GRID, .threshold = -1.5};
    assert_true(sp_sam_crop_mask(&lower, &s, low, 1, NULL, box));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_crop_surrounds_its_box),
        cmocka_unit_test(points_follow_the_crop),
        cmocka_unit_test(a_shrunk_crop_averages_areas),
        cmocka_unit_test(a_grown_crop_is_bilinear),
        cmocka_unit_test(what_is_beyond_the_image_is_empty),
        cmocka_unit_test(a_sliver_is_shown),
        cmocka_unit_test(masks_come_back_to_their_place),
    };
    return cmocka_run_group_tests_name("sam crop", tests, NULL, NULL);
}
