/*
 * The formats that a run can write: one table, which --help, the checks before any work and the
 * writing read.
 */
#ifndef SP_OUTPUT_FORMATS_H
#define SP_OUTPUT_FORMATS_H

#include "output/format.h"

/* The product's format whose ending `path` has; NULL: none. */
const SpFormat *sp_format_of(SpProduct product, const char *path);

/* The product's formats in order, from 0; NULL: no more. */
const SpFormat *sp_format_at(SpProduct product, int index);

#endif
