/*
 * Matrix products: OpenBLAS, one thread a call. The callers spread tiles over threads
 * themselves, which is faster than its own threading and gives the same bits for any number of
 * threads.
 */
#ifndef SP_KERNELS_CPU_GEMM_H
#define SP_KERNELS_CPU_GEMM_H

#include <stdint.h>

#include "base/status.h"

/* To be called before any product. Loads OpenBLAS, keeps it from computing in threads of its own
 * and has it allocate its buffers now: 128 MB of addresses for each product that runs at the same
 * time, touched as needed, so that free memory can be measured afterwards. SP_MEMORY when it
 * cannot: OpenBLAS would try for ever; SP_DEVICE when it cannot be loaded. */
SpStatus sp_gemm_prepare(int threads);

/* c = alpha a b^T + beta c: a [m, k], b [n, k], c [m, n], rows lda, ldb, ldc apart. Eleven
 * parameters: those of every BLAS. */
void sp_gemm_nt(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc);

/* c = alpha a b + beta c: a [m, k], b [k, n], c [m, n]. Eleven parameters: as above. */
void sp_gemm_nn(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc);

#endif
