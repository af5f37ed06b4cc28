#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "output/npz_internal.h"
#include "output/utf8.h"

enum {
    CHUNK = 1 << 16,
    RECORD_LIMIT = 128, /* of any ZIP record without its name */
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

struct SpNpzWriter {
    FILE *stream;
    char *label;
    bool compress;
    uint32_t zip64_from;
    uint64_t written;
    Member *member;
    size_t count, room;
    uint64_t missing; /* bytes of the last member still to come */
    bool open, deflating;
    z_stream deflate;
    SpStatus failed;
    unsigned char chunk[CHUNK];
};

/* A record being put together. */
typedef struct Record {
    unsigned char bytes[RECORD_LIMIT];
    size_t length;
} Record;

static void put(Record *record, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        record->bytes[record->length++] = (unsigned char)(value >> 8 * i);
}

static SpStatus fail(SpNpzWriter *writer, SpStatus status)
{
    if (writer->failed.code == SP_OK)
        writer->failed = status;
    return writer->failed;
}

static SpStatus emit(SpNpzWriter *writer, const void *data, size_t bytes)
{
    errno = 0;
    if (bytes && fwrite(data, 1, bytes, writer->stream) != bytes)
        return sp_error(SP_OUTPUT, "cannot write %.400s: %s", writer->label,
                        strerror(errno ? errno : EIO));
    writer->written += bytes;
    return sp_ok();
}

static SpStatus emit_record(SpNpzWriter *writer, const Record *record)
{
    return emit(writer, record->bytes, record->length);
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
    if (writer->label)
        return sp_ok();
    sp_npz_discard(writer);
    *out = NULL;
    return sp_no_memory(label);
}

SpStatus sp_npz_create(FILE *stream, const char *label, bool compress, SpNpzWriter **out)
{
    return sp_npz_create_limited(stream, label, compress, UINT32_MAX, out);
}

void sp_npz_discard(SpNpzWriter *writer)
{
    if (!writer)
        return;
    if (writer->deflating)
        deflateEnd(&writer->deflate);
    for (size_t i = 0; i < writer->count; i++)
        free(writer->member[i].name);
    free(writer->member);
    free(writer->label);
    free(writer);
}

static SpStatus add_member(SpNpzWriter *writer, const char *name, uint64_t size)
{
    if (writer->count == writer->room) {
        const size_t room = writer->room ? 2 * writer->room : 16;
        Member *grown = realloc(writer->member, room * sizeof *grown);
        if (!grown)
            return sp_no_memory(writer->label);
        writer->member = grown;
        writer->room = room;
    }
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

/* The fields that local and central header share, from "version needed" on. */
static void put_common(Record *record, const SpNpzWriter *writer, const Member *member, bool wide,
                       uint32_t crc, uint64_t packed, uint64_t size, size_t extra)
{
    put(record, wide ? VERSION_ZIP64 : VERSION_PLAIN, 2);
    put(record, FLAG_DESCRIPTOR | FLAG_UTF8, 2);
    put(record, writer->compress ? ZIP_DEFLATED : ZIP_STORED, 2);
    put(record, 0, 2);
    put(record, DOS_DATE, 2);
    put(record, crc, 4);
    put(record, packed, 4);
    put(record, size, 4);
    put(record, strlen(member->name), 2);
    put(record, extra, 2);
}

static SpStatus emit_local(SpNpzWriter *writer, const Member *member)
{
    const uint64_t unknown = member->wide ? UINT32_MAX : 0;
    Record head = {0}, extra = {0};
    if (member->wide) {
        put(&extra, ZIP64_EXTRA, 2);
        put(&extra, 16, 2);
        put(&extra, 0, 8);
        put(&extra, 0, 8);
    }
    put(&head, ZIP_LOCAL, 4);
    put_common(&head, writer, member, member->wide, 0, unknown, unknown, extra.length);
    SP_TRY(emit_record(writer, &head));
    SP_TRY(emit(writer, member->name, strlen(member->name)));
    return emit_record(writer, &extra);
}

static SpStatus emit_descriptor(SpNpzWriter *writer, const Member *member)
{
    const size_t bytes = member->wide ? 8 : 4;
    Record record = {0};
    put(&record, ZIP_DESCRIPTOR, 4);
    put(&record, member->crc, 4);
    put(&record, member->packed, bytes);
    put(&record, member->size, bytes);
    return emit_record(writer, &record);
}

static SpStatus emit_central(SpNpzWriter *writer, const Member *member)
{
    const uint64_t value[] = {member->size, member->packed, member->offset};
    Record head = {0}, fields = {0}, extra = {0};
    for (size_t i = 0; i < sizeof value / sizeof *value; i++)
        if (value[i] >= writer->zip64_from)
            put(&fields, value[i], 8);
    if (fields.length) {
        put(&extra, ZIP64_EXTRA, 2);
        put(&extra, fields.length, 2);
        memcpy(extra.bytes + extra.length, fields.bytes, fields.length);
        extra.length += fields.length;
    }
    put(&head, ZIP_CENTRAL, 4);
    put(&head, MADE_ON_UNIX | VERSION_ZIP64, 2);
    put_common(&head, writer, member, member->wide || fields.length, member->crc,
               narrow(writer, member->packed), narrow(writer, member->size), extra.length);
    put(&head, 0, 2); /* comment length, disk, internal attributes */
    put(&head, 0, 2);
    put(&head, 0, 2);
    put(&head, FILE_MODE, 4);
    put(&head, narrow(writer, member->offset), 4);
    SP_TRY(emit_record(writer, &head));
    SP_TRY(emit(writer, member->name, strlen(member->name)));
    return emit_record(writer, &extra);
}

static SpStatus emit_end(SpNpzWriter *writer, uint64_t start)
{
    const uint64_t end = writer->written, count = writer->count;
    const bool many = count >= UINT16_MAX || count >= writer->zip64_from;
    Record record = {0};
    if (many || end - start >= writer->zip64_from || start >= writer->zip64_from) {
        put(&record, ZIP64_END, 4);
        put(&record, ZIP64_END_SIZE - 12, 8);
        put(&record, MADE_ON_UNIX | VERSION_ZIP64, 2);
        put(&record, VERSION_ZIP64, 2);
        put(&record, 0, 8); /* disks */
        put(&record, count, 8);
        put(&record, count, 8);
        put(&record, end - start, 8);
        put(&record, start, 8);
        put(&record, ZIP64_LOCATOR, 4);
        put(&record, 0, 4);
        put(&record, end, 8);
        put(&record, 1, 4);
    }
    put(&record, ZIP_END, 4);
    put(&record, 0, 4); /* disks */
    put(&record, many ? UINT16_MAX : count, 2);
    put(&record, many ? UINT16_MAX : count, 2);
    put(&record, narrow(writer, end - start), 4);
    put(&record, narrow(writer, start), 4);
    put(&record, 0, 2);
    return emit_record(writer, &record);
}

static SpStatus deflate_bytes(SpNpzWriter *writer, const unsigned char *data, size_t bytes,
                              int flush)
{
    Member *member = &writer->member[writer->count - 1];
    z_stream *z = &writer->deflate;
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)bytes;
    int result;
    do {
        z->next_out = writer->chunk;
        z->avail_out = sizeof writer->chunk;
        result = deflate(z, flush);
        const size_t packed = sizeof writer->chunk - z->avail_out;
        member->packed += packed;
        SP_TRY(emit(writer, writer->chunk, packed));
    } while (flush == Z_FINISH ? result != Z_STREAM_END : z->avail_out == 0);
    return sp_ok();
}

static SpStatus pack(SpNpzWriter *writer, const void *data, size_t bytes)
{
    static const size_t piece = 1u << 30; /* zlib counts in 32 bits */
    Member *member = &writer->member[writer->count - 1];
    const unsigned char *at = data;
    member->crc = (uint32_t)crc32_z(member->crc, at, bytes);
    writer->missing -= bytes;
    if (!writer->compress) {
        member->packed += bytes;
        return emit(writer, at, bytes);
    }
    for (; bytes > piece; at += piece, bytes -= piece)
        SP_TRY(deflate_bytes(writer, at, piece, Z_NO_FLUSH));
    return bytes ? deflate_bytes(writer, at, bytes, Z_NO_FLUSH) : sp_ok();
}

static SpStatus start_deflate(SpNpzWriter *writer)
{
    if (!writer->compress)
        return sp_ok();
    if (writer->deflating)
        return deflateReset(&writer->deflate) == Z_OK ? sp_ok() : sp_no_memory(writer->label);
    /* Negative window bits: a raw deflate stream, as ZIP has it. */
    if (deflateInit2(&writer->deflate, DEFLATE_LEVEL, Z_DEFLATED, -MAX_WBITS, MAX_MEM_LEVEL - 1,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return sp_no_memory(writer->label);
    writer->deflating = true;
    return sp_ok();
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
    header[8] = (char)((length - HEADER_PREFIX) & 0xff);
    header[9] = (char)((length - HEADER_PREFIX) >> 8);
    return length;
}

static SpStatus end_member(SpNpzWriter *writer)
{
    if (writer->compress)
        SP_TRY(deflate_bytes(writer, NULL, 0, Z_FINISH));
    writer->open = false;
    return emit_descriptor(writer, &writer->member[writer->count - 1]);
}

static SpStatus begin_member(SpNpzWriter *writer, const char *name, const char *descr,
                             size_t element, int rank, const int64_t *dims)
{
    uint64_t bytes = element;
    char header[HEADER_LIMIT];
    if (writer->open)
        return sp_error(SP_OUTPUT, "%.200s: array %.100s begins before the one ahead of it ends",
                        writer->label, name);
    bool fits = rank >= 0 && rank <= SP_MAX_RANK;
    for (int i = 0; fits && i < rank; i++)
        fits = dims[i] >= 0 && !__builtin_mul_overflow(bytes, (uint64_t)dims[i], &bytes);
    if (!fits || bytes > INT64_MAX - HEADER_LIMIT)
        return sp_error(SP_OUTPUT, "%.200s: array %.100s has an impossible shape", writer->label,
                        name);
    const size_t length = make_header(descr, rank, dims, header);
    SP_TRY(add_member(writer, name, bytes + length));
    SP_TRY(emit_local(writer, &writer->member[writer->count - 1]));
    SP_TRY(start_deflate(writer));
    writer->open = true;
    writer->missing = bytes + length;
    SP_TRY(pack(writer, header, length));
    return writer->missing ? sp_ok() : end_member(writer);
}

static SpStatus write_member(SpNpzWriter *writer, const void *data, size_t bytes)
{
    if (bytes == 0)
        return sp_ok();
    if (!writer->open || bytes > writer->missing)
        return sp_error(SP_OUTPUT, "%.300s: more bytes than the array has", writer->label);
    SP_TRY(pack(writer, data, bytes));
    return writer->missing ? sp_ok() : end_member(writer);
}

SpStatus sp_npz_begin(SpNpzWriter *writer, const char *name, SpDtype dtype, int rank,
                      const int64_t *dims)
{
    static const char *const descr[] = {
        [SP_F32] = "<f4", [SP_F16] = "<f2", [SP_BF16] = NULL, [SP_F64] = "<f8",
        [SP_I32] = "<i4", [SP_I64] = "<i8", [SP_U8] = "|u1",  [SP_BOOL] = "|b1"};
    SP_TRY(writer->failed);
    if (!descr[dtype])
        return fail(writer, sp_error(SP_OUTPUT, "%.200s: array %.100s: numpy has no bfloat16",
                                     writer->label, name));
    return fail(writer, begin_member(writer, name, descr[dtype], sp_dtype_size(dtype), rank, dims));
}

SpStatus sp_npz_write(SpNpzWriter *writer, const void *data, size_t bytes)
{
    SP_TRY(writer->failed);
    return fail(writer, write_member(writer, data, bytes));
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
    if (status.code == SP_OK)
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

static SpStatus finish(SpNpzWriter *writer)
{
    if (writer->open)
        return sp_error(SP_OUTPUT, "%.300s: the last array is not complete", writer->label);
    const uint64_t start = writer->written;
    for (size_t i = 0; i < writer->count; i++)
        SP_TRY(emit_central(writer, &writer->member[i]));
    SP_TRY(emit_end(writer, start));
    errno = 0;
    if (fflush(writer->stream) != 0)
        return sp_error(SP_OUTPUT, "cannot write %.400s: %s", writer->label,
                        strerror(errno ? errno : EIO));
    return sp_ok();
}

SpStatus sp_npz_finish(SpNpzWriter *writer)
{
    SP_TRY(writer->failed);
    return fail(writer, finish(writer));
}
