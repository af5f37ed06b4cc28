/* src/sam/README.md, "Preparing the picture": from the decoded image to the model's. Both resizes
 * work on bytes as the reference's libraries do, because their roundings are part of what the model
 * sees. */
#include <math.h>
#include <string.h>

#include "sam/internal.h"

SpSamSizes sp_sam_sizes(const SpSam *sam, int64_t height, int64_t width, int64_t short_side)
{
    SpSamSizes s = {.height = height, .width = width, .frame_height = height, .frame_width = width};
    if (short_side) {
        const double scale = (double)short_side / (double)sp_min(height, width);
        s.frame_height = (int64_t)((double)height * scale) / 2 * 2;
        s.frame_width = (int64_t)((double)width * scale) / 2 * 2;
    }
    const int64_t longest = sp_max(s.frame_height, s.frame_width);
    const double scale = (double)sam->side / (double)longest;
    /* At least 1, for images of more than twice S to one. */
    s.model_height = sp_max((int64_t)((double)s.frame_height * scale + 0.5), 1);
    s.model_width = sp_max((int64_t)((double)s.frame_width * scale + 0.5), 1);
    return s;
}

/* Where output i of `out` reads among `in`: below `at + part`. */
typedef struct Tap {
    int64_t at;
    float part;
} Tap;

static Tap frame_tap(int64_t i, int64_t in, int64_t out)
{
    const double ratio = 1.0 / ((double)out / (double)in);
    const float f = (float)(((double)i + 0.5) * ratio - 0.5);
    const float whole = floorf(f);
    return (Tap){(int64_t)whole, f - whole};
}

static int32_t frame_weight(float part)
{
    return (int32_t)rintf(part * 2048);
}

