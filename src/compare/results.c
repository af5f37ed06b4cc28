#include "compare/results.h"

#include <stdlib.h>
#include <string.h>

#include "output/npy.h"

/* -1: any extent. */
static const struct {
    const char *name;
    int rank;
    int64_t dim[3];
    bool has_tracks; /* its second axis */
} kinds[SP_COMPARED_ARRAYS] = {
    [SP_COMPARED_COORDS] = {"coords", 3, {-1, -1, 3}, true},
    [SP_COMPARED_TRACKS2D] = {"tracks2d", 3, {-1, -1, 2}, true},
    [SP_COMPARED_VISIBS] = {"visibs", 2, {-1, -1}, true},
    [SP_COMPARED_EXTRINSICS] = {"extrinsics", 3, {-1, -1, 4}, false},
    [SP_COMPARED_INTRINSICS_INPUT] = {"intrinsics_input", 3, {-1, 3, 3}, false},
    [SP_COMPARED_INTRINSICS] = {"intrinsics", 3, {-1, 3, 3}, false},
    [SP_COMPARED_DEPTHS] = {"depths", 3, {-1, -1, -1}, false},
};

const char *sp_compared_name(SpComparedId id)
{
    return kinds[id].name;
}

/* An axis of one element behind the others (a channel) is left out. */
static SpStatus read_array(SpComparedResult *result, SpComparedId id)
{
    SpComparedArray *array = &result->array[id];
    const char *name = kinds[id].name;
    int rank;
    SP_TRY(sp_npz_shape(result->npz, name, &rank, array->dim));
    const bool channel = rank == kinds[id].rank + 1 && array->dim[rank - 1] == 1;
    array->rank = kinds[id].rank;
    for (int i = 0; i < array->rank; i++)
        array->dim[i] = kinds[id].dim[i];
    SP_TRY(sp_npz_read_f32(result->npz, name, array->rank + channel, array->dim, &array->value));
    array->count = 1;
    for (int i = 0; i < array->rank; i++)
        array->count *= array->dim[i];
    if (id == SP_COMPARED_EXTRINSICS && array->dim[1] != 3 && array->dim[1] != 4)
        return sp_error(SP_INPUT, "%.300s: array %s: expected shape *,4,4, found *,%lld,4",
                        result->path, name, (long long)array->dim[1]);
    return sp_ok();
}

/* Takes over the extent of the first array that has it; the others must have the same. */
static SpStatus agree(const SpComparedResult *result, SpComparedId id, int axis, int64_t *extent)
{
    const int64_t found = result->array[id].dim[axis];
    if (*extent < 0)
        *extent = found;
    return *extent == found
               ? sp_ok()
               : sp_error(SP_INPUT, "%.300s: array %s is for %lld %s, others are for %lld",
                          result->path, kinds[id].name, (long long)found,
                          axis ? "tracks" : "frames", (long long)*extent);
}

SpStatus sp_compared_open(const char *path, SpComparedResult *result)
{
    *result = (SpComparedResult){.path = path, .frames = -1, .tracks = -1};
    SP_TRY(sp_npz_open(path, &result->npz));
    for (SpComparedId id = 0; id < SP_COMPARED_ARRAYS; id++) {
        if (!sp_npz_has(result->npz, kinds[id].name))
            continue;
        SP_TRY(read_array(result, id));
        SP_TRY(agree(result, id, 0, &result->frames));
        if (kinds[id].has_tracks)
            SP_TRY(agree(result, id, 1, &result->tracks));
    }
    return result->frames >= 0
               ? sp_ok()
               : sp_error(SP_INPUT,
                          "%.300s is no result: it has no coords, tracks2d, visibs, "
                          "extrinsics, intrinsics or depths",
                          path);
}

void sp_compared_close(SpComparedResult *result)
{
    for (int i = 0; i < SP_COMPARED_ARRAYS; i++)
        free(result->array[i].value);
    sp_npz_close(result->npz);
}

bool sp_compared_both(const SpComparedResult results[2], SpComparedId id, bool *same)
{
    const SpComparedArray *a = &results[0].array[id], *b = &results[1].array[id];
    const bool both = a->value && b->value;
    *same =
        both && a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
    return both;
}
