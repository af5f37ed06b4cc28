#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "output/npy.h"
#include "output/npz_internal.h"

enum {
    CHUNK = 1 << 16,
    NPY_HEADER_LIMIT = 1 << 16,
    DEFLATE_RATIO_LIMIT = 1032, /* deflate cannot pack tighter (zlib's technical notes) */
};
static const uint64_t ARRAY_LIMIT = 16ull << 30, TEXT_LIMIT = 16 << 20;
static const uint64_t WORTH_ASKING = 64 << 20; /* bytes */

/* One array's bytes on their way to the caller. */
typedef struct Pipe {
    const SpNpz *npz;
    const char *name;
    const SpNpzMember *member;
    uint64_t at;            /* in the file, of the next packed byte */
    uint64_t packed, bytes; /* still to come */
    uint32_t crc;
    z_stream inflate; /* zeroed where the member is stored */
    unsigned char in[CHUNK];
} Pipe;

static SpStatus bad_array(const Pipe *pipe, const char *what)
{
    return sp_error(SP_INPUT, "%.300s: array %.80s %s", pipe->npz->path, pipe->name, what);
}

static const char DAMAGED[] = "is damaged or truncated; make the file again";

/* Whether the local header, whose name has that length, is the one the directory means. */
static bool same_name(Pipe *pipe, uint64_t length)
{
    const SpNpzMember *m = pipe->member;
    return length == m->name_length && length <= sizeof pipe->in &&
           sp_npz_read_at(pipe->npz, m->offset + ZIP_LOCAL_SIZE, pipe->in, (size_t)length) &&
           memcmp(pipe->in, m->name, (size_t)length) == 0;
}

/* The local header only says where the data begins; sizes may be missing there. */
static SpStatus start_pipe(Pipe *pipe)
{
    const uint64_t file = pipe->npz->size;
    const SpNpzMember *m = pipe->member = sp_npz_find(pipe->npz, pipe->name);
    unsigned char head[ZIP_LOCAL_SIZE];
    if (!m)
        return bad_array(pipe, "is missing");
    if (m->flags & ZIP_FLAG_ENCRYPTED)
        return bad_array(pipe, "is encrypted; save it without a password");
    if (m->method != ZIP_STORED && m->method != ZIP_DEFLATED)
        return bad_array(pipe,
                         "is packed by another method than deflate; save it with numpy.savez");
    if (!sp_npz_read_at(pipe->npz, m->offset, head, sizeof head) ||
        sp_zip_number(head, 4) != ZIP_LOCAL || !same_name(pipe, sp_zip_number(head + 26, 2)))
        return bad_array(pipe, DAMAGED);
    pipe->at = m->offset + sizeof head + sp_zip_number(head + 26, 2) + sp_zip_number(head + 28, 2);
    pipe->packed = m->packed;
    pipe->bytes = m->size;
    if (pipe->at > file || m->packed > file - pipe->at ||
        (m->method == ZIP_STORED ? m->packed != m->size
                                 : m->size / DEFLATE_RATIO_LIMIT > m->packed))
        return bad_array(pipe, DAMAGED);
    return m->method == ZIP_STORED || inflateInit2(&pipe->inflate, -MAX_WBITS) == Z_OK
               ? sp_ok()
               : sp_no_memory(pipe->npz->path);
}

static bool read_packed(Pipe *pipe, void *out, size_t bytes)
{
    const bool read = bytes <= pipe->packed && sp_npz_read_at(pipe->npz, pipe->at, out, bytes);
    pipe->at += bytes;
    pipe->packed -= bytes;
    return read;
}

static bool inflate_exactly(Pipe *pipe, void *out, size_t bytes)
{
    z_stream *z = &pipe->inflate;
    z->next_out = out;
    z->avail_out = (uInt)bytes;
    while (z->avail_out) {
        if (z->avail_in == 0) {
            const size_t more = pipe->packed < CHUNK ? (size_t)pipe->packed : CHUNK;
            if (more == 0 || !read_packed(pipe, pipe->in, more))
                return false;
            z->next_in = pipe->in;
            z->avail_in = (uInt)more;
        }
        const int result = inflate(z, Z_NO_FLUSH);
        if (result != Z_OK && (result != Z_STREAM_END || z->avail_out))
            return false;
    }
    return true;
}

