/* Data converted to the order and the number format that products and attentions read. */
#include "kernel.cuh"

/* Launches kernel<Float | Bf16 | F16, n> for `count` elements, n at a time. */
#define LAUNCH_AS(format, n, cuda, what, kernel, count, ...)                                       \
    do {                                                                                           \
        const int64_t grid = sp_blocks(cuda, (count) / (n));                                       \
        if ((format) == SP_F32)                                                                    \
            SP_LAUNCH(cuda, what, (kernel<Float, n>), grid, SP_BLOCK, 0, __VA_ARGS__);             \
        else if ((format) == SP_BF16)                                                              \
            SP_LAUNCH(cuda, what, (kernel<Bf16, n>), grid, SP_BLOCK, 0, __VA_ARGS__);              \
        else                                                                                       \
            SP_LAUNCH(cuda, what, (kernel<F16, n>), grid, SP_BLOCK, 0, __VA_ARGS__);               \
    } while (0)

/* N = 4 where all that is read is float32 and a multiple of four. */
template <typename Format, int N> static __global__ void convert_kernel(SpConvert a)
{
    const int64_t pieces = a.ld / N;
    SP_EACH(at, a.rows * pieces)
    {
        int64_t i;
        const int64_t r = sp_divide(at, pieces, &i);
        SpFloats<N> v = {};
        if (N > 1)
            v = sp_load<N>(static_cast<const float *>(a.x) + r * a.ldx + N * i);
        else if (i < a.width)
            v.v[0] = sp_element(a.x, a.dtype, r * a.ldx + i);
        if (a.gain)
            for (int k = 0; k < N; k++)
                v.v[k] *= a.gain[r];
        sp_write(Format(), a.out, N * at, v);
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
        LAUNCH_AS(a->format, 4, cuda, "convert", convert_kernel, count, *a);
    else
        LAUNCH_AS(a->format, 1, cuda, "convert", convert_kernel, count, *a);
}

/* N channels at a time. */
template <typename Format, int N>
static __global__ void gather_kernel(SpConv2d a, int64_t ho, int64_t wo, int64_t first, int64_t m,
                                     void *out, int64_t ld)
{
    const int64_t channels = a.cin / N, width = a.kh * a.kw * channels;
    SP_EACH(at, m * (ld / N))
    {
        int64_t i, ox, oy, k, kx;
        const int64_t r = sp_divide(at, ld / N, &i), line = sp_divide(first + r, wo, &ox);
        const int64_t image = sp_divide(line, ho, &oy), tap = sp_divide(i, channels, &k);
        const int64_t ky = sp_divide(tap, a.kw, &kx);
        const int64_t y = oy * a.stride - a.pad + ky, x = ox * a.stride - a.pad + kx;
        SpFloats<N> v = {};
        if (i < width && y >= 0 && y < a.h && x >= 0 && x < a.w)
            v = sp_load<N>(a.x + ((image * a.h + y) * a.w + x) * a.ldx + N * k);
        sp_write(Format(), out, N * at, v);
    }
}

extern "C" void sp_cuda_gather(SpCuda *cuda, const SpConv2d *a, int64_t first, int64_t m,
                               SpDtype format, void *out, int64_t ld)
{
    const int64_t ho = (a->h + 2 * a->pad - a->kh) / a->stride + 1;
    const int64_t wo = (a->w + 2 * a->pad - a->kw) / a->stride + 1;
    if (ld == a->kh * a->kw * a->cin && a->cin % 4 == 0 && in_fours(a->x, a->ldx))
        LAUNCH_AS(format, 4, cuda, "gather", gather_kernel, m * ld, *a, ho, wo, first, m, out, ld);
    else
        LAUNCH_AS(format, 1, cuda, "gather", gather_kernel, m * ld, *a, ho, wo, first, m, out, ld);
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

/* Where row i of unit `unit` begins among the rows, in elements. */
static __device__ inline int64_t unit_row(const SpUnits &a, int64_t unit, int64_t i)
{
    int64_t h;
    const int64_t b = sp_divide(a.first + unit, a.heads, &h);
    return (a.share > 1 ? b / a.share : b) * a.batch + i * a.row + h * a.head;
}

template <typename Format, int N>
static __global__ void pack_units_kernel(SpUnits a, const void *x, void *out)
{
    SP_EACH(at, a.count * a.n * a.width / N)
    {
        int64_t piece, i;
        const int64_t row = sp_divide(at, a.width / N, &piece), unit = sp_divide(row, a.n, &i);
        const int64_t from = unit_row(a, unit, i) + N * piece;
        SpFloats<N> v;
        for (int k = 0; k < N; k++)
            v.v[k] = N * piece + k < a.head ? sp_element(x, a.rows, from + k) : 0.0f;
        sp_write(Format(), out, N * at, v);
    }
}

extern "C" void sp_cuda_pack_units(SpCuda *cuda, const SpUnits *a, const void *x, SpDtype format,
                                   void *out)
{
    LAUNCH_AS(format, 4, cuda, "pack_units", pack_units_kernel, a->count * a->n * a->width, *a, x,
              out);
}

static __global__ void unpack_units_kernel(SpUnits a, const void *x, SpDtype format, void *out)
{
    SP_EACH(at, a.count * a.n * a.width)
    {
        int64_t e, i;
        const int64_t row = sp_divide(at, a.width, &e), unit = sp_divide(row, a.n, &i);
        if (e >= a.head)
            continue;
        const int64_t to = unit_row(a, unit, i) + e;
        if (a.rows == SP_F32)
            static_cast<float *>(out)[to] = sp_element(x, format, at);
        else
            static_cast<uint16_t *>(out)[to] = static_cast<const uint16_t *>(x)[at];
    }
}

extern "C" void sp_cuda_unpack_units(SpCuda *cuda, const SpUnits *a, const void *x, SpDtype format,
                                     void *out)
{
    SP_LAUNCH(cuda, "unpack_units", unpack_units_kernel,
              sp_blocks(cuda, a->count * a->n * a->width), SP_BLOCK, 0, *a, x, format, out);
}
