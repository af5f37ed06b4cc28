/* Archives of arrays: their bytes as they come, and whole results of any shapes and values, given
 * to everything that reads one. */
#include <stdlib.h>
#include <string.h>

#include "compare/compare.h"
#include "fuzz/targets.h"
#include "input/geometry_file.h"
#include "output/formats.h"
#include "output/result_file.h"

enum { NAME = 64, MOST_BYTES = 1 << 16 };

/* What is asked of an array by its name. */
static void ask(SpNpz *npz, const char *name)
{
    char type, *texts = NULL;
    int rank;
    int64_t dims[SP_MAX_RANK], count = 0;
    size_t stride = 0;
    float *value = NULL;
    double wide[4];
    bool begins;
    fuzz_expect(sp_npz_text_begins(npz, name, "{\"program\":\"", &begins), SP_INPUT);
    if (fuzz_expect(sp_npz_read_texts(npz, name, &count, &stride, &texts), SP_INPUT))
        for (int64_t i = 0; i < count; i++)
            if (strlen(texts + (size_t)i * stride) >= stride)
                abort();
    free(texts);
    fuzz_expect(sp_npz_read_f64(npz, name, 4, wide), SP_INPUT);
    if (!fuzz_expect(sp_npz_inspect(npz, name, &type, &rank, dims), SP_INPUT))
        return;
    if (fuzz_expect(sp_npz_read_f32(npz, name, rank, dims, &value), SP_INPUT) && !value)
        abort();
    free(value);
}

void fuzz_npz(const uint8_t *data, size_t size)
{
    SpNpz *npz;
    char name[NAME];
    const char *path = fuzz_file(data, size);
    sp_npz_begins(path);
    if (!fuzz_expect(sp_npz_open(path, &npz), SP_INPUT))
        return;
    for (size_t i = 0; i < 16 && sp_npz_name(npz, i, name, sizeof name); i++)
        ask(npz, name);
    ask(npz, "x");
    sp_npz_close(npz);
}

/* Names of results, of geometry files, and of others. */
static const char *array_name(unsigned number)
{
    static const char *const others[] = {"unc_metric", "depth", "intrinsic", "extrinsic", "x"};
    return number < SP_ARRAYS ? sp_result_array_name((SpArrayId)number)
                              : others[(number - SP_ARRAYS) % 5];
}

/* A byte is an extent, but for some that are far too large. */
static int64_t extent(uint8_t byte)
{
    static const int64_t large[] = {1000001, INT64_C(1) << 31, INT64_C(1) << 40, INT64_C(1) << 62,
                                    INT64_MAX};
    return byte < 251 ? byte : large[byte - 251];
}

/* The bytes of an array: those given, over and over. */
static void put_bytes(SpNpzWriter *writer, const uint8_t *data, size_t size, uint64_t bytes)
{
    uint8_t block[4096] = {0};
    for (size_t i = 0; size && i < sizeof block; i++)
        block[i] = data[i % size];
    for (; bytes; bytes -= bytes < sizeof block ? bytes : sizeof block)
        sp_npz_write(writer, block, bytes < sizeof block ? (size_t)bytes : sizeof block);
}

/* One array: name, type, rank, extents, the number of bytes that are given, and these. */
static void put_array(SpNpzWriter *writer, const uint8_t **data, size_t *size)
{
    static const SpDtype types[] = {SP_F32, SP_F64, SP_U8, SP_I64, SP_F16, SP_I32, SP_BOOL};
    const char *name = array_name(fuzz_take(data, size));
    const SpDtype type = types[fuzz_take(data, size) % (sizeof types / sizeof *types)];
    const int rank = fuzz_take(data, size) % 6;
    int64_t dims[6];
    uint64_t bytes = sp_dtype_size(type);
    bool absurd = false, empty = false;
    for (int i = 0; i < rank; i++) {
        dims[i] = extent(fuzz_take(data, size));
        empty |= dims[i] == 0;
        absurd |= __builtin_mul_overflow(bytes, (uint64_t)dims[i], &bytes);
    }
    size_t given = fuzz_take(data, size);
    given = given < *size ? given : *size;
    if (empty || (!absurd && bytes <= MOST_BYTES)) {
        sp_npz_begin(writer, name, type, rank, dims);
        put_bytes(writer, *data, given, empty ? 0 : bytes);
    }
    *data += given;
    *size -= given;
}

