/*
 * How an archive is written: what each test of the writer goes through.
 */
#ifndef SP_TESTS_NPZ_WAYS_H
#define SP_TESTS_NPZ_WAYS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Way {
    bool compress;
    uint32_t zip64_from;
} Way;

static const Way WAYS[] = {{false, UINT32_MAX}, {true, UINT32_MAX}, {false, 1},
                           {true, 1},           {false, 300},       {true, 300}};
enum { WAY_COUNT = sizeof WAYS / sizeof *WAYS };

#endif
