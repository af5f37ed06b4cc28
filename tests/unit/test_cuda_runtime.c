/*
 * Host side of the CUDA device (device.c, copy.c, prefetch.c) on an emulated runtime that does
 * everything as late as it may: copies between host and device, weights that come beside ops, and
 * each call of the runtime made to fail in turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/emulate/runtime.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/libraries.h"

/* ---- in place of kernels and libraries ---- */

const SpOps sp_cuda_ops = {.copy = sp_cuda_copy};

void sp_cuda_copy_rows(SpCuda *cuda, const SpCopy *a)
{
    (void)cuda, (void)a;
}

SpStatus sp_cuda_blas_open(SpCuda *cuda)
{
    (void)cuda;
    return sp_ok();
}

void sp_cuda_blas_close(SpCuda *cuda)
{
    (void)cuda;
}

SpStatus sp_cuda_dnn_open(SpCuda *cuda)
{
    (void)cuda;
    return sp_ok();
}

void sp_cuda_dnn_close(SpCuda *cuda)
{
    (void)cuda;
}

size_t sp_cuda_blas_version(void)
{
    return 0;
}

size_t sp_cuda_dnn_version(void)
{
    return 0;
}

/* ---- */

static void *memory_of(size_t bytes)
{
    void *memory = malloc(bytes);
    assert_non_null(memory);
    return memory;
}

static void fill(unsigned char *to, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        to[i] = (unsigned char)(seed >> 24);
    }
}

static SpDevice *open_device(void)
{
    SpDevice *device;
    runtime_fail_at(0);
    assert_string_equal(sp_cuda_open(0, &device).text, "");
    return device;
}

static void close_device(SpDevice *device)
{
    assert_string_equal(device->status(device).text, "");
    device->close(device);
    assert_int_equal(runtime_held(), 0);
}

typedef struct Shape {
    size_t bytes, rows, device_pitch, host_pitch;
} Shape;

/* Up and down again; the host's rows are overwritten as soon as the upload returns. */
static void there_and_back(SpDevice *device, const Shape *s)
{
    const size_t on_host = s->host_pitch * s->rows, on_device = s->device_pitch * s->rows;
    unsigned char *from = memory_of(on_host), *kept = memory_of(on_host), *to = memory_of(on_host);
    void *memory = device->alloc(device, on_device);
    assert_non_null(memory);
    fill(from, on_host, (unsigned)s->bytes);
    memcpy(kept, from, on_host);
    device->ops.copy(device, &(SpCopy){SP_UPLOAD, memory, s->device_pitch, from, s->host_pitch,
                                       s->bytes, s->rows});
    memset(from, 0xee, on_host);
    memset(to, 0, on_host);
    device->ops.copy(device, &(SpCopy){SP_DOWNLOAD, to, s->host_pitch, memory, s->device_pitch,
                                       s->bytes, s->rows});
    for (size_t r = 0; r < s->rows; r++) {
        assert_memory_equal(to + r * s->host_pitch, kept + r * s->host_pitch, s->bytes);
        for (size_t i = s->bytes; i < s->host_pitch; i++)
            assert_int_equal(to[r * s->host_pitch + i], 0);
    }
    device->free(device, memory, on_device);
    free(from), free(kept), free(to);
}

static void copies_of_all_shapes(void **state)
{
    (void)state;
    static const Shape shapes[] = {
        {1, 1, 1, 1},
        {36, 1, 36, 36},
        {100, 7, 100, 100},
        {100, 7, 128, 100},
        {100, 7, 100, 260},
        {8 << 20, 1, 8 << 20, 8 << 20},
        {(8 << 20) + 1, 1, (8 << 20) + 1, (8 << 20) + 1},
        {(25 << 20) + 12345, 1, (25 << 20) + 12345, (25 << 20) + 12345},
        {4096, 7001, 4096, 8192},
        {4096, 7001, 4096, 4096},
        {9 << 20, 2, 9 << 20, (9 << 20) + 64},
    };
    SpDevice *device = open_device();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        there_and_back(device, &shapes[i]);
    close_device(device);
}

/* Downloads for later are not waited for, hold what the device held when they were asked for, and
 * are there once the status has been: more of them than the buffers hold, and one that is larger.
 */
static void downloads_for_later_arrive(void **state)
{
    (void)state;
    enum { COUNT = 90, BYTES = 400000, LARGE = 20 << 20 };
    SpDevice *device = open_device();
    unsigned char *host = memory_of(LARGE), *back = memory_of((size_t)COUNT * BYTES + LARGE);
    char *memory = device->alloc(device, LARGE);
    memset(back, 0xee, (size_t)COUNT * BYTES);
    for (unsigned i = 0; i < COUNT; i++) {
        fill(host, BYTES, i);
        device->ops.copy(device, &(SpCopy){SP_UPLOAD, memory, BYTES, host, BYTES, BYTES, 1});
        device->ops.copy(device, &(SpCopy){SP_DOWNLOAD_LATER, back + (size_t)i * BYTES, BYTES / 4,
                                           memory, BYTES / 4, BYTES / 4, 4});
        assert_int_equal(back[(size_t)i * BYTES], 0xee);
    }
    device->ops.copy(device, &(SpCopy){SP_DOWNLOAD_LATER, back + (size_t)COUNT * BYTES, LARGE,
                                       memory, LARGE, LARGE, 1});
    assert_string_equal(device->status(device).text, "");
    for (unsigned i = 0; i < COUNT; i++) {
        fill(host, BYTES, i);
        assert_memory_equal(back + (size_t)i * BYTES, host, BYTES);
    }
    assert_memory_equal(back + (size_t)COUNT * BYTES, host, BYTES);
    device->free(device, memory, LARGE);
    free(host), free(back);
    close_device(device);
}

