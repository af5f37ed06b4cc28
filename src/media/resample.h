/*
 * Resampling filters of src/media/README.md, on planes of float32, row-major. Each equals the
 * reference's arithmetic to the stated rounding. SP_MEMORY when the small tables of weights cannot
 * be allocated.
 */
#ifndef SP_MEDIA_RESAMPLE_H
#define SP_MEDIA_RESAMPLE_H

#include <stdint.h>

#include "base/status.h"

/* in [planes, h, w] to out [planes, ho, wo], bilinear ("Bilinear with antialias" of
 * src/media/README.md): first along x, then along y, float32 in between. */
SpStatus sp_resample_antialias(const float *in, int64_t planes, int64_t h, int64_t w, float *out,
                               int64_t ho, int64_t wo);

/* Likewise bicubic, a = -0.75, coordinates in float32 (src/media/README.md, "Bicubic without
 * antialias"). Not clamped. */
SpStatus sp_resample_bicubic(const float *in, int64_t planes, int64_t h, int64_t w, float *out,
                             int64_t ho, int64_t wo);

#endif
