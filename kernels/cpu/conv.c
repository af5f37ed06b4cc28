#include <string.h>

#include "base/minmax.h"
#include "base/tensor.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

enum { PATCH_FLOATS = 2304 * SP_ROW_TILE }; /* gathered inputs of a tile of output pixels */

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

/* The inputs under taps first .. first + count of output pixel (oy, ox), as a row. */
static void gather(const SpConv2d *a, const float *image, int64_t oy, int64_t ox, int64_t first,
                   int64_t count, float *out)
{
    const int64_t y0 = oy * a->stride - a->pad, x0 = ox * a->stride - a->pad;
    for (int64_t tap = first; tap < first + count; out += a->cin, tap++) {
        const int64_t y = y0 + tap / a->kw, x = x0 + tap % a->kw;
        if (y < 0 || y >= a->h || x < 0 || x >= a->w)
            memset(out, 0, (size_t)a->cin * sizeof *out);
        else
            memcpy(out, image + (y * a->w + x) * a->ldx, (size_t)a->cin * sizeof *out);
    }
}

/* Output pixels first .. first + m of one image, output channels out .. out + n. */
typedef struct Tile {
    const float *image;
    int64_t first, m, out, n;
} Tile;

/* The tile's sums [m, n] over the inputs that are gathered into `patch`. */
static void conv_tile(const SpConv2d *a, const Tile *t, int64_t wo, float *sums, float *patch)
{
    const int64_t taps = a->kh * a->kw;
    int64_t group = PATCH_FLOATS / SP_ROW_TILE / a->cin;
    group = group < 1 ? 1 : sp_min(group, taps);
    for (int64_t tap = 0; tap < taps; tap += group) {
        const int64_t count = sp_min(group, taps - tap), width = count * a->cin;
        for (int64_t p = t->first; p < t->first + t->m; p++)
            gather(a, t->image, p / wo, p % wo, tap, count, patch + (p - t->first) * width);
        sp_gemm_nt(t->m, t->n, width, 1, patch, width, a->packed + (t->out * taps + tap) * a->cin,
                   taps * a->cin, tap ? 1.0f : 0.0f, sums, t->n);
    }
}

void SP_FN(sp_cpu_conv2d)(SpDevice *device, const SpConv2d *a)
{
    if (sp_conv2d_pointwise(a)) {
        const SpLinear rows = sp_conv2d_linear(a, a->n * a->h * a->w);
        SP_FN(sp_cpu_linear)(device, &rows);
        return;
    }
    const int64_t ho = (a->h + 2 * a->pad - a->kh) / a->stride + 1;
    const int64_t wo = (a->w + 2 * a->pad - a->kw) / a->stride + 1, pixels = ho * wo;
    const int64_t tiles = (pixels + SP_ROW_TILE - 1) / SP_ROW_TILE;
    const int64_t out_tiles = (a->cout + SP_TILE_OUTS - 1) / SP_TILE_OUTS;
#pragma omp parallel for schedule(dynamic) num_threads(device->threads)
    for (int64_t unit = 0; unit < a->n * tiles * out_tiles; unit++) {
        const int64_t out = unit % out_tiles * SP_TILE_OUTS, i = unit / out_tiles / tiles;
        const int64_t first = unit / out_tiles % tiles * SP_ROW_TILE;
        const Tile t = {a->x + i * a->h * a->w * a->ldx, first, sp_min(SP_ROW_TILE, pixels - first),
                        out, sp_min(SP_TILE_OUTS, a->cout - out)};
        float *sums = sp_cpu_work(device), *patch = sums + SP_ROW_TILE * SP_TILE_OUTS;
        conv_tile(a, &t, wo, sums, patch);
        for (int64_t p = 0; p < t.m; p++) {
            const int64_t at = i * pixels + first + p;
            sp_cpu_epilogue(sums + p * t.n, t.n, a->b ? a->b + out : NULL, a->act, NULL,
                            a->residual ? a->residual + at * a->cout + out : NULL,
                            a->y + at * a->ldy + out);
        }
    }
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

void SP_FN(sp_cpu_deconv)(SpDevice *device, const SpDeconv *a)
{
    const int64_t pixels = a->n * a->h * a->w, s = a->s;
    const int64_t tiles = (pixels + SP_ROW_TILE - 1) / SP_ROW_TILE;
    const int64_t out_tiles = (a->cout + SP_TILE_OUTS - 1) / SP_TILE_OUTS;
#pragma omp parallel for schedule(dynamic) num_threads(device->threads)
    for (int64_t unit = 0; unit < tiles * out_tiles * s * s; unit++) {
        const int64_t tap = unit % (s * s), out = unit / (s * s) % out_tiles * SP_TILE_OUTS;
        const int64_t begin = unit / (s * s) / out_tiles * SP_ROW_TILE;
        const int64_t m = sp_min(SP_ROW_TILE, pixels - begin),
                      n = sp_min(SP_TILE_OUTS, a->cout - out);
        float *tile = sp_cpu_work(device);
        sp_gemm_nt(m, n, a->cin, 1, a->x + begin * a->cin, a->cin,
                   a->packed + (tap * a->cout + out) * a->cin, a->cin, 0, tile, n);
        for (int64_t p = 0; p < m; p++) {
            const int64_t column = (begin + p) % a->w, row = (begin + p) / a->w;
            float *y = a->y + ((row * s + tap / s) * a->w * s + column * s + tap % s) * a->cout;
            sp_cpu_epilogue(tile + p * n, n, a->b ? a->b + out : NULL, SP_IDENTITY, NULL, NULL,
                            y + out);
        }
    }
}
