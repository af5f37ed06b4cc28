/* Each op of the CPU device against plain loops in double, on every instruction set here. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/asan.h"
#include "base/half.h"
#include "kernels/cpu/cpu.h"
#include "support/synth.h"

static const char *const ISAS[] = {"baseline", "avx2", "avx512", "avx512_bf16"};

static float *noise(const char *name, int64_t count)
{
    float *x = malloc((size_t)count * sizeof *x);
    assert_non_null(x);
    synth_fill(name, 1, 0, 0, count, x);
    return x;
}

static void close_to(const float *ours, const double *exact, int64_t count, double tolerance)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)ours[i] - exact[i]) <= tolerance * fmax(1, fabs(exact[i]))))
            fail_msg("element %lld: %.9g, exactly %.9g", (long long)i, (double)ours[i], exact[i]);
}

/* Runs `check` on a device of each instruction set with 1 and 3 threads. */
static void each_device(void (*check)(SpDevice *))
{
    for (size_t i = 0; i < sizeof ISAS / sizeof *ISAS; i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            SpDevice *device;
            const SpStatus status = sp_cpu_open_isa(threads, ISAS[i], &device);
            if (status.code == SP_DEVICE)
                continue;
            assert_int_equal(status.code, SP_OK);
            check(device);
            device->close(device);
        }
}

static double activated(double x, SpActivation act)
{
    switch (act) {
    case SP_GELU:
        return x / 2 * (1 + erf(x / sqrt(2)));
    case SP_GELU_TANH:
        return x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case SP_RELU:
        return x > 0 ? x : 0;
    case SP_SILU:
        return x / (1 + exp(-x));
    default:
        return x;
    }
}

static void check_linear(SpDevice *device)
{
    enum { ROWS = 777, IN = 70, OUTS = 523, LDX = 75, LDY = 530 };
    float *x = noise("x", ROWS * LDX), *w = noise("w", OUTS * IN), *b = noise("b", OUTS);
    float *gain = noise("gain", OUTS), *y = noise("y", ROWS * LDY),
          *before = noise("y", ROWS * LDY);
    double *exact = malloc(ROWS * OUTS * sizeof *exact);
    for (int act = SP_IDENTITY; act <= SP_SILU; act++) {
        memcpy(y, before, ROWS * LDY * sizeof *y);
        device->ops.linear(device, &(SpLinear){.x = x,
                                               .rows = ROWS,
                                               .ldx = LDX,
                                               .w = {w, SP_F32, 2, {OUTS, IN}},
                                               .b = b,
                                               .act = (SpActivation)act,
                                               .gain = gain,
                                               .residual = y,
                                               .ldr = LDY,
                                               .y = y,
                                               .ldy = LDY});
        for (int64_t r = 0; r < ROWS; r++)
            for (int64_t o = 0; o < OUTS; o++) {
                double sum = (double)b[o];
                for (int64_t i = 0; i < IN; i++)
                    sum += (double)x[r * LDX + i] * (double)w[o * IN + i];
                exact[o] = (double)before[r * LDY + o] +
                           (double)gain[o] * activated(sum, (SpActivation)act);
                if (o == OUTS - 1)
                    close_to(y + r * LDY, exact, OUTS, 5e-6);
            }
        assert_true(y[OUTS] == before[OUTS]); /* nothing between the rows is touched */
    }
    free(x), free(w), free(b), free(gain), free(y), free(before), free(exact);
}

/* Operands rounded to bf16, sums not; an odd number of inputs in several blocks. */
static void check_linear_bf16(SpDevice *device)
{
    enum { ROWS = 131, IN = 1601, OUTS = 77 };
    float *x = noise("x", ROWS * IN), *w = noise("w", OUTS * IN), *y = noise("y", ROWS * OUTS);
    double exact[OUTS], off = 0;
    x[5] = NAN;
    for (int halves = 0; halves < 2; halves++) {
        uint16_t *half = malloc(OUTS * IN * sizeof *half);
        for (int i = 0; i < OUTS * IN; i++)
            half[i] = sp_f32_to_bf16(w[i]);
        const SpTensor weights = {
            halves ? (void *)half : (void *)w, halves ? SP_BF16 : SP_F32, 2, {OUTS, IN}};
        device->set_precision(device, SP_PRECISION_BF16);
        device->ops.linear(
            device,
            &(SpLinear){.x = x, .rows = ROWS, .ldx = IN, .w = weights, .y = y, .ldy = OUTS});
        device->set_precision(device, SP_PRECISION_F32);
        for (int o = 0; o < OUTS; o++)
            assert_true(isnan(y[o]));
        for (int r = 1; r < ROWS; r++) {
            for (int o = 0; o < OUTS; o++) {
                double plain = exact[o] = 0;
                for (int i = 0; i < IN; i++) {
                    const float a = x[r * IN + i], b = w[o * IN + i];
                    plain += (double)a * (double)b;
                    exact[o] += (double)sp_bf16_to_f32(sp_f32_to_bf16(a)) *
                                (double)sp_bf16_to_f32(sp_f32_to_bf16(b));
                }
                off = fmax(off, fabs((double)y[r * OUTS + o] - plain));
            }
            close_to(y + r * OUTS, exact, OUTS, 2e-5);
        }
        free(half);
    }
    assert_true(off > 1e-3); /* unrounded they would be closer */
    free(x), free(w), free(y);
}

