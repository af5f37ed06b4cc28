/*
 * cuBLASLt on the CPU, from the descriptors that it is given (libcublasLt): column-major products
 * of float32, TF32, bf16 and f16 with their epilogues. What cuBLASLt refuses by its manual is
 * refused: types that do not go together, rows longer than their distance, an algorithm of another
 * product, epilogues for fewer than four outputs, halves that do not begin at four bytes.
 */
#include <cublasLt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "numbers.h"

/* What was issued to the stream before; the program's, where it has streams (emulate/runtime.c). */
__attribute__((weak)) void emulate_wait_stream(cudaStream_t stream);

/* A product that the next call refuses, with this status; set by tests. */
int standin_blas_refuses;

struct StandinHandle {
    int open;
};
struct StandinMatmul {
    cublasComputeType_t compute;
    cublasOperation_t transposed;
    cublasLtEpilogue_t epilogue;
    const void *bias;
};
struct StandinLayout {
    cudaDataType type;
    int64_t rows, columns, ld;
};
struct StandinPreference {
    size_t workspace;
    uint32_t schemes, alignment[4];
};

static cublasStatus_t made(const void *what)
{
    return what ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    return made(*handle = calloc(1, sizeof **handle));
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void)
{
    return CUBLAS_VER_MAJOR * 10000;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
                                        cudaDataType scale)
{
    if (scale != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if ((*desc = calloc(1, sizeof **desc)))
        **desc = (struct StandinMatmul){compute, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, NULL};
    return made(*desc);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t take(void *to, size_t size, const void *value, size_t bytes)
{
    if (bytes != size)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t bytes)
{
    if (name == CUBLASLT_MATMUL_DESC_TRANSA)
        return take(&desc->transposed, sizeof desc->transposed, value, bytes);
    if (name == CUBLASLT_MATMUL_DESC_EPILOGUE)
        return take(&desc->epilogue, sizeof desc->epilogue, value, bytes);
    if (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER)
        return take(&desc->bias, sizeof desc->bias, value, bytes);
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    if ((int64_t)rows > ld)
        return CUBLAS_STATUS_INVALID_VALUE;
    if ((*layout = calloc(1, sizeof **layout)))
        **layout = (struct StandinLayout){type, (int64_t)rows, (int64_t)columns, ld};
    return made(*layout);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    return made(*preference = calloc(1, sizeof **preference));
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    free(preference);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t bytes)
{
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return take(&preference->workspace, sizeof preference->workspace, value, bytes);
    if (name == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        return take(&preference->schemes, sizeof preference->schemes, value, bytes);
    const int which = (int)name - (int)CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
    if (which < 0 || which > 3)
        return CUBLAS_STATUS_INVALID_VALUE;
    return take(&preference->alignment[which], sizeof(uint32_t), value, bytes);
}

static bool has_bias(cublasLtEpilogue_t epilogue)
{
    return epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
}

static size_t size_of(cudaDataType type)
{
    return type == CUDA_R_32F ? 4 : 2;
}

/* One that is not there is NOT_SUPPORTED, one that makes no sense INVALID_VALUE. */
static cublasStatus_t check(const struct StandinMatmul *p, const struct StandinLayout *a,
                            const struct StandinLayout *b, const struct StandinLayout *c,
                            const struct StandinLayout *d)
{
    if (p->transposed != CUBLAS_OP_T || a->rows != b->rows || a->columns != d->rows ||
        b->columns != d->columns || c->rows != d->rows || c->columns != d->columns)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (a->type != b->type || c->type != d->type || (d->type != CUDA_R_32F && d->type != a->type))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p->epilogue != CUBLASLT_EPILOGUE_DEFAULT && d->rows < 4)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

/* What an algorithm is for: all but the number of columns of b, c and d. */
static cublasLtMatmulAlgo_t algorithm(const struct StandinMatmul *p, const struct StandinLayout *a,
                                      const struct StandinLayout *d)
{
    return (cublasLtMatmulAlgo_t){{0xa190, (uint64_t)p->compute, (uint64_t)p->epilogue,
                                   (uint64_t)a->type, (uint64_t)d->type, (uint64_t)a->rows,
                                   (uint64_t)a->columns, 0}};
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t *results, int *found)
{
    cublasStatus_t status = handle ? check(desc, a, b, c, d) : CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < 2 && size_of(a->type) == 2; i++)
        if (preference->alignment[i] < 4)
            status = CUBLAS_STATUS_NOT_SUPPORTED;
    *found = status == CUBLAS_STATUS_SUCCESS && wanted > 0;
    if (*found)
        results[0] = (cublasLtMatmulHeuristicResult_t){.algo = algorithm(desc, a, d)};
    return status;
}

static float element(const void *data, cudaDataType type, int64_t i)
{
    if (type == CUDA_R_32F)
        return ((const float *)data)[i];
    const uint16_t half = ((const uint16_t *)data)[i];
    return type == CUDA_R_16BF ? sp_bf16_to_f32(half) : sp_f16_to_f32(half);
}

static void store(void *data, cudaDataType type, int64_t i, float value)
{
    if (type == CUDA_R_32F)
        ((float *)data)[i] = value;
    else
        ((uint16_t *)data)[i] = type == CUDA_R_16BF ? sp_f32_to_bf16(value) : standin_to_f16(value);
}

/* Columns of `rows` numbers as float32, as the products read them; NULL without memory. */
static float *columns_of(const void *data, const struct StandinLayout *l, bool tf32)
{
    float *x = malloc((size_t)(l->rows * l->columns) * sizeof *x + 1);
    for (int64_t j = 0; x && j < l->columns; j++)
        for (int64_t i = 0; i < l->rows; i++) {
            const float value = element(data, l->type, j * l->ld + i);
            x[j * l->rows + i] = tf32 ? standin_tf32(value) : value;
        }
    return x;
}

static float dot(const float *a, const float *b, int64_t count)
{
    enum { LANES = 16 };
    float sum[LANES] = {0}, total = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            sum[l] += a[i + l] * b[i + l];
    for (; i < count; i++)
        total += a[i] * b[i];
    for (int l = 0; l < LANES; l++)
        total += sum[l];
    return total;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    const cublasLtMatmulAlgo_t own = algorithm(desc, a_layout, d_layout);
    cublasStatus_t status = check(desc, a_layout, b_layout, c_layout, d_layout);
    if (emulate_wait_stream)
        emulate_wait_stream(stream);
    if (!handle || !workspace || !workspace_bytes || memcmp(algo, &own, sizeof own) != 0 ||
        (has_bias(desc->epilogue) && !desc->bias))
        status = CUBLAS_STATUS_INVALID_VALUE;
    if (standin_blas_refuses)
        status = (cublasStatus_t)standin_blas_refuses;
    standin_blas_refuses = 0;
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    const bool tf32 = desc->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    const bool relu =
        desc->epilogue == CUBLASLT_EPILOGUE_RELU || desc->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
    const float scale = *(const float *)alpha, add = *(const float *)beta;
    float *left = columns_of(a, a_layout, tf32), *right = columns_of(b, b_layout, tf32);
    const int64_t depth = a_layout->rows;
    for (int64_t j = 0; left && right && j < d_layout->columns; j++)
        for (int64_t i = 0; i < d_layout->rows; i++) {
            float value = scale * dot(left + i * depth, right + j * depth, depth);
            if (add != 0)
                value += add * element(c, c_layout->type, j * c_layout->ld + i);
            if (has_bias(desc->epilogue))
                value += element(desc->bias, d_layout->type, i);
            store(d, d_layout->type, j * d_layout->ld + i, relu && value < 0 ? 0 : value);
        }
    status = left && right ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
    free(left), free(right);
    return status;
}
