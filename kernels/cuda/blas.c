/*
 * Products by cuBLASLt, loaded at run time. Its matrices are column-major: our y [m, n] is its
 * [n, m], the product of w transposed with x.
 *
 * An algorithm is chosen once for each pair of widths, formats, alignments and epilogue, for a
 * fixed number of rows, if there is one without splitting the inner sum: so a row's bits do not
 * depend on how many rows there are. Alignments count up to 16 bytes, the most that its kernels
 * load at once: that arena memory is often aligned to more than 64 is chance, on which no algorithm
 * may depend.
 */
#include "kernels/cuda/libraries.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/runtime.h"

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
#define LIBRARY  "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR)

enum { ENTRIES = 512, NOMINAL_ROWS = SP_CUDA_ROWS, MAX_ALIGNMENT = 16 };

#define FUNCTIONS(F)                                                                               \
    F(cublasLtCreate)                                                                              \
    F(cublasLtDestroy)                                                                             \
    F(cublasLtGetVersion)                                                                          \
    F(cublasLtMatmul)                                                                              \
    F(cublasLtMatmulDescCreate)                                                                    \
    F(cublasLtMatmulDescDestroy)                                                                   \
    F(cublasLtMatmulDescSetAttribute)                                                              \
    F(cublasLtMatrixLayoutCreate)                                                                  \
    F(cublasLtMatrixLayoutDestroy)                                                                 \
    F(cublasLtMatmulPreferenceCreate)                                                              \
    F(cublasLtMatmulPreferenceDestroy)                                                             \
    F(cublasLtMatmulPreferenceSetAttribute)                                                        \
    F(cublasLtMatmulAlgoGetHeuristic)

/* What an algorithm depends on. */
typedef struct Key {
    int64_t n, k, ldx, ldw, ldc, ldy;
    int32_t formats, tf32, bias, relu, c; /* formats: of the operands, and 256 times y's */
    uint32_t x_align, w_align, c_align, y_align, bias_align;
} Key;
_Static_assert(sizeof(Key) == 6 * 8 + 10 * 4, "keys are compared as bytes");

typedef struct Entry {
    Key key;
    enum { EMPTY, FOUND, NONE } state;
    cublasLtMatmulAlgo_t algo;
} Entry;

struct SpCudaBlas {
#define F(name) __typeof__(&name) name;
    FUNCTIONS(F)
#undef F
    cublasLtHandle_t handle;
    Entry entry[ENTRIES];
};

/* One call's descriptors. */
typedef struct Call {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, c, y;
} Call;

static bool load(struct SpCudaBlas *blas, const char **why)
{
    void *library = sp_cuda_library(LIBRARY, why);
    bool all = library != NULL;
    if (library)
        *why = "it lacks a function";
#define F(name) all = all && (*(void **)&blas->name = dlsym(library, #name));
    FUNCTIONS(F)
#undef F
    return all;
}

SpStatus sp_cuda_blas_open(SpCuda *cuda)
{
    const char *why = "";
    struct SpCudaBlas *blas = calloc(1, sizeof *blas);
    if (!blas)
        return sp_no_memory("the CUDA device");
    if (!load(blas, &why)) {
        free(blas);
        return sp_error(SP_DEVICE,
                        "cuda: " LIBRARY " cannot be used (%s): install CUDA's libraries, or set "
                        "LD_LIBRARY_PATH to where they are",
                        why);
    }
    const cublasStatus_t status = blas->cublasLtCreate(&blas->handle);
    if (status != CUBLAS_STATUS_SUCCESS) {
        free(blas);
        return sp_error(status == CUBLAS_STATUS_ALLOC_FAILED ? SP_MEMORY : SP_DEVICE,
                        "cuda: " LIBRARY " does not start on this card: cuBLAS status %d",
                        (int)status);
    }
    cuda->blas = blas;
    return sp_ok();
}

