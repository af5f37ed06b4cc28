/* Ops on images [n, h, w, c]. */
#include "kernel.cuh"

static __global__ void axis_add_kernel(SpAxisAdd a)
{
    const int64_t half = a.c / 2;
    SP_EACH(at, a.n * a.h * a.w * a.c)
    {
        int64_t k, j, i;
        const int64_t pixel = sp_divide(at, a.c, &k), line = sp_divide(pixel, a.w, &j);
        sp_divide(line, a.h, &i);
        if (k < 2 * half)
            a.x[at] += k < half ? a.u[j * half + k] : a.v[i * half + k - half];
    }
}

static __global__ void average_pool_kernel(SpAveragePool a)
{
    const int64_t h = a.h / 2, w = a.w / 2, c = a.c;
    SP_EACH(at, a.n * h * w * c)
    {
        int64_t i, j, line;
        const int64_t pixel = sp_divide(at, c, &i), row = sp_divide(pixel, w, &j);
        const int64_t image = sp_divide(row, h, &line);
        const float *x = a.x + ((image * a.h + 2 * line) * a.w + 2 * j) * c + i;
        const float *below = x + a.w * c;
        a.y[at] = (x[0] + x[c] + below[0] + below[c]) / 4;
    }
}

static __global__ void resize_kernel(SpResize a)
{
    const float step_y = a.ho > 1 ? (float)(a.h - 1) / (float)(a.ho - 1) : 0;
    const float step_x = a.wo > 1 ? (float)(a.w - 1) / (float)(a.wo - 1) : 0;
    SP_EACH(at, a.n * a.ho * a.wo * a.c)
    {
        int64_t k, j, i;
        const int64_t pixel = sp_divide(at, a.c, &k), line = sp_divide(pixel, a.wo, &j);
        const int64_t image = sp_divide(line, a.ho, &i);
        const float y = sp_times(step_y, (float)i), x = sp_times(step_x, (float)j);
        const int64_t y0 = (int64_t)y, y1 = y0 + (y0 < a.h - 1);
        const int64_t x0 = (int64_t)x, x1 = x0 + (x0 < a.w - 1);
        const float ty = y - (float)y0, tx = x - (float)x0;
        const float *from = a.x + image * a.h * a.w * a.c + k;
        const float p00 = from[(y0 * a.w + x0) * a.c], p01 = from[(y0 * a.w + x1) * a.c];
        const float p10 = from[(y1 * a.w + x0) * a.c], p11 = from[(y1 * a.w + x1) * a.c];
        a.y[pixel * a.ldy + k] =
            (1 - ty) * ((1 - tx) * p00 + tx * p01) + ty * ((1 - tx) * p10 + tx * p11);
    }
}

/* The divisions are IEEE's, so that an image is the same to the bit on every device. */
static __global__ void normalize_image_kernel(SpNormalizeImage a)
{
    SP_EACH(at, 3 * a.pixels)
    {
        int64_t c;
        const int64_t p = sp_divide(at, 3, &c);
        a.y[at] = (a.x[c * a.pixels + p] / a.range - a.mean[c]) / a.deviation[c];
    }
}

static __global__ void depth_activation_kernel(SpDepthActivation a)
{
    SP_EACH(p, a.pixels)
    {
        a.depth[p] = expf(a.x[2 * p]);
        a.confidence[p] = 1 / (1 + expf(-a.x[2 * p + 1]));
    }
}

SP_OP(axis_add, SpAxisAdd, sp_blocks(cuda, a->n * a->h * a->w * a->c))
SP_OP(average_pool, SpAveragePool, sp_blocks(cuda, a->n *(a->h / 2) * (a->w / 2) * a->c))
SP_OP(resize, SpResize, sp_blocks(cuda, a->n * a->ho * a->wo * a->c))
SP_OP(normalize_image, SpNormalizeImage, sp_blocks(cuda, 3 * a->pixels))
SP_OP(depth_activation, SpDepthActivation, sp_blocks(cuda, a->pixels))
