/*
 * Counted checks for programs that must do without a test library, printed as TAP; the last line is
 * `N passed, N failed`.
 */
#ifndef SP_TESTS_GPU_CHECK_H
#define SP_TESTS_GPU_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* One check with its name. Returns `good`. */
bool check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A call that must succeed; its message is part of the name when it did not. */
bool check_status(SpStatus status, const char *name);

/* A fact about the card or its libraries, which nobody promises: a comment, whatever it is. */
void fact(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints the counts; 0 when none failed. */
int check_end(void);

/* max |a - b| / max(1, max |b|), the measure of the goldens; infinite when a value is no number. */
double worst_error(const float *a, const float *b, int64_t count);

/* Pearson's, of two arrays that are not constant. */
double correlation(const float *a, const float *b, int64_t count);

#endif
