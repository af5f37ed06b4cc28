#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "output/atomic.h"
#include "output/npz_internal.h"

enum {
    HEADER_LIMIT = 512, /* of an .npy header: SP_MAX_RANK extents of 19 digits fit */
    HEADER_PREFIX = 10,
    HEADER_ALIGN = 64,
    VERSION_PLAIN = 20,
    VERSION_ZIP64 = 45,
    MADE_ON_UNIX = 3 << 8,
    FLAG_DESCRIPTOR = 1 << 3,
    FLAG_UTF8 = 1 << 11,
    DOS_DATE = 1 << 5 | 1, /* 1980-01-01 */
};
static const uint32_t FILE_MODE = 0100644u << 16;

SpStatus sp_npz_fail(SpNpzWriter *writer, SpStatus status)
{
    if (writer->failed.code == SP_OK)
        writer->failed = status;
    return writer->failed;
}

void sp_npz_emit(SpNpzWriter *writer, const void *data, size_t bytes)
{
    errno = 0;
    if (writer->failed.code != SP_OK)
        return;
    if (bytes && fwrite(data, 1, bytes, writer->stream) != bytes)
        sp_npz_fail(writer, sp_cannot_write(writer->label));
    writer->written += bytes;
}

/* A number of a record. As arrays, it is written as it lies in memory: the machine is little
 * endian. */
typedef struct Field {
    uint64_t value;
    size_t bytes;
} Field;

#define FIELDS(...) ((const Field[]){__VA_ARGS__, {0, 0}})

static void emit_fields(SpNpzWriter *writer, const Field *field)
{
    for (; field->bytes; field++)
        sp_npz_emit(writer, &field->value, field->bytes);
}

/* The value of a 32-bit field whose ZIP64 extra field may hold the real one. */
static uint64_t narrow(const SpNpzWriter *writer, uint64_t value)
{
    return value >= writer->zip64_from ? UINT32_MAX : value;
}

SpStatus sp_npz_create_limited(FILE *stream, const char *label, bool compress, uint32_t zip64_from,
                               SpNpzWriter **out)
{
    SpNpzWriter *writer = *out = calloc(1, sizeof *writer);
    if (!writer)
        return sp_no_memory(label);
    writer->stream = stream;
    writer->compress = compress;
    writer->zip64_from = zip64_from;
    writer->label = strdup(label);
    if (writer->label && sp_packer_open(stream, compress, &writer->packer))
        return sp_ok();
    sp_npz_discard(writer);
    *out = NULL;
    return sp_no_memory(label);
}

SpStatus sp_npz_create(FILE *stream, const char *label, bool compress, SpNpzWriter **out)
{
    return sp_npz_create_limited(stream, label, compress, UINT32_MAX, out);
}

bool sp_npz_names_hold(const char *names, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = names, *comma; at; at = comma ? comma + 1 : NULL) {
        comma = strchr(at, ',');
        if (strcspn(at, ",") == length && strncmp(at, name, length) == 0)
            return true;
    }
    return false;
}

void sp_npz_omit(SpNpzWriter *writer, const char *names)
{
    writer->omitted = names;
}

void sp_npz_discard(SpNpzWriter *writer)
{
    if (!writer)
        return;
    sp_packer_close(&writer->packer);
    for (size_t i = 0; i < writer->count; i++)
        free(writer->member[i].name);
    free(writer->member);
    free(writer->label);
    free(writer);
}

static SpStatus add_member(SpNpzWriter *writer, const char *name, uint64_t size)
{
    SpNpzWritten *grown = realloc(writer->member, (writer->count + 1) * sizeof *grown);
    if (!grown)
        return sp_no_memory(writer->label);
    writer->member = grown;
    const size_t length = strlen(name) + sizeof ".npy";
    if (length > UINT16_MAX)
        return sp_error(SP_OUTPUT, "%.200s: array %.100s...: the name is too long", writer->label,
                        name);
    char *file = malloc(length);
    if (!file)
        return sp_no_memory(writer->label);
    snprintf(file, length, "%s.npy", name);
    /* Deflate grows what it cannot pack by 5 bytes in 16 KiB. */
    const bool wide = size + (size >> 10) + 64 >= writer->zip64_from;
    writer->member[writer->count++] =
        (SpNpzWritten){.name = file, .offset = writer->written, .size = size, .wide = wide};
    return sp_ok();
}

