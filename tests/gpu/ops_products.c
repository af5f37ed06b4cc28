/* Products, convolutions and attentions. */
#include <math.h>
#include <stdlib.h>

#include "gpu/scope.h"

enum { ROWS = 777, IN = 70, OUTS = 130, LDX = 75, LDY = 137 };

static void linear_case(SpDevice *device, float *y, SpActivation act, bool gain, bool in_place)
{
    Scope s = {.device = device};
    float *out = put(&s, y, ROWS * LDY * sizeof *y);
    const float *other = put_noise(&s, "residual", ROWS * OUTS);
    SpLinear a = {.x = put_noise(&s, "x", ROWS * LDX),
                  .rows = ROWS,
                  .ldx = LDX,
                  .w = {put_noise(&s, "w", OUTS * IN), SP_F32, 2, {OUTS, IN}},
                  .b = put_noise(&s, "b", OUTS),
                  .act = act,
                  .gain = gain ? put_noise(&s, "gain", OUTS) : NULL,
                  .residual = in_place ? out : other,
                  .ldr = in_place ? LDY : OUTS,
                  .y = out,
                  .ldy = LDY};
    device->ops.linear(device, &a);
    get(&s, out, y, ROWS * LDY);
    end(&s);
}

static void linear_fused(SpDevice *device, float *y)
{
    linear_case(device, y, SP_IDENTITY, false, false);
}

static void linear_in_place(SpDevice *device, float *y)
{
    linear_case(device, y, SP_IDENTITY, true, true);
}

static void linear_gelu(SpDevice *device, float *y)
{
    linear_case(device, y, SP_GELU, true, false);
}

static void linear_gelu_tanh(SpDevice *device, float *y)
{
    linear_case(device, y, SP_GELU_TANH, false, true);
}

static void linear_silu(SpDevice *device, float *y)
{
    linear_case(device, y, SP_SILU, false, false);
}

/* Halves that are exact, in the products' own padding or not. */
static void linear_halves(SpDevice *device, float *y, SpDtype dtype, int64_t rows, int64_t in,
                          int64_t outs)
{
    Scope s = {.device = device};
    uint16_t *w = checked(malloc((size_t)(outs * in) * sizeof *w));
    for (int64_t i = 0; i < outs * in; i++)
        w[i] = (uint16_t)((dtype == SP_BF16 ? 0x3f80 : 0x3c00) | (i * 7 % 3 ? 0 : 0x8000));
    SpLinear a = {.x = put_noise(&s, "x", rows * in),
                  .rows = rows,
                  .ldx = in,
                  .w = {put(&s, w, (size_t)(outs * in) * sizeof *w), dtype, 2, {outs, in}},
                  .act = SP_RELU,
                  .y = put(&s, y, (size_t)(rows * outs) * sizeof *y),
                  .ldy = outs};
    device->ops.linear(device, &a);
    get(&s, a.y, y, rows * outs);
    end(&s);
    free(w);
}

static void linear_bf16(SpDevice *device, float *y)
{
    linear_halves(device, y, SP_BF16, 19, 48, 70);
}

static void linear_f16(SpDevice *device, float *y)
{
    linear_halves(device, y, SP_F16, 19, 33, 70);
}

/* All aligned to four floats and eight halves. */
static void linear_aligned(SpDevice *device, float *y)
{
    enum { N = 37, WIDTH = 40, WIDE = 72 };
    Scope s = {.device = device};
    float *out = put(&s, y, N * WIDE * sizeof *y);
    SpLinear a = {.x = put_noise(&s, "x", N * WIDTH),
                  .rows = N,
                  .ldx = WIDTH,
                  .w = {put_noise(&s, "w", WIDE * WIDTH), SP_F32, 2, {WIDE, WIDTH}},
                  .b = put_noise(&s, "b", WIDE),
                  .act = SP_SILU,
                  .gain = put_noise(&s, "gain", WIDE),
                  .residual = out,
                  .ldr = WIDE,
                  .y = out,
                  .ldy = WIDE};
    device->ops.linear(device, &a);
    get(&s, out, y, N * WIDE);
    end(&s);
}

