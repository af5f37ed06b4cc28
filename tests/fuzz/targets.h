/*
 * What is fuzzed: each target reads bytes as the program reads one kind of input, and aborts when
 * the answer is neither a success nor one of the errors that it may give, in one line. The replay
 * (replay.c) runs files through a target in any build, libFuzzer (libfuzzer.c) where clang has it.
 */
#ifndef SP_TESTS_FUZZ_TARGETS_H
#define SP_TESTS_FUZZ_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define FUZZ_TARGETS(F)                                                                            \
    F(safetensors)                                                                                 \
    F(index)                                                                                       \
    F(config)                                                                                      \
    F(npz)                                                                                         \
    F(result)                                                                                      \
    F(csv)                                                                                         \
    F(png)                                                                                         \
    F(exif)                                                                                        \
    F(list)                                                                                        \
    F(options)                                                                                     \
    F(video)

typedef void FuzzTarget(const uint8_t *data, size_t size);

#define FUZZ_DECLARE(name) FuzzTarget fuzz_##name;
FUZZ_TARGETS(FUZZ_DECLARE)
#undef FUZZ_DECLARE

/* The target of that name, or NULL. */
FuzzTarget *fuzz_target(const char *name);

/* The path of a file in memory that holds these bytes until the next call. */
const char *fuzz_file(const uint8_t *data, size_t size);

/* A folder that goes away with the process, and the path of a file in it, which the next call
 * changes. */
const char *fuzz_folder(void);
const char *fuzz_path(const char *name);
void fuzz_write(const char *name, const void *data, size_t size);

/* Aborts unless the status is a success, `kind`, or short memory, in a line of its own. Returns
 * whether it is a success. */
int fuzz_expect(SpStatus status, SpCode kind);

/* Whether a block of FFmpeg's is in use (reuse.c, which only libFuzzer's program has). */
bool fuzz_blocks_left(void);

/* The first bytes of an input choose, the rest is read: takes one off, 0 when there is none. */
static inline uint8_t fuzz_take(const uint8_t **data, size_t *size)
{
    if (*size == 0)
        return 0;
    --*size;
    return *(*data)++;
}

#endif
