#include "output/result_arrays.h"

#include <string.h>

#include "output/npy.h"

/* Axes of a shape: T, N, h, w, any extent (r), or a digit. */
typedef struct Kind {
    const char *name, *other; /* NULL: it has no other name */
    const char *shape;
} Kind;

static const Kind kinds[SP_ARRAYS] = {
    [SP_ARRAY_COORDS] = {"coords", NULL, "TN3"},
    [SP_ARRAY_TRACKS2D] = {"tracks2d", NULL, "TN2"},
    [SP_ARRAY_VISIBS] = {"visibs", NULL, "TN"},
    [SP_ARRAY_CONFS] = {"confs", NULL, "TN"},
    [SP_ARRAY_SIGMA] = {"sigma", NULL, "TN"},
    [SP_ARRAY_DYNAMIC] = {"dynamic", NULL, "N"},
    [SP_ARRAY_QUERIES] = {"queries", NULL, "N3"},
    [SP_ARRAY_OBJECT] = {"object", NULL, "N"},
    [SP_ARRAY_EXTRINSICS] = {"extrinsics", NULL, "Tr4"},
    [SP_ARRAY_INTRINSICS] = {"intrinsics", NULL, "T33"},
    [SP_ARRAY_INTRINSICS_INPUT] = {"intrinsics_input", NULL, "T33"},
    [SP_ARRAY_DEPTHS] = {"depths", NULL, "Thw"},
    [SP_ARRAY_CONFS_DEPTH] = {"confs_depth", "unc_metric", "Thw"},
    [SP_ARRAY_VIDEO] = {"video", NULL, "T3hw"},
    [SP_ARRAY_FRAME_INDEX] = {"frame_index", NULL, "T"},
    [SP_ARRAY_TIMESTAMPS] = {"timestamps", NULL, "T"},
    [SP_ARRAY_SIZE] = {"size", NULL, "2"},
    [SP_ARRAY_SCALE] = {"scale", NULL, ""},
    [SP_ARRAY_RATE] = {"rate", NULL, ""},
    [SP_ARRAY_CHUNKS] = {"chunks", NULL, "C"},
    [SP_ARRAY_CHUNKS_SIMILARITY] = {"chunks_similarity", NULL, "C44"},
};
static const char CHANNELS_LAST[] = "Thw3";

const char *sp_result_array_name(SpArrayId id)
{
    return kinds[id].name;
}

bool sp_result_arrays_have(const SpResultArrays *arrays, SpArrayId id)
{
    return arrays->array[id].name != NULL;
}

/* Leaves out axes of one element: a channel behind the others, then a batch in front. */
static void squeeze(SpResultArray *array, int rank)
{
    int64_t *dim = array->dim;
    while (array->rank > rank) {
        const int last = array->rank - 1, axis = dim[last] == 1 ? last : 0;
        if (dim[axis] != 1)
            return;
        memmove(dim + axis, dim + axis + 1, (size_t)(last - axis) * sizeof *dim);
        array->rank--;
    }
}

/* Whether the array's extents are the digits of a shape. */
static bool fits(const SpResultArray *array, const char *shape)
{
    bool fits = array->rank == (int)strlen(shape);
    for (int i = 0; fits && i < array->rank; i++)
        fits = shape[i] < '0' || shape[i] > '9' || array->dim[i] == shape[i] - '0';
    return fits;
}

static SpStatus bad_shape(const SpResultArrays *arrays, const SpResultArray *array,
                          const char *shape)
{
    char expected[96], found[96];
    int64_t dims[SP_MAX_RANK];
    const int rank = (int)strlen(shape);
    for (int i = 0; i < rank; i++)
        dims[i] = shape[i] == 'r' ? 4 : shape[i] < '0' || shape[i] > '9' ? -1 : shape[i] - '0';
    sp_npy_print_shape(expected, sizeof expected, rank, dims);
    sp_npy_print_shape(found, sizeof found, array->rank, array->dim);
    return sp_error(SP_INPUT, "%.300s: array %s: expected shape %s, found %s", arrays->path,
                    array->name, expected, found);
}

/* Takes over what an axis says of the whole file, or finds it as others say. */
static SpStatus agree(SpResultArrays *arrays, const SpResultArray *array, char axis, int64_t found)
{
    static const char axes[] = "TNhwC";
    static const char *const what[] = {"frames", "tracks", "rows", "columns", "chunks"};
    int64_t *const extents[] = {&arrays->frames, &arrays->tracks, &arrays->height, &arrays->width,
                                &arrays->chunks};
    const char *at = strchr(axes, axis);
    if (!at)
        return sp_ok();
    int64_t *extent = extents[at - axes];
    if (*extent < 0)
        *extent = found;
    return *extent == found
               ? sp_ok()
               : sp_error(SP_INPUT, "%.300s: array %s is for %lld %s, others are for %lld",
                          arrays->path, array->name, (long long)found, what[at - axes],
                          (long long)*extent);
}

static SpStatus look_at(SpResultArrays *arrays, SpArrayId id)
{
    const Kind *kind = &kinds[id];
    SpResultArray *array = &arrays->array[id];
    const char *shape = kind->shape;
    if (sp_npz_has(arrays->npz, kind->name))
        array->name = kind->name;
    else if (kind->other && sp_npz_has(arrays->npz, kind->other))
        array->name = kind->other;
    if (!array->name)
        return sp_ok();
    SP_TRY(sp_npz_inspect(arrays->npz, array->name, &array->type, &array->rank, array->dim));
    squeeze(array, (int)strlen(shape));
    if (id == SP_ARRAY_VIDEO && !fits(array, shape) && fits(array, CHANNELS_LAST)) {
        arrays->channels_last = true;
        shape = CHANNELS_LAST;
    }
    const bool rows = id != SP_ARRAY_EXTRINSICS || array->dim[1] == 3 || array->dim[1] == 4;
    if (!fits(array, shape) || !rows)
        return bad_shape(arrays, array, shape);
    bool empty = false;
    for (int i = 0; i < array->rank; i++) {
        empty |= array->dim[i] == 0;
        SP_TRY(agree(arrays, array, shape[i], array->dim[i]));
    }
    array->count = !empty; /* beside an extent of 0 others may be of any size */
    for (int i = 0; i < array->rank && !empty; i++)
        array->count *= array->dim[i];
    return sp_ok();
}

SpStatus sp_result_arrays_open(const char *path, unsigned wanted, SpResultArrays *arrays)
{
    *arrays = (SpResultArrays){
        .path = path, .frames = -1, .tracks = -1, .height = -1, .width = -1, .chunks = -1};
    SP_TRY(sp_npz_open(path, &arrays->npz));
    for (SpArrayId id = 0; id < SP_ARRAYS; id++)
        if (wanted & SP_ARRAY_BIT(id))
            SP_TRY(look_at(arrays, id));
    return sp_ok();
}

void sp_result_arrays_close(SpResultArrays *arrays)
{
    sp_npz_close(arrays->npz);
    *arrays = (SpResultArrays){0};
}

SpStatus sp_result_arrays_read(const SpResultArrays *arrays, SpArrayId id, float **out)
{
    int rank;
    int64_t dims[SP_MAX_RANK];
    const char *name = arrays->array[id].name;
    SP_TRY(sp_npz_shape(arrays->npz, name, &rank, dims));
    return sp_npz_read_f32(arrays->npz, name, rank, dims, out);
}

SpStatus sp_result_arrays_read_f64(const SpResultArrays *arrays, SpArrayId id, double *out)
{
    return sp_npz_read_f64(arrays->npz, arrays->array[id].name, arrays->array[id].count, out);
}
