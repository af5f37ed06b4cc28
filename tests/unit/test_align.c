/* A frame's pyramid, and one patch found in an image. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "refine/align.h"
#include "refine/pyramid.h"
#include "support/picture.h"
#include "support/scratch.h"
#include "support/texture.h"

/* The pyramid ---------------------------------------------------------------------------------- */

static SpPyramid pyramid_of(int64_t height, int64_t width, int levels)
{
    SpPyramid pyramid;
    assert_ok(sp_pyramid_alloc(height, width, levels, 2, &pyramid));
    return pyramid;
}

static void levels_are_halves_down_to_64_pixels(void **state)
{
    (void)state;
    static const struct {
        int64_t height, width;
        int levels, expected;
    } sizes[] = {
        {1080, 1920, 8, 5}, {1080, 1920, 3, 3}, {100, 300, 8, 1}, {128, 301, 8, 2}, {9, 7, 8, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        SpPyramid p = pyramid_of(sizes[i].height, sizes[i].width, sizes[i].levels);
        size_t bytes = (size_t)p.width[0] * sizeof(float);
        assert_int_equal(p.levels, sizes[i].expected);
        assert_true(p.height[0] == sizes[i].height && p.width[0] == sizes[i].width);
        for (int k = 0; k < p.levels; k++) {
            assert_true(k == 0 || (p.height[k] == (p.height[k - 1] + 1) / 2 &&
                                   p.width[k] == (p.width[k - 1] + 1) / 2));
            bytes += (size_t)(p.height[k] * p.width[k]) * sizeof(float);
        }
        assert_true(bytes <= sp_pyramid_bytes(sizes[i].height, sizes[i].width, 1));
        sp_pyramid_free(&p);
    }
}

static void a_constant_stays_constant(void **state)
{
    (void)state;
    uint8_t *rgb = allocate(3 * 131 * 257);
    SpPyramid p = pyramid_of(131, 257, 8);
    memset(rgb, 77, 3 * 131 * 257);
    sp_pyramid_fill(&p, rgb);
    assert_int_equal(p.levels, 2);
    for (int k = 0; k < p.levels; k++)
        for (int64_t i = 0; i < p.height[k] * p.width[k]; i++)
            assert_true(fabs((double)p.gray[k][i] - 77) < 1e-3);
    free(rgb);
    sp_pyramid_free(&p);
}

static void gray_is_luma(void **state)
{
    (void)state;
    static const uint8_t rgb[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};
    SpPyramid p = pyramid_of(2, 2, 1);
    sp_pyramid_fill(&p, rgb);
    static const double luma[] = {76.245, 149.685, 29.07, 18.15};
    for (int i = 0; i < 4; i++)
        assert_true(fabs((double)p.gray[0][i] - luma[i]) < 1e-3);
    sp_pyramid_free(&p);
}

/* Pixel x, y of level k lies on 2^k x, 2^k y: a ramp has the same value there, but at the border.
 */
static void a_ramp_keeps_its_place(void **state)
{
    (void)state;
    enum { SIZE = 256 };
    uint8_t *rgb = allocate(3 * SIZE * SIZE);
    SpPyramid p = pyramid_of(SIZE, SIZE, 8);
    for (int down = 0; down < 2; down++) {
        for (int64_t i = 0; i < SIZE * SIZE; i++)
            memset(rgb + 3 * i, (int)(down ? i / SIZE : i % SIZE), 3);
        sp_pyramid_fill(&p, rgb);
        assert_int_equal(p.levels, 3);
        for (int k = 1; k < p.levels; k++)
            for (int64_t y = 2; y < p.height[k] - 2; y++)
                for (int64_t x = 2; x < p.width[k] - 2; x++) {
                    const double at = ldexp((double)(down ? y : x), k);
                    assert_true(fabs((double)p.gray[k][y * p.width[k] + x] - at) < 0.01);
                }
    }
    free(rgb);
    sp_pyramid_free(&p);
}

/* Bilinear; outside, the border goes on. Both sides have 2 pixels or more. */
static float bilinear(const float *gray, int64_t height, int64_t width, float x, float y)
{
    x = x > 0 ? x : 0; /* also where it is not a number */
    y = y > 0 ? y : 0;
    x = x < (float)(width - 1) ? x : (float)(width - 1);
    y = y < (float)(height - 1) ? y : (float)(height - 1);
    const int64_t i = (int64_t)x < width - 1 ? (int64_t)x : width - 2;
    const int64_t j = (int64_t)y < height - 1 ? (int64_t)y : height - 2;
    const float fx = x - (float)i, fy = y - (float)j;
    const float *at = gray + j * width + i;
    const float above = at[0] + fx * (at[1] - at[0]);
    const float below = at[width] + fx * (at[width + 1] - at[width]);
    return above + fy * (below - above);
}

/* What a patch has in its middle. */
static float middle_of_patch(SpGray image, float x, float y)
{
    uint8_t cut[SP_CUT * SP_CUT];
    sp_patch_cut(image, x, y, cut);
    return (float)cut[SP_CUT * SP_CUT / 2];
}

static void samples_are_bilinear_and_the_border_goes_on(void **state)
{
    (void)state;
    float *image = allocate(6 * sizeof *image);
    static const float values[] = {0, 10, 20, 40, 50, 60}, far = 1e9f;
    memcpy(image, values, sizeof values);
    static const struct {
        float x, y, expected;
    } at[] = {{0, 0, 0},      {2, 1, 60},       {1, 0, 10},      {0.5f, 0, 5},
              {0, 0.25f, 10}, {1.5f, 0.5f, 35}, {-7, -3, 0},     {9, -3, 20},
              {-7, 5, 40},    {9, 5, 60},       {-far, far, 40}, {far, -far, 20}};
    const SpGray gray = {image, 2, 3};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        assert_true(fabsf(bilinear(image, 2, 3, at[i].x, at[i].y) - at[i].expected) < 1e-4f);
        assert_true(middle_of_patch(gray, at[i].x, at[i].y) == at[i].expected);
    }
    assert_true(middle_of_patch(gray, NAN, NAN) == 0);
    free(image);
}