/* More rows than go together. */
static void linear_chunks(SpDevice *device, float *y)
{
    enum { MANY = 8 * SP_ROW_TILE + 29, WIDTH = 12 };
    Scope s = {.device = device};
    SpLinear a = {.x = put_noise(&s, "x", MANY * WIDTH),
                  .rows = MANY,
                  .ldx = WIDTH,
                  .w = {put_noise(&s, "w", WIDTH * WIDTH), SP_F32, 2, {WIDTH, WIDTH}},
                  .act = SP_GELU,
                  .y = put(&s, y, MANY * WIDTH * sizeof *y),
                  .ldy = WIDTH};
    device->ops.linear(device, &a);
    get(&s, a.y, y, MANY * WIDTH);
    end(&s);
}

/* Weights that are converted in several pieces. */
static void linear_pieces(SpDevice *device, float *y)
{
    linear_halves(device, y, SP_F16, 3, 16384, 1600);
}

typedef struct Conv {
    int64_t cin, cout, k, stride, pad;
    bool in_place;
} Conv;

static void conv_case(SpDevice *device, float *y, Conv c)
{
    enum { N = 2, H = 13, W = 17 };
    const int64_t ho = (H + 2 * c.pad - c.k) / c.stride + 1,
                  wo = (W + 2 * c.pad - c.k) / c.stride + 1;
    const int64_t ldy = c.in_place ? c.cout : c.cout + 3, count = c.cout * c.cin * c.k * c.k;
    Scope s = {.device = device};
    float *packed = put_noise(&s, "packed", count);
    float *out = put(&s, y, (size_t)(N * ho * wo * ldy) * sizeof *y);
    const float *other = put_noise(&s, "residual", N * ho * wo * c.cout);
    const SpTensor w = {put_noise(&s, "w", count), SP_F32, 4, {c.cout, c.cin, c.k, c.k}};
    device->ops.conv_pack(device, &(SpConvPack){w, packed});
    device->ops.conv2d(device, &(SpConv2d){.x = put_noise(&s, "x", N * H * W * (c.cin + 1)),
                                           .n = N,
                                           .h = H,
                                           .w = W,
                                           .cin = c.cin,
                                           .ldx = c.in_place ? c.cin : c.cin + 1,
                                           .packed = packed,
                                           .cout = c.cout,
                                           .kh = c.k,
                                           .kw = c.k,
                                           .stride = c.stride,
                                           .pad = c.pad,
                                           .b = put_noise(&s, "b", c.cout),
                                           .act = SP_RELU,
                                           .residual = c.in_place ? out : other,
                                           .y = out,
                                           .ldy = ldy});
    get(&s, out, y, N * ho * wo * ldy);
    end(&s);
}

#define CONV(name, ...)                                                                            \
    static void name(SpDevice *device, float *y)                                                   \
    {                                                                                              \
        conv_case(device, y, (Conv){__VA_ARGS__});                                                 \
    }
CONV(conv_stem, 3, 11, 7, 2, 3, false)
CONV(conv_fours, 20, 17, 3, 1, 1, true)
CONV(conv_pointwise, 6, 13, 1, 1, 0, false)
CONV(conv_strided, 6, 13, 1, 2, 0, true)

enum { DECONV_COUT = 9, DECONV_S = 4 };
static void deconv(SpDevice *device, float *y)
{
    enum { N = 2, H = 5, W = 7, CIN = 12, COUNT = CIN * DECONV_COUT * DECONV_S * DECONV_S };
    Scope s = {.device = device};
    float *packed = put_noise(&s, "packed", COUNT);
    const SpTensor w = {
        put_noise(&s, "w", COUNT), SP_F32, 4, {CIN, DECONV_COUT, DECONV_S, DECONV_S}};
    SpDeconv a = {
        put_noise(&s, "x", N * H * W * CIN), N,   H, W, CIN, packed, DECONV_COUT, DECONV_S,
        put_noise(&s, "b", DECONV_COUT),     NULL};
    a.y = put(&s, y, N * H * W * DECONV_COUT * DECONV_S * DECONV_S * sizeof *y);
    device->ops.deconv_pack(device, &(SpConvPack){w, packed});
    device->ops.deconv(device, &a);
    get(&s, a.y, y, N * H * W * DECONV_COUT * DECONV_S * DECONV_S);
    end(&s);
}

/* ---- attentions ---- */

typedef struct Shape {
    int64_t batch, nq, nk, heads, head, share, pad;
} Shape;

