/*
 * cuDNN, loaded at run time: convolutions of float32 arrays, and fused attention on Hopper and
 * newer, where kernels with mma.sync reach half of what the chip can. Both by the graph interface,
 * one operation a graph: a plan is made once for a shape, and a call only names its arrays. Without
 * cuDNN, and for shapes that it refuses, our own kernels run.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/dnn_graph.h"
#include "kernels/cuda/runtime.h"

enum {
    CHOICES = 256,
    MAX_ALIGNMENT = 16,
    FIRST_FUSED = 91301 /* the version with attention as a single operation */
};

static void failed(SpCuda *cuda, cudnnStatus_t status, const char *what)
{
    sp_cuda_fail(cuda, SP_DEVICE, what, "cuDNN", cuda->dnn->cudnnGetErrorString(status));
}

/* ---- convolutions ---- */

enum { X = 1, W, RESULT }; /* the arrays' names in a graph */

/* In the order in which they are tried; ours must be faster by a fifth. */
typedef enum Way { UNTRIED, LIBRARYS, OURS, WAYS } Way;

/* What was measured is the process's, not the device's: after sleep at level 2 the same way must be
 * chosen again, or results would differ. */
static struct Choice {
    SpDnnKey key;
    Way way;
} choices[CHOICES];
static int chosen; /* the next place, over and over */

static int64_t alignment(const void *at)
{
    int64_t bytes = MAX_ALIGNMENT;
    while ((uintptr_t)at % (uintptr_t)bytes)
        bytes /= 2;
    return bytes;
}

enum { IMAGES, H, WIDTH, CIN, LDX, COUT, KH, KW, STRIDE, PAD, TF32, X_ALIGN, W_ALIGN, Y_ALIGN };

static SpDnnKey conv_key(const SpCuda *cuda, const SpConv2d *a)
{
    return (SpDnnKey){.of = {[IMAGES] = a->n,
                             [H] = a->h,
                             [WIDTH] = a->w,
                             [CIN] = a->cin,
                             [LDX] = a->ldx,
                             [COUT] = a->cout,
                             [KH] = a->kh,
                             [KW] = a->kw,
                             [STRIDE] = a->stride,
                             [PAD] = a->pad,
                             [TF32] = 1 + cuda->tf32,
                             [X_ALIGN] = alignment(a->x),
                             [W_ALIGN] = alignment(a->packed),
                             [Y_ALIGN] = alignment(a->y)}};
}

/* Channels last throughout: an array [n, channels, h, w] whose pixels are `ld` apart. */
static SpDnnArray image(int64_t id, const int64_t dim[4], int64_t ld, int64_t align)
{
    return (SpDnnArray){.id = id,
                        .type = CUDNN_DATA_FLOAT,
                        .dim = {dim[0], dim[1], dim[2], dim[3]},
                        .stride = {dim[2] * dim[3] * ld, 1, dim[3] * ld, ld},
                        .alignment = align};
}

