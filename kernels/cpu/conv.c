#include <string.h>

#include "base/minmax.h"
#include "base/tensor.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"

/* [cout, cin, kh, kw] to [cout, kh, kw, cin]. */
void SP_FN(sp_cpu_conv_pack)(SpDevice *device, const SpConvPack *a)
{
    const int64_t cin = a->w.dim[1], taps = a->w.dim[2] * a->w.dim[3];
    const int threads = sp_cpu_threads(device, 4 * a->w.dim[0] * cin * taps);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t o = 0; o < a->w.dim[0]; o++) {
        const float *w = (const float *)a->w.data + o * cin * taps;
        float *packed = a->packed + o * cin * taps, *wide = sp_cpu_work(device);
        if (a->w.dtype != SP_F32) {
            sp_widen(&a->w, o * cin * taps, cin * taps, wide);
            w = wide;
        }
        for (int64_t i = 0; i < cin; i++)
            for (int64_t k = 0; k < taps; k++)
                packed[k * cin + i] = w[i * taps + k];
    }
}

static int64_t conv_size(int64_t size, int64_t kernel, int64_t stride, int64_t pad)
{
    return (size + 2 * pad - kernel) / stride + 1;
}

/* `n` inputs of line y from input `at` of its w * cin on: zero beyond the image. */
static inline void copy_line(const SpConv2d *a, const float *image, int64_t y, int64_t at,
                             int64_t n, float *out)
{
    const int64_t width = a->w * a->cin;
    const float *line = image + y * a->w * a->ldx;
    if (y < 0 || y >= a->h || at + n <= 0 || at >= width) {
        v_zero(out, n);
        return;
    }
    const int64_t before = sp_max(0, -at), within = sp_min(n, width - at) - before;
    v_zero(out, before);
    if (a->ldx == a->cin)
        v_copy(out + before, line + at + before, within);
    else
        v_copy(out, line + at / a->cin * a->ldx + at % a->cin, within);
    v_zero(out + before + within, n - before - within);
}

/* Likewise all of a pixel whose taps lie inside the dense image, lines a->w * a->cin apart. */
static inline void copy_taps(const SpConv2d *a, const float *from, float *out)
{
    const int64_t line = a->kw * a->cin, step = a->w * a->cin;
    for (int64_t i = 0; i < a->kh; i++, from += step, out += line)
        v_copy(out, from, line);
}

/* Of the inputs under each output pixel, [kh, kw, cin], those from first on. Taps side by side are
 * copied together where pixels are dense; else runs end with each tap, and lie inside or outside.
 */
static void gather(const void *of, int64_t row, int64_t rows, int64_t first, int64_t count,
                   float *to)
{
    const SpConv2d *a = of;
    const int64_t wo = conv_size(a->w, a->kw, a->stride, a->pad);
    const int64_t ho = conv_size(a->h, a->kh, a->stride, a->pad);
    const int64_t line = a->kw * a->cin, together = a->ldx == a->cin ? line : a->cin;
    const bool whole = a->ldx == a->cin && count == a->kh * line;
    int64_t ox = row % wo, oy = row / wo % ho, image = row / wo / ho;
    for (int64_t r = 0; r < rows; r++, to += SP_LEAD) {
        const float *x = a->x + image * a->h * a->w * a->ldx;
        const int64_t column = ox * a->stride - a->pad, begin = column * a->cin;
        const int64_t top = oy * a->stride - a->pad;
        const bool inside =
            whole && column >= 0 && top >= 0 && column + a->kw <= a->w && top + a->kh <= a->h;
        if (inside)
            copy_taps(a, x + top * a->w * a->cin + begin, to);
        int64_t at = first % line, y = top + first / line;
        for (int64_t i = 0, n; i < count && !inside; i += n) {
            n = sp_min(count - i, together - at % together);
            copy_line(a, x, y, begin + at, n, to + i);
            at += n;
            if (at == line) {
                at = 0;
                y++;
            }
        }
        if (++ox == wo) {
            ox = 0;
            if (++oy == ho) {
                oy = 0;
                image++;
            }
        }
    }
}

