/* What the two directions of npz, and their tests, share. */
#ifndef SP_OUTPUT_NPZ_INTERNAL_H
#define SP_OUTPUT_NPZ_INTERNAL_H

#include "output/npz.h"
#include "output/packer.h"

/* APPNOTE sections 4.3 and 4.5.3. */
enum {
    ZIP_LOCAL = 0x04034b50,
    ZIP_DESCRIPTOR = 0x08074b50,
    ZIP_CENTRAL = 0x02014b50,
    ZIP_END = 0x06054b50,
    ZIP64_END = 0x06064b50,
    ZIP64_LOCATOR = 0x07064b50,
    ZIP64_EXTRA = 0x0001,
    ZIP_STORED = 0,
    ZIP_DEFLATED = 8,
    ZIP_FLAG_ENCRYPTED = 1,
    ZIP_LOCAL_SIZE = 30,
    ZIP_CENTRAL_SIZE = 46,
    ZIP_END_SIZE = 22,
    ZIP64_END_SIZE = 56,
    ZIP64_LOCATOR_SIZE = 20,
};

/* A file in the archive. */
typedef struct SpNpzMember {
    const char *name; /* in the directory, not terminated */
    size_t name_length;
    unsigned method, flags;
    uint32_t crc;
    uint64_t packed, size, offset;
} SpNpzMember;

struct SpNpz {
    char *path;
    int fd;
    uint64_t size;
    unsigned char *directory;
    SpNpzMember *member;
    size_t count;
};

/* The number in `bytes` bytes, the lowest first. */
uint64_t sp_zip_number(const unsigned char *at, size_t bytes);

/* SP_INPUT: "PATH: WHAT". */
SpStatus sp_npz_bad_file(const SpNpz *npz, const char *what);

/* Exactly `bytes` bytes at `offset`; false where the file has not got them. */
bool sp_npz_read_at(const SpNpz *npz, uint64_t offset, void *out, size_t bytes);

/* The member of an array; NULL: there is none. */
const SpNpzMember *sp_npz_find(const SpNpz *npz, const char *name);

/* An archive being written, and a file in it. */
typedef struct SpNpzWritten {
    char *name; /* with .npy */
    uint64_t offset, size, packed;
    uint32_t crc;
    bool wide; /* ZIP64 sizes behind the data */
} SpNpzWritten;

struct SpNpzWriter {
    FILE *stream;
    char *label;
    bool compress;
    uint32_t zip64_from;
    uint64_t written;
    SpNpzWritten *member;
    size_t count;
    uint64_t missing; /* bytes of the last member still to come, */
    bool skipping;    /* which is not written: it is one of */
    const char *omitted;
    SpPacker packer; /* of the last member; its .npy header is packed by itself before the data */
    SpStatus failed;
};

/* Keeps the first failure, after which nothing is written. */
SpStatus sp_npz_fail(SpNpzWriter *writer, SpStatus status);

/* SP_OUTPUT unless an array of such a shape can be; *bytes: what it has. And: numpy has no such
 * type. */
SpStatus sp_npz_check_shape(const SpNpzWriter *writer, const char *name, size_t element, int rank,
                            const int64_t *dims, uint64_t *bytes);
SpStatus sp_npz_descr(const SpNpzWriter *writer, const char *name, SpDtype dtype,
                      const char **descr);

/* The local header of array `name` and, packed, the .npy header of its `bytes` bytes; then the file
 * takes over what was packed. */
SpStatus sp_npz_begin_file(SpNpzWriter *writer, const char *name, const char *descr, int rank,
                           const int64_t *dims, uint64_t bytes);
void sp_npz_end_file(SpNpzWriter *writer, const SpPacker *packer);

/* Bytes of the archive as they are. */
void sp_npz_emit(SpNpzWriter *writer, const void *data, size_t bytes);

/* As sp_npz_create; sizes, offsets and counts from `zip64_from` on go to ZIP64 records. */
SpStatus sp_npz_create_limited(FILE *stream, const char *label, bool compress, uint32_t zip64_from,
                               SpNpzWriter **out);

#endif
