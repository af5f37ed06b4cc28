/* Frame preparation against the reference (src/media/README.md). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "media/frame_plan.h"
#include "media/resample.h"
#include "support/golden.h"

/* tests/golden/README.md: bicubic to 518 wide 5e-4 absolute on 0..255. */
static const float BICUBIC = 5e-4f;

static void sizes(void **state)
{
    (void)state;
    Golden *g = golden_open("front/preprocess.safetensors");
    int64_t count;
    const float *row = golden_f32(g, "sizes", &count);
    for (const float *end = row + count; row < end; row += 7) {
        SpFramePlan plan;
        const int64_t h = (int64_t)row[0], w = (int64_t)row[1];
        assert_int_equal(sp_frame_plan(h, w, 518, 14, SP_PORTRAIT_CROP, 224, &plan).code, SP_OK);
        assert_int_equal(plan.reduced_height, (int64_t)row[2]);
        assert_int_equal(plan.reduced_width, (int64_t)row[3]);
        assert_int_equal(plan.resized_height, (int64_t)row[4]);
        assert_int_equal(plan.first_row, (int64_t)row[5]);
        assert_int_equal(plan.height, (int64_t)row[6]);
    }
    golden_close(g);
}

static void within(const float *ours, const float *theirs, int64_t count, float limit)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(ours[i] - theirs[i]) <= limit))
            fail_msg("at %d: %.9g, reference %.9g", (int)i, (double)ours[i], (double)theirs[i]);
}

static const float *part(Golden *g, const char *name, const char *which, const SpTensor **shape)
{
    const char *path = golden_name(name, which);
    *shape = golden_tensor(g, path);
    return golden_f32(g, path, NULL);
}

/* Every 5th row and 7th column of each frame, and rows 0, 1 and the last of frame 0. */
static void compare_frame(Golden *g, const char *name, int64_t t, const float *frame, int64_t h)
{
    enum { W = 518 };
    const SpTensor *shape;
    const float *sample = part(g, name, "sample", &shape);
    const int64_t sh = shape->dim[2], sw = shape->dim[3];
    for (int64_t i = 0; i < 3 * sh * sw; i++) {
        const float ours = frame[(i / (sh * sw) * h + i / sw % sh * 5) * W + i % sw * 7];
        within(&ours, sample + t * 3 * sh * sw + i, 1, BICUBIC);
    }
    const float *rows = part(g, name, "rows", &shape);
    const int64_t at[] = {0, 1, h - 1};
    for (int64_t c = 0; c < 3 && t == 0; c++)
        for (int64_t r = 0; r < 3; r++)
            within(frame + (c * h + at[r]) * W, rows + (c * 3 + r) * W, W, BICUBIC);
}

static void frames(void **state)
{
    (void)state;
    static const char *const names[] = {"wide", "reduce", "portrait", "odd", "odd_reduce"};
    Golden *g = golden_open("front/preprocess.safetensors");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const SpTensor *in;
        SpFramePlan plan;
        /* from the reference's reduction, which may be one level off ours here and there */
        const bool reduced = golden_has(g, golden_name(names[i], "reduced"));
        part(g, names[i], reduced ? "reduced" : "frames", &in);
        const int64_t h = in->dim[1], w = in->dim[2];
        assert_int_equal(sp_frame_plan(h, w, 518, 14, SP_PORTRAIT_CROP, 0, &plan).code, SP_OK);
        float *out = malloc((size_t)(3 * plan.height * plan.width) * sizeof *out);
        assert_non_null(out);
        for (int64_t t = 0; t < in->dim[0]; t++) {
            assert_int_equal(
                sp_frame_resize(&plan, (const uint8_t *)in->data + t * 3 * h * w, out).code, SP_OK);
            compare_frame(g, names[i], t, out, plan.height);
        }
        free(out);
    }
    golden_close(g);
}

