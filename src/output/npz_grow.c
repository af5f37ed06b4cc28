#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/scratch.h"
#include "output/atomic.h"
#include "output/npz_internal.h"

enum { CHUNK = 1 << 16 };

struct SpNpzGrowing {
    char *name, *label;
    const char *descr;
    size_t row; /* bytes of one along the first extent */
    int rank;
    int64_t dims[SP_MAX_RANK];
    SpPacker packer;
    SpStatus failed;
};

static SpStatus open_growing(const char *beside, bool compress, SpNpzGrowing *array)
{
    const char *folder = beside;
    const int file = sp_scratch_open(beside, &folder);
    FILE *stream = file < 0 ? NULL : fdopen(file, "w+");
    if (!stream) {
        const SpStatus status = sp_cannot_write(beside ? array->label : folder);
        if (file >= 0)
            close(file);
        return status;
    }
    if (sp_packer_open(stream, compress, &array->packer))
        return sp_ok();
    fclose(stream);
    array->packer.stream = NULL;
    return sp_no_memory(array->label);
}

SpStatus sp_npz_grow(SpNpzWriter *writer, const char *beside, const char *name, SpDtype dtype,
                     int rank, const int64_t *dims, SpNpzGrowing **out)
{
    const char *descr;
    uint64_t row;
    *out = NULL;
    SP_TRY(writer->failed);
    SP_TRY(sp_npz_fail(writer, sp_npz_descr(writer, name, dtype, &descr)));
    SP_TRY(sp_npz_fail(
        writer, sp_npz_check_shape(writer, name, sp_dtype_size(dtype), rank - 1, dims + 1, &row)));
    if (sp_npz_names_hold(writer->omitted, name))
        return sp_ok();
    SpNpzGrowing *array = calloc(1, sizeof *array);
    if (!array)
        return sp_no_memory(writer->label);
    array->name = strdup(name);
    array->label = strdup(writer->label);
    array->descr = descr;
    array->row = row;
    array->rank = rank;
    memcpy(array->dims, dims, (size_t)rank * sizeof *dims);
    const SpStatus status = array->name && array->label
                                ? open_growing(beside, writer->compress, array)
                                : sp_no_memory(writer->label);
    if (status.code == SP_OK)
        *out = array;
    else
        sp_npz_growing_discard(array);
    return status;
}

SpStatus sp_npz_growing_write(SpNpzGrowing *array, const void *data, size_t bytes)
{
    if (!array)
        return sp_ok();
    if (array->failed.code == SP_OK)
        sp_packer_add(&array->packer, data, bytes, SP_PACK_MORE);
    if (array->packer.failed && array->failed.code == SP_OK)
        array->failed = sp_cannot_write(array->label);
    return array->failed;
}

/* What waits, behind the header of the member that has begun. */
static SpStatus copy_growing(SpNpzWriter *writer, SpNpzGrowing *array)
{
    unsigned char chunk[CHUNK];
    uint64_t left = array->packer.packed;
    errno = 0;
    if (fflush(array->packer.stream) != 0)
        return sp_cannot_write(writer->label);
    rewind(array->packer.stream);
    while (left && writer->failed.code == SP_OK) {
        const size_t got = fread(chunk, 1, sizeof chunk, array->packer.stream);
        if (got == 0 || got > left)
            return sp_cannot_write(writer->label);
        sp_npz_emit(writer, chunk, got);
        left -= got;
    }
    return writer->failed;
}

static SpStatus add_growing(SpNpzWriter *writer, SpNpzGrowing *array)
{
    SpPacker *data = &array->packer, *header = &writer->packer;
    SP_TRY(array->failed);
    if (array->row ? data->size % array->row : data->size)
        return sp_error(SP_OUTPUT, "%.200s: array %.100s does not end with a row", writer->label,
                        array->name);
    array->dims[0] = array->row ? (int64_t)(data->size / array->row) : 0;
    sp_packer_add(data, NULL, 0, SP_PACK_LAST);
    SP_TRY(
        sp_npz_begin_file(writer, array->name, array->descr, array->rank, array->dims, data->size));
    SP_TRY(copy_growing(writer, array));
    const SpPacker both = {.crc =
                               (uint32_t)crc32_combine(header->crc, data->crc, (z_off_t)data->size),
                           .packed = header->packed + data->packed,
                           .failed = data->failed};
    sp_npz_end_file(writer, &both);
    return writer->failed;
}

SpStatus sp_npz_growing_add(SpNpzWriter *writer, SpNpzGrowing *array)
{
    SP_TRY(writer->failed);
    return array ? sp_npz_fail(writer, add_growing(writer, array)) : sp_ok();
}

void sp_npz_growing_discard(SpNpzGrowing *array)
{
    if (!array)
        return;
    sp_packer_close(&array->packer);
    if (array->packer.stream)
        fclose(array->packer.stream);
    free(array->name);
    free(array->label);
    free(array);
}
