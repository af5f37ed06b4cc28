/*
 * The one contract every model is written against. A device (the CPU or a GPU) fills one
 * table of operations; models call them through src/nn. Rules that hold for every op:
 *
 * - Arrays are row-major; activations and accumulators are float32. Pointers are memory of the
 *   device (SpDevice.alloc), weights included. Dims are elements, never bytes.
 * - Images are channels-last: [n, h, w, c]. A linear layer is applied to rows, so a map of
 *   pixels is also a matrix of rows.
 * - No op allocates: each works inside the fixed workspace that the device allocated at its start.
 * - An op cannot fail on sane arguments. A device that can fail (CUDA) keeps its first failure
 *   and reports it from `status`; ops after a failure do nothing.
 * - Each result element is computed by the same instructions in the same order whatever the
 *   thread count, and however the rows of a call (images of a convolution, queries of an
 *   attention) are split into several calls, as long as they are split at multiples of
 *   SP_ROW_TILE.
 * - Operands: an array that only products and attentions read may stay in the device's own format
 *   of operands in SP_PRECISION_BF16, where the op that writes it and each that reads it say so
 *   under that precision. A row, or each part of one, then begins where its floats would, and is
 *   packed at its front; the rest of it has no meaning. Where the device's operands are float32,
 *   nothing changes.
 */
#ifndef SP_KERNELS_OPS_H
#define SP_KERNELS_OPS_H

#include <stdbool.h>

#include "base/status.h"
#include "base/tensor.h"

typedef struct SpDevice SpDevice;

/* Rows that a device computes together; chunks of rows are multiples of it. */
enum { SP_ROW_TILE = 384 };

typedef enum SpActivation {
    SP_IDENTITY,
    SP_GELU,      /* x Phi(x), the exact one (erf) */
    SP_GELU_TANH, /* its tanh approximation */
    SP_RELU,
    SP_SILU /* x sigma(x) */
} SpActivation;

/* y[r] = residual[r] + gain * act(w x[r] + b) for each of `rows` rows.
 * x: [rows, in] rows ldx apart; w: [out, in] F32, F16 or BF16; y: [rows, out] rows ldy apart.
 * b, gain: [out] or NULL; residual: [rows, out] rows ldr apart or NULL, may be y itself.
 * x_operand: x's rows are operands. y_part > 0: y's rows are operands in parts of y_part columns,
 * which divides `out`; without gain and residual. */
typedef struct SpLinear {
    const float *x;
    int64_t rows, ldx;
    SpTensor w;
    const float *b;
    SpActivation act;
    const float *gain, *residual;
    int64_t ldr;
    float *y;
    int64_t ldy;
    bool x_operand;
    int64_t y_part;
} SpLinear;

/* Layer norm over the last axis: y = (x - mean) / sqrt(var + eps) * weight + bias, biased
 * variance. x, y: [rows, width], rows ldx / ldy apart; weight, bias: [width] or NULL (none);
 * y may be x. operand: y's rows are operands, and y is not x. */
typedef struct SpLayerNorm {
    const float *x;
    int64_t rows, width, ldx;
    const float *weight, *bias;
    float eps;
    float *y;
    int64_t ldy;
    bool operand;
} SpLayerNorm;

/* softmax(scale q k^T) v for every batch b and head h; scores are never stored whole.
 * Element (b, i, h, e) of q stands at q[b / q_share * q_batch + i * q_row + h * head + e] (q_share
 * 0 counts as 1: how many consecutive batches have the same queries); k, v alike with nk rows; y:
 * [batch, nq, heads * head] with its own strides. Any head width. operand: rows of q, k, v and y
 * are operands, each a part; then heads are at most SP_OPERAND_HEAD wide. */
enum { SP_OPERAND_HEAD = 128 };
typedef struct SpAttention {
    int64_t batch, nq, nk, heads, head;
    float scale;
    const float *q, *k, *v;
    int64_t q_share, q_batch, q_row, k_batch, k_row, v_batch, v_row;
    float *y; /* may be q itself with q's strides */
    int64_t y_batch, y_row;
    bool operand;
} SpAttention;

