/* Points found again on a video's own pixels: the pyramid, one patch, and whole made clips. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "refine/align.h"
#include "refine/pyramid.h"
#include "refine/refine.h"
#include "support/picture.h"
#include "support/scratch.h"

/* A texture ------------------------------------------------------------------------------------ */

enum { WAVES = 24 };

/* Smooth and random, 0..255 but for rare peaks: waves 7 to 40 pixels long. */
typedef struct Texture {
    double kx[WAVES], ky[WAVES], phase[WAVES];
} Texture;

static double draw(uint32_t *state) /* 0..1 */
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 24);
}

static Texture texture_of(uint32_t seed)
{
    Texture texture;
    uint32_t state = seed;
    for (int i = 0; i < WAVES; i++) {
        const double k = 2 * M_PI / (7 + 33 * draw(&state)), angle = 2 * M_PI * draw(&state);
        texture.kx[i] = k * cos(angle);
        texture.ky[i] = k * sin(angle);
        texture.phase[i] = 2 * M_PI * draw(&state);
    }
    return texture;
}

static double texture_at(const Texture *texture, double x, double y)
{
    double sum = 128;
    for (int i = 0; i < WAVES; i++)
        sum += 11 * sin(texture->kx[i] * x + texture->ky[i] * y + texture->phase[i]);
    return sum;
}

/* Where a texture's pixel lies in an image: a p + b. */
typedef struct Pose {
    double a[4], b[2];
} Pose;

static Pose turned(double degrees, double zoom, double x, double y)
{
    const double c = zoom * cos(degrees * M_PI / 180), s = zoom * sin(degrees * M_PI / 180);
    return (Pose){{c, -s, s, c}, {x, y}};
}

static void place(const Pose *pose, const double from[2], double to[2])
{
    to[0] = pose->a[0] * from[0] + pose->a[1] * from[1] + pose->b[0];
    to[1] = pose->a[2] * from[0] + pose->a[3] * from[1] + pose->b[1];
}

static void place_back(const Pose *pose, const double from[2], double to[2])
{
    const double *a = pose->a, x = from[0] - pose->b[0], y = from[1] - pose->b[1];
    const double det = a[0] * a[3] - a[1] * a[2];
    to[0] = (a[3] * x - a[1] * y) / det;
    to[1] = (a[0] * y - a[2] * x) / det;
}

static double shown(const Texture *texture, const Pose *pose, double x, double y)
{
    double at[2];
    place_back(pose, (double[2]){x, y}, at);
    return texture_at(texture, at[0], at[1]);
}

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
        assert_true(bytes <= sp_pyramid_bytes(sizes[i].height, sizes[i].width) +
                                 (size_t)p.width[0] * sizeof(float));
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
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        assert_true(fabsf(sp_pyramid_sample(image, 2, 3, at[i].x, at[i].y) - at[i].expected) <
                    1e-4f);
    assert_true(isfinite(sp_pyramid_sample(image, 2, 3, NAN, NAN)));
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
        const float middle = sp_pyramid_sample(image.pixel, H, W, x, y);
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

/* Whole clips ---------------------------------------------------------------------------------- */

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
    const SpRefineTracks tracks = {
        FRAMES,           POINTS,         made->look.height,   made->look.width,
        made->queries[0], made->xy[0][0], made->visibility[0], made->confidence[0],
        made->sigma[0],   threads};
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
    look.noise = 16;
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
    assert_true(found[0] > 0.9 && found[1] < 0.8);
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
        cmocka_unit_test(levels_are_halves_down_to_64_pixels),
        cmocka_unit_test(a_constant_stays_constant),
        cmocka_unit_test(gray_is_luma),
        cmocka_unit_test(a_ramp_keeps_its_place),
        cmocka_unit_test(samples_are_bilinear_and_the_border_goes_on),
        cmocka_unit_test(a_shift_is_found_to_hundredths_of_a_pixel),
        cmocka_unit_test(turning_and_zoom_are_found),
        cmocka_unit_test(light_changes_nothing),
        cmocka_unit_test(a_patch_without_texture_is_refused),
        cmocka_unit_test(the_prior_decides_what_the_texture_does_not),
        cmocka_unit_test(nothing_is_read_beyond_the_border),
        cmocka_unit_test(what_covers_half_of_a_patch_gets_no_trust),
        cmocka_unit_test(moved_points_are_found_to_hundredths_of_a_pixel),
        cmocka_unit_test(large_frames_are_used_in_full),
        cmocka_unit_test(turning_and_zooming_points_are_found),
        cmocka_unit_test(points_are_found_in_changing_light),
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
