/* Files that appear whole, npz both ways (and as Python reads it), csv, the report. */
#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "output/atomic.h"
#include "output/csv.h"
#include "output/npz_internal.h"
#include "output/report.h"

static char folder[PATH_MAX];

static int make_folder(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/spatrack-output-XXXXXX", parent ? parent : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

/* Removes what is left; returns how many files there were. */
static int empty_folder(void)
{
    int count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            count += unlinkat(dirfd(dir), entry->d_name, 0) == 0 ||
                     unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0;
    closedir(dir);
    return count;
}

static int remove_folder(void **state)
{
    (void)state;
    empty_folder();
    return rmdir(folder);
}

/* A path in the test's folder; four may be in use at once. */
static const char *in_folder(const char *name)
{
    static char path[4][PATH_MAX + 512];
    static int next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    char *text = NULL;
    size_t room = 0, length = 0, got = 0;
    do {
        length += got;
        room = 2 * room + 4096;
        text = realloc(text, room);
        assert_non_null(text);
        got = fread(text + length, 1, room - length - 1, file);
    } while (got);
    fclose(file);
    text[length] = 0;
    if (size)
        *size = length;
    return text;
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void assert_text(const char *path, const char *expected)
{
    char *text = read_file(path, NULL);
    assert_string_equal(text, expected);
    free(text);
}

static void assert_ok(SpStatus status)
{
    if (status.code != SP_OK)
        fail_msg("%d: %s", status.code, status.text);
}

/* One line that holds `part`. */
static void assert_error(SpStatus status, SpCode code, const char *part)
{
    if (status.code != code || !strstr(status.text, part) || strchr(status.text, '\n'))
        fail_msg("%d: '%s' instead of %d: '%s'", status.code, status.text, code, part);
}

static void a_commit_replaces_the_target(void **state)
{
    (void)state;
    const char *path = in_folder("a.txt");
    SpAtomicFile file;
    const mode_t before = umask(027);
    write_file(path, "old", 3);
    assert_ok(sp_atomic_open(path, &file));
    assert_true(fputs("new", file.stream) >= 0);
    assert_text(path, "old");
    assert_non_null(strstr(file.temporary, "/.a.txt."));
    assert_ok(sp_atomic_commit(&file));
    umask(before);
    assert_text(path, "new");
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_ok(sp_atomic_commit(&file));
    sp_atomic_abandon(&file);
    assert_int_equal(empty_folder(), 1);
}

static void an_abandoned_file_leaves_the_target(void **state)
{
    (void)state;
    const char *path = in_folder("a.txt");
    SpAtomicFile file;
    write_file(path, "old", 3);
    assert_ok(sp_atomic_open(path, &file));
    assert_true(fputs("new", file.stream) >= 0);
    sp_atomic_abandon(&file);
    sp_atomic_abandon(&file);
    assert_text(path, "old");
    assert_int_equal(empty_folder(), 1);
}

static void a_settled_file_waits_for_its_commit(void **state)
{
    (void)state;
    const char *path = in_folder("a.txt");
    SpAtomicFile file;
    write_file(path, "old", 3);
    for (int commit = 0; commit < 2; commit++) {
        assert_ok(sp_atomic_open(path, &file));
        assert_true(fputs("new", file.stream) >= 0);
        assert_ok(sp_atomic_settle(&file));
        assert_ok(sp_atomic_settle(&file));
        assert_null(file.stream);
        assert_text(path, "old");
        if (commit)
            assert_ok(sp_atomic_commit(&file));
        sp_atomic_abandon(&file);
    }
    assert_text(path, "new");
    assert_int_equal(empty_folder(), 1);
}

static void the_last_of_two_runs_wins_whole(void **state)
{
    (void)state;
    const char *path = in_folder("a.txt");
    SpAtomicFile first, second;
    assert_ok(sp_atomic_open(path, &first));
    assert_ok(sp_atomic_open(path, &second));
    assert_true(fputs("longer first", first.stream) >= 0 && fputs("second", second.stream) >= 0);
    assert_ok(sp_atomic_commit(&second));
    assert_ok(sp_atomic_commit(&first));
    assert_text(path, "longer first");
    assert_int_equal(empty_folder(), 1);
}

static void a_failed_rename_leaves_nothing(void **state)
{
    (void)state;
    const char *path = in_folder("a.txt");
    SpAtomicFile file;
    assert_ok(sp_atomic_open(path, &file));
    assert_int_equal(mkdir(path, 0777), 0);
    assert_error(sp_atomic_commit(&file), SP_OUTPUT, "cannot write ");
    assert_int_equal(empty_folder(), 1);
}

/* A stream whose writes fail, in the place of a full disk. */
static void a_failed_write_leaves_the_target(void **state)
{
    (void)state;
    const char *path = in_folder("a.txt");
    SpAtomicFile file;
    write_file(path, "old", 3);
    assert_ok(sp_atomic_open(path, &file));
    fclose(file.stream);
    file.stream = fopen("/dev/full", "w");
    assert_non_null(file.stream);
    assert_true(fputs("new", file.stream) >= 0);
    assert_error(sp_atomic_commit(&file), SP_OUTPUT, "a.txt: No space left on device");
    assert_text(path, "old");
    assert_int_equal(empty_folder(), 1);
}

static void symbolic_links_are_followed(void **state)
{
    (void)state;
    const char *real = in_folder("real.txt"), *link = in_folder("link.txt");
    SpAtomicFile file;
    assert_int_equal(symlink("real.txt", link), 0);
    for (int existing = 0; existing < 2; existing++) {
        assert_ok(sp_atomic_open(link, &file));
        assert_true(fprintf(file.stream, "%d", existing) > 0);
        assert_ok(sp_atomic_commit(&file));
        assert_text(real, existing ? "1" : "0");
    }
    struct stat info;
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(empty_folder(), 2);

    assert_int_equal(symlink("loop.txt", in_folder("loop.txt")), 0);
    assert_error(sp_atomic_open(in_folder("loop.txt"), &file), SP_OUTPUT, strerror(ELOOP));
    assert_int_equal(empty_folder(), 1);
}

static void devices_and_pipes_are_written_directly(void **state)
{
    (void)state;
    SpAtomicFile file;
    assert_ok(sp_atomic_open("/dev/null", &file));
    assert_null(file.temporary);
    assert_true(fputs("gone", file.stream) >= 0);
    assert_ok(sp_atomic_commit(&file));

    const char *pipe = in_folder("pipe");
    assert_int_equal(mkfifo(pipe, 0666), 0);
    const int reader = open(pipe, O_RDONLY | O_NONBLOCK);
    char text[8] = "";
    assert_ok(sp_atomic_open(pipe, &file));
    assert_true(fputs("through", file.stream) >= 0);
    assert_ok(sp_atomic_commit(&file));
    assert_int_equal(read(reader, text, sizeof text), 7);
    assert_memory_equal(text, "through", 7);
    close(reader);
    struct stat info;
    assert_int_equal(lstat(pipe, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_int_equal(empty_folder(), 1);

    assert_ok(sp_atomic_open("/dev/full", &file));
    assert_true(fputs("new", file.stream) >= 0);
    assert_error(sp_atomic_commit(&file), SP_OUTPUT, "/dev/full: No space left on device");
}

static void impossible_targets_are_named(void **state)
{
    (void)state;
    SpAtomicFile file;
    write_file(in_folder("file"), "", 0);
    assert_error(sp_atomic_open("", &file), SP_OUTPUT, "not a file name");
    assert_error(sp_atomic_open(folder, &file), SP_OUTPUT, "not a file name");
    assert_error(sp_atomic_open(in_folder("new/"), &file), SP_OUTPUT, "not a file name");
    assert_error(sp_atomic_open(in_folder("missing/a"), &file), SP_OUTPUT,
                 "/missing: No such file or directory; choose another -o");
    assert_error(sp_atomic_open(in_folder("file/a"), &file), SP_OUTPUT,
                 "/file: Not a directory; choose another -o");
    assert_error(sp_atomic_open_for(in_folder("missing/a"), "--report", &file), SP_OUTPUT,
                 "choose another --report");
    assert_null(file.stream);
    assert_int_equal(empty_folder(), 1);
}

static void a_folder_without_permission_is_named(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip();
    SpAtomicFile file;
    assert_int_equal(mkdir(in_folder("locked"), 0555), 0);
    assert_error(sp_atomic_open(in_folder("locked/a"), &file), SP_OUTPUT,
                 "/locked: Permission denied; choose another -o");
    assert_int_equal(empty_folder(), 1);
}

static void names_up_to_the_limit_work(void **state)
{
    (void)state;
    char name[NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[NAME_MAX] = 0;
    SpAtomicFile file;
    assert_ok(sp_atomic_open(in_folder(name), &file));
    assert_ok(sp_atomic_commit(&file));
    assert_int_equal(empty_folder(), 1);

    char *path = calloc(1, 2 * PATH_MAX);
    assert_non_null(path);
    memset(path, 'p', 2 * PATH_MAX - 1);
    assert_error(sp_atomic_open(path, &file), SP_OUTPUT, strerror(ENAMETOOLONG));
    free(path);
}

static void more_than_eight_files_are_refused(void **state)
{
    (void)state;
    SpAtomicFile file[9];
    for (int i = 0; i < 8; i++)
        assert_ok(sp_atomic_open(in_folder("a.txt"), &file[i]));
    assert_error(sp_atomic_open(in_folder("a.txt"), &file[8]), SP_OUTPUT, "8 files");
    for (int i = 0; i < 9; i++)
        sp_atomic_abandon(&file[i]);
    assert_int_equal(empty_folder(), 0);
    assert_ok(sp_atomic_open(in_folder("a.txt"), &file[0]));
    sp_atomic_abandon(&file[0]);
}

static void pending_files_are_removed_at_once(void **state)
{
    (void)state;
    SpAtomicFile done, pending[2];
    assert_ok(sp_atomic_open(in_folder("done.txt"), &done));
    for (int i = 0; i < 2; i++)
        assert_ok(sp_atomic_open(in_folder("a.txt"), &pending[i]));
    assert_ok(sp_atomic_commit(&done));
    errno = E2BIG;
    sp_atomic_remove_pending();
    assert_int_equal(errno, E2BIG);
    assert_text(in_folder("done.txt"), "");
    assert_int_equal(empty_folder(), 1);
    assert_error(sp_atomic_commit(&pending[0]), SP_OUTPUT, "cannot write ");
    sp_atomic_abandon(&pending[1]);
}

static void end_cleanly(int number)
{
    sp_atomic_remove_pending();
    _exit(number);
}

static void a_signal_leaves_no_temporary(void **state)
{
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        SpAtomicFile file;
        signal(SIGTERM, end_cleanly);
        if (sp_atomic_open(in_folder("a.txt"), &file).code == SP_OK)
            raise(SIGTERM);
        _exit(1);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), SIGTERM);
    assert_int_equal(empty_folder(), 0);
}

/* How an archive is written: what each test of the writer goes through. */
typedef struct Way {
    bool compress;
    uint32_t zip64_from;
} Way;

static const Way WAYS[] = {{false, UINT32_MAX}, {true, UINT32_MAX}, {false, 1},
                           {true, 1},           {false, 300},       {true, 300}};
enum { WAY_COUNT = sizeof WAYS / sizeof *WAYS };

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
    const char *path = in_folder("samples.npz");
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
    empty_folder();
}

static void the_same_arrays_give_the_same_bytes(void **state)
{
    (void)state;
    for (int w = 0; w < WAY_COUNT; w++) {
        char *bytes[2];
        size_t size[2];
        for (int i = 0; i < 2; i++)
            bytes[i] = read_file(write_samples_file(&WAYS[w]), &size[i]);
        assert_int_equal(size[0], size[1]);
        assert_memory_equal(bytes[0], bytes[1], size[0]);
        free(bytes[0]), free(bytes[1]);
    }
    empty_folder();
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
        empty_folder();
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
    const char *path = in_folder("numpy.npz");
    const int result = python("import sys\n"
                              "try: import numpy as np\n"
                              "except ImportError: sys.exit(77)\n"
                              "i = np.arange(24).reshape(2, 3, 4)\n"
                              "np.savez_compressed(sys.argv[1], f4=(i / 4).astype('f4'), i1="
                              "-i.astype('i1'), f2=i.astype('f2'), fortran=np.asfortranarray(i),"
                              "big=i.astype('>f4'), object=np.array([None]),"
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
    } good[] = {{"f4", 0.25f}, {"i1", -1}, {"f2", 1}};
    for (int k = 0; k < 3; k++) {
        int64_t dims[] = {-1, -1, -1};
        assert_ok(sp_npz_read_f32(npz, good[k].name, 3, dims, &value));
        for (int i = 0; i < CUBE; i++)
            assert_true(value[i] == (float)i * good[k].step);
        free(value);
    }
    int64_t dims[] = {-1, -1, -1};
    assert_error(sp_npz_read_f32(npz, "fortran", 3, dims, &value), SP_INPUT, "Fortran");
    assert_error(sp_npz_read_f32(npz, "big", 3, dims, &value), SP_INPUT, "big endian");
    assert_error(sp_npz_read_f32(npz, "object", 1, dims, &value), SP_INPUT, "no usable type");
    assert_error(sp_npz_read_f32(npz, "record", 1, dims, &value), SP_INPUT, "no usable type");
    assert_error(sp_npz_read_f32(npz, "complex", 3, dims, &value), SP_INPUT, "no usable type");
    sp_npz_close(npz);
    empty_folder();
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
static void a_full_disk_is_told(void **state)
{
    (void)state;
    for (int w = 0; w < WAY_COUNT; w++) {
        SpStatus status = {.code = SP_OUTPUT};
        size_t room = 0;
        for (; status.code != SP_OK; room++) {
            size_t left = room;
            FILE *stream =
                fopencookie(&left, "w", (cookie_io_functions_t){.write = write_until_full});
            assert_non_null(stream);
            setvbuf(stream, NULL, _IONBF, 0);
            status = write_small(stream, WAYS[w].compress, WAYS[w].zip64_from);
            if (status.code != SP_OK)
                assert_error(status, SP_OUTPUT, "cannot write out.npz: No space left on device");
            fclose(stream);
        }
        assert_in_range(room, 300, 2000);
    }
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    assert_error(write_small(full, false, UINT32_MAX), SP_OUTPUT, "No space left on device");
    fclose(full);
}

static void wrong_use_of_the_writer_is_told(void **state)
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
    write_file(path, bytes, (size_t)(at + ZIP_END_SIZE - bytes));
}

#define DICT(descr, order, shape)                                                                  \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }\n"

static void lies_are_told(void **state)
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
        {"big endian", {DICT(">f4", "False", "(2,)"), 8, 1, 0, 0, 0, 0}},
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
        const char *path = in_folder("lie.npz");
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
    empty_folder();
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    SpNpz *npz;
    float *value;
    int64_t dims[] = {5, -1, 4};
    assert_error(sp_npz_open(in_folder("none.npz"), &npz), SP_INPUT, "none.npz: No such file");
    assert_error(sp_npz_open(folder, &npz), SP_INPUT, "not a regular file");
    assert_error(sp_npz_open("/dev/zero", &npz), SP_INPUT, "not a regular file");
    write_file(in_folder("text.npz"), "text", 4);
    assert_error(sp_npz_open(in_folder("text.npz"), &npz), SP_INPUT, "text.npz: not an .npz");
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
    empty_folder();
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
    const char *path = in_folder("damaged.npz");
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
            write_file(path, bytes, cut);
            assert_false(survives(path));
        }
        write_file(path, bytes, size);
        assert_true(survives(path));
        for (size_t i = 0; i < size; i++)
            for (size_t k = 0; k < sizeof flips; k++) {
                bytes[i] = (char)(bytes[i] ^ flips[k]);
                write_file(path, bytes, size);
                survives(path);
                bytes[i] = (char)(bytes[i] ^ flips[k]);
            }
        free(bytes);
    }
    empty_folder();
}

