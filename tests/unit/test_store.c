/* Checkpoints: what is read from good files, and one line for every kind of bad one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/half.h"
#include "lite/embedded.h"
#include "store/checkpoint.h"
#include "store/locate.h"
#include "store/registry.h"
#include "support/scratch.h"

static void write_text(const char *name, const char *text)
{
    file_write(scratch_path(name), text, strlen(text));
}

/* A safetensors file of that header and `bytes` bytes of data 0, 1, 2, ...; returns its size. */
static size_t write_tensors(const char *name, const char *header, size_t bytes)
{
    static unsigned char file[8192];
    const uint64_t length = strlen(header);
    assert_true(8 + length + bytes <= sizeof file);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < bytes; i++)
        file[8 + length + i] = (unsigned char)i;
    file_write(scratch_path(name), file, 8 + length + bytes);
    return 8 + length + bytes;
}

static const char good[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                           "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[24,28]},"
                           "\"c\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[28,30]},"
                           "\"__metadata__\":{\"note\":\"hello\"}}";

static void a_good_file_is_read(void **state)
{
    (void)state;
    SpSafetensors *file;
    write_tensors("good.safetensors", good, 30);
    assert_int_equal(sp_safetensors_open(scratch_path("good.safetensors"), SP_INPUT, &file).code,
                     SP_OK);
    assert_int_equal(sp_safetensors_count(file), 3);
    const SpTensor *a = sp_safetensors_find(file, "a"), *b = sp_safetensors_find(file, "b");
    assert_true(a->rank == 2 && a->dim[0] == 2 && a->dim[1] == 3 && a->dtype == SP_F32);
    assert_true(b->dtype == SP_F16 && ((const unsigned char *)b->data)[0] == 24);
    assert_int_equal(sp_safetensors_find(file, "c")->rank, 0);
    assert_null(sp_safetensors_find(file, "d"));
    assert_string_equal(sp_safetensors_metadata(file, "note"), "hello");
    sp_safetensors_close(file);
}

static void half_numbers_are_exact(void **state)
{
    (void)state;
    assert_true(sp_f16_to_f32(0x3c00) == 1 && sp_f16_to_f32(0xc000) == -2);
    assert_true(sp_f16_to_f32(0x0001) == 0x1p-24f && sp_f16_to_f32(0x7bff) == 65504);
    assert_true(isinf(sp_f16_to_f32(0x7c00)) && isnan(sp_f16_to_f32(0x7e00)));
    assert_true(sp_bf16_to_f32(0x3f80) == 1 && sp_bf16_to_f32(0xc040) == -3);
}

/* Opening fails with the given code, in one line with the file's name and `text`. */
static void refuse(const char *name, const char *text)
{
    SpSafetensors *file;
    const SpStatus status = sp_safetensors_open(scratch_path(name), SP_CHECKPOINT, &file);
    if (status.code == SP_OK)
        fail_msg("%s was accepted", name);
    assert_int_equal(status.code, SP_CHECKPOINT);
    assert_null(file);
    if (!strstr(status.text, name) || !strstr(status.text, text) || strchr(status.text, '\n'))
        fail_msg("\"%s\" does not name %s and \"%s\"", status.text, name, text);
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
#define TENSOR(shape, dtype, offsets)                                                              \
    "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
    static const struct {
        const char *header, *text;
    } cases[] = {
        {"", ""},
        {"[]", ""},
        {"{\"w\":", ""},
        {"{\"w\":3}", "w"},
        {TENSOR("[2]", "F32", "[0,12]"), "w"}, /* 12 bytes for 2 floats */
        {TENSOR("[3]", "F32", "[0,16]"), "w"},
        {TENSOR("[3]", "F32", "[4,8]"), "w"},
        {TENSOR("[3]", "F32", "[8,4]"), "w"},
        {TENSOR("[3]", "F32", "[-4,8]"), "w"},
        {TENSOR("[3]", "F32", "[0,1e300]"), "w"},
        {TENSOR("[3]", "F32", "[0]"), "w"},
        {TENSOR("[30]", "F32", "[0,120]"), "w"}, /* beyond the file */
        {TENSOR("[-3]", "F32", "[0,12]"), "w"},
        {TENSOR("[1.5,2]", "F32", "[0,12]"), "w"},
        {TENSOR("[4294967296,4294967296]", "F32", "[0,0]"), "w"},
        {TENSOR("[1,1,1,1,1,1,1,1,1]", "F32", "[0,4]"), "w"},
        {TENSOR("\"3\"", "F32", "[0,12]"), "w"},
        {TENSOR("[3]", "F7", "[0,12]"), "w"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"v\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         ""}, /* overlap */
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         "w"}, /* twice */
    };
#undef TENSOR
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_tensors("bad.safetensors", cases[i].header, 12);
        refuse("bad.safetensors", cases[i].text);
    }
}

