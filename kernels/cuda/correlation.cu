/*
 * Samples around points of feature maps, and products with them. All samples of a patch share the
 * fraction of their position, and clamping a position to the map equals clamping the indices of its
 * neighbours; so a patch reads side + 1 by side + 1 whole pixels.
 */
#include "kernel.cuh"

enum { MAX_SIDE = 9, MAX_PIXELS = (MAX_SIDE + 1) * (MAX_SIDE + 1) };

/* Where an axis of a patch begins, in whole pixels before clamping, and the fraction. */
struct Start {
    int first;
    float fraction;
};

static __device__ inline Start start_of(float at, int64_t size, int64_t side)
{
    const float far = (float)(size + MAX_SIDE); /* beyond it nothing changes */
    at = at > -far ? (at < far ? at : far) : -far;
    const float whole = floorf(at);
    return Start{(int)whole - (int)(side / 2), at - whole};
}

static __device__ inline int64_t clamped(int i, int64_t size)
{
    return i < 0 ? 0 : i < size ? i : size - 1;
}

static __device__ inline int64_t frame_of(float frame, int64_t frames)
{
    const int64_t t = (int64_t)frame;
    return t < 0 ? 0 : t < frames ? t : frames - 1;
}

static __global__ void sample_patches_kernel(SpSamplePatches a)
{
    const int64_t samples = a.pick ? a.picks : a.side * a.side, c = a.c;
    SP_EACH(at, a.pairs * samples * c)
    {
        int64_t k, s;
        const int64_t row = sp_divide(at, c, &k), p = sp_divide(row, samples, &s);
        const int which = a.pick ? a.pick[row] : (int)s;
        const int i = which / (int)a.side, j = which % (int)a.side;
        const Start x = start_of(a.xy[2 * p], a.w, a.side);
        const Start y = start_of(a.xy[2 * p + 1], a.h, a.side);
        const float *map = a.map + frame_of(a.frame[p], a.frames) * a.h * a.w * c + k;
        const int64_t x0 = clamped(x.first + i, a.w), x1 = clamped(x.first + i + 1, a.w);
        const int64_t y0 = clamped(y.first + j, a.h), y1 = clamped(y.first + j + 1, a.h);
        const float fx = x.fraction, fy = y.fraction;
        a.out[row * a.ldy + k] = (1 - fy) * (1 - fx) * map[(y0 * a.w + x0) * c] +
                                 (1 - fy) * fx * map[(y0 * a.w + x1) * c] +
                                 fy * (1 - fx) * map[(y1 * a.w + x0) * c] +
                                 fy * fx * map[(y1 * a.w + x1) * c];
    }
}

SP_OP(sample_patches, SpSamplePatches,
      sp_blocks(cuda, a->pairs *(a->pick ? a->picks : a->side * a->side) * a->c))

enum {
    TILE = 64,    /* pixels and template samples multiplied together, a 4 x 4 block a thread */
    CHANNELS = 16 /* at a time */
};

/* Channels begin .. begin + CHANNELS of `count` <= TILE rows into shared [TILE][CHANNELS + 1]. */
template <typename Row>
static __device__ inline void load_channels(float *shared, int count, int64_t begin, int64_t c,
                                            Row row)
{
    for (int i = (int)threadIdx.x; i < TILE * CHANNELS; i += (int)blockDim.x) {
        const int r = i / CHANNELS;
        const int64_t k = begin + i % CHANNELS;
        shared[r * (CHANNELS + 1) + i % CHANNELS] = r < count && k < c ? row(r)[k] : 0.0f;
    }
}

/* A block a pair: products of the (side + 1)^2 whole pixels around its point (x outer, y inner)
 * with the side^2 template samples, in shared memory; then the samples between the pixels. */
