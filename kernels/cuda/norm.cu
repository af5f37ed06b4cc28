/* Layer norm, the heads' norm with rotary embedding, instance norm. */
#include "kernel.cuh"

/* Mean and 1/sqrt(var + eps) of n floats by one warp, the same in each lane. */
static __device__ inline void moments(const float *x, int64_t n, float eps, float *mean,
                                      float *scale)
{
    const int lane = (int)threadIdx.x % SP_WARP;
    float sum = 0, squares = 0;
    for (int64_t i = lane; i < n; i += SP_WARP)
        sum += x[i];
    *mean = sp_warp_sum(sum) / (float)n;
    for (int64_t i = lane; i < n; i += SP_WARP)
        squares += (x[i] - *mean) * (x[i] - *mean);
    *scale = 1 / sqrtf(sp_warp_sum(squares) / (float)n + eps);
}

static __device__ inline float normalized(float x, float mean, float scale, const float *weight,
                                          const float *bias, int64_t i)
{
    const float v = (x - mean) * scale * (weight ? weight[i] : 1.0f);
    return v + (bias ? bias[i] : 0.0f);
}

template <typename Format> static __global__ void layer_norm_kernel(SpLayerNorm a)
{
    const int64_t r = (int64_t)blockIdx.x * SP_BLOCK_WARPS + threadIdx.x / SP_WARP;
    if (r >= a.rows)
        return;
    const float *x = a.x + r * a.ldx;
    float *y = a.y + r * a.ldy, mean, scale;
    moments(x, a.width, a.eps, &mean, &scale);
    for (int64_t i = threadIdx.x % SP_WARP; i < a.width; i += SP_WARP)
        sp_write(Format(), y, i,
                 SpFloats<1>{{normalized(x[i], mean, scale, a.weight, a.bias, i)}});
}

extern "C" void sp_cuda_layer_norm(SpDevice *device, const SpLayerNorm *a)
{
    SpCuda *cuda = sp_cuda(device);
    if (sp_cuda_format(cuda, a->operand) == SP_BF16)
        SP_LAUNCH(cuda, "layer_norm", layer_norm_kernel<Bf16>, sp_warp_blocks(a->rows), SP_BLOCK, 0,
                  *a);
    else
        SP_LAUNCH(cuda, "layer_norm", layer_norm_kernel<Float>, sp_warp_blocks(a->rows), SP_BLOCK,
                  0, *a);
}

/* table: [max_position + 1, pairs, (cos, sin)]. */
static __global__ void rope_table_kernel(SpQkNormRope a, float *table)
{
    const int64_t pairs = a.head / 4;
    SP_EACH(i, (a.max_position + 1) * pairs)
    {
        int64_t m;
        const int64_t p = sp_divide(i, pairs, &m);
        const float frequency = powf(a.rope_base, -(float)m / (float)pairs);
        table[2 * i] = cosf((float)p * frequency);
        table[2 * i + 1] = sinf((float)p * frequency);
    }
}

/* A warp a head of q or k; its elements pass through shared memory, where pairs meet. */
template <typename Format>
static __global__ void rope_kernel(SpQkNormRope a, const float *table)
{
    SP_SHARED(float, shared);
    const int lane = (int)threadIdx.x % SP_WARP, warp = (int)threadIdx.x / SP_WARP;
    const int64_t unit = (int64_t)blockIdx.x * SP_BLOCK_WARPS + warp;
    if (unit >= a.rows * 2 * a.heads)
        return;
    int64_t h, step;
    const int64_t r = sp_divide(unit, 2 * a.heads, &h), pairs = a.head / 4;
    const bool key = h >= a.heads;
    const int64_t width = a.heads * a.head, first = (key ? h - a.heads : h) * a.head;
    float *x = a.qkv + r * 3 * width + (key ? width : 0), *v = shared + warp * a.head;
    float mean = 0, scale = 1;
    for (int64_t i = lane; i < a.head; i += SP_WARP)
        v[i] = sp_read<1>(Format(), x, first + i).v[0];
    __syncwarp();
    if (a.q_weight) {
        moments(v, a.head, a.eps, &mean, &scale);
        for (int64_t i = lane; i < a.head; i += SP_WARP)
            v[i] = normalized(v[i], mean, scale, key ? a.k_weight : a.q_weight,
                              key ? a.k_bias : a.q_bias, i);
        __syncwarp();
    }
    sp_divide(r, a.period, &step);
    for (int64_t i = lane; i < a.head; i += SP_WARP) {
        const int64_t axis = i >= 2 * pairs, e = i - axis * 2 * pairs, m = e % pairs;
        float out = v[i];
        if (axis * 2 * pairs + e < 4 * pairs) {
            const float *rotation = table + ((int64_t)a.position[2 * step + axis] * pairs + m) * 2;
            const float other = e < pairs ? -v[i + pairs] : v[i - pairs];
            out = v[i] * rotation[0] + other * rotation[1];
        }
        sp_write(Format(), x, first + i, SpFloats<1>{{out}});
    }
}