static cudnnBackendDescriptor_t conv_description(SpDnnBuild *b, const int64_t *k)
{
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t rank = 2, one[2] = {1, 1};
    const int64_t stride[2] = {k[STRIDE], k[STRIDE]}, pad[2] = {k[PAD], k[PAD]};
    cudnnBackendDescriptor_t c = sp_dnn_make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    sp_dnn_set(b, c, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    sp_dnn_set(b, c, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    sp_dnn_set(b, c, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &rank);
    sp_dnn_set(b, c, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one);
    sp_dnn_set(b, c, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    sp_dnn_set(b, c, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    sp_dnn_set(b, c, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    sp_dnn_finalize(b, c);
    return c;
}

static cudnnBackendDescriptor_t convolution(SpDnnBuild *b, const SpDnnKey *key)
{
    const int64_t *k = key->of;
    const int64_t ho = (k[H] + 2 * k[PAD] - k[KH]) / k[STRIDE] + 1;
    const int64_t wo = (k[WIDTH] + 2 * k[PAD] - k[KW]) / k[STRIDE] + 1;
    const float one = 1, zero = 0;
    const SpDnnArray x =
        image(X, (int64_t[4]){k[IMAGES], k[CIN], k[H], k[WIDTH]}, k[LDX], k[X_ALIGN]);
    const SpDnnArray w = image(W, (int64_t[4]){k[COUT], k[CIN], k[KH], k[KW]}, k[CIN], k[W_ALIGN]);
    const SpDnnArray y =
        image(RESULT, (int64_t[4]){k[IMAGES], k[COUT], ho, wo}, k[COUT], k[Y_ALIGN]);
    cudnnBackendDescriptor_t c = conv_description(b, k);
    cudnnBackendDescriptor_t op =
        sp_dnn_make(b, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    sp_dnn_set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
               CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &c);
    sp_dnn_set_tensor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, &x);
    sp_dnn_set_tensor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, &w);
    sp_dnn_set_tensor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, &y);
    sp_dnn_set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    sp_dnn_set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    return op;
}

static SpDnnPlan *conv_plan(SpCuda *cuda, const SpConv2d *a)
{
    const SpDnnKey key = conv_key(cuda, a);
    const SpDnnDemands demands = {cuda->tf32, SP_CUDA_LIBRARY};
    return sp_dnn_find_plan(cuda, &key, convolution, &demands);
}

bool sp_cuda_dnn_has_conv(SpCuda *cuda, const SpConv2d *a)
{
    return cuda->dnn && conv_plan(cuda, a)->plan;
}

static cudnnStatus_t run_library(SpCuda *cuda, const SpConv2d *a)
{
    const SpDnnPlan *p = conv_plan(cuda, a);
    const int64_t ids[] = {X, W, RESULT};
    void *data[] = {(void *)(uintptr_t)a->x, (void *)(uintptr_t)a->packed, a->y};
    if (!p->plan)
        return CUDNN_STATUS_NOT_SUPPORTED;
    return sp_dnn_execute(cuda, p, 3, ids, data, cuda->work + SP_CUDA_SCRATCH);
}

/* Milliseconds of one way, after a first run that is not counted; negative: refused. */
static float measure(SpCuda *cuda, const SpConv2d *a, Way way, SpCudaConv *own)
{
    enum { RUNS = 3 };
    cudaEvent_t begin = NULL, end = NULL;
    float milliseconds = -1;
    bool good = cudaEventCreateWithFlags(&begin, cudaEventDefault) == cudaSuccess &&
                cudaEventCreateWithFlags(&end, cudaEventDefault) == cudaSuccess;
    for (int i = 0; i <= RUNS && good; i++) {
        if (i == 1)
            good = cudaEventRecord(begin, cuda->stream) == cudaSuccess;
        if (way == OURS)
            own(cuda, a);
        else
            good = good && run_library(cuda, a) == CUDNN_STATUS_SUCCESS;
    }
    good = good && cudaEventRecord(end, cuda->stream) == cudaSuccess &&
           cudaEventSynchronize(end) == cudaSuccess;
    if (!good || cudaEventElapsedTime(&milliseconds, begin, end) != cudaSuccess)
        milliseconds = -1;
    if (begin)
        cudaEventDestroy(begin);
    if (end)
        cudaEventDestroy(end);
    return milliseconds;
}

static Way fastest(SpCuda *cuda, const SpConv2d *a, SpCudaConv *own)
{
    Way best = OURS;
    float shortest = -1;
    for (Way way = LIBRARYS; way < WAYS; way++) {
        const float time = measure(cuda, a, way, own);
        if (time >= 0 && (shortest < 0 || time < 0.8f * shortest)) {
            best = way;
            shortest = time;
        }
    }
    return best;
}

static struct Choice *choice_of(const SpDnnKey *key)
{
    for (struct Choice *c = choices; c < choices + CHOICES; c++)
        if (c->way != UNTRIED && memcmp(&c->key, key, sizeof *key) == 0)
            return c;
    struct Choice *c = &choices[chosen];
    chosen = (chosen + 1) % CHOICES;
    *c = (struct Choice){*key, UNTRIED};
    return c;
}

bool sp_cuda_dnn_conv(SpCuda *cuda, const SpConv2d *a, SpCudaConv *own)
{
    if (!cuda->dnn)
        return false;
    const SpDnnKey key = conv_key(cuda, a);
    struct Choice *c = choice_of(&key);
    if (c->way == UNTRIED) {
        c->way = fastest(cuda, a, own);
        cuda->refused_convs += !sp_cuda_dnn_has_conv(cuda, a);
    }
    if (c->way == OURS)
        return false;
    const cudnnStatus_t status = run_library(cuda, a);
    if (status != CUDNN_STATUS_SUCCESS)
        failed(cuda, status, "a convolution");
    return true;
}

/* ---- attention ---- */

enum { Q = 1, K, V, Y, SCALE };         /* the arrays' names in a graph */
enum { UNITS = 1, NQ, NK, HEAD, TYPE }; /* of a key; its place 0 is empty, unlike a convolution's */

static SpDnnArray rows(int64_t id, cudnnDataType_t type, int64_t units, int64_t n, int64_t head)
{
    return (SpDnnArray){.id = id,
                        .type = type,
                        .dim = {1, units, n, head},
                        .stride = {units * n * head, n * head, head, 1},
                        .alignment = MAX_ALIGNMENT};
}

static cudnnBackendDescriptor_t attention(SpDnnBuild *b, const SpDnnKey *key)
{
    const int64_t *k = key->of;
    const cudnnDataType_t type = k[TYPE] == 1 + SP_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
    const SpDnnArray scale = {.id = SCALE,
                              .type = CUDNN_DATA_FLOAT,
                              .dim = {1, 1, 1, 1},
                              .stride = {1, 1, 1, 1},
                              .alignment = sizeof(float),
                              .by_value = true};
    const SpDnnArray q = rows(Q, type, k[UNITS], k[NQ], k[HEAD]);
    const SpDnnArray keys = rows(K, type, k[UNITS], k[NK], k[HEAD]);
    const SpDnnArray values = rows(V, type, k[UNITS], k[NK], k[HEAD]);
    const SpDnnArray y = rows(Y, type, k[UNITS], k[NQ], k[HEAD]);
    cudnnBackendDescriptor_t op = sp_dnn_make(b, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    sp_dnn_set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, &q);
    sp_dnn_set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, &keys);
    sp_dnn_set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, &values);
    sp_dnn_set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, &y);
    sp_dnn_set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, &scale);
    return op;
}

