#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/scratch.h"
#include "base/utf8.h"
#include "output/atomic.h"
#include "output/npz_internal.h"

enum {
    CHUNK = 1 << 16,
    HEADER_LIMIT = 512, /* of an .npy header: SP_MAX_RANK extents of 19 digits fit */
    HEADER_PREFIX = 10,
    HEADER_ALIGN = 64,
    /* On float32 tracks and depth levels 1 to 6 end within 1 % of each other's size, and 6 takes
     * up to three times as long: only clean synthetic depth gains. */
    DEFLATE_LEVEL = 1,
    VERSION_PLAIN = 20,
    VERSION_ZIP64 = 45,
    MADE_ON_UNIX = 3 << 8,
    FLAG_DESCRIPTOR = 1 << 3,
    FLAG_UTF8 = 1 << 11,
    DOS_DATE = 1 << 5 | 1, /* 1980-01-01 */
};
static const uint32_t FILE_MODE = 0100644u << 16;

typedef struct Member {
    char *name; /* with .npy */
    uint64_t offset, size, packed;
    uint32_t crc;
    bool wide; /* ZIP64 sizes behind the data */
} Member;

/* Bytes on their way into a member, or into the file where a growing array waits. */
typedef struct Packer {
    FILE *stream;
    bool compress;
    z_stream deflate; /* the array's data; an .npy header is packed by itself before it */
    uint64_t size, packed;
    uint32_t crc;
    bool failed; /* to write, by errno */
} Packer;

struct SpNpzWriter {
    FILE *stream;
    char *label;
    bool compress;
    uint32_t zip64_from;
    uint64_t written;
    Member *member;
    size_t count;
    uint64_t missing; /* bytes of the last member still to come, */
    bool skipping;    /* which is not written: it is one of */
    const char *omitted;
    Packer packer;
    SpStatus failed;
};

struct SpNpzGrowing {
    char *name, *label;
    const char *descr;
    size_t row; /* bytes of one along the first extent */
    int rank;
    int64_t dims[SP_MAX_RANK];
    Packer packer;
    SpStatus failed;
};

/* Keeps the first failure, after which nothing is written. */
static SpStatus fail(SpNpzWriter *writer, SpStatus status)
{
    if (writer->failed.code == SP_OK)
        writer->failed = status;
    return writer->failed;
}

static void emit(SpNpzWriter *writer, const void *data, size_t bytes)
{
    errno = 0;
    if (writer->failed.code != SP_OK)
        return;
    if (bytes && fwrite(data, 1, bytes, writer->stream) != bytes)
        fail(writer, sp_cannot_write(writer->label));
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
        emit(writer, &field->value, field->bytes);
}

/* The value of a 32-bit field whose ZIP64 extra field may hold the real one. */
static uint64_t narrow(const SpNpzWriter *writer, uint64_t value)
{
    return value >= writer->zip64_from ? UINT32_MAX : value;
}

/* False: no memory. Negative window bits: a raw deflate stream, as ZIP has it. */
static bool open_packer(FILE *stream, bool compress, Packer *packer)
{
    packer->stream = stream;
    packer->compress = compress;
    return !compress || deflateInit2(&packer->deflate, DEFLATE_LEVEL, Z_DEFLATED, -MAX_WBITS,
                                     MAX_MEM_LEVEL - 1, Z_DEFAULT_STRATEGY) == Z_OK;
}

static void put(Packer *packer, const void *data, size_t bytes)
{
    packer->packed += bytes;
    if (!packer->failed && bytes)
        packer->failed = fwrite(data, 1, bytes, packer->stream) != bytes;
}

static void deflate_bytes(Packer *packer, const void *data, size_t bytes, int flush)
{
    unsigned char chunk[CHUNK];
    z_stream *z = &packer->deflate;
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)bytes;
    int result;
    do {
        z->next_out = chunk;
        z->avail_out = sizeof chunk;
        result = deflate(z, flush);
        put(packer, chunk, sizeof chunk - z->avail_out);
    } while (flush == Z_FINISH ? result != Z_STREAM_END : z->avail_out == 0);
}

/* Packs what belongs together; `flush` ends it: Z_FULL_FLUSH so that another stream can follow. */
static void pack(Packer *packer, const void *data, size_t bytes, int flush)
{
    static const size_t piece = 1u << 30; /* zlib counts in 32 bits */
    const unsigned char *at = data;
    errno = 0;
    if (bytes)
        packer->crc = (uint32_t)crc32_z(packer->crc, at, bytes);
    packer->size += bytes;
    if (!packer->compress) {
        put(packer, at, bytes);
        return;
    }
    for (; bytes > piece; at += piece, bytes -= piece)
        deflate_bytes(packer, at, piece, Z_NO_FLUSH);
    deflate_bytes(packer, at, bytes, flush);
    if (flush != Z_NO_FLUSH)
        deflateReset(&packer->deflate);
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
    if (writer->label && open_packer(stream, compress, &writer->packer))
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
    deflateEnd(&writer->packer.deflate); /* does nothing to a zeroed one */
    for (size_t i = 0; i < writer->count; i++)
        free(writer->member[i].name);
    free(writer->member);
    free(writer->label);
    free(writer);
}

