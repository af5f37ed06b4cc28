/*
 * How far apart two results are: a row for each thing that is compared.
 */
#ifndef SP_COMPARE_MEASURE_H
#define SP_COMPARE_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#include "compare/compare.h"
#include "compare/results.h"

/* What of a row is held against its limit: at most half, or 5 %, of the values lie above the first
 * two. */
typedef enum SpStatistic { SP_MEDIAN, SP_PERCENTILE_95, SP_LARGEST, SP_SHARE } SpStatistic;

typedef struct SpCompareRow {
    const char *name, *unit; /* the unit of its values */
    SpStatistic checked;
    bool measured; /* false: nothing of the kind in both results */
    bool within;
    int64_t count;     /* of values */
    int64_t different; /* of them, in a row that is checked by its share */
    double value[4];   /* by SpStatistic; a share is from 0 to 1 */
    double limit;
} SpCompareRow;

enum { SP_COMPARE_ROWS = 8, SP_COMPARE_NOTES = 24 };

typedef struct SpComparison {
    const SpComparedResult *results; /* expected, actual */
    SpTolerances tolerances;
    double unit; /* the median depth, which lengths are divided by; 1: there is none */
    SpCompareRow row[SP_COMPARE_ROWS];
    char note[SP_COMPARE_NOTES][400]; /* what cannot be compared, what one alone has */
    int notes;
    bool within;
    char different[300]; /* the names of what is not, with commas */
} SpComparison;

/* Compares results[0], expected, with results[1], which must outlive *out. SP_MEMORY. */
SpStatus sp_comparison_measure(const SpComparedResult results[2], const SpTolerances *tolerances,
                               SpComparison *out);

#endif
