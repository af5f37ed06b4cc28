/*
 * Vectors of the instruction set a file is compiled for, through the compilers' vector
 * extensions: SP_VL floats a vector. Load and store take unaligned pointers. The functions
 * agree with the exact ones to about 2 ulp.
 */
#ifndef SP_KERNELS_CPU_VEC_H
#define SP_KERNELS_CPU_VEC_H

#include <stdint.h>
#include <string.h>

#include "base/unroll.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { SP_VL = 16 };
#elif defined(__AVX2__)
enum { SP_VL = 8 };
#else
enum { SP_VL = 4 };
#endif

typedef float vf __attribute__((vector_size(SP_VL * 4)));
typedef int32_t vi __attribute__((vector_size(SP_VL * 4)));

/* Inlined in every build, and so instrumented, or not, as the caller is (base/asan.h). */
#define V_INLINE static inline __attribute__((always_inline))

/* The same anywhere in memory. (A memcpy would do, but the sanitizers make a call of each.) */
typedef float vf_anywhere __attribute__((vector_size(SP_VL * 4), aligned(4), may_alias));

V_INLINE vf v_load(const float *p)
{
    return *(const vf_anywhere *)p;
}

V_INLINE void v_store(float *p, vf v)
{
    *(vf_anywhere *)p = v;
}

/* Which elements are among the first n. */
static inline vi v_first(int64_t n)
{
    vi at;
    for (int i = 0; i < SP_VL; i++)
        at[i] = i;
    return at < (int32_t)n;
}

