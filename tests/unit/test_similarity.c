/* Similarities: exact recovery, what is far off, and pairs that leave something open. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "geometry/camera.h"
#include "geometry/similarity.h"

enum { PAIRS = 600 };

static SpPointPair pairs[PAIRS];
static SpWeighted work[PAIRS];
static uint64_t state_of_random;

/* -1 .. 1 */
static double uniform(void)
{
    state_of_random = state_of_random * 6364136223846793005u + 1442695040888963407u;
    return (double)(state_of_random >> 11) / 0x1p52 - 1;
}

static double normal(void)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += uniform();
    return sum / 2;
}

static SpSimilarity some_similarity(void)
{
    const double q[4] = {0.2, -0.5, 0.4, 0.7};
    SpSimilarity s = {.scale = 1.7, .translation = {0.3, -4, 2.5}};
    sp_rotation_of_quaternion(q, s.rotation);
    return s;
}

/* Points in a box of those half sides before a camera, and where `s` takes them. */
static void make_pairs(const SpSimilarity *s, double a, double b, double c)
{
    const double half[3] = {a, b, c}, centre[3] = {0.5, -0.2, 5};
    state_of_random = 7;
    for (int n = 0; n < PAIRS; n++) {
        for (int i = 0; i < 3; i++)
            pairs[n].x[i] = centre[i] + half[i] * uniform();
        sp_similarity_apply(s, pairs[n].x, pairs[n].y);
        pairs[n].weight = 0.55 + 0.4 * uniform();
        pairs[n].unit = 5;
    }
}

static double angle_between(const double a[9], const double b[9])
{
    double trace = 0;
    for (int i = 0; i < 9; i++)
        trace += a[i] * b[i];
    return acos(fmin(1, fmax(-1, (trace - 1) / 2)));
}

static double turn_of(const SpSimilarity *s)
{
    return angle_between(s->rotation, sp_similarity_identity().rotation);
}

static void assert_similar(const SpSimilarity *found, const SpSimilarity *expected,
                           double tolerance)
{
    assert_true(fabs(found->scale / expected->scale - 1) <= tolerance);
    for (int i = 0; i < 9; i++)
        assert_true(fabs(found->rotation[i] - expected->rotation[i]) <= tolerance);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(found->translation[i] - expected->translation[i]) <= 10 * tolerance);
}

static void assert_rotation(const double r[9])
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const double dot =
                r[3 * i] * r[3 * j] + r[3 * i + 1] * r[3 * j + 1] + r[3 * i + 2] * r[3 * j + 2];
            assert_true(fabs(dot - (i == j)) < 1e-9);
        }
    const double det = r[0] * (r[4] * r[8] - r[5] * r[7]) - r[1] * (r[3] * r[8] - r[5] * r[6]) +
                       r[2] * (r[3] * r[7] - r[4] * r[6]);
    assert_true(fabs(det - 1) < 1e-9);
}

static SpSimilarity fit(void)
{
    SpSimilarity found;
    assert_true(sp_similarity_fit(pairs, PAIRS, work, &found));
    assert_rotation(found.rotation);
    return found;
}

/* How far the found similarity brings x from y, at most. */
static double worst_distance(const SpSimilarity *s)
{
    double worst = 0;
    for (int n = 0; n < PAIRS; n++) {
        double at[3];
        sp_similarity_apply(s, pairs[n].x, at);
        for (int i = 0; i < 3; i++)
            worst = fmax(worst, fabs(at[i] - pairs[n].y[i]));
    }
    return worst;
}

static void exact_pairs_give_the_similarity(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity();
    make_pairs(&truth, 2, 1, 3);
    const SpSimilarity found = fit();
    assert_similar(&found, &truth, 1e-10);
}

static void mirrored_points_give_a_rotation(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity();
    make_pairs(&truth, 2, 1, 3);
    for (int n = 0; n < PAIRS; n++)
        pairs[n].y[0] = -pairs[n].y[0];
    fit(); /* which asserts it */
}

