/*
 * cuDNN, loaded at run time: float32 convolutions, and fused attention on Hopper and newer, where
 * kernels with mma.sync reach half of what the chip can. Without cuDNN, and for shapes that it
 * refuses, our own kernels run.
 */
#include "kernels/cuda/libraries.h"

#include <cudnn.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/runtime.h"

#if CUDNN_VERSION < 91301 /* headers older than the library may be */
#define CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR ((cudnnBackendDescriptorType_t)41)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC         ((cudnnBackendAttributeName_t)2800)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC         ((cudnnBackendAttributeName_t)2801)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC         ((cudnnBackendAttributeName_t)2802)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC         ((cudnnBackendAttributeName_t)2803)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC     ((cudnnBackendAttributeName_t)2805)
#endif

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
#define LIBRARY  "libcudnn.so." TEXT(CUDNN_MAJOR)

enum {
    CONVS = 128,
    PLANS = 32,
    ENGINES = 8,
    FIRST_FUSED = 91301 /* the version with attention as a single operation */
};

#define FUNCTIONS(F)                                                                               \
    F(cudnnGetVersion)                                                                             \
    F(cudnnCreate)                                                                                 \
    F(cudnnDestroy)                                                                                \
    F(cudnnSetStream)                                                                              \
    F(cudnnGetErrorString)                                                                         \
    F(cudnnCreateTensorDescriptor)                                                                 \
    F(cudnnDestroyTensorDescriptor)                                                                \
    F(cudnnSetTensor4dDescriptorEx)                                                                \
    F(cudnnCreateFilterDescriptor)                                                                 \
    F(cudnnDestroyFilterDescriptor)                                                                \
    F(cudnnSetFilter4dDescriptor)                                                                  \
    F(cudnnCreateConvolutionDescriptor)                                                            \
    F(cudnnDestroyConvolutionDescriptor)                                                           \
    F(cudnnSetConvolution2dDescriptor)                                                             \
    F(cudnnSetConvolutionMathType)                                                                 \
    F(cudnnGetConvolutionForwardWorkspaceSize)                                                     \
    F(cudnnConvolutionForward)                                                                     \
    F(cudnnBackendCreateDescriptor)                                                                \
    F(cudnnBackendDestroyDescriptor)                                                               \
    F(cudnnBackendSetAttribute)                                                                    \
    F(cudnnBackendGetAttribute)                                                                    \
    F(cudnnBackendFinalize)                                                                        \
    F(cudnnBackendExecute)

/* In the order in which they are tried; a later one must be faster by a fifth. */
typedef enum Way { UNTRIED, PRECOMPUTED, IMPLICIT, OURS, WAYS } Way;

typedef struct Conv {
    int64_t shape[9]; /* h, w, cin, ldx, cout, kh, kw, stride, pad */
    bool tf32;
    Way way;
} Conv;

typedef struct Plan {
    int64_t units, nq, nk, head;
    SpDtype format;
    bool tried;
    cudnnBackendDescriptor_t plan; /* NULL: refused */
} Plan;

struct SpCudaDnn {
#define F(name) __typeof__(&name) name;
    FUNCTIONS(F)
#undef F
    cudnnHandle_t handle;
    Plan plan[PLANS];
};

/* What was measured is the process's, not the device's: after sleep at level 2 the same way must be
 * chosen again, or results would differ. */
static Conv convs[CONVS];

static bool load(struct SpCudaDnn *dnn)
{
    const char *why;
    void *library = sp_cuda_library(LIBRARY, &why);
    bool all = library != NULL;
#define F(name) all = all && (*(void **)&dnn->name = dlsym(library, #name));
    FUNCTIONS(F)
#undef F
    return all;
}

SpStatus sp_cuda_dnn_open(SpCuda *cuda)
{
    struct SpCudaDnn *dnn = calloc(1, sizeof *dnn);
    if (!dnn)
        return sp_no_memory("the CUDA device");
    if (!load(dnn) || dnn->cudnnCreate(&dnn->handle) != CUDNN_STATUS_SUCCESS) {
        free(dnn);
        return sp_ok();
    }
    cuda->dnn = dnn;
    if (dnn->cudnnSetStream(dnn->handle, cuda->stream) != CUDNN_STATUS_SUCCESS)
        return sp_error(SP_DEVICE, "cuda: cuDNN takes no stream");
    return sp_ok();
}

