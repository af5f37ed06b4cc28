/* Points found again on the pixels of whole made clips. */
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "refine/refine.h"
#include "support/picture.h"
#include "support/scratch.h"
#include "support/texture.h"

enum { FRAMES = 10, MIDDLE = 5, SIDE = 6, POINTS = SIDE * SIDE };

/* What a clip is to be like; zeros: a still picture without noise. */
typedef struct Look {
    int64_t height, width;
    double shift[2], turn, zoom; /* in pixels, degrees and parts a frame */
    double gain, offset;         /* that light changes by in a frame */
    double noise;                /* standard deviation in gray levels */
    double off[2];               /* how far the network is off: from, to, pixels */
    int covered[2];              /* from, before: frames in which a screen covers the middle */
    uint32_t seed;
} Look;

/* A square in the middle. */
static bool is_behind_screen(const Look *look, double x, double y, double margin)
{
    const double side = (double)look->height / 4 + margin;
    return fabs(x - (double)look->width / 2) < side && fabs(y - (double)look->height / 2) < side;
}

typedef struct Made {
    Look look;
    Pose pose[FRAMES];
    uint8_t *rgb[FRAMES];
    float queries[POINTS][3];
    float truth[FRAMES][POINTS][2], xy[FRAMES][POINTS][2], before[FRAMES][POINTS][2];
    float visibility[FRAMES][POINTS], confidence[FRAMES][POINTS], sigma[FRAMES][POINTS];
} Made;

static void render(Made *made, int t, uint32_t *state)
{
    const Look *look = &made->look;
    const Texture texture = texture_of(look->seed), screen = texture_of(look->seed + 1);
    const bool is_covered = t >= look->covered[0] && t < look->covered[1];
    uint8_t *at = made->rgb[t] = allocate((size_t)(3 * look->height * look->width));
    for (int64_t i = 0; i < look->height * look->width; i++, at += 3) {
        const double x = (double)(i % look->width), y = (double)(i / look->width);
        double value = is_covered && is_behind_screen(look, x, y, 0)
                           ? texture_at(&screen, x, y)
                           : shown(&texture, &made->pose[t], x, y);
        value = value * (1 + look->gain * t) + look->offset * t;
        for (int k = 0; k < 12 && look->noise > 0; k++) /* a sum of 12 has variance 1 */
            value += look->noise * (draw(state) - 0.5);
        memset(at, (int)fmin(fmax(value + 0.5, 0), 255), 3);
    }
}

/* Half of the queries lie in frame 0, the others in the middle. */
static Made *make(Look look)
{
    Made *made = allocate(sizeof *made);
    uint32_t state = look.seed;
    made->look = look;
    for (int t = 0; t < FRAMES; t++) {
        made->pose[t] =
            turned(look.turn * t, 1 + look.zoom * t, look.shift[0] * t, look.shift[1] * t);
        render(made, t, &state);
    }
    for (int n = 0; n < POINTS; n++) {
        const int t = n % 2 ? MIDDLE : 0;
        const double at[] = {
            ((double)(n % SIDE) + 1.5 + 0.1 * draw(&state)) * (double)look.width / (SIDE + 2),
            ((double)(n / SIDE) + 1.5 + 0.1 * draw(&state)) * (double)look.height / (SIDE + 2)};
        double from[2];
        place_back(&made->pose[t], at, from);
        made->queries[n][0] = (float)t;
        made->queries[n][1] = (float)at[0];
        made->queries[n][2] = (float)at[1];
        for (int u = 0; u < FRAMES; u++) {
            double to[2];
            place(&made->pose[u], from, to);
            const double angle = 2 * M_PI * draw(&state);
            const double off = look.off[0] + (look.off[1] - look.off[0]) * draw(&state);
            made->truth[u][n][0] = (float)to[0];
            made->truth[u][n][1] = (float)to[1];
            made->xy[u][n][0] = (float)(to[0] + off * cos(angle));
            made->xy[u][n][1] = (float)(to[1] + off * sin(angle));
            made->visibility[u][n] = 0.9f;
            made->confidence[u][n] = 0.7f; /* of which 1.5 pixels are expected */
        }
    }
    memcpy(made->before, made->xy, sizeof made->xy);
    return made;
}

static void made_free(Made *made)
{
    for (int t = 0; t < FRAMES; t++)
        free(made->rgb[t]);
    free(made);
}

