/*
 * cuDNN's graph interface on the CPU, from the descriptors that it is given (libcudnn): graphs of
 * one operation, a convolution or an attention. Three engines are offered in this order: one whose
 * workspace is larger than any that is given, one of tensor cores, which rounds float32 to TF32,
 * and one that does not. What a descriptor lacks is refused when it is finalised.
 */
#include <cudnn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "numbers.h"

/* What was issued to the stream before; the program's, where it has streams (emulate/runtime.c). */
__attribute__((weak)) void emulate_wait_stream(cudaStream_t stream);

/* What the next run returns instead of running; set by tests. */
int standin_dnn_refuses;

enum { ATTRIBUTES = 16, ENGINES = 3, LARGE = 0, TENSOR_CORES = 1 };

typedef struct Attribute {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t count;
    void *values;
} Attribute;

typedef struct Descriptor {
    cudnnBackendDescriptorType_t type;
    int references, engine; /* engine: of engines, configurations and plans */
    bool final;
    Attribute attribute[ATTRIBUTES];
    int count;
} Descriptor;

struct StandinDnn {
    cudaStream_t stream;
};

size_t cudnnGetVersion(void)
{
    return CUDNN_VERSION;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    *handle = calloc(1, sizeof **handle);
    return *handle ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_INTERNAL_ERROR;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    free(handle);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_NOT_SUPPORTED ? "not supported" : "an error";
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *descriptor)
{
    Descriptor *made = calloc(1, sizeof *made);
    if (made) {
        made->type = type;
        made->references = 1;
    }
    *descriptor = made;
    return made ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_INTERNAL_ERROR;
}

static Descriptor *descriptor_at(const Attribute *a, int64_t i)
{
    Descriptor *found;
    memcpy(&found, (char *)a->values + (size_t)i * sizeof found, sizeof found);
    return found;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor)
{
    Descriptor *d = descriptor;
    if (--d->references)
        return CUDNN_STATUS_SUCCESS;
    for (int i = 0; i < d->count; i++) {
        const Attribute *a = &d->attribute[i];
        for (int64_t k = 0; a->type == CUDNN_TYPE_BACKEND_DESCRIPTOR && k < a->count; k++)
            cudnnBackendDestroyDescriptor(descriptor_at(a, k));
        free(a->values);
    }
    free(d);
    return CUDNN_STATUS_SUCCESS;
}

static size_t size_of(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
        return 1;
    case CUDNN_TYPE_DATA_TYPE:
    case CUDNN_TYPE_FLOAT:
    case CUDNN_TYPE_CONVOLUTION_MODE:
    case CUDNN_TYPE_HEUR_MODE:
    case CUDNN_TYPE_NUMERICAL_NOTE:
        return 4;
    default:
        return 8;
    }
}

static const Attribute *attribute(const Descriptor *d, cudnnBackendAttributeName_t name)
{
    for (int i = 0; i < d->count; i++)
        if (d->attribute[i].name == name)
            return &d->attribute[i];
    return NULL;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void *values)
{
    Descriptor *d = descriptor;
    const size_t bytes = size_of(type) * (size_t)count;
    if (d->final || d->count == ATTRIBUTES || attribute(d, name))
        return CUDNN_STATUS_BAD_PARAM;
    Attribute *a = &d->attribute[d->count++];
    *a = (Attribute){name, type, count, malloc(bytes + 1)};
    memcpy(a->values, values, bytes);
    for (int64_t i = 0; type == CUDNN_TYPE_BACKEND_DESCRIPTOR && i < count; i++) {
        descriptor_at(a, i)->references++;
        if (!descriptor_at(a, i)->final)
            return CUDNN_STATUS_BAD_PARAM;
    }
    return CUDNN_STATUS_SUCCESS;
}

static Descriptor *part(const Descriptor *d, cudnnBackendAttributeName_t name)
{
    const Attribute *a = attribute(d, name);
    return a && a->type == CUDNN_TYPE_BACKEND_DESCRIPTOR ? descriptor_at(a, 0) : NULL;
}

/* What a finished descriptor of a type must have. */
static cudnnStatus_t has_all(const Descriptor *d, const cudnnBackendAttributeName_t *names,
                             int count)
{
    for (int i = 0; i < count; i++)
        if (!attribute(d, names[i]))
            return CUDNN_STATUS_BAD_PARAM;
    return CUDNN_STATUS_SUCCESS;
}

#define HAS_ALL(d, ...)                                                                            \
    has_all(d, (const cudnnBackendAttributeName_t[]){__VA_ARGS__},                                 \
            (int)(sizeof(cudnnBackendAttributeName_t[]){__VA_ARGS__} /                             \
                  sizeof(cudnnBackendAttributeName_t)))

