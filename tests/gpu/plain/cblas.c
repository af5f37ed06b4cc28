#include "cblas.h"

#include <stddef.h>

void openblas_set_num_threads(int threads)
{
    (void)threads;
}

static void scale_row(float *c, blasint n, float beta)
{
    for (blasint j = 0; j < n; j++)
        c[j] = beta == 0 ? 0 : beta * c[j];
}

void cblas_sgemm(enum CBLAS_ORDER order, CBLAS_TRANSPOSE a_order, CBLAS_TRANSPOSE b_order,
                 blasint m, blasint n, blasint k, float alpha, const float *a, blasint lda,
                 const float *b, blasint ldb, float beta, float *c, blasint ldc)
{
    (void)order, (void)a_order;
    for (blasint i = 0; i < m; i++) {
        float *row = c + (ptrdiff_t)i * ldc;
        const float *left = a + (ptrdiff_t)i * lda;
        scale_row(row, n, beta);
        for (blasint j = 0; b_order == CblasTrans && j < n; j++) {
            const float *right = b + (ptrdiff_t)j * ldb;
            float sum = 0;
            for (blasint l = 0; l < k; l++)
                sum += left[l] * right[l];
            row[j] += alpha * sum;
        }
        for (blasint l = 0; b_order == CblasNoTrans && l < k; l++)
            for (blasint j = 0; j < n; j++)
                row[j] += alpha * left[l] * b[(ptrdiff_t)l * ldb + j];
    }
}

void cblas_dsyrk(enum CBLAS_ORDER order, enum CBLAS_UPLO uplo, CBLAS_TRANSPOSE trans, blasint n,
                 blasint k, double alpha, const double *a, blasint lda, double beta, double *c,
                 blasint ldc)
{
    (void)order, (void)uplo, (void)trans;
    for (blasint i = 0; i < n; i++)
        for (blasint j = 0; j <= i; j++) {
            double sum = 0;
            for (blasint l = 0; l < k; l++)
                sum += a[(ptrdiff_t)i * lda + l] * a[(ptrdiff_t)j * lda + l];
            double *at = c + (ptrdiff_t)i * ldc + j;
            *at = alpha * sum + (beta == 0 ? 0 : beta * *at);
        }
}

void cblas_dtrsm(enum CBLAS_ORDER order, enum CBLAS_SIDE side, enum CBLAS_UPLO uplo,
                 CBLAS_TRANSPOSE trans, enum CBLAS_DIAG diag, blasint m, blasint n, double alpha,
                 const double *a, blasint lda, double *b, blasint ldb)
{
    (void)side;
    for (blasint i = 0; i < m; i++) {
        for (blasint j = 0; j < n; j++)
            b[(ptrdiff_t)i * ldb + j] *= alpha;
        /* A row of x a^T = b is a x = b. */
        cblas_dtrsv(order, uplo, trans == CblasTrans ? CblasNoTrans : CblasTrans, diag, n, a, lda,
                    b + (ptrdiff_t)i * ldb, 1);
    }
}

void cblas_dtrsv(enum CBLAS_ORDER order, enum CBLAS_UPLO uplo, CBLAS_TRANSPOSE trans,
                 enum CBLAS_DIAG diag, blasint n, const double *a, blasint lda, double *x,
                 blasint step)
{
    (void)order, (void)uplo, (void)diag, (void)step;
    for (blasint k = 0; k < n; k++) {
        const blasint i = trans == CblasNoTrans ? k : n - 1 - k;
        double sum = x[i];
        for (blasint j = 0; j < k; j++)
            sum -= trans == CblasNoTrans ? a[(ptrdiff_t)i * lda + j] * x[j]
                                         : a[(ptrdiff_t)(n - 1 - j) * lda + i] * x[n - 1 - j];
        x[i] = sum / a[(ptrdiff_t)i * lda + i];
    }
}
