/* Small ops on elements and rows. */
#include "kernel.cuh"

static __global__ void elementwise_kernel(SpElementwise a)
{
    SP_EACH(i, a.count)
    {
        float v = a.x[i];
        if (a.scale != 1.0f)
            v = sp_times(v, a.scale);
        if (a.add) {
            int64_t at = i;
            if (a.period)
                sp_divide(i, a.period, &at);
            v += a.add[at];
        }
        a.y[i] = sp_activate(v, a.act);
    }
}

static __global__ void posenc_kernel(SpPosenc a)
{
    const int64_t angles = a.c * a.degree, width = a.c + angles;
    SP_EACH(at, a.rows * width)
    {
        int64_t i, k, axis;
        const int64_t r = sp_divide(at, width, &i);
        const float *v = a.v + r * a.ldx;
        float *y = a.y + r * a.ldy;
        if (i < a.c) {
            y[i] = v[i];
        } else {
            k = sp_divide(i - a.c, a.c, &axis);
            const float angle = sp_times(v[axis], (float)(1 << k));
            y[i] = sinf(angle);
            y[i + angles] = sinf(angle + 1.57079632679489662f);
        }
    }
}

static __global__ void group_mean_kernel(SpGroupMean a)
{
    const float share = 1 / (float)a.size;
    SP_EACH(at, a.groups * a.c)
    {
        int64_t i;
        const int64_t g = sp_divide(at, a.c, &i);
        const float *x = a.x + g * a.size * a.c + i;
        float sum = x[0];
        for (int64_t r = 1; r < a.size; r++)
            sum += x[r * a.c];
        a.y[at] = sum * share;
    }
}

static __global__ void gather_rows_kernel(SpGatherRows a)
{
    SP_EACH(at, a.groups * a.keep * a.c)
    {
        int64_t i, which;
        const int64_t r = sp_divide(at, a.c, &i), g = sp_divide(r, a.keep, &which);
        a.y[r * a.ldy + i] = a.x[(g * a.count + a.index[r]) * a.c + i];
    }
}

static __global__ void add_rows_kernel(SpAddRows a)
{
    SP_EACH(at, a.rows * a.c)
    {
        int64_t i;
        const int64_t r = sp_divide(at, a.c, &i);
        a.x[at] += a.other[r * a.ldo + i];
    }
}

static __global__ void scale_rows_kernel(SpScaleRows a)
{
    SP_EACH(at, a.rows * a.c)
    {
        int64_t i;
        const int64_t r = sp_divide(at, a.c, &i);
        a.y[r * a.ldy + i] = a.x[at] * a.factor[r];
    }
}

static __global__ void l2_normalize_kernel(SpL2Normalize a)
{
    const int lane = (int)threadIdx.x % SP_WARP;
    const int64_t r = (int64_t)blockIdx.x * SP_BLOCK_WARPS + threadIdx.x / SP_WARP;
    if (r >= a.rows)
        return;
    float *x = a.x + r * a.c, sum = 0;
    for (int64_t i = lane; i < a.c; i += SP_WARP)
        sum += x[i] * x[i];
    const float length = sqrtf(fmaxf(sp_warp_sum(sum), 1e-12f));
    for (int64_t i = lane; i < a.c; i += SP_WARP)
        x[i] /= length;
}

static __global__ void modulate_kernel(SpModulate a)
{
    SP_EACH(at, a.rows * a.width)
    {
        int64_t i;
        const int64_t r = sp_divide(at, a.width, &i);
        const float *m = a.m + r * 3 * a.width + i;
        a.y[at] = a.c[at] + m[2 * a.width] * (a.n[at] * (1 + m[a.width]) + m[0]);
    }
}

/* N columns at a time, where every row and column begins at a multiple of N. x and y in Format. */
template <typename Format, int N> static __global__ void epilogue_kernel(SpEpilogue a)
{
    const int64_t pieces = a.width / N;
    SP_EACH(at, a.rows * pieces)
    {
        int64_t i;
        const int64_t r = sp_divide(at, pieces, &i);
        SpFloats<N> y = sp_read<N>(Format(), a.x, r * a.ldx + N * i);
        if (a.b)
            for (int k = 0; k < N; k++)
                y.v[k] += sp_load<N>(a.b + N * i).v[k];
        for (int k = 0; k < N; k++)
            y.v[k] = sp_activate(y.v[k], a.act);
        if (a.gain)
            for (int k = 0; k < N; k++)
                y.v[k] *= sp_load<N>(a.gain + N * i).v[k];
        if (a.residual)
            for (int k = 0; k < N; k++)
                y.v[k] += sp_load<N>(a.residual + r * a.ldr + N * i).v[k];
        sp_write(Format(), a.y, r * a.ldy + N * i, y);
    }
}