/* Many small uploads, none waited for, that fill the buffers several times over. */
static void small_uploads_one_behind_the_other(void **state)
{
    (void)state;
    enum { COUNT = 300, BYTES = 100000 };
    SpDevice *device = open_device();
    unsigned char *host = memory_of(BYTES), *back = memory_of((size_t)COUNT * BYTES);
    char *memory = device->alloc(device, (size_t)COUNT * BYTES);
    for (unsigned i = 0; i < COUNT; i++) {
        fill(host, BYTES, i);
        device->ops.copy(
            device, &(SpCopy){SP_UPLOAD, memory + (size_t)i * BYTES, BYTES, host, BYTES, BYTES, 1});
    }
    device->ops.copy(device, &(SpCopy){SP_DOWNLOAD, back, BYTES, memory, BYTES, BYTES, COUNT});
    for (unsigned i = 0; i < COUNT; i++) {
        fill(host, BYTES, i);
        assert_memory_equal(back + (size_t)i * BYTES, host, BYTES);
    }
    device->free(device, memory, 0);
    free(host), free(back);
    close_device(device);
}

enum { COUNT = (2 << 20) + 12345, FEW = 3000, ROUNDS = 6 };

/* Weights through both slots in turn, each added to y by an op; y's sum, or NULL after a failure.
 */
static float *stream_weights(SpDevice *device, const float *host, size_t count)
{
    const size_t bytes = count * sizeof(float);
    float *slot[SP_PREFETCH_SLOTS] = {0}, *y = device->alloc(device, bytes);
    float *back = memory_of(bytes);
    bool good = y != NULL;
    for (int s = 0; s < SP_PREFETCH_SLOTS; s++) {
        slot[s] = device->alloc(device, bytes);
        good = good && slot[s];
        device->release_slot(device, s);
    }
    if (good)
        device->prefetch(device, 0, slot[0], host, bytes);
    for (int i = 0; i < ROUNDS && good; i++) {
        const int s = i % SP_PREFETCH_SLOTS, next = (i + 1) % SP_PREFETCH_SLOTS;
        if (i + 1 < ROUNDS)
            device->prefetch(device, next, slot[next], host + (size_t)(i + 1) * count, bytes);
        device->wait_slot(device, s);
        if (sp_cuda_live(sp_cuda(device)))
            runtime_add(sp_cuda(device)->stream, y, slot[s], count);
        device->release_slot(device, s);
    }
    if (good)
        device->ops.copy(device, &(SpCopy){SP_DOWNLOAD, back, bytes, y, bytes, bytes, 1});
    for (int s = 0; s < SP_PREFETCH_SLOTS; s++)
        device->free(device, slot[s], bytes);
    device->free(device, y, bytes);
    if (good && device->status(device).code == SP_OK)
        return back;
    free(back);
    return NULL;
}

static float *weights(void)
{
    float *host = memory_of(ROUNDS * COUNT * sizeof *host);
    for (int64_t i = 0; i < ROUNDS * COUNT; i++)
        host[i] = (float)(i % 8191 + i / COUNT);
    return host;
}

static void weights_come_beside_ops(void **state)
{
    (void)state;
    float *host = weights();
    SpDevice *device = open_device();
    float *sum = stream_weights(device, host, COUNT);
    assert_non_null(sum);
    for (int64_t i = 0; i < COUNT; i++) {
        float exact = 0;
        for (int r = 0; r < ROUNDS; r++)
            exact += host[r * COUNT + i];
        assert_true(sum[i] == exact);
    }
    const double hidden = device->hidden_seconds(device);
    assert_true(hidden >= 0 && hidden < 1000);
    assert_true(device->hidden_seconds(device) == 0);
    free(sum), free(host);
    close_device(device);
}

/* Every call that can fail, first of opening, then of a run: one line, and nothing is left. */
static void each_failure_leaves_nothing(void **state)
{
    (void)state;
    float *host = weights();
    SpDevice *device;
    runtime_fail_at(0);
    assert_int_equal(sp_cuda_open(0, &device).code, SP_OK);
    const long opening = runtime_calls();
    free(stream_weights(device, host, FEW));
    const long all = runtime_calls();
    device->close(device);
    assert_true(opening > 100 && all > opening + 30);
    for (long call = 1; call <= all; call += call < 30 || call > opening - 5 ? 1 : 9) {
        runtime_fail_at(call);
        float *sum = NULL;
        SpStatus status = sp_cuda_open(0, &device);
        if (status.code == SP_OK) {
            sum = stream_weights(device, host, FEW);
            status = device->status(device);
            device->close(device);
        }
        /* The last call counted may have been the copying thread's own, which comes when it likes:
         * then it is the run's first allocation that fails here, and there is no sum. */
        const bool reported = status.code == SP_MEMORY || status.code == SP_DEVICE;
        if (call <= opening)
            assert_true(reported || (call == opening && !sum));
        free(sum);
        assert_int_equal(runtime_held(), 0);
    }
    runtime_fail_at(0);
    free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_of_all_shapes),
        cmocka_unit_test(small_uploads_one_behind_the_other),
        cmocka_unit_test(downloads_for_later_arrive),
        cmocka_unit_test(weights_come_beside_ops),
        cmocka_unit_test(each_failure_leaves_nothing),
    };
    return cmocka_run_group_tests_name("cuda runtime", tests, NULL, NULL);
}
