#include "support/tracker.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "PREFIX.in.NAME" of a golden, or "in.NAME" without a prefix. */
static const float *input_floats(Golden *g, const char *prefix, const char *name, int64_t *count)
{
    char path[80];
    snprintf(path, sizeof path, "%sin.%s", prefix, name);
    return golden_f32(g, path, count);
}

SpTrackerInput tracker_input(Golden *g, const char *prefix)
{
    char path[80];
    snprintf(path, sizeof path, "%sin.depth", prefix);
    const SpTensor *depth = golden_tensor(g, path);
    int64_t queries;
    SpTrackerInput in = {.frames = depth->dim[0], .height = depth->dim[1], .width = depth->dim[2]};
    in.query = input_floats(g, prefix, "queries", &queries);
    in.queries = queries / 3;
    in.depth = input_floats(g, prefix, "depth", NULL);
    in.confident = input_floats(g, prefix, "conf", NULL);
    in.intrinsics = input_floats(g, prefix, "intrinsics", NULL);
    in.c2w = input_floats(g, prefix, "c2w", NULL);
    return in;
}

float *tracker_video(Golden *g, const char *name)
{
    int64_t count;
    const float *rgb = golden_f32(g, name, &count);
    const SpTensor *t = golden_tensor(g, name);
    const int64_t area = t->dim[1] * t->dim[2];
    float *video = golden_zeros(count);
    for (int64_t i = 0; i < count; i++)
        video[(i / (3 * area) * 3 + i % 3) * area + i / 3 % area] = rgb[i];
    return video;
}

/* The share of tracks all of whose frames are within `limit` of the golden, whose shape is
 * [T, N, width]; `ours` has the first `count` of the width values. The unit is max(1, largest
 * value), as for every error in tests/golden/README.md; of pixels it is the pixel. */
static double tracks_within(Golden *g, const char *name, const float *ours, int64_t count,
                            bool pixels, double limit)
{
    const float *theirs = golden_f32(g, name, NULL);
    const SpTensor *shape = golden_tensor(g, name);
    const int64_t frames = shape->dim[0], tracks = shape->dim[1];
    const int64_t width = sp_tensor_count(shape) / (frames * tracks);
    double unit = 1;
    for (int64_t i = 0; i < frames * tracks * width && !pixels; i++)
        if (i % width < count)
            unit = fmax(unit, fabs((double)theirs[i]));
    int64_t good = 0;
    for (int64_t n = 0; n < tracks; n++) {
        double error = 0;
        for (int64_t i = 0; i < frames * count; i++) {
            const int64_t pair = i / count * tracks + n;
            error = fmax(error, fabs((double)ours[pair * count + i % count] -
                                     (double)theirs[pair * width + i % count]));
        }
        good += error <= limit * unit;
    }
    return (double)good / (double)tracks;
}

void tracker_most_within(Golden *g, const char *name, const float *ours, int64_t count, bool pixels,
                         double limit)
{
    const double share = tracks_within(g, name, ours, count, pixels, limit);
    if (!(share >= 0.95))
        fail_msg("%s: %.1f %% of the tracks within %g", name, 100 * share, limit);
}

/* Columns begin .. begin + count of rows of `width` values. */
static float *columns(const float *x, int64_t rows, int64_t width, int64_t begin, int64_t count)
{
    float *y = golden_zeros(rows * count);
    for (int64_t i = 0; i < rows; i++)
        memcpy(y + i * count, x + i * width + begin, (size_t)count * sizeof *y);
    return y;
}

SpTrackerOutput tracker_output(const SpTrackerInput *in)
{
    const int64_t pairs = in->frames * in->queries, area = in->frames * in->height * in->width;
    return (SpTrackerOutput){.tracks = golden_zeros(3 * pairs),
                             .camera_points = golden_zeros(3 * pairs),
                             .visibility = golden_zeros(pairs),
                             .confidence = golden_zeros(pairs),
                             .dynamic = golden_zeros(in->queries),
                             .c2w = golden_zeros(16 * in->frames),
                             .intrinsics = golden_zeros(9 * in->frames),
                             .depth = golden_zeros(area),
                             .valid = golden_zeros(area)};
}

