/*
 * OpenBLAS, loaded when the first device is opened: what only prints does without it, and loading
 * it where address space is short does not end, as it waits for a buffer of 128 MB. Functions are
 * called through one table whose types come from OpenBLAS's own header.
 */
#ifndef SP_BASE_BLAS_H
#define SP_BASE_BLAS_H

#include <cblas.h>

#include "base/status.h"

#define SP_BLAS_FUNCTIONS(F)                                                                       \
    F(cblas_sgemm)                                                                                 \
    F(cblas_dsyrk)                                                                                 \
    F(cblas_dtrsm)                                                                                 \
    F(cblas_dtrsv)                                                                                 \
    F(openblas_set_num_threads)

typedef struct SpBlas {
#define SP_BLAS_FIELD(name) __typeof__(&name) name;
    SP_BLAS_FUNCTIONS(SP_BLAS_FIELD)
#undef SP_BLAS_FIELD
    /* OpenBLAS's own, without a header; NULL where this one has them not. */
    char *(*get_config)(void); /* a static text */
    void *(*memory_alloc)(int unused);
    void (*memory_free)(void *buffer);
} SpBlas;

/* Loads it, with no threads of its own. SP_MEMORY where there is no address space for it; SP_DEVICE
 * with the loader's words. Not for several threads at once. */
SpStatus sp_blas_load(void);

/* The table, which stays for the life of the process. Where nobody has loaded it yet, it is loaded;
 * a program that must not fail in that loads it first. */
const SpBlas *sp_blas(void);

#endif