static SpDnnPlan *attention_plan(SpCuda *cuda, const SpFused *a)
{
    const SpDnnKey key = {.of = {[UNITS] = a->units,
                                 [NQ] = a->nq,
                                 [NK] = a->nk,
                                 [HEAD] = a->head,
                                 [TYPE] = 1 + (int64_t)cuda->format}};
    const SpDnnDemands demands = {true, SP_CUDA_DNN_PLAN};
    return sp_dnn_find_plan(cuda, &key, attention, &demands);
}

bool sp_cuda_dnn_has_attention(SpCuda *cuda, const SpFused *a)
{
    if (!cuda->dnn || cuda->major < 9 || cuda->dnn->cudnnGetVersion() < FIRST_FUSED)
        return false;
    return attention_plan(cuda, a)->plan;
}

void sp_cuda_dnn_attention(SpCuda *cuda, const SpFused *a)
{
    if (!sp_cuda_live(cuda))
        return;
    const int64_t ids[] = {Q, K, V, Y, SCALE};
    float scale = a->scale;
    void *data[] = {(void *)(uintptr_t)a->q, (void *)(uintptr_t)a->k, (void *)(uintptr_t)a->v, a->y,
                    &scale};
    const cudnnStatus_t status =
        sp_dnn_execute(cuda, attention_plan(cuda, a), 5, ids, data,
                       cuda->work + SP_CUDA_SCRATCH + SP_CUDA_LIBRARY - SP_CUDA_DNN_PLAN);
    if (status != CUDNN_STATUS_SUCCESS)
        failed(cuda, status, "attention");
}