/* 1 in half precision is 0x3c00, in bfloat16 0x3f80: both weight types are exact here. */
static void check_linear_halves(SpDevice *device)
{
    enum { ROWS = 5, IN = 33, OUTS = 21 };
    float *x = noise("x", ROWS * IN), y[ROWS * OUTS];
    double exact[ROWS * OUTS];
    uint16_t w[OUTS * IN];
    for (int type = 0; type < 2; type++) {
        for (int i = 0; i < OUTS * IN; i++)
            w[i] = (uint16_t)((type ? 0x3f80 : 0x3c00) | (i % 3 ? 0 : 0x8000));
        device->ops.linear(device, &(SpLinear){.x = x,
                                               .rows = ROWS,
                                               .ldx = IN,
                                               .w = {w, type ? SP_BF16 : SP_F16, 2, {OUTS, IN}},
                                               .y = y,
                                               .ldy = OUTS});
        for (int r = 0; r < ROWS; r++)
            for (int o = 0; o < OUTS; o++) {
                exact[r * OUTS + o] = 0;
                for (int i = 0; i < IN; i++)
                    exact[r * OUTS + o] += ((o * IN + i) % 3 ? 1 : -1) * (double)x[r * IN + i];
            }
        close_to(y, exact, ROWS * OUTS, 5e-6);
    }
    free(x);
}

static void check_attention_shape(SpDevice *device, int64_t batch, int64_t nq, int64_t nk,
                                  int64_t heads, int64_t head)
{
    const int64_t width = heads * head, row = width + 5;
    float *q = noise("q", batch * nq * row), *k = noise("k", batch * nk * row);
    float *v = noise("v", batch * nk * row), *y = noise("y", batch * nq * width);
    double *p = malloc((size_t)nk * sizeof *p), *exact = malloc((size_t)head * sizeof *exact);
    const float scale = 2.5f / sqrtf((float)head);
    device->ops.attention(device, &(SpAttention){.batch = batch,
                                                 .nq = nq,
                                                 .nk = nk,
                                                 .heads = heads,
                                                 .head = head,
                                                 .scale = scale,
                                                 .q = q,
                                                 .k = k,
                                                 .v = v,
                                                 .q_batch = nq * row,
                                                 .q_row = row,
                                                 .k_batch = nk * row,
                                                 .k_row = row,
                                                 .v_batch = nk * row,
                                                 .v_row = row,
                                                 .y = y,
                                                 .y_batch = nq * width,
                                                 .y_row = width});
    for (int64_t u = 0; u < batch * nq * heads; u++) {
        const int64_t b = u / heads / nq, i = u / heads % nq, h = u % heads;
        double largest = -INFINITY, total = 0;
        for (int64_t j = 0; j < nk; j++) {
            p[j] = 0;
            for (int64_t e = 0; e < head; e++)
                p[j] += (double)scale * (double)q[(b * nq + i) * row + h * head + e] *
                        (double)k[(b * nk + j) * row + h * head + e];
            largest = fmax(largest, p[j]);
        }
        for (int64_t j = 0; j < nk; j++)
            total += p[j] = exp(p[j] - largest);
        for (int64_t e = 0; e < head; e++) {
            exact[e] = 0;
            for (int64_t j = 0; j < nk; j++)
                exact[e] += p[j] / total * (double)v[(b * nk + j) * row + h * head + e];
        }
        close_to(y + (b * nq + i) * width + h * head, exact, head, 3e-6);
    }
    free(q), free(k), free(v), free(y), free(p), free(exact);
}