static SpStatus add_member(SpNpzWriter *writer, const char *name, uint64_t size)
{
    Member *grown = realloc(writer->member, (writer->count + 1) * sizeof *grown);
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
        (Member){.name = file, .offset = writer->written, .size = size, .wide = wide};
    return sp_ok();
}

/* What local and central header share, from "version needed" to the name; crc and sizes as `shown`
 * has them. */
static void emit_common(SpNpzWriter *writer, const Member *shown, bool wide, size_t extra)
{
    emit_fields(writer,
                FIELDS({wide ? VERSION_ZIP64 : VERSION_PLAIN, 2}, {FLAG_DESCRIPTOR | FLAG_UTF8, 2},
                       {writer->compress ? ZIP_DEFLATED : ZIP_STORED, 2}, {0, 2}, {DOS_DATE, 2},
                       {shown->crc, 4}, {shown->packed, 4}, {shown->size, 4},
                       {strlen(shown->name), 2}, {extra, 2}));
}

static void emit_local(SpNpzWriter *writer, const Member *member)
{
    const uint64_t unknown = member->wide ? UINT32_MAX : 0;
    const Member shown = {.name = member->name, .packed = unknown, .size = unknown};
    emit_fields(writer, FIELDS({ZIP_LOCAL, 4}));
    emit_common(writer, &shown, member->wide, member->wide ? 20 : 0);
    emit(writer, member->name, strlen(member->name));
    if (member->wide)
        emit_fields(writer, FIELDS({ZIP64_EXTRA, 2}, {16, 2}, {0, 8}, {0, 8}));
}

static void emit_descriptor(SpNpzWriter *writer, const Member *member)
{
    const size_t bytes = member->wide ? 8 : 4;
    emit_fields(writer, FIELDS({ZIP_DESCRIPTOR, 4}, {member->crc, 4}, {member->packed, bytes},
                               {member->size, bytes}));
}

