/*
 * A comparison as a table, or as JSON.
 */
#ifndef SP_COMPARE_PRINT_H
#define SP_COMPARE_PRINT_H

#include "compare/measure.h"

void sp_comparison_print(const SpComparison *comparison, FILE *stream);

/* One object on one line (man/spatrack.1, "COMPARING RESULTS"). SP_MEMORY. */
SpStatus sp_comparison_print_json(const SpComparison *comparison, FILE *stream);

#endif
