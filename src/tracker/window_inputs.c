#include "tracker/window.h"

#include <string.h>

#include "base/nearest.h"
#include "geometry/camera.h"

enum { PATCH = 14, GRID = SP_SUPPORT_GRID, MIN_SUPPORT = 20 };

static int64_t working_side(double scale, int64_t side, int64_t resolution)
{
    const double patches = scale * (double)side / PATCH;
    const int64_t near = PATCH * (int64_t)rint(patches);
    return near < resolution ? PATCH * (int64_t)ceil(patches) : near;
}

void sp_working_size(int64_t resolution, int64_t h, int64_t w, int64_t *height, int64_t *width)
{
    const double r = (double)resolution, s = fmax(r / (double)h, r / (double)w);
    *height = working_side(s, h, resolution);
    *width = working_side(s, w, resolution);
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The k-th smallest (from 1) positive value: positive floats are ordered as their bits are. */
static float kth_positive(const float *x, int64_t count, int64_t k)
{
    uint32_t prefix = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        int64_t bins[256] = {0}, bin = 0;
        for (int64_t i = 0; i < count; i++)
            if (x[i] > 0 && (shift == 24 || bits_of(x[i]) >> (shift + 8) == prefix))
                bins[bits_of(x[i]) >> shift & 255]++;
        while (bin < 255 && k > bins[bin])
            k -= bins[bin++];
        prefix = prefix << 8 | (uint32_t)bin;
    }
    float value;
    memcpy(&value, &prefix, sizeof value);
    return value;
}

typedef struct Range {
    float far, upper; /* larger depths than far are dropped; valid ones lie below upper */
} Range;

static Range depth_range(const float *depth, int64_t count)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++)
        n += depth[i] > 0;
    if (n == 0)
        return (Range){INFINITY, 0};
    const int64_t k25 = n / 4, k75 = (3 * n) / 4;
    const float q25 = kth_positive(depth, count, k25 > 1 ? k25 : 1);
    const float q75 = kth_positive(depth, count, k75 > 1 ? k75 : 1);
    const float upper = q75 + 0.8f * (q75 - q25);
    return (Range){10 * q25, fminf(fmaxf(upper, 1e-6f), 10 * q25)};
}

static bool is_roi(float d, float upper)
{
    return d > 0.1f && d < upper;
}

/* Whether depth jumps around pixel (y, x) of one frame. */
static bool is_edge(const float *depth, int64_t h, int64_t w, int64_t y, int64_t x, float upper)
{
    float max = -INFINITY, min = INFINITY;
    for (int64_t i = y > 0 ? y - 1 : 0; i <= y + 1 && i < h; i++)
        for (int64_t j = x > 0 ? x - 1 : 0; j <= x + 1 && j < w; j++) {
            const float d = depth[i * w + j];
            if (is_roi(d, upper)) {
                max = d > max ? d : max;
                min = d < min ? d : min;
            }
        }
    return max > min && (max - min) / depth[y * w + x] > 0.03f;
}

static void valid_mask(const SpTrackerInput *in, float upper, SpWindow *window)
{
    const int64_t h = window->height, w = window->width, area = in->height * in->width;
    for (int64_t t = 0; t < window->frames; t++) {
        const float *depth = window->depth + t * h * w;
        const float *confident = in->confident + sp_window_frame(window, in, t) * area;
        for (int64_t y = 0; y < h; y++) {
            const int64_t row = sp_nearest_index(y, in->height, h) * in->width;
            for (int64_t x = 0; x < w; x++)
                window->valid[(t * h + y) * w + x] =
                    is_roi(depth[y * w + x], upper) && !is_edge(depth, h, w, y, x, upper) &&
                    confident[row + sp_nearest_index(x, in->width, w)] != 0;
        }
    }
}

