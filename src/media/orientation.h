/*
 * How a stored frame is turned to be shown: the eight ways of a display matrix, or of EXIF.
 */
#ifndef SP_MEDIA_ORIENTATION_H
#define SP_MEDIA_ORIENTATION_H

#include <stdbool.h>
#include <stdint.h>

/* First the mirror, which swaps left and right, then quarter turns clockwise. */
typedef struct SpOrientation {
    bool mirrored;
    int quarter_turns; /* 0 to 3 */
} SpOrientation;

/* Degrees clockwise, -180 to 180, that the display matrix [3, 3] as FFmpeg has it rotates by after
 * its mirror. A stored point (x, y) is shown at (m[0] x + m[3] y, m[1] x + m[4] y); y runs down.
 * 0 for a matrix that flattens the frame. */
double sp_orientation_angle(const int32_t m[9]);

/* Of the display matrix, to the nearest quarter turn. */
SpOrientation sp_orientation_of_matrix(const int32_t m[9]);

/* Of EXIF's tag Orientation, 1 to 8; every other value is as 1. */
SpOrientation sp_orientation_of_exif(long value);

/* out [h, w, 3] is `in` as shown; `in` is [w, h, 3] for an odd number of quarter turns, else
 * [h, w, 3], with `stride` bytes from row to row. */
void sp_orient(const uint8_t *in, int64_t stride, int64_t h, int64_t w, SpOrientation orientation,
               uint8_t *out);

#endif