static cudnnStatus_t complete(const Descriptor *d)
{
    switch (d->type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
        return HAS_ALL(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_ATTR_TENSOR_DIMENSIONS,
                       CUDNN_ATTR_TENSOR_STRIDES, CUDNN_ATTR_TENSOR_UNIQUE_ID,
                       CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
        return HAS_ALL(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_ATTR_CONVOLUTION_CONV_MODE,
                       CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES,
                       CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS,
                       CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS);
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        return HAS_ALL(d, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
    case CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR:
        return HAS_ALL(d, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC,
                       CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
                       CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC);
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        return HAS_ALL(d, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
        return HAS_ALL(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_ATTR_ENGINEHEUR_MODE);
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        return HAS_ALL(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
        return HAS_ALL(d, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                       CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    case CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR:
        return HAS_ALL(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION);
    default:
        return CUDNN_STATUS_NOT_SUPPORTED;
    }
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor)
{
    Descriptor *d = descriptor;
    const cudnnStatus_t status = d->final ? CUDNN_STATUS_BAD_PARAM : complete(d);
    d->final = status == CUDNN_STATUS_SUCCESS;
    if (d->final && d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
        d->engine = part(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->engine;
    return status;
}

/* Fills the caller's configurations: each names the graph and an engine. */
static void offer(Descriptor *heuristic, int64_t count, void *values)
{
    Descriptor *graph = part(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    for (int64_t i = 0; i < count; i++) {
        Descriptor *config;
        memcpy(&config, (char *)values + (size_t)i * sizeof config, sizeof config);
        config->engine = (int)i;
        cudnnBackendSetAttribute(config, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph);
        config->final = true;
    }
}

cudnnStatus_t cudnnBackendGetAttribute(const cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted,
                                       int64_t *count, void *values)
{
    Descriptor *d = descriptor;
    const cudnnBackendNumericalNote_t note = CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
    const int64_t bytes = (int64_t)(d->engine == LARGE ? 1 : 0) << 40 | 1000;
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS && type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        *count = wanted < ENGINES ? wanted : ENGINES;
        offer(d, *count, values);
    } else if (name == CUDNN_ATTR_ENGINECFG_ENGINE && type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        Descriptor *engine;
        memcpy(&engine, values, sizeof engine);
        engine->engine = d->engine;
        *count = 1;
    } else if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE && type == CUDNN_TYPE_NUMERICAL_NOTE) {
        *count = d->engine == TENSOR_CORES;
        memcpy(values, &note, (size_t)*count * sizeof note);
    } else if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE && type == CUDNN_TYPE_INT64) {
        *count = 1;
        memcpy(values, &bytes, sizeof bytes);
    } else {
        return CUDNN_STATUS_NOT_SUPPORTED;
    }
    return CUDNN_STATUS_SUCCESS;
}

/* ---- what a plan computes ---- */

typedef struct Tensor {
    cudnnDataType_t type;
    int64_t dim[4], stride[4];
    char *data;
} Tensor;

/* The tensor of that name of the operation, where the pack says; without data where it does not, or
 * not as it was promised to be aligned. */
static Tensor tensor_of(const Descriptor *op, cudnnBackendAttributeName_t name,
                        const Descriptor *pack)
{
    const Descriptor *d = part(op, name);
    const Attribute *ids = attribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const Attribute *data = attribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    Tensor t = {0};
    int64_t id, alignment;
    memcpy(&t.type, attribute(d, CUDNN_ATTR_TENSOR_DATA_TYPE)->values, sizeof t.type);
    memcpy(t.dim, attribute(d, CUDNN_ATTR_TENSOR_DIMENSIONS)->values, sizeof t.dim);
    memcpy(t.stride, attribute(d, CUDNN_ATTR_TENSOR_STRIDES)->values, sizeof t.stride);
    memcpy(&id, attribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID)->values, sizeof id);
    memcpy(&alignment, attribute(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)->values, sizeof alignment);
    for (int64_t i = 0; i < ids->count; i++)
        if (((const int64_t *)ids->values)[i] == id)
            t.data = ((char **)data->values)[i];
    if ((uintptr_t)t.data % (uintptr_t)alignment)
        t.data = NULL;
    return t;
}

static int64_t place(const Tensor *t, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return n * t->stride[0] + c * t->stride[1] + h * t->stride[2] + w * t->stride[3];
}

static float element(const Tensor *t, int64_t at)
{
    if (t->type == CUDNN_DATA_FLOAT)
        return ((const float *)(const void *)t->data)[at];
    const uint16_t half = ((const uint16_t *)(const void *)t->data)[at];
    return t->type == CUDNN_DATA_BFLOAT16 ? sp_bf16_to_f32(half) : sp_f16_to_f32(half);
}

static void store(const Tensor *t, int64_t at, float value)
{
    if (t->type == CUDNN_DATA_FLOAT)
        ((float *)(void *)t->data)[at] = value;
    else
        ((uint16_t *)(void *)t->data)[at] =
            t->type == CUDNN_DATA_BFLOAT16 ? sp_f32_to_bf16(value) : standin_to_f16(value);
}

typedef struct Convolution {
    Tensor x, w, y;
    int64_t stride[2], pad[2];
    bool tf32;
} Convolution;

/* One output pixel and channel. */
static float convolve(const Convolution *c, int64_t n, int64_t o, int64_t i, int64_t j)
{
    float sum = 0;
    for (int64_t ky = 0; ky < c->w.dim[2]; ky++)
        for (int64_t kx = 0; kx < c->w.dim[3]; kx++) {
            const int64_t y = i * c->stride[0] - c->pad[0] + ky;
            const int64_t x = j * c->stride[1] - c->pad[1] + kx;
            if (y < 0 || y >= c->x.dim[2] || x < 0 || x >= c->x.dim[3])
                continue;
            const float *a = (const float *)(const void *)c->x.data + place(&c->x, n, 0, y, x);
            const float *b = (const float *)(const void *)c->w.data + place(&c->w, o, 0, ky, kx);
            const int64_t step_a = c->x.stride[1], step_b = c->w.stride[1];
            for (int64_t k = 0; k < c->w.dim[1]; k++)
                sum += c->tf32 ? standin_tf32(a[k * step_a]) * standin_tf32(b[k * step_b])
                               : a[k * step_a] * b[k * step_b];
        }
    return sum;
}

static cudnnStatus_t run_convolution(const Descriptor *op, const Descriptor *pack, bool tf32)
{
    const Descriptor *d = part(op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC);
    Convolution c = {.x = tensor_of(op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, pack),
                     .w = tensor_of(op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, pack),
                     .y = tensor_of(op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, pack),
                     .tf32 = tf32};
    memcpy(c.stride, attribute(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES)->values, sizeof c.stride);
    memcpy(c.pad, attribute(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS)->values, sizeof c.pad);
    if (!c.x.data || !c.w.data || !c.y.data || c.w.dim[1] != c.x.dim[1] ||
        c.x.type != CUDNN_DATA_FLOAT || c.w.type != CUDNN_DATA_FLOAT)
        return CUDNN_STATUS_BAD_PARAM;
    for (int64_t n = 0; n < c.y.dim[0]; n++)
        for (int64_t i = 0; i < c.y.dim[2]; i++)
            for (int64_t j = 0; j < c.y.dim[3]; j++)
                for (int64_t o = 0; o < c.y.dim[1]; o++)
                    store(&c.y, place(&c.y, n, o, i, j), convolve(&c, n, o, i, j));
    return CUDNN_STATUS_SUCCESS;
}

/* One query's result, from its scores [keys]. */
static void attend(const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *y, float scale,
                   int64_t unit, int64_t i, float *score)
{
    float most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < k->dim[2]; j++) {
        score[j] = 0;
        for (int64_t e = 0; e < q->dim[3]; e++)
            score[j] += element(q, place(q, 0, unit, i, e)) * element(k, place(k, 0, unit, j, e));
        score[j] *= scale;
        most = fmaxf(most, score[j]);
    }
    for (int64_t j = 0; j < k->dim[2]; j++) {
        score[j] = expf(score[j] - most);
        sum += score[j];
    }
    for (int64_t e = 0; e < v->dim[3]; e++) {
        float total = 0;
        for (int64_t j = 0; j < k->dim[2]; j++)
            total += score[j] * element(v, place(v, 0, unit, j, e));
        store(y, place(y, 0, unit, i, e), total / sum);
    }
}

static cudnnStatus_t run_attention(const Descriptor *op, const Descriptor *pack)
{
    const Tensor q = tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, pack);
    const Tensor k = tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, pack);
    const Tensor v = tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, pack);
    const Tensor y = tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, pack);
    const Tensor scale = tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, pack);
    if (!q.data || !k.data || !v.data || !y.data || !scale.data || q.type == CUDNN_DATA_FLOAT)
        return CUDNN_STATUS_BAD_PARAM;
    float *score = malloc((size_t)k.dim[2] * sizeof *score);
    for (int64_t unit = 0; score && unit < q.dim[1]; unit++)
        for (int64_t i = 0; i < q.dim[2]; i++)
            attend(&q, &k, &v, &y, element(&scale, 0), unit, i, score);
    free(score);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack)
{
    const Descriptor *p = plan, *v = pack;
    if (handle && emulate_wait_stream)
        emulate_wait_stream(handle->stream);
    if (standin_dnn_refuses) {
        const cudnnStatus_t status = (cudnnStatus_t)standin_dnn_refuses;
        standin_dnn_refuses = 0;
        return status;
    }
    if (!handle || !p->final || !v->final || !attribute(p, CUDNN_ATTR_EXECUTION_PLAN_HANDLE))
        return CUDNN_STATUS_BAD_PARAM;
    const Descriptor *config = part(p, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    const Descriptor *graph = part(config, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    const Descriptor *op = part(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    return op->type == CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR
               ? run_attention(op, v)
               : run_convolution(op, v, p->engine == TENSOR_CORES);
}