static const SpTrackTable TABLE = {
    .frames = 2,
    .tracks = 2,
    .time = (const double[]){0, 0.04},
    .tracks2d = (const float[]){1.5f, 2, 3, 4, 0.1f, -6, 7, 8},
    .coords = (const float[]){1, 2, 3, 4, 5, 6, 7, 8, 1e-7f, -1, -2, -3},
    .visibs = (const float[]){1, 0.5f, 0.2f, 1.2f},
    .confs = (const float[]){0.25f, 1, 0.5f, 0},
};
static const char TABLE_TEXT[] = "track,frame,time,x,y,X,Y,Z,visible,confidence\n"
                                 "0,0,0,1.5,2,1,2,3,1,0.25\n"
                                 "0,1,0.04,0.100000001,-6,7,8,1.00000001e-07,0,0.5\n"
                                 "1,0,0,3,4,4,5,6,0,1\n"
                                 "1,1,0.04,7,8,-1,-2,-3,1,0\n";

static void tracks_as_csv(void **state)
{
    (void)state;
    /* A locale with a decimal comma, where there is one. */
    setlocale(LC_ALL, "de_DE.UTF-8");
    FILE *stream = fopen(in_folder("a.csv"), "w");
    assert_ok(sp_csv_write(stream, "a.csv", &TABLE));
    fclose(stream);
    setlocale(LC_ALL, "C");
    assert_text(in_folder("a.csv"), TABLE_TEXT);

    SpTrackTable odd = TABLE;
    odd.frames = odd.tracks = 1;
    odd.confs = (const float[]){-(float)NAN};
    odd.coords = (const float[]){INFINITY, -INFINITY, 3};
    stream = fopen(in_folder("a.csv"), "w");
    assert_ok(sp_csv_write(stream, "a.csv", &odd));
    fclose(stream);
    char *text = read_file(in_folder("a.csv"), NULL);
    assert_non_null(strstr(text, "\n0,0,0,1.5,2,inf,-inf,3,1,nan\n"));
    free(text);
    empty_folder();
}

