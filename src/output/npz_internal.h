/* What the two directions of npz, and their tests, share. */
#ifndef SP_OUTPUT_NPZ_INTERNAL_H
#define SP_OUTPUT_NPZ_INTERNAL_H

#include "output/npz.h"

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

/* As sp_npz_create; sizes, offsets and counts from `zip64_from` on go to ZIP64 records. */
SpStatus sp_npz_create_limited(FILE *stream, const char *label, bool compress, uint32_t zip64_from,
                               SpNpzWriter **out);

#endif
