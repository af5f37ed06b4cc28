#include <string.h>

#include "base/minmax.h"
#include "base/tensor.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"

/* [cout, cin, kh, kw] to [cout, kh, kw, cin]. */
void SP_FN(sp_cpu_conv_pack)(SpDevice *device, const SpConvPack *a)
{
    const int64_t cin = a->w.dim[1], taps = a->w.dim[2] * a->w.dim[3];
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t o = 0; o < a->w.dim[0]; o++)
        for (int64_t i = 0; i < cin; i++)
            for (int64_t k = 0; k < taps; k++)
                a->packed[(o * taps + k) * cin + i] =
                    (float)sp_tensor_at(&a->w, (o * cin + i) * taps + k);
}

static int64_t conv_size(int64_t size, int64_t kernel, int64_t stride, int64_t pad)
{
    return (size + 2 * pad - kernel) / stride + 1;
}

/* `n` inputs of line y from input `at` of its w * cin on: zero beyond the image. */
static void copy_line(const SpConv2d *a, const float *image, int64_t y, int64_t at, int64_t n,
                      float *out)
{
    const bool inside = y >= 0 && y < a->h;
    const int64_t before = inside ? sp_min(n, sp_max(0, -at)) : n;
    const int64_t within = inside ? sp_max(0, sp_min(n, a->w * a->cin - at) - before) : 0;
    memset(out, 0, (size_t)before * sizeof *out);
    if (within > 0)
        memcpy(out + before,
               image + (y * a->w + (at + before) / a->cin) * a->ldx + (at + before) % a->cin,
               (size_t)within * sizeof *out);
    memset(out + before + within, 0, (size_t)(n - before - within) * sizeof *out);
}

/* Of the inputs under output pixel `row`, [kh, kw, cin], those from first on. Taps side by side are
 * copied together where pixels are dense. */
static void gather(const void *of, int64_t row, int64_t first, int64_t count, float *out)
{
    const SpConv2d *a = of;
    const int64_t wo = conv_size(a->w, a->kw, a->stride, a->pad);
    const int64_t pixels = wo * conv_size(a->h, a->kh, a->stride, a->pad), pixel = row % pixels;
    const float *image = a->x + row / pixels * a->h * a->w * a->ldx;
    const int64_t y0 = pixel / wo * a->stride - a->pad, x0 = pixel % wo * a->stride - a->pad;
    const int64_t line = a->kw * a->cin, together = a->ldx == a->cin ? line : a->cin;
    for (int64_t n; count > 0; out += n, first += n, count -= n) {
        const int64_t at = first % line;
        n = sp_min(count, together - at % together);
        copy_line(a, image, y0 + first / line, x0 * a->cin + at, n, out);
    }
}

static void finish_conv(const void *of, int64_t row, int64_t out, int64_t n, float *sums)
{
    const SpConv2d *a = of;
    sp_cpu_epilogue(sums, n, a->b ? a->b + out : NULL, a->act, NULL,
                    a->residual ? a->residual + row * a->cout + out : NULL,
                    a->y + row * a->ldy + out);
}

void SP_FN(sp_cpu_conv2d)(SpDevice *device, const SpConv2d *a)
{
    const SpLinear rows = sp_conv2d_linear(a, a->n * conv_size(a->h, a->kh, a->stride, a->pad) *
                                                  conv_size(a->w, a->kw, a->stride, a->pad));
    if (sp_conv2d_pointwise(a))
        SP_FN(sp_cpu_linear)(device, &rows);
    else
        sp_product(device, &(SpProduct){rows.rows, rows.w, a, gather, finish_conv});
}

/* [cin, cout, s, s] to [s, s, cout, cin]. */
void SP_FN(sp_cpu_deconv_pack)(SpDevice *device, const SpConvPack *a)
{
    const int64_t cin = a->w.dim[0], cout = a->w.dim[1], taps = a->w.dim[2] * a->w.dim[3];
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int64_t k = 0; k < taps; k++)
        for (int64_t o = 0; o < cout; o++)
            for (int64_t i = 0; i < cin; i++)
                a->packed[(k * cout + o) * cin + i] =
                    (float)sp_tensor_at(&a->w, (i * cout + o) * taps + k);
}

static void load_pixel(const void *of, int64_t row, int64_t first, int64_t count, float *to)
{
    const SpDeconv *a = of;
    memcpy(to, a->x + row * a->cin + first, (size_t)count * sizeof *to);
}

/* Outputs are [s, s, cout]. */
static void finish_deconv(const void *of, int64_t row, int64_t out, int64_t n, float *sums)
{
    const SpDeconv *a = of;
    const int64_t column = row % a->w, line = row / a->w;
    for (const int64_t end = out + n; out < end;) {
        const int64_t tap = out / a->cout, channel = out % a->cout;
        const int64_t count = sp_min(end - out, a->cout - channel);
        float *y = a->y + ((line * a->s + tap / a->s) * a->w * a->s + column * a->s + tap % a->s) *
                              a->cout;
        sp_cpu_epilogue(sums, count, a->b ? a->b + channel : NULL, SP_IDENTITY, NULL, NULL,
                        y + channel);
        out += count;
        sums += count;
    }
}

void SP_FN(sp_cpu_deconv)(SpDevice *device, const SpDeconv *a)
{
    const SpTensor w = {a->packed, SP_F32, 2, {a->s * a->s * a->cout, a->cin}};
    sp_product(device, &(SpProduct){a->n * a->h * a->w, w, a, load_pixel, finish_deconv});
}
