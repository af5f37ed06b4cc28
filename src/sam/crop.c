/* src/sam/README.md, "Crops": what a lite model sees of an image, and where its masks lie in it,
 * the same as src/lite/sam/crop.py. */
#include <math.h>
#include <string.h>

#include "sam/internal.h"

SpSamCrop sp_sam_crop_around(const double box[4], double scale)
{
    const double side = fmax(1, ceil(scale * (fmax(box[2] - box[0], box[3] - box[1]) + 1)));
    return (SpSamCrop){.x = (int64_t)floor((box[0] + box[2] + 2 - side) / 2),
                       .y = (int64_t)floor((box[1] + box[3] + 2 - side) / 2),
                       .side = (int64_t)side};
}

void sp_sam_crop_point(const SpSam *sam, const SpSamCrop *crop, const double from[2], double to[2])
{
    const double scale = (double)sam->side / (double)crop->side;
    to[0] = (from[0] - (double)crop->x + 0.5) * scale - 0.5;
    to[1] = (from[1] - (double)crop->y + 0.5) * scale - 0.5;
    if (crop->mirrored)
        to[0] = (double)(sam->side - 1) - to[0];
}

/* The part of an axis that a crop holds: inputs from..to lie on outputs first..last. */
typedef struct Span {
    int64_t from, to, first, last;
} Span;

static Span span_of(int64_t begin, int64_t crop, int64_t extent, int64_t side)
{
    const double scale = (double)side / (double)crop;
    Span s = {sp_max(begin, 0), sp_min(begin + crop, extent), 0, 0};
    s.first = (int64_t)floor((double)(s.from - begin) * scale + 0.5);
    s.last = (int64_t)floor((double)(s.to - begin) * scale + 0.5);
    s.first = sp_min(s.first, side - 1);
    s.last = sp_max(s.last, s.first + 1);
    return s;
}

/* The inputs that output i of a span reads: [from, to) of positions counted from its first. */
typedef struct Reach {
    double low, high; /* shrunk: the area; grown: the centre less and plus one input */
    int64_t from, to;
    bool area;
} Reach;

static Reach reach_of(const Span *s, int64_t i, bool area)
{
    const double ratio = (double)(s->to - s->from) / (double)(s->last - s->first);
    const double at = (double)(i - s->first);
    Reach r = {.low = at * ratio, .high = (at + 1) * ratio, .area = area};
    if (!area) {
        r.low = (at + 0.5) * ratio - 1;
        r.high = r.low + 2;
    }
    r.from = r.low > 0 ? (int64_t)floor(area ? r.low : r.low + 0.5) : 0;
    r.to = (int64_t)fmin(ceil(area ? r.high : r.high - 0.5), (double)(s->to - s->from));
    return r;
}

static double weight_of(const Reach *r, int64_t j)
{
    if (r->area)
        return fmin((double)(j + 1), r->high) - fmax((double)j, r->low);
    return fmax(0, 1 - fabs((double)j + 0.5 - (r->low + r->high) / 2));
}

/* In whole numbers, as the model was trained on bytes. */
static void mean_of(const uint8_t *rgb, int64_t width, const Reach *rows, const Reach *columns,
                    double colour[3])
{
    double whole = 0, sum[3] = {0};
    for (int64_t i = rows->from; i < rows->to; i++)
        for (int64_t j = columns->from; j < columns->to; j++) {
            const double weight = weight_of(rows, i) * weight_of(columns, j);
            whole += weight;
            for (int c = 0; c < 3; c++)
                sum[c] += weight * rgb[3 * (i * width + j) + c];
        }
    for (int c = 0; c < 3; c++)
        colour[c] = rint(sum[c] / whole);
}

void sp_sam_crop_image(const SpSam *sam, const SpSamSizes *s, const uint8_t *rgb, float *out)
{
    const int64_t side = sam->side;
    const bool area = s->crop.side > side;
    const Span y = span_of(s->crop.y, s->crop.side, s->height, side);
    const Span x = span_of(s->crop.x, s->crop.side, s->width, side);
    const uint8_t *corner = rgb + 3 * (y.from * s->width + x.from);
    memset(out, 0, (size_t)(side * side * 3) * sizeof *out);
    for (int64_t i = y.first; i < y.last; i++) {
        const Reach rows = reach_of(&y, i, area);
        for (int64_t j = x.first; j < x.last; j++) {
            const Reach columns = reach_of(&x, j, area);
            double colour[3];
            mean_of(corner, s->width, &rows, &columns, colour);
            const int64_t shown = s->crop.mirrored ? side - 1 - j : j;
            sp_sam_normalise_pixel(colour, out + 3 * (i * side + shown));
        }
    }
}

/* A pixel of the image between two of `cells` cells of the crop. */
typedef struct Tap {
    int64_t at, next;
    double part;
} Tap;

static Tap tap_of(int64_t i, int64_t first, int64_t crop, int64_t cells)
{
    const double scale = (double)cells / (double)crop;
    const double at = fmin(fmax(((double)(i - first) + 0.5) * scale - 0.5, 0), (double)(cells - 1));
    const int64_t whole = (int64_t)at;
    return (Tap){whole, whole < cells - 1 ? whole + 1 : whole, at - (double)whole};
}

bool sp_sam_crop_mask(const SpSam *sam, const SpSamSizes *s, const float *low, uint8_t value,
                      uint8_t *mask, double box[4])
{
    const int64_t cells = 4 * sam->vision.grid;
    const Span rows = span_of(s->crop.y, s->crop.side, s->height, cells);
    const Span columns = span_of(s->crop.x, s->crop.side, s->width, cells);
    int64_t x0 = s->width, y0 = s->height, x1 = -1, y1 = -1;
    for (int64_t i = rows.from; i < rows.to; i++) {
        const Tap y = tap_of(i, s->crop.y, s->crop.side, cells);
        const float *above = low + y.at * cells, *below = low + y.next * cells;
        for (int64_t j = columns.from; j < columns.to; j++) {
            const Tap x = tap_of(j, s->crop.x, s->crop.side, cells);
            const double left = above[x.at] + y.part * (below[x.at] - above[x.at]);
            const double right = above[x.next] + y.part * (below[x.next] - above[x.next]);
            if (left + x.part * (right - left) <= sam->threshold)
                continue;
            x0 = sp_min(x0, j);
            x1 = sp_max(x1, j);
            y0 = sp_min(y0, i);
            y1 = i;
            if (mask && !mask[i * s->width + j])
                mask[i * s->width + j] = value;
        }
    }
    box[0] = (double)x0;
    box[1] = (double)y0;
    box[2] = (double)x1;
    box[3] = (double)y1;
    return y1 >= 0;
}
