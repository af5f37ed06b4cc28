/* Chunks of a made front: which frames they cover, how they are aligned, and what comes out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "geometry/camera.h"
#include "geometry/similarity.h"
#include "pipeline/chunks.h"
#include "support/picture.h"
#include "support/scratch.h"

enum { HEIGHT = 24, WIDTH = 32, AREA = HEIGHT * WIDTH, MAX = 200 };

/* The ranges ----------------------------------------------------------------------------------- */

static void chunks_cover_every_frame_and_the_last_is_short(void **state)
{
    (void)state;
    static const struct {
        int64_t frames, chunk, overlap, count, last;
    } cases[] = {{160, 60, 30, 5, 40}, {150, 60, 30, 4, 60}, {151, 60, 30, 5, 31},
                 {61, 60, 30, 2, 31},  {60, 60, 30, 1, 60},  {7, 3, 2, 5, 3},
                 {7, 4, 1, 2, 4},      {8, 4, 1, 3, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const SpChunking chunking = {cases[i].chunk, cases[i].overlap};
        int64_t last;
        assert_int_equal(sp_chunking_count(&chunking, cases[i].frames, &last), cases[i].count);
        assert_int_equal(last, cases[i].last);
        assert_true(cases[i].count == 1 || last > chunking.overlap);
    }
}

static SpChunking chunking_of(SpTrackerMode mode, int64_t chunk, int64_t overlap, int64_t frames)
{
    const SpJob job = {.mode = mode, .front_chunk = chunk, .front_overlap = overlap};
    return sp_chunking_of(&job, frames);
}

static void chunks_begin_above_the_modes_frames(void **state)
{
    (void)state;
    const SpTrackerMode modes[] = {SP_TRACKER_OFFLINE, SP_TRACKER_ONLINE};
    const int64_t limits[] = {80, 300};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(chunking_of(modes[i], -1, 0, limits[i]).frames, 0);
        const SpChunking c = chunking_of(modes[i], -1, 0, limits[i] + 1);
        assert_true(c.frames == 60 && c.overlap == 30);
        assert_int_equal(chunking_of(modes[i], 0, 0, 100000).frames, 0);
        assert_int_equal(chunking_of(modes[i], 20, 0, 20).frames, 0);
        assert_int_equal(chunking_of(modes[i], 20, 0, 21).overlap, 10);
        assert_int_equal(chunking_of(modes[i], 20, 3, 21).overlap, 3);
        assert_int_equal(chunking_of(modes[i], 2, 0, 21).overlap, 1);
    }
}

/* A made front --------------------------------------------------------------------------------- */

/* Truth, and what each chunk makes of it. */
typedef struct Made {
    int64_t frames, calls, first[2 * MAX];
    bool still, blind, empty, no_trust, fails, room;
    double noise;  /* of depth, relative */
    double spoilt; /* share of the pixels of every second chunk that are far off */
} Made;

static double noise_of(int64_t chunk, int64_t i)
{
    uint64_t x = (uint64_t)(chunk * 1000003 + i) * 0x9E3779B97F4A7C15u;
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 32;
    return (double)(x >> 11) / 0x1p52 - 1;
}

static void true_camera(const Made *made, int64_t t, float c2w[16], float k[9])
{
    const double a = made->still ? 0 : made->room ? 0.4 * sin((double)t / 50) : 0.012 * (double)t;
    const double b = made->still ? 0 : made->room ? 0.2 * sin((double)t / 70) : 0.004 * (double)t;
    const double q[4] = {sin(b / 2), sin(a / 2), 0, cos(a / 2)};
    const double move[3] = {made->still  ? 0
                            : made->room ? sin((double)t / 40)
                                         : 0.02 * (double)t,
                            0, b};
    const float own[9] = {30, 0, WIDTH / 2.0f, 0, 30, HEIGHT / 2.0f, 0, 0, 1};
    sp_c2w_of_quaternion(q, move, c2w);
    memcpy(k, own, sizeof own);
}

