/* npz both ways, and as Python reads it. */
#define _GNU_SOURCE

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "output/npz_internal.h"
#include "support/npz_ways.h"
#include "support/scratch.h"

enum { CUBE = 2 * 3 * 4, MANY = 70000 };
static const int64_t cube[] = {2, 3, 4};
static const char TEXT[] = "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x8e\xbe \xff!";

/* Quarters from -2 on, or whole numbers from 0 on. */
static void write_cube(SpNpzWriter *npz, const char *name, SpDtype dtype)
{
    union {
        float f4[CUBE];
        double f8[CUBE];
        uint16_t f2[CUBE];
        int32_t i4[CUBE];
        int64_t i8[CUBE];
        uint8_t u1[CUBE];
    } value;
    for (int i = 0; i < CUBE; i++)
        switch (dtype) {
        case SP_F32:
            value.f4[i] = (float)i / 4 - 2;
            break;
        case SP_F64:
            value.f8[i] = (double)i / 4 - 2;
            break;
        case SP_F16:
            value.f2[i] = (uint16_t)(0x3c00 + 0x400 * (i % 4)); /* 1, 2, 4, 8 */
            break;
        case SP_I32:
            value.i4[i] = i - 8;
            break;
        case SP_I64:
            value.i8[i] = i - 8;
            break;
        default:
            value.u1[i] = (uint8_t)(dtype == SP_BOOL ? i % 3 == 0 : 8 * i);
        }
    assert_ok(sp_npz_array(npz, name, dtype, 3, cube, &value));
}

static const struct {
    const char *name;
    SpDtype dtype;
} CUBES[] = {{"f4", SP_F32}, {"f2", SP_F16}, {"f8", SP_F64}, {"i4", SP_I32},
             {"i8", SP_I64}, {"u1", SP_U8},  {"b1", SP_BOOL}};
enum { CUBE_COUNT = sizeof CUBES / sizeof *CUBES };

static float cube_value(SpDtype dtype, int i)
{
    static const float halves[] = {1, 2, 4, 8};
    return dtype == SP_F32 || dtype == SP_F64   ? (float)i / 4 - 2
           : dtype == SP_F16                    ? halves[i % 4]
           : dtype == SP_I32 || dtype == SP_I64 ? (float)(i - 8)
           : dtype == SP_U8                     ? (float)(8 * i)
                                                : (float)(i % 3 == 0);
}

static void write_samples(FILE *stream, const Way *way)
{
    SpNpzWriter *npz;
    assert_ok(sp_npz_create_limited(stream, "out.npz", way->compress, way->zip64_from, &npz));
    for (int i = 0; i < CUBE_COUNT; i++)
        write_cube(npz, CUBES[i].name, CUBES[i].dtype);
    assert_ok(sp_npz_array(npz, "scalar", SP_F32, 0, NULL, &(float){2.5f}));
    assert_ok(sp_npz_array(npz, "row", SP_I64, 1, (int64_t[]){1}, &(int64_t){7}));
    assert_ok(sp_npz_array(npz, "empty", SP_F32, 2, (int64_t[]){3, 0}, NULL));
    assert_ok(sp_npz_text(npz, "text", TEXT));
    assert_ok(sp_npz_text(npz, "nothing", ""));
    float *many = malloc(MANY * sizeof *many);
    assert_non_null(many);
    for (int i = 0; i < MANY; i++)
        many[i] = sinf((float)i) * 100;
    assert_ok(sp_npz_array(npz, "many", SP_F32, 1, (int64_t[]){MANY}, many));
    free(many);
    assert_ok(sp_npz_finish(npz));
    sp_npz_discard(npz);
}

static const char *write_samples_file(const Way *way)
{
    const char *path = scratch_path("samples.npz");
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    write_samples(stream, way);
    assert_int_equal(fclose(stream), 0);
    return path;
}