/* One patch ------------------------------------------------------------------------------------ */

enum { H = 120, W = 140 };

/* A texture as an image of floats, exactly as large as it says. */
static SpGray image_of(const Texture *texture, Pose pose, double gain, double offset)
{
    float *pixel = allocate(H * W * sizeof *pixel);
    for (int64_t i = 0; i < H * W; i++)
        pixel[i] = (float)(offset + gain * shown(texture, &pose, (double)(i % W), (double)(i / W)));
    return (SpGray){pixel, H, W};
}

static void release(SpGray image)
{
    free((void *)(uintptr_t)image.pixel);
}

static const SpPrior anywhere = {60, 50, 1000};

/* The patch of x, y, which must have texture. */
static SpTemplate template_of(SpGray image, float x, float y, int parameters)
{
    uint8_t cut[SP_CUT * SP_CUT];
    SpTemplate t;
    sp_patch_cut(image, x, y, cut);
    assert_true(sp_template_make(cut, parameters, NULL, &t));
    return t;
}

static double distance(const SpWarp *warp, const double at[2])
{
    return hypot((double)warp->x - at[0], (double)warp->y - at[1]);
}

static void a_shift_is_found_to_hundredths_of_a_pixel(void **state)
{
    (void)state;
    static const double shifts[][2] = {{0, 0}, {0.5, 0.25}, {-1.37, 0.81}, {2.2, -1.9}};
    for (uint32_t i = 0; i < 20; i++) {
        const double *shift = shifts[i % 4];
        const Texture texture = texture_of(i);
        const SpGray from = image_of(&texture, turned(0, 1, 0, 0), 1, 0);
        const SpGray to = image_of(&texture, turned(0, 1, shift[0], shift[1]), 1, 0);
        for (int parameters = 2; parameters <= 6; parameters += 4) {
            const SpTemplate t = template_of(from, 60, 50, parameters);
            SpWarp warp = {{1, 0, 0, 1}, 60, 50};
            assert_true(sp_align(&t, to, &anywhere, 20, &warp));
            assert_true(distance(&warp, (double[2]){60 + shift[0], 50 + shift[1]}) < 0.03);
            const SpFit fit = sp_align_fit(&t, to, &warp);
            assert_true(fit.correlation > 0.995f && fit.sigma > 0 && fit.sigma < 0.1f);
        }
        release(from);
        release(to);
    }
}