/* What local and central header share, from "version needed" to the name; crc and sizes as `shown`
 * has them. */
static void emit_common(SpNpzWriter *writer, const SpNpzWritten *shown, bool wide, size_t extra)
{
    emit_fields(writer,
                FIELDS({wide ? VERSION_ZIP64 : VERSION_PLAIN, 2}, {FLAG_DESCRIPTOR | FLAG_UTF8, 2},
                       {writer->compress ? ZIP_DEFLATED : ZIP_STORED, 2}, {0, 2}, {DOS_DATE, 2},
                       {shown->crc, 4}, {shown->packed, 4}, {shown->size, 4},
                       {strlen(shown->name), 2}, {extra, 2}));
}

static void emit_local(SpNpzWriter *writer, const SpNpzWritten *member)
{
    const uint64_t unknown = member->wide ? UINT32_MAX : 0;
    const SpNpzWritten shown = {.name = member->name, .packed = unknown, .size = unknown};
    emit_fields(writer, FIELDS({ZIP_LOCAL, 4}));
    emit_common(writer, &shown, member->wide, member->wide ? 20 : 0);
    sp_npz_emit(writer, member->name, strlen(member->name));
    if (member->wide)
        emit_fields(writer, FIELDS({ZIP64_EXTRA, 2}, {16, 2}, {0, 8}, {0, 8}));
}

static void emit_descriptor(SpNpzWriter *writer, const SpNpzWritten *member)
{
    const size_t bytes = member->wide ? 8 : 4;
    emit_fields(writer, FIELDS({ZIP_DESCRIPTOR, 4}, {member->crc, 4}, {member->packed, bytes},
                               {member->size, bytes}));
}

static void emit_central(SpNpzWriter *writer, const SpNpzWritten *member)
{
    const uint64_t value[] = {member->size, member->packed, member->offset};
    Field wide[4] = {{0, 0}};
    size_t count = 0;
    for (int i = 0; i < 3; i++)
        if (value[i] >= writer->zip64_from)
            wide[count++] = (Field){value[i], 8};
    SpNpzWritten shown = *member;
    shown.packed = narrow(writer, member->packed);
    shown.size = narrow(writer, member->size);
    emit_fields(writer, FIELDS({ZIP_CENTRAL, 4}, {MADE_ON_UNIX | VERSION_ZIP64, 2}));
    emit_common(writer, &shown, member->wide || count, count ? 4 + 8 * count : 0);
    emit_fields(writer, FIELDS({0, 2}, {0, 2}, {0, 2}, /* comment length, disk, attributes */
                               {FILE_MODE, 4}, {narrow(writer, member->offset), 4}));
    sp_npz_emit(writer, member->name, strlen(member->name));
    if (count)
        emit_fields(writer, FIELDS({ZIP64_EXTRA, 2}, {8 * count, 2}));
    emit_fields(writer, wide);
}

static void emit_end(SpNpzWriter *writer, uint64_t start)
{
    const uint64_t end = writer->written, size = end - start, count = writer->count;
    const uint64_t zip64_from = writer->zip64_from;
    const bool many = count >= UINT16_MAX || count >= zip64_from;
    const uint64_t shown = many ? UINT16_MAX : count;
    if (many || size >= zip64_from || start >= zip64_from)
        emit_fields(writer, FIELDS({ZIP64_END, 4}, {ZIP64_END_SIZE - 12, 8},
                                   {MADE_ON_UNIX | VERSION_ZIP64, 2}, {VERSION_ZIP64, 2},
                                   {0, 8}, /* disks */
                                   {count, 8}, {count, 8}, {size, 8}, {start, 8},
                                   {ZIP64_LOCATOR, 4}, {0, 4}, {end, 8}, {1, 4}));
    emit_fields(writer, FIELDS({ZIP_END, 4}, {0, 4}, {shown, 2}, {shown, 2},
                               {narrow(writer, size), 4}, {narrow(writer, start), 4}, {0, 2}));
}