/* Attention inside square windows of an image with decomposed relative positions (Li et al.,
 * "MViTv2", 2022; src/sam/README.md, "Vision encoder"). Windows of side x side tokens are laid from
 * the top left over the h x w tokens; side = h = w is one global attention. The score of query
 * (qy, qx) and key (ky, kx) of one window and head is
 *     scale q.k + q.rel_pos_h[qy - ky + side - 1] + q.rel_pos_w[qx - kx + side - 1],
 * tokens beyond the image take part with `padding` as their qkv; scores are never stored whole.
 * qkv: [h, w, 3, heads, head]; padding: [3, heads, head]; rel_pos_h, rel_pos_w: [2 side - 1, head];
 * side at most SP_MAX_WINDOW, head at most SP_MAX_WINDOW_HEAD; y: [h, w, heads * head], tokens
 * y_row apart, may be qkv itself with y_row = 3 * heads * head. */
enum { SP_MAX_WINDOW = 128, SP_MAX_WINDOW_HEAD = 256 };
typedef struct SpWindowAttention {
    const float *qkv;
    int64_t h, w, side, heads, head;
    float scale;
    const float *padding, *rel_pos_h, *rel_pos_w;
    float *y;
    int64_t y_row;
} SpWindowAttention;

/* In place on the q and k parts of packed rows: layer norm over each head's elements (weights
 * shared by all heads; NULL q_weight: none), then the 2D rotary embedding of
 * src/front/README.md, "RoPE": the first half of a head rotated by y, the second by x.
 * qkv: [rows, 3 * heads * head]; position: [rows, 2] as (y, x), repeated every `period` rows;
 * base of the angles `rope_base`. operand: q, k and v of a row are operands, each a part. */
typedef struct SpQkNormRope {
    float *qkv;
    int64_t rows, heads, head;
    const float *q_weight, *q_bias, *k_weight, *k_bias;
    float eps;
    const int32_t *position;
    int64_t period;
    int32_t max_position;
    float rope_base;
    bool operand;
} SpQkNormRope;

/* Convolution weights from [cout, cin, kh, kw] in any float dtype to the order the device's
 * conv2d reads ([cout, kh, kw, cin] float32 on the CPU): packed has as many elements. */
typedef struct SpConvPack {
    SpTensor w;
    float *packed;
} SpConvPack;

/* 2D convolution, zero padding. x: [n, h, w, cin] with pixels ldx apart; packed: see SpConvPack;
 * y: [n, ho, wo, cout], pixels ldy apart, ho = (h + 2 pad - kh) / stride + 1;
 * y = residual + act(conv + b); residual is [n, ho, wo, cout] dense or NULL, may be y. */
typedef struct SpConv2d {
    const float *x;
    int64_t n, h, w, cin, ldx;
    const float *packed;
    int64_t cout, kh, kw, stride, pad;
    const float *b;
    SpActivation act;
    const float *residual;
    float *y;
    int64_t ldy;
} SpConv2d;

/* Its linear layer over `rows` pixels, whose inputs are gathered unless it is pointwise. */
static inline SpLinear sp_conv2d_linear(const SpConv2d *a, int64_t rows)
{
    const SpTensor w = {a->packed, SP_F32, 2, {a->cout, a->kh * a->kw * a->cin}};
    const SpLinear linear = {a->x,        rows,    a->ldx, w,      a->b,  a->act, NULL,
                             a->residual, a->cout, a->y,   a->ldy, false, 0};
    return linear;
}

static inline bool sp_conv2d_pointwise(const SpConv2d *a)
{
    return a->kh == 1 && a->kw == 1 && a->stride == 1 && a->pad == 0;
}