static void turning_and_zoom_are_found(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        const Texture texture = texture_of(100 + i);
        const Pose pose = turned(i % 2 ? 6 : -8, i % 3 ? 1.08 : 0.93, 5, -2);
        const SpGray from = image_of(&texture, turned(0, 1, 0, 0), 1, 0);
        const SpGray to = image_of(&texture, pose, 1, 0);
        const SpTemplate t = template_of(from, 60, 50, 6);
        double at[2];
        place(&pose, (double[2]){60, 50}, at);
        SpWarp warp = {{1, 0, 0, 1}, (float)at[0] + 0.9f, (float)at[1] - 0.7f};
        const SpPrior prior = {warp.x, warp.y, 1000};
        assert_true(sp_align(&t, to, &prior, 40, &warp));
        assert_true(distance(&warp, at) < 0.05);
        for (int k = 0; k < 4; k++)
            assert_true(fabs((double)warp.a[k] - pose.a[k]) < 0.01);
        release(from);
        release(to);
    }
}

/* Where it begins the picture is unlike the patch, brighter where that is darker; a few steps on it
 * is not. */
static void a_place_several_pixels_off_is_found(void **state)
{
    (void)state;
    int found = 0;
    for (uint32_t i = 0; i < 60; i++) {
        const Texture texture = texture_of(200 + i);
        const SpGray from = image_of(&texture, turned(0, 1, 0, 0), 1, 0);
        const SpTemplate t = template_of(from, 60, 50, 2);
        SpWarp warp = {{1, 0, 0, 1}, i % 2 ? 66 : 54, i % 3 ? 45 : 54};
        found +=
            sp_align(&t, from, &anywhere, 20, &warp) && distance(&warp, (double[2]){60, 50}) < 0.05;
        release(from);
    }
    assert_true(found >= 30); /* 11 where a gain out of bounds ends the search at once */
}

static void light_changes_nothing(void **state)
{
    (void)state;
    static const double lights[][2] = {{0.5, 90}, {1.8, -60}, {1, -100}};
    const Texture texture = texture_of(7);
    const SpGray from = image_of(&texture, turned(0, 1, 0, 0), 1, 0);
    const SpTemplate t = template_of(from, 60, 50, 6);
    for (int i = 0; i < 3; i++) {
        const SpGray to = image_of(&texture, turned(0, 1, 0.7, -0.4), lights[i][0], lights[i][1]);
        SpWarp warp = {{1, 0, 0, 1}, 60, 50};
        assert_true(sp_align(&t, to, &anywhere, 20, &warp));
        assert_true(distance(&warp, (double[2]){60.7, 49.6}) < 0.03);
        assert_true(sp_align_fit(&t, to, &warp).correlation > 0.995f);
        release(to);
    }
    const SpGray negative = image_of(&texture, turned(0, 1, 0, 0), -1, 255);
    SpWarp warp = {{1, 0, 0, 1}, 60, 50};
    assert_false(sp_align(&t, negative, &anywhere, 20, &warp));
    assert_true(sp_align_fit(&t, negative, &(SpWarp){{1, 0, 0, 1}, 60, 50}).correlation <= 0);
    release(negative);
    release(from);
}