/* The next `bytes` bytes, at most a chunk; with the last one the checksum is compared. */
static SpStatus pull(Pipe *pipe, void *out, size_t bytes)
{
    const bool stored = pipe->member->method == ZIP_STORED;
    if (bytes > pipe->bytes ||
        !(stored ? read_packed(pipe, out, bytes) : inflate_exactly(pipe, out, bytes)))
        return bad_array(pipe, DAMAGED);
    pipe->crc = (uint32_t)crc32_z(pipe->crc, out, bytes);
    pipe->bytes -= bytes;
    return pipe->bytes || pipe->crc == pipe->member->crc
               ? sp_ok()
               : bad_array(pipe, "is damaged: its checksum is wrong; make the file again");
}

static SpStatus check_type(const Pipe *pipe, const char *descr, SpNpy *npy)
{
    static const char *const known[] = {"f2", "f4", "f8", "u1", "u2", "u4",
                                        "u8", "i1", "i2", "i4", "i8", "b1"};
    if (descr[0] && strchr("<|=>", descr[0]))
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (strcmp(descr + 1, known[i]) == 0) {
                npy->type = descr[1];
                npy->element = (size_t)(descr[2] - '0');
                npy->big_endian = descr[0] == '>';
                return sp_ok();
            }
    return bad_array(pipe, "has no usable type; save it as float32");
}

/* descr: as sp_npy_parse. */
static SpStatus read_header(Pipe *pipe, char descr[16], SpNpy *npy)
{
    unsigned char prefix[12];
    char text[NPY_HEADER_LIMIT];
    SP_TRY(pull(pipe, prefix, 10));
    const bool magic = memcmp(prefix, "\x93NUMPY", 6) == 0 && prefix[6] >= 1 && prefix[6] <= 3;
    const size_t field = prefix[6] == 1 ? 2 : 4;
    if (magic && field == 4)
        SP_TRY(pull(pipe, prefix + 10, 2));
    const size_t length = (size_t)sp_zip_number(prefix + 8, field);
    if (!magic || length >= NPY_HEADER_LIMIT)
        return bad_array(pipe, "is no .npy array");
    if (length)
        SP_TRY(pull(pipe, text, length));
    text[length] = 0;
    return sp_npy_parse(text, descr, npy) ? sp_ok()
                                          : bad_array(pipe, "has a header that is no .npy header");
}

static SpStatus parse_header(Pipe *pipe, SpNpy *npy)
{
    char descr[16] = "";
    SP_TRY(read_header(pipe, descr, npy));
    return check_type(pipe, descr, npy);
}

/* False when there are more than the limit holds, read or converted. */
static bool count_elements(const SpNpy *npy, uint64_t *count)
{
    const uint64_t widest = npy->element > sizeof(float) ? npy->element : sizeof(float);
    bool fits = true, empty = false;
    *count = 1;
    for (int i = 0; i < npy->rank; i++) {
        empty |= npy->dim[i] == 0;
        fits &= !__builtin_mul_overflow(*count, (uint64_t)npy->dim[i], count);
    }
    *count = empty ? 0 : *count;
    return empty || (fits && *count <= ARRAY_LIMIT / widest);
}

static SpStatus check_size(const Pipe *pipe, const SpNpy *npy)
{
    uint64_t count;
    if (!count_elements(npy, &count))
        return bad_array(pipe, "has more than 16 GiB; cut it");
    if (count * npy->element != pipe->bytes)
        return bad_array(pipe, "has another size than its shape says");
    return sp_ok();
}

static SpStatus check_shape(const Pipe *pipe, const SpNpy *npy, int rank, const int64_t *dims)
{
    char expected[96], found[96];
    bool matches = npy->rank == rank;
    for (int i = 0; matches && i < rank; i++)
        matches = dims[i] < 0 || dims[i] == npy->dim[i];
    sp_npy_print_shape(expected, sizeof expected, rank, dims);
    sp_npy_print_shape(found, sizeof found, npy->rank, npy->dim);
    if (!matches)
        return sp_error(SP_INPUT, "%.200s: array %.60s: expected shape %s, found %s",
                        pipe->npz->path, pipe->name, expected, found);
    return check_size(pipe, npy);
}

/* Where an array's next element goes in row-major order. */
typedef struct Cursor {
    const SpNpy *npy;
    uint64_t at, stride[SP_MAX_RANK], index[SP_MAX_RANK];
} Cursor;

static Cursor start_cursor(const SpNpy *npy)
{
    Cursor cursor = {.npy = npy};
    uint64_t stride = 1;
    for (int axis = npy->rank - 1; axis >= 0; axis--) {
        cursor.stride[axis] = stride;
        stride *= (uint64_t)npy->dim[axis];
    }
    return cursor;
}