/* Transposed convolution with kernel = stride = s, which is a linear layer and a shuffle:
 * y[n, s i + a, s j + c, o] = b[o] + sum_e x[n, i, j, e] w[e, o, a, c].
 * x: [n, h, w, cin]; packed: from w [cin, cout, s, s] by deconv_pack, [s, s, cout, cin] f32;
 * y: [n, s h, s w, cout]. */
typedef struct SpDeconv {
    const float *x;
    int64_t n, h, w, cin;
    const float *packed;
    int64_t cout, s;
    const float *b;
    float *y;
} SpDeconv;

/* Bilinear resize in float32 as in src/media/README.md, "Bilinear with aligned corners".
 * x: [n, h, w, c] to y: [n, ho, wo, c], pixels of y ldy apart. */
typedef struct SpResize {
    const float *x;
    int64_t n, h, w, c;
    float *y;
    int64_t ho, wo, ldy;
} SpResize;

/* Instance norm without parameters over the pixels of each image and channel (biased variance),
 * then optional relu: y = act((x - mean) / sqrt(var + eps)). [n, pixels, c]; y may be x. */
typedef struct SpInstanceNorm {
    const float *x;
    int64_t n, pixels, c;
    float eps;
    bool relu;
    float *y;
} SpInstanceNorm;

/* y = act(x * scale + add): elementwise over `count`; add may be NULL; y may be x. With
 * period > 0 `add` has `period` elements and repeats. */
typedef struct SpElementwise {
    const float *x;
    int64_t count;
    float scale;
    const float *add;
    int64_t period;
    SpActivation act;
    float *y;
} SpElementwise;

/* Adds an embedding of the column to the first half of the channels and one of the row to the
 * second, in place: x[n, i, j] += [u[j] | v[i]]. x: [n, h, w, c]; u: [w, c/2]; v: [h, c/2]. */
typedef struct SpAxisAdd {
    float *x;
    int64_t n, h, w, c;
    const float *u, *v;
} SpAxisAdd;

/* Adaptive layer norm's application: y = c + gate * (n * (1 + scale) + shift) for dense rows n, c
 * of `width`; shift, scale, gate are the thirds of each row of m: [rows, 3 * width]. */
typedef struct SpModulate {
    const float *n, *m, *c;
    int64_t rows, width;
    float *y;
} SpModulate;

/* Copies `rows` rows of `bytes` bytes that start to_pitch / from_pitch bytes apart. What is
 * downloaded later is there once the device's `status` has been called: until then ops go on, and
 * the host's memory must stay. */
typedef enum SpCopyKind { SP_UPLOAD, SP_DOWNLOAD, SP_DOWNLOAD_LATER, SP_ON_DEVICE } SpCopyKind;
typedef struct SpCopy {
    SpCopyKind kind;
    void *to;
    size_t to_pitch;
    const void *from;
    size_t from_pitch, bytes, rows;
} SpCopy;

/* A frame as networks read it: y[p, c] = (x[c, p] / range - mean[c]) / deviation[c]. x: [3,
 * pixels]; y: [pixels, 3]. */
typedef struct SpNormalizeImage {
    const float *x;
    int64_t pixels;
    float range, mean[3], deviation[3];
    float *y;
} SpNormalizeImage;

/* depth[p] = e^x[p, 0], confidence[p] = sigmoid(x[p, 1]). x: [pixels, 2]. */
typedef struct SpDepthActivation {
    const float *x;
    int64_t pixels;
    float *depth, *confidence;
} SpDepthActivation;

/* The tracker's ops (src/tracker/README.md, "Window init" and "An iteration: the network"). A
 * "pair" is one track in one frame; side = 2 radius + 1 samples along a patch, whose first index
 * steps x, the second y. */

/* Bilinear samples (border: coordinates are clamped to the map) of patches around points, the
 * step one pixel. map: [frames, h, w, c]; xy: [pairs, 2] pixels of the map; frame: [pairs] of
 * float whole numbers. With pick (int32 [pairs, picks], patch indices) only these samples are
 * taken. out: [pairs, side^2 or picks, c], samples ldy apart. */
