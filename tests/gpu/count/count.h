/*
 * A CUDA device that computes nothing and counts: the host code of kernels/cuda is the real one,
 * each launch, product and copy adds to a row of a table. Device memory cannot be read, so host
 * code that reads it ends the program.
 */
#ifndef SP_TESTS_GPU_COUNT_H
#define SP_TESTS_GPU_COUNT_H

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a row's launches are bound by, to which a rate belongs: count.c, "rates". */
typedef enum CountKind {
    COUNT_MEMORY,    /* bytes of device memory */
    COUNT_BF16,      /* products of half precision on tensor cores */
    COUNT_TF32,      /* products as TF32 */
    COUNT_F32,       /* sums of products on ordinary cores */
    COUNT_FUSED,     /* attention of the library */
    COUNT_ATTENTION, /* attention of our own on tensor cores */
    COUNT_BUS,       /* bytes between host and device */
    COUNT_BESIDE,    /* the same beside the ops */
    COUNT_KINDS
} CountKind;

typedef struct CountRow {
    const char *name;
    CountKind kind;
    int64_t launches;
    double bytes, operations; /* read and written; multiply and add as two */
    double unaligned;         /* of the operations: those whose rows do not begin at 16 bytes */
    double seconds;           /* by the rates */
} CountRow;

/* The device of compute capability major.0 with `processors` multiprocessors and as many bytes of
 * free memory. The caller closes it. */
SpDevice *count_open(int major, int processors, size_t available);

/* Bytes of an element of an array of operands, or of another (kernels/ops.h), now. */
double count_element(bool operand);

/* Forgets what was counted. */
void count_reset(void);

/* `launches` launches that move `bytes` and compute `operations`, of which `unaligned`, on a share
 * `filled` of the multiprocessors. */
typedef struct CountWork {
    int64_t launches;
    double bytes, operations, unaligned, filled;
} CountWork;
void count_add(const char *name, CountKind kind, CountWork work);

/* The i-th row, NULL behind the last; in the order in which they were first used. */
const CountRow *count_row(int i);

/* The row of that name, or one of zeros. */
CountRow count_of(const char *name);

/* All rows together, in seconds those that run one after another; `kind` has no meaning in it. */
CountRow count_total(void);

/* Prints the table as comments of TAP. */
void count_print(void);

#ifdef __cplusplus
}
#endif

#endif
