/* Shapes and colours. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "output/palette.h"
#include "support/picture.h"
#include "support/scratch.h"

static const SpColour WHITE = {{255, 255, 255}}, RED = {{255, 0, 0}};

static void discs_have_their_area_and_centre(void **state)
{
    (void)state;
    for (int k = 0; k < 10; k++) {
        const float x = 20 + 0.1f * (float)k, y = 15.7f - 0.07f * (float)k, r = 2 + 0.4f * (float)k;
        SpImage image = black(32, 40);
        sp_draw_disc(&image, x, y, r, WHITE, 1);
        const Spot spot = centre_of(&image, brightness);
        assert_true(fabs(spot.weight / 765 / (M_PI * (double)r * (double)r) - 1) < 0.03);
        assert_true(fabs(spot.x - (double)x) < 0.03 && fabs(spot.y - (double)y) < 0.03);
        free(image.rgb);
    }
}

static void rings_are_hollow(void **state)
{
    (void)state;
    SpImage image = black(40, 40);
    sp_draw_ring(&image, 20, 20, 8, 3, RED, 1);
    assert_int_equal(image.rgb[3 * (20 * 40 + 20)], 0);
    assert_int_equal(image.rgb[3 * (20 * 40 + 28)], 255);
    assert_int_equal(image.rgb[3 * (20 * 40 + 28) + 1], 0);
    const Spot spot = centre_of(&image, brightness);
    assert_true(fabs(spot.weight / 255 / (M_PI * 2 * 8 * 3) - 1) < 0.02);
    assert_true(fabs(spot.x - 20) < 1e-6 && fabs(spot.y - 20) < 1e-6);
    free(image.rgb);
}

static void nothing_is_drawn_outside(void **state)
{
    (void)state;
    static const float far[] = {-1e30f, -50, 50, 3e9f, INFINITY, NAN};
    SpImage image = black(20, 30), small = black(4, 4);
    uint8_t *mask = allocate(20 * 30);
    for (int i = 0; i < 6; i++) {
        const SpLinePoint line[] = {{far[i], far[i], 1}, {far[i] + 1, far[i], 1}};
        sp_draw_disc(&image, far[i], 10, 5, WHITE, 1);
        sp_draw_ring(&image, 10, far[i], 5, 2, WHITE, 1);
        sp_draw_line(&image, mask, line, 2, 3, WHITE);
    }
    memset(small.rgb, 255, 3 * 4 * 4);
    sp_draw_image(&image, -4, 0, &small);
    sp_draw_image(&image, 30, 18, &small);
    sp_draw_box(&image, -5, -5, 5, 100, WHITE);
    sp_draw_text(&image, 31, 3, 2, "0.5", WHITE);
    for (int i = 0; i < 3 * 20 * 30; i++)
        assert_int_equal(image.rgb[i], 0);
    sp_draw_image(&image, 28, 18, &small); /* a corner of it fits */
    assert_true(centre_of(&image, brightness).weight / 765 == 4);
    const SpLinePoint through[] = {{-1e6f, 10, 1}, {1e6f, 10, 1}};
    sp_draw_line(&image, mask, through, 2, 3, RED);
    assert_int_equal(image.rgb[3 * (10 * 30 + 15)], 255);
    free(image.rgb);
    free(small.rgb);
    free(mask);
}

static void lines_never_cover_themselves_twice(void **state)
{
    (void)state;
    const SpLinePoint corner[] = {{5, 5, 0.5f}, {25, 5, 0.5f}, {25, 25, 0.5f}, {5, 5, 0.5f}};
    SpImage image = black(32, 32);
    uint8_t *mask = allocate(32 * 32);
    sp_draw_line(&image, mask, corner, 4, 4, WHITE);
    for (int i = 0; i < 32 * 32; i++) {
        assert_true(image.rgb[3 * i] <= 128);
        assert_int_equal(mask[i], 0);
    }
    assert_in_range(image.rgb[3 * (5 * 32 + 25)], 127, 128); /* where two segments meet */
    assert_in_range(image.rgb[3 * (15 * 32 + 15)], 127, 128);
    const SpLinePoint fading[] = {{2, 28, 1}, {30, 28, 0}};
    sp_draw_line(&image, mask, fading, 2, 1, RED);
    assert_in_range(image.rgb[3 * (28 * 32 + 9)], 185, 195); /* a quarter of the way */
    free(image.rgb);
    free(mask);
}

static void text_is_read_by_its_dots(void **state)
{
    (void)state;
    SpImage image = black(16, 40);
    sp_draw_text(&image, 2, 1, 2, "1-", WHITE);
    assert_int_equal(image.rgb[3 * (1 * 40 + 6)], 255); /* the tip of 1 */
    assert_int_equal(image.rgb[3 * (1 * 40 + 2)], 0);
    assert_int_equal(image.rgb[3 * (7 * 40 + 14)], 255); /* the dash, 6 dots on */
    assert_int_equal(sp_text_width(2, "1-"), 22);
    assert_int_equal(sp_text_width(2, ""), 0);
    assert_int_equal(sp_text_height(2), 14);
    free(image.rgb);
}

/* Colours ---------------------------------------------------------------------------------------*/

static int difference(SpColour a, SpColour b)
{
    return abs(a.rgb[0] - b.rgb[0]) + abs(a.rgb[1] - b.rgb[1]) + abs(a.rgb[2] - b.rgb[2]);
}

/* Tracks given in any order: sorted by start row, colours go round in small steps. */
static void colours_follow_the_start_row(void **state)
{
    (void)state;
    enum { TRACKS = 100 };
    float queries[3 * TRACKS];
    SpColour colours[TRACKS], sorted[TRACKS];
    for (int n = 0; n < TRACKS; n++) {
        const int place = n * 37 % TRACKS; /* the n-th track is the place-th of a 10 x 10 grid */
        queries[3 * n] = (float)(n % 3);
        queries[3 * n + 1] = (float)(place % 10);
        queries[3 * n + 2] = (float)(place / 10);
    }
    assert_ok(sp_palette_tracks(queries, TRACKS, colours));
    for (int n = 0; n < TRACKS; n++)
        sorted[n * 37 % TRACKS] = colours[n];
    for (int n = 1; n < TRACKS; n++)
        assert_in_range(difference(sorted[n - 1], sorted[n]), 1, 30);
    assert_true(difference(sorted[0], sorted[TRACKS - 1]) > 200);
    assert_ok(sp_palette_tracks(queries, 1, colours));
    assert_true(colours[0].rgb[0] == 255);
}

static void inferno_is_matplotlibs(void **state)
{
    (void)state;
    static const struct {
        float at;
        SpColour colour;
    } known[] = {{0, {{0, 0, 4}}},       {0.25f, {{87, 16, 110}}}, {0.5f, {{188, 55, 84}}},
                 {1, {{252, 255, 164}}}, {7, {{252, 255, 164}}},   {-1, {{0, 0, 4}}},
                 {NAN, {{0, 0, 4}}}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(difference(sp_palette_inferno(known[i].at), known[i].colour) <= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(discs_have_their_area_and_centre),
        cmocka_unit_test(rings_are_hollow),
        cmocka_unit_test(nothing_is_drawn_outside),
        cmocka_unit_test(lines_never_cover_themselves_twice),
        cmocka_unit_test(text_is_read_by_its_dots),
        cmocka_unit_test(colours_follow_the_start_row),
        cmocka_unit_test(inferno_is_matplotlibs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