static int64_t clamp(int64_t i, int64_t n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* A row's columns in 11-bit fixed point: row [w, 3] to out [wo, 3]. */
static void frame_columns(const uint8_t *row, int64_t w, int32_t *out, int64_t wo)
{
    for (int64_t j = 0; j < wo; j++) {
        Tap tap = frame_tap(j, w, wo);
        if (tap.at < 0 || tap.at >= w - 1)
            tap = (Tap){clamp(tap.at, w), 0};
        const int32_t a = frame_weight(1 - tap.part), b = frame_weight(tap.part);
        const uint8_t *p = row + 3 * tap.at, *next = row + 3 * clamp(tap.at + 1, w);
        for (int c = 0; c < 3; c++)
            out[3 * j + c] = p[c] * a + next[c] * b;
    }
}

void sp_sam_resize_frame(SpNn *nn, const uint8_t *rgb, int64_t h, int64_t w, uint8_t *out,
                         int64_t ho, int64_t wo)
{
    SP_NN_SCOPE(nn);
    int32_t *above = sp_nn_alloc_host(nn, (size_t)(3 * wo) * sizeof *above);
    int32_t *below = sp_nn_alloc_host(nn, (size_t)(3 * wo) * sizeof *below);
    for (int64_t i = 0; sp_nn_live(nn) && i < ho; i++) {
        const Tap tap = frame_tap(i, h, ho);
        const int32_t a = frame_weight(1 - tap.part), b = frame_weight(tap.part);
        frame_columns(rgb + clamp(tap.at, h) * 3 * w, w, above, wo);
        frame_columns(rgb + clamp(tap.at + 1, h) * 3 * w, w, below, wo);
        for (int64_t j = 0; j < 3 * wo; j++) {
            const int32_t v =
                (((a * (above[j] >> 4)) >> 16) + ((b * (below[j] >> 4)) >> 16) + 2) >> 2;
            out[i * 3 * wo + j] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
    }
}

/* For each output of an axis the first input it reads, how many, and their integer weights. */
typedef struct Axis {
    int64_t taps;
    int32_t *first, *count, *weight; /* [out], [out], [out, taps] */
    int bits;
} Axis;

/* Weights of output i in double; returns how many and from where. */
static int64_t model_weights(int64_t i, int64_t in, int64_t out, int64_t *first, double *weight)
{
    const double ratio = (double)in / (double)out, support = ratio > 1 ? ratio : 1;
    const double centre = ratio * ((double)i + 0.5);
    const int64_t from = (int64_t)fmax(trunc(centre - support + 0.5), 0);
    const int64_t to = (int64_t)fmin(trunc(centre + support + 0.5), (double)in);
    double sum = 0;
    for (int64_t j = from; j < to; j++) {
        weight[j - from] = fmax(0, 1 - fabs(((double)j - centre + 0.5) / support));
        sum += weight[j - from];
    }
    for (int64_t j = 0; j < to - from; j++)
        weight[j] /= sum;
    *first = from;
    return to - from;
}

static Axis model_axis(SpNn *nn, int64_t in, int64_t out)
{
    const double ratio = (double)in / (double)out;
    Axis axis = {.taps = 2 * (int64_t)ceil(ratio > 1 ? ratio : 1) + 1, .bits = 22};
    const size_t outs = (size_t)out;
    axis.first = sp_nn_alloc_host(nn, outs * sizeof *axis.first);
    axis.count = sp_nn_alloc_host(nn, outs * sizeof *axis.count);
    axis.weight = sp_nn_alloc_host(nn, outs * (size_t)axis.taps * sizeof *axis.weight);
    double *weight = sp_nn_alloc_host(nn, (size_t)axis.taps * sizeof *weight), max = 0;
    if (!sp_nn_live(nn))
        return axis;
    for (int64_t i = 0; i < out; i++) {
        int64_t first;
        const int64_t count = model_weights(i, in, out, &first, weight);
        for (int64_t k = 0; k < count; k++)
            max = fmax(max, weight[k]);
    }
    while (0.5 + max * (double)(1 << axis.bits) >= 1 << 15)
        axis.bits--;
    for (int64_t i = 0; i < out; i++) {
        int64_t first;
        const int64_t count = model_weights(i, in, out, &first, weight);
        axis.first[i] = (int32_t)first;
        axis.count[i] = (int32_t)count;
        for (int64_t k = 0; k < count; k++)
            axis.weight[i * axis.taps + k] = (int32_t)(0.5 + weight[k] * (double)(1 << axis.bits));
    }
    return axis;
}

/* Output i of an axis for `count` neighbouring bytes: inputs are `step` bytes apart. */
static void apply_axis(const Axis *axis, int64_t i, const uint8_t *in, int64_t step, int64_t count,
                       uint8_t *out)
{
    const int32_t *weight = axis->weight + i * axis->taps;
    in += axis->first[i] * step;
    for (int64_t c = 0; c < count; c++) {
        int32_t sum = 1 << (axis->bits - 1);
        for (int32_t k = 0; k < axis->count[i]; k++)
            sum += weight[k] * in[k * step + c];
        sum >>= axis->bits;
        out[c] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
    }
}

void sp_sam_resize_model(SpNn *nn, const uint8_t *rgb, int64_t h, int64_t w, uint8_t *out,
                         int64_t ho, int64_t wo)
{
    SP_NN_SCOPE(nn);
    if (w != wo) {
        const Axis x = model_axis(nn, w, wo);
        uint8_t *wide = h == ho ? out : sp_nn_alloc_host(nn, (size_t)(h * wo * 3));
        for (int64_t i = 0; sp_nn_live(nn) && i < h; i++)
            for (int64_t j = 0; j < wo; j++)
                apply_axis(&x, j, rgb + i * 3 * w, 3, 3, wide + (i * wo + j) * 3);
        rgb = wide;
    }
    if (h != ho) {
        const Axis y = model_axis(nn, h, ho);
        for (int64_t i = 0; sp_nn_live(nn) && i < ho; i++)
            apply_axis(&y, i, rgb, 3 * wo, 3 * wo, out + i * 3 * wo);
    } else if (w == wo && sp_nn_live(nn)) {
        memcpy(out, rgb, (size_t)(h * w * 3));
    }
}

void sp_sam_normalise(const uint8_t *rgb, int64_t h, int64_t w, int64_t side, float *out)
{
    memset(out, 0, (size_t)(side * side * 3) * sizeof *out);
    for (int64_t i = 0; i < h; i++)
        for (int64_t j = 0; j < w; j++) {
            const uint8_t *p = rgb + 3 * (i * w + j);
            sp_sam_normalise_pixel((double[3]){p[0], p[1], p[2]}, out + 3 * (i * side + j));
        }
}

void sp_sam_model_image(const SpSam *sam, SpNn *nn, const SpSamSizes *s, const uint8_t *rgb,
                        float *out)
{
    if (s->crop.side) {
        if (sp_nn_live(nn))
            sp_sam_crop_image(sam, s, rgb, out);
        return;
    }
    SP_NN_SCOPE(nn);
    uint8_t *frame = sp_nn_alloc_host(nn, (size_t)(s->frame_height * s->frame_width * 3));
    uint8_t *model = sp_nn_alloc_host(nn, (size_t)(s->model_height * s->model_width * 3));
    sp_sam_resize_frame(nn, rgb, s->height, s->width, frame, s->frame_height, s->frame_width);
    sp_sam_resize_model(nn, frame, s->frame_height, s->frame_width, model, s->model_height,
                        s->model_width);
    if (sp_nn_live(nn))
        sp_sam_normalise(model, s->model_height, s->model_width, sam->side, out);
}