/* Of a place in the picture, in a corner of a room: the nearer of two walls. */
static double depth_in_room(const float c2w[16], const float k[9], double u, double v)
{
    static const double wall[2][4] = {{0.25, 0.1, 1, 6}, {-0.9, 0.2, 1, 7}}; /* n . x = d */
    double nearest = INFINITY;
    float ray[3];
    sp_unproject(k, (float)u, (float)v, 1, ray);
    for (int w = 0; w < 2; w++) {
        double along = 0, beyond = wall[w][3];
        for (int i = 0; i < 3; i++) {
            beyond -= wall[w][i] * (double)c2w[4 * i + 3];
            for (int j = 0; j < 3; j++)
                along += wall[w][i] * (double)c2w[4 * i + j] * (double)ray[j];
        }
        nearest = fmin(nearest, beyond / along > 0 ? beyond / along : INFINITY);
    }
    return nearest;
}

/* Hills that move a little through the picture. */
static float true_depth(int64_t t, int64_t pixel)
{
    const double x = (double)(pixel % WIDTH), y = (double)(pixel / WIDTH);
    return (float)(4 + sin(x / 5 + (double)t / 30) + 0.8 * cos(y / 4) + x / WIDTH);
}

/* The world and the unit that chunk n makes up. */
static SpSimilarity own_world(int64_t n)
{
    const double a = 0.9 * (double)n, q[4] = {0.3 * sin(a), 0.2 * a / (1 + a), 0.1 * sin(2 * a), 1};
    SpSimilarity s = {.scale = 1 + 0.4 * sin(a), .translation = {a, -2 * sin(a), 0.5 * a}};
    sp_rotation_of_quaternion(q, s.rotation);
    return n ? s : sp_similarity_identity();
}

/* As chunk n of a network sees it: waves of 3 % that are its own, and a little flicker. */
static double room_depth(int64_t t, int64_t pixel, int64_t n)
{
    const Made made = {.room = true};
    const double x = (double)(pixel % WIDTH), y = (double)(pixel / WIDTH), phase = 2.1 * (double)n;
    float c2w[16], k[9];
    true_camera(&made, t, c2w, k);
    const double wave = 0.03 * sin(x / 4 + phase) * cos(y / 5 - phase);
    return depth_in_room(c2w, k, x, y) * (1 + wave + (t % 2 ? 0.003 : -0.003));
}

static SpStatus count(void *self, int64_t first, int64_t most, int64_t *frames)
{
    const Made *made = self;
    *frames = made->frames - first < most ? made->frames - first : most;
    return sp_ok();
}

/* Turns a camera by about so many radians. */
static void shake(float c2w[16], double size, int64_t seed)
{
    double q[4] = {0, 0, 0, 1};
    float turn[16], own[16];
    static const double nowhere[3];
    for (int i = 0; i < 3; i++)
        q[i] = size / 2 * noise_of(700, seed + i);
    sp_c2w_of_quaternion(q, nowhere, turn);
    sp_pose_multiply(c2w, turn, own);
    memcpy(c2w, own, sizeof own);
}

static SpStatus compute(void *self, int64_t first, int64_t frames, const SpGeometry *out)
{
    Made *made = self;
    const int64_t n = made->calls++;
    SpSimilarity own = own_world(n);
    made->first[n] = first;
    if (made->fails && n == 1)
        return sp_error(SP_INPUT, "a made failure");
    if (made->still) {
        const SpSimilarity identity = sp_similarity_identity();
        memcpy(own.rotation, identity.rotation, sizeof own.rotation);
        memcpy(own.translation, identity.translation, sizeof own.translation);
    }
    for (int64_t t = 0; t < frames; t++) {
        true_camera(made, first + t, out->c2w + 16 * t, out->intrinsics + 9 * t);
        if (made->room)
            shake(out->c2w + 16 * t, 0.001, 16 * n + 1000 * (first + t));
        sp_similarity_pose(&own, out->c2w + 16 * t, out->c2w + 16 * t);
        for (int64_t p = 0; p < AREA; p++) {
            const int64_t i = t * AREA + p;
            const double e = made->noise * noise_of(n, i);
            const bool off = n % 2 && noise_of(n + 999, i) < 2 * made->spoilt - 1;
            const bool hole = made->empty || (made->blind && p % 7 == n % 7);
            const double truth =
                made->room ? room_depth(first + t, p, n) : (double)true_depth(first + t, p);
            const double depth = own.scale * truth * (1 + e);
            out->depth[i] = hole ? (p % 2 ? 0 : NAN) : (float)(off ? 9 * depth : depth);
            out->confidence[i] = made->no_trust ? 0 : (float)(0.6 + 0.3 * noise_of(n + 50, i));
        }
    }
    return sp_ok();
}

