#include "input/geometry_file.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "geometry/camera.h"
#include "output/npz.h"

static SpStatus check_finite(const char *path, const char *name, const float *x, int64_t frames,
                             int64_t size)
{
    for (int64_t i = 0; i < frames * size; i++)
        if (!isfinite(x[i]))
            return sp_error(SP_INPUT, "%.300s: %s: frame %lld holds a value that is not finite",
                            path, name, (long long)(i / size));
    return sp_ok();
}

/* An array of the file for that many frames, [T, d1, d2] with -1 for any. */
static SpStatus read_array(SpNpz *npz, const char *path, const char *name, int64_t frames,
                           int64_t dims[3], float **out)
{
    SP_TRY(sp_npz_read_f32(npz, name, 3, dims, out));
    SpStatus status = sp_ok();
    if (dims[0] != frames)
        status = sp_error(SP_INPUT, "%.300s: %s is for %lld frames, the clip has %lld used ones",
                          path, name, (long long)dims[0], (long long)frames);
    else if (dims[1] < 1 || dims[2] < 1)
        status = sp_error(SP_INPUT, "%.300s: %s is empty", path, name);
    else
        status = check_finite(path, name, *out, frames, dims[1] * dims[2]);
    if (status.code != SP_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

static void resize(const float *maps, int64_t frames, int64_t h, int64_t w, float *out, int64_t ho,
                   int64_t wo)
{
    for (int64_t t = 0; t < frames; t++)
        for (int64_t i = 0; i < ho; i++)
            for (int64_t j = 0; j < wo; j++)
                out[(t * ho + i) * wo + j] =
                    maps[(t * h + sp_nearest_index(i, h, ho)) * w + sp_nearest_index(j, w, wo)];
}

static SpStatus read_maps(SpNpz *npz, const char *path, const char *name, int64_t frames,
                          int64_t dims[3], float *out, int64_t height, int64_t width)
{
    float *maps;
    SP_TRY(read_array(npz, path, name, frames, dims, &maps));
    resize(maps, frames, dims[1], dims[2], out, height, width);
    free(maps);
    return sp_ok();
}

static SpStatus read_intrinsics(SpNpz *npz, const char *path, int64_t frames, double sx, double sy,
                                float *out)
{
    int64_t dims[] = {-1, 3, 3};
    float *k;
    SP_TRY(read_array(npz, path, "intrinsics", frames, dims, &k));
    for (int64_t t = 0; t < frames; t++) {
        const float *m = k + 9 * t;
        if (!(m[0] > 0) || !(m[4] > 0) || m[3] != 0 || m[6] != 0 || m[7] != 0 || m[8] != 1) {
            free(k);
            return sp_error(SP_INPUT,
                            "%.300s: intrinsics: frame %lld is no matrix fx s cx, 0 fy cy, 0 0 1 "
                            "with fx, fy > 0",
                            path, (long long)t);
        }
    }
    sp_intrinsics_scale(k, frames, sx, sy, out);
    free(k);
    return sp_ok();
}

static bool is_rigid(const float m[16])
{
    static const float last[4] = {0, 0, 0, 1};
    const float tolerance = 1e-3f;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const float dot =
                m[4 * i] * m[4 * j] + m[4 * i + 1] * m[4 * j + 1] + m[4 * i + 2] * m[4 * j + 2];
            if (fabsf(dot - (i == j)) > tolerance)
                return false;
        }
    const float det = m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) +
                      m[2] * (m[4] * m[9] - m[5] * m[8]);
    return det > 0 && memcmp(m + 12, last, sizeof last) == 0;
}

static SpStatus read_extrinsics(SpNpz *npz, const char *path, int64_t frames, float *c2w)
{
    int64_t dims[] = {-1, 4, 4};
    float *w2c;
    SP_TRY(read_array(npz, path, "extrinsics", frames, dims, &w2c));
    for (int64_t t = 0; t < frames; t++) {
        if (!is_rigid(w2c + 16 * t)) {
            free(w2c);
            return sp_error(SP_INPUT,
                            "%.300s: extrinsics: frame %lld is no rotation and translation (w2c, "
                            "last row 0 0 0 1)",
                            path, (long long)t);
        }
        sp_pose_invert(w2c + 16 * t, c2w + 16 * t);
    }
    free(w2c);
    return sp_ok();
}

static SpStatus read_all(SpNpz *npz, const char *path, int64_t frames, int64_t height,
                         int64_t width, const SpGeometry *out)
{
    int64_t dims[] = {-1, -1, -1};
    SP_TRY(read_maps(npz, path, "depths", frames, dims, out->depth, height, width));
    SP_TRY(read_intrinsics(npz, path, frames, (double)width / (double)dims[2],
                           (double)height / (double)dims[1], out->intrinsics));
    SP_TRY(read_extrinsics(npz, path, frames, out->c2w));
    for (int64_t i = 0; i < frames * height * width; i++)
        out->confidence[i] = 1;
    if (!sp_npz_has(npz, "confs_depth"))
        return sp_ok();
    return read_maps(npz, path, "confs_depth", frames, dims, out->confidence, height, width);
}

SpStatus sp_geometry_file_read(const char *path, int64_t frames, int64_t height, int64_t width,
                               const SpGeometry *out)
{
    SpNpz *npz;
    SP_TRY(sp_npz_open(path, &npz));
    const SpStatus status = read_all(npz, path, frames, height, width, out);
    sp_npz_close(npz);
    return status;
}
