#include "kernels/cpu/gemm.h"

#include <cblas.h>
#include <sys/mman.h>

/* OpenBLAS's own; no header has them. */
void *blas_memory_alloc(int unused) __attribute__((weak));
void blas_memory_free(void *buffer) __attribute__((weak));

static bool is_free(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED && munmap(memory, bytes) == 0;
}

static void alloc_buffers(int count)
{
    if (count == 0)
        return;
    void *buffer = blas_memory_alloc(0);
    alloc_buffers(count - 1);
    blas_memory_free(buffer);
}

bool sp_gemm_prepare(int threads)
{
    enum { MAX_THREADS = 64 }; /* threads of Debian's build */
    static const size_t BUFFER = (size_t)129 << 20;
    static int allocated; /* OpenBLAS keeps its buffers */
    static int idle = -1; /* its own threads, whose buffers are never ours */
    if (idle < 0)
        idle = openblas_get_num_threads() - 1;
    openblas_set_num_threads(1);
    const int count = (threads < MAX_THREADS ? threads : MAX_THREADS) + idle;
    if (count <= allocated || !blas_memory_alloc || !blas_memory_free)
        return true;
    if (!is_free((size_t)(count - allocated) * BUFFER))
        return false;
    alloc_buffers(count);
    allocated = count;
    return true;
}

void sp_gemm_nt(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n, (blasint)k, alpha,
                a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

void sp_gemm_nn(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, (blasint)n, (blasint)k,
                alpha, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}