static void check_attention(SpDevice *device)
{
    check_attention_shape(device, 1, 401, 1200, 2, 64);
    check_attention_shape(device, 3, 7, 24, 8, 48);
    check_attention_shape(device, 2, 63, 300, 2, 48);
    check_attention_shape(device, 40, 16, 16, 8, 16);
    check_attention_shape(device, 5, 1, 16, 8, 16);
    check_attention_shape(device, 1, 1, 1, 2, 20);
    check_attention_shape(device, 9, 2, 2, 8, 4); /* several heads in a vector */
    check_attention_shape(device, 3, 5, 4, 7, 2);
    check_attention_shape(device, 4, 1, 3, 3, 8);
    check_attention_shape(device, 2, 3, 1, 5, 1);
    check_attention_shape(device, 6, 1, 16, 8, 16);
    check_attention_shape(device, 6, 2, 13, 3, 12);
    check_attention_shape(device, 2, 200, 64, 2, 48);
}

/* Scores of query (qy, qx) against every key of its window, then their softmax, into p. */
static void window_weights(const SpWindowAttention *a, int64_t qy, int64_t qx, int64_t head,
                           double *p)
{
    const int64_t width = a->heads * a->head, side = a->side;
    const float *q = a->qkv + (qy * a->w + qx) * 3 * width + head * a->head;
    double largest = -INFINITY, total = 0;
    for (int64_t j = 0; j < side * side; j++) {
        const int64_t y = qy / side * side + j / side, x = qx / side * side + j % side;
        const float *key = y < a->h && x < a->w ? a->qkv + (y * a->w + x) * 3 * width : a->padding;
        p[j] = 0;
        for (int64_t e = 0; e < a->head; e++)
            p[j] += (double)q[e] * ((double)a->scale * (double)key[width + head * a->head + e] +
                                    (double)a->rel_pos_h[(qy - y + side - 1) * a->head + e] +
                                    (double)a->rel_pos_w[(qx - x + side - 1) * a->head + e]);
        largest = fmax(largest, p[j]);
    }
    for (int64_t j = 0; j < side * side; j++)
        total += p[j] = exp(p[j] - largest);
    for (int64_t j = 0; j < side * side; j++)
        p[j] /= total;
}

static void check_window_attention_shape(SpDevice *device, int64_t h, int64_t w, int64_t side,
                                         int64_t heads, int64_t head)
{
    const int64_t width = heads * head, row = 3 * width, entries = 2 * side - 1;
    float *qkv = noise("qkv", h * w * row), *padding = noise("padding", row);
    float *rel_pos_h = noise("rel_pos_h", entries * head),
          *rel_pos_w = noise("rel_pos_w", entries * head);
    float *in_place = noise("qkv", h * w * row), *y = noise("y", h * w * width);
    double *p = malloc((size_t)(side * side) * sizeof *p), *exact = malloc((size_t)head * 8);
    SpWindowAttention a = {
        qkv,     h,         w,         side, heads, head, 2.5f / sqrtf((float)head),
        padding, rel_pos_h, rel_pos_w, y,    width};
    device->ops.window_attention(device, &a);
    for (int64_t u = 0; u < h * w * heads; u++) {
        const int64_t qy = u / heads / w, qx = u / heads % w, which = u % heads;
        window_weights(&a, qy, qx, which, p);
        for (int64_t e = 0; e < head; e++) {
            exact[e] = 0;
            for (int64_t j = 0; j < side * side; j++) {
                const int64_t ky = qy / side * side + j / side, kx = qx / side * side + j % side;
                const float *key = ky < h && kx < w ? qkv + (ky * w + kx) * row : padding;
                exact[e] += p[j] * (double)key[2 * width + which * head + e];
            }
        }
        close_to(y + (qy * w + qx) * width + which * head, exact, head, 3e-6);
    }
    a.qkv = a.y = in_place;
    a.y_row = row;
    device->ops.window_attention(device, &a);
    for (int64_t t = 0; t < h * w; t++)
        assert_memory_equal(in_place + t * row, y + t * width, (size_t)width * sizeof *y);
    free(qkv), free(padding), free(rel_pos_h), free(rel_pos_w), free(in_place), free(y), free(p);
    free(exact);
}

static void check_window_attention(SpDevice *device)
{
    check_window_attention_shape(device, 16, 16, 14, 2, 16);
    check_window_attention_shape(device, 30, 30, 30, 1, 20);
    check_window_attention_shape(device, 9, 13, 5, 2, 12);
    check_window_attention_shape(device, 3, 4, 7, 1, 8);
}

