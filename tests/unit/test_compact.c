/* The compact copy for bf16 devices. */
#include <fcntl.h>
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
#include "store/checkpoint.h"
#include "store/compact.h"
#include "support/synth.h"

static char folder[] = "/tmp/spatrack-compact-XXXXXX";

static char *path(const char *name)
{
    static char out[4][200];
    static int next;
    char *at = out[next++ % 4];
    snprintf(at, sizeof out[0], "%s/%s", folder, name);
    return at;
}

static int make_source(void **state)
{
    (void)state;
    char manifest[4096];
    assert_non_null(mkdtemp(folder));
    snprintf(manifest, sizeof manifest, "%s/manifest/front_tiny.json", getenv("SP_GOLDEN_DIR"));
    return (int)synth_checkpoint(manifest, folder, SP_F32).code;
}

static int remove_source(void **state)
{
    (void)state;
    unlink(path("model.safetensors")), unlink(path("config.json")), unlink(path(SP_COMPACT_NAME));
    return rmdir(folder);
}

static void write_copy(void)
{
    size_t bytes;
    FILE *stream = fopen(path(SP_COMPACT_NAME), "wb");
    assert_non_null(stream);
    assert_string_equal(sp_compact_write(folder, stream, &bytes).text, "");
    assert_int_equal(fclose(stream), 0);
    struct stat copy, source;
    assert_int_equal(stat(path(SP_COMPACT_NAME), &copy), 0);
    assert_int_equal(stat(path("model.safetensors"), &source), 0);
    assert_int_equal(copy.st_size, bytes);
    assert_true(bytes > 1000000 && copy.st_size < source.st_size / 2);
}

static SpCheckpoint *open_compact(void)
{
    SpCheckpoint *checkpoint;
    assert_string_equal(sp_checkpoint_open(folder, &checkpoint).text, "");
    assert_string_equal(sp_checkpoint_use_compact(checkpoint).text, "");
    return checkpoint;
}

static const char matrix[] = "aggregator.frame_blocks.1.mlp.fc1.weight";
static const char camera[] = "camera_head.trunk.0.mlp.fc1.weight";
static const char *const others[] = {
    "aggregator.frame_blocks.1.mlp.fc1.bias", "camera_head.embed_pose.weight",
    "camera_head.pose_branch.fc2.weight", "aggregator.patch_embed.patch_embed.proj.weight"};

static void matrices_of_the_transformers_are_rounded(void **state)
{
    (void)state;
    SpCheckpoint *plain;
    write_copy();
    SpCheckpoint *compact = open_compact();
    assert_string_equal(sp_checkpoint_open(folder, &plain).text, "");
    const SpTensor *a = sp_checkpoint_find(plain, matrix), *b = sp_checkpoint_find(compact, matrix);
    assert_int_equal(a->dtype, SP_F32);
    assert_int_equal(b->dtype, SP_BF16);
    for (int64_t i = 0; i < sp_tensor_count(a); i++) {
        const double exact = sp_tensor_at(a, i), got = sp_tensor_at(b, i);
        assert_true(got == (double)sp_bf16_to_f32(sp_f32_to_bf16((float)exact)));
        assert_true(got - exact <= 0x1p-8 * (exact < 0 ? -exact : exact));
    }
    a = sp_checkpoint_find(plain, camera), b = sp_checkpoint_find(compact, camera);
    assert_int_equal(b->dtype, SP_F16);
    for (int64_t i = 0; i < sp_tensor_count(a); i++) {
        const double exact = sp_tensor_at(a, i), got = sp_tensor_at(b, i);
        assert_true(fabs(got - exact) <= 0x1p-11 * fmax(fabs(exact), 0x1p-14));
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(sp_checkpoint_find(compact, others[i])->dtype, SP_F32);
    sp_checkpoint_close(plain);
    sp_checkpoint_close(compact);
}

static void a_copy_of_something_else_is_not_used(void **state)
{
    (void)state;
    write_copy();
    assert_true(sp_compact_is_current(folder));
    const struct timespec later[2] = {{1700000000, 5}, {1700000000, 5}};
    assert_int_equal(utimensat(AT_FDCWD, path("model.safetensors"), later, 0), 0);
    assert_false(sp_compact_is_current(folder));
    SpCheckpoint *checkpoint = open_compact();
    assert_int_equal(sp_checkpoint_find(checkpoint, matrix)->dtype, SP_F32);
    sp_checkpoint_close(checkpoint);
    write_copy();
    assert_true(sp_compact_is_current(folder));
}

static void a_damaged_copy_is_named(void **state)
{
    (void)state;
    SpCheckpoint *checkpoint;
    write_copy();
    assert_int_equal(truncate(path(SP_COMPACT_NAME), 100000), 0);
    assert_string_equal(sp_checkpoint_open(folder, &checkpoint).text, "");
    const SpStatus status = sp_checkpoint_use_compact(checkpoint);
    assert_int_equal(status.code, SP_CHECKPOINT);
    assert_non_null(strstr(status.text, SP_COMPACT_NAME));
    sp_checkpoint_close(checkpoint);
}

static void the_copy_names_its_source(void **state)
{
    (void)state;
    SpSafetensors *copy;
    struct stat source;
    char size[32];
    write_copy();
    assert_int_equal(stat(path("model.safetensors"), &source), 0);
    snprintf(size, sizeof size, "%lld", (long long)source.st_size);
    assert_int_equal(sp_compact_open(folder, &copy).code, SP_OK);
    assert_string_equal(sp_safetensors_metadata(copy, "source_size"), size);
    sp_safetensors_close(copy);
}

static void rounding_is_to_the_nearest_even(void **state)
{
    (void)state;
    static const uint32_t from[] = {0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff,
                                    0x7f800000, 0x7f800001, 0x80000000, 0xff800000};
    static const uint16_t to[] = {0x3f80, 0x3f82, 0x3f81, 0x3f80, 0x7f80,
                                  0x7f80, 0x7fc0, 0x8000, 0xff80};
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        assert_int_equal(sp_f32_to_bf16(sp_float_from_bits(from[i])), to[i]);
}

/* Every half survives the way to float32 and back, and what lies half-way goes to the even one. */
static void halves_are_rounded_to_the_nearest_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const float value = sp_f16_to_f32((uint16_t)bits);
        if (isnan(value))
            assert_true(isnan(sp_f16_to_f32(sp_f32_to_f16(value))));
        else
            assert_int_equal(sp_f32_to_f16(value), bits);
    }
    for (uint32_t bits = 0; bits < 0x7bff; bits++) {
        const float here = sp_f16_to_f32((uint16_t)bits),
                    next = sp_f16_to_f32((uint16_t)(bits + 1));
        assert_int_equal(sp_f32_to_f16((here + next) / 2), bits + (bits & 1));
    }
    assert_int_equal(sp_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(sp_f32_to_f16(-65520.0f), 0xfc00);
    assert_int_equal(sp_f32_to_f16(0x1p-25f), 0);
    assert_int_equal(sp_f32_to_f16(0x1.8p-25f), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_is_to_the_nearest_even),
        cmocka_unit_test(halves_are_rounded_to_the_nearest_even),
        cmocka_unit_test(matrices_of_the_transformers_are_rounded),
        cmocka_unit_test(a_copy_of_something_else_is_not_used),
        cmocka_unit_test(the_copy_names_its_source),
        cmocka_unit_test(a_damaged_copy_is_named),
    };
    return cmocka_run_group_tests_name("compact", tests, make_source, remove_source);
}
