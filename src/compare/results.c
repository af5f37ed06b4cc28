#include "compare/results.h"

#include <stdlib.h>
#include <string.h>

static const SpArrayId kinds[SP_COMPARED_ARRAYS] = {
    [SP_COMPARED_COORDS] = SP_ARRAY_COORDS,
    [SP_COMPARED_TRACKS2D] = SP_ARRAY_TRACKS2D,
    [SP_COMPARED_VISIBS] = SP_ARRAY_VISIBS,
    [SP_COMPARED_EXTRINSICS] = SP_ARRAY_EXTRINSICS,
    [SP_COMPARED_INTRINSICS_INPUT] = SP_ARRAY_INTRINSICS_INPUT,
    [SP_COMPARED_INTRINSICS] = SP_ARRAY_INTRINSICS,
    [SP_COMPARED_DEPTHS] = SP_ARRAY_DEPTHS,
};

const char *sp_compared_name(SpComparedId id)
{
    return sp_result_array_name(kinds[id]);
}

enum { MOST_FRAMES = 1000000 };

static SpStatus read_array(SpComparedResult *result, SpComparedId id)
{
    const SpResultArray *found = &result->file.array[kinds[id]];
    SpComparedArray *array = &result->array[id];
    array->rank = found->rank;
    array->count = found->count;
    memcpy(array->dim, found->dim, sizeof array->dim);
    return sp_result_arrays_read(&result->file, kinds[id], &array->value);
}

SpStatus sp_compared_open(const char *path, SpComparedResult *result)
{
    unsigned wanted = 0;
    *result = (SpComparedResult){.path = path};
    for (SpComparedId id = 0; id < SP_COMPARED_ARRAYS; id++)
        wanted |= SP_ARRAY_BIT(kinds[id]);
    SP_TRY(sp_result_arrays_open(path, wanted, &result->file));
    result->frames = result->file.frames;
    result->tracks = result->file.tracks;
    if (result->frames > MOST_FRAMES)
        return sp_error(SP_INPUT, "%.300s has more than %d frames", path, MOST_FRAMES);
    for (SpComparedId id = 0; id < SP_COMPARED_ARRAYS; id++)
        if (sp_result_arrays_have(&result->file, kinds[id])) {
            if (result->file.array[kinds[id]].count == 0)
                return sp_error(SP_INPUT, "%.300s: array %s is empty", path, sp_compared_name(id));
            SP_TRY(read_array(result, id));
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
    sp_result_arrays_close(&result->file);
}

bool sp_compared_both(const SpComparedResult results[2], SpComparedId id, bool *same)
{
    const SpComparedArray *a = &results[0].array[id], *b = &results[1].array[id];
    const bool both = a->value && b->value;
    *same =
        both && a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
    return both;
}