/* What came out of all pieces. */
typedef struct Whole {
    float depth[MAX * AREA], confidence[MAX * AREA], c2w[MAX * 16], intrinsics[MAX * 9];
    int64_t frames, chunks, pieces, longest;
    SpResultChunk chunk[MAX];
} Whole;

static Whole *run(Made *made, int64_t chunk, int64_t overlap)
{
    const SpChunking chunking = {chunk, overlap};
    const SpChunkSource source = {made, HEIGHT, WIDTH, count, compute};
    Whole *out = allocate(sizeof *out);
    SpChunks *chunks;
    SpChunkPiece piece;
    made->calls = 0;
    assert_ok(sp_chunks_open(&source, &chunking, &chunks));
    for (;;) {
        assert_ok(sp_chunks_next(chunks, &piece));
        assert_int_equal(piece.first, out->frames); /* in order, without a gap */
        if (!piece.count)
            break;
        const SpGeometry *g = &piece.geometry;
        memcpy(out->depth + piece.first * AREA, g->depth, (size_t)(piece.count * AREA) * 4);
        memcpy(out->confidence + piece.first * AREA, g->confidence,
               (size_t)(piece.count * AREA) * 4);
        memcpy(out->c2w + piece.first * 16, g->c2w, (size_t)piece.count * 64);
        memcpy(out->intrinsics + piece.first * 9, g->intrinsics, (size_t)piece.count * 36);
        out->frames += piece.count;
        out->pieces++;
    }
    assert_ok(sp_chunks_next(chunks, &piece)); /* the end stays the end */
    assert_int_equal(piece.count, 0);
    const SpResultChunk *list = sp_chunks_list(chunks, &out->chunks);
    memcpy(out->chunk, list, (size_t)out->chunks * sizeof *list);
    sp_chunks_close(chunks);
    assert_int_equal(out->frames, made->frames);
    return out;
}

/* The largest relative error of a depth, and of a place in the world of anything seen. */
static double worst_depth(const Whole *out)
{
    double worst = 0;
    for (int64_t i = 0; i < out->frames * AREA; i++) {
        assert_true(isfinite(out->depth[i]));
        worst =
            fmax(worst, fabs((double)out->depth[i] / (double)true_depth(i / AREA, i % AREA) - 1));
    }
    return worst;
}

static double worst_pose(const Made *made, const Whole *out)
{
    double worst = 0;
    for (int64_t t = 0; t < out->frames; t++) {
        float truth[16], k[9];
        true_camera(made, t, truth, k);
        for (int i = 0; i < 16; i++)
            worst = fmax(worst, fabs((double)out->c2w[16 * t + i] - (double)truth[i]));
        assert_memory_equal(out->intrinsics + 9 * t, k, sizeof k);
    }
    return worst;
}

static void exact_chunks_give_the_truth_back(void **state)
{
    (void)state;
    static const int64_t cases[][3] = {{160, 60, 30}, {150, 60, 30}, {151, 60, 30}, {61, 60, 30},
                                       {60, 60, 30},  {31, 60, 30},  {40, 12, 1},   {40, 12, 9},
                                       {9, 4, 2},     {3, 2, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Made made = {.frames = cases[i][0]};
        Whole *out = run(&made, cases[i][1], cases[i][2]);
        assert_true(worst_depth(out) < 1e-5 && worst_pose(&made, out) < 1e-4);
        assert_int_equal(out->chunks, made.calls);
        free(out);
    }
}

static double scale_of(const SpResultChunk *chunk)
{
    const double *s = chunk->similarity;
    return sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]);
}