/* Pixels side by side in one line of the dense image, all of whose taps lie inside. */
static bool lie_inside(const void *of, int64_t row, int64_t rows, SpRows *where)
{
    const SpConv2d *a = of;
    const int64_t wo = conv_size(a->w, a->kw, a->stride, a->pad);
    const int64_t ho = conv_size(a->h, a->kh, a->stride, a->pad);
    const int64_t ox = row % wo, line = row / wo, step = a->w * a->cin;
    const int64_t left = ox * a->stride - a->pad, top = line % ho * a->stride - a->pad;
    if (a->ldx != a->cin || ox + rows > wo || left < 0 || top < 0 || top + a->kh > a->h ||
        left + (rows - 1) * a->stride + a->kw > a->w)
        return false;
    *where = (SpRows){.a = a->x + (line / ho * a->h + top) * step + left * a->cin,
                      .lda = a->stride * a->cin,
                      .runs = a->kh,
                      .run = a->kw * a->cin,
                      .apart = step};
    return true;
}

static void finish_conv(const void *of, int64_t row, int64_t rows, int64_t out, int64_t n,
                        const float *sums, int64_t lead)
{
    const SpConv2d *a = of;
    sp_cpu_epilogue(&(SpEpilogue){rows, n, sums, lead, a->b ? a->b + out : NULL, a->act, NULL,
                                  a->residual ? a->residual + row * a->cout + out : NULL, a->cout,
                                  a->y + row * a->ldy + out, a->ldy});
}

void SP_FN(sp_cpu_conv2d)(SpDevice *device, const SpConv2d *a)
{
    const SpLinear rows = sp_conv2d_linear(a, a->n * conv_size(a->h, a->kh, a->stride, a->pad) *
                                                  conv_size(a->w, a->kw, a->stride, a->pad));
    if (sp_conv2d_pointwise(a))
        SP_FN(sp_cpu_linear)(device, &rows);
    else
        sp_product(device, &(SpProduct){rows.rows, rows.w, a, gather, lie_inside, finish_conv});
}

/* [cin, cout, s, s] to [s, s, cout, cin]. */
void SP_FN(sp_cpu_deconv_pack)(SpDevice *device, const SpConvPack *a)
{
    const int64_t cin = a->w.dim[0], cout = a->w.dim[1], taps = a->w.dim[2] * a->w.dim[3];
    const int threads = sp_cpu_threads(device, 8 * cout * cin * taps);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < taps; k++)
        for (int64_t o = 0; o < cout; o++)
            for (int64_t i = 0; i < cin; i++)
                a->packed[(k * cout + o) * cin + i] =
                    (float)sp_tensor_at(&a->w, (i * cout + o) * taps + k);
}

static void load_pixels(const void *of, int64_t row, int64_t rows, int64_t first, int64_t count,
                        float *to)
{
    const SpDeconv *a = of;
    for (int64_t r = 0; r < rows; r++)
        v_copy(to + r * SP_LEAD, a->x + (row + r) * a->cin + first, count);
}

/* Outputs are [s, s, cout]. */
static void finish_deconv(const void *of, int64_t row, int64_t rows, int64_t out, int64_t n,
                          const float *sums, int64_t lead)
{
    const SpDeconv *a = of;
    for (int64_t r = row; r < row + rows; r++, sums += lead) {
        const int64_t column = r % a->w * a->s, line = r / a->w * a->s;
        for (int64_t i = 0, count; i < n; i += count) {
            const int64_t tap = (out + i) / a->cout, channel = (out + i) % a->cout;
            float *y = a->y + ((line + tap / a->s) * a->w * a->s + column + tap % a->s) * a->cout;
            count = sp_min(n - i, a->cout - channel);
            sp_cpu_epilogue(&(SpEpilogue){.rows = 1,
                                          .n = count,
                                          .x = sums + i,
                                          .b = a->b ? a->b + channel : NULL,
                                          .y = y + channel});
        }
    }
}

void SP_FN(sp_cpu_deconv)(SpDevice *device, const SpDeconv *a)
{
    const SpTensor w = {a->packed, SP_F32, 2, {a->s * a->s * a->cout, a->cin}};
    sp_product(device, &(SpProduct){a->n * a->h * a->w, w, a, load_pixels, NULL, finish_deconv});
}