/* Packed rows of q, k, v, or apart; in place over q without `share`. */
static void attention_case(SpDevice *device, float *y, Shape n)
{
    const int64_t width = n.heads * n.head, row = width + n.pad;
    Scope s = {.device = device};
    SpAttention a = {.batch = n.batch,
                     .nq = n.nq,
                     .nk = n.nk,
                     .heads = n.heads,
                     .head = n.head,
                     .scale = 2.5f / sqrtf((float)n.head),
                     .k = put_noise(&s, "k", n.batch * n.nk * row),
                     .v = put_noise(&s, "v", n.batch * n.nk * row),
                     .q_share = n.share,
                     .q_batch = n.nq * row,
                     .q_row = row,
                     .k_batch = n.nk * row,
                     .k_row = row,
                     .v_batch = n.nk * row,
                     .v_row = row,
                     .y_batch = n.nq * row,
                     .y_row = row};
    float *out = put(&s, y, (size_t)(n.batch * n.nq * row) * sizeof *y);
    a.q = n.share ? put_noise(&s, "q", n.batch * n.nq * row) : out;
    a.y = out;
    device->ops.attention(device, &a);
    get(&s, out, y, n.batch * n.nq * row);
    end(&s);
}

#define ATTENTION(name, ...)                                                                       \
    static void name(SpDevice *device, float *y)                                                   \
    {                                                                                              \
        attention_case(device, y, (Shape){__VA_ARGS__});                                           \
    }
ATTENTION(attention_long, 1, 141, 333, 2, 64, 0, 0)
ATTENTION(attention_odd, 2, 63, 130, 2, 48, 0, 5)
ATTENTION(attention_shared, 6, 16, 16, 8, 16, 3, 0)
ATTENTION(attention_one_query, 5, 1, 16, 8, 16, 0, 0)
ATTENTION(attention_time, 7, 24, 24, 2, 48, 0, 4)
ATTENTION(attention_one_key, 1, 1, 1, 2, 20, 0, 1)
ATTENTION(attention_128, 2, 70, 65, 2, 128, 2, 8)
ATTENTION(attention_small_heads, 1, 9, 90, 3, 20, 0, 1)
ATTENTION(attention_narrow, 1, 9, 90, 3, 12, 0, 1)
ATTENTION(attention_256, 1, 17, 33, 1, 200, 0, 3)
ATTENTION(attention_wide, 1, 3, 7, 2, 300, 0, 0)

typedef struct Windows {
    int64_t h, w, side, heads, head;
    bool in_place;
} Windows;

static void window_case(SpDevice *device, float *y, Windows n)
{
    const int64_t width = n.heads * n.head, entries = 2 * n.side - 1;
    Scope s = {.device = device};
    float *qkv = put_noise(&s, "qkv", n.h * n.w * 3 * width);
    SpWindowAttention a = {qkv,
                           n.h,
                           n.w,
                           n.side,
                           n.heads,
                           n.head,
                           2.5f / sqrtf((float)n.head),
                           put_noise(&s, "padding", 3 * width),
                           put_noise(&s, "rel_pos_h", entries * n.head),
                           put_noise(&s, "rel_pos_w", entries * n.head),
                           qkv,
                           3 * width};
    if (!n.in_place) {
        a.y = put(&s, y, (size_t)(n.h * n.w * width) * sizeof *y);
        a.y_row = width;
    }
    device->ops.window_attention(device, &a);
    get(&s, a.y, y, n.h * n.w * a.y_row);
    end(&s);
}

#define WINDOWS(name, ...)                                                                         \
    static void name(SpDevice *device, float *y)                                                   \
    {                                                                                              \
        window_case(device, y, (Windows){__VA_ARGS__});                                            \
    }
WINDOWS(windows, 16, 16, 14, 2, 16, false)
WINDOWS(window_global, 12, 12, 12, 1, 80, true)
WINDOWS(window_ragged, 9, 13, 5, 2, 64, true)
WINDOWS(window_one, 3, 4, 7, 1, 130, false)