static void refine(Made *made, int threads)
{
    SpRefiner *refiner;
    const SpRefineTracks tracks = {FRAMES,
                                   POINTS,
                                   made->look.height,
                                   made->look.width,
                                   made->queries[0],
                                   made->xy[0][0],
                                   made->visibility[0],
                                   made->confidence[0],
                                   made->sigma[0],
                                   threads,
                                   0};
    assert_ok(sp_refiner_open(&tracks, &refiner));
    assert_int_equal(sp_refiner_cut_frames(refiner), MIDDLE + 1);
    for (int t = 0; t <= MIDDLE; t++)
        sp_refiner_cut(refiner, t, made->rgb[t]);
    for (int t = 0; t < FRAMES; t++)
        sp_refiner_frame(refiner, t, made->rgb[t]);
    sp_refiner_close(refiner);
}

static double error_of(const Made *made, int t, int n)
{
    return hypot((double)(made->xy[t][n][0] - made->truth[t][n][0]),
                 (double)(made->xy[t][n][1] - made->truth[t][n][1]));
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How a clip came out, over all points but in their queries' frames. */
typedef struct Outcome {
    double found, median, worst; /* share; pixels, of those that are found */
    double sigma, within;        /* median, and the share of coordinates within two of them */
} Outcome;

static Outcome outcome_of(const Made *made)
{
    enum { ALL = (FRAMES - 1) * POINTS };
    double *error = allocate(2 * ALL * sizeof *error), *sigma = error + ALL;
    int found = 0, within = 0;
    for (int t = 0; t < FRAMES; t++)
        for (int n = 0; n < POINTS; n++) {
            if (made->queries[n][0] == (float)t || !isfinite(made->sigma[t][n]))
                continue;
            error[found] = error_of(made, t, n);
            sigma[found++] = (double)made->sigma[t][n];
            for (int k = 0; k < 2; k++)
                within += fabsf(made->xy[t][n][k] - made->truth[t][n][k]) < 2 * made->sigma[t][n];
        }
    assert_true(found > 0);
    qsort(error, (size_t)found, sizeof *error, ascending);
    qsort(sigma, (size_t)found, sizeof *sigma, ascending);
    const Outcome outcome = {(double)found / ALL, error[found / 2], error[found - 1],
                             sigma[found / 2], (double)within / (2 * found)};
    free(error);
    return outcome;
}

static const Look plain = {
    .height = 256, .width = 320, .shift = {1.37, -0.81}, .off = {1, 2}, .seed = 5};

static void refined(Look look, double least_found, double most_median)
{
    Made *made = make(look);
    refine(made, 2);
    const Outcome outcome = outcome_of(made);
    assert_true(outcome.found >= least_found && outcome.median < most_median);
    made_free(made);
}

static void moved_points_are_found_to_hundredths_of_a_pixel(void **state)
{
    (void)state;
    refined(plain, 1, 0.03);
    Look look = plain;
    look.shift[0] = 6.6;
    look.shift[1] = 3.3;
    look.seed = 6;
    refined(look, 0.95, 0.03);
}

static void large_frames_are_used_in_full(void **state)
{
    (void)state;
    Look look = plain;
    look.height = 512;
    look.width = 640;
    look.off[0] = 2;
    look.off[1] = 4;
    refined(look, 0.99, 0.03);
}

static void turning_and_zooming_points_are_found(void **state)
{
    (void)state;
    Look look = plain;
    look.shift[0] = 4;
    look.turn = 1.5;
    look.zoom = 0.01;
    refined(look, 0.95, 0.03);
}

static void points_are_found_in_changing_light(void **state)
{
    (void)state;
    Look look = plain;
    look.gain = -0.05;
    look.offset = 5;
    refined(look, 1, 0.03);
}

static size_t allocated(void)
{
    const struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
}

/* What is planned is what is taken, and no less. */
static void its_memory_is_as_planned(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{16, 16}, {256, 320}, {1080, 1920}};
    static float queries[3 * POINTS], values[2 * POINTS];
    if (allocated() == 0) /* the sanitizers' allocator keeps no count */
        skip();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t height = sizes[i][0], width = sizes[i][1];
        const SpRefineTracks tracks = {1,      POINTS, height, width, queries, values,
                                       values, values, values, 3,     0};
        SpRefiner *refiner;
        const size_t before = allocated();
        assert_ok(sp_refiner_open(&tracks, &refiner));
        const size_t taken = allocated() - before;
        const size_t planned = sp_refiner_bytes(POINTS, height, width, 3);
        sp_refiner_close(refiner);
        assert_true(taken < planned + 4096 && (double)planned < 1.05 * (double)taken + 8192);
    }
}

static void the_query_stays_where_it_is(void **state)
{
    (void)state;
    Made *made = make(plain);
    refine(made, 1);
    for (int n = 0; n < POINTS; n++) {
        const int t = (int)made->queries[n][0];
        assert_memory_equal(made->xy[t][n], made->queries[n] + 1, 2 * sizeof(float));
        assert_true(made->sigma[t][n] == 0);
    }
    made_free(made);
}