extern "C" void sp_cuda_qk_norm_rope(SpDevice *device, const SpQkNormRope *a)
{
    SpCuda *cuda = sp_cuda(device);
    const int64_t entries = (a->max_position + 1) * (a->head / 4);
    const int64_t blocks = sp_warp_blocks(a->rows * 2 * a->heads);
    const size_t shared = (size_t)(SP_BLOCK_WARPS * a->head) * sizeof(float);
    float *table = static_cast<float *>(sp_cuda_scratch(cuda, (size_t)entries * 2 * sizeof(float)));
    SP_LAUNCH(cuda, "rope_table", rope_table_kernel, sp_blocks(cuda, entries), SP_BLOCK, 0, *a,
              table);
    if (sp_cuda_format(cuda, a->operand) == SP_BF16)
        SP_LAUNCH(cuda, "qk_norm_rope", rope_kernel<Bf16>, blocks, SP_BLOCK, shared, *a, table);
    else
        SP_LAUNCH(cuda, "qk_norm_rope", rope_kernel<Float>, blocks, SP_BLOCK, shared, *a, table);
    cuda->scratch_used = 0;
}

static const int64_t NORM_BLOCK = 64; /* pixels whose sums are formed together */

/* sums[image, block, c] over the block's pixels: x - mean, or its square with mean [image, c]. */
static __global__ void pixel_sums_kernel(SpInstanceNorm a, int64_t blocks, const float *mean,
                                         float *sums)
{
    int64_t b;
    const int64_t image = sp_divide(blockIdx.x, blocks, &b);
    const int64_t rest = a.pixels - b * NORM_BLOCK, count = rest < NORM_BLOCK ? rest : NORM_BLOCK;
    const float *x = a.x + (image * a.pixels + b * NORM_BLOCK) * a.c;
    for (int64_t i = threadIdx.x; i < a.c; i += blockDim.x) {
        const float centre = mean ? mean[image * a.c + i] : 0;
        float sum = 0;
        for (int64_t p = 0; p < count; p++) {
            const float d = x[p * a.c + i] - centre;
            sum += mean ? d * d : d;
        }
        sums[blockIdx.x * a.c + i] = sum;
    }
}

/* Blocks' sums to means, or to 1/sqrt(var + eps), by a warp for each image and channel. */
static __global__ void pixel_moment_kernel(SpInstanceNorm a, int64_t blocks, const float *sums,
                                           bool scale, float *out)
{
    const int64_t at = (int64_t)blockIdx.x * SP_BLOCK_WARPS + threadIdx.x / SP_WARP;
    if (at >= a.n * a.c)
        return;
    int64_t i;
    const int64_t image = sp_divide(at, a.c, &i);
    double total = 0;
    for (int64_t b = threadIdx.x % SP_WARP; b < blocks; b += SP_WARP)
        total += (double)sums[(image * blocks + b) * a.c + i];
    for (int lanes = SP_WARP / 2; lanes; lanes /= 2)
        total += __shfl_xor_sync(0xffffffffu, total, lanes);
    total /= (double)a.pixels;
    if (threadIdx.x % SP_WARP == 0)
        out[at] = (float)(scale ? 1 / sqrt(total + (double)a.eps) : total);
}

static __global__ void instance_norm_kernel(SpInstanceNorm a, const float *mean, const float *scale)
{
    SP_EACH(at, a.n * a.pixels * a.c)
    {
        int64_t i, pixel;
        const int64_t row = sp_divide(at, a.c, &i), image = sp_divide(row, a.pixels, &pixel);
        const float v = (a.x[at] - mean[image * a.c + i]) * scale[image * a.c + i];
        a.y[at] = a.relu && v < 0 ? 0 : v;
    }
}

static void normalize_images(SpCuda *cuda, const SpInstanceNorm *a, float *work)
{
    const int64_t blocks = (a->pixels + NORM_BLOCK - 1) / NORM_BLOCK;
    float *mean = work, *scale = mean + a->n * a->c, *sums = scale + a->n * a->c;
    for (int pass = 0; pass < 2; pass++) {
        SP_LAUNCH(cuda, "pixel_sums", pixel_sums_kernel, a->n * blocks, 128, 0, *a, blocks,
                  pass ? mean : nullptr, sums);
        SP_LAUNCH(cuda, "pixel_moment", pixel_moment_kernel, sp_warp_blocks(a->n * a->c), SP_BLOCK,
                  0, *a, blocks, sums, pass == 1, pass ? scale : mean);
    }
    SP_LAUNCH(cuda, "instance_norm", instance_norm_kernel, sp_blocks(cuda, a->n * a->pixels * a->c),
              SP_BLOCK, 0, *a, mean, scale);
}

/* As many images at a time as there is scratch for their sums. */
extern "C" void sp_cuda_instance_norm(SpDevice *device, const SpInstanceNorm *a)
{
    SpCuda *cuda = sp_cuda(device);
    const int64_t blocks = (a->pixels + NORM_BLOCK - 1) / NORM_BLOCK;
    const int64_t floats = a->c * (2 + blocks);
    const int64_t fit = (int64_t)SP_CUDA_SCRATCH / 4 / floats, group = fit < a->n ? fit : a->n;
    float *work =
        static_cast<float *>(sp_cuda_scratch(cuda, (size_t)(group * floats) * sizeof(float)));
    for (int64_t first = 0; group > 0 && first < a->n; first += group) {
        SpInstanceNorm part = *a;
        part.x += first * a->pixels * a->c;
        part.y += first * a->pixels * a->c;
        part.n = a->n - first < group ? a->n - first : group;
        normalize_images(cuda, &part, work);
    }
    cuda->scratch_used = 0;
}
