/* The part of the CBLAS interface that spatrack calls, row-major only. */
#ifndef SP_TESTS_PLAIN_CBLAS_H
#define SP_TESTS_PLAIN_CBLAS_H

typedef int blasint;
enum CBLAS_ORDER { CblasRowMajor = 101 };
typedef enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 } CBLAS_TRANSPOSE;
enum CBLAS_UPLO { CblasUpper = 121, CblasLower = 122 };
enum CBLAS_DIAG { CblasNonUnit = 131 };
enum CBLAS_SIDE { CblasLeft = 141, CblasRight = 142 };

void openblas_set_num_threads(int threads);

/* c = alpha a op(b) + beta c; a must not be transposed. */
void cblas_sgemm(enum CBLAS_ORDER order, CBLAS_TRANSPOSE a_order, CBLAS_TRANSPOSE b_order,
                 blasint m, blasint n, blasint k, float alpha, const float *a, blasint lda,
                 const float *b, blasint ldb, float beta, float *c, blasint ldc);

/* The lower triangle of c = alpha a a^T + beta c, a [n, k]. */
void cblas_dsyrk(enum CBLAS_ORDER order, enum CBLAS_UPLO uplo, CBLAS_TRANSPOSE trans, blasint n,
                 blasint k, double alpha, const double *a, blasint lda, double beta, double *c,
                 blasint ldc);

/* b [m, n] := alpha b a^-T for lower a. */
void cblas_dtrsm(enum CBLAS_ORDER order, enum CBLAS_SIDE side, enum CBLAS_UPLO uplo,
                 CBLAS_TRANSPOSE trans, enum CBLAS_DIAG diag, blasint m, blasint n, double alpha,
                 const double *a, blasint lda, double *b, blasint ldb);

/* x := a^-1 x or a^-T x for lower a. */
void cblas_dtrsv(enum CBLAS_ORDER order, enum CBLAS_UPLO uplo, CBLAS_TRANSPOSE trans,
                 enum CBLAS_DIAG diag, blasint n, const double *a, blasint lda, double *x,
                 blasint step);

#endif
