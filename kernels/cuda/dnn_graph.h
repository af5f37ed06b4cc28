/*
 * Plans of cuDNN's graph interface, one operation a graph: made once for what they depend on, and
 * kept. Of the backend alone.
 */
#ifndef SP_CUDA_DNN_GRAPH_H
#define SP_CUDA_DNN_GRAPH_H

#include <cudnn.h>

#include "kernels/cuda/libraries.h"

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

enum { SP_DNN_PLANS = 192, SP_DNN_ENGINES = 16, SP_DNN_KEY = 16 };

#define SP_DNN_FUNCTIONS(F)                                                                        \
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
typedef struct SpDnnKey {
    int64_t of[SP_DNN_KEY];
} SpDnnKey;

typedef struct SpDnnPlan {
    SpDnnKey key;
    uint64_t used;                 /* when, by the count of calls; 0: an empty place */
    cudnnBackendDescriptor_t plan; /* NULL: refused */
    int64_t bytes;                 /* of workspace */
} SpDnnPlan;

struct SpCudaDnn {
#define F(name) __typeof__(&name) name;
    SP_DNN_FUNCTIONS(F)
#undef F
    cudnnHandle_t handle;            /* NULL: plans are made for `device` alone */
    cudnnBackendDescriptor_t device; /* what a card is, in place of one */
    uint64_t calls;
    SpDnnPlan plan[SP_DNN_PLANS];
};

/* Descriptors made on the way, to be destroyed together. */
typedef struct SpDnnBuild {
    struct SpCudaDnn *d;
    cudnnBackendDescriptor_t made[16 + 2 * SP_DNN_ENGINES];
    int count;
    bool good;
} SpDnnBuild;

/* One more, of that type; then its attributes, and its end. The first failure makes the build no
 * longer good, and the calls after it do nothing. */
cudnnBackendDescriptor_t sp_dnn_make(SpDnnBuild *build, cudnnBackendDescriptorType_t type);
void sp_dnn_set(SpDnnBuild *build, cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values);
void sp_dnn_finalize(SpDnnBuild *build, cudnnBackendDescriptor_t what);

/* An array of a graph, by its name there. */
typedef struct SpDnnArray {
    int64_t id;
    cudnnDataType_t type;
    int64_t dim[4], stride[4], alignment; /* alignment in bytes */
    bool by_value;
} SpDnnArray;

/* As an attribute of the operation. */
void sp_dnn_set_tensor(SpDnnBuild *build, cudnnBackendDescriptor_t op,
                       cudnnBackendAttributeName_t name, const SpDnnArray *array);

/* What is asked of an engine. */
typedef struct SpDnnDemands {
    bool tensor_cores;
    int64_t workspace;
} SpDnnDemands;

/* The operation, not finished, whose graph a plan is for. */
typedef cudnnBackendDescriptor_t SpDnnOperation(SpDnnBuild *b, const SpDnnKey *key);

/* The key's plan, which is made where it is new: its `plan` is NULL where no engine meets the
 * demands. It stays until as many others have been used. */
SpDnnPlan *sp_dnn_find_plan(SpCuda *cuda, const SpDnnKey *key, SpDnnOperation *operation,
                            const SpDnnDemands *demands);

/* Runs a plan on the arrays of these names. */
cudnnStatus_t sp_dnn_execute(SpCuda *cuda, const SpDnnPlan *plan, int64_t count, const int64_t *ids,
                             void **data, void *work);

#endif
