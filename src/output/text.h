/*
 * What the formats that are text share.
 */
#ifndef SP_OUTPUT_TEXT_H
#define SP_OUTPUT_TEXT_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"

/* Calls print(stream, what), which uses fprintf and may stop where ferror is set; numbers have a
 * point in any locale. Flushes `stream`, which stays the caller's. `label`: the file's name.
 * Errors: SP_OUTPUT "cannot write LABEL: No space left on device"; SP_MEMORY. */
SpStatus sp_text_print(FILE *stream, const char *label,
                       void (*print)(FILE *stream, const void *what), const void *what);

/* The value, for fprintf, which may write "-nan". */
static inline double sp_text_number(float value)
{
    return isnan(value) ? (double)NAN : (double)value;
}

/* A string in double quotes, as JSON and USD have it: a control character becomes a space, and what
 * is not UTF-8 U+FFFD. */
void sp_text_quote(FILE *stream, const char *text);

/* Whether a file begins with `text`, of at most 127 bytes. */
bool sp_text_begins(const char *path, const char *text);

#endif