/* The first reduction: at most one level off, in at most one value of a thousand. */
static void reductions(void **state)
{
    (void)state;
    static const char *const names[] = {"reduce", "odd_reduce"};
    Golden *g = golden_open("front/preprocess.safetensors");
    for (int i = 0; i < 2; i++) {
        const SpTensor *in, *out;
        const float *rgb = part(g, names[i], "frames", &in);
        const float *theirs = part(g, names[i], "reduced", &out);
        const int64_t h = in->dim[1], w = in->dim[2], ho = out->dim[1], wo = out->dim[2];
        float *plane = malloc((size_t)(h * w) * sizeof *plane);
        float *ours = malloc((size_t)(ho * wo) * sizeof *ours);
        assert_true(plane && ours);
        int64_t off = 0;
        for (int64_t c = 0; c < 3; c++) {
            for (int64_t p = 0; p < h * w; p++)
                plane[p] = rgb[3 * p + c];
            assert_int_equal(sp_resample_antialias(plane, 1, h, w, ours, ho, wo).code, SP_OK);
            for (int64_t p = 0; p < ho * wo; p++) {
                const float difference = fabsf(rintf(ours[p]) - theirs[3 * p + c]);
                assert_true(difference <= 1);
                off += difference > 0;
            }
        }
        assert_true((double)off <= 1e-3 * (double)(3 * ho * wo));
        free(plane), free(ours);
    }
    golden_close(g);
}

static void resamplers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        SpStatus (*resample)(const float *, int64_t, int64_t, int64_t, float *, int64_t, int64_t);
    } cases[] = {{"antialias.bilinear_11x17", sp_resample_antialias},
                 {"antialias.bilinear_10x31", sp_resample_antialias},
                 {"antialias.bilinear_40x20", sp_resample_antialias},
                 {"bicubic_11x17", sp_resample_bicubic},
                 {"bicubic_46x62", sp_resample_bicubic},
                 {"bicubic_29x31", sp_resample_bicubic}};
    Golden *g = golden_open("front/preprocess.safetensors");
    const float *in = golden_f32(g, "antialias.input", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const SpTensor *shape = golden_tensor(g, cases[i].name);
        const int64_t h = shape->dim[2], w = shape->dim[3];
        float *out = malloc((size_t)(2 * h * w) * sizeof *out);
        assert_non_null(out);
        assert_int_equal(cases[i].resample(in, 2, 23, 31, out, h, w).code, SP_OK);
        within(out, golden_f32(g, cases[i].name, NULL), 2 * h * w, 1e-5f);
        free(out);
    }
    golden_close(g);
}

/* A tall frame scaled whole, and points there and back. */
static void tall_frames(void **state)
{
    (void)state;
    SpFramePlan plan;
    float x, y;
    assert_int_equal(sp_frame_plan(480, 368, 518, 14, SP_PORTRAIT_FIT, 0, &plan).code, SP_OK);
    assert_int_equal(plan.height, 518);
    assert_int_equal(plan.width, 392);
    assert_int_equal(plan.first_row, 0);
    assert_int_equal(sp_frame_plan(480, 368, 518, 14, SP_PORTRAIT_CROP, 0, &plan).code, SP_OK);
    assert_int_equal(plan.resized_height, 672);
    assert_int_equal(plan.first_row, 77);
    sp_point_to_working(&plan, 100, 240, &x, &y);
    assert_true(fabsf(y - (240.0f * 672 / 480 - 77)) < 1e-4f);
    sp_point_to_input(&plan, x, y, &x, &y);
    assert_true(fabsf(x - 100) < 1e-4f && fabsf(y - 240) < 1e-4f);
    assert_int_equal(sp_frame_plan(8, 2000, 518, 14, SP_PORTRAIT_CROP, 0, &plan).code, SP_INPUT);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(sizes),      cmocka_unit_test(frames),      cmocka_unit_test(reductions),
        cmocka_unit_test(resamplers), cmocka_unit_test(tall_frames),
    };
    return cmocka_run_group_tests_name("prepare", cases, NULL, NULL);
}