void sp_cuda_blas_close(SpCuda *cuda)
{
    if (!cuda->blas)
        return;
    cuda->blas->cublasLtDestroy(cuda->blas->handle);
    free(cuda->blas);
    cuda->blas = NULL;
}

size_t sp_cuda_blas_version(void)
{
    const char *why;
    struct SpCudaBlas *blas = calloc(1, sizeof *blas);
    const size_t version = blas && load(blas, &why) ? blas->cublasLtGetVersion() : 0;
    free(blas);
    return version;
}

static uint32_t alignment(const void *at)
{
    uint32_t bytes = MAX_ALIGNMENT;
    while ((uintptr_t)at % bytes)
        bytes /= 2;
    return bytes;
}

static Key key_of(const SpGemm *p)
{
    return (Key){.n = p->n,
                 .k = p->k,
                 .ldx = p->ldx,
                 .ldw = p->ldw,
                 .ldc = p->c ? p->ldc : 0,
                 .ldy = p->ldy,
                 .formats = (int32_t)(p->format + 256 * p->y_format),
                 .tf32 = p->tf32,
                 .bias = p->bias != NULL,
                 .relu = p->relu,
                 .c = p->c != NULL,
                 .x_align = alignment(p->x),
                 .w_align = alignment(p->w),
                 .c_align = alignment(p->c ? p->c : p->y),
                 .y_align = alignment(p->y),
                 .bias_align = alignment(p->bias)};
}

/* The key's entry, or an empty one; NULL when the table is full. */
static Entry *find(struct SpCudaBlas *blas, const Key *key)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < sizeof *key; i++)
        hash = (hash ^ ((const unsigned char *)key)[i]) * 1099511628211u;
    for (size_t i = 0; i < ENTRIES; i++) {
        Entry *entry = &blas->entry[(hash + i) % ENTRIES];
        if (entry->state == EMPTY || memcmp(&entry->key, key, sizeof *key) == 0)
            return entry;
    }
    return NULL;
}

static cudaDataType type_of(SpDtype format)
{
    return format == SP_F32 ? CUDA_R_32F : format == SP_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

/* The bias has the type of y, as it has unless the library is told otherwise. */
static bool describe(struct SpCudaBlas *b, const SpGemm *p, int64_t rows, Call *call)
{
    const cudaDataType type = type_of(p->format), result = type_of(p->y_format);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue =
        p->relu   ? (p->bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU)
        : p->bias ? CUBLASLT_EPILOGUE_BIAS
                  : CUBLASLT_EPILOGUE_DEFAULT;
    const uint64_t m = (uint64_t)rows, n = (uint64_t)p->n, k = (uint64_t)p->k;
    *call = (Call){0};
    /* CUBLAS_COMPUTE_32F: float32 operands stay float32. */
    const cublasComputeType_t compute = p->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    return b->cublasLtMatmulDescCreate(&call->desc, compute, CUDA_R_32F) == 0 &&
           b->cublasLtMatmulDescSetAttribute(call->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                             sizeof transposed) == 0 &&
           b->cublasLtMatmulDescSetAttribute(call->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                             sizeof epilogue) == 0 &&
           (!p->bias ||
            b->cublasLtMatmulDescSetAttribute(call->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                              &p->bias, sizeof p->bias) == 0) &&
           b->cublasLtMatrixLayoutCreate(&call->w, type, k, n, p->ldw) == 0 &&
           b->cublasLtMatrixLayoutCreate(&call->x, type, k, m, p->ldx) == 0 &&
           b->cublasLtMatrixLayoutCreate(&call->c, result, n, m, p->c ? p->ldc : p->ldy) == 0 &&
           b->cublasLtMatrixLayoutCreate(&call->y, result, n, m, p->ldy) == 0;
}

static void destroy(struct SpCudaBlas *b, Call *call)
{
    cublasLtMatrixLayout_t layouts[] = {call->w, call->x, call->c, call->y};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i])
            b->cublasLtMatrixLayoutDestroy(layouts[i]);
    if (call->desc)
        b->cublasLtMatmulDescDestroy(call->desc);
}