/* An .npy header, padded so that the data behind it is aligned to 64 bytes. */
static size_t make_header(const char *descr, int rank, const int64_t *dims,
                          char header[HEADER_LIMIT])
{
    size_t at = HEADER_PREFIX;
    at += (size_t)snprintf(header + at, HEADER_LIMIT - at,
                           "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < rank; i++)
        at += (size_t)snprintf(header + at, HEADER_LIMIT - at, "%s%lld%s", i ? " " : "",
                               (long long)dims[i], i + 1 < rank || rank == 1 ? "," : "");
    at += (size_t)snprintf(header + at, HEADER_LIMIT - at, "), }");
    const size_t length = (at + HEADER_ALIGN) / HEADER_ALIGN * HEADER_ALIGN;
    memset(header + at, ' ', length - at);
    header[length - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01", 8);
    memcpy(header + 8, &(uint16_t){(uint16_t)(length - HEADER_PREFIX)}, 2);
    return length;
}

void sp_npz_end_file(SpNpzWriter *writer, const SpPacker *packer)
{
    SpNpzWritten *member = &writer->member[writer->count - 1];
    member->crc = packer->crc;
    member->packed = packer->packed;
    if (packer->failed)
        sp_npz_fail(writer, sp_cannot_write(writer->label));
    emit_descriptor(writer, member);
}

/* Packs bytes of the array that has begun, and ends it with its last one. */
static SpStatus write_member(SpNpzWriter *writer, const void *data, size_t bytes)
{
    SpPacker *packer = &writer->packer;
    const uint64_t before = packer->packed;
    if (bytes > writer->missing)
        return sp_error(SP_OUTPUT, "%.300s: more bytes than the array has", writer->label);
    writer->missing -= bytes;
    if (writer->skipping) {
        writer->skipping = writer->missing > 0;
        return sp_ok();
    }
    sp_packer_add(packer, data, bytes, SP_PACK_MORE);
    if (writer->missing == 0) /* by itself, as growing arrays end: that may decide a byte */
        sp_packer_add(packer, NULL, 0, SP_PACK_LAST);
    writer->written += packer->packed - before;
    if (packer->failed)
        sp_npz_fail(writer, sp_cannot_write(writer->label));
    if (writer->missing == 0)
        sp_npz_end_file(writer, packer);
    return writer->failed;
}

SpStatus sp_npz_begin_file(SpNpzWriter *writer, const char *name, const char *descr, int rank,
                           const int64_t *dims, uint64_t bytes)
{
    char header[HEADER_LIMIT];
    SpPacker *packer = &writer->packer;
    const size_t length = make_header(descr, rank, dims, header);
    SP_TRY(add_member(writer, name, bytes + length));
    emit_local(writer, &writer->member[writer->count - 1]);
    sp_packer_reset(packer);
    sp_packer_add(packer, header, length, SP_PACK_ANOTHER);
    writer->written += packer->packed;
    return packer->failed ? sp_cannot_write(writer->label) : writer->failed;
}

SpStatus sp_npz_check_shape(const SpNpzWriter *writer, const char *name, size_t element, int rank,
                            const int64_t *dims, uint64_t *bytes)
{
    bool fits = rank >= 0 && rank <= SP_MAX_RANK;
    *bytes = element;
    for (int i = 0; fits && i < rank; i++)
        fits = dims[i] >= 0 && !__builtin_mul_overflow(*bytes, (uint64_t)dims[i], bytes);
    if (writer->missing)
        return sp_error(SP_OUTPUT, "%.200s: array %.100s begins before the one ahead of it ends",
                        writer->label, name);
    return fits && *bytes <= INT64_MAX - HEADER_LIMIT
               ? sp_ok()
               : sp_error(SP_OUTPUT, "%.200s: array %.100s has an impossible shape", writer->label,
                          name);
}

static SpStatus begin_member(SpNpzWriter *writer, const char *name, const char *descr,
                             size_t element, int rank, const int64_t *dims)
{
    uint64_t bytes;
    SP_TRY(sp_npz_check_shape(writer, name, element, rank, dims, &bytes));
    writer->missing = bytes;
    writer->skipping = sp_npz_names_hold(writer->omitted, name);
    if (writer->skipping) {
        writer->skipping = bytes > 0;
        return sp_ok();
    }
    SP_TRY(sp_npz_begin_file(writer, name, descr, rank, dims, bytes));
    return bytes ? sp_ok() : write_member(writer, NULL, 0);
}

SpStatus sp_npz_descr(const SpNpzWriter *writer, const char *name, SpDtype dtype,
                      const char **descr)
{
    static const char *const names[] = {
        [SP_F32] = "<f4", [SP_F16] = "<f2", [SP_BF16] = NULL, [SP_F64] = "<f8",
        [SP_I32] = "<i4", [SP_I64] = "<i8", [SP_U8] = "|u1",  [SP_BOOL] = "|b1"};
    *descr = names[dtype];
    return *descr ? sp_ok()
                  : sp_error(SP_OUTPUT, "%.200s: array %.100s: numpy has no bfloat16",
                             writer->label, name);
}

SpStatus sp_npz_begin(SpNpzWriter *writer, const char *name, SpDtype dtype, int rank,
                      const int64_t *dims)
{
    const char *descr;
    SP_TRY(writer->failed);
    SP_TRY(sp_npz_fail(writer, sp_npz_descr(writer, name, dtype, &descr)));
    return sp_npz_fail(writer, begin_member(writer, name, descr, sp_dtype_size(dtype), rank, dims));
}

SpStatus sp_npz_write(SpNpzWriter *writer, const void *data, size_t bytes)
{
    SP_TRY(writer->failed);
    return bytes ? sp_npz_fail(writer, write_member(writer, data, bytes)) : sp_ok();
}

SpStatus sp_npz_array(SpNpzWriter *writer, const char *name, SpDtype dtype, int rank,
                      const int64_t *dims, const void *data)
{
    SP_TRY(sp_npz_begin(writer, name, dtype, rank, dims));
    return sp_npz_write(writer, data, (size_t)writer->missing);
}

/* numpy cuts trailing zeros, and takes no type of length 0: an empty text is one zero. */
static size_t utf8_length(const char *utf8)
{
    size_t length = 0;
    while (sp_utf8_next(&utf8))
        length++;
    return length;
}

/* `count` texts `stride` bytes apart as <U{the longest}; rank 0 or 1. */
static SpStatus write_texts(SpNpzWriter *writer, const char *name, int rank, int64_t count,
                            const char *utf8, size_t stride)
{
    size_t length = 1;
    for (int64_t i = 0; i < count; i++) {
        const size_t own = utf8_length(utf8 + (size_t)i * stride);
        length = own > length ? own : length;
    }
    const size_t bytes = (size_t)count * length * sizeof(uint32_t);
    uint32_t *text = calloc(1, bytes ? bytes : 1);
    if (!text)
        return sp_no_memory(name);
    for (int64_t i = 0; i < count; i++) {
        const char *at = utf8 + (size_t)i * stride;
        uint32_t *to = text + (size_t)i * length;
        for (uint32_t c; (c = sp_utf8_next(&at)) != 0;)
            *to++ = c;
    }
    char descr[32];
    snprintf(descr, sizeof descr, "<U%zu", length);
    SpStatus status = begin_member(writer, name, descr, length * sizeof *text, rank, &count);
    if (status.code == SP_OK && bytes)
        status = write_member(writer, text, bytes);
    free(text);
    return status;
}

SpStatus sp_npz_text(SpNpzWriter *writer, const char *name, const char *utf8)
{
    SP_TRY(writer->failed);
    return sp_npz_fail(writer, write_texts(writer, name, 0, 1, utf8, 0));
}

SpStatus sp_npz_texts(SpNpzWriter *writer, const char *name, int64_t count, const char *utf8,
                      size_t stride)
{
    SP_TRY(writer->failed);
    return sp_npz_fail(writer, write_texts(writer, name, 1, count, utf8, stride));
}

SpStatus sp_npz_finish(SpNpzWriter *writer)
{
    const uint64_t start = writer->written;
    if (writer->missing)
        sp_npz_fail(writer,
                    sp_error(SP_OUTPUT, "%.300s: the last array is not complete", writer->label));
    for (size_t i = 0; i < writer->count; i++)
        emit_central(writer, &writer->member[i]);
    emit_end(writer, start);
    SP_TRY(writer->failed);
    errno = 0;
    return fflush(writer->stream) == 0 ? sp_ok()
                                       : sp_npz_fail(writer, sp_cannot_write(writer->label));
}