/* In Fortran order the first axis runs fastest. */
static void advance(Cursor *c)
{
    if (!c->npy->fortran) {
        c->at++;
        return;
    }
    for (int axis = 0; axis < c->npy->rank; axis++) {
        c->at += c->stride[axis];
        if (++c->index[axis] < (uint64_t)c->npy->dim[axis])
            return;
        c->at -= c->index[axis] * c->stride[axis];
        c->index[axis] = 0;
    }
}

/* The rest of the bytes, which are float32 already, in order. */
static SpStatus copy_elements(Pipe *pipe, float *out)
{
    while (pipe->bytes) {
        const size_t bytes = pipe->bytes < CHUNK ? (size_t)pipe->bytes : CHUNK;
        SP_TRY(pull(pipe, out, bytes));
        out += bytes / sizeof *out;
    }
    return sp_ok();
}

/* The rest of the bytes as float32, or as float64 where `wide` is not NULL. */
static SpStatus read_elements(Pipe *pipe, const SpNpy *npy, float *out, double *wide)
{
    unsigned char chunk[4096]; /* of whole elements */
    Cursor to = start_cursor(npy);
    if (!wide && npy->type == 'f' && npy->element == 4 && !npy->big_endian && !npy->fortran)
        return copy_elements(pipe, out);
    while (pipe->bytes) {
        const size_t bytes = pipe->bytes < sizeof chunk ? (size_t)pipe->bytes : sizeof chunk;
        SP_TRY(pull(pipe, chunk, bytes));
        for (size_t at = 0; at < bytes; at += npy->element, advance(&to))
            if (wide)
                wide[to.at] = sp_npy_element(npy, chunk + at);
            else
                out[to.at] = (float)sp_npy_element(npy, chunk + at);
    }
    return sp_ok();
}

static SpStatus read_shape(Pipe *pipe, SpNpy *npy)
{
    SP_TRY(start_pipe(pipe));
    return parse_header(pipe, npy);
}

/* A small file may hold an array of zeros of any size, and malloc promises more than there is. */
static SpStatus check_memory(const Pipe *pipe, uint64_t bytes)
{
    const size_t available = bytes > WORTH_ASKING ? sp_memory_available() : SIZE_MAX;
    if (bytes <= available)
        return sp_ok();
    return sp_error(SP_MEMORY, "%.300s: array %.80s takes %.1f MB of memory, %.1f MB are available",
                    pipe->npz->path, pipe->name, (double)bytes / 0x1p20,
                    (double)available / 0x1p20);
}

static SpStatus read_array(Pipe *pipe, int rank, int64_t *dims, float **out)
{
    SpNpy npy = {0};
    SP_TRY(read_shape(pipe, &npy));
    SP_TRY(check_shape(pipe, &npy, rank, dims));
    const uint64_t bytes = pipe->bytes / npy.element * sizeof **out;
    SP_TRY(check_memory(pipe, bytes));
    *out = malloc(bytes + 1);
    if (!*out)
        return sp_no_memory(pipe->npz->path);
    SP_TRY(read_elements(pipe, &npy, *out, NULL));
    for (int i = 0; i < rank; i++)
        dims[i] = npy.dim[i];
    return sp_ok();
}

SpStatus sp_npz_shape(SpNpz *npz, const char *name, int *rank, int64_t dims[SP_MAX_RANK])
{
    SpNpy npy = {0};
    Pipe pipe = {.npz = npz, .name = name};
    const SpStatus status = read_shape(&pipe, &npy);
    inflateEnd(&pipe.inflate);
    *rank = npy.rank;
    memcpy(dims, npy.dim, sizeof npy.dim);
    return status;
}

