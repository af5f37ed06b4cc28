/*
 * cuBLASLt and cuDNN as blas.c and dnn.c use them, by libraries that compute on the CPU
 * (tests/gpu/standin): what happens when one refuses a call, or has no room left for a shape. What
 * they compute is held against the CPU by `unit cuda script`.
 */
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/ops.h"
#include "gpu/scope.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/libraries.h"

enum { NOT_SUPPORTED = 15, ALLOC_FAILED = 3, EXECUTION_FAILED = 13 };

static SpDevice *open_device(void)
{
    SpDevice *device;
    assert_string_equal(sp_cuda_open(0, &device).text, "");
    return device;
}

/* What the library's next call returns. */
static void refuse(const char *library, const char *what, int status)
{
    void *loaded = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(loaded);
    int *refuses = dlsym(loaded, what);
    assert_non_null(refuses);
    *refuses = status;
    dlclose(loaded);
}

static void refuse_product(int status)
{
    refuse("libcublasLt.so.13", "standin_blas_refuses", status);
}

/* y [ROWS, OUTS] = x w^T; returns the largest difference from a sum in double. */
enum { ROWS = 5, OUTS = 8 };
static double product(SpDevice *device, int64_t in)
{
    Scope s = {.device = device};
    float *x = op_noise("x", ROWS * in), *w = op_noise("w", OUTS * in), y[ROWS * OUTS];
    float *out = put_noise(&s, "y", ROWS * OUTS);
    device->ops.linear(device,
                       &(SpLinear){.x = put_noise(&s, "x", ROWS * in),
                                   .rows = ROWS,
                                   .ldx = in,
                                   .w = {put_noise(&s, "w", OUTS * in), SP_F32, 2, {OUTS, in}},
                                   .y = out,
                                   .ldy = OUTS});
    get(&s, out, y, ROWS * OUTS);
    double worst = 0;
    for (int64_t i = 0; i < ROWS * OUTS; i++) {
        double sum = 0;
        for (int64_t k = 0; k < in; k++)
            sum += (double)x[i / OUTS * in + k] * (double)w[i % OUTS * in + k];
        worst = fmax(worst, fabs(sum - (double)y[i]));
    }
    end(&s);
    free(x), free(w);
    return worst;
}

static void a_refused_product_is_ours_from_then_on(void **state)
{
    (void)state;
    SpDevice *device = open_device();
    assert_true(product(device, 36) < 1e-5);
    assert_int_equal(sp_cuda(device)->own_gemms, 0);
    refuse_product(NOT_SUPPORTED);
    assert_true(product(device, 36) < 1e-5);
    assert_true(product(device, 36) < 1e-5);
    assert_int_equal(sp_cuda(device)->own_gemms, 2);
    assert_string_equal(device->status(device).text, "");
    device->close(device);
}

static void a_failed_product_fails_the_device(void **state)
{
    (void)state;
    const struct {
        int status;
        SpCode code;
    } cases[] = {{EXECUTION_FAILED, SP_DEVICE}, {ALLOC_FAILED, SP_MEMORY}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SpDevice *device = open_device();
        refuse_product(cases[i].status);
        product(device, 36);
        assert_int_equal(device->status(device).code, cases[i].code);
        assert_non_null(strstr(device->status(device).text, "cuBLASLt"));
        device->close(device);
    }
}

/* The table of algorithms does not grow: what finds no place there is refused. */
static void more_products_than_are_remembered(void **state)
{
    (void)state;
    enum { MOST = 600 };
    SpDevice *device = open_device();
    Scope s = {.device = device};
    SpGemm p = {.format = SP_F32, .m = 1, .n = 4, .k = 4, .ldx = 4, .ldw = 4};
    p.x = put_noise(&s, "x", 4);
    p.w = put_noise(&s, "w", 16);
    p.y = put_noise(&s, "y", MOST);
    int done = 0;
    for (p.ldy = 4; p.ldy < MOST; p.ldy++)
        done += sp_cuda_blas_gemm(sp_cuda(device), &p);
    assert_int_equal(done, 512);
    end(&s);
    device->close(device);
}

/* One image, [SIDE, SIDE, cin] by 3 x 3; the largest difference from a sum in double at one pixel.
 */