static void arrays_come_back(void **state)
{
    (void)state;
    for (int w = 0; w < WAY_COUNT; w++) {
        SpNpz *npz;
        float *value;
        assert_ok(sp_npz_open(write_samples_file(&WAYS[w]), &npz));
        for (int k = 0; k < CUBE_COUNT; k++) {
            int64_t dims[] = {2, -1, -1};
            assert_true(sp_npz_has(npz, CUBES[k].name));
            assert_ok(sp_npz_read_f32(npz, CUBES[k].name, 3, dims, &value));
            assert_memory_equal(dims, cube, sizeof dims);
            for (int i = 0; i < CUBE; i++)
                assert_true(value[i] == cube_value(CUBES[k].dtype, i));
            free(value);
        }
        int64_t any[] = {-1, -1};
        assert_ok(sp_npz_read_f32(npz, "scalar", 0, NULL, &value));
        assert_true(value[0] == 2.5f);
        free(value);
        assert_ok(sp_npz_read_f32(npz, "empty", 2, any, &value));
        assert_true(any[0] == 3 && any[1] == 0 && value);
        free(value);
        any[0] = -1;
        assert_ok(sp_npz_read_f32(npz, "many", 1, any, &value));
        assert_int_equal(any[0], MANY);
        for (int i = 0; i < MANY; i++)
            assert_true(value[i] == sinf((float)i) * 100);
        free(value);
        assert_false(sp_npz_has(npz, "man"));
        assert_false(sp_npz_has(npz, "many.npy"));
        sp_npz_close(npz);
    }
    scratch_empty();
}

static void the_same_arrays_give_the_same_bytes(void **state)
{
    (void)state;
    for (int w = 0; w < WAY_COUNT; w++) {
        char *bytes[2];
        size_t size[2];
        for (int i = 0; i < 2; i++)
            bytes[i] = file_read(write_samples_file(&WAYS[w]), &size[i]);
        assert_int_equal(size[0], size[1]);
        assert_memory_equal(bytes[0], bytes[1], size[0]);
        free(bytes[0]), free(bytes[1]);
    }
    scratch_empty();
}

/* Pieces that end inside elements give the same archive as one piece. */
static void arrays_may_come_in_pieces(void **state)
{
    (void)state;
    unsigned char data[9 * 8];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * i);
    for (int compress = 0; compress < 2; compress++) {
        char *whole = NULL, *pieces = NULL;
        size_t sizes[2];
        for (size_t piece = sizeof data; piece; piece /= 5) {
            char **bytes = piece == sizeof data ? &whole : &pieces;
            FILE *stream = open_memstream(bytes, &sizes[piece < sizeof data]);
            SpNpzWriter *npz;
            assert_ok(sp_npz_create(stream, "memory", compress, &npz));
            assert_ok(sp_npz_begin(npz, "x", SP_F64, 1, (int64_t[]){9}));
            for (size_t at = 0; at < sizeof data; at += piece)
                assert_ok(sp_npz_write(npz, data + at,
                                       piece < sizeof data - at ? piece : sizeof data - at));
            assert_ok(sp_npz_finish(npz));
            sp_npz_discard(npz);
            fclose(stream);
            if (bytes == &pieces) {
                assert_int_equal(sizes[0], sizes[1]);
                assert_memory_equal(whole, pieces, sizes[0]);
                free(pieces);
            }
        }
        free(whole);
    }
}

