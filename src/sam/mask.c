/* src/sam/README.md, "Back to pixels". */
#include "nn/dump.h"
#include "sam/internal.h"

/* Bilinear without antialias: output i of an axis lies between inputs at and next. */
typedef struct Tap {
    int64_t at, next;
    float part;
} Tap;

static Tap tap_of(int64_t i, int64_t in, int64_t out)
{
    const float source = (float)in / (float)out * ((float)i + 0.5f) - 0.5f;
    const float from = source > 0 ? source : 0;
    const int64_t at = (int64_t)from < in - 1 ? (int64_t)from : in - 1;
    return (Tap){at, at < in - 1 ? at + 1 : at, from - (float)at};
}

typedef struct Scaling {
    int64_t h, w, ho, wo; /* [h, w] to [ho, wo] */
} Scaling;

/* Output row i; only its first `columns` values. */
static void scaled_row(const float *in, Scaling s, int64_t i, int64_t columns, float *out)
{
    const Tap y = tap_of(i, s.h, s.ho);
    const float *above = in + y.at * s.w, *below = in + y.next * s.w;
    for (int64_t j = 0; j < columns; j++) {
        const Tap x = tap_of(j, s.w, s.wo);
        out[j] = (1 - y.part) * ((1 - x.part) * above[x.at] + x.part * above[x.next]) +
                 y.part * ((1 - x.part) * below[x.at] + x.part * below[x.next]);
    }
}

void sp_sam_postprocess(const SpSam *sam, SpNn *nn, const SpSamSizes *s, const float *low,
                        uint8_t value, uint8_t *mask)
{
    const int64_t side = 4 * sam->vision.grid, h = s->model_height, w = s->model_width;
    SP_NN_SCOPE(nn);
    float *model = sp_nn_host_floats(nn, h * w);
    float *row = sp_nn_host_floats(nn, s->width);
    for (int64_t i = 0; sp_nn_live(nn) && i < h; i++)
        scaled_row(low, (Scaling){side, side, sam->side, sam->side}, i, w, model + i * w);
    for (int64_t i = 0; sp_nn_live(nn) && i < s->height; i++) {
        scaled_row(model, (Scaling){h, w, s->height, s->width}, i, s->width, row);
        sp_nn_dump_host(nn, row, 1, &s->width, "sam/postprocess/logits");
        for (int64_t j = 0; j < s->width; j++)
            if ((double)row[j] > sam->threshold && !mask[i * s->width + j])
                mask[i * s->width + j] = value;
    }
}