typedef struct SpSamplePatches {
    const float *map;
    int64_t frames, h, w, c;
    const float *xy, *frame;
    int64_t pairs, side;
    const int32_t *pick;
    int64_t picks;
    float *out;
    int64_t ldy;
} SpSamplePatches;

/* Correlation volumes: products of the samples around each pair's point with its track's
 * template. templates: [pairs / run, side^2, c]: `run` consecutive pairs share one.
 * out: [pairs, side^2 (sample), side^2 (template)]. */
typedef struct SpCorrelate {
    const float *map;
    int64_t frames, h, w, c;
    const float *xy, *frame;
    int64_t pairs, run, side;
    const float *templates;
    float *out;
} SpCorrelate;

/* The k = `keep` nearest of `count` points around an origin: vectors point - origin sorted by
 * length (ties: lower index first), the first dropped, the next `keep` kept. points: [pairs, count,
 * 3]; origin: [pairs, 3]; index: int32 [pairs, keep]; vector: [pairs, keep, 3]. */
typedef struct SpKnn {
    const float *points, *origin;
    int64_t pairs, count, keep;
    int32_t *index;
    float *vector;
} SpKnn;

/* v, then sin(2^k v), then sin(2^k v + pi/2), for k = 0 .. degree - 1 (k outer, axis inner).
 * v: [rows, c], rows ldx apart; y: [rows, c (1 + 2 degree)], rows ldy apart. */
typedef struct SpPosenc {
    const float *v;
    int64_t rows, c, ldx, degree;
    float *y;
    int64_t ldy;
} SpPosenc;

/* Means of groups of rows: x: [groups, size, c] to y: [groups, c]. */
typedef struct SpGroupMean {
    const float *x;
    int64_t groups, size, c;
    float *y;
} SpGroupMean;

/* Gathered rows: y[g, k] = x[g, index[g, k]]. x: [groups, count, c]; index: int32
 * [groups, keep]; y: [groups, keep, c], rows ldy apart. */
typedef struct SpGatherRows {
    const float *x;
    const int32_t *index;
    int64_t groups, count, keep, c;
    float *y;
    int64_t ldy;
} SpGatherRows;

/* x += other, x: [rows, c] dense, other's rows ldo apart. */
typedef struct SpAddRows {
    float *x;
    const float *other;
    int64_t ldo, rows, c;
} SpAddRows;

/* y = x * factor[r] for rows r; x, y: [rows, c], ldy apart. */
typedef struct SpScaleRows {
    const float *x, *factor;
    int64_t rows, c;
    float *y;
    int64_t ldy;
} SpScaleRows;

/* Each row divided by its length sqrt(max(sum of squares, 1e-12)), in place: [rows, c]. */
typedef struct SpL2Normalize {
    float *x;
    int64_t rows, c;
} SpL2Normalize;

/* Average pooling, kernel = stride = 2: x: [n, h, w, c] to y: [n, h/2, w/2, c]. */
typedef struct SpAveragePool {
    const float *x;
    int64_t n, h, w, c;
    float *y;
} SpAveragePool;

/* Every operation: its name and its arguments. From this list come the table of a device, the
 * prototypes and tables of the backends (sp_cpu_NAME for each instruction set, sp_cuda_NAME), what
 * models call (sp_nn_run in src/nn/nn.h) and the test that each is held against the CPU's. One
 * whose arguments hold weights, or whose work a plan counts, also has a line in src/nn/ops.c. */
