/*
 * Cameras in the axes of scenes: y up, and a camera that looks along -z.
 */
#ifndef SP_OUTPUT_CAMERAS_H
#define SP_OUTPUT_CAMERAS_H

#include "output/formats.h"

/* out [4, 4] = F m F with F = diag(1, -1, -1, 1): c2w of x right, y down, z forward as c2w of x
 * right, y up, z backward, for a world that is turned in the same way. */
void sp_cameras_y_up(const float m[16], float out[16]);

/* Frames a second of the used frames: of the file by the stride, else by their timestamps, else
 * 24. */
double sp_cameras_rate(const SpOutput *output);

#endif