static void a_full_disk_is_told_for_csv(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    assert_error(sp_csv_write(full, "a.csv", &TABLE), SP_OUTPUT,
                 "cannot write a.csv: No space left on device");
    fclose(full);
}

static const SpCacheEvent EVENTS[] = {{"sleep", "front", 0.5, 1, 7, 8, 9}};

static const SpReport REPORT = {
    .program_version = "0.1.0",
    .settings_json = "{\"max_frames\": 80}",
    .input = "caf\xc3\xa9 \xff.mp4",
    .input_width = 640,
    .input_height = 360,
    .used_frames = 80,
    .left_out_frames = 3,
    .rate = NAN,
    .device = "cpu",
    .isa = "avx2",
    .threads = 2,
    .stage_count = 2,
    .stages = {{.name = "front",
                .mode = "streamed",
                .seconds = 1.5,
                .planned_device_bytes = 11,
                .peak_device_bytes = 10,
                .weight_bytes = 5000000000u,
                .moved_bytes = 12,
                .hidden_seconds = NAN},
               {.name = "tracker", .seconds = 0.25}},
    .event_count = 1,
    .events = EVENTS,
    .seconds = 2.25,
    .peak_rss_bytes = 6000000000u,
    .library_count = 1,
    .libraries = {{"zlib", "1.2.13"}},
};

