#include "media/orientation.h"

#include <math.h>
#include <string.h>

static bool is_mirrored(const int32_t m[9])
{
    return (double)m[0] * m[4] < (double)m[1] * m[3];
}

double sp_orientation_angle(const int32_t m[9])
{
    const double wide = hypot(m[0], m[3]), high = hypot(m[1], m[4]); /* it may stretch, too */
    const double sign = is_mirrored(m) ? -1 : 1; /* the mirror taken out, a rotation stays */
    if ((double)m[0] * m[4] == (double)m[1] * m[3])
        return 0;
    return atan2(sign * m[1] / high, sign * m[0] / wide) * (180 / M_PI);
}

SpOrientation sp_orientation_of_matrix(const int32_t m[9])
{
    return (SpOrientation){is_mirrored(m), (int)lrint(sp_orientation_angle(m) / 90) & 3};
}

SpOrientation sp_orientation_of_exif(long value)
{
    static const SpOrientation ways[] = {{false, 0}, {true, 0},  {false, 2}, {true, 2},
                                         {true, 3},  {false, 1}, {true, 1},  {false, 3}};
    return ways[value >= 1 && value <= 8 ? value - 1 : 0];
}

/* Where pixel (x, y) of what is shown lies in `in`. */
static int64_t place_of(int64_t x, int64_t y, int64_t h, int64_t w, SpOrientation orientation,
                        int64_t stride)
{
    const int turns = orientation.quarter_turns;
    const int64_t width = turns & 1 ? h : w;
    const int64_t row = turns == 0 ? y : turns == 1 ? w - 1 - x : turns == 2 ? h - 1 - y : x;
    const int64_t to = turns == 0 ? x : turns == 1 ? y : turns == 2 ? w - 1 - x : h - 1 - y;
    return row * stride + 3 * (orientation.mirrored ? width - 1 - to : to);
}

void sp_orient(const uint8_t *in, int64_t stride, int64_t h, int64_t w, SpOrientation orientation,
               uint8_t *out)
{
    const int64_t step =
        place_of(1, 0, h, w, orientation, stride) - place_of(0, 0, h, w, orientation, stride);
    for (int64_t y = 0; y < h; y++, out += 3 * w) {
        const uint8_t *from = in + place_of(0, y, h, w, orientation, stride);
        if (step == 3)
            memcpy(out, from, (size_t)(3 * w));
        else
            for (int64_t x = 0; x < w; x++)
                memcpy(out + 3 * x, from + x * step, 3);
    }
}
