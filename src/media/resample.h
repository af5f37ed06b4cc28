/*
 * Resampling filters of docs/model/frames.md, on planes of float32: in [h, w], out [ho, wo],
 * row-major. Each equals the reference's arithmetic to the stated rounding. SP_MEMORY when the
 * small tables of weights cannot be had.
 */
#ifndef SP_MEDIA_RESAMPLE_H
#define SP_MEDIA_RESAMPLE_H

#include <stdint.h>

#include "base/status.h"

/* `planes` planes of [h, w] to [ho, wo], bilinear with antialias (section 4): first along x, then
 * along y, float32 in between. */
SpStatus sp_resample_antialias(const float *in, int64_t planes, int64_t h, int64_t w, float *out,
                               int64_t ho, int64_t wo);

/* Bicubic without antialias, a = -0.75, coordinates in float32 (section 5). Not clamped. */
SpStatus sp_resample_bicubic(const float *in, int64_t planes, int64_t h, int64_t w, float *out,
                             int64_t ho, int64_t wo);

#endif
