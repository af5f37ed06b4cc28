/*
 * The header of an .npy array and its elements, for reading
 * (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
 */
#ifndef SP_OUTPUT_NPY_H
#define SP_OUTPUT_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/tensor.h"

/* What the header says. */
typedef struct SpNpy {
    char type;      /* f, u, i or b */
    size_t element; /* bytes */
    int rank;
    int64_t dim[SP_MAX_RANK];
    bool fortran;
    bool big_endian;
} SpNpy;

/* A dict of Python with descr, fortran_order and shape in any order, into `descr` and `npy`, which
 * must be zeroed; false when `text` is none. A descr that is no string is a structured type and
 * leaves `descr` empty. */
bool sp_npy_parse(const char *text, char descr[16], SpNpy *npy);

/* The element at `at`; what is no float64 exactly, whole numbers above 2^53, is rounded. */
double sp_npy_element(const SpNpy *npy, const unsigned char *at);

/* "24,*,3", a dim of -1 as *, or "()" for a scalar. */
void sp_npy_print_shape(char *out, size_t capacity, int rank, const int64_t *dims);

#endif
