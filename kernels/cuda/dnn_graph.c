#include "kernels/cuda/dnn_graph.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/runtime.h"

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
#define LIBRARY  "libcudnn.so." TEXT(CUDNN_MAJOR)

static bool load(struct SpCudaDnn *dnn)
{
    const char *why;
    void *library = sp_cuda_library(LIBRARY, &why);
    bool all = library != NULL;
#define F(name) all = all && (*(void **)&dnn->name = dlsym(library, #name));
    SP_DNN_FUNCTIONS(F)
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
    for (int i = 0; i < SP_DNN_PLANS; i++)
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

cudnnBackendDescriptor_t sp_dnn_make(SpDnnBuild *b, cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t made = NULL;
    b->good = b->good && b->d->cudnnBackendCreateDescriptor(type, &made) == CUDNN_STATUS_SUCCESS;
    if (made)
        b->made[b->count++] = made;
    return made;
}

void sp_dnn_set(SpDnnBuild *b, cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    b->good = b->good &&
              b->d->cudnnBackendSetAttribute(to, name, type, count, values) == CUDNN_STATUS_SUCCESS;
}

void sp_dnn_finalize(SpDnnBuild *b, cudnnBackendDescriptor_t what)
{
    b->good = b->good && b->d->cudnnBackendFinalize(what) == CUDNN_STATUS_SUCCESS;
}

static void destroy(SpDnnBuild *b)
{
    while (b->count)
        b->d->cudnnBackendDestroyDescriptor(b->made[--b->count]);
}

static cudnnBackendDescriptor_t tensor(SpDnnBuild *b, const SpDnnArray *a)
{
    cudnnBackendDescriptor_t t = sp_dnn_make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    sp_dnn_set(b, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &a->type);
    sp_dnn_set(b, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, a->dim);
    sp_dnn_set(b, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, a->stride);
    sp_dnn_set(b, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &a->id);
    sp_dnn_set(b, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &a->alignment);
    if (a->by_value)
        sp_dnn_set(b, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &a->by_value);
    sp_dnn_finalize(b, t);
    return t;
}

void sp_dnn_set_tensor(SpDnnBuild *b, cudnnBackendDescriptor_t op, cudnnBackendAttributeName_t name,
                       const SpDnnArray *a)
{
    cudnnBackendDescriptor_t t = tensor(b, a);
    sp_dnn_set(b, op, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &t);
}

/* The card that a plan is for: the handle's, or the one that is described. */
static void set_card(SpDnnBuild *b, cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t handle,
                     cudnnBackendAttributeName_t device)
{
    if (b->d->device)
        sp_dnn_set(b, to, device, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b->d->device);
    else
        sp_dnn_set(b, to, handle, CUDNN_TYPE_HANDLE, 1, &b->d->handle);
}

static cudnnBackendDescriptor_t graph_of(SpDnnBuild *b, cudnnBackendDescriptor_t op)
{
    sp_dnn_finalize(b, op);
    cudnnBackendDescriptor_t g = sp_dnn_make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    sp_dnn_set(b, g, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &op);
    if (b->d->handle)
        sp_dnn_set(b, g, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &b->d->handle);
    sp_dnn_finalize(b, g);
    return g;
}

/* What an engine may do: no sums in a changing order, and tensor cores, which round float32, only
 * where that is allowed. */
static bool engine_may(struct SpCudaDnn *d, cudnnBackendDescriptor_t config, bool tensor_cores)
{
    SpDnnBuild b = {.d = d, .good = true};
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendDescriptor_t engine = sp_dnn_make(&b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
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
    SpDnnBuild b = {.d = d, .good = true};
    int64_t count = 0;
    cudnnBackendDescriptor_t plan = sp_dnn_make(&b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set_card(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
    sp_dnn_set(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
               &config);
    sp_dnn_finalize(&b, plan);
    *bytes = 0;
    if (b.good &&
        d->cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                    CUDNN_TYPE_INT64, 1, &count, bytes) == CUDNN_STATUS_SUCCESS &&
        *bytes <= most)
        return plan;
    destroy(&b);
    return NULL;
}

/* The plan of the first engine in the order of a heuristic that meets the demands. */
static cudnnBackendDescriptor_t choose(struct SpCudaDnn *d, cudnnBackendDescriptor_t graph,
                                       cudnnBackendHeurMode_t mode, const SpDnnDemands *demands,
                                       int64_t *bytes)
{
    SpDnnBuild b = {.d = d, .good = true};
    cudnnBackendDescriptor_t engine[SP_DNN_ENGINES], plan = NULL;
    int64_t count = 0;
    cudnnBackendDescriptor_t heuristic = sp_dnn_make(&b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    sp_dnn_set(&b, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR,
               1, &graph);
    sp_dnn_set(&b, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (d->device)
        sp_dnn_set(&b, heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                   1, &d->device);
    sp_dnn_finalize(&b, heuristic);
    for (int i = 0; i < SP_DNN_ENGINES; i++)
        engine[i] = sp_dnn_make(&b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    b.good = b.good && d->cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, SP_DNN_ENGINES,
                                                   &count, engine) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; b.good && !plan && i < count && i < SP_DNN_ENGINES; i++)
        if (engine_may(d, engine[i], demands->tensor_cores))
            plan = plan_of(d, engine[i], demands->workspace, bytes);
    destroy(&b);
    return plan;
}

/* The key's place: its own, an empty one, or the one that has not been used for longest, emptied.
 */
static SpDnnPlan *place_of(struct SpCudaDnn *d, const SpDnnKey *key)
{
    SpDnnPlan *oldest = d->plan;
    for (SpDnnPlan *p = d->plan; p < d->plan + SP_DNN_PLANS; p++) {
        if (p->used && memcmp(&p->key, key, sizeof *key) == 0)
            return p;
        oldest = p->used < oldest->used ? p : oldest;
    }
    if (oldest->plan)
        d->cudnnBackendDestroyDescriptor(oldest->plan);
    *oldest = (SpDnnPlan){.key = *key};
    return oldest;
}

SpDnnPlan *sp_dnn_find_plan(SpCuda *cuda, const SpDnnKey *key, SpDnnOperation *operation,
                            const SpDnnDemands *demands)
{
    static const cudnnBackendHeurMode_t mode[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    struct SpCudaDnn *d = cuda->dnn;
    SpDnnPlan *p = place_of(d, key);
    if (!p->used) {
        SpDnnBuild b = {.d = d, .good = true};
        cudnnBackendDescriptor_t graph = graph_of(&b, operation(&b, key));
        for (int i = 0; i < 2 && b.good && !p->plan; i++)
            p->plan = choose(d, graph, mode[i], demands, &p->bytes);
        destroy(&b);
    }
    p->used = ++d->calls;
    return p;
}

cudnnStatus_t sp_dnn_execute(SpCuda *cuda, const SpDnnPlan *p, int64_t count, const int64_t *ids,
                             void **data, void *work)
{
    SpDnnBuild b = {.d = cuda->dnn, .good = true};
    cudnnBackendDescriptor_t pack = sp_dnn_make(&b, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    sp_dnn_set(&b, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids);
    sp_dnn_set(&b, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, data);
    sp_dnn_set(&b, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &work);
    sp_dnn_finalize(&b, pack);
    const cudnnStatus_t status =
        b.good ? b.d->cudnnBackendExecute(b.d->handle, p->plan, pack) : CUDNN_STATUS_INTERNAL_ERROR;
    destroy(&b);
    return status;
}