static __global__ void correlate_kernel(SpCorrelate a)
{
    SP_SHARED(float, shared);
    const int side = (int)a.side, n = side * side, pixels = (side + 1) * (side + 1);
    float *left = shared, *right = left + TILE * (CHANNELS + 1);
    float *products = right + TILE * (CHANNELS + 1); /* [pixels][n] */
    const int64_t pair = blockIdx.x, c = a.c;
    const Start x = start_of(a.xy[2 * pair], a.w, a.side);
    const Start y = start_of(a.xy[2 * pair + 1], a.h, a.side);
    const float *map = a.map + frame_of(a.frame[pair], a.frames) * a.h * a.w * c;
    const float *samples = a.templates + pair / a.run * n * c;
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    for (int p0 = 0; p0 < pixels; p0 += TILE)
        for (int t0 = 0; t0 < n; t0 += TILE) {
            float sum[4][4] = {};
            for (int64_t begin = 0; begin < c; begin += CHANNELS) {
                __syncthreads();
                load_channels(left, pixels - p0, begin, c, [&](int r) {
                    const int i = (p0 + r) / (side + 1), j = (p0 + r) % (side + 1);
                    return map + (clamped(y.first + j, a.h) * a.w + clamped(x.first + i, a.w)) * c;
                });
                load_channels(right, n - t0, begin, c,
                              [&](int r) { return samples + (int64_t)(t0 + r) * c; });
                __syncthreads();
                SP_UNROLL
                for (int k = 0; k < CHANNELS; k++) {
                    float l[4], r[4];
                    SP_UNROLL
                    for (int i = 0; i < 4; i++) {
                        l[i] = left[(ty + 16 * i) * (CHANNELS + 1) + k];
                        r[i] = right[(tx + 16 * i) * (CHANNELS + 1) + k];
                    }
                    SP_UNROLL
                    for (int i = 0; i < 4; i++)
                        SP_UNROLL
                    for (int j = 0; j < 4; j++)
                        sum[i][j] += l[i] * r[j];
                }
            }
            SP_UNROLL
            for (int i = 0; i < 4; i++)
                SP_UNROLL
            for (int j = 0; j < 4; j++)
                if (p0 + ty + 16 * i < pixels && t0 + tx + 16 * j < n)
                    products[(p0 + ty + 16 * i) * n + t0 + tx + 16 * j] = sum[i][j];
        }
    __syncthreads();
    const float fx = x.fraction, fy = y.fraction;
    for (int at = (int)threadIdx.x; at < n * n; at += (int)blockDim.x) {
        const int s = at / n, k = at % n;
        const float *p = products + (s / side * (side + 1) + s % side) * n + k;
        a.out[pair * n * n + at] = (1 - fy) * (1 - fx) * p[0] + (1 - fy) * fx * p[(side + 1) * n] +
                                   fy * (1 - fx) * p[n] + fy * fx * p[(side + 2) * n];
    }
}

extern "C" void sp_cuda_correlate(SpDevice *device, const SpCorrelate *a)
{
    const int64_t pixels = (a->side + 1) * (a->side + 1), n = a->side * a->side;
    const size_t bytes = (size_t)(2 * TILE * (CHANNELS + 1) + pixels * n) * sizeof(float);
    SP_LAUNCH(sp_cuda(device), "correlate", correlate_kernel, a->pairs, SP_BLOCK, bytes, *a);
}

enum { LANE_POINTS = (MAX_SIDE * MAX_SIDE + SP_WARP - 1) / SP_WARP };

/* A warp a pair: each lane holds some lengths; the shortest, and of equal ones the first, is
 * found and dropped, keep + 1 times. */
static __global__ void knn_kernel(SpKnn a)
{
    const int lane = (int)threadIdx.x % SP_WARP;
    const int64_t p = (int64_t)blockIdx.x * SP_BLOCK_WARPS + threadIdx.x / SP_WARP;
    if (p >= a.pairs)
        return;
    const float *points = a.points + p * a.count * 3, *origin = a.origin + 3 * p;
    float length[LANE_POINTS];
    bool dropped[LANE_POINTS];
    SP_UNROLL
    for (int i = 0; i < LANE_POINTS; i++) {
        const int64_t at = lane + SP_WARP * i;
        dropped[i] = at >= a.count;
        length[i] = 0;
        if (dropped[i])
            continue;
        const float x = points[3 * at] - origin[0], y = points[3 * at + 1] - origin[1];
        const float z = points[3 * at + 2] - origin[2];
        length[i] = sqrtf(x * x + y * y + z * z);
    }
    for (int64_t k = -1; k < a.keep; k++) {
        float shortest = 0;
        int nearest = -1;
        SP_UNROLL
        for (int i = 0; i < LANE_POINTS; i++)
            if (!dropped[i] && (nearest < 0 || length[i] < shortest)) {
                shortest = length[i];
                nearest = lane + SP_WARP * i;
            }
        for (int lanes = SP_WARP / 2; lanes; lanes /= 2) {
            const float other = __shfl_xor_sync(0xffffffffu, shortest, lanes);
            const int which = __shfl_xor_sync(0xffffffffu, nearest, lanes);
            if (which >= 0 &&
                (nearest < 0 || other < shortest || (!(shortest < other) && which < nearest))) {
                shortest = other;
                nearest = which;
            }
        }
        SP_UNROLL
        for (int i = 0; i < LANE_POINTS; i++)
            dropped[i] = dropped[i] || lane + SP_WARP * i == nearest;
        if (k < 0)
            continue;
        if (lane == 0)
            a.index[p * a.keep + k] = nearest;
        if (lane < 3)
            a.vector[(p * a.keep + k) * 3 + lane] = points[3 * nearest + lane] - origin[lane];
    }
}

SP_OP(knn, SpKnn, sp_warp_blocks(a->pairs))