static void cut_files_are_refused(void **state)
{
    (void)state;
    static unsigned char bytes[8192];
    const size_t size = write_tensors("whole.safetensors", good, 30);
    FILE *file = fopen(scratch_path("whole.safetensors"), "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, sizeof bytes, file), size);
    fclose(file);
    for (size_t cut = 0; cut < size; cut++) {
        file_write(scratch_path("cut.safetensors"), bytes, cut);
        refuse("cut.safetensors", "");
    }
    for (int high = 1; high < 256; high *= 2) { /* a header longer than the file */
        bytes[7] = (unsigned char)high;
        file_write(scratch_path("long.safetensors"), bytes, size);
        refuse("long.safetensors", "header");
    }
    refuse("none.safetensors", "No such file");
}

/* Every byte of the header turned over: no crash, and the answer is a file or one line. */
static void damaged_headers_do_no_harm(void **state)
{
    (void)state;
    static unsigned char bytes[8192];
    const size_t header = strlen(good);
    for (size_t at = 0; at < 8 + header; at++)
        for (int bit = 0; bit < 8; bit += 3) {
            const uint64_t length = header;
            SpSafetensors *file;
            memcpy(bytes, &length, 8);
            memcpy(bytes + 8, good, header);
            bytes[at] ^= (unsigned char)(1 << bit);
            const SpStatus status =
                sp_safetensors_open_memory(bytes, 8 + header + 30, "it", SP_CHECKPOINT, &file);
            assert_true(status.code == SP_OK || status.code == SP_CHECKPOINT);
            sp_safetensors_close(file);
        }
}

static void not_a_number_is_data(void **state)
{
    (void)state;
    static const char header[] =
        "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}    ";
    unsigned char bytes[200];
    const uint64_t length = sizeof header - 1;
    const float nan = NAN;
    SpSafetensors *file;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    memcpy(bytes + 8 + length, &nan, 4);
    assert_int_equal(
        sp_safetensors_open_memory(bytes, 12 + length, "it", SP_CHECKPOINT, &file).code, SP_OK);
    assert_true(isnan(sp_tensor_at(sp_safetensors_find(file, "w"), 0)));
    sp_safetensors_close(file);
}

static SpStatus open_checkpoint(SpCheckpoint **checkpoint)
{
    return sp_checkpoint_open(scratch_path("model"), checkpoint);
}

static void refuse_checkpoint(const char *text)
{
    SpCheckpoint *checkpoint;
    const SpStatus status = open_checkpoint(&checkpoint);
    assert_int_equal(status.code, SP_CHECKPOINT);
    if (!strstr(status.text, text) || strchr(status.text, '\n'))
        fail_msg("\"%s\" does not say \"%s\"", status.text, text);
}

static const char shard_a[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
static const char shard_b[] = "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";

static void shards_are_found(void **state)
{
    (void)state;
    SpCheckpoint *checkpoint;
    assert_int_equal(mkdir(scratch_path("model"), 0777), 0);
    refuse_checkpoint("model.safetensors");
    write_tensors("model/1.safetensors", shard_a, 4);
    write_tensors("model/2.safetensors", shard_b, 4);
    write_text("model/model.safetensors.index.json",
               "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}");
    assert_int_equal(open_checkpoint(&checkpoint).code, SP_OK);
    assert_non_null(sp_checkpoint_find(checkpoint, "a"));
    assert_non_null(sp_checkpoint_find(checkpoint, "b"));
    sp_checkpoint_close(checkpoint);
    static const char *const bad[][2] = {
        {"{\"weight_map\":{\"a\":\"../model/1.safetensors\"}}", "names no shard"},
        {"{\"weight_map\":{\"a\":\"3.safetensors\"}}", "3.safetensors"},
        {"{\"weight_map\":{\"c\":\"1.safetensors\"}}", "tensor c"},
        {"{\"weight_map\":{\"a\":1}}", "tensor a"},
        {"{\"weight_map\":{}}", "weight_map"},
        {"{}", "weight_map"},
        {"{\"weight_map\":", "index.json"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text("model/model.safetensors.index.json", bad[i][0]);
        refuse_checkpoint(bad[i][1]);
    }
    unlink(scratch_path("model/model.safetensors.index.json"));
}

/* An index names files of its folder: a link may lead to another one there, and nowhere else. */
static void shards_stay_in_their_folder(void **state)
{
    (void)state;
    SpCheckpoint *checkpoint;
    static const struct {
        const char *link, *to, *text; /* text NULL: it is followed */
    } cases[] = {{"inside", "1.safetensors", NULL},
                 {"round", "../model/1.safetensors", NULL},
                 {"beside", "../shard.safetensors", "a link out of its folder"},
                 {"neighbour", "../model-2/1.safetensors", "a link out of its folder"},
                 {"program", "/proc/self/exe", "a link out of its folder"},
                 {"device", "/dev/zero", "a link out of its folder"},
                 {"itself", "itself", "itself"},
                 {"nothing", "nowhere", "nothing"}};
    write_tensors("shard.safetensors", shard_a, 4);
    assert_int_equal(mkdir(scratch_path("model-2"), 0777), 0);
    write_tensors("model-2/1.safetensors", shard_a, 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[64], text[200];
        snprintf(path, sizeof path, "model/%s", cases[i].link);
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", cases[i].link);
        write_text("model/model.safetensors.index.json", text);
        assert_int_equal(symlink(cases[i].to, scratch_path(path)), 0);
        if (cases[i].text) {
            refuse_checkpoint(cases[i].text);
        } else {
            assert_int_equal(open_checkpoint(&checkpoint).code, SP_OK);
            sp_checkpoint_close(checkpoint);
        }
        unlink(scratch_path(path));
    }
    static const char *const names[] = {"..", ".", "", "./1.safetensors", "/etc/passwd", "a/../1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        write_text("model/model.safetensors.index.json", text);
        refuse_checkpoint(i < 2 ? "" : "names no shard");
    }
    unlink(scratch_path("model/model.safetensors.index.json"));
}

/* A pipe without a writer is not waited for. */
static void pipes_are_no_checkpoints(void **state)
{
    (void)state;
    SpSafetensors *file;
    assert_int_equal(mkdir(scratch_path("pipes"), 0777), 0);
    assert_int_equal(mkfifo(scratch_path("pipes/model.safetensors"), 0666), 0);
    assert_int_equal(
        sp_safetensors_open(scratch_path("pipes/model.safetensors"), SP_CHECKPOINT, &file).code,
        SP_CHECKPOINT);
    assert_int_equal(mkfifo(scratch_path("model/model.safetensors.index.json"), 0666), 0);
    refuse_checkpoint("not a JSON object");
    unlink(scratch_path("model/model.safetensors.index.json"));
}

static void models_bind_what_they_need(void **state)
{
    (void)state;
    SpCheckpoint *checkpoint;
    write_tensors("model/model.safetensors", good, 30);
    write_text("model/config.json",
               "{\"depth\":3,\"deep\":{\"er\":5},\"taps\":[1,2],\"word\":\"x\"}");
    assert_int_equal(open_checkpoint(&checkpoint).code, SP_OK);
    SpBinder b = {.checkpoint = checkpoint};
    int64_t taps[2];
    assert_true(sp_bind_number(&b, "depth", 9, 0, 10) == 3);
    assert_true(sp_bind_number(&b, "deep.er", 9, 0, 10) == 5);
    assert_true(sp_bind_number(&b, "deep.est", 9, 0, 10) == 9);
    assert_true(sp_bind_numbers(&b, "taps", 2, taps) && taps[1] == 2);
    const SpTensor a = sp_bind_weights(&b, 2, SP_DIMS(2, -1), "%s", "a");
    assert_int_equal(a.dim[1], 3);
    assert_int_equal(sp_checkpoint_bound_bytes(checkpoint), 6 * sizeof(float));
    assert_int_equal(sp_bind_dim(&b, 0, 1, SP_DIMS(-1), "b"), 2); /* asked, not bound */
    assert_int_equal(sp_checkpoint_bound_bytes(checkpoint), 6 * sizeof(float));
    const float *half = sp_bind_floats(&b, 2, "b");
    assert_int_equal(sp_checkpoint_bound_bytes(checkpoint), 6 * sizeof(float) + 4);
    assert_true(half[0] == sp_f16_to_f32(0x1918) && half[1] == sp_f16_to_f32(0x1b1a));
    assert_int_equal(b.status.code, SP_OK);
    assert_true(sp_bind_has(&b, "c") && !sp_bind_has(&b, "d"));
    const struct {
        SpBinder binder;
        const char *text;
    } bad[] = {{{checkpoint, {0}}, "a has"},
               {{checkpoint, {0}}, "lacks tensor d"},
               {{checkpoint, {0}}, "depth"},
               {{checkpoint, {0}}, "word"},
               {{checkpoint, {0}}, "a has shape [2,3], not [any]"}};
    for (int i = 0; i < 5; i++) {
        SpBinder binder = bad[i].binder;
        if (i == 0)
            sp_bind_weights(&binder, 2, SP_DIMS(3, 3), "a");
        else if (i == 1)
            sp_bind_floats(&binder, 2, "d");
        else if (i == 4)
            assert_int_equal(sp_bind_dim(&binder, 0, 1, SP_DIMS(-1), "a"), 0);
        else
            sp_bind_number(&binder, i == 2 ? "depth" : "word", 1, 4, 10);
        assert_int_equal(binder.status.code, SP_CHECKPOINT);
        if (!strstr(binder.status.text, bad[i].text) || !strstr(binder.status.text, "model"))
            fail_msg("\"%s\" does not say \"%s\"", binder.status.text, bad[i].text);
    }
    sp_checkpoint_close(checkpoint);
    write_text("model/config.json", "[]");
    refuse_checkpoint("config.json");
    unlink(scratch_path("model/config.json"));
    assert_int_equal(open_checkpoint(&checkpoint).code, SP_OK);
    sp_checkpoint_close(checkpoint);
}

static void expect_located(const char *weights, const char *where)
{
    SpLocated located;
    assert_int_equal(sp_weights_locate(weights, SP_MODEL_FRONT, &located).code, SP_OK);
    assert_string_equal(located.where, where);
}

static void the_nearest_weights_are_taken(void **state)
{
    (void)state;
    SpLocated located;
    char path[200];
    snprintf(path, sizeof path,
             "cd %s && mkdir -p data/spatrack/weights && cp -r model front && "
             "cp -r model data/spatrack/weights/front",
             scratch_folder());
    assert_int_equal(system(path), 0);
    unsetenv("SPATRACK_WEIGHTS");
    setenv("HOME", "/none", 1);
    setenv("XDG_DATA_HOME", scratch_path("nothing"), 1);
    expect_located(NULL, "built in");
    setenv("XDG_DATA_HOME", scratch_path("data"), 1);
    expect_located(NULL, "$XDG_DATA_HOME");
    setenv("SPATRACK_WEIGHTS", scratch_folder(), 1);
    expect_located(NULL, "$SPATRACK_WEIGHTS");
    expect_located(scratch_folder(), "--weights");
    SpStatus status = sp_weights_locate("/none", SP_MODEL_FRONT, &located);
    assert_int_equal(status.code, SP_CHECKPOINT);
    assert_non_null(strstr(status.text, "make -f weights.mk front DEST=/none"));
    setenv("SPATRACK_WEIGHTS", "/none", 1);
    assert_int_equal(sp_weights_locate(NULL, SP_MODEL_FRONT, &located).code, SP_CHECKPOINT);
}

static void built_in_weights_open(void **state)
{
    (void)state;
    for (SpModelId id = SP_MODEL_FRONT; id <= SP_MODEL_ONLINE; id++) {
        const SpLocated located = {.model = id, .embedded = true};
        SpCheckpoint *checkpoint;
        SpSafetensors *file;
        size_t size;
        assert_int_equal(sp_weights_open(&located, &checkpoint).code, SP_OK);
        sp_checkpoint_close(checkpoint);
        const void *data = sp_embedded((SpLiteWeights)sp_model_info(id)->builtin, &size);
        assert_int_equal(sp_safetensors_open_memory(data, size, "", SP_INPUT, &file).code, SP_OK);
        assert_non_null(sp_safetensors_metadata(file, "trained"));
        sp_safetensors_close(file);
    }
    SpCheckpoint *none;
    const SpLocated huge = {.model = SP_MODEL_SAM_HUGE, .embedded = true};
    assert_int_equal(sp_weights_open(&huge, &none).code, SP_CHECKPOINT);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_good_file_is_read),
        cmocka_unit_test(half_numbers_are_exact),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(damaged_headers_do_no_harm),
        cmocka_unit_test(not_a_number_is_data),
        cmocka_unit_test(shards_are_found),
        cmocka_unit_test(shards_stay_in_their_folder),
        cmocka_unit_test(pipes_are_no_checkpoints),
        cmocka_unit_test(models_bind_what_they_need),
        cmocka_unit_test(the_nearest_weights_are_taken),
        cmocka_unit_test(built_in_weights_open),
    };
    return cmocka_run_group_tests_name("store", cases, scratch_make, scratch_remove);
}