void sp_cuda_dnn_close(SpCuda *cuda)
{
    struct SpCudaDnn *dnn = cuda->dnn;
    if (!dnn)
        return;
    for (int i = 0; i < PLANS; i++)
        if (dnn->plan[i].plan)
            dnn->cudnnBackendDestroyDescriptor(dnn->plan[i].plan);
    dnn->cudnnDestroy(dnn->handle);
    free(dnn);
    cuda->dnn = NULL;
}

size_t sp_cuda_dnn_version(void)
{
    struct SpCudaDnn *dnn = calloc(1, sizeof *dnn);
    const size_t version = dnn && load(dnn) ? dnn->cudnnGetVersion() : 0;
    free(dnn);
    return version;
}

static void failed(SpCuda *cuda, cudnnStatus_t status, const char *what, const char *where)
{
    sp_cuda_fail(cuda, SP_DEVICE, what, where, cuda->dnn->cudnnGetErrorString(status));
}

/* ---- convolutions ---- */

typedef struct ConvCall {
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
} ConvCall;

/* Channels last throughout; CUDNN_FMA_MATH: float32 stays float32; by default it may be TF32. */
static bool describe(struct SpCudaDnn *d, const SpConv2d *a, bool tf32, ConvCall *call)
{
    const cudnnMathType_t math = tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
    const int h = (int)a->h, w = (int)a->w, cin = (int)a->cin, ldx = (int)a->ldx;
    const int cout = (int)a->cout, stride = (int)a->stride, pad = (int)a->pad;
    const int ho = (h + 2 * pad - (int)a->kh) / stride + 1;
    const int wo = (w + 2 * pad - (int)a->kw) / stride + 1;
    *call = (ConvCall){0};
    return d->cudnnCreateTensorDescriptor(&call->x) == 0 &&
           d->cudnnCreateTensorDescriptor(&call->y) == 0 &&
           d->cudnnCreateFilterDescriptor(&call->w) == 0 &&
           d->cudnnCreateConvolutionDescriptor(&call->conv) == 0 &&
           d->cudnnSetTensor4dDescriptorEx(call->x, CUDNN_DATA_FLOAT, 1, cin, h, w, h * w * ldx, 1,
                                           w * ldx, ldx) == 0 &&
           d->cudnnSetTensor4dDescriptorEx(call->y, CUDNN_DATA_FLOAT, 1, cout, ho, wo,
                                           ho * wo * cout, 1, wo * cout, cout) == 0 &&
           d->cudnnSetFilter4dDescriptor(call->w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, cout, cin,
                                         (int)a->kh, (int)a->kw) == 0 &&
           d->cudnnSetConvolution2dDescriptor(call->conv, pad, pad, stride, stride, 1, 1,
                                              CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) == 0 &&
           d->cudnnSetConvolutionMathType(call->conv, math) == 0;
}

static void destroy_call(struct SpCudaDnn *d, ConvCall *call)
{
    if (call->conv)
        d->cudnnDestroyConvolutionDescriptor(call->conv);
    if (call->w)
        d->cudnnDestroyFilterDescriptor(call->w);
    if (call->y)
        d->cudnnDestroyTensorDescriptor(call->y);
    if (call->x)
        d->cudnnDestroyTensorDescriptor(call->x);
}

static cudnnStatus_t run_library(SpCuda *cuda, const SpConv2d *a, Way way)
{
    struct SpCudaDnn *d = cuda->dnn;
    const cudnnConvolutionFwdAlgo_t algo = way == PRECOMPUTED
                                               ? CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM
                                               : CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM;
    const float one = 1, zero = 0;
    ConvCall call;
    size_t bytes = 0;
    cudnnStatus_t status = CUDNN_STATUS_NOT_SUPPORTED;
    if (describe(d, a, cuda->tf32, &call))
        status = d->cudnnGetConvolutionForwardWorkspaceSize(d->handle, call.x, call.w, call.conv,
                                                            call.y, algo, &bytes);
    if (status == CUDNN_STATUS_SUCCESS && bytes > SP_CUDA_LIBRARY)
        status = CUDNN_STATUS_NOT_SUPPORTED;
    if (status == CUDNN_STATUS_SUCCESS)
        status = d->cudnnConvolutionForward(d->handle, &one, call.x, a->x, call.w, a->packed,
                                            call.conv, algo, cuda->work + SP_CUDA_SCRATCH,
                                            SP_CUDA_LIBRARY, &zero, call.y, a->y);
    destroy_call(d, &call);
    return status;
}