/* What a screen covers, and the network calls hidden, stays where the network has it. */
static void covered_points_are_not_moved(void **state)
{
    (void)state;
    Look look = plain;
    look.covered[0] = 6;
    look.covered[1] = 9;
    Made *made = make(look);
    int covered = 0, after = 0, found = 0;
    for (int t = 6; t < 9; t++)
        for (int n = 0; n < POINTS; n++)
            if (is_behind_screen(&look, (double)made->truth[t][n][0], (double)made->truth[t][n][1],
                                 0))
                made->visibility[t][n] = 0.1f;
    refine(made, 2);
    for (int n = 0; n < POINTS; n++)
        for (int t = 6; t < 9; t++)
            if (is_behind_screen(&look, (double)made->truth[t][n][0], (double)made->truth[t][n][1],
                                 -12)) {
                assert_true(isnan(made->sigma[t][n]) && made->visibility[t][n] == 0.1f);
                assert_memory_equal(made->xy[t][n], made->before[t][n], 2 * sizeof(float));
                covered++;
                after += t == 8;
                found += t == 8 && error_of(made, 9, n) < 0.3;
            }
    assert_true(covered >= 12 && found == after); /* and behind the screen they are found again */
    made_free(made);
}

/* The network calls points hidden that are plainly there. */
static void points_that_are_there_become_visible(void **state)
{
    (void)state;
    Made *made = make(plain);
    for (int t = 3; t < FRAMES; t++)
        for (int n = 0; n < POINTS; n += 3)
            made->visibility[t][n] = 0.2f;
    refine(made, 2);
    for (int t = 0; t < FRAMES; t++)
        for (int n = 0; n < POINTS; n++)
            assert_true(made->visibility[t][n] > 0.5f && error_of(made, t, n) < 0.5);
    made_free(made);
}

/* In so much noise a patch agrees well enough for what the network sees, not for what it does not.
 */
static void hidden_points_must_agree_more(void **state)
{
    (void)state;
    Look look = plain;
    look.noise = 20;
    double found[2];
    for (int hidden = 0; hidden < 2; hidden++) {
        Made *made = make(look);
        for (int t = 0; t < FRAMES; t++)
            for (int n = 0; n < POINTS; n++)
                made->visibility[t][n] = hidden ? 0.2f : 0.9f;
        refine(made, 2);
        found[hidden] = outcome_of(made).found;
        made_free(made);
    }
    assert_true(found[0] > 0.8 && found[1] < 0.6);
}

/* In one frame the network is off by a quarter of the picture. */
static void points_that_the_network_loses_are_found(void **state)
{
    (void)state;
    Made *made = make(plain);
    for (int n = 0; n < POINTS; n++) {
        made->xy[7][n][0] = made->truth[7][n][0] + (n % 4 < 2 ? 60.f : -60.f);
        made->visibility[7][n] = 0.3f;
        made->confidence[7][n] = 0.1f;
    }
    refine(made, 2);
    int found = 0;
    for (int n = 0; n < POINTS; n++)
        found += error_of(made, 7, n) < 0.2 && made->visibility[7][n] > 0.5f;
    assert_true(found >= POINTS * 3 / 4);
    made_free(made);
}

static void what_is_nowhere_stays_so(void **state)
{
    (void)state;
    Made *made = make(plain);
    for (int t = 0; t < MIDDLE; t++)
        for (int n = 1; n < POINTS; n += 2)
            made->xy[t][n][0] = made->xy[t][n][1] = NAN;
    refine(made, 2);
    for (int t = 0; t < FRAMES; t++)
        for (int n = 0; n < POINTS; n++) {
            const bool nowhere = n % 2 && t < MIDDLE;
            assert_true(isnan(made->xy[t][n][0]) == nowhere && isnan(made->sigma[t][n]) == nowhere);
            assert_true(nowhere || error_of(made, t, n) < 0.5);
        }
    made_free(made);
}

static void the_number_of_threads_changes_no_byte(void **state)
{
    (void)state;
    Look look = plain;
    look.noise = 5;
    Made *first = make(look);
    refine(first, 1);
    for (int threads = 2; threads <= 4; threads++) {
        Made *other = make(look);
        refine(other, threads);
        assert_memory_equal(other->xy, first->xy, sizeof first->xy);
        assert_memory_equal(other->sigma, first->sigma, sizeof first->sigma);
        assert_memory_equal(other->visibility, first->visibility, sizeof first->visibility);
        made_free(other);
    }
    made_free(first);
}

/* Sigma is for what rendered clips do to patches, of which noise is the least: errors stay well
 * within, and both grow with the noise. */
