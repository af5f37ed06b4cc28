#include "gpu/count/count.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64 };

static CountRow rows[ROWS];
static int count;

/* Rates of an H100 SXM5 that the estimate assumes; tests/bench/gpu_estimate.md says where each
 * comes from. Operations a second at full use of the multiprocessors, or bytes a second. */
static const double rates[COUNT_KINDS] = {
    [COUNT_MEMORY] = 3e12, [COUNT_BF16] = 620e12,  [COUNT_TF32] = 310e12,
    [COUNT_F32] = 45e12,   [COUNT_FUSED] = 455e12, [COUNT_ATTENTION] = 250e12,
    [COUNT_BUS] = 20e9,    [COUNT_BESIDE] = 20e9,
};
static const double SECONDS_A_LAUNCH = 1e-6;
/* What is left of a product's rate when its rows do not begin at 16 bytes. */
static const double UNALIGNED = 1.0 / 3;

void count_reset(void)
{
    count = 0;
}

static CountRow *row_of(const char *name, CountKind kind)
{
    for (int i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0 && rows[i].kind == kind)
            return &rows[i];
    if (count == ROWS)
        abort();
    rows[count] = (CountRow){.name = name, .kind = kind};
    return &rows[count++];
}

void count_add(const char *name, CountKind kind, CountWork work)
{
    CountRow *row = row_of(name, kind);
    const bool bus = kind == COUNT_BUS || kind == COUNT_BESIDE;
    const double bytes = bus ? 0 : work.bytes / rates[COUNT_MEMORY];
    const double aligned = work.operations - work.unaligned;
    const double computed =
        kind == COUNT_MEMORY ? 0
        : bus                ? work.bytes / rates[kind]
                             : (aligned + work.unaligned / UNALIGNED) / rates[kind] / work.filled;
    row->launches += work.launches;
    row->bytes += work.bytes;
    row->operations += work.operations;
    row->unaligned += work.unaligned;
    row->seconds +=
        (bytes > computed ? bytes : computed) + (double)work.launches * SECONDS_A_LAUNCH;
}

const CountRow *count_row(int i)
{
    return i < count ? &rows[i] : NULL;
}

static void add_row(CountRow *sum, const CountRow *row)
{
    sum->launches += row->launches;
    sum->bytes += row->bytes;
    sum->operations += row->operations;
    sum->unaligned += row->unaligned;
    sum->seconds += row->kind == COUNT_BESIDE ? 0 : row->seconds;
}

CountRow count_of(const char *name)
{
    CountRow sum = {.name = name};
    for (int i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            add_row(&sum, &rows[i]);
    return sum;
}

CountRow count_total(void)
{
    CountRow sum = {.name = "all"};
    for (int i = 0; i < count; i++)
        add_row(&sum, &rows[i]);
    return sum;
}

static void print(const CountRow *row)
{
    printf("# %-26s %9lld %10.1f %10.2f %10.2f %10.3f\n", row->name, (long long)row->launches,
           row->bytes / 1e9, row->operations / 1e12, row->unaligned / 1e12, row->seconds);
}

void count_print(void)
{
    const CountRow sum = count_total();
    printf("# %-26s %9s %10s %10s %10s %10s\n", "", "launches", "GB", "TFLOP", "unaligned",
           "est. s");
    for (int i = 0; i < count; i++)
        print(&rows[i]);
    print(&sum);
}