enum { SIDE = 4, COUT = 4 };
static double convolution(SpDevice *device, int64_t cin, SpPrecision precision)
{
    Scope s = {.device = device};
    const int64_t taps = 9 * cin;
    float *x = op_noise("x", SIDE * SIDE * cin), *w = op_noise("w", COUT * taps);
    float *out = put_noise(&s, "y", SIDE * SIDE * COUT), y[SIDE * SIDE * COUT];
    device->set_precision(device, precision);
    device->ops.conv2d(device, &(SpConv2d){.x = put_noise(&s, "x", SIDE * SIDE * cin),
                                           .n = 1,
                                           .h = SIDE,
                                           .w = SIDE,
                                           .cin = cin,
                                           .ldx = cin,
                                           .packed = put_noise(&s, "w", COUT * taps),
                                           .cout = COUT,
                                           .kh = 3,
                                           .kw = 3,
                                           .stride = 1,
                                           .pad = 1,
                                           .y = out,
                                           .ldy = COUT});
    get(&s, out, y, SIDE * SIDE * COUT);
    double sum = 0; /* of pixel (1, 1) and channel 2 */
    for (int64_t t = 0; t < taps; t++)
        sum += (double)x[((t / cin / 3) * SIDE + t / cin % 3) * cin + t % cin] *
               (double)w[2 * taps + t];
    end(&s);
    free(x), free(w);
    return fabs(sum - (double)y[(1 * SIDE + 1) * COUT + 2]);
}

static void a_convolution_rounds_where_it_may(void **state)
{
    (void)state;
    SpDevice *device = open_device();
    assert_true(convolution(device, 12, SP_PRECISION_F32) < 1e-5);
    const double rounded = convolution(device, 12, SP_PRECISION_TF32);
    assert_true(rounded > 1e-6 && rounded < 1e-2);
    assert_int_equal(sp_cuda(device)->refused_convs, 0);
    device->close(device);
}

static void a_failed_convolution_fails_the_device(void **state)
{
    (void)state;
    SpDevice *device = open_device();
    assert_true(convolution(device, 20, SP_PRECISION_F32) < 1e-5);
    refuse("libcudnn.so.9", "standin_dnn_refuses", 4000);
    convolution(device, 20, SP_PRECISION_F32);
    assert_int_equal(device->status(device).code, SP_DEVICE);
    assert_non_null(strstr(device->status(device).text, "a convolution failed in cuDNN"));
    device->close(device);
}

/* Plans that have not been used for longest make room, and are made again. */
static void more_convolutions_than_are_remembered(void **state)
{
    (void)state;
    SpDevice *device = open_device();
    SpConv2d shape = {
        .w = 9, .cin = 4, .ldx = 4, .cout = 4, .kh = 3, .kw = 3, .stride = 1, .pad = 1};
    assert_true(convolution(device, 12, SP_PRECISION_F32) < 1e-5);
    for (shape.h = 3; shape.h < 300; shape.h++)
        assert_true(sp_cuda_dnn_has_conv(sp_cuda(device), &shape));
    assert_true(convolution(device, 12, SP_PRECISION_F32) < 1e-5);
    assert_string_equal(device->status(device).text, "");
    device->close(device);
}

static void plans_for_a_card_that_is_described(void **state)
{
    (void)state;
    SpCuda cuda = {.major = 9, .format = SP_BF16};
    assert_string_equal(sp_cuda_dnn_open_for(&cuda, "{}").text, "");
    assert_true(
        sp_cuda_dnn_has_attention(&cuda, &(SpFused){2, 70, 90, 64, 1, NULL, NULL, NULL, NULL}));
    assert_true(sp_cuda_dnn_has_conv(&cuda, &(SpConv2d){.n = 1,
                                                        .h = 9,
                                                        .w = 9,
                                                        .cin = 4,
                                                        .ldx = 4,
                                                        .cout = 4,
                                                        .kh = 3,
                                                        .kw = 3,
                                                        .stride = 2,
                                                        .pad = 1}));
    sp_cuda_dnn_close(&cuda);
    assert_null(cuda.dnn);
    assert_true(sp_cuda_dnn_version() > 0 && sp_cuda_blas_version() > 0);
}

/* Without cuDNN, and before Hopper, attention is ours. */
static void old_cards_have_no_fused_attention(void **state)
{
    (void)state;
    SpDevice *device = open_device();
    const SpFused shape = {1, 8, 8, 64, 1, NULL, NULL, NULL, NULL};
    sp_cuda(device)->format = SP_BF16;
    assert_true(sp_cuda_dnn_has_attention(sp_cuda(device), &shape));
    sp_cuda(device)->major = 8;
    assert_false(sp_cuda_dnn_has_attention(sp_cuda(device), &shape));
    device->close(device);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_refused_product_is_ours_from_then_on),
        cmocka_unit_test(a_failed_product_fails_the_device),
        cmocka_unit_test(more_products_than_are_remembered),
        cmocka_unit_test(a_convolution_rounds_where_it_may),
        cmocka_unit_test(a_failed_convolution_fails_the_device),
        cmocka_unit_test(more_convolutions_than_are_remembered),
        cmocka_unit_test(plans_for_a_card_that_is_described),
        cmocka_unit_test(old_cards_have_no_fused_attention),
    };
    return cmocka_run_group_tests_name("cuda libraries", cases, NULL, NULL);
}