static void check_layer_norm(SpDevice *device)
{
    enum { ROWS = 9, WIDTH = 131, LD = 140 };
    float *x = noise("x", ROWS * LD), *w = noise("w", WIDTH), *b = noise("b", WIDTH);
    float *y = noise("y", ROWS * LD);
    double exact[WIDTH];
    device->ops.layer_norm(device, &(SpLayerNorm){.x = x,
                                                  .rows = ROWS,
                                                  .width = WIDTH,
                                                  .ldx = LD,
                                                  .weight = w,
                                                  .bias = b,
                                                  .eps = 1e-6f,
                                                  .y = y,
                                                  .ldy = LD});
    for (int64_t r = 0; r < ROWS; r++) {
        double mean = 0, spread = 0;
        for (int64_t i = 0; i < WIDTH; i++)
            mean += (double)x[r * LD + i] / WIDTH;
        for (int64_t i = 0; i < WIDTH; i++)
            spread += pow((double)x[r * LD + i] - mean, 2) / WIDTH;
        for (int64_t i = 0; i < WIDTH; i++)
            exact[i] =
                ((double)x[r * LD + i] - mean) / sqrt(spread + 1e-6) * (double)w[i] + (double)b[i];
        close_to(y + r * LD, exact, WIDTH, 3e-6);
    }
    free(x), free(w), free(b), free(y);
}

static void check_conv_shape(SpDevice *device, int64_t cin, int64_t cout, int64_t k, int64_t stride,
                             int64_t pad)
{
    enum { N = 2, H = 23, W = 29 };
    const int64_t ho = (H + 2 * pad - k) / stride + 1, wo = (W + 2 * pad - k) / stride + 1;
    const int64_t ldy = cout + 3;
    float *x = noise("x", N * H * W * cin), *w = noise("w", cout * cin * k * k);
    float *packed = noise("packed", cout * cin * k * k), *b = noise("b", cout);
    float *residual = noise("r", N * ho * wo * cout), *y = noise("y", N * ho * wo * ldy);
    device->ops.conv_pack(device, &(SpConvPack){{w, SP_F32, 4, {cout, cin, k, k}}, packed});
    device->ops.conv2d(device, &(SpConv2d){.x = x,
                                           .n = N,
                                           .h = H,
                                           .w = W,
                                           .cin = cin,
                                           .ldx = cin,
                                           .packed = packed,
                                           .cout = cout,
                                           .kh = k,
                                           .kw = k,
                                           .stride = stride,
                                           .pad = pad,
                                           .b = b,
                                           .act = SP_RELU,
                                           .residual = residual,
                                           .y = y,
                                           .ldy = ldy});
    double *exact = malloc((size_t)cout * sizeof *exact);
    for (int64_t p = 0; p < N * ho * wo; p++) {
        const int64_t n = p / wo / ho, oy = p / wo % ho, ox = p % wo;
        for (int64_t o = 0; o < cout; o++) {
            double sum = (double)b[o];
            for (int64_t t = 0; t < k * k; t++) {
                const int64_t yy = oy * stride - pad + t / k, xx = ox * stride - pad + t % k;
                for (int64_t i = 0; i < cin && yy >= 0 && yy < H && xx >= 0 && xx < W; i++)
                    sum += (double)x[((n * H + yy) * W + xx) * cin + i] *
                           (double)w[(o * cin + i) * k * k + t];
            }
            exact[o] = (double)residual[p * cout + o] + fmax(sum, 0);
        }
        close_to(y + p * ldy, exact, cout, 3e-5); /* 2700 products of order one */
    }
    free(x), free(w), free(packed), free(b), free(residual), free(y), free(exact);
}

static void check_conv(SpDevice *device)
{
    check_conv_shape(device, 3, 11, 7, 2, 3);
    check_conv_shape(device, 20, 17, 3, 1, 1);
    check_conv_shape(device, 300, 5, 3, 2, 1); /* taps in groups */
    check_conv_shape(device, 6, 13, 1, 2, 0);
    check_conv_shape(device, 6, 13, 1, 1, 0);
}

