/*
 * Each kernel of the CUDA backend, run on the CPU by tests/gpu/emulate, against the CPU backend on
 * small odd shapes: in float32, and the products and attentions in bf16 and f16 too. Each runs with
 * the threads of its blocks in both orders, which must not matter.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/emulate/device.h"
#include "gpu/ops.h"
#include "kernels/cuda/kernels.h"

static void close_to(const char *name, const float *ours, const float *cpu, int64_t count,
                     double tolerance)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)ours[i] - (double)cpu[i]) <= tolerance * fmax(1, fabs((double)cpu[i]))))
            fail_msg("%s, element %lld: %.9g, the CPU's %.9g", name, (long long)i, (double)ours[i],
                     (double)cpu[i]);
}

/* One case's result, from the same bytes before it. */
static float *result_of(const OpCase *c, SpDevice *device)
{
    float *y = op_noise("y", c->count);
    c->run(device, y);
    const SpStatus status = device->status(device);
    if (status.code != SP_OK)
        fail_msg("%s: %s", c->name, status.text);
    return y;
}

static void compare(const OpCase *c, SpDevice *cpu, SpDevice *emulated, double tolerance)
{
    float *exact = result_of(c, cpu);
    emulate_descending = false;
    float *ours = result_of(c, emulated);
    emulate_descending = true;
    float *descending = result_of(c, emulated);
    close_to(c->name, ours, exact, c->count, tolerance);
    if (memcmp(ours, descending, (size_t)c->count * sizeof *ours) != 0)
        fail_msg("%s: the order of threads changes the result", c->name);
    free(exact), free(ours), free(descending);
}

/* How often each op has been called through a table that counts. */
static struct {
#define COUNTER(op, type) int op;
    SP_EACH_OP(COUNTER)
} called;

#define COUNTED(op, type)                                                                          \
    static void counted_##op(SpDevice *device, const type *a)                                      \
    {                                                                                              \
        called.op++;                                                                               \
        sp_cuda_ops.op(device, a);                                                                 \
    }
SP_EACH_OP(COUNTED)

static void each_case(int major, SpPrecision precision)
{
    SpDevice *cpu, *emulated = emulated_open(major);
    assert_int_equal(sp_cpu_open(1, &cpu).code, SP_OK);
    emulated->set_precision(emulated, precision);
#define COUNT(op, type) .op = counted_##op,
    emulated->ops = (SpOps){SP_EACH_OP(COUNT)};
    for (size_t i = 0; op_case(i); i++) {
        const OpCase *c = op_case(i);
        const double tolerance = op_tolerance(c, precision);
        if (!c->slow && tolerance >= 0)
            compare(c, cpu, emulated, tolerance);
    }
    cpu->close(cpu);
    emulated->close(emulated);
}

static void f32_agrees(void **state)
{
    (void)state;
    each_case(8, SP_PRECISION_F32);
#define HAS_CASE(op, type)                                                                         \
    if (!called.op)                                                                                \
        fail_msg("no case of tests/gpu calls the op " #op);
    SP_EACH_OP(HAS_CASE)
}

static void bf16_agrees(void **state)
{
    (void)state;
    each_case(8, SP_PRECISION_BF16);
}

static void tf32_agrees(void **state)
{
    (void)state;
    each_case(8, SP_PRECISION_TF32);
}

/* 1 + 2^-12 does not fit TF32, which cards have from 8.0 on. */
static void tf32_is_what_rounds(void **state)
{
    (void)state;
    const struct {
        int major;
        SpPrecision precision;
        float expected;
    } cases[] = {{8, SP_PRECISION_F32, 1 + 0x1p-12f},
                 {8, SP_PRECISION_TF32, 1},
                 {7, SP_PRECISION_TF32, 1 + 0x1p-12f}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SpDevice *emulated = emulated_open(cases[i].major);
        const float x = 1 + 0x1p-12f, w = 1;
        float y = 0;
        emulated->set_precision(emulated, cases[i].precision);
        emulated->ops.linear(
            emulated,
            &(SpLinear){
                .x = &x, .rows = 1, .ldx = 1, .w = {&w, SP_F32, 2, {1, 1}}, .y = &y, .ldy = 1});
        assert_true(y == cases[i].expected);
        emulated->close(emulated);
    }
}

static void f16_stands_in_before_ampere(void **state)
{
    (void)state;
    each_case(7, SP_PRECISION_BF16);
}

/* Too many keys for copies in the scratch: the kernel reads the float32 arrays, to the same bits.
 */
static void keys_without_copies_are_the_same(void **state)
{
    (void)state;
    enum { N = 70, HEADS = 2, MAX_WIDTH = HEADS * 128 };
    float *qkv = op_noise("qkv", N * 3 * MAX_WIDTH), *copied = op_noise("y", N * MAX_WIDTH);
    float *direct = op_noise("y", N * MAX_WIDTH);
    for (int64_t head = 20; head <= 128; head += 54) {
        SpDevice *device = emulated_open(head > 64 ? 7 : 8);
        SpAttention a = {.batch = 1,
                         .nq = N,
                         .nk = N,
                         .heads = HEADS,
                         .head = head,
                         .scale = 0.3f,
                         .q = qkv,
                         .k = qkv + HEADS * head,
                         .v = qkv + 2 * HEADS * head,
                         .q_row = 3 * HEADS * head,
                         .k_row = 3 * HEADS * head,
                         .v_row = 3 * HEADS * head,
                         .y = copied,
                         .y_row = HEADS * head};
        device->set_precision(device, SP_PRECISION_BF16);
        device->ops.attention(device, &a);
        a.y = direct;
        sp_cuda_attention_mma(sp_cuda(device), &a, 0, HEADS, NULL, NULL);
        assert_memory_equal(copied, direct, N * MAX_WIDTH * sizeof *copied);
        device->close(device);
    }
    free(qkv), free(copied), free(direct);
}

/* A failure stays, and nothing is written after it. */
static void nothing_runs_after_a_failure(void **state)
{
    (void)state;
    SpDevice *emulated = emulated_open(8);
    float x[4] = {1, 2, 3, 4};
    /* A row of weights that no scratch holds. */
    emulated->set_precision(emulated, SP_PRECISION_BF16);
    emulated->ops.linear(emulated, &(SpLinear){.x = x,
                                               .rows = 1,
                                               .ldx = 4,
                                               .w = {x, SP_F32, 2, {1, (int64_t)1 << 30}},
                                               .y = x,
                                               .ldy = 4});
    assert_int_equal(emulated->status(emulated).code, SP_DEVICE);
    assert_memory_equal(emulated->status(emulated).text, "cuda: ", 6);
    emulated->ops.elementwise(emulated, &(SpElementwise){x, 4, 2.0f, NULL, 0, SP_IDENTITY, x});
    assert_true(x[0] == 1.0f);
    assert_int_equal(emulated->status(emulated).code, SP_DEVICE);
    emulated->close(emulated);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(f32_agrees),
        cmocka_unit_test(bf16_agrees),
        cmocka_unit_test(tf32_agrees),
        cmocka_unit_test(tf32_is_what_rounds),
        cmocka_unit_test(f16_stands_in_before_ampere),
        cmocka_unit_test(keys_without_copies_are_the_same),
        cmocka_unit_test(nothing_runs_after_a_failure),
    };
    return cmocka_run_group_tests_name("cuda kernels", cases, NULL, NULL);
}
