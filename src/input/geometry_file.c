#include "input/geometry_file.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "geometry/camera.h"
#include "output/npy.h"
#include "output/npz.h"

/* Confidence above which a depth counts (src/output/README.md, "Geometry files"). */
static const float TRUSTED = 0.5f;

typedef struct File {
    SpNpz *npz;
    const char *path;
    int64_t frames, height, width; /* of the clip */
} File;

/* An array of the file; after reading its dims are [frames, rows, columns]. */
typedef struct Array {
    const char *name;
    int rank;
    int64_t dim[SP_MAX_RANK];
    float *value; /* the owner's to free */
} Array;

/* Whose rank and extents stand in `array`. Others write `depth` for `depths`. */
static SpStatus find_array(const File *file, const char *name, const char *other, Array *array)
{
    *array = (Array){.name = name};
    if (!sp_npz_has(file->npz, name) && sp_npz_has(file->npz, other))
        array->name = other;
    return sp_npz_shape(file->npz, array->name, &array->rank, array->dim);
}

static SpStatus bad_shape(const File *file, const Array *array, const char *expected)
{
    char found[96];
    sp_npy_print_shape(found, sizeof found, array->rank, array->dim);
    return sp_error(SP_INPUT, "%.300s: array %s: expected shape %s, found %s", file->path,
                    array->name, expected, found);
}

static SpStatus check_frames(const File *file, const Array *array)
{
    const long long found = array->dim[0], frames = file->frames;
    if (found < frames)
        return sp_error(SP_INPUT,
                        "%.300s: %s is for %lld frames, the clip has %lld used ones; use "
                        "--max-frames %lld",
                        file->path, array->name, found, frames, found);
    if (found > frames)
        return sp_error(SP_INPUT,
                        "%.300s: %s is for %lld frames, the clip has %lld used ones; give the "
                        "--start, --stride and --max-frames it was made with, or cut it to them",
                        file->path, array->name, found, frames);
    return sp_ok();
}

/* Leaves out axes of one element (a channel, a camera, a batch) until `rank` are left. */
static void squeeze(Array *array, int rank)
{
    int64_t *dim = array->dim;
    while (array->rank > rank) {
        const int last = array->rank - 1;
        const int axis = dim[last] == 1 ? last : dim[1] == 1 ? 1 : 0;
        if (dim[axis] != 1)
            return;
        memmove(dim + axis, dim + axis + 1, (size_t)(last - axis) * sizeof *dim);
        array->rank--;
    }
}

/* Makes [rows, columns] [1, rows, columns]. */
static void add_axis(Array *array)
{
    memmove(array->dim + 1, array->dim, (size_t)array->rank * sizeof *array->dim);
    array->dim[0] = 1;
    array->rank++;
}

static SpStatus read_values(const File *file, Array *array)
{
    int rank;
    int64_t dim[SP_MAX_RANK];
    SP_TRY(sp_npz_shape(file->npz, array->name, &rank, dim));
    return sp_npz_read_f32(file->npz, array->name, rank, dim, &array->value);
}

static SpStatus not_finite(const File *file, const Array *array, int64_t frame, const char *advice)
{
    return sp_error(SP_INPUT, "%.300s: %s: frame %lld holds a value that is not finite%s",
                    file->path, array->name, (long long)frame, advice);
}

static SpStatus read_maps(const File *file, const char *name, const char *other, Array *maps)
{
    SP_TRY(find_array(file, name, other, maps));
    squeeze(maps, 3);
    if (maps->rank == 2 && file->frames == 1)
        add_axis(maps);
    if (maps->rank != 3)
        return bad_shape(file, maps, "T,h,w");
    SP_TRY(check_frames(file, maps));
    if (maps->dim[1] < 1 || maps->dim[2] < 1)
        return sp_error(SP_INPUT, "%.300s: %s is empty", file->path, maps->name);
    return read_values(file, maps);
}