/* Zero bits where every row is aligned to four numbers, in bytes of four floats. */
static uintptr_t ragged(const void *x, int64_t ld, SpDtype format = SP_F32)
{
    const size_t size = sp_dtype_size(format);
    return (uintptr_t)x * (sizeof(float) / size) | (uintptr_t)ld * sizeof(float);
}

static bool in_fours(const SpEpilogue *a)
{
    uintptr_t bits = ragged(a->x, a->ldx, a->format) | ragged(a->y, a->ldy, a->format) |
                     ragged(a->b, a->width) | ragged(a->gain, a->width);
    if (a->residual)
        bits |= ragged(a->residual, a->ldr);
    return bits % sizeof(float4) == 0;
}

template <typename Word> static __global__ void copy_kernel(SpCopy a)
{
    const int64_t words = (int64_t)(a.bytes / sizeof(Word));
    SP_EACH(at, words * (int64_t)a.rows)
    {
        int64_t i;
        const int64_t r = sp_divide(at, words, &i);
        const char *from = static_cast<const char *>(a.from) + r * (int64_t)a.from_pitch;
        reinterpret_cast<Word *>(static_cast<char *>(a.to) + r * (int64_t)a.to_pitch)[i] =
            reinterpret_cast<const Word *>(from)[i];
    }
}

template <typename Word> static void copy_as(SpCuda *cuda, const SpCopy *a)
{
    SP_LAUNCH(cuda, "copy", copy_kernel<Word>,
              sp_blocks(cuda, (int64_t)(a->bytes / sizeof(Word) * a->rows)), SP_BLOCK, 0, *a);
}

/* By the widest words that all places and lengths allow. */
extern "C" void sp_cuda_copy_rows(SpCuda *cuda, const SpCopy *a)
{
    const uintptr_t all =
        (uintptr_t)a->to | (uintptr_t)a->from | a->to_pitch | a->from_pitch | a->bytes;
    if (all % sizeof(float4) == 0)
        copy_as<float4>(cuda, a);
    else if (all % sizeof(float) == 0)
        copy_as<float>(cuda, a);
    else
        copy_as<char>(cuda, a);
}

SP_OP(elementwise, SpElementwise, sp_blocks(cuda, a->count))
SP_OP(posenc, SpPosenc, sp_blocks(cuda, a->rows * a->c * (1 + a->degree)))
SP_OP(group_mean, SpGroupMean, sp_blocks(cuda, a->groups * a->c))
SP_OP(gather_rows, SpGatherRows, sp_blocks(cuda, a->groups * a->keep * a->c))
SP_OP(add_rows, SpAddRows, sp_blocks(cuda, a->rows * a->c))
SP_OP(scale_rows, SpScaleRows, sp_blocks(cuda, a->rows * a->c))
SP_OP(modulate, SpModulate, sp_blocks(cuda, a->rows * a->width))
SP_OP(l2_normalize, SpL2Normalize, sp_warp_blocks(a->rows))

#define LAUNCH_EPILOGUE(format, n)                                                                 \
    SP_LAUNCH(cuda, "epilogue", (epilogue_kernel<format, n>), sp_blocks(cuda, count / (n)),        \
              SP_BLOCK, 0, *a)

extern "C" void sp_cuda_epilogue(SpCuda *cuda, const SpEpilogue *a)
{
    const int64_t count = a->rows * a->width;
    const bool fours = in_fours(a);
    if (a->format == SP_F32 && fours)
        LAUNCH_EPILOGUE(Float, 4);
    else if (a->format == SP_F32)
        LAUNCH_EPILOGUE(Float, 1);
    else if (fours)
        LAUNCH_EPILOGUE(Bf16, 4);
    else
        LAUNCH_EPILOGUE(Bf16, 1);
}