/* Milliseconds of one way, after a first run that is not counted; negative: refused. */
static float measure(SpCuda *cuda, const SpConv2d *a, Way way, SpCudaConv *own)
{
    enum { RUNS = 3 };
    cudaEvent_t begin = NULL, end = NULL;
    float milliseconds = -1;
    bool good = cudaEventCreate(&begin) == cudaSuccess && cudaEventCreate(&end) == cudaSuccess;
    for (int i = 0; i <= RUNS && good; i++) {
        if (i == 1)
            good = cudaEventRecord(begin, cuda->stream) == cudaSuccess;
        if (way == OURS)
            own(cuda, a);
        else
            good = good && run_library(cuda, a, way) == CUDNN_STATUS_SUCCESS;
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
    for (Way way = PRECOMPUTED; way < WAYS; way++) {
        const float time = measure(cuda, a, way, own);
        if (time >= 0 && (shortest < 0 || time < 0.8f * shortest)) {
            best = way;
            shortest = time;
        }
    }
    return best;
}

/* The shape's entry, new or known; NULL when the table is full. */
static Conv *find_conv(const SpConv2d *a, bool tf32)
{
    const Conv conv = {
        {a->h, a->w, a->cin, a->ldx, a->cout, a->kh, a->kw, a->stride, a->pad}, tf32, UNTRIED};
    for (Conv *c = convs; c < convs + CONVS; c++) {
        if (c->way == UNTRIED)
            *c = conv;
        if (memcmp(c->shape, conv.shape, sizeof conv.shape) == 0 && c->tf32 == tf32)
            return c;
    }
    return NULL;
}

bool sp_cuda_dnn_conv(SpCuda *cuda, const SpConv2d *a, SpCudaConv *own)
{
    Conv *c = cuda->dnn ? find_conv(a, cuda->tf32) : NULL;
    if (!c)
        return false;
    if (c->way == UNTRIED)
        c->way = fastest(cuda, a, own);
    if (c->way == OURS)
        return false;
    const cudnnStatus_t status = run_library(cuda, a, c->way);
    if (status != CUDNN_STATUS_SUCCESS)
        failed(cuda, status, "a convolution", "cuDNN");
    return true;
}

/* ---- attention: one operation of the graph interface ---- */

/* Descriptors made on the way, to be destroyed together. */
typedef struct Build {
    struct SpCudaDnn *d;
    cudnnBackendDescriptor_t made[16 + 2 * ENGINES];
    int count;
    bool good;
} Build;

static cudnnBackendDescriptor_t make(Build *b, cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t made = NULL;
    b->good = b->good && b->d->cudnnBackendCreateDescriptor(type, &made) == CUDNN_STATUS_SUCCESS;
    if (made)
        b->made[b->count++] = made;
    return made;
}

static void set(Build *b, cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    b->good = b->good &&
              b->d->cudnnBackendSetAttribute(to, name, type, count, values) == CUDNN_STATUS_SUCCESS;
}

static void finalize(Build *b, cudnnBackendDescriptor_t what)
{
    b->good = b->good && b->d->cudnnBackendFinalize(what) == CUDNN_STATUS_SUCCESS;
}

static void destroy(Build *b)
{
    while (b->count)
        b->d->cudnnBackendDestroyDescriptor(b->made[--b->count]);
}

enum { Q = 1, K, V, Y, SCALE }; /* the tensors' names in the graph */

static cudnnBackendDescriptor_t tensor(Build *b, int64_t id, cudnnDataType_t type,
                                       const int64_t dims[4], bool by_value)
{
    const int64_t strides[4] = {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1};
    const int64_t alignment = by_value ? 4 : 16;
    cudnnBackendDescriptor_t t = make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(b, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(b, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(b, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(b, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(b, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    if (by_value)
        set(b, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    finalize(b, t);
    return t;
}

static cudnnBackendDescriptor_t graph(Build *b, const Plan *p)
{
    const cudnnDataType_t type = p->format == SP_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
    const int64_t queries[4] = {1, p->units, p->nq, p->head};
    const int64_t keys[4] = {1, p->units, p->nk, p->head}, one[4] = {1, 1, 1, 1};
    const struct {
        cudnnBackendAttributeName_t name;
        cudnnBackendDescriptor_t tensor;
    } part[] = {
        {CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, tensor(b, Q, type, queries, false)},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, tensor(b, K, type, keys, false)},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, tensor(b, V, type, keys, false)},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, tensor(b, Y, type, queries, false)},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, tensor(b, SCALE, CUDNN_DATA_FLOAT, one, true)},
    };
    cudnnBackendDescriptor_t op = make(b, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        set(b, op, part[i].name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part[i].tensor);
    finalize(b, op);
    cudnnBackendDescriptor_t g = make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(b, g, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &op);
    set(b, g, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &b->d->handle);
    finalize(b, g);
    return g;
}

/* A finished plan of one engine, if the workspace suffices for it; else NULL. */
static cudnnBackendDescriptor_t plan_of(struct SpCudaDnn *d, cudnnBackendDescriptor_t engine)
{
    Build b = {.d = d, .good = true};
    int64_t bytes = 0, count = 0;
    cudnnBackendDescriptor_t plan = make(&b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &d->handle);
    set(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
        &engine);
    finalize(&b, plan);
    if (b.good &&
        d->cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                    CUDNN_TYPE_INT64, 1, &count, &bytes) == CUDNN_STATUS_SUCCESS &&
        bytes <= SP_CUDA_DNN_PLAN)
        return plan;
    destroy(&b);
    return NULL;
}

static cudnnBackendDescriptor_t build(struct SpCudaDnn *d, const Plan *p)
{
    Build b = {.d = d, .good = true};
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    cudnnBackendDescriptor_t engine[ENGINES], plan = NULL, g = graph(&b, p);
    int64_t count = 0;
    cudnnBackendDescriptor_t heuristic = make(&b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set(&b, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g);
    set(&b, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    finalize(&b, heuristic);
    for (int i = 0; i < ENGINES; i++)
        engine[i] = make(&b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    b.good = b.good && d->cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, ENGINES, &count,
                                                   engine) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; b.good && !plan && i < count && i < ENGINES; i++)
        plan = plan_of(d, engine[i]);
    destroy(&b);
    return plan;
}

/* The shape's entry, tried; NULL when the table is full. */
static Plan *find_plan(SpCuda *cuda, const SpFused *a)
{
    struct SpCudaDnn *d = cuda->dnn;
    for (int i = 0; i < PLANS; i++) {
        Plan *p = &d->plan[i];
        if (!p->tried) {
            *p = (Plan){a->units, a->nq, a->nk, a->head, cuda->format, true, NULL};
            p->plan = build(d, p);
            return p;
        }
        if (p->units == a->units && p->nq == a->nq && p->nk == a->nk && p->head == a->head &&
            p->format == cuda->format)
            return p;
    }
    return NULL;
}

bool sp_cuda_dnn_has_attention(SpCuda *cuda, const SpFused *a)
{
    if (!cuda->dnn || cuda->major < 9 || cuda->dnn->cudnnGetVersion() < FIRST_FUSED)
        return false;
    const Plan *p = find_plan(cuda, a);
    return p && p->plan;
}

void sp_cuda_dnn_attention(SpCuda *cuda, const SpFused *a)
{
    if (!sp_cuda_live(cuda))
        return;
    Build b = {.d = cuda->dnn, .good = true};
    const Plan *p = find_plan(cuda, a);
    const int64_t ids[] = {Q, K, V, Y, SCALE};
    float scale = a->scale;
    void *data[] = {(void *)(uintptr_t)a->q, (void *)(uintptr_t)a->k, (void *)(uintptr_t)a->v, a->y,
                    &scale};
    void *work = cuda->work + SP_CUDA_SCRATCH + SP_CUDA_LIBRARY - SP_CUDA_DNN_PLAN;
    cudnnBackendDescriptor_t pack = make(&b, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 5, ids);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 5, data);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &work);
    finalize(&b, pack);
    const cudnnStatus_t status =
        b.good ? b.d->cudnnBackendExecute(b.d->handle, p->plan, pack) : CUDNN_STATUS_INTERNAL_ERROR;
    destroy(&b);
    if (status != CUDNN_STATUS_SUCCESS)
        failed(cuda, status, "attention", "cuDNN");
}
