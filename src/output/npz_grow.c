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
    bool widens; /* rows wait as they are, */
    float pad;
    struct Run {
        int64_t rows;
        size_t bytes;
    } * run; /* [runs] rows of the same length one after another */
    int64_t runs;
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

void sp_npz_growing_widens(SpNpzGrowing *array, float pad)
{
    if (!array)
        return;
    sp_packer_close(&array->packer);
    array->widens = true;
    array->pad = pad;
}

/* Notes that a row has so many bytes. */
static SpStatus note_row(SpNpzGrowing *array, size_t bytes)
{
    if (array->runs && array->run[array->runs - 1].bytes == bytes) {
        array->run[array->runs - 1].rows++;
        return sp_ok();
    }
    struct Run *more = realloc(array->run, (size_t)(array->runs + 1) * sizeof *more);
    if (!more)
        return sp_no_memory(array->label);
    array->run = more;
    array->run[array->runs++] = (struct Run){1, bytes};
    return sp_ok();
}

SpStatus sp_npz_growing_write(SpNpzGrowing *array, const void *data, size_t bytes)
{
    if (!array)
        return sp_ok();
    if (array->failed.code == SP_OK && array->widens)
        array->failed = note_row(array, bytes);
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

/* Rows one by one, each filled up to `row`, the last one's length. */
static SpStatus copy_rows(SpNpzWriter *writer, SpNpzGrowing *array, char *row, size_t length)
{
    for (int64_t i = 0; i < array->runs; i++) {
        const size_t bytes = array->run[i].bytes;
        for (size_t at = bytes; at < length; at += sizeof array->pad)
            memcpy(row + at, &array->pad, sizeof array->pad);
        for (int64_t k = 0; k < array->run[i].rows; k++) {
            if (bytes && fread(row, bytes, 1, array->packer.stream) != 1)
                return sp_cannot_write(writer->label);
            SP_TRY(sp_npz_write(writer, row, length));
        }
    }
    return sp_ok();
}

static SpStatus add_widened(SpNpzWriter *writer, SpNpzGrowing *array)
{
    const size_t length = array->runs ? array->run[array->runs - 1].bytes : 0;
    size_t element = sizeof(float);
    for (int i = 2; i < array->rank; i++)
        element *= (size_t)array->dims[i];
    SP_TRY(array->failed);
    array->dims[0] = 0;
    for (int64_t i = 0; i < array->runs; i++)
        array->dims[0] += array->run[i].rows;
    array->dims[1] = (int64_t)(length / element);
    errno = 0;
    if (fflush(array->packer.stream) != 0)
        return sp_cannot_write(writer->label);
    rewind(array->packer.stream);
    char *row = malloc(length + 1);
    SpStatus status = row ? sp_npz_begin(writer, array->name, SP_F32, array->rank, array->dims)
                          : sp_no_memory(writer->label);
    if (status.code == SP_OK)
        status = copy_rows(writer, array, row, length);
    free(row);
    return status;
}

SpStatus sp_npz_growing_add(SpNpzWriter *writer, SpNpzGrowing *array)
{
    SP_TRY(writer->failed);
    if (!array)
        return sp_ok();
    return sp_npz_fail(writer,
                       array->widens ? add_widened(writer, array) : add_growing(writer, array));
}

void sp_npz_growing_discard(SpNpzGrowing *array)
{
    if (!array)
        return;
    sp_packer_close(&array->packer);
    if (array->packer.stream)
        fclose(array->packer.stream);
    free(array->run);
    free(array->name);
    free(array->label);
    free(array);
}