SpStatus sp_npz_read_f32(SpNpz *npz, const char *name, int rank, int64_t *dims, float **out)
{
    Pipe pipe = {.npz = npz, .name = name};
    *out = NULL;
    const SpStatus status = read_array(&pipe, rank, dims, out);
    inflateEnd(&pipe.inflate); /* does nothing to a zeroed one */
    if (status.code != SP_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

SpStatus sp_npz_text_begins(const SpNpz *npz, const char *name, const char *ascii, bool *begins)
{
    Pipe pipe = {.npz = npz, .name = name};
    SpNpy npy = {0};
    char descr[16] = "";
    uint32_t character = 0;
    *begins = false;
    if (!sp_npz_has(npz, name))
        return sp_ok();
    SpStatus status = start_pipe(&pipe);
    if (status.code == SP_OK)
        status = read_header(&pipe, descr, &npy);
    *begins = status.code == SP_OK && strncmp(descr, "<U", 2) == 0 &&
              strtoull(descr + 2, NULL, 10) >= strlen(ascii);
    for (; *begins && *ascii; ascii++) {
        status = pull(&pipe, &character, sizeof character);
        *begins = status.code == SP_OK && character == (unsigned char)*ascii;
    }
    inflateEnd(&pipe.inflate); /* does nothing to a zeroed one */
    return status;
}

bool sp_npz_begins(const char *path)
{
    unsigned char magic[4];
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return false; /* opening a pipe would be its reader's end */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const bool whole = fd >= 0 && pread(fd, magic, sizeof magic, 0) == (ssize_t)sizeof magic;
    if (fd >= 0)
        close(fd);
    return whole && (sp_zip_number(magic, 4) == ZIP_LOCAL || sp_zip_number(magic, 4) == ZIP_END);
}

SpStatus sp_npz_inspect(SpNpz *npz, const char *name, char *type, int *rank,
                        int64_t dims[SP_MAX_RANK])
{
    SpNpy npy = {0};
    Pipe pipe = {.npz = npz, .name = name};
    SpStatus status = read_shape(&pipe, &npy);
    if (status.code == SP_OK)
        status = check_size(&pipe, &npy);
    inflateEnd(&pipe.inflate);
    *type = npy.type;
    *rank = npy.rank;
    memcpy(dims, npy.dim, sizeof npy.dim);
    return status;
}

static SpStatus read_wide(Pipe *pipe, int64_t count, double *out)
{
    SpNpy npy = {0};
    SP_TRY(read_shape(pipe, &npy));
    SP_TRY(check_size(pipe, &npy));
    if ((int64_t)(pipe->bytes / npy.element) != count)
        return sp_error(SP_INPUT, "%.200s: array %.60s: expected %lld values, found %lld",
                        pipe->npz->path, pipe->name, (long long)count,
                        (long long)(pipe->bytes / npy.element));
    return read_elements(pipe, &npy, NULL, out);
}

SpStatus sp_npz_read_f64(SpNpz *npz, const char *name, int64_t count, double *out)
{
    Pipe pipe = {.npz = npz, .name = name};
    const SpStatus status = read_wide(&pipe, count, out);
    inflateEnd(&pipe.inflate);
    return status;
}

/* Of one text of `length` characters, which may end with zeros. */
static SpStatus read_text(Pipe *pipe, uint64_t length, char *out)
{
    for (uint64_t i = 0; i < length; i++) {
        uint32_t code;
        SP_TRY(pull(pipe, &code, sizeof code));
        out += sp_utf8_put(code, out);
    }
    *out = 0;
    return sp_ok();
}

static SpStatus read_texts(Pipe *pipe, int64_t *count, size_t *stride, char **out)
{
    char descr[16] = "", *end = "";
    SpNpy npy = {0};
    uint64_t texts;
    SP_TRY(start_pipe(pipe));
    SP_TRY(read_header(pipe, descr, &npy));
    const uint64_t length = strncmp(descr, "<U", 2) == 0 ? strtoull(descr + 2, &end, 10) : 0;
    if (strncmp(descr, "<U", 2) != 0 || *end)
        return bad_array(pipe, "is no text");
    npy.element = sizeof(float); /* counted a character at a time */
    if (npy.rank > 1 || !count_elements(&npy, &texts) || length > TEXT_LIMIT / 4 ||
        texts * (4 * length + 1) > TEXT_LIMIT)
        return bad_array(pipe, "has too many texts");
    if (4 * length * texts != pipe->bytes)
        return bad_array(pipe, "has another size than its shape says");
    *count = (int64_t)texts;
    *stride = 4 * (size_t)length + 1;
    *out = calloc((size_t)texts + 1, *stride);
    if (!*out)
        return sp_no_memory(pipe->npz->path);
    for (uint64_t i = 0; i < texts; i++)
        SP_TRY(read_text(pipe, length, *out + i * *stride));
    return sp_ok();
}

SpStatus sp_npz_read_texts(SpNpz *npz, const char *name, int64_t *count, size_t *stride, char **out)
{
    Pipe pipe = {.npz = npz, .name = name};
    *out = NULL;
    const SpStatus status = read_texts(&pipe, count, stride, out);
    inflateEnd(&pipe.inflate);
    if (status.code != SP_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}
