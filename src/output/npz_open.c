#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/npz_internal.h"

enum { COMMENT_LIMIT = 65535 };

uint64_t sp_zip_number(const unsigned char *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

SpStatus sp_npz_bad_file(const SpNpz *npz, const char *what)
{
    return sp_error(SP_INPUT, "%.400s: %s", npz->path, what);
}

bool sp_npz_read_at(const SpNpz *npz, uint64_t offset, void *out, size_t bytes)
{
    unsigned char *at = out;
    if (offset > npz->size || bytes > npz->size - offset)
        return false;
    while (bytes) {
        const ssize_t got = pread(npz->fd, at, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return true;
}

/* Where the directory is, as the records at the end say. */
typedef struct Directory {
    uint64_t start, bytes, count;
} Directory;

/* Replaces what the ZIP64 records before the end record at `end` say, if there are any. */
static bool apply_zip64(const SpNpz *npz, uint64_t end, Directory *directory)
{
    unsigned char locator[ZIP64_LOCATOR_SIZE], record[ZIP64_END_SIZE];
    if (end < sizeof locator ||
        !sp_npz_read_at(npz, end - sizeof locator, locator, sizeof locator) ||
        sp_zip_number(locator, 4) != ZIP64_LOCATOR)
        return true;
    if (!sp_npz_read_at(npz, sp_zip_number(locator + 8, 8), record, sizeof record) ||
        sp_zip_number(record, 4) != ZIP64_END)
        return false;
    *directory = (Directory){.count = sp_zip_number(record + 32, 8),
                             .bytes = sp_zip_number(record + 40, 8),
                             .start = sp_zip_number(record + 48, 8)};
    return true;
}

static SpStatus find_directory(const SpNpz *npz, Directory *directory)
{
    static const char not_npz[] = "not an .npz file, or truncated";
    unsigned char tail[ZIP_END_SIZE + COMMENT_LIMIT];
    const size_t bytes = npz->size < sizeof tail ? (size_t)npz->size : sizeof tail;
    const uint64_t base = npz->size - bytes;
    if (bytes < ZIP_END_SIZE || !sp_npz_read_at(npz, base, tail, bytes))
        return sp_npz_bad_file(npz, not_npz);
    for (size_t at = bytes - ZIP_END_SIZE + 1; at-- > 0;) {
        const unsigned char *end = tail + at;
        if (sp_zip_number(end, 4) != ZIP_END ||
            sp_zip_number(end + 20, 2) != bytes - ZIP_END_SIZE - at)
            continue;
        *directory = (Directory){.count = sp_zip_number(end + 10, 2),
                                 .bytes = sp_zip_number(end + 12, 4),
                                 .start = sp_zip_number(end + 16, 4)};
        const bool fine = apply_zip64(npz, base + at, directory) && directory->start <= base + at &&
                          directory->bytes <= base + at - directory->start &&
                          directory->count <= directory->bytes / ZIP_CENTRAL_SIZE;
        return fine ? sp_ok() : sp_npz_bad_file(npz, "the archive's directory is damaged");
    }
    return sp_npz_bad_file(npz, not_npz);
}

/* Takes the next field of a ZIP64 extra field when the 32-bit one says that it is there. */
static bool widen(uint64_t *value, const unsigned char **at, const unsigned char *end)
{
    if (*value != UINT32_MAX)
        return true;
    if (end - *at < 8)
        return false;
    *value = sp_zip_number(*at, 8);
    *at += 8;
    return true;
}

static bool parse_extra(const unsigned char *at, const unsigned char *end, SpNpzMember *member)
{
    while (end - at >= 4) {
        const uint64_t kind = sp_zip_number(at, 2), length = sp_zip_number(at + 2, 2);
        at += 4;
        if (length > (uint64_t)(end - at))
            return false;
        if (kind == ZIP64_EXTRA) {
            end = at + length;
            return widen(&member->size, &at, end) && widen(&member->packed, &at, end) &&
                   widen(&member->offset, &at, end);
        }
        at += length;
    }
    return true;
}

/* The central header at *at, which is moved behind it. */
static bool parse_member(const unsigned char **at, const unsigned char *end, SpNpzMember *member)
{
    const unsigned char *head = *at;
    if (end - head < ZIP_CENTRAL_SIZE || sp_zip_number(head, 4) != ZIP_CENTRAL)
        return false;
    const size_t name = sp_zip_number(head + 28, 2), extra = sp_zip_number(head + 30, 2),
                 comment = sp_zip_number(head + 32, 2);
    if ((size_t)(end - head) - ZIP_CENTRAL_SIZE < name + extra + comment)
        return false;
    *member = (SpNpzMember){.name = (const char *)head + ZIP_CENTRAL_SIZE,
                            .name_length = name,
                            .flags = (unsigned)sp_zip_number(head + 8, 2),
                            .method = (unsigned)sp_zip_number(head + 10, 2),
                            .crc = (uint32_t)sp_zip_number(head + 16, 4),
                            .packed = sp_zip_number(head + 20, 4),
                            .size = sp_zip_number(head + 24, 4),
                            .offset = sp_zip_number(head + 42, 4)};
    const unsigned char *extras = head + ZIP_CENTRAL_SIZE + name;
    *at = extras + extra + comment;
    return parse_extra(extras, extras + extra, member);
}

static SpStatus read_directory(SpNpz *npz)
{
    Directory directory;
    SP_TRY(find_directory(npz, &directory));
    npz->directory = malloc(directory.bytes + 1);
    npz->member = calloc(directory.count + 1, sizeof *npz->member);
    if (!npz->directory || !npz->member)
        return sp_no_memory(npz->path);
    const unsigned char *at = npz->directory, *end = at + directory.bytes;
    bool fine = sp_npz_read_at(npz, directory.start, npz->directory, directory.bytes);
    for (uint64_t i = 0; fine && i < directory.count; i++)
        fine = parse_member(&at, end, &npz->member[npz->count++]);
    return fine ? sp_ok() : sp_npz_bad_file(npz, "the archive's directory is damaged");
}

static SpStatus open_file(SpNpz *npz, const char *path)
{
    struct stat info;
    npz->path = strdup(path);
    if (!npz->path)
        return sp_no_memory(path);
    /* Without O_NONBLOCK a pipe without a writer would be waited for. */
    npz->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (npz->fd < 0)
        return sp_npz_bad_file(npz, strerror(errno));
    if (fstat(npz->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return sp_npz_bad_file(npz, "not a regular file");
    npz->size = (uint64_t)info.st_size;
    return read_directory(npz);
}

SpStatus sp_npz_open(const char *path, SpNpz **out)
{
    *out = NULL;
    SpNpz *npz = calloc(1, sizeof *npz);
    if (!npz)
        return sp_no_memory(path);
    npz->fd = -1;
    const SpStatus status = open_file(npz, path);
    if (status.code == SP_OK)
        *out = npz;
    else
        sp_npz_close(npz);
    return status;
}

void sp_npz_close(SpNpz *npz)
{
    if (!npz)
        return;
    if (npz->fd >= 0)
        close(npz->fd);
    free(npz->directory);
    free(npz->member);
    free(npz->path);
    free(npz);
}

const SpNpzMember *sp_npz_find(const SpNpz *npz, const char *name)
{
    const size_t length = strlen(name);
    for (size_t i = 0; i < npz->count; i++) {
        const SpNpzMember *m = &npz->member[i];
        if (m->name_length == length + 4 && memcmp(m->name, name, length) == 0 &&
            memcmp(m->name + length, ".npy", 4) == 0)
            return m;
    }
    return NULL;
}

bool sp_npz_has(const SpNpz *npz, const char *name)
{
    return sp_npz_find(npz, name) != NULL;
}

bool sp_npz_name(const SpNpz *npz, size_t i, char *name, size_t capacity)
{
    if (i >= npz->count)
        return false;
    const SpNpzMember *m = &npz->member[i];
    const bool array = m->name_length > 4 && memcmp(m->name + m->name_length - 4, ".npy", 4) == 0;
    snprintf(name, capacity, "%.*s", array ? (int)m->name_length - 4 : 0, m->name);
    return true;
}