/* The map's row that stands for row i of `height`. */
static const float *row_of(const Array *maps, int64_t frame, int64_t i, int64_t height)
{
    const int64_t rows = maps->dim[1];
    return maps->value + (frame * rows + sp_nearest_index(i, rows, height)) * maps->dim[2];
}

/* By nearest to the clip's size. */
static void resize_maps(const File *file, const Array *maps, float *out)
{
    for (int64_t t = 0; t < file->frames; t++)
        for (int64_t i = 0; i < file->height; i++) {
            const float *row = row_of(maps, t, i, file->height);
            for (int64_t j = 0; j < file->width; j++)
                *out++ = row[sp_nearest_index(j, maps->dim[2], file->width)];
        }
}

/* Makes what is no depth 0; `trusted` says where it matters, NULL: everywhere. */
static SpStatus check_depth(const File *file, const Array *depth, const Array *trusted)
{
    const int64_t height = depth->dim[1], width = depth->dim[2];
    bool any = false;
    float *z = depth->value;
    for (int64_t t = 0; t < file->frames; t++)
        for (int64_t i = 0; i < height; i++) {
            const float *row = trusted ? row_of(trusted, t, i, height) : NULL;
            for (int64_t j = 0; j < width; j++, z++) {
                const bool counts =
                    !row || row[sp_nearest_index(j, trusted->dim[2], width)] > TRUSTED;
                if (counts && !isfinite(*z))
                    return not_finite(file, depth, t,
                                      "; write 0 where there is no depth, or confs_depth 0");
                *z = isfinite(*z) && *z > 0 ? *z : 0;
                any = any || *z > 0;
            }
        }
    return any ? sp_ok()
               : sp_error(SP_INPUT, "%.300s: %s: no depth is above 0", file->path, depth->name);
}

static SpStatus check_confidence(const File *file, const Array *maps)
{
    const int64_t area = maps->dim[1] * maps->dim[2];
    for (int64_t i = 0; i < file->frames * area; i++)
        if (!isfinite(maps->value[i]))
            return not_finite(file, maps, i / area, "");
    return sp_ok();
}

/* Depth and confidence; `depth` and `confidence` as they are in the file. */
static SpStatus read_depth(const File *file, Array *depth, Array *confidence, const SpGeometry *out)
{
    const bool has = sp_npz_has(file->npz, "confs_depth");
    SP_TRY(read_maps(file, "depths", "depth", depth));
    if (has) {
        SP_TRY(read_maps(file, "confs_depth", "confs_depth", confidence));
        SP_TRY(check_confidence(file, confidence));
        resize_maps(file, confidence, out->confidence);
    }
    SP_TRY(check_depth(file, depth, has ? confidence : NULL));
    resize_maps(file, depth, out->depth);
    for (int64_t i = 0; i < file->frames * file->height * file->width; i++)
        out->confidence[i] = !(out->depth[i] > 0) ? 0 : has ? out->confidence[i] : 1;
    return sp_ok();
}

/* Matrices of at least 3 x `columns` as 4 x 4, whose last row is 0 0 0 1 where there is none; a
 * single one stands for all frames. */
static SpStatus read_matrices(const File *file, const char *name, const char *other,
                              int64_t columns, float *out)
{
    Array array;
    SP_TRY(find_array(file, name, other, &array));
    squeeze(&array, 3);
    if (array.rank == 2)
        add_axis(&array);
    const int64_t rows = array.dim[1], found = array.dim[2];
    if (array.rank != 3 || rows < 3 || rows > 4 || found < columns || found > 4 || found < rows)
        return bad_shape(file, &array, columns == 3 ? "T,3,3" : "T,4,4 or T,3,4");
    if (array.dim[0] != 1)
        SP_TRY(check_frames(file, &array));
    SP_TRY(read_values(file, &array));
    const int64_t size = rows * found;
    SpStatus status = sp_ok();
    for (int64_t t = 0; t < file->frames && status.code == SP_OK; t++) {
        const float *from = array.value + (array.dim[0] == 1 ? 0 : t * size);
        memcpy(out + 16 * t, (const float[16]){[15] = 1}, 16 * sizeof *out);
        for (int64_t i = 0; i < size && status.code == SP_OK; i++) {
            out[16 * t + 4 * (i / found) + i % found] = from[i];
            if (!isfinite(from[i]))
                status = not_finite(file, &array, t, "");
        }
    }
    free(array.value);
    return status;
}