static const cJSON *item(const cJSON *object, const char *key)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!found)
        fail_msg("no %s", key);
    return found;
}

static void a_report_is_json(void **state)
{
    (void)state;
    const char *path = in_folder("report.json");
    SpAtomicFile file;
    assert_ok(sp_atomic_open(path, &file));
    assert_ok(sp_report_write(&file, &REPORT));
    assert_ok(sp_atomic_commit(&file));
    char *text = read_file(path, NULL);
    cJSON *root = cJSON_Parse(text);
    assert_non_null(root);
    assert_string_equal(item(root, "version")->valuestring, "0.1.0");
    assert_int_equal(item(item(root, "settings"), "max_frames")->valueint, 80);
    const cJSON *input = item(root, "input");
    assert_string_equal(item(input, "path")->valuestring, "caf\xc3\xa9 \xef\xbf\xbd.mp4");
    assert_int_equal(item(input, "width")->valueint, 640);
    assert_int_equal(item(input, "left_out_frames")->valueint, 3);
    assert_true(cJSON_IsNull(item(input, "rate")));
    assert_true(cJSON_IsNull(item(root, "weights")));
    const cJSON *stages = item(root, "stages");
    assert_int_equal(cJSON_GetArraySize(stages), 2);
    assert_string_equal(item(stages->child, "name")->valuestring, "front");
    assert_true(item(stages->child, "weight_bytes")->valuedouble == 5e9);
    assert_int_equal(item(stages->child, "planned_device_bytes")->valueint, 11);
    assert_int_equal(item(stages->child, "moved_bytes")->valueint, 12);
    assert_true(cJSON_IsNull(item(stages->child, "hidden_seconds")));
    assert_true(item(stages->child->next, "seconds")->valuedouble == 0.25);
    assert_true(cJSON_IsNull(item(stages->child->next, "mode")));
    const cJSON *event = item(root, "cache")->child;
    assert_string_equal(item(event, "event")->valuestring, "sleep");
    assert_int_equal(item(event, "host_bytes")->valueint, 7);
    assert_int_equal(item(event, "device_bytes")->valueint, 8);
    assert_true(item(root, "peak_rss_bytes")->valuedouble == 6e9);
    assert_string_equal(item(item(root, "libraries"), "zlib")->valuestring, "1.2.13");
    cJSON_Delete(root);
    free(text);
    assert_int_equal(empty_folder(), 1);
}