static void a_patch_without_texture_is_refused(void **state)
{
    (void)state;
    uint8_t cut[SP_CUT * SP_CUT];
    SpTemplate t;
    memset(cut, 90, sizeof cut);
    assert_false(sp_template_make(cut, 6, NULL, &t));
    for (size_t i = 0; i < sizeof cut; i++)
        cut[i] = (uint8_t)(90 + i % 2);
    assert_false(sp_template_make(cut, 2, NULL, &t));
    for (size_t i = 0; i < sizeof cut; i++)
        cut[i] = (uint8_t)(90 + 10 * (i % 2));
    assert_true(sp_template_make(cut, 2, NULL, &t));
}

/* Stripes say nothing about where along them a point is. */
static void the_prior_decides_what_the_texture_does_not(void **state)
{
    (void)state;
    Texture texture = texture_of(3);
    for (int i = 0; i < WAVES; i++)
        texture.ky[i] = 0;
    const SpGray from = image_of(&texture, turned(0, 1, 0, 0), 1, 0);
    const SpGray to = image_of(&texture, turned(0, 1, 1.2, 0), 1, 0);
    const SpTemplate t = template_of(from, 60, 50, 2);
    const SpPrior prior = {60.5f, 53, 3};
    SpWarp warp = {{1, 0, 0, 1}, 60, 50};
    assert_true(sp_align(&t, to, &prior, 20, &warp));
    assert_true(distance(&warp, (double[2]){61.2, 53}) < 0.05);
    /* And the more, the surer it is. */
    const SpPrior sure = {60.5f, 53, 0.01f};
    assert_true(sp_align(&t, to, &sure, 20, &warp));
    assert_true(fabs((double)warp.x - 60.5) < 0.1);
    release(from);
    release(to);
}

/* Every image here is a block of its own: AddressSanitizer sees what is read beyond it. */
static void nothing_is_read_beyond_the_border(void **state)
{
    (void)state;
    static const float places[][2] = {{0, 0},     {W - 1, 0},     {0, H - 1},  {W - 1, H - 1},
                                      {60, 0.3f}, {W - 1.2f, 50}, {-0.4f, 50}, {-300, 50},
                                      {60, 1e6f}, {10, 10}};
    const Texture texture = texture_of(11);
    const SpGray image = image_of(&texture, turned(0, 1, 0, 0), 1, 0);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const float x = places[i][0], y = places[i][1];
        const SpPrior prior = {x, y, 1000};
        uint8_t cut[SP_CUT * SP_CUT];
        float trust[SP_WINDOW_PIXELS];
        SpTemplate t;
        sp_patch_cut(image, x, y, cut);
        const float middle = bilinear(image.pixel, H, W, x, y);
        assert_true(fabsf((float)cut[SP_CUT * SP_CUT / 2] - middle) <= 0.5f);
        if (!sp_template_make(cut, 6, NULL, &t))
            continue;
        for (int k = 0; k < 2; k++) {
            SpWarp warp = {{1, 0, 0, 1}, x, y};
            if (k)
                warp = (SpWarp){{1.5f, 0.4f, -0.4f, 1.5f}, x, y};
            const bool found = sp_align(&t, image, &prior, 20, &warp);
            sp_align_fit(&t, image, &warp);
            sp_align_trust(&t, image, &warp, trust);
            if (found)
                assert_true(warp.x >= -0.5f && warp.y >= -0.5f && warp.x <= W - 0.5f &&
                            warp.y <= H - 0.5f);
            if (k == 0 && x > 0 && y > 0 && x < W - 1 && y < H - 1) /* found, near borders, too */
                assert_true(found && distance(&warp, (double[2]){(double)x, (double)y}) < 0.05);
            if (x < -1 || y > H)
                assert_false(found);
        }
    }
    release(image);
}

/* Leaves numbers that are none where the next function's arrays will be. */
static __attribute__((noinline)) float spoil_the_stack(void)
{
    volatile float spoilt[1 << 14];
    for (int i = 0; i < 1 << 14; i++)
        spoilt[i] = NAN;
    return spoilt[7];
}