/* Up to rounding, a minus included. */
static bool is_near(float x, float value)
{
    return fabsf(x - value) <= 1e-6f;
}

static bool ends_as_affine(const float m[16])
{
    return is_near(m[12], 0) && is_near(m[13], 0) && is_near(m[14], 0) && is_near(m[15], 1);
}

/* Whether the 4 x 4 matrix holds fx s cx, 0 fy cy, 0 0 1. */
static bool is_pinhole(const float m[16])
{
    return m[0] > 0 && m[5] > 0 && is_near(m[3], 0) && is_near(m[4], 0) && is_near(m[7], 0) &&
           is_near(m[8], 0) && is_near(m[9], 0) && is_near(m[10], 1) && is_near(m[11], 0) &&
           ends_as_affine(m);
}

/* Scaled from maps of height x width to the clip's size; `work` holds 4 x 4 a frame. */
static SpStatus read_intrinsics(const File *file, int64_t height, int64_t width, float *work,
                                float *out)
{
    SP_TRY(read_matrices(file, "intrinsics", "intrinsic", 3, work));
    for (int64_t t = 0; t < file->frames; t++) {
        const float *m = work + 16 * t;
        if (!is_pinhole(m))
            return sp_error(SP_INPUT,
                            "%.300s: intrinsics: frame %lld is not a matrix fx s cx, 0 fy cy, 0 0 "
                            "1 with fx, fy > 0",
                            file->path, (long long)t);
        const float k[9] = {m[0], m[1], m[2], 0, m[5], m[6], 0, 0, 1};
        memcpy(out + 9 * t, k, sizeof k);
    }
    sp_intrinsics_scale(out, file->frames, (double)file->width / (double)width,
                        (double)file->height / (double)height, out);
    return sp_ok();
}

static SpStatus read_extrinsics(const File *file, float *c2w)
{
    SP_TRY(read_matrices(file, "extrinsics", "extrinsic", 4, c2w));
    for (int64_t t = 0; t < file->frames; t++) {
        if (!sp_pose_is_rigid(c2w + 16 * t))
            return sp_error(SP_INPUT,
                            "%.300s: extrinsics: frame %lld is not a rotation and translation "
                            "(w2c, last row 0 0 0 1)",
                            file->path, (long long)t);
        sp_pose_invert(c2w + 16 * t, c2w + 16 * t);
    }
    return sp_ok();
}

static SpStatus read_all(const File *file, const SpGeometry *out)
{
    Array depth = {0}, confidence = {0};
    SpStatus status = read_depth(file, &depth, &confidence, out);
    /* The poses' place holds the wider matrices first. */
    if (status.code == SP_OK)
        status = read_intrinsics(file, depth.dim[1], depth.dim[2], out->c2w, out->intrinsics);
    if (status.code == SP_OK)
        status = read_extrinsics(file, out->c2w);
    free(depth.value);
    free(confidence.value);
    return status;
}

void sp_geometry_copy(const SpGeometry *to, const SpGeometry *from, int64_t frames, int64_t area)
{
    memcpy(to->depth, from->depth, (size_t)(frames * area) * sizeof *to->depth);
    memcpy(to->confidence, from->confidence, (size_t)(frames * area) * sizeof *to->confidence);
    memcpy(to->intrinsics, from->intrinsics, (size_t)(9 * frames) * sizeof *to->intrinsics);
    memcpy(to->c2w, from->c2w, (size_t)(16 * frames) * sizeof *to->c2w);
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
