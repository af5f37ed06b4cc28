/* Data converted to the order and the number format that products and attentions read. */
#include "kernel.cuh"
extern "C" {
#include "kernels/cuda/pack.h"
}

/* Element `i` of `out` in its format. */
struct Float {
};

static __device__ inline void store(Float, void *out, int64_t i, float v)
{
    static_cast<float *>(out)[i] = v;
}

template <typename Half>
static __device__ inline void store(Half half, void *out, int64_t i, float v)
{
    static_cast<uint16_t *>(out)[i] = (uint16_t)sp_pack(half, v, 0);
}

/* Four elements 4 i .. of `out`. */
static __device__ inline void store4(Float, void *out, int64_t i, float4 v)
{
    static_cast<float4 *>(out)[i] = v;
}

template <typename Half>
static __device__ inline void store4(Half half, void *out, int64_t i, float4 v)
{
    static_cast<uint2 *>(out)[i] = make_uint2(sp_pack(half, v.x, v.y), sp_pack(half, v.z, v.w));
}

/* Launches kernel<Float | Bf16 | F16>. */
#define LAUNCH_AS(format, cuda, what, kernel, grid, ...)                                           \
    do {                                                                                           \
        if ((format) == SP_FORMAT_F32)                                                             \
            SP_LAUNCH(cuda, what, kernel<Float>, grid, SP_BLOCK, 0, __VA_ARGS__);                  \
        else if ((format) == SP_FORMAT_BF16)                                                       \
            SP_LAUNCH(cuda, what, kernel<Bf16>, grid, SP_BLOCK, 0, __VA_ARGS__);                   \
        else                                                                                       \
            SP_LAUNCH(cuda, what, kernel<F16>, grid, SP_BLOCK, 0, __VA_ARGS__);                    \
    } while (0)

template <typename Format> static __global__ void convert_kernel(SpConvert a)
{
    SP_EACH(at, a.rows * a.ld)
    {
        int64_t i;
        const int64_t r = sp_divide(at, a.ld, &i);
        store(Format(), a.out, at, i < a.width ? sp_element(a.x, a.dtype, r * a.ldx + i) : 0.0f);
    }
}

/* The same where all is float32 and a multiple of four. */
template <typename Format> static __global__ void convert_fours_kernel(SpConvert a)
{
    const int64_t fours = a.width / 4;
    SP_EACH(at, a.rows * fours)
    {
        int64_t i;
        const int64_t r = sp_divide(at, fours, &i);
        store4(Format(), a.out, at, static_cast<const float4 *>(a.x)[r * (a.ldx / 4) + i]);
    }
}

static inline bool in_fours(const void *x, int64_t ld)
{
    return (uintptr_t)x % 16 == 0 && ld % 4 == 0;
}

extern "C" void sp_cuda_convert(SpCuda *cuda, const SpConvert *a)
{
    const int64_t count = a->rows * a->ld;
    if (a->dtype == SP_F32 && a->ld == a->width && a->width % 4 == 0 && in_fours(a->x, a->ldx))
        LAUNCH_AS(a->format, cuda, "convert", convert_fours_kernel, sp_blocks(cuda, count / 4), *a);
    else
        LAUNCH_AS(a->format, cuda, "convert", convert_kernel, sp_blocks(cuda, count), *a);
}

template <typename Format>
static __global__ void gather_kernel(SpConv2d a, int64_t ho, int64_t wo, int64_t first, int64_t m,
                                     void *out, int64_t ld)
{
    const int64_t width = a.kh * a.kw * a.cin;
    SP_EACH(at, m * ld)
    {
        int64_t i, ox, oy, k, kx;
        const int64_t r = sp_divide(at, ld, &i), line = sp_divide(first + r, wo, &ox);
        const int64_t image = sp_divide(line, ho, &oy), tap = sp_divide(i, a.cin, &k);
        const int64_t ky = sp_divide(tap, a.kw, &kx);
        const int64_t y = oy * a.stride - a.pad + ky, x = ox * a.stride - a.pad + kx;
        const bool inside = i < width && y >= 0 && y < a.h && x >= 0 && x < a.w;
        store(Format(), out, at, inside ? a.x[((image * a.h + y) * a.w + x) * a.ldx + k] : 0.0f);
    }
}

/* Four channels at a time. */
template <typename Format>
static __global__ void gather_fours_kernel(SpConv2d a, int64_t ho, int64_t wo, int64_t first,
                                           int64_t m, void *out)
{
    const int64_t fours = a.cin / 4, width = a.kh * a.kw * fours;
    SP_EACH(at, m * width)
    {
        int64_t i, ox, oy, k, kx;
        const int64_t r = sp_divide(at, width, &i), line = sp_divide(first + r, wo, &ox);
        const int64_t image = sp_divide(line, ho, &oy), tap = sp_divide(i, fours, &k);
        const int64_t ky = sp_divide(tap, a.kw, &kx);
        const int64_t y = oy * a.stride - a.pad + ky, x = ox * a.stride - a.pad + kx;
        float4 v = make_float4(0, 0, 0, 0);
        if (y >= 0 && y < a.h && x >= 0 && x < a.w)
            v = reinterpret_cast<const float4 *>(a.x + ((image * a.h + y) * a.w + x) * a.ldx)[k];
        store4(Format(), out, at, v);
    }
}