static void emit_central(SpNpzWriter *writer, const Member *member)
{
    const uint64_t value[] = {member->size, member->packed, member->offset};
    Field wide[4] = {{0, 0}};
    size_t count = 0;
    for (int i = 0; i < 3; i++)
        if (value[i] >= writer->zip64_from)
            wide[count++] = (Field){value[i], 8};
    Member shown = *member;
    shown.packed = narrow(writer, member->packed);
    shown.size = narrow(writer, member->size);
    emit_fields(writer, FIELDS({ZIP_CENTRAL, 4}, {MADE_ON_UNIX | VERSION_ZIP64, 2}));
    emit_common(writer, &shown, member->wide || count, count ? 4 + 8 * count : 0);
    emit_fields(writer, FIELDS({0, 2}, {0, 2}, {0, 2}, /* comment length, disk, attributes */
                               {FILE_MODE, 4}, {narrow(writer, member->offset), 4}));
    emit(writer, member->name, strlen(member->name));
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

/* The member takes over what was packed. */
static void end_member(SpNpzWriter *writer, const Packer *packer)
{
    Member *member = &writer->member[writer->count - 1];
    member->crc = packer->crc;
    member->packed = packer->packed;
    if (packer->failed)
        fail(writer, sp_cannot_write(writer->label));
    emit_descriptor(writer, member);
}

/* Packs bytes of the array that has begun, and ends it with its last one. */
static SpStatus write_member(SpNpzWriter *writer, const void *data, size_t bytes)
{
    Packer *packer = &writer->packer;
    const uint64_t before = packer->packed;
    if (bytes > writer->missing)
        return sp_error(SP_OUTPUT, "%.300s: more bytes than the array has", writer->label);
    writer->missing -= bytes;
    if (writer->skipping) {
        writer->skipping = writer->missing > 0;
        return sp_ok();
    }
    pack(packer, data, bytes, writer->missing ? Z_NO_FLUSH : Z_FINISH);
    writer->written += packer->packed - before;
    if (packer->failed)
        fail(writer, sp_cannot_write(writer->label));
    if (writer->missing == 0)
        end_member(writer, packer);
    return writer->failed;
}

/* The local header of array `name` and, packed, the .npy header of its `bytes` bytes. */
static SpStatus begin_file(SpNpzWriter *writer, const char *name, const char *descr, int rank,
                           const int64_t *dims, uint64_t bytes)
{
    char header[HEADER_LIMIT];
    Packer *packer = &writer->packer;
    const size_t length = make_header(descr, rank, dims, header);
    SP_TRY(add_member(writer, name, bytes + length));
    emit_local(writer, &writer->member[writer->count - 1]);
    packer->crc = 0;
    packer->size = packer->packed = 0;
    pack(packer, header, length, Z_FULL_FLUSH);
    writer->written += packer->packed;
    return packer->failed ? sp_cannot_write(writer->label) : writer->failed;
}

/* SP_OUTPUT unless an array of such a shape can be; *bytes: what it has. */
static SpStatus check_shape(const SpNpzWriter *writer, const char *name, size_t element, int rank,
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
    SP_TRY(check_shape(writer, name, element, rank, dims, &bytes));
    writer->missing = bytes;
    writer->skipping = sp_npz_names_hold(writer->omitted, name);
    if (writer->skipping) {
        writer->skipping = bytes > 0;
        return sp_ok();
    }
    SP_TRY(begin_file(writer, name, descr, rank, dims, bytes));
    return bytes ? sp_ok() : write_member(writer, NULL, 0);
}

/* SP_OUTPUT: numpy has no such type. */
static SpStatus descr_of(const SpNpzWriter *writer, const char *name, SpDtype dtype,
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
    SP_TRY(fail(writer, descr_of(writer, name, dtype, &descr)));
    return fail(writer, begin_member(writer, name, descr, sp_dtype_size(dtype), rank, dims));
}

SpStatus sp_npz_write(SpNpzWriter *writer, const void *data, size_t bytes)
{
    SP_TRY(writer->failed);
    return bytes ? fail(writer, write_member(writer, data, bytes)) : sp_ok();
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
    uint32_t *text = calloc((size_t)count, length * sizeof *text);
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
    return fail(writer, write_texts(writer, name, 0, 1, utf8, 0));
}

SpStatus sp_npz_texts(SpNpzWriter *writer, const char *name, int64_t count, const char *utf8,
                      size_t stride)
{
    SP_TRY(writer->failed);
    return fail(writer, write_texts(writer, name, 1, count, utf8, stride));
}

/* Growing arrays ------------------------------------------------------------------------------- */

static SpStatus open_growing(const char *beside, bool compress, SpNpzGrowing *array)
{
    const char *folder = beside;
    const int file = sp_scratch_open(beside, &folder);
    FILE *stream = file < 0 ? NULL : fdopen(file, "w+");
    if (!stream) {
        const SpStatus status = sp_cannot_write(folder);
        if (file >= 0)
            close(file);
        return status;
    }
    if (open_packer(stream, compress, &array->packer))
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
    SP_TRY(fail(writer, descr_of(writer, name, dtype, &descr)));
    SP_TRY(fail(writer, check_shape(writer, name, sp_dtype_size(dtype), rank - 1, dims + 1, &row)));
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
        pack(&array->packer, data, bytes, Z_NO_FLUSH);
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
        emit(writer, chunk, got);
        left -= got;
    }
    return writer->failed;
}

static SpStatus add_growing(SpNpzWriter *writer, SpNpzGrowing *array)
{
    Packer *data = &array->packer, *header = &writer->packer;
    SP_TRY(array->failed);
    if (array->row ? data->size % array->row : data->size)
        return sp_error(SP_OUTPUT, "%.200s: array %.100s does not end with a row", writer->label,
                        array->name);
    array->dims[0] = array->row ? (int64_t)(data->size / array->row) : 0;
    pack(data, NULL, 0, Z_FINISH);
    SP_TRY(begin_file(writer, array->name, array->descr, array->rank, array->dims, data->size));
    SP_TRY(copy_growing(writer, array));
    const Packer both = {.crc =
                             (uint32_t)crc32_combine(header->crc, data->crc, (z_off_t)data->size),
                         .packed = header->packed + data->packed,
                         .failed = data->failed};
    end_member(writer, &both);
    return writer->failed;
}

SpStatus sp_npz_growing_add(SpNpzWriter *writer, SpNpzGrowing *array)
{
    SP_TRY(writer->failed);
    return array ? fail(writer, add_growing(writer, array)) : sp_ok();
}

void sp_npz_growing_discard(SpNpzGrowing *array)
{
    if (!array)
        return;
    deflateEnd(&array->packer.deflate);
    if (array->packer.stream)
        fclose(array->packer.stream);
    free(array->name);
    free(array->label);
    free(array);
}

SpStatus sp_npz_finish(SpNpzWriter *writer)
{
    const uint64_t start = writer->written;
    if (writer->missing)
        fail(writer, sp_error(SP_OUTPUT, "%.300s: the last array is not complete", writer->label));
    for (size_t i = 0; i < writer->count; i++)
        emit_central(writer, &writer->member[i]);
    emit_end(writer, start);
    SP_TRY(writer->failed);
    errno = 0;
    return fflush(writer->stream) == 0 ? sp_ok() : fail(writer, sp_cannot_write(writer->label));
}
