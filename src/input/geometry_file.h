/*
 * Geometry from a file (--geometry; src/output/README.md, "Geometry files").
 */
#ifndef SP_INPUT_GEOMETRY_FILE_H
#define SP_INPUT_GEOMETRY_FILE_H

#include <stdint.h>

#include "base/status.h"

/* For T frames of H x W; the arrays are the caller's. */
typedef struct SpGeometry {
    float *depth;      /* [T, H, W] */
    float *confidence; /* [T, H, W], 0..1 */
    float *intrinsics; /* [T, 3, 3] pixels of the H x W frames */
    float *c2w;        /* [T, 4, 4] camera to world */
} SpGeometry;

/* Of `frames` frames of `area` pixels, what `from` has. */
void sp_geometry_copy(const SpGeometry *to, const SpGeometry *from, int64_t frames, int64_t area);

/* Reads `depths` [T, h, w], `intrinsics` [T, 3, 3] (pixels of those depths), `extrinsics`
 * [T, 4, 4] (w2c) and, when there, `confs_depth` [T, h, w] of the .npz at `path`, or other forms
 * of them (src/output/README.md, "Geometry files"), into `out`'s arrays: depth and confidence by
 * nearest to height x width, intrinsics scaled exactly. Depths that are not above 0 become 0, and
 * confidence is 0 there.
 * SP_INPUT naming file and array: missing, another shape, for another number of frames, not finite
 * where it counts, no depth at all, no pinhole matrix, no rigid transform. SP_MEMORY. */
SpStatus sp_geometry_file_read(const char *path, int64_t frames, int64_t height, int64_t width,
                               const SpGeometry *out);

#endif