static void a_report_that_cannot_be_written_is_told(void **state)
{
    (void)state;
    SpReport bad = REPORT;
    bad.settings_json = "{";
    SpAtomicFile file;
    assert_ok(sp_atomic_open(in_folder("report.json"), &file));
    assert_error(sp_report_write(&file, &bad), SP_OUTPUT, "not JSON");
    sp_atomic_abandon(&file);
    bad.settings_json = NULL;
    assert_ok(sp_atomic_open("/dev/full", &file));
    assert_error(sp_report_write(&file, &bad), SP_OUTPUT, "/dev/full: No space left on device");
    sp_atomic_abandon(&file);
    assert_int_equal(empty_folder(), 0);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_commit_replaces_the_target),
        cmocka_unit_test(an_abandoned_file_leaves_the_target),
        cmocka_unit_test(a_settled_file_waits_for_its_commit),
        cmocka_unit_test(the_last_of_two_runs_wins_whole),
        cmocka_unit_test(a_failed_rename_leaves_nothing),
        cmocka_unit_test(a_failed_write_leaves_the_target),
        cmocka_unit_test(symbolic_links_are_followed),
        cmocka_unit_test(devices_and_pipes_are_written_directly),
        cmocka_unit_test(impossible_targets_are_named),
        cmocka_unit_test(a_folder_without_permission_is_named),
        cmocka_unit_test(names_up_to_the_limit_work),
        cmocka_unit_test(more_than_eight_files_are_refused),
        cmocka_unit_test(pending_files_are_removed_at_once),
        cmocka_unit_test(a_signal_leaves_no_temporary),
        cmocka_unit_test(arrays_come_back),
        cmocka_unit_test(the_same_arrays_give_the_same_bytes),
        cmocka_unit_test(arrays_may_come_in_pieces),
        cmocka_unit_test(zipfile_reads_it),
        cmocka_unit_test(numpy_reads_it),
        cmocka_unit_test(numpys_own_files_are_read),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(wrong_use_of_the_writer_is_told),
        cmocka_unit_test(lies_are_told),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(damaged_archives_do_no_harm),
        cmocka_unit_test(tracks_as_csv),
        cmocka_unit_test(a_full_disk_is_told_for_csv),
        cmocka_unit_test(a_report_is_json),
        cmocka_unit_test(a_report_that_cannot_be_written_is_told),
    };
    return cmocka_run_group_tests_name("output", cases, make_folder, remove_folder);
}
