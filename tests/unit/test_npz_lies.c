/* Archives that say what is not so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "output/npz_internal.h"
#include "support/scratch.h"

static size_t put(unsigned char *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (unsigned char)(value >> 8 * i);
    return bytes;
}

/* An archive by hand of one member x.npy, so that it can lie. */
typedef struct Lie {
    const char *header;       /* the dict */
    size_t data;              /* bytes of zeros behind it */
    unsigned version, method; /* of the .npy format, of the member */
    unsigned flags;
    size_t claimed; /* the header's length, when not 0 */
    uint64_t size;  /* of the member, when not 0 */
} Lie;

static void write_lie(const char *path, const Lie *lie)
{
    unsigned char bytes[2048] = {0}, *body = bytes + ZIP_LOCAL_SIZE + 5, *at = body;
    const size_t length = strlen(lie->header), field = lie->version == 1 ? 2 : 4;
    memcpy(at, "\x93NUMPY", 6);
    at[6] = (unsigned char)lie->version;
    at += 8;
    at += put(at, lie->claimed ? lie->claimed : length, field);
    memcpy(at, lie->header, length);
    at += length + lie->data;
    const size_t packed = (size_t)(at - body);
    const uint64_t size = lie->size ? lie->size : packed;
    const uint32_t crc = (uint32_t)crc32_z(0, body, packed);
    put(bytes, ZIP_LOCAL, 4);
    put(bytes + 26, 5, 2);
    memcpy(bytes + ZIP_LOCAL_SIZE, "x.npy", 5);
    unsigned char *central = at;
    put(at, ZIP_CENTRAL, 4);
    put(at + 8, lie->flags, 2);
    put(at + 10, lie->method, 2);
    put(at + 16, crc, 4);
    put(at + 20, packed, 4);
    put(at + 24, size, 4);
    put(at + 28, 5, 2);
    memcpy(at + ZIP_CENTRAL_SIZE, "x.npy", 5);
    at += ZIP_CENTRAL_SIZE + 5;
    put(at, ZIP_END, 4);
    put(at + 10, 1, 2);
    put(at + 12, (uint64_t)(at - central), 4);
    put(at + 16, (uint64_t)(central - bytes), 4);
    file_write(path, bytes, (size_t)(at + ZIP_END_SIZE - bytes));
}

#define DICT(descr, order, shape)                                                                  \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }\n"

static void lies_are_reported(void **state)
{
    (void)state;
    static const struct {
        const char *part; /* NULL: it reads, as [2] zeros */
        Lie lie;
    } cases[] = {
        {NULL, {DICT("<f4", "False", "(2,)"), 8, 1, 0, 0, 0, 0}},
        {NULL, {DICT("<f4", "False", "(2,)"), 8, 2, 0, 0, 0, 0}},
        {NULL, {DICT("|b1", "True", "(2,)"), 2, 3, 0, 0, 0, 0}},
        {NULL, {"{\"shape\":(2),\"descr\":\"<f8\",\"fortran_order\":False}", 16, 1, 0, 0, 0, 0}},
        {NULL, {DICT(">f4", "False", "(2,)"), 8, 1, 0, 0, 0, 0}},
        {"no usable type", {DICT("|O", "False", "(2,)"), 16, 1, 0, 0, 0, 0}},
        {"no usable type", {DICT("<f16", "False", "(2,)"), 32, 1, 0, 0, 0, 0}},
        {"no usable type", {DICT("", "False", "(2,)"), 8, 1, 0, 0, 0, 0}},
        {"no usable type", {"{'descr': [('a', '<f4')], 'shape': (2,)}", 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {DICT("<f4", "Maybe", "(2,)"), 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {DICT("<f4", "False", "(-2,)"), 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {DICT("<f4", "False", "(2"), 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {DICT("<f4", "False", "(2 2)"), 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {DICT("<f4", "False", "(1,1,1,1,1,1,1,1,2)"), 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {DICT("<f4", "False", "(99999999999999999999,)"), 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {DICT("far too long a type", "False", "(2,)"), 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {"{'descr': '<f4', 'descr': '<f4'}", 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {"{'descr': '<f4'}", 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {"{'descr': '<f4', 'other': 1}", 8, 1, 0, 0, 0, 0}},
        {"no .npy header", {"", 8, 1, 0, 0, 0, 0}},
        {"no .npy array", {DICT("<f4", "False", "(2,)"), 8, 4, 0, 0, 0, 0}},
        {"no .npy array", {DICT("<f4", "False", "(2,)"), 8, 2, 0, 0, 1u << 30, 0}},
        {"damaged", {DICT("<f4", "False", "(2,)"), 8, 1, 0, 0, 60000, 0}},
        {"damaged", {DICT("<f4", "False", "(2,)"), 8, 1, 0, 0, 0, 1u << 20}},
        {"damaged", {DICT("<f4", "False", "(2,)"), 8, 1, 8, 0, 0, 0}},
        {"damaged", {DICT("<f4", "False", "(2,)"), 8, 1, 8, 0, 0, 1u << 20}},
        {"deflate", {DICT("<f4", "False", "(2,)"), 8, 1, 12, 0, 0, 0}},
        {"encrypted", {DICT("<f4", "False", "(2,)"), 8, 1, 0, 1, 0, 0}},
        {"another size", {DICT("<f4", "False", "(2,)"), 4, 1, 0, 0, 0, 0}},
        {"another size", {DICT("<f4", "False", "(2,)"), 12, 1, 0, 0, 0, 0}},
        {"another size", {DICT("<f4", "False", "(1000000000,)"), 8, 1, 0, 0, 0, 0}},
        {"16 GiB", {DICT("|u1", "False", "(5000000000,)"), 8, 1, 0, 0, 0, 0}},
        {"16 GiB", {DICT("<f8", "False", "(2305843009213693953,)"), 8, 1, 0, 0, 0, 0}},
        {"expected shape *, found 1,2", {DICT("<f4", "False", "(1, 2)"), 8, 1, 0, 0, 0, 0}},
        {"expected shape *, found ()", {DICT("<f4", "False", "()"), 4, 1, 0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = scratch_path("lie.npz");
        int64_t dim = -1;
        float *value;
        SpNpz *npz;
        write_lie(path, &cases[i].lie);
        assert_ok(sp_npz_open(path, &npz));
        const SpStatus status = sp_npz_read_f32(npz, "x", 1, &dim, &value);
        if (cases[i].part) {
            assert_error(status, SP_INPUT, cases[i].part);
            assert_non_null(strstr(status.text, "lie.npz: array x"));
        } else {
            assert_ok(status);
            assert_true(dim == 2 && value[0] == 0 && value[1] == 0);
        }
        free(value);
        sp_npz_close(npz);
    }
    scratch_empty();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(lies_are_reported),
    };
    return cmocka_run_group_tests_name("npz lies", cases, scratch_make, scratch_remove);
}