static void resize_depth(const SpTrackerInput *in, SpWindow *window)
{
    const int64_t h = window->height, w = window->width, area = in->height * in->width;
    for (int64_t t = 0; t < window->frames; t++) {
        const float *depth = in->depth + sp_window_frame(window, in, t) * area;
        for (int64_t y = 0; y < h; y++) {
            const float *row = depth + sp_nearest_index(y, in->height, h) * in->width;
            for (int64_t x = 0; x < w; x++)
                window->depth[(t * h + y) * w + x] = row[sp_nearest_index(x, in->width, w)];
        }
    }
}

static void cameras(const SpTracker *tracker, const SpTrackerInput *in, SpWindow *window)
{
    float to_first[16];
    const float sx = (float)window->width / (float)in->width;
    const float sy = (float)window->height / (float)in->height;
    const float model_sx = (float)tracker->model_width / (float)window->width;
    const float model_sy = (float)tracker->model_height / (float)window->height;
    sp_pose_invert(in->c2w + 16 * sp_window_frame(window, in, 0), to_first);
    for (int64_t t = 0; t < window->frames; t++) {
        const int64_t frame = sp_window_frame(window, in, t);
        sp_pose_multiply(to_first, in->c2w + 16 * frame, window->c2w + 16 * t);
        sp_intrinsics_scale(in->intrinsics + 9 * frame, 1, (double)sx, (double)sy,
                            window->intrinsics + 9 * t);
    }
    sp_intrinsics_scale(window->intrinsics, window->frames, (double)model_sx, (double)model_sy,
                        window->model_intrinsics);
}

void sp_window_inputs(const SpTracker *tracker, const SpTrackerInput *in, SpWindow *window)
{
    const int64_t count = window->frames * window->height * window->width;
    resize_depth(in, window);
    const Range range = depth_range(window->depth, count);
    valid_mask(in, range.upper, window);
    for (int64_t i = 0; i < count; i++)
        if (window->depth[i] > range.far)
            window->depth[i] = 0;
    cameras(tracker, in, window);
}

static int32_t grid_at(int64_t i, int64_t margin, int64_t size)
{
    return (int32_t)rint((double)margin + (double)i / (GRID - 1) * (double)(size - 2 * margin));
}

static bool is_valid(const SpWindow *window, const int32_t candidate[3])
{
    const int64_t x = sp_min(candidate[1], window->width - 1);
    const int64_t y = sp_min(candidate[2], window->height - 1);
    return window->valid[(candidate[0] * window->height + y) * window->width + x];
}

/* Candidate i, frame, x, y: the grid at the last frame, then twice the grid at the frames
 * [GRID, GRID] drawn for its points. */
static void candidate(const SpWindow *window, const int32_t *frame, int64_t i, int32_t out[3])
{
    const int64_t cell = i % (GRID * GRID), margin = window->width / 64;
    out[0] = i < GRID * GRID ? (int32_t)(window->frames - 1) : frame[cell];
    out[1] = grid_at(cell % GRID, margin, window->width);
    out[2] = grid_at(cell / GRID, margin, window->height);
}

void sp_window_support(SpWindow *window, SpRandom *random, int32_t *scratch)
{
    const int64_t all = 3 * GRID * GRID, wanted = window->tracks - window->users;
    int32_t *frame = scratch, *chosen = frame + GRID * GRID, *order = chosen + all, point[3];
    int64_t count = 0;
    for (int64_t i = 0; i < GRID * GRID; i++)
        frame[i] = (int32_t)sp_random_below(random, window->frames);
    for (int64_t i = 0; i < all; i++) {
        candidate(window, frame, i, point);
        if (is_valid(window, point))
            chosen[count++] = (int32_t)i;
    }
    if (count < MIN_SUPPORT)
        for (count = 0; count < all; count++)
            chosen[count] = (int32_t)count;
    sp_random_permute(random, count, order);
    window->tracks = window->users + sp_min(wanted, count);
    for (int64_t n = window->users; n < window->tracks; n++) {
        float *query = window->query + 3 * n;
        candidate(window, frame, chosen[order[n - window->users]], point);
        for (int i = 0; i < 3; i++)
            query[i] = (float)point[i];
    }
}