/* The library's first choice for NOMINAL_ROWS among the algorithms whose reduction schemes (how
 * parts of the inner sum are joined) are in the mask `reductions`. */
static bool choose(struct SpCudaBlas *b, const SpGemm *p, const Key *key, uint32_t reductions,
                   cublasLtMatmulAlgo_t *algo)
{
    Call call;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t result;
    const size_t workspace = SP_CUDA_LIBRARY;
    int found = 0;
    memset(&result, 0, sizeof result);
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t bytes;
    } attributes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &key->w_align, sizeof key->w_align},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &key->x_align, sizeof key->x_align},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &key->c_align, sizeof key->c_align},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &key->y_align, sizeof key->y_align},
    };
    bool good =
        describe(b, p, NOMINAL_ROWS, &call) && b->cublasLtMatmulPreferenceCreate(&preference) == 0;
    for (size_t i = 0; good && i < sizeof attributes / sizeof *attributes; i++)
        good = b->cublasLtMatmulPreferenceSetAttribute(
                   preference, attributes[i].name, attributes[i].value, attributes[i].bytes) == 0;
    good = good && b->cublasLtMatmulAlgoGetHeuristic(b->handle, call.desc, call.w, call.x, call.c,
                                                     call.y, preference, 1, &result, &found) == 0;
    good = good && found > 0 && result.state == CUBLAS_STATUS_SUCCESS;
    if (good)
        *algo = result.algo;
    if (preference)
        b->cublasLtMatmulPreferenceDestroy(preference);
    destroy(b, &call);
    return good;
}

static cublasStatus_t run(SpCuda *cuda, const SpGemm *p, const cublasLtMatmulAlgo_t *algo)
{
    struct SpCudaBlas *b = cuda->blas;
    const float one = 1, beta = p->c ? 1 : 0;
    Call call;
    cublasStatus_t status = CUBLAS_STATUS_NOT_SUPPORTED;
    if (describe(b, p, p->m, &call))
        status = b->cublasLtMatmul(b->handle, call.desc, &one, p->w, call.w, p->x, call.x, &beta,
                                   p->c ? p->c : p->y, call.c, p->y, call.y, algo,
                                   cuda->work + SP_CUDA_SCRATCH, SP_CUDA_LIBRARY, cuda->stream);
    destroy(b, &call);
    return status;
}

bool sp_cuda_blas_gemm(SpCuda *cuda, const SpGemm *p)
{
    if (!cuda->blas)
        return false;
    const Key key = key_of(p);
    Entry *entry = find(cuda->blas, &key);
    if (!entry)
        return false;
    if (entry->state == EMPTY) {
        /* One that does not split the inner sum, or else one that adds its parts in a fixed order:
         * then a row's bits still do not depend on the other rows. */
        const bool found =
            choose(cuda->blas, p, &key, CUBLASLT_REDUCTION_SCHEME_NONE, &entry->algo) ||
            choose(cuda->blas, p, &key, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, &entry->algo);
        entry->key = key;
        entry->state = found ? FOUND : NONE;
    }
    if (entry->state == NONE)
        return false;
    cublasStatus_t status = run(cuda, p, &entry->algo);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) {
        /* Its choice does not work for every number of rows: ours does from now on. */
        entry->state = NONE;
        return false;
    }
    if (status != CUBLAS_STATUS_SUCCESS) {
        char reason[32];
        snprintf(reason, sizeof reason, "cuBLAS status %d", (int)status);
        sp_cuda_fail(cuda, status == CUBLAS_STATUS_ALLOC_FAILED ? SP_MEMORY : SP_DEVICE,
                     "a product", "cuBLASLt", reason);
    }
    return true;
}