static void the_list_says_where_chunks_begin_and_what_moved_them(void **state)
{
    (void)state;
    Made made = {.frames = 160};
    Whole *out = run(&made, 60, 30);
    assert_int_equal(out->chunks, 5);
    for (int64_t n = 0; n < 5; n++) {
        const SpResultChunk *c = &out->chunk[n];
        assert_true(c->first == 30 * n && made.first[n] == 30 * n);
        const double scale =
            sqrt(c->similarity[0] * c->similarity[0] + c->similarity[1] * c->similarity[1] +
                 c->similarity[2] * c->similarity[2]);
        assert_true(fabs(scale * own_world(n).scale - 1) < 1e-5);
        float truth[16], first[16], k[9]; /* the chunk's first camera, in that of the clip */
        true_camera(&made, 0, first, k);
        true_camera(&made, c->first, truth, k);
        sp_pose_invert(first, first);
        sp_pose_multiply(first, truth, truth);
        for (int i = 0; i < 3; i++) {
            assert_true(fabs(c->similarity[4 * i + 3] - (double)truth[4 * i + 3]) < 1e-4);
            for (int j = 0; j < 3; j++)
                assert_true(fabs(c->similarity[4 * i + j] / scale - (double)truth[4 * i + j]) <
                            1e-5);
        }
    }
    free(out);
}

/* Noise of 3 % in every depth, five seams. */
static void noisy_chunks_drift_little(void **state)
{
    (void)state;
    Made made = {.frames = 180, .noise = 0.03};
    Whole *out = run(&made, 60, 30);
    assert_true(worst_depth(out) < 0.05 && worst_pose(&made, out) < 0.03);
    free(out);
}

/* Where the result puts a point of the room that the camera of frame t sees at u, v. */
static void place_of(const Whole *out, int64_t t, double u, double v, float place[3])
{
    const int64_t pixel = llround(v) * WIDTH + llround(u);
    sp_unproject(out->intrinsics + 9 * t, (float)u, (float)v, out->depth[t * AREA + pixel], place);
    sp_pose_apply(out->c2w + 16 * t, place, place);
}

/* The pixel of a place in the world at frame t; false where it is not in the picture. */
static bool pixel_of(int64_t t, const float place[3], double *u, double *v)
{
    const Made made = {.room = true};
    float c2w[16], k[9], at[3];
    true_camera(&made, t, c2w, k);
    sp_pose_invert(c2w, c2w);
    sp_pose_apply(c2w, place, at);
    *u = (double)(k[0] * at[0] / at[2] + k[2]);
    *v = (double)(k[4] * at[1] / at[2] + k[5]);
    return at[2] > 0 && *u > 0 && *v > 0 && *u < WIDTH - 1 && *v < HEIGHT - 1;
}

/* The median of how far the room's points move from frame t to the next. */
static double step_of(const Whole *out, int64_t t)
{
    const Made made = {.room = true};
    SpWeighted step[AREA];
    int64_t found = 0;
    float c2w[16], k[9];
    true_camera(&made, t, c2w, k);
    for (int64_t p = 0; p < AREA; p += 3) {
        const double x = (double)(p % WIDTH), y = (double)(p / WIDTH);
        float truth[3], before[3], after[3];
        double u, v;
        sp_unproject(k, (float)x, (float)y, (float)depth_in_room(c2w, k, x, y), truth);
        sp_pose_apply(c2w, truth, truth);
        if (!pixel_of(t + 1, truth, &u, &v))
            continue;
        place_of(out, t, x, y, before);
        place_of(out, t + 1, u, v, after);
        step[found++] = (SpWeighted){
            hypot(hypot((double)(after[0] - before[0]), (double)(after[1] - before[1])),
                  (double)(after[2] - before[2])),
            1};
    }
    return sp_weighted_median(step, found);
}

/* A room seen by a moving camera, each chunk in a world and with errors of its own: a point of the
 * room jumps at most twice as far at a seam as it does from frame to frame. */
