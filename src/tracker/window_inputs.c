#include "tracker/window.h"

#include "base/nearest.h"
#include "geometry/camera.h"
#include "tracker/order.h"

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

typedef struct Range {
    float far, upper; /* larger depths than far are dropped; valid ones lie below upper */
} Range;

static Range depth_range(const float *depth, int64_t count)
{
    SpOrder order;
    const int64_t n = sp_order_count(depth, count, &order), k25 = n / 4, k75 = (3 * n) / 4;
    const int64_t k[2] = {k25 > 1 ? k25 : 1, k75 > 1 ? k75 : 1};
    float q[2];
    if (n == 0)
        return (Range){INFINITY, 0};
    sp_order_find(depth, count, &order, k, q);
    const float upper = q[1] + 0.8f * (q[1] - q[0]);
    return (Range){10 * q[0], fminf(fmaxf(upper, 1e-6f), 10 * q[0])};
}

/* Columns that go together, so that what depends on a column alone is computed once. */
enum { COLUMNS = 512 };

/* The nearest columns of the clip to columns x .. x + count. */
static void nearest_columns(const SpTrackerInput *in, int64_t w, int64_t x, int64_t count,
                            int32_t *column)
{
    for (int64_t i = 0; i < count; i++)
        column[i] = (int32_t)sp_nearest_index(x + i, in->width, w);
}

/* The largest and the smallest depth of interest, from 0.1 to `upper`, of rows y - 1 .. y + 1, in
 * `count` columns from x. */
static void column_range(const float *depth, int64_t h, int64_t w, int64_t y, int64_t x,
                         int64_t count, float upper, float *max, float *min)
{
    for (int64_t j = 0; j < count; j++) {
        max[j] = -INFINITY;
        min[j] = INFINITY;
    }
    for (int64_t i = y > 0 ? y - 1 : 0; i <= y + 1 && i < h; i++) {
        const float *row = depth + i * w + x;
        for (int64_t j = 0; j < count; j++) {
            const float d = row[j];
            const bool roi = (d > 0.1f) & (d < upper);
            const float high = roi ? d : -INFINITY, low = roi ? d : INFINITY;
            max[j] = high > max[j] ? high : max[j];
            min[j] = low < min[j] ? low : min[j];
        }
    }
}

static float largest(float a, float b)
{
    return a > b ? a : b;
}

static float smallest(float a, float b)
{
    return a < b ? a : b;
}

/* Columns x .. x + count of row y of one frame: depths of interest that do not jump around their
 * pixel, where the clip's are trusted. confident: the clip's row. */
static void valid_row(const SpWindow *window, const float *depth, int64_t y, int64_t x,
                      int64_t count, float upper, const float *confident, const int32_t *column,
                      uint8_t *valid)
{
    float max[COLUMNS + 2], min[COLUMNS + 2];
    const int64_t from = x > 0 ? x - 1 : 0, to = sp_min(x + count + 1, window->width);
    max[0] = max[count + 1] = -INFINITY;
    min[0] = min[count + 1] = INFINITY;
    column_range(depth, window->height, window->width, y, from, to - from, upper,
                 max + 1 + from - x, min + 1 + from - x);
    const float *row = depth + y * window->width + x;
    for (int64_t j = 0; j < count; j++) {
        const float high = largest(largest(max[j], max[j + 1]), max[j + 2]);
        const float low = smallest(smallest(min[j], min[j + 1]), min[j + 2]);
        const bool edge = (high > low) & ((high - low) / row[j] > 0.03f);
        valid[j] = (row[j] > 0.1f) & (row[j] < upper) & !edge;
    }
    for (int64_t j = 0; j < count; j++)
        valid[j] &= confident[column[j]] != 0;
}

static void valid_mask(const SpTrackerInput *in, float upper, SpWindow *window)
{
    const int64_t h = window->height, w = window->width, area = in->height * in->width;
    for (int64_t x = 0; x < w; x += COLUMNS) {
        int32_t column[COLUMNS];
        const int64_t count = sp_min(COLUMNS, w - x);
        nearest_columns(in, w, x, count, column);
#pragma omp parallel for schedule(static) num_threads(window->threads)
        for (int64_t t = 0; t < window->frames; t++) {
            const float *confident = in->confident + sp_window_frame(window, in, t) * area;
            for (int64_t y = 0; y < h; y++)
                valid_row(window, window->depth + t * h * w, y, x, count, upper,
                          confident + sp_nearest_index(y, in->height, h) * in->width, column,
                          window->valid + (t * h + y) * w + x);
        }
    }
}

static void resize_depth(const SpTrackerInput *in, SpWindow *window)
{
    const int64_t h = window->height, w = window->width, area = in->height * in->width;
    for (int64_t x = 0; x < w; x += COLUMNS) {
        int32_t column[COLUMNS];
        const int64_t count = sp_min(COLUMNS, w - x);
        nearest_columns(in, w, x, count, column);
#pragma omp parallel for schedule(static) num_threads(window->threads)
        for (int64_t i = 0; i < window->frames * h; i++) {
            const float *row = in->depth + sp_window_frame(window, in, i / h) * area +
                               sp_nearest_index(i % h, in->height, h) * in->width;
            for (int64_t j = 0; j < count; j++)
                window->depth[i * w + x + j] = row[column[j]];
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
    sp_pose_invert(in->c2w + 16 * window->first, to_first);
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
#pragma omp parallel for schedule(static) num_threads(window->threads)
    for (int64_t i = 0; i < count; i++)
        window->depth[i] = window->depth[i] > range.far ? 0 : window->depth[i];
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
