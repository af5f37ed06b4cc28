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

/* Columns x .. x + count of a window that go together, so that what depends on a column alone is
 * computed once. */
enum { COLUMNS = 512 };
typedef struct Strip {
    const SpTrackerInput *in;
    SpWindow *window;
    int64_t x, count;
    int32_t column[COLUMNS]; /* the nearest of the clip */
} Strip;

static Strip strip_from(const SpTrackerInput *in, SpWindow *window, int64_t x)
{
    Strip s = {.in = in, .window = window, .x = x, .count = sp_min(COLUMNS, window->width - x)};
    for (int64_t i = 0; i < s.count; i++)
        s.column[i] = (int32_t)sp_nearest_index(x + i, in->width, window->width);
    return s;
}

/* The clip's row of a map [T, height, width] that is nearest to row y of the window's frame t. */
static const float *row_of(const Strip *s, const float *map, int64_t t, int64_t y)
{
    const SpTrackerInput *in = s->in;
    return map + (sp_window_frame(s->window, in, t) * in->height +
                  sp_nearest_index(y, in->height, s->window->height)) *
                     in->width;
}

/* The largest and the smallest depth of interest, from 0.1 to `upper`, of rows y - 1 .. y + 1 of a
 * frame in each column from one before the strip to one behind it, where there is one. */
static void column_range(const Strip *s, const float *depth, int64_t y, float upper, float *max,
                         float *min)
{
    const int64_t h = s->window->height, w = s->window->width;
    const int64_t from = s->x > 0 ? -1 : 0, to = s->x + s->count < w ? s->count + 1 : s->count;
    for (int64_t j = 0; j < s->count + 2; j++) {
        max[j] = -INFINITY;
        min[j] = INFINITY;
    }
    for (int64_t i = y > 0 ? y - 1 : 0; i <= y + 1 && i < h; i++) {
        const float *row = depth + i * w + s->x;
        for (int64_t j = from; j < to; j++) {
            const float d = row[j];
            const bool roi = (d > 0.1f) & (d < upper);
            const float high = roi ? d : -INFINITY, low = roi ? d : INFINITY;
            max[j + 1] = high > max[j + 1] ? high : max[j + 1];
            min[j + 1] = low < min[j + 1] ? low : min[j + 1];
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

/* Row y of frame t: depths of interest that do not jump around their pixel, where the clip's are
 * trusted. */
static void valid_row(const Strip *s, int64_t t, int64_t y, float upper)
{
    const int64_t w = s->window->width, frame = t * s->window->height * w;
    const float *depth = s->window->depth + frame, *row = depth + y * w + s->x;
    const float *confident = row_of(s, s->in->confident, t, y);
    uint8_t *valid = s->window->valid + frame + y * w + s->x;
    float max[COLUMNS + 2], min[COLUMNS + 2];
    column_range(s, depth, y, upper, max, min);
    for (int64_t j = 0; j < s->count; j++) {
        const float high = largest(largest(max[j], max[j + 1]), max[j + 2]);
        const float low = smallest(smallest(min[j], min[j + 1]), min[j + 2]);
        const bool edge = (high > low) & ((high - low) / row[j] > 0.03f);
        valid[j] = (row[j] > 0.1f) & (row[j] < upper) & !edge;
    }
    for (int64_t j = 0; j < s->count; j++)
        valid[j] &= confident[s->column[j]] != 0;
}

static void valid_mask(const SpTrackerInput *in, float upper, SpWindow *window)
{
    for (int64_t x = 0; x < window->width; x += COLUMNS) {
        const Strip s = strip_from(in, window, x);
#pragma omp parallel for schedule(static) num_threads(window->threads)
        for (int64_t t = 0; t < window->frames; t++)
            for (int64_t y = 0; y < window->height; y++)
                valid_row(&s, t, y, upper);
    }
}

static void resize_depth(const SpTrackerInput *in, SpWindow *window)
{
    const int64_t h = window->height, w = window->width;
    for (int64_t x = 0; x < w; x += COLUMNS) {
        const Strip s = strip_from(in, window, x);
#pragma omp parallel for schedule(static) num_threads(window->threads)
        for (int64_t i = 0; i < window->frames * h; i++) {
            const float *row = row_of(&s, in->depth, i / h, i % h);
            for (int64_t j = 0; j < s.count; j++)
                window->depth[i * w + x + j] = row[s.column[j]];
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