static void rope_case(SpDevice *device, float *y, int64_t head, bool norm)
{
    enum { N = 21, HEADS = 3, PERIOD = 7 };
    int32_t position[2 * PERIOD];
    for (int i = 0; i < 2 * PERIOD; i++)
        position[i] = i * 5 % 12;
    Scope s = {.device = device};
    float *qkv = put(&s, y, (size_t)(N * 3 * HEADS * head) * sizeof *y);
    SpQkNormRope a = {.qkv = qkv,
                      .rows = N,
                      .heads = HEADS,
                      .head = head,
                      .eps = 1e-5f,
                      .position = put(&s, position, sizeof position),
                      .period = PERIOD,
                      .max_position = 11,
                      .rope_base = 100};
    if (norm) {
        a.q_weight = put_noise(&s, "qw", head);
        a.q_bias = put_noise(&s, "qb", head);
        a.k_weight = put_noise(&s, "kw", head);
        a.k_bias = put_noise(&s, "kb", head);
    }
    device->ops.qk_norm_rope(device, &a);
    get(&s, qkv, y, N * 3 * HEADS * head);
    end(&s);
}

static void rope_normed(SpDevice *device, float *y)
{
    rope_case(device, y, 64, true);
}

static void rope_plain(SpDevice *device, float *y)
{
    rope_case(device, y, 20, false);
}

/* A block of a transformer whose arrays between norm, products and attention are operands:
 * y = y + gain * proj(attention(rope(qkv(norm(y))))), then y = y + fc2(gelu(fc1(norm(y)))). */
static void block_case(SpDevice *device, float *y, int64_t head)
{
    enum { N = 75, HEADS = 2, PERIOD = 25 };
    const int64_t width = HEADS * head, row = 3 * width, hidden = 2 * width;
    Scope s = {.device = device};
    int32_t position[2 * PERIOD];
    for (int i = 0; i < 2 * PERIOD; i++)
        position[i] = i * 5 % 12;
    float *x = put(&s, y, (size_t)(N * width) * sizeof *y);
    float *normed = put_noise(&s, "normed", N * width), *qkv = put_noise(&s, "qkv", N * row);
    float *small = op_noise("w", row * width); /* so that rows stay of one size */
    for (int64_t i = 0; i < row * width; i++)
        small[i] *= 0.1f;
    const float *w = put(&s, small, (size_t)(row * width) * sizeof *w);
    const float *b = put_noise(&s, "b", row);
    const float *gain = put_noise(&s, "gain", width);
    const SpLayerNorm norm = {x, N, width, width, gain, b, 1e-5f, normed, width, true};
    device->ops.layer_norm(device, &norm);
    device->ops.linear(device, &(SpLinear){.x = normed,
                                           .rows = N,
                                           .ldx = width,
                                           .w = {w, SP_F32, 2, {row, width}},
                                           .b = b,
                                           .y = qkv,
                                           .ldy = row,
                                           .x_operand = true,
                                           .y_part = width});
    device->ops.qk_norm_rope(device, &(SpQkNormRope){.qkv = qkv,
                                                     .rows = N,
                                                     .heads = HEADS,
                                                     .head = head,
                                                     .q_weight = gain,
                                                     .q_bias = b,
                                                     .k_weight = gain,
                                                     .k_bias = b,
                                                     .eps = 1e-5f,
                                                     .position = put(&s, position, sizeof position),
                                                     .period = PERIOD,
                                                     .max_position = 11,
                                                     .rope_base = 100,
                                                     .operand = true});
    device->ops.attention(device, &(SpAttention){.batch = 1,
                                                 .nq = N,
                                                 .nk = N,
                                                 .heads = HEADS,
                                                 .head = head,
                                                 .scale = 1 / sqrtf((float)head),
                                                 .q = qkv,
                                                 .k = qkv + width,
                                                 .v = qkv + 2 * width,
                                                 .q_row = row,
                                                 .k_row = row,
                                                 .v_row = row,
                                                 .y = qkv,
                                                 .y_row = row,
                                                 .operand = true});
    device->ops.linear(device, &(SpLinear){.x = qkv,
                                           .rows = N,
                                           .ldx = row,
                                           .w = {w, SP_F32, 2, {width, width}},
                                           .b = b,
                                           .gain = gain,
                                           .residual = x,
                                           .ldr = width,
                                           .y = x,
                                           .ldy = width,
                                           .x_operand = true});
    device->ops.layer_norm(device, &norm);
    device->ops.linear(device, &(SpLinear){.x = normed,
                                           .rows = N,
                                           .ldx = width,
                                           .w = {w, SP_F32, 2, {hidden, width}},
                                           .b = b,
                                           .act = SP_GELU,
                                           .y = qkv,
                                           .ldy = hidden,
                                           .x_operand = true,
                                           .y_part = hidden});
    device->ops.linear(device, &(SpLinear){.x = qkv,
                                           .rows = N,
                                           .ldx = hidden,
                                           .w = {w, SP_F32, 2, {width, hidden}},
                                           .b = b,
                                           .residual = x,
                                           .ldr = width,
                                           .y = x,
                                           .ldy = width,
                                           .x_operand = true});
    get(&s, x, y, N * width);
    end(&s);
    free(small);
}