/* Writes what a result would be written to, by a format that takes no folder and no video. */
static void write_from(SpResultFile *file, unsigned which)
{
    static const struct {
        SpProduct product;
        const char *name;
    } outputs[] = {{SP_PRODUCT_RESULT, "a.npz"},   {SP_PRODUCT_RESULT, "a.csv"},
                   {SP_PRODUCT_SCENE, "a.usda"},   {SP_PRODUCT_CAMERAS, "a.json"},
                   {SP_PRODUCT_CAMERAS, "a.chan"}, {SP_PRODUCT_CLOUD, "a.ply"},
                   {SP_PRODUCT_OVERLAY, "a.png"},  {SP_PRODUCT_VIEWER, "a.html"}};
    SpConsole console;
    SpAtomicFile to;
    which %= sizeof outputs / sizeof *outputs;
    const SpFormat *format = sp_format_of(outputs[which].product, outputs[which].name);
    if ((sp_format_needs(format) & ~file->has) != 0 ||
        (format->needs_tracks && file->result.tracks == 0))
        return;
    sp_console_open(&console, stderr, true, false, SP_PROGRESS_BAR);
    const SpOutput output = {.result = format->from_video ? &file->own : &file->result,
                             .input = "result.npz",
                             .reader = {.stride = 1, .max_frames = file->clip.frames},
                             .trail = 3,
                             .max_side = 64,
                             .viewer_size = 0.25,
                             .usd_cloud = (file->has & SP_PART_DEPTH) && file->clip.video,
                             .console = &console};
    if (!fuzz_expect(sp_atomic_open(fuzz_path(outputs[which].name), "-o", &to), SP_OUTPUT))
        return;
    fuzz_expect(format->write(&to, &output), SP_OUTPUT);
    sp_atomic_abandon(&to);
}

static void read_result(const char *path, unsigned which)
{
    SpResultFile file;
    if (fuzz_expect(sp_result_file_open(path, &file), SP_INPUT) &&
        fuzz_expect(sp_result_file_read(&file, SP_PART_ALL), SP_INPUT)) {
        file.result.version = file.result.version ? file.result.version : "{}";
        file.own.version = file.result.version;
        write_from(&file, which);
    }
    sp_result_file_close(&file);
}

static void read_geometry(const char *path)
{
    enum { T = 2, H = 6, W = 8 };
    static float depth[T * H * W], confidence[T * H * W], k[T * 9], c2w[T * 16];
    const SpGeometry out = {depth, confidence, k, c2w};
    fuzz_expect(sp_geometry_file_read(path, T, H, W, &out), SP_INPUT);
}

static void compare(const char *path)
{
    static const SpTolerances tolerances = {1, 0.01};
    static FILE *nowhere;
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    const SpStatus status = sp_compare(path, path, &tolerances, false, nowhere);
    if (status.code != SP_DIFFERENT)
        fuzz_expect(status, SP_INPUT);
}

/* The archive that these bytes describe. */
static const char *archive_of(const uint8_t *data, size_t size)
{
    SpNpzWriter *writer;
    const char *path = fuzz_file(NULL, 0);
    FILE *stream = fopen(path, "wb");
    if (!stream || sp_npz_create(stream, "archive", false, &writer).code != SP_OK)
        _Exit(99);
    for (int i = 0; i < 24 && size; i++)
        put_array(writer, &data, &size);
    sp_npz_finish(writer);
    sp_npz_discard(writer);
    fclose(stream);
    return path;
}

/* The first byte chooses what reads the archive that the others describe or, from 128 on, are. */
void fuzz_result(const uint8_t *data, size_t size)
{
    const unsigned reader = fuzz_take(&data, &size);
    const char *path = reader < 128 ? archive_of(data, size) : fuzz_file(data, size);
    if (reader % 16 == 15)
        read_geometry(path);
    else if (reader % 16 == 14)
        compare(path);
    else
        read_result(path, reader);
}
