#include "support/golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/tensor.h"

enum { MAX_CONVERTED = 256 };

struct Golden {
    SpSafetensors *file;
    float *converted[MAX_CONVERTED];
    int count;
};

Golden *golden_open(const char *relative)
{
    const char *folder = getenv("SP_GOLDEN_DIR");
    if (!folder)
        fail_msg("SP_GOLDEN_DIR is not set; run the tests through meson");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, relative);
    Golden *golden = calloc(1, sizeof *golden);
    assert_non_null(golden);
    const SpStatus status = sp_safetensors_open(path, SP_INPUT, &golden->file);
    if (status.code != SP_OK)
        fail_msg("%s", status.text);
    return golden;
}

void golden_close(Golden *golden)
{
    for (int i = 0; i < golden->count; i++)
        free(golden->converted[i]);
    sp_safetensors_close(golden->file);
    free(golden);
}

bool golden_has(Golden *golden, const char *name)
{
    return sp_safetensors_find(golden->file, name) != NULL;
}

const SpTensor *golden_tensor(Golden *golden, const char *name)
{
    const SpTensor *tensor = sp_safetensors_find(golden->file, name);
    if (!tensor)
        fail_msg("the golden has no tensor %s", name);
    return tensor;
}

const float *golden_f32(Golden *golden, const char *name, int64_t *count)
{
    const SpTensor *t = golden_tensor(golden, name);
    const int64_t n = sp_tensor_count(t);
    float *out = malloc((size_t)(n ? n : 1) * sizeof *out);
    assert_non_null(out);
    assert_true(golden->count < MAX_CONVERTED);
    golden->converted[golden->count++] = out;
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)sp_tensor_at(t, i);
    if (count)
        *count = n;
    return out;
}

const char *golden_meta(Golden *golden, const char *key)
{
    const char *text = sp_safetensors_metadata(golden->file, key);
    if (!text)
        fail_msg("the golden's metadata has no %s", key);
    return text;
}

int64_t golden_stride(Golden *golden, const char *name)
{
    char key[160];
    snprintf(key, sizeof key, "stride.%s", name);
    const char *text = sp_safetensors_metadata(golden->file, key);
    return text ? atoll(text) : 1;
}

static double worst(Golden *golden, const char *name, const float *ours, int64_t *where,
                    double *scale)
{
    int64_t n;
    const float *theirs = golden_f32(golden, name, &n);
    const int64_t stride = golden_stride(golden, name);
    double error = 0, largest = 1;
    *where = 0;
    for (int64_t i = 0; i < n; i++) {
        const double e = fabs((double)ours[i * stride] - (double)theirs[i]);
        if (!(e <= error)) {
            error = isnan(e) ? INFINITY : e;
            *where = i;
        }
        largest = fmax(largest, fabs((double)theirs[i]));
    }
    *scale = largest;
    return error / largest;
}

double golden_error(Golden *golden, const char *name, const float *ours)
{
    int64_t where;
    double scale;
    return worst(golden, name, ours, &where, &scale);
}

void golden_compare(Golden *golden, const char *name, const float *ours, double tolerance)
{
    int64_t where;
    double scale;
    const double error = worst(golden, name, ours, &where, &scale);
    if (getenv("SP_GOLDEN_VERBOSE"))
        print_message("# %-40s %.2e of %.0e\n", name, error, tolerance);
    if (error > tolerance)
        fail_msg("%s: error %.3g above %.3g at %lld: ours %.9g, golden %.9g (largest %.3g)", name,
                 error, tolerance, (long long)where,
                 (double)ours[where * golden_stride(golden, name)],
                 sp_tensor_at(golden_tensor(golden, name), where), scale);
}

double golden_share_within(Golden *golden, const char *name, const float *ours, double limit)
{
    int64_t n, good = 0;
    const float *theirs = golden_f32(golden, name, &n);
    for (int64_t i = 0; i < n; i++)
        good += fabs((double)ours[i] - (double)theirs[i]) <= limit;
    return n ? (double)good / (double)n : 1;
}

const char *golden_name(const char *unit, const char *part)
{
    static char name[2][80];
    static int turn;
    turn = !turn;
    snprintf(name[turn], sizeof name[turn], "%s.%s", unit, part);
    return name[turn];
}

float *golden_zeros(int64_t count)
{
    float *x = calloc((size_t)count, sizeof *x);
    assert_non_null(x);
    return x;
}

float *golden_channels_first(const float *x, int64_t n, int64_t pixels, int64_t c)
{
    float *y = golden_zeros(n * pixels * c);
    for (int64_t i = 0; i < n * pixels * c; i++)
        y[(i / c / pixels * c + i % c) * pixels + i / c % pixels] = x[i];
    return y;
}