/* 0, or 77 where Python or the module is missing. */
static int python(const char *script, const char *argument)
{
    const pid_t child = fork();
    if (child == 0) {
        execlp("python3", "python3", "-c", script, argument, (char *)NULL);
        _exit(77);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

static void each_way_in_python(const char *script)
{
    for (int w = 0; w < WAY_COUNT; w++) {
        const int result = python(script, write_samples_file(&WAYS[w]));
        scratch_empty();
        if (result == 77)
            skip();
        assert_int_equal(result, 0);
    }
}

static void zipfile_reads_it(void **state)
{
    (void)state;
    each_way_in_python(
        "import struct, sys, zipfile\n"
        "z = zipfile.ZipFile(sys.argv[1])\n"
        "assert z.testzip() is None\n"
        "names = 'f4 f2 f8 i4 i8 u1 b1 scalar row empty text nothing many'.split()\n"
        "assert z.namelist() == [n + '.npy' for n in names]\n"
        "assert all(i.date_time == (1980, 1, 1, 0, 0, 0) for i in z.infolist())\n"
        "raw, at = open(sys.argv[1], 'rb').read(), 0\n"
        "for i in z.infolist():\n"
        "    name, extra = struct.unpack_from('<HH', raw, at + 26)\n"
        "    assert i.header_offset == at\n"
        "    at += 30 + name + extra + i.compress_size\n"
        "    descriptor = '<LLQQ' if extra else '<LLLL'\n"
        "    found = struct.unpack_from(descriptor, raw, at)\n"
        "    assert found == (0x08074b50, i.CRC, i.compress_size, i.file_size)\n"
        "    at += struct.calcsize(descriptor)\n"
        "for name in names:\n"
        "    b = z.read(name + '.npy')\n"
        "    end = 10 + int.from_bytes(b[8:10], 'little')\n"
        "    assert b[:8] == b'\\x93NUMPY\\x01\\0' and end % 64 == 0 and b[end - 1] == 10\n"
        "    head = eval(b[10:end])\n"
        "    size = int(head['descr'][2:]) * (4 if 'U' in head['descr'] else 1)\n"
        "    for n in head['shape']: size *= n\n"
        "    assert not head['fortran_order'] and len(b) == end + size\n"
        "    if name == 'text':\n"
        "        text = b[end:].decode('utf-32-le')\n"
        "        assert text == 'na\\xefve \\u20ac \\U0001f3be \\ufffd!', text\n");
}

static void numpy_reads_it(void **state)
{
    (void)state;
    each_way_in_python(
        "import sys\n"
        "try: import numpy as np\n"
        "except ImportError: sys.exit(77)\n"
        "z = np.load(sys.argv[1])\n"
        "i = np.arange(24).reshape(2, 3, 4)\n"
        "expected = dict(f4=i / 4 - 2, f2=2 ** (i % 4), f8=i / 4 - 2, i4=i - 8, i8=i - 8,\n"
        "                u1=8 * i, b1=i % 3 == 0)\n"
        "for name, value in expected.items():\n"
        "    assert z[name].dtype == np.dtype(name) and z[name].shape == (2, 3, 4)\n"
        "    assert (z[name] == value).all(), name\n"
        "assert z['scalar'].shape == () and z['scalar'] == 2.5\n"
        "assert z['row'].shape == (1,) and z['row'][0] == 7\n"
        "assert z['empty'].shape == (3, 0)\n"
        "assert str(z['text']) == 'na\\xefve \\u20ac \\U0001f3be \\ufffd!'\n"
        "assert str(z['nothing']) == ''\n"
        "assert abs(z['many'] - 100 * np.sin(np.arange(70000))).max() < 1e-3\n");
}

static void numpys_own_files_are_read(void **state)
{
    (void)state;
    const char *path = scratch_path("numpy.npz");
    const int result = python("import sys\n"
                              "try: import numpy as np\n"
                              "except ImportError: sys.exit(77)\n"
                              "i = np.arange(24).reshape(2, 3, 4)\n"
                              "np.savez_compressed(sys.argv[1], f4=(i / 4).astype('f4'), i1="
                              "-i.astype('i1'), f2=i.astype('f2'), fortran=np.asfortranarray(i),"
                              "big=i.astype('>f4'), bigint=-i.astype('>i2'), u2=i.astype('u2'),"
                              "both=np.asfortranarray(i.astype('>f8')), object=np.array([None]),"
                              "record=np.zeros(2, 'i4,f4'), complex=i + 1j)\n",
                              path);
    if (result == 77)
        skip();
    assert_int_equal(result, 0);
    SpNpz *npz;
    float *value;
    assert_ok(sp_npz_open(path, &npz));
    static const struct {
        const char *name;
        float step;
    } good[] = {{"f4", 0.25f}, {"i1", -1},     {"f2", 1}, {"fortran", 1},
                {"big", 1},    {"bigint", -1}, {"u2", 1}, {"both", 1}};
    for (size_t k = 0; k < sizeof good / sizeof *good; k++) {
        int64_t dims[] = {-1, -1, -1};
        assert_ok(sp_npz_read_f32(npz, good[k].name, 3, dims, &value));
        for (int i = 0; i < CUBE; i++)
            assert_true(value[i] == (float)i * good[k].step);
        free(value);
    }
    int64_t dims[] = {-1, -1, -1};
    assert_error(sp_npz_read_f32(npz, "object", 1, dims, &value), SP_INPUT, "no usable type");
    assert_error(sp_npz_read_f32(npz, "record", 1, dims, &value), SP_INPUT, "no usable type");
    assert_error(sp_npz_read_f32(npz, "complex", 3, dims, &value), SP_INPUT, "no usable type");
    sp_npz_close(npz);
    scratch_empty();
}

/* A disk that is full after `left` bytes. */
static ssize_t write_until_full(void *cookie, const char *data, size_t size)
{
    (void)data;
    size_t *left = cookie;
    if (size > *left) {
        errno = ENOSPC;
        return 0;
    }
    *left -= size;
    return (ssize_t)size;
}

static SpStatus write_small(FILE *stream, bool compress, uint32_t zip64_from)
{
    SpNpzWriter *npz;
    SpStatus status = sp_npz_create_limited(stream, "out.npz", compress, zip64_from, &npz);
    assert_ok(status);
    status = sp_npz_array(npz, "x", SP_F32, 1, (int64_t[]){4}, (float[]){1, 2, 3, 4});
    if (status.code == SP_OK)
        status = sp_npz_text(npz, "y", "text");
    const SpStatus finished = sp_npz_finish(npz);
    if (status.code != SP_OK)
        assert_string_equal(finished.text, status.text);
    sp_npz_discard(npz);
    return finished;
}

/* Every place where the disk can fill up. */
static void a_full_disk_is_reported(void **state)
{
    (void)state;
    for (int w = 0; w < WAY_COUNT; w++) {
        SpStatus status = {.code = SP_OUTPUT};
        size_t capacity = 0;
        for (; status.code != SP_OK; capacity++) {
            size_t left = capacity;
            FILE *stream =
                fopencookie(&left, "w", (cookie_io_functions_t){.write = write_until_full});
            assert_non_null(stream);
            setvbuf(stream, NULL, _IONBF, 0);
            status = write_small(stream, WAYS[w].compress, WAYS[w].zip64_from);
            if (status.code != SP_OK)
                assert_error(status, SP_OUTPUT, "cannot write out.npz: No space left on device");
            fclose(stream);
        }
        assert_in_range(capacity, 300, 2000);
    }
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    assert_error(write_small(full, false, UINT32_MAX), SP_OUTPUT, "No space left on device");
    fclose(full);
}

static void wrong_use_of_the_writer_is_reported(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        SpDtype dtype;
        int rank;
        int64_t dims[2];
        size_t bytes;
    } wrong[] = {{"bfloat16", SP_BF16, 1, {1}, 2},
                 {"impossible shape", SP_F32, 1, {-1}, 0},
                 {"impossible shape", SP_F32, 2, {1ll << 40, 1ll << 40}, 0},
                 {"impossible shape", SP_F32, SP_MAX_RANK + 1, {0}, 0},
                 {"more bytes", SP_F32, 1, {1}, 8},
                 {"not complete", SP_F32, 1, {1}, 3}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        FILE *stream = fopen("/dev/null", "w");
        SpNpzWriter *npz;
        assert_ok(sp_npz_create(stream, "out.npz", true, &npz));
        SpStatus status = sp_npz_begin(npz, "x", wrong[i].dtype, wrong[i].rank, wrong[i].dims);
        if (status.code == SP_OK)
            status = sp_npz_write(npz, "12345678", wrong[i].bytes);
        assert_error(sp_npz_finish(npz), SP_OUTPUT, wrong[i].part);
        sp_npz_discard(npz);
        fclose(stream);
    }
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    SpNpz *npz;
    float *value;
    int64_t dims[] = {5, -1, 4};
    assert_error(sp_npz_open(scratch_path("none.npz"), &npz), SP_INPUT, "none.npz: No such file");
    assert_error(sp_npz_open(scratch_folder(), &npz), SP_INPUT, "not a regular file");
    assert_error(sp_npz_open("/dev/zero", &npz), SP_INPUT, "not a regular file");
    file_write(scratch_path("text.npz"), "text", 4);
    assert_error(sp_npz_open(scratch_path("text.npz"), &npz), SP_INPUT, "text.npz: not an .npz");
    assert_null(npz);
    assert_ok(sp_npz_open(write_samples_file(&WAYS[1]), &npz));
    assert_error(sp_npz_read_f32(npz, "depths", 3, dims, &value), SP_INPUT,
                 "samples.npz: array depths is missing");
    assert_error(sp_npz_read_f32(npz, "f4", 3, dims, &value), SP_INPUT,
                 "array f4: expected shape 5,*,4, found 2,3,4");
    assert_error(sp_npz_read_f32(npz, "text", 0, NULL, &value), SP_INPUT, "no usable type");
    assert_null(value);
    sp_npz_close(npz);
    sp_npz_close(NULL);
    scratch_empty();
}

static const float X[] = {1, 2, 3, 4}, Y[] = {5, 6};

/* Opens and reads everything: whatever is damaged, an array is right or an error of one line. */
static bool survives(const char *path)
{
    SpNpz *npz;
    const SpStatus opened = sp_npz_open(path, &npz);
    if (opened.code != SP_OK) {
        assert_error(opened, SP_INPUT, path);
        return false;
    }
    bool fine = true;
    for (int k = 0; k < 2; k++) {
        int64_t dim = -1;
        float *value;
        const SpStatus status = sp_npz_read_f32(npz, k ? "y" : "x", 1, &dim, &value);
        if (status.code != SP_OK)
            assert_error(status, SP_INPUT, path);
        else if (k)
            assert_true(dim == 2 && memcmp(value, Y, sizeof Y) == 0);
        else
            assert_true(dim == 4 && memcmp(value, X, sizeof X) == 0);
        fine &= status.code == SP_OK;
        free(value);
    }
    sp_npz_close(npz);
    return fine;
}

static void damaged_archives_do_no_harm(void **state)
{
    (void)state;
    static const unsigned char flips[] = {0x01, 0x80, 0xff};
    const char *path = scratch_path("damaged.npz");
    for (int w = 0; w < WAY_COUNT; w++) {
        char *bytes;
        size_t size;
        FILE *stream = open_memstream(&bytes, &size);
        SpNpzWriter *npz;
        assert_ok(
            sp_npz_create_limited(stream, "memory", WAYS[w].compress, WAYS[w].zip64_from, &npz));
        assert_ok(sp_npz_array(npz, "x", SP_F32, 1, (int64_t[]){4}, X));
        assert_ok(sp_npz_array(npz, "y", SP_I32, 1, (int64_t[]){2}, (int32_t[]){5, 6}));
        assert_ok(sp_npz_finish(npz));
        sp_npz_discard(npz);
        fclose(stream);
        for (size_t cut = 0; cut < size; cut++) {
            file_write(path, bytes, cut);
            assert_false(survives(path));
        }
        file_write(path, bytes, size);
        assert_true(survives(path));
        for (size_t i = 0; i < size; i++)
            for (size_t k = 0; k < sizeof flips; k++) {
                bytes[i] = (char)(bytes[i] ^ flips[k]);
                file_write(path, bytes, size);
                survives(path);
                bytes[i] = (char)(bytes[i] ^ flips[k]);
            }
        free(bytes);
    }
    scratch_empty();
}

/* 400 MB from a file of 400 kB: refused before it is taken. */
static void what_memory_does_not_hold_is_not_taken(void **state)
{
    (void)state;
    const int64_t count = 100 << 20;
    const size_t piece = 1 << 20;
    uint8_t *zeros = calloc(piece, 1);
    const char *path = scratch_path("zeros.npz");
    FILE *stream = fopen(path, "wb");
    SpNpzWriter *writer;
    SpNpz *npz;
    float *value;
    int64_t dim = -1;
    size_t size;
    assert_non_null(stream);
    assert_ok(sp_npz_create(stream, "zeros", true, &writer));
    assert_ok(sp_npz_begin(writer, "x", SP_U8, 1, &count));
    for (int64_t at = 0; at < count; at += (int64_t)piece)
        assert_ok(sp_npz_write(writer, zeros, piece));
    assert_ok(sp_npz_finish(writer));
    sp_npz_discard(writer);
    fclose(stream);
    free(zeros);
    free(file_read(path, &size));
    assert_true(size < 1000000);
    assert_ok(sp_npz_open(path, &npz));
    struct rlimit before, little;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    little = (struct rlimit){256 << 20, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    const SpStatus status = sp_npz_read_f32(npz, "x", 1, &dim, &value);
    setrlimit(RLIMIT_AS, &before);
    assert_error(status, SP_MEMORY, "array x takes 400.0 MB of memory");
    assert_null(value);
    sp_npz_close(npz);
    scratch_empty();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(arrays_come_back),
        cmocka_unit_test(the_same_arrays_give_the_same_bytes),
        cmocka_unit_test(arrays_may_come_in_pieces),
        cmocka_unit_test(zipfile_reads_it),
        cmocka_unit_test(numpy_reads_it),
        cmocka_unit_test(numpys_own_files_are_read),
        cmocka_unit_test(a_full_disk_is_reported),
        cmocka_unit_test(wrong_use_of_the_writer_is_reported),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(damaged_archives_do_no_harm),
        cmocka_unit_test(what_memory_does_not_hold_is_not_taken),
    };
    return cmocka_run_group_tests_name("npz", cases, scratch_make, scratch_remove);
}
