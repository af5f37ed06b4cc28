/*
 * cuDNN, loaded at run time: convolutions of float32 arrays, and fused attention on Hopper and
 * newer, where kernels with mma.sync reach half of what the chip can. Both by the graph interface,
 * one operation a graph: a plan is made once for a shape, and a call only names its arrays. Without
 * cuDNN, and for shapes that it refuses, our own kernels run.
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
#if CUDNN_VERSION < 90800
#define CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR       ((cudnnBackendDescriptorType_t)38)
#define CUDNN_ATTR_ENGINEHEUR_DEVICEPROP          ((cudnnBackendAttributeName_t)204)
#define CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP      ((cudnnBackendAttributeName_t)407)
#define CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION ((cudnnBackendAttributeName_t)2702)
#endif

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
#define LIBRARY  "libcudnn.so." TEXT(CUDNN_MAJOR)

enum {
    PLANS = 192,
    CHOICES = 256,
    ENGINES = 16,
    KEY = 16,
    MAX_ALIGNMENT = 16,
    FIRST_FUSED = 91301 /* the version with attention as a single operation */
};

#define FUNCTIONS(F)                                                                               \
    F(cudnnGetVersion)                                                                             \
    F(cudnnCreate)                                                                                 \
    F(cudnnDestroy)                                                                                \
    F(cudnnSetStream)                                                                              \
    F(cudnnGetErrorString)                                                                         \
    F(cudnnBackendCreateDescriptor)                                                                \
    F(cudnnBackendDestroyDescriptor)                                                               \
    F(cudnnBackendSetAttribute)                                                                    \
    F(cudnnBackendGetAttribute)                                                                    \
    F(cudnnBackendFinalize)                                                                        \
    F(cudnnBackendExecute)

/* What a plan depends on. */
typedef struct Key {
    int64_t of[KEY];
} Key;

typedef struct Plan {
    Key key;
    uint64_t used;                 /* when, by the count of calls; 0: an empty place */
    cudnnBackendDescriptor_t plan; /* NULL: refused */
    int64_t bytes;                 /* of workspace */
} Plan;

struct SpCudaDnn {
#define F(name) __typeof__(&name) name;
    FUNCTIONS(F)
#undef F
    cudnnHandle_t handle;            /* NULL: plans are made for `device` alone */
    cudnnBackendDescriptor_t device; /* what a card is, in place of one */
    uint64_t calls;
    Plan plan[PLANS];
};

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

SpStatus sp_cuda_dnn_open_for(SpCuda *cuda, const char *description)
{
    struct SpCudaDnn *dnn = calloc(1, sizeof *dnn);
    if (!dnn)
        return sp_no_memory("cuDNN");
    if (!load(dnn)) {
        free(dnn);
        return sp_error(SP_DEVICE, "cuda: " LIBRARY " is not there");
    }
    cuda->dnn = dnn;
    if (dnn->cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &dnn->device) ||
        dnn->cudnnBackendSetAttribute(dnn->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                      CUDNN_TYPE_CHAR, (int64_t)strlen(description) + 1,
                                      description) ||
        dnn->cudnnBackendFinalize(dnn->device))
        return sp_error(SP_DEVICE, "cuda: cuDNN does not know such a card");
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
    if (dnn->device)
        dnn->cudnnBackendDestroyDescriptor(dnn->device);
    if (dnn->handle)
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

/* ---- graphs ---- */

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

/* An array of a graph, by its name there. */
typedef struct Array {
    int64_t id;
    cudnnDataType_t type;
    int64_t dim[4], stride[4], alignment; /* alignment in bytes */
    bool by_value;
} Array;

static cudnnBackendDescriptor_t tensor(Build *b, const Array *a)
{
    cudnnBackendDescriptor_t t = make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(b, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &a->type);
    set(b, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, a->dim);
    set(b, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, a->stride);
    set(b, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &a->id);
    set(b, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &a->alignment);
    if (a->by_value)
        set(b, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &a->by_value);
    finalize(b, t);
    return t;
}

static void set_tensor(Build *b, cudnnBackendDescriptor_t op, cudnnBackendAttributeName_t name,
                       const Array *a)
{
    cudnnBackendDescriptor_t t = tensor(b, a);
    set(b, op, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &t);
}

/* The card that a plan is for: the handle's, or the one that is described. */
static void set_card(Build *b, cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t handle,
                     cudnnBackendAttributeName_t device)
{
    if (b->d->device)
        set(b, to, device, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b->d->device);
    else
        set(b, to, handle, CUDNN_TYPE_HANDLE, 1, &b->d->handle);
}

static cudnnBackendDescriptor_t graph_of(Build *b, cudnnBackendDescriptor_t op)
{
    finalize(b, op);
    cudnnBackendDescriptor_t g = make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(b, g, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &op);
    if (b->d->handle)
        set(b, g, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &b->d->handle);
    finalize(b, g);
    return g;
}

/* What an engine may do: no sums in a changing order, and tensor cores, which round float32, only
 * where that is allowed. */