static void no_seam_is_seen(void **state)
{
    (void)state;
    Made made = {.frames = 160, .room = true};
    Whole *out = run(&made, 60, 30);
    SpWeighted sorted[MAX];
    double step[MAX], seam = 0;
    for (int64_t t = 0; t + 1 < out->frames; t++) {
        step[t] = step_of(out, t);
        sorted[t] = (SpWeighted){step[t], 1};
    }
    for (int64_t n = 1; n < out->chunks; n++) {
        const int64_t in = out->chunk[n].first - 1, over = in + 30;
        seam = fmax(seam, step[in]);
        if (over + 1 < out->frames)
            seam = fmax(seam, step[over]);
    }
    assert_true(seam <= 2 * sp_weighted_median(sorted, out->frames - 1));
    for (int64_t t = 0; t < out->frames; t++) { /* within 0.5 degrees */
        float truth[16], k[9];
        double trace = 0;
        true_camera(&made, t, truth, k);
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                trace += (double)truth[4 * i + j] * (double)out->c2w[16 * t + 4 * i + j];
        assert_true(trace > 1 + 2 * cos(0.5 * M_PI / 180));
    }
    free(out);
}

/* 160 chunks, one after another: errors add up, but the end is still of the size of the beginning.
 */
static void long_clips_stay_finite_and_in_scale(void **state)
{
    (void)state;
    Made made = {.frames = 4800, .room = true};
    const SpChunking chunking = {60, 30};
    const SpChunkSource source = {&made, HEIGHT, WIDTH, count, compute};
    SpChunks *chunks;
    SpChunkPiece piece;
    int64_t frames = 0, listed;
    double worst = 0;
    assert_ok(sp_chunks_open(&source, &chunking, &chunks));
    do {
        assert_ok(sp_chunks_next(chunks, &piece));
        for (int64_t t = 0; t < piece.count; t++) {
            float c2w[16], k[9];
            true_camera(&made, piece.first + t, c2w, k);
            for (int64_t p = 0; p < AREA; p++) {
                const double truth =
                    depth_in_room(c2w, k, (double)(p % WIDTH), (double)(p / WIDTH));
                const double depth = piece.geometry.depth[t * AREA + p];
                assert_true(isfinite(depth) && depth > 0);
                worst = fmax(worst, fabs(log(depth / truth)));
            }
        }
        frames += piece.count;
    } while (piece.count);
    sp_chunks_list(chunks, &listed);
    assert_true(frames == made.frames && listed == made.calls && listed == 159);
    assert_true(worst < 0.2);
    sp_chunks_close(chunks);
}

static void pixels_far_off_do_not_move_a_chunk(void **state)
{
    (void)state;
    Made made = {.frames = 90, .noise = 0.01, .spoilt = 0.25};
    Whole *out = run(&made, 60, 30);
    assert_true(worst_pose(&made, out) < 0.02);
    assert_true(fabs(scale_of(&out->chunk[1]) * own_world(1).scale - 1) < 0.005);
    free(out);
}

/* Steps of the depth of a pixel into and out of the shared frames are those of its neighbours. */
static void one_chunk_fades_into_the_next(void **state)
{
    (void)state;
    Made made = {.frames = 90, .noise = 0};
    Whole *exact = run(&made, 60, 30);
    made.noise = 0.02;
    Whole *noisy = run(&made, 60, 30);
    double share[3] = {0};
    for (int64_t p = 0; p < AREA; p++) {
        const int64_t at[3] = {30 * AREA + p, 45 * AREA + p, 59 * AREA + p};
        for (int k = 0; k < 3; k++) {
            const double truth = exact->depth[at[k]];
            const double b = made.noise * noise_of(1, at[k] - 30 * AREA) * truth;
            const double off = (double)noisy->depth[at[k]] - truth;
            share[k] += off * b / (AREA * made.noise * made.noise * truth * truth / 3);
        }
    }
    for (int k = 0; k < 3; k++) /* how much of the second chunk's own noise is there */
        assert_true(fabs(share[k] - (double)((int[]){1, 16, 30}[k]) / 31) < 0.15);
    free(exact);
    free(noisy);
}