/* Heads that fill a tile's width, and some that do not. */
static void block_64(SpDevice *device, float *y)
{
    block_case(device, y, 64);
}

static void block_24(SpDevice *device, float *y)
{
    block_case(device, y, 24);
}

#define LINEAR_COUNT (ROWS * LDY)
const OpCase op_products[] = {
    {"linear fused", linear_fused, LINEAR_COUNT, 1e-5, 4e-2, false},
    {"linear in place", linear_in_place, LINEAR_COUNT, 1e-5, 4e-2, false},
    {"linear gelu", linear_gelu, LINEAR_COUNT, 1e-5, 4e-2, false},
    {"linear gelu tanh", linear_gelu_tanh, LINEAR_COUNT, 1e-5, 4e-2, false},
    {"linear silu", linear_silu, LINEAR_COUNT, 1e-5, 4e-2, false},
    {"linear aligned", linear_aligned, 37 * 72, 1e-5, 4e-2, false},
    {"linear bf16", linear_bf16, 19 * 70, 1e-5, 4e-2, false},
    {"linear f16", linear_f16, 19 * 70, 1e-5, 4e-2, false},
    {"linear chunks", linear_chunks, (8 * SP_ROW_TILE + 29) * 12, 1e-5, 4e-2, false},
    {"linear pieces", linear_pieces, 3 * 1600, 3e-4, 5e-1, true},
    {"conv stem", conv_stem, 2 * 7 * 9 * 14, 2e-5, 4e-2, false},
    {"conv fours", conv_fours, 2 * 13 * 17 * 17, 2e-5, 4e-2, false},
    {"conv pointwise", conv_pointwise, 2 * 13 * 17 * 16, 1e-5, 4e-2, false},
    {"conv strided", conv_strided, 2 * 7 * 9 * 13, 1e-5, 4e-2, false},
    {"deconv", deconv, 2 * 5 * 7 * DECONV_COUT *DECONV_S *DECONV_S, 1e-5, 4e-2, false},
    {"attention long", attention_long, 141 * 128, 1e-5, 4e-3, false},
    {"attention odd", attention_odd, 2 * 63 * 101, 1e-5, 4e-3, false},
    {"attention shared", attention_shared, 6 * 16 * 128, 1e-5, 4e-3, false},
    {"attention one query", attention_one_query, 5 * 128, 1e-5, 4e-3, false},
    {"attention time", attention_time, 7 * 24 * 100, 1e-5, 4e-3, false},
    {"attention one key", attention_one_key, 41, 1e-5, 4e-3, false},
    {"attention 128", attention_128, 2 * 70 * 264, 1e-5, 4e-3, false},
    {"attention small heads", attention_small_heads, 9 * 61, 1e-5, 4e-3, false},
    {"attention narrow", attention_narrow, 9 * 37, 1e-5, 4e-3, false},
    {"attention 256", attention_256, 17 * 203, 1e-5, 4e-3, false},
    {"attention wide", attention_wide, 3 * 600, 1e-5, 4e-3, false},
    {"windows", windows, 16 * 16 * 32, 1e-5, 4e-3, false},
    {"window global", window_global, 12 * 12 * 240, 2e-5, 4e-3, false},
    {"windows ragged", window_ragged, 9 * 13 * 384, 2e-5, 4e-3, false},
    {"window one", window_one, 3 * 4 * 130, 2e-5, 4e-3, false},
    {"block 64", block_64, 75 * 128, 1e-4, 1e-1, false},
    {"block 24", block_24, 75 * 48, 1e-4, 1e-1, false},
    {"rope normed", rope_normed, 21 * 9 * 64, 1e-5, 0, false},
    {"rope plain", rope_plain, 21 * 9 * 20, 1e-5, 0, false},
};
const size_t op_products_count = sizeof op_products / sizeof *op_products;
