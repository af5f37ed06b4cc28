#include "kernels/cpu/gemm.h"

#include <cblas.h>

void sp_gemm_single_threaded(void)
{
    openblas_set_num_threads(1);
}

static void product(CBLAS_TRANSPOSE b_order, int64_t m, int64_t n, int64_t k, float alpha,
                    const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
                    int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, b_order, (blasint)m, (blasint)n, (blasint)k, alpha, a,
                (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

void sp_gemm_nt(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    product(CblasTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void sp_gemm_nn(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    product(CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