extern "C" void sp_cuda_gather(SpCuda *cuda, const SpConv2d *a, int64_t first, int64_t m,
                               SpFormat format, void *out, int64_t ld)
{
    const int64_t ho = (a->h + 2 * a->pad - a->kh) / a->stride + 1;
    const int64_t wo = (a->w + 2 * a->pad - a->kw) / a->stride + 1;
    if (ld == a->kh * a->kw * a->cin && a->cin % 4 == 0 && in_fours(a->x, a->ldx))
        LAUNCH_AS(format, cuda, "gather", gather_fours_kernel, sp_blocks(cuda, m * ld / 4), *a, ho,
                  wo, first, m, out);
    else
        LAUNCH_AS(format, cuda, "gather", gather_kernel, sp_blocks(cuda, m * ld), *a, ho, wo, first,
                  m, out, ld);
}

/* conv: [cout, cin, taps] to [cout, taps, cin]; else, a deconvolution, [cin, cout, taps] to [taps,
 * cout, cin]. */
static __global__ void pack_kernel(SpConvPack a, int64_t taps, bool conv)
{
    const int64_t outer = a.w.dim[0], inner = a.w.dim[1];
    SP_EACH(at, outer * inner * taps)
    {
        int64_t i, middle, from;
        const int64_t rest = sp_divide(at, conv ? inner : outer, &i);
        if (conv) {
            const int64_t o = sp_divide(rest, taps, &middle);
            from = (o * inner + i) * taps + middle;
        } else {
            const int64_t tap = sp_divide(rest, inner, &middle);
            from = (i * inner + middle) * taps + tap;
        }
        a.packed[at] = sp_element(a.w.data, a.w.dtype, from);
    }
}

static void pack(SpCuda *cuda, const SpConvPack *a, bool conv)
{
    const int64_t taps = a->w.dim[2] * a->w.dim[3];
    SP_LAUNCH(cuda, "pack", pack_kernel, sp_blocks(cuda, a->w.dim[0] * a->w.dim[1] * taps),
              SP_BLOCK, 0, *a, taps, conv);
}

extern "C" void sp_cuda_conv_pack(SpDevice *device, const SpConvPack *a)
{
    pack(sp_cuda(device), a, true);
}

extern "C" void sp_cuda_deconv_pack(SpDevice *device, const SpConvPack *a)
{
    pack(sp_cuda(device), a, false);
}

static __global__ void scatter_kernel(SpDeconv a, int64_t first, int64_t m, const float *t)
{
    const int64_t s = a.s;
    SP_EACH(at, m * s * s * a.cout)
    {
        int64_t o, tap, column;
        const int64_t rest = sp_divide(at, a.cout, &o), p = sp_divide(rest, s * s, &tap);
        const int64_t row = sp_divide(first + p, a.w, &column), dy = tap / s, dx = tap % s;
        a.y[((row * s + dy) * a.w * s + column * s + dx) * a.cout + o] =
            t[at] + (a.b ? a.b[o] : 0.0f);
    }
}

extern "C" void sp_cuda_scatter(SpCuda *cuda, const SpDeconv *a, int64_t first, int64_t m,
                                const float *t)
{
    SP_LAUNCH(cuda, "scatter", scatter_kernel, sp_blocks(cuda, m * a->s * a->s * a->cout), SP_BLOCK,
              0, *a, first, m, t);
}

/* Where row i of unit `unit` begins among float32 rows. */
static __device__ inline int64_t unit_row(const SpUnits &a, int64_t unit, int64_t i)
{
    int64_t h;
    const int64_t b = sp_divide(a.first + unit, a.heads, &h);
    return (a.share > 1 ? b / a.share : b) * a.batch + i * a.row + h * a.head;
}

template <typename Format>
static __global__ void pack_units_kernel(SpUnits a, const float *x, void *out)
{
    SP_EACH(at, a.count * a.n * a.width / 4)
    {
        int64_t four, i;
        const int64_t row = sp_divide(at, a.width / 4, &four), unit = sp_divide(row, a.n, &i);
        const float *from = x + unit_row(a, unit, i);
        float v[4];
        for (int k = 0; k < 4; k++)
            v[k] = 4 * four + k < a.head ? from[4 * four + k] : 0.0f;
        store4(Format(), out, at, make_float4(v[0], v[1], v[2], v[3]));
    }
}

extern "C" void sp_cuda_pack_units(SpCuda *cuda, const SpUnits *a, const float *x, SpFormat format,
                                   void *out)
{
    LAUNCH_AS(format, cuda, "pack_units", pack_units_kernel,
              sp_blocks(cuda, a->count * a->n * a->width / 4), *a, x, out);
}

template <typename Half>
static __global__ void unpack_units_kernel(SpUnits a, const void *x, float *out)
{
    SP_EACH(at, a.count * a.n * a.width / 2)
    {
        int64_t pair, i;
        const int64_t row = sp_divide(at, a.width / 2, &pair), unit = sp_divide(row, a.n, &i);
        const uint32_t word = static_cast<const uint32_t *>(x)[at];
        float *to = out + unit_row(a, unit, i) + 2 * pair;
        if (2 * pair < a.head)
            to[0] = sp_word_low(Half(), word);
        if (2 * pair + 1 < a.head)
            to[1] = sp_word_high(Half(), word);
    }
}

extern "C" void sp_cuda_unpack_units(SpCuda *cuda, const SpUnits *a, const void *x, SpFormat format,
                                     float *out)
{
    const int64_t grid = sp_blocks(cuda, a->count * a->n * a->width / 2);
    if (format == SP_FORMAT_BF16)
        SP_LAUNCH(cuda, "unpack_units", unpack_units_kernel<Bf16>, grid, SP_BLOCK, 0, *a, x, out);
    else
        SP_LAUNCH(cuda, "unpack_units", unpack_units_kernel<F16>, grid, SP_BLOCK, 0, *a, x, out);
}