static void check_deconv(SpDevice *device)
{
    enum { N = 2, H = 5, W = 7, CIN = 12, COUT = 9, S = 4 };
    float *x = noise("x", N * H * W * CIN), *w = noise("w", CIN * COUT * S * S);
    float *packed = noise("p", CIN * COUT * S * S), *b = noise("b", COUT);
    float *y = noise("y", N * H * W * COUT * S * S);
    device->ops.deconv_pack(device, &(SpConvPack){{w, SP_F32, 4, {CIN, COUT, S, S}}, packed});
    device->ops.deconv(device, &(SpDeconv){x, N, H, W, CIN, packed, COUT, S, b, y});
    double exact[COUT];
    for (int64_t p = 0; p < N * H * S * W * S; p++) {
        const int64_t column = p % (W * S), line = p / (W * S); /* over all images */
        for (int64_t o = 0; o < COUT; o++) {
            exact[o] = (double)b[o];
            for (int64_t i = 0; i < CIN; i++)
                exact[o] += (double)x[(line / S * W + column / S) * CIN + i] *
                            (double)w[((i * COUT + o) * S + line % S) * S + column % S];
        }
        close_to(y + p * COUT, exact, COUT, 3e-6);
    }
    free(x), free(w), free(packed), free(b), free(y);
}

static void check_instance_norm(SpDevice *device)
{
    enum { N = 2, PIXELS = 2500, C = 19 };
    float *x = noise("x", N * PIXELS * C), *y = noise("y", N * PIXELS * C);
    device->ops.instance_norm(device, &(SpInstanceNorm){x, N, PIXELS, C, 1e-5f, true, y});
    double *exact = malloc(PIXELS * sizeof *exact);
    float *ours = malloc(PIXELS * sizeof *ours);
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++) {
            double mean = 0, spread = 0;
            for (int64_t p = 0; p < PIXELS; p++)
                mean += (double)x[(n * PIXELS + p) * C + c] / PIXELS;
            for (int64_t p = 0; p < PIXELS; p++)
                spread += pow((double)x[(n * PIXELS + p) * C + c] - mean, 2) / PIXELS;
            for (int64_t p = 0; p < PIXELS; p++) {
                exact[p] =
                    fmax(0, ((double)x[(n * PIXELS + p) * C + c] - mean) / sqrt(spread + 1e-5));
                ours[p] = y[(n * PIXELS + p) * C + c];
            }
            close_to(ours, exact, PIXELS, 3e-6);
        }
    free(x), free(y), free(exact), free(ours);
}

static void check_elementwise(SpDevice *device)
{
    enum { COUNT = 12000, PERIOD = 1200 };
    float *x = noise("x", COUNT), *add = noise("add", COUNT), *y = noise("y", COUNT);
    double *exact = malloc(COUNT * sizeof *exact);
    for (int64_t period = 0; period <= PERIOD; period += PERIOD) {
        device->ops.elementwise(device, &(SpElementwise){x, COUNT, 3.0f, add, period, SP_GELU, y});
        for (int64_t i = 0; i < COUNT; i++)
            exact[i] = activated(3 * (double)x[i] + (double)add[period ? i % period : i], SP_GELU);
        close_to(y, exact, COUNT, 1e-6);
    }
    free(x), free(add), free(y), free(exact);
}

/* Splitting the rows of a call at multiples of SP_ROW_TILE changes no bit. */
static void check_row_split(SpDevice *device)
{
    enum { ROWS = 2 * SP_ROW_TILE + 100, IN = 128, OUTS = 96 };
    float *x = noise("x", ROWS * IN), *w = noise("w", OUTS * IN);
    float *whole = noise("a", ROWS * OUTS), *parts = noise("b", ROWS * OUTS);
    SpLinear call = {.x = x,
                     .rows = ROWS,
                     .ldx = IN,
                     .w = {w, SP_F32, 2, {OUTS, IN}},
                     .act = SP_GELU,
                     .y = whole,
                     .ldy = OUTS};
    device->ops.linear(device, &call);
    for (int64_t r = 0; r < ROWS; r += SP_ROW_TILE) {
        call.x = x + r * IN;
        call.y = parts + r * OUTS;
        call.rows = ROWS - r < SP_ROW_TILE ? ROWS - r : SP_ROW_TILE;
        device->ops.linear(device, &call);
    }
    assert_memory_equal(whole, parts, ROWS * OUTS * sizeof *whole);
    free(x), free(w), free(whole), free(parts);
}

