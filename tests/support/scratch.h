/*
 * A temporary folder of a group of tests, files in it, and what is said of them.
 */
#ifndef SP_TESTS_SCRATCH_H
#define SP_TESTS_SCRATCH_H

#include <stddef.h>

#include "base/status.h"

/* Group set-up and its end, which removes whatever is left; the folder is below $TMPDIR or /tmp. */
int scratch_make(void **state);
int scratch_remove(void **state);

const char *scratch_folder(void);

/* The path of a file in the folder; four may be in use at once. */
const char *scratch_path(const char *name);

/* Removes files and empty folders; returns how many there were. */
int scratch_empty(void);

/* A file's bytes with a 0 behind them, to be freed; *size (NULL: not wanted) without it. */
char *file_read(const char *path, size_t *size);
void file_write(const char *path, const void *data, size_t size);

void assert_text(const char *path, const char *expected);
void assert_ok(SpStatus status);

/* An error of one line that holds `part`. */
void assert_error(SpStatus status, SpCode code, const char *part);

#endif