void tracker_output_free(const SpTrackerOutput *out)
{
    free(out->tracks), free(out->camera_points), free(out->visibility), free(out->confidence);
    free(out->dynamic), free(out->c2w), free(out->intrinsics), free(out->depth), free(out->valid);
}

/* Every `step`-th row and column of each frame's [h, w] map. */
static float *thinned(const float *map, int64_t frames, int64_t h, int64_t w, int64_t step)
{
    const int64_t ho = (h + step - 1) / step, wo = (w + step - 1) / step;
    float *out = golden_zeros(frames * ho * wo);
    for (int64_t i = 0; i < frames * ho * wo; i++)
        out[i] = map[(i / (ho * wo) * h + i / wo % ho * step) * w + i % wo * step];
    return out;
}

size_t tracker_run(const SpTracker *model, const SpTrackerInput *in,
                   const SpTrackerSettings *settings, const SpTrackerOutput *out)
{
    SpDevice *device;
    SpNn nn;
    assert_int_equal(sp_cpu_open(0, &device).code, SP_OK);
    SpNn dry = sp_nn_dry(device);
    assert_int_equal(sp_tracker_run(model, &dry, in, settings, NULL).code, SP_OK);
    if (out) {
        assert_int_equal(sp_nn_open(device, dry.arena.peak, dry.host.peak, &nn).code, SP_OK);
        const SpStatus status = sp_tracker_run(model, &nn, in, settings, out);
        if (status.code != SP_OK)
            fail_msg("%s", status.text);
        assert_int_equal(nn.arena.used, 0);
        assert_int_equal(nn.host.used, 0);
        sp_nn_close(&nn);
    }
    device->close(device);
    return dry.arena.peak + dry.host.peak;
}

void tracker_golden_run(const SpTracker *model, const char *file, int64_t support, int64_t step,
                        double pixels, double rest, double cameras)
{
    Golden *g = golden_open(file);
    const SpTrackerSettings settings = {.iterations = 4,
                                        .support = support,
                                        .seed = strtoull(golden_meta(g, "seed"), NULL, 10),
                                        .replace_ratio = 0.2};
    SpTrackerInput in = tracker_input(g, "");
    float *video = tracker_video(g, "in.frames");
    in.video = video;
    const SpTrackerOutput out = tracker_output(&in);
    tracker_run(model, &in, &settings, &out);
    const int64_t pairs = in.frames * in.queries;
    float *xy = columns(out.tracks, pairs, 3, 0, 2);
    float *z = thinned(out.depth, in.frames, in.height, in.width, step);
    tracker_most_within(g, "out.track2d", xy, 2, true, pixels);
    tracker_most_within(g, "out.track3d", out.camera_points, 3, false, rest);
    tracker_most_within(g, "out.vis", out.visibility, 1, false, rest);
    tracker_most_within(g, "out.conf", out.confidence, 1, false, rest);
    golden_compare(g, "out.c2w", out.c2w, cameras);
    golden_compare(g, "out.intrinsics", out.intrinsics, 1e-5);
    float *valid = thinned(out.valid, in.frames, in.height, in.width, step);
    golden_compare(g, "out.conf_depth", valid, 1e-5);
    const float *map = golden_f32(g, "out.point_map", NULL);
    const SpTensor *shape = golden_tensor(g, "out.point_map");
    const int64_t area = shape->dim[2] * shape->dim[3];
    for (int64_t i = 0; i < in.frames * area; i++)
        assert_true(fabsf(map[(i / area * 3 + 2) * area + i % area] - z[i]) < 1e-4f);
    free(z), free(xy), free(valid), free(video);
    tracker_output_free(&out);
    golden_close(g);
}
