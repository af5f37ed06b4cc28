#include "refine/pyramid.h"

#include <omp.h>
#include <stdlib.h>

#include "base/minmax.h"

enum { SMALLEST = 64 };

static int64_t half(int64_t size)
{
    return (size + 1) / 2;
}

size_t sp_pyramid_bytes(int64_t height, int64_t width, int threads)
{
    size_t pixels = (size_t)(threads * width);
    for (int k = 0; k < SP_MAX_PYRAMID_LEVELS; k++, height = half(height), width = half(width))
        pixels += (size_t)(height * width);
    return pixels * sizeof(float);
}

SpStatus sp_pyramid_alloc(int64_t height, int64_t width, int levels, int threads,
                          SpPyramid *pyramid)
{
    *pyramid = (SpPyramid){.threads = threads,
                           .row = malloc((size_t)(threads * width) * sizeof *pyramid->row)};
    if (!pyramid->row)
        return sp_no_memory("a frame's pyramid");
    for (int k = 0; k < levels && k < SP_MAX_PYRAMID_LEVELS; k++) {
        if (k > 0 && sp_min(height, width) < SMALLEST)
            break;
        pyramid->height[k] = height;
        pyramid->width[k] = width;
        pyramid->gray[k] = malloc((size_t)(height * width) * sizeof(float));
        if (!pyramid->gray[k])
            return sp_no_memory("a frame's pyramid");
        pyramid->levels = k + 1;
        height = half(height);
        width = half(width);
    }
    return sp_ok();
}

void sp_pyramid_free(SpPyramid *pyramid)
{
    for (int k = 0; k < SP_MAX_PYRAMID_LEVELS; k++)
        free(pyramid->gray[k]);
    free(pyramid->row);
    *pyramid = (SpPyramid){0};
}

static int64_t inside(int64_t i, int64_t size)
{
    return i < 0 ? 0 : i < size ? i : size - 1;
}

/* One level from the one below: rows are filtered first, down the frame. */
static void reduce(const SpPyramid *pyramid, int k)
{
    const int64_t h = pyramid->height[k - 1], w = pyramid->width[k - 1];
    const float *in = pyramid->gray[k - 1];
#pragma omp parallel for num_threads(pyramid->threads)
    for (int64_t y = 0; y < pyramid->height[k]; y++) {
        float *row = pyramid->row + omp_get_thread_num() * pyramid->width[0];
        float *out = pyramid->gray[k] + y * pyramid->width[k];
        const float *r[5];
        for (int d = 0; d < 5; d++)
            r[d] = in + inside(2 * y + d - 2, h) * w;
        for (int64_t x = 0; x < w; x++)
            row[x] = (r[0][x] + r[4][x] + 4 * (r[1][x] + r[3][x]) + 6 * r[2][x]) / 16;
        for (int64_t x = 0; x < pyramid->width[k]; x++) {
            const float *at = row + 2 * x;
            const int64_t left = 2 * x >= 1, right = 2 * x + 1 < w;
            const float near = at[-left] + at[right];
            const float far = row[inside(2 * x - 2, w)] + row[inside(2 * x + 2, w)];
            *out++ = (far + 4 * near + 6 * at[0]) / 16;
        }
    }
}

void sp_pyramid_fill(SpPyramid *pyramid, const uint8_t *rgb)
{
    const int64_t pixels = pyramid->height[0] * pyramid->width[0];
    float *gray = pyramid->gray[0];
#pragma omp parallel for num_threads(pyramid->threads)
    for (int64_t i = 0; i < pixels; i++)
        gray[i] = 0.299f * (float)rgb[3 * i] + 0.587f * (float)rgb[3 * i + 1] +
                  0.114f * (float)rgb[3 * i + 2];
    for (int k = 1; k < pyramid->levels; k++)
        reduce(pyramid, k);
}