static void what_the_stack_holds_changes_nothing(void **state)
{
    (void)state;
    const Texture texture = texture_of(5);
    const SpGray from = image_of(&texture, (Pose){{1, 0, 0, 1}, {0, 0}}, 1, 0);
    for (int parameters = 2; parameters <= 6; parameters += 4) {
        spoil_the_stack();
        const SpTemplate t = template_of(from, 60, 50, parameters);
        SpWarp warp = {{1, 0, 0, 1}, 61, 50};
        float trust[SP_WINDOW_PIXELS];
        spoil_the_stack();
        assert_true(sp_align(&t, from, &anywhere, 8, &warp));
        spoil_the_stack();
        assert_true(sp_align_fit(&t, from, &warp).correlation > 0.99f);
        spoil_the_stack();
        assert_true(sp_align_trust(&t, from, &warp, trust) > 0.5f);
    }
    release(from);
}

static void what_covers_half_of_a_patch_gets_no_trust(void **state)
{
    (void)state;
    const Texture texture = texture_of(21), other = texture_of(22);
    const Pose still = turned(0, 1, 0, 0);
    const SpGray from = image_of(&texture, still, 1, 0);
    float *pixel = allocate(H * W * sizeof *pixel);
    for (int64_t i = 0; i < H * W; i++)
        pixel[i] =
            (float)shown(i % W > 63 ? &other : &texture, &still, (double)(i % W), (double)(i / W));
    const SpGray to = {pixel, H, W};
    const SpTemplate t = template_of(from, 60, 50, 2);
    const SpWarp warp = {{1, 0, 0, 1}, 60, 50};
    float trust[SP_WINDOW_PIXELS];
    assert_true(sp_align_trust(&t, from, &warp, trust) > 0.99f);
    const float mean = sp_align_trust(&t, to, &warp, trust);
    double left = 0, right = 0;
    for (int i = 0; i < SP_WINDOW_PIXELS; i++)
        *(i % SP_WINDOW > SP_WINDOW / 2 + 3 ? &right : &left) += (double)trust[i];
    left /= SP_WINDOW * (SP_WINDOW / 2 + 4);
    right /= SP_WINDOW * (SP_WINDOW / 2 - 3);
    assert_true(right < 0.3 && left > 2 * right && (double)mean > right && (double)mean < 1);
    /* A template that leaves them out is pulled less. */
    uint8_t cut[SP_CUT * SP_CUT];
    SpTemplate rest;
    sp_patch_cut(from, 60, 50, cut);
    assert_true(sp_template_make(cut, 2, trust, &rest));
    SpWarp all = warp, some = warp;
    assert_true(sp_align(&t, to, &anywhere, 20, &all) && sp_align(&rest, to, &anywhere, 20, &some));
    const double at[] = {60, 50};
    assert_true(distance(&some, at) < 0.3 && distance(&some, at) < 0.6 * distance(&all, at));
    release(from);
    release(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_halves_down_to_64_pixels),
        cmocka_unit_test(a_constant_stays_constant),
        cmocka_unit_test(gray_is_luma),
        cmocka_unit_test(a_ramp_keeps_its_place),
        cmocka_unit_test(samples_are_bilinear_and_the_border_goes_on),
        cmocka_unit_test(a_shift_is_found_to_hundredths_of_a_pixel),
        cmocka_unit_test(turning_and_zoom_are_found),
        cmocka_unit_test(a_place_several_pixels_off_is_found),
        cmocka_unit_test(light_changes_nothing),
        cmocka_unit_test(a_patch_without_texture_is_refused),
        cmocka_unit_test(the_prior_decides_what_the_texture_does_not),
        cmocka_unit_test(nothing_is_read_beyond_the_border),
        cmocka_unit_test(what_the_stack_holds_changes_nothing),
        cmocka_unit_test(what_covers_half_of_a_patch_gets_no_trust),
    };
    return cmocka_run_group_tests_name("align", tests, NULL, NULL);
}