static void holes_stay_out_of_it(void **state)
{
    (void)state;
    Made made = {.frames = 90, .blind = true};
    Whole *out = run(&made, 60, 30);
    assert_true(worst_pose(&made, out) < 1e-4);
    for (int64_t i = 30 * AREA; i < 60 * AREA; i++) /* what one chunk does not see the other does */
        assert_true(fabs((double)out->depth[i] / (double)true_depth(i / AREA, i % AREA) - 1) <
                    1e-5);
    free(out);
}

/* As the built-in front: no camera moves, so depth's scale alone says something. */
static void still_cameras_are_aligned_by_scale_alone(void **state)
{
    (void)state;
    Made made = {.frames = 160, .still = true, .noise = 0.03};
    const float identity[16] = {[0] = 1, [5] = 1, [10] = 1, [15] = 1};
    Whole *out = run(&made, 60, 30);
    assert_true(worst_depth(out) < 0.05);
    for (int64_t t = 0; t < out->frames; t++)
        assert_memory_equal(out->c2w + 16 * t, identity, sizeof identity);
    for (int64_t n = 0; n < out->chunks; n++)
        assert_true(fabs(scale_of(&out->chunk[n]) * own_world(n).scale - 1) < 0.01);
    free(out);
}

static void without_trust_everything_counts(void **state)
{
    (void)state;
    for (int still = 0; still < 2; still++) {
        Made made = {.frames = 90, .no_trust = true, .still = still};
        Whole *out = run(&made, 60, 30);
        assert_true(worst_depth(out) < 1e-5 && worst_pose(&made, out) < 1e-4);
        free(out);
    }
}

/* Then the shared cameras alone join the chunks. */
static void without_depth_the_cameras_join(void **state)
{
    (void)state;
    Made made = {.frames = 90, .empty = true};
    float truth[16], k[9];
    Whole *out = run(&made, 60, 30);
    assert_true(fabs(scale_of(&out->chunk[1]) - 1) < 1e-6);
    true_camera(&made, 30, truth, k);
    for (int i = 0; i < 16; i++)
        assert_true(fabs((double)out->c2w[16 * 30 + i] - (double)truth[i]) < 1e-4);
    for (int64_t i = 0; i < 16 * out->frames; i++)
        assert_true(isfinite(out->c2w[i]));
    free(out);
}

static void a_failure_of_the_front_comes_through(void **state)
{
    (void)state;
    Made made = {.frames = 90, .fails = true};
    const SpChunking chunking = {60, 30};
    const SpChunkSource source = {&made, HEIGHT, WIDTH, count, compute};
    SpChunks *chunks;
    SpChunkPiece piece;
    assert_ok(sp_chunks_open(&source, &chunking, &chunks));
    assert_ok(sp_chunks_next(chunks, &piece));
    assert_int_equal(piece.count, 30);
    assert_error(sp_chunks_next(chunks, &piece), SP_INPUT, "a made failure");
    sp_chunks_close(chunks);
    sp_chunks_close(NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_cover_every_frame_and_the_last_is_short),
        cmocka_unit_test(chunks_begin_above_the_modes_frames),
        cmocka_unit_test(exact_chunks_give_the_truth_back),
        cmocka_unit_test(the_list_says_where_chunks_begin_and_what_moved_them),
        cmocka_unit_test(noisy_chunks_drift_little),
        cmocka_unit_test(no_seam_is_seen),
        cmocka_unit_test(long_clips_stay_finite_and_in_scale),
        cmocka_unit_test(pixels_far_off_do_not_move_a_chunk),
        cmocka_unit_test(one_chunk_fades_into_the_next),
        cmocka_unit_test(holes_stay_out_of_it),
        cmocka_unit_test(still_cameras_are_aligned_by_scale_alone),
        cmocka_unit_test(without_trust_everything_counts),
        cmocka_unit_test(without_depth_the_cameras_join),
        cmocka_unit_test(a_failure_of_the_front_comes_through),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