static bool engine_may(struct SpCudaDnn *d, cudnnBackendDescriptor_t config, bool tensor_cores)
{
    Build b = {.d = d, .good = true};
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendDescriptor_t engine = make(&b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    int64_t count = 0;
    bool may = b.good &&
               d->cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                           CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                           &engine) == CUDNN_STATUS_SUCCESS &&
               d->cudnnBackendGetAttribute(
                   engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                   CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, note) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; may && i < count; i++)
        may = note[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC &&
              (tensor_cores || (note[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE &&
                                note[i] != CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
    destroy(&b);
    return may;
}

/* A finished plan of one engine, if a workspace of `most` bytes suffices for it; else NULL. */
static cudnnBackendDescriptor_t plan_of(struct SpCudaDnn *d, cudnnBackendDescriptor_t config,
                                        int64_t most, int64_t *bytes)
{
    Build b = {.d = d, .good = true};
    int64_t count = 0;
    cudnnBackendDescriptor_t plan = make(&b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set_card(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
    set(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
        &config);
    finalize(&b, plan);
    *bytes = 0;
    if (b.good &&
        d->cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                    CUDNN_TYPE_INT64, 1, &count, bytes) == CUDNN_STATUS_SUCCESS &&
        *bytes <= most)
        return plan;
    destroy(&b);
    return NULL;
}

/* What is asked of an engine. */
typedef struct Demands {
    bool tensor_cores;
    int64_t workspace;
} Demands;

/* The plan of the first engine in the order of a heuristic that meets the demands. */
static cudnnBackendDescriptor_t choose(struct SpCudaDnn *d, cudnnBackendDescriptor_t graph,
                                       cudnnBackendHeurMode_t mode, const Demands *demands,
                                       int64_t *bytes)
{
    Build b = {.d = d, .good = true};
    cudnnBackendDescriptor_t engine[ENGINES], plan = NULL;
    int64_t count = 0;
    cudnnBackendDescriptor_t heuristic = make(&b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set(&b, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
        &graph);
    set(&b, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (d->device)
        set(&b, heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
            &d->device);
    finalize(&b, heuristic);
    for (int i = 0; i < ENGINES; i++)
        engine[i] = make(&b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    b.good = b.good && d->cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, ENGINES, &count,
                                                   engine) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; b.good && !plan && i < count && i < ENGINES; i++)
        if (engine_may(d, engine[i], demands->tensor_cores))
            plan = plan_of(d, engine[i], demands->workspace, bytes);
    destroy(&b);
    return plan;
}

/* The key's place: its own, an empty one, or the one that has not been used for longest, emptied.
 */
static Plan *place_of(struct SpCudaDnn *d, const Key *key)
{
    Plan *oldest = d->plan;
    for (Plan *p = d->plan; p < d->plan + PLANS; p++) {
        if (p->used && memcmp(&p->key, key, sizeof *key) == 0)
            return p;
        oldest = p->used < oldest->used ? p : oldest;
    }
    if (oldest->plan)
        d->cudnnBackendDestroyDescriptor(oldest->plan);
    *oldest = (Plan){.key = *key};
    return oldest;
}

/* The operation, not finished, whose graph a plan is for. */
typedef cudnnBackendDescriptor_t Operation(Build *b, const Key *key);

static Plan *find_plan(SpCuda *cuda, const Key *key, Operation *operation, const Demands *demands)
{
    static const cudnnBackendHeurMode_t mode[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    struct SpCudaDnn *d = cuda->dnn;
    Plan *p = place_of(d, key);
    if (!p->used) {
        Build b = {.d = d, .good = true};
        cudnnBackendDescriptor_t graph = graph_of(&b, operation(&b, key));
        for (int i = 0; i < 2 && b.good && !p->plan; i++)
            p->plan = choose(d, graph, mode[i], demands, &p->bytes);
        destroy(&b);
    }
    p->used = ++d->calls;
    return p;
}

/* Runs a plan on the arrays of these names. */
static cudnnStatus_t execute(SpCuda *cuda, const Plan *p, int64_t count, const int64_t *ids,
                             void **data, void *work)
{
    Build b = {.d = cuda->dnn, .good = true};
    cudnnBackendDescriptor_t pack = make(&b, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, data);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &work);
    finalize(&b, pack);
    const cudnnStatus_t status =
        b.good ? b.d->cudnnBackendExecute(b.d->handle, p->plan, pack) : CUDNN_STATUS_INTERNAL_ERROR;
    destroy(&b);
    return status;
}

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
    Key key;
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

enum { H, WIDTH, CIN, LDX, COUT, KH, KW, STRIDE, PAD, TF32, X_ALIGN, W_ALIGN, Y_ALIGN };

static Key conv_key(const SpCuda *cuda, const SpConv2d *a)
{
    return (Key){.of = {[H] = a->h,
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
static Array image(int64_t id, const int64_t dim[4], int64_t ld, int64_t align)
{
    return (Array){.id = id,
                   .type = CUDNN_DATA_FLOAT,
                   .dim = {dim[0], dim[1], dim[2], dim[3]},
                   .stride = {dim[2] * dim[3] * ld, 1, dim[3] * ld, ld},
                   .alignment = align};
}

static cudnnBackendDescriptor_t conv_description(Build *b, const int64_t *k)
{
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t rank = 2, one[2] = {1, 1};
    const int64_t stride[2] = {k[STRIDE], k[STRIDE]}, pad[2] = {k[PAD], k[PAD]};
    cudnnBackendDescriptor_t c = make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(b, c, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(b, c, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(b, c, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &rank);
    set(b, c, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one);
    set(b, c, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    set(b, c, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    set(b, c, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    finalize(b, c);
    return c;
}

static cudnnBackendDescriptor_t convolution(Build *b, const Key *key)
{
    const int64_t *k = key->of;
    const int64_t ho = (k[H] + 2 * k[PAD] - k[KH]) / k[STRIDE] + 1;
    const int64_t wo = (k[WIDTH] + 2 * k[PAD] - k[KW]) / k[STRIDE] + 1;
    const float one = 1, zero = 0;
    const Array x = image(X, (int64_t[4]){1, k[CIN], k[H], k[WIDTH]}, k[LDX], k[X_ALIGN]);
    const Array w = image(W, (int64_t[4]){k[COUT], k[CIN], k[KH], k[KW]}, k[CIN], k[W_ALIGN]);
    const Array y = image(RESULT, (int64_t[4]){1, k[COUT], ho, wo}, k[COUT], k[Y_ALIGN]);
    cudnnBackendDescriptor_t c = conv_description(b, k);
    cudnnBackendDescriptor_t op = make(b, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
        &c);
    set_tensor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, &x);
    set_tensor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, &w);
    set_tensor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, &y);
    set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    return op;
}

static Plan *conv_plan(SpCuda *cuda, const SpConv2d *a)
{
    const Key key = conv_key(cuda, a);
    const Demands demands = {cuda->tf32, SP_CUDA_LIBRARY};
    return find_plan(cuda, &key, convolution, &demands);
}

bool sp_cuda_dnn_has_conv(SpCuda *cuda, const SpConv2d *a)
{
    return cuda->dnn && conv_plan(cuda, a)->plan;
}

static cudnnStatus_t run_library(SpCuda *cuda, const SpConv2d *a)
{
    const Plan *p = conv_plan(cuda, a);
    const int64_t ids[] = {X, W, RESULT};
    void *data[] = {(void *)(uintptr_t)a->x, (void *)(uintptr_t)a->packed, a->y};
    if (!p->plan)
        return CUDNN_STATUS_NOT_SUPPORTED;
    return execute(cuda, p, 3, ids, data, cuda->work + SP_CUDA_SCRATCH);
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

static struct Choice *choice_of(const Key *key)
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
    const Key key = conv_key(cuda, a);
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

static Array rows(int64_t id, cudnnDataType_t type, int64_t units, int64_t n, int64_t head)
{
    return (Array){.id = id,
                   .type = type,
                   .dim = {1, units, n, head},
                   .stride = {units * n * head, n * head, head, 1},
                   .alignment = MAX_ALIGNMENT};
}

static cudnnBackendDescriptor_t attention(Build *b, const Key *key)
{
    const int64_t *k = key->of;
    const cudnnDataType_t type = k[TYPE] == 1 + SP_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
    const Array scale = {.id = SCALE,
                         .type = CUDNN_DATA_FLOAT,
                         .dim = {1, 1, 1, 1},
                         .stride = {1, 1, 1, 1},
                         .alignment = sizeof(float),
                         .by_value = true};
    const Array q = rows(Q, type, k[UNITS], k[NQ], k[HEAD]);
    const Array keys = rows(K, type, k[UNITS], k[NK], k[HEAD]);
    const Array values = rows(V, type, k[UNITS], k[NK], k[HEAD]);
    const Array y = rows(Y, type, k[UNITS], k[NQ], k[HEAD]);
    cudnnBackendDescriptor_t op = make(b, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, &q);
    set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, &keys);
    set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, &values);
    set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, &y);
    set_tensor(b, op, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, &scale);
    return op;
}

static Plan *attention_plan(SpCuda *cuda, const SpFused *a)
{
    const Key key = {.of = {[UNITS] = a->units,
                            [NQ] = a->nq,
                            [NK] = a->nk,
                            [HEAD] = a->head,
                            [TYPE] = 1 + (int64_t)cuda->format}};
    const Demands demands = {true, SP_CUDA_DNN_PLAN};
    return find_plan(cuda, &key, attention, &demands);
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
        execute(cuda, attention_plan(cuda, a), 5, ids, data,
                cuda->work + SP_CUDA_SCRATCH + SP_CUDA_LIBRARY - SP_CUDA_DNN_PLAN);
    if (status != CUDNN_STATUS_SUCCESS)
        failed(cuda, status, "attention");
}