/* The first n <= SP_VL floats, then zeros; nothing beyond them is touched. */
#if defined(__AVX512F__)
static inline vf v_load_n(const float *p, int64_t n)
{
    if (n == SP_VL)
        return v_load(p);
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

static inline void v_store_n(float *p, vf v, int64_t n)
{
    if (n == SP_VL)
        v_store(p, v);
    else
        _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#elif defined(__AVX2__)
static inline vf v_load_n(const float *p, int64_t n)
{
    if (n == SP_VL)
        return v_load(p);
    return (vf)_mm256_maskload_ps(p, (__m256i)v_first(n));
}

static inline void v_store_n(float *p, vf v, int64_t n)
{
    if (n == SP_VL)
        v_store(p, v);
    else
        _mm256_maskstore_ps(p, (__m256i)v_first(n), (__m256)v);
}
#else
static inline vf v_load_n(const float *p, int64_t n)
{
    if (n == SP_VL)
        return v_load(p);
    vf v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

static inline void v_store_n(float *p, vf v, int64_t n)
{
    if (n == SP_VL)
        v_store(p, v);
    else
        memcpy(p, &v, (size_t)n * sizeof *p);
}
#endif

static inline void v_copy(float *to, const float *from, int64_t n)
{
    int64_t i = 0;
    for (; i + SP_VL <= n; i += SP_VL)
        v_store(to + i, v_load(from + i));
    if (i < n)
        v_store_n(to + i, v_load_n(from + i, n - i), n - i);
}

static inline void v_zero(float *to, int64_t n)
{
    int64_t i = 0;
    for (; i + SP_VL <= n; i += SP_VL)
        v_store(to + i, (vf){0});
    if (i < n)
        v_store_n(to + i, (vf){0}, n - i);
}

V_INLINE vf v_set(float x)
{
    return x - (vf){0};
}

static inline vf v_select(vi mask, vf yes, vf no)
{
    return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}

/* Of a and b the larger, and the smaller; b where they do not compare. */
static inline vf v_max(vf a, vf b)
{
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return v_select(a > b, a, b);
#endif
}

static inline vf v_min(vf a, vf b)
{
#if defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return v_select(a < b, a, b);
#endif
}

/* Sums and maxima across a vector, by halves: the same order everywhere. */
typedef float v_quad __attribute__((vector_size(16)));

static inline float v_sum(vf v)
{
    v_quad q[SP_VL / 4];
    memcpy(q, &v, sizeof v);
    SP_UNROLL(2)
    for (int n = SP_VL / 8; n; n /= 2) {
        SP_UNROLL(2)
        for (int i = 0; i < n; i++)
            q[i] += q[i + n];
    }
    return (q[0][0] + q[0][2]) + (q[0][1] + q[0][3]);
}

/* Each run of `width` elements, a power of two at most SP_VL, becomes its sum. */
static inline vf v_sum_runs(vf v, int64_t width)
{
#if defined(__AVX512F__)
    if (width > 1)
        v += (vf)_mm512_permute_ps((__m512)v, 0xb1);
    if (width > 2)
        v += (vf)_mm512_permute_ps((__m512)v, 0x4e);
    if (width > 4)
        v += (vf)_mm512_shuffle_f32x4((__m512)v, (__m512)v, 0xb1);
    if (width > 8)
        v += (vf)_mm512_shuffle_f32x4((__m512)v, (__m512)v, 0x4e);
#elif defined(__AVX2__)
    if (width > 1)
        v += (vf)_mm256_permute_ps((__m256)v, 0xb1);
    if (width > 2)
        v += (vf)_mm256_permute_ps((__m256)v, 0x4e);
    if (width > 4)
        v += (vf)_mm256_permute2f128_ps((__m256)v, (__m256)v, 1);
#else
    if (width > 1)
        v += __builtin_shufflevector(v, v, 1, 0, 3, 2);
    if (width > 2)
        v += __builtin_shufflevector(v, v, 2, 3, 0, 1);
#endif
    return v;
}

static inline float v_largest(vf v)
{
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#else
    float x[SP_VL];
    v_store(x, v);
    SP_UNROLL(2)
    for (int n = SP_VL / 2; n; n /= 2) {
        SP_UNROLL(4)
        for (int i = 0; i < n; i++)
            x[i] = x[i] > x[i + n] ? x[i] : x[i + n];
    }
    return x[0];
#endif
}

/* x y + z, rounded once where the instruction set can. A sum that several copies of a function form
 * is written so: left to the compiler, a x + b may be rounded once in one copy and twice in
 * another. */
V_INLINE vf v_fma(vf x, vf y, vf z)
{
#if defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)x, (__m512)y, (__m512)z);
#elif defined(__AVX2__)
    return (vf)_mm256_fmadd_ps((__m256)x, (__m256)y, (__m256)z);
#else
    return x * y + z;
#endif
}

/* Nearest whole number, for |x| < 2^22, by adding and subtracting 1.5 * 2^23. */
static inline vf v_round(vf x, vi *whole)
{
    const vf magic = v_set(12582912.0f);
    const vf shifted = x + magic;
    *whole = (vi)shifted - (vi)magic;
    return shifted - magic;
}

/* e^x; 0 far below, capped near the largest float. Polynomial of the Cephes library's expf. */
static inline vf v_exp(vf x)
{
    x = v_min(v_max(x, v_set(-87.3f)), v_set(88.3f));
    vi n;
    const vf k = v_round(x * v_set(1.44269504088896341f), &n);
    const vf r = (x - k * v_set(0.693359375f)) - k * v_set(-2.12194440e-4f);
    vf p = v_set(1.9875691500e-4f);
    p = p * r + v_set(1.3981999507e-3f);
    p = p * r + v_set(8.3334519073e-3f);
    p = p * r + v_set(4.1665795894e-2f);
    p = p * r + v_set(1.6666665459e-1f);
    p = p * r + v_set(5.0000001201e-1f);
    p = p * (r * r) + r + v_set(1.0f);
    return (vf)((vi)p + (n << 23));
}

/* x Phi(x) with Phi(x) = erfc(-x / sqrt 2) / 2, erfc by the Chebyshev fit of Numerical Recipes
 * (erfcc, relative error below 1.2e-7 everywhere). */
static inline vf v_gelu(vf x)
{
    const vf z = x * v_set(-0.70710678118654752f);
    const vf a = v_max(z, -z);
    const vf t = v_set(2.0f) / (v_set(2.0f) + a);
    vf p = v_set(0.17087277f);
    p = p * t + v_set(-0.82215223f);
    p = p * t + v_set(1.48851587f);
    p = p * t + v_set(-1.13520398f);
    p = p * t + v_set(0.27886807f);
    p = p * t + v_set(-0.18628806f);
    p = p * t + v_set(0.09678418f);
    p = p * t + v_set(0.37409196f);
    p = p * t + v_set(1.00002368f);
    p = p * t + v_set(-1.26551223f);
    const vf tail = t * v_exp(p - a * a);
    return v_set(0.5f) * x * v_select(z >= 0, tail, v_set(2.0f) - tail);
}

static inline vf v_sigmoid(vf x)
{
    return v_set(1.0f) / (v_set(1.0f) + v_exp(-x));
}

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x sigma(2 sqrt(2/pi) (...)). */
static inline vf v_gelu_tanh(vf x)
{
    const vf u = x + v_set(0.044715f) * x * x * x;
    return x * v_sigmoid(v_set(1.5957691216057308f) * u);
}

/* sin x for |x| < 1e5: Cody and Waite's reduction by pi in three parts, then the polynomial of
 * the Cephes library's sinf extended to [-pi/2, pi/2]. */
static inline vf v_sin(vf x)
{
    vi n;
    const vf k = v_round(x * v_set(0.31830988618379067f), &n);
    vf r = x - k * v_set(3.140625f);
    r = r - k * v_set(9.67502593994140625e-4f);
    r = r - k * v_set(1.50995799e-7f);
    const vf s = r * r;
    vf p = v_set(2.6083159809786593541503e-06f);
    p = p * s + v_set(-0.0001981069071916863322258f);
    p = p * s + v_set(0.00833307858556509017944336f);
    p = p * s + v_set(-0.166666597127914428710938f);
    const vf y = r + r * (s * p);
    return (vf)((vi)y ^ (n << 31));
}

#endif