static void nothing_moves_where_nothing_moved(void **state)
{
    (void)state;
    const SpSimilarity identity = sp_similarity_identity();
    make_pairs(&identity, 2, 1, 3);
    const SpSimilarity found = fit();
    assert_similar(&found, &identity, 1e-12);
}

static void a_quarter_far_off_changes_little(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity();
    for (int side = 0; side < 2; side++) {
        make_pairs(&truth, 2, 1, 3);
        for (int n = 0; n < PAIRS; n++) {
            const bool off = uniform() < -0.5;
            double *at = side ? pairs[n].y : pairs[n].x;
            for (int i = 0; i < 3; i++) {
                pairs[n].y[i] += 0.005 * normal();
                at[i] += !off ? 0 : i == 1 ? 6 : 4 * uniform();
            }
        }
        const SpSimilarity found = fit();
        assert_similar(&found, &truth, 5e-3);
    }
}

/* One pair that is a thousand times too far has no more say than one that is ten times. */
static void one_very_far_off_has_a_bounded_say(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity();
    SpSimilarity found[2];
    for (int k = 0; k < 2; k++) {
        make_pairs(&truth, 2, 1, 3);
        for (int n = 0; n < PAIRS; n++)
            for (int i = 0; i < 3; i++)
                pairs[n].y[i] += 0.01 * normal();
        pairs[5].y[2] += k ? 1e6 : 30;
        found[k] = fit();
    }
    assert_similar(&found[1], &found[0], 1e-4);
}

/* The least-squares scale of x to y shrinks with the noise of x, seam after seam. */
static void noise_does_not_shrink_the_scale(void **state)
{
    (void)state;
    const SpSimilarity identity = sp_similarity_identity();
    double product = 1;
    make_pairs(&identity, 1, 1, 1);
    for (int n = 0; n < PAIRS; n++)
        for (int i = 0; i < 3; i++) {
            pairs[n].x[i] += 0.1 * normal();
            pairs[n].y[i] += 0.1 * normal();
        }
    product *= fit().scale;
    for (int n = 0; n < PAIRS; n++)
        for (int i = 0; i < 3; i++) {
            const double swap = pairs[n].x[i];
            pairs[n].x[i] = pairs[n].y[i];
            pairs[n].y[i] = swap;
        }
    product *= fit().scale;
    assert_true(fabs(product - 1) < 1e-3); /* there and back; least squares: 0.95 */
}

static void weights_count(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity(), other = sp_similarity_identity();
    make_pairs(&truth, 2, 1, 3);
    for (int n = 0; n < PAIRS; n++)
        if (n % 4) { /* three quarters say something else, and hardly count */
            sp_similarity_apply(&other, pairs[n].x, pairs[n].y);
            pairs[n].weight = 1e-3;
        }
    const SpSimilarity found = fit();
    assert_similar(&found, &truth, 1e-2);
}

static void what_has_no_weight_or_is_not_finite_is_left_out(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity();
    make_pairs(&truth, 2, 1, 3);
    for (int n = 0; n < 100; n++)
        pairs[n].weight = 0, pairs[n].y[0] = 1e30;
    pairs[100].x[1] = NAN;
    pairs[101].y[2] = INFINITY;
    pairs[102].unit = 0;
    pairs[103].weight = NAN;
    const SpSimilarity found = fit();
    assert_similar(&found, &truth, 1e-10);
}

static void a_plane_leaves_nothing_open(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity();
    make_pairs(&truth, 2, 1, 0);
    const SpSimilarity found = fit();
    assert_similar(&found, &truth, 1e-8);
}

/* The turn about the line is open: what is found brings the points together with the least turn. */
static void a_line_takes_the_smallest_turn(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity();
    make_pairs(&truth, 0, 1, 0);
    const SpSimilarity found = fit();
    assert_true(worst_distance(&found) < 1e-8);
    assert_true(fabs(found.scale - truth.scale) < 1e-9);
    assert_true(turn_of(&found) <= turn_of(&truth) + 1e-9);
    const double along = truth.rotation[4]; /* of the line's direction y, before and after */
    assert_true(fabs(turn_of(&found) - acos(along)) < 1e-7);
}

