#include "kernels/cpu/gemm.h"

#include <stdbool.h>
#include <sys/mman.h>

#include "base/blas.h"

static bool is_free(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED && munmap(memory, bytes) == 0;
}

static void alloc_buffers(int count)
{
    if (count == 0)
        return;
    void *buffer = sp_blas()->memory_alloc(0);
    alloc_buffers(count - 1);
    sp_blas()->memory_free(buffer);
}

SpStatus sp_gemm_prepare(int threads)
{
    enum { MAX_THREADS = 64 }; /* threads of Debian's build */
    static const size_t BUFFER = (size_t)129 << 20;
    static int allocated; /* OpenBLAS keeps its buffers */
    SP_TRY(sp_blas_load());
    sp_blas()->openblas_set_num_threads(1);
    const int count = threads < MAX_THREADS ? threads : MAX_THREADS;
    if (count <= allocated || !sp_blas()->memory_alloc || !sp_blas()->memory_free)
        return sp_ok();
    if (!is_free((size_t)(count - allocated) * BUFFER))
        return sp_no_memory("the buffers of OpenBLAS");
    alloc_buffers(count);
    allocated = count;
    return sp_ok();
}

void sp_gemm_nt(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    sp_blas()->cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n,
                           (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c,
                           (blasint)ldc);
}

void sp_gemm_nn(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    sp_blas()->cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, (blasint)n,
                           (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c,
                           (blasint)ldc);
}