#define TEST_OF(name)                                                                              \
    static void name##_agrees(void **state)                                                        \
    {                                                                                              \
        (void)state;                                                                               \
        each_device(check_##name);                                                                 \
    }
TEST_OF(linear)
TEST_OF(linear_halves)
TEST_OF(linear_bf16)
TEST_OF(attention)
TEST_OF(window_attention)
TEST_OF(layer_norm)
TEST_OF(conv)
TEST_OF(deconv)
TEST_OF(instance_norm)
TEST_OF(elementwise)
TEST_OF(row_split)

/* The same bits for any thread count. */
static void threads_change_nothing(void **state)
{
    (void)state;
    enum { N = 26 * 27, HEAD = 64, SIDE = 14 };
    float *grid[2] = {noise("a", N * HEAD), noise("b", N * HEAD)};
    float *x = noise("x", N * 3 * HEAD), *first = noise("y", N * HEAD),
          *other = noise("z", N * HEAD);
    for (int threads = 1; threads <= 4; threads++) {
        SpDevice *device;
        assert_int_equal(sp_cpu_open(threads, &device).code, SP_OK);
        device->ops.attention(device, &(SpAttention){.batch = 1,
                                                     .nq = N,
                                                     .nk = N,
                                                     .heads = 1,
                                                     .head = HEAD,
                                                     .scale = 0.125f,
                                                     .q = x,
                                                     .k = x + HEAD,
                                                     .v = x + 2 * HEAD,
                                                     .q_row = 3 * HEAD,
                                                     .k_row = 3 * HEAD,
                                                     .v_row = 3 * HEAD,
                                                     .y = threads == 1 ? first : other,
                                                     .y_row = HEAD});
        device->ops.window_attention(device, &(SpWindowAttention){.qkv = x,
                                                                  .h = 26,
                                                                  .w = 27,
                                                                  .side = SIDE,
                                                                  .heads = 1,
                                                                  .head = HEAD,
                                                                  .scale = 0.125f,
                                                                  .padding = x,
                                                                  .rel_pos_h = x,
                                                                  .rel_pos_w = x + 7,
                                                                  .y = grid[threads > 1],
                                                                  .y_row = HEAD});
        device->close(device);
        if (threads > 1) {
            assert_memory_equal(first, other, N * HEAD * sizeof *first);
            assert_memory_equal(grid[0], grid[1], N * HEAD * sizeof *first);
        }
    }
    free(x), free(first), free(other), free(grid[0]), free(grid[1]);
}

/* A convolution of one output pixel, all of whose taps are multiplied where they lie, by an image
 * that lacks its last `missing` floats. */
static void convolve_short(SpDevice *device, size_t missing)
{
    enum { SIDE = 3, IN = 5, OUT = 20, TAPS = SIDE * SIDE * IN };
    float *x = malloc((TAPS - missing) * sizeof *x), *y = malloc(OUT * sizeof *y);
    float *w = calloc(OUT * TAPS, sizeof *w);
    memset(x, 0, (TAPS - missing) * sizeof *x);
    device->ops.conv2d(device, &(SpConv2d){.x = x,
                                           .n = 1,
                                           .h = SIDE,
                                           .w = SIDE,
                                           .cin = IN,
                                           .ldx = IN,
                                           .packed = w,
                                           .cout = OUT,
                                           .kh = SIDE,
                                           .kw = SIDE,
                                           .stride = 1,
                                           .y = y,
                                           .ldy = OUT});
    free(x), free(y), free(w);
}

/* The tiles of products are not instrumented, but what they read is checked (base/asan.h). */
static void short_operands_are_reported(void **state)
{
    (void)state;
#ifndef SP_HAS_ASAN
    skip();
#endif
    for (size_t i = 0; i < sizeof ISAS / sizeof *ISAS; i++)
        for (size_t missing = 0; missing <= 1; missing++) {
            SpDevice *device;
            int status;
            if (sp_cpu_open_isa(1, ISAS[i], &device).code == SP_DEVICE)
                continue;
            const pid_t child = fork();
            if (child == 0) {
                if (missing && !freopen("/dev/null", "w", stderr))
                    _exit(0);
                convolve_short(device, missing);
                _exit(0);
            }
            assert_int_equal(waitpid(child, &status, 0), child);
            device->close(device);
            assert_int_equal(status == 0, missing == 0);
        }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(linear_agrees),
        cmocka_unit_test(linear_halves_agrees),
        cmocka_unit_test(linear_bf16_agrees),
        cmocka_unit_test(attention_agrees),
        cmocka_unit_test(window_attention_agrees),
        cmocka_unit_test(layer_norm_agrees),
        cmocka_unit_test(conv_agrees),
        cmocka_unit_test(deconv_agrees),
        cmocka_unit_test(instance_norm_agrees),
        cmocka_unit_test(elementwise_agrees),
        cmocka_unit_test(row_split_agrees),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(short_operands_are_reported),
    };
    return cmocka_run_group_tests_name("kernels", cases, NULL, NULL);
}