static void sigma_follows_the_noise(void **state)
{
    (void)state;
    Outcome outcome[2];
    for (int i = 0; i < 2; i++) {
        Look look = plain;
        look.noise = i ? 16 : 4;
        Made *made = make(look);
        for (int t = 0; t < FRAMES; t++) /* sure enough that the noise alone tells */
            for (int n = 0; n < POINTS; n++)
                made->confidence[t][n] = 0.95f;
        refine(made, 2);
        outcome[i] = outcome_of(made);
        made_free(made);
        assert_true(outcome[i].within > 0.98);
        assert_true(outcome[i].median > 0.1 * outcome[i].sigma);
    }
    assert_true(outcome[1].sigma > 2 * outcome[0].sigma && outcome[1].median > outcome[0].median);
}

static void a_wall_without_texture_moves_nothing(void **state)
{
    (void)state;
    Made *made = make(plain);
    for (int t = 0; t < FRAMES; t++)
        memset(made->rgb[t], 120, (size_t)(3 * plain.height * plain.width));
    refine(made, 2);
    for (int t = 0; t < FRAMES; t++)
        for (int n = 0; n < POINTS; n++)
            if (made->queries[n][0] != (float)t) {
                assert_memory_equal(made->xy[t][n], made->before[t][n], 2 * sizeof(float));
                assert_true(isnan(made->sigma[t][n]) && made->visibility[t][n] == 0.9f);
            }
    made_free(made);
}

/* Stripes say where across them a point is, the network where along them. */
static void along_an_edge_the_network_is_believed(void **state)
{
    (void)state;
    Made *made = make(plain);
    for (int t = 0; t < FRAMES; t++)
        for (int64_t i = 0; i < plain.height * plain.width; i++)
            memset(made->rgb[t] + 3 * i,
                   (int)lrint(128 + 80 * sin(((double)(i % plain.width) - plain.shift[0] * t) / 6)),
                   3);
    for (int t = 0; t < FRAMES; t++)
        for (int n = 0; n < POINTS; n++)
            made->visibility[t][n] = 0.2f;
    refine(made, 2);
    int found = 0;
    for (int t = 0; t < FRAMES; t++)
        for (int n = 0; n < POINTS; n++) {
            const bool is_found = made->visibility[t][n] > 0.5f;
            assert_true(is_found == isfinite(made->sigma[t][n]));
            if (!is_found || made->queries[n][0] == (float)t)
                continue;
            assert_true(fabsf(made->xy[t][n][0] - made->truth[t][n][0]) < 0.2f);
            assert_true(fabsf(made->xy[t][n][1] - made->before[t][n][1]) < 0.01f);
            assert_true(made->sigma[t][n] > 0.3f);
            found++;
        }
    assert_true(found > FRAMES * POINTS / 2);
    made_free(made);
}

/* Of frames of any size, down to the smallest, with points at and beyond their borders. */
static void frames_of_any_size_are_taken(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{2, 2}, {2, 40}, {40, 2}, {5, 300}, {300, 5}, {64, 63}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Look look = plain;
        look.height = sizes[i][0];
        look.width = sizes[i][1];
        Made *made = make(look);
        for (int n = 0; n < POINTS; n++) {
            made->xy[1][n][0] = -5;
            made->xy[2][n][1] = (float)look.height;
            made->xy[3][n][0] = 1e9f;
            made->xy[4][n][1] = -1e9f;
        }
        refine(made, 2);
        for (int t = 0; t < FRAMES; t++)
            for (int n = 0; n < POINTS; n++)
                assert_true(isfinite(made->xy[t][n][0]) && isfinite(made->xy[t][n][1]));
        made_free(made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved_points_are_found_to_hundredths_of_a_pixel),
        cmocka_unit_test(large_frames_are_used_in_full),
        cmocka_unit_test(turning_and_zooming_points_are_found),
        cmocka_unit_test(points_are_found_in_changing_light),
        cmocka_unit_test(its_memory_is_as_planned),
        cmocka_unit_test(the_query_stays_where_it_is),
        cmocka_unit_test(covered_points_are_not_moved),
        cmocka_unit_test(points_that_are_there_become_visible),
        cmocka_unit_test(hidden_points_must_agree_more),
        cmocka_unit_test(points_that_the_network_loses_are_found),
        cmocka_unit_test(what_is_nowhere_stays_so),
        cmocka_unit_test(the_number_of_threads_changes_no_byte),
        cmocka_unit_test(sigma_follows_the_noise),
        cmocka_unit_test(a_wall_without_texture_moves_nothing),
        cmocka_unit_test(along_an_edge_the_network_is_believed),
        cmocka_unit_test(frames_of_any_size_are_taken),
    };
    return cmocka_run_group_tests_name("refine", tests, NULL, NULL);
}