#define SP_EACH_OP(X)                                                                              \
    X(linear, SpLinear)                                                                            \
    X(layer_norm, SpLayerNorm)                                                                     \
    X(attention, SpAttention)                                                                      \
    X(window_attention, SpWindowAttention)                                                         \
    X(qk_norm_rope, SpQkNormRope)                                                                  \
    X(conv_pack, SpConvPack)                                                                       \
    X(conv2d, SpConv2d)                                                                            \
    X(deconv_pack, SpConvPack)                                                                     \
    X(deconv, SpDeconv)                                                                            \
    X(resize, SpResize)                                                                            \
    X(instance_norm, SpInstanceNorm)                                                               \
    X(elementwise, SpElementwise)                                                                  \
    X(axis_add, SpAxisAdd)                                                                         \
    X(modulate, SpModulate)                                                                        \
    X(copy, SpCopy)                                                                                \
    X(normalize_image, SpNormalizeImage)                                                           \
    X(depth_activation, SpDepthActivation)                                                         \
    X(sample_patches, SpSamplePatches)                                                             \
    X(correlate, SpCorrelate)                                                                      \
    X(knn, SpKnn)                                                                                  \
    X(posenc, SpPosenc)                                                                            \
    X(group_mean, SpGroupMean)                                                                     \
    X(gather_rows, SpGatherRows)                                                                   \
    X(add_rows, SpAddRows)                                                                         \
    X(scale_rows, SpScaleRows)                                                                     \
    X(l2_normalize, SpL2Normalize)                                                                 \
    X(average_pool, SpAveragePool)

typedef struct SpOps {
#define SP_OP_MEMBER(op, type) void (*op)(SpDevice *, const type *);
    SP_EACH_OP(SP_OP_MEMBER)
} SpOps;

/* In which number format the products, convolutions and attentions of a device work, from the
 * finest to the coarsest; arrays stay float32 and sums are float32. TF32 is of products and
 * convolutions: operands of 10 bits behind the point. The CPU knows F32, and BF16 of
 * products and convolutions. */
typedef enum SpPrecision { SP_PRECISION_F32, SP_PRECISION_TF32, SP_PRECISION_BF16 } SpPrecision;

/* Weights and feature maps are prefetched to a device through slots: while the ops that read one
 * slot run, the other slot is filled. */
enum { SP_PREFETCH_SLOTS = 2 };

struct SpDevice {
    const char *name;  /* "cpu", "cuda" */
    const char *isa;   /* the CPU's instruction set: "avx512", "avx2" or "baseline"; else NULL */
    int threads;       /* the CPU's, or the host's for what it computes beside a card; 0: one */
    bool prefers_bf16; /* whether it computes in SP_PRECISION_BF16 unless it is told not to */
    SpOps ops;
    /* Ops read host memory as well (the CPU): weights may be used where their file is mapped. */
    bool reads_host;
    /* Bytes of the fixed workspace that the device allocated when it was opened. */
    size_t workspace_bytes;
    /* Bytes of device memory that could be allocated now. */
    size_t (*available_memory)(SpDevice *);
    /* The format for the ops issued from now on. */
    void (*set_precision)(SpDevice *, SpPrecision);
    /* Begins to copy `bytes` bytes of host memory to device memory beside the ops, after every op
     * issued before the slot's last release. Host memory need not be pinned and must stay. */
    void (*prefetch)(SpDevice *, int slot, void *to, const void *from, size_t bytes);
    /* Ops issued from now on wait for the slot's copies in flight. */
    void (*wait_slot)(SpDevice *, int slot);
    /* The ops issued so far are the last that read what is in the slot. */
    void (*release_slot)(SpDevice *, int slot);
    /* Device memory for an arena: zero pages, at least 64-byte aligned; NULL when there is not as
     * much. The caller frees it, with the same `bytes`. */
    void *(*alloc)(SpDevice *, size_t bytes);
    void (*free)(SpDevice *, void *memory, size_t bytes);
    /* Waits for all ops and returns the first failure since the device was opened. */
    SpStatus (*status)(SpDevice *);
    /* For how many seconds prefetches ran beside ops since the last call: how long they took less
     * how long ops waited for them. To be called after `status`. */
    double (*hidden_seconds)(SpDevice *);
    void (*close)(SpDevice *);
};

/* The CPU with that many threads (0: as many as the process may run on). Picks the instruction
 * set at run time. The caller closes it with device->close. */
SpStatus sp_cpu_open(int threads, SpDevice **device);

#endif
