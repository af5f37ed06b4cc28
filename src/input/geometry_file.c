#include "input/geometry_file.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "geometry/camera.h"
#include "output/npz.h"

typedef struct File {
    SpNpz *npz;
    const char *path;
    int64_t frames, height, width; /* of the clip */
} File;

static SpStatus check_array(const File *file, const char *name, const int64_t dims[3],
                            const float *x)
{
    if (dims[0] != file->frames)
        return sp_error(SP_INPUT, "%.300s: %s is for %lld frames, the clip has %lld used ones",
                        file->path, name, (long long)dims[0], (long long)file->frames);
    if (dims[1] < 1 || dims[2] < 1)
        return sp_error(SP_INPUT, "%.300s: %s is empty", file->path, name);
    const int64_t size = dims[1] * dims[2];
    for (int64_t i = 0; i < file->frames * size; i++)
        if (!isfinite(x[i]))
            return sp_error(SP_INPUT, "%.300s: %s: frame %lld holds a value that is not finite",
                            file->path, name, (long long)(i / size));
    return sp_ok();
}

/* An array of the file for the clip's frames, [T, d1, d2] with -1 for any; the caller frees it. */
static SpStatus read_array(const File *file, const char *name, int64_t dims[3], float **out)
{
    SP_TRY(sp_npz_read_f32(file->npz, name, 3, dims, out));
    const SpStatus status = check_array(file, name, dims, *out);
    if (status.code != SP_OK)
        free(*out);
    return status;
}

/* Maps of any size [T, h, w], resized to the clip's. */
static SpStatus read_maps(const File *file, const char *name, int64_t dims[3], float *out)
{
    float *maps;
    const int64_t height = file->height, width = file->width;
    SP_TRY(read_array(file, name, dims, &maps));
    for (int64_t t = 0; t < file->frames; t++)
        for (int64_t i = 0; i < height; i++) {
            const float *row =
                maps + (t * dims[1] + sp_nearest_index(i, dims[1], height)) * dims[2];
            for (int64_t j = 0; j < width; j++)
                *out++ = row[sp_nearest_index(j, dims[2], width)];
        }
    free(maps);
    return sp_ok();
}

/* Scaled from maps of height x width to the clip's size. */
static SpStatus read_intrinsics(const File *file, int64_t height, int64_t width, float *out)
{
    int64_t dims[] = {-1, 3, 3};
    float *k;
    SP_TRY(read_array(file, "intrinsics", dims, &k));
    SpStatus status = sp_ok();
    for (int64_t t = 0; t < file->frames && status.code == SP_OK; t++) {
        const float *m = k + 9 * t;
        if (!(m[0] > 0) || !(m[4] > 0) || m[3] != 0 || m[6] != 0 || m[7] != 0 || m[8] != 1)
            status =
                sp_error(SP_INPUT,
                         "%.300s: intrinsics: frame %lld is not a matrix fx s cx, 0 fy cy, 0 0 1 "
                         "with fx, fy > 0",
                         file->path, (long long)t);
    }
    if (status.code == SP_OK)
        sp_intrinsics_scale(k, file->frames, (double)file->width / (double)width,
                            (double)file->height / (double)height, out);
    free(k);
    return status;
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

static SpStatus read_extrinsics(const File *file, float *c2w)
{
    int64_t dims[] = {-1, 4, 4};
    float *w2c;
    SP_TRY(read_array(file, "extrinsics", dims, &w2c));
    SpStatus status = sp_ok();
    for (int64_t t = 0; t < file->frames && status.code == SP_OK; t++)
        if (is_rigid(w2c + 16 * t))
            sp_pose_invert(w2c + 16 * t, c2w + 16 * t);
        else
            status =
                sp_error(SP_INPUT,
                         "%.300s: extrinsics: frame %lld is not a rotation and translation (w2c, "
                         "last row 0 0 0 1)",
                         file->path, (long long)t);
    free(w2c);
    return status;
}

static SpStatus read_all(const File *file, const SpGeometry *out)
{
    int64_t dims[] = {-1, -1, -1};
    SP_TRY(read_maps(file, "depths", dims, out->depth));
    SP_TRY(read_intrinsics(file, dims[1], dims[2], out->intrinsics));
    SP_TRY(read_extrinsics(file, out->c2w));
    if (sp_npz_has(file->npz, "confs_depth"))
        return read_maps(file, "confs_depth", dims, out->confidence);
    for (int64_t i = 0; i < file->frames * file->height * file->width; i++)
        out->confidence[i] = 1;
    return sp_ok();
}

SpStatus sp_geometry_file_read(const char *path, int64_t frames, int64_t height, int64_t width,
                               const SpGeometry *out)
{
    File file = {.path = path, .frames = frames, .height = height, .width = width};
    SP_TRY(sp_npz_open(path, &file.npz));
    const SpStatus status = read_all(&file, out);
    sp_npz_close(file.npz);
    return status;
}