static void a_line_turned_round_is_turned_back(void **state)
{
    (void)state;
    const SpSimilarity half = {.scale = 1, .rotation = {1, 0, 0, 0, -1, 0, 0, 0, -1}};
    make_pairs(&half, 0, 1, 0);
    const SpSimilarity found = fit();
    assert_true(worst_distance(&found) < 1e-8);
}

static void one_place_is_moved_alone(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity();
    make_pairs(&truth, 0, 0, 0);
    const SpSimilarity found = fit();
    assert_true(found.scale == 1 && turn_of(&found) == 0 && worst_distance(&found) < 1e-9);
}

static void nothing_to_go_by_is_said(void **state)
{
    (void)state;
    const SpSimilarity truth = some_similarity(), identity = sp_similarity_identity();
    SpSimilarity found;
    make_pairs(&truth, 2, 1, 3);
    assert_false(sp_similarity_fit(pairs, 0, work, &found));
    assert_memory_equal(&found, &identity, sizeof found);
    for (int n = 0; n < PAIRS; n++)
        pairs[n].weight = 0;
    assert_false(sp_similarity_fit(pairs, PAIRS, work, &found));
    assert_memory_equal(&found, &identity, sizeof found);
}

static void the_median_follows_the_weights(void **state)
{
    (void)state;
    SpWeighted v[] = {{5, 1}, {1, 1}, {3, 1}}, heavy[] = {{5, 3}, {1, 1}, {3, 1}};
    SpWeighted light[] = {{-9, 0}, {7, 0.5}}, none[] = {{1, 0}, {2, 0}};
    assert_true(sp_weighted_median(v, 3) == 3);
    assert_true(sp_weighted_median(heavy, 3) == 5);
    assert_true(sp_weighted_median(light, 2) == 7);
    assert_true(isnan(sp_weighted_median(none, 2)) && isnan(sp_weighted_median(none, 0)));
}

/* A camera that a similarity moves sees the moved point where it saw the point, scaled. */
static void poses_move_as_points_do(void **state)
{
    (void)state;
    const SpSimilarity s = some_similarity();
    const double q[4] = {0.1, 0.3, -0.2, 0.9}, t[3] = {1, 2, -0.5}, x[3] = {0.7, -1.1, 6};
    float c2w[16], moved[16], w2c[16], before[3] = {0.7f, -1.1f, 6}, after[3];
    double y[3];
    sp_c2w_of_quaternion(q, t, c2w);
    sp_similarity_pose(&s, c2w, moved);
    sp_similarity_apply(&s, x, y);
    for (int i = 0; i < 3; i++)
        after[i] = (float)y[i];
    sp_pose_invert(c2w, w2c);
    sp_pose_apply(w2c, before, before);
    sp_pose_invert(moved, w2c);
    sp_pose_apply(w2c, after, after);
    for (int i = 0; i < 3; i++)
        assert_true(fabs((double)after[i] - s.scale * (double)before[i]) < 1e-4);
    const SpSimilarity between = sp_similarity_between(c2w, moved, s.scale);
    assert_similar(&between, &s, 1e-6);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_pairs_give_the_similarity),
        cmocka_unit_test(mirrored_points_give_a_rotation),
        cmocka_unit_test(nothing_moves_where_nothing_moved),
        cmocka_unit_test(a_quarter_far_off_changes_little),
        cmocka_unit_test(one_very_far_off_has_a_bounded_say),
        cmocka_unit_test(noise_does_not_shrink_the_scale),
        cmocka_unit_test(weights_count),
        cmocka_unit_test(what_has_no_weight_or_is_not_finite_is_left_out),
        cmocka_unit_test(a_plane_leaves_nothing_open),
        cmocka_unit_test(a_line_takes_the_smallest_turn),
        cmocka_unit_test(a_line_turned_round_is_turned_back),
        cmocka_unit_test(one_place_is_moved_alone),
        cmocka_unit_test(nothing_to_go_by_is_said),
        cmocka_unit_test(the_median_follows_the_weights),
        cmocka_unit_test(poses_move_as_points_do),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
