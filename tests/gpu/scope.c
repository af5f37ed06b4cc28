#include "gpu/scope.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/synth.h"

double op_tolerance(const OpCase *c, SpPrecision precision)
{
    if (precision == SP_PRECISION_F32)
        return c->tolerance;
    if (c->half_tolerance == 0)
        return -1;
    if (precision == SP_PRECISION_BF16)
        return c->half_tolerance;
    return c->half_tolerance / 4 > c->tolerance ? c->half_tolerance / 4 : c->tolerance;
}

const OpCase *op_case(size_t i)
{
    if (i < op_products_count)
        return &op_products[i];
    i -= op_products_count;
    return i < op_small_count ? &op_small[i] : NULL;
}

void *checked(void *memory)
{
    if (!memory) {
        fputs("no memory for the test of an op\n", stderr);
        abort();
    }
    return memory;
}

float *op_noise(const char *name, int64_t count)
{
    float *x = checked(malloc((size_t)count * sizeof *x));
    synth_fill(name, 1, 0, 0, count, x);
    return x;
}

void transfer(Scope *s, SpCopyKind kind, void *to, const void *from, size_t bytes)
{
    s->device->ops.copy(s->device, &(SpCopy){kind, to, bytes, from, bytes, bytes, 1});
}

void *put(Scope *s, const void *data, size_t bytes)
{
    void *memory = checked(s->device->alloc(s->device, bytes));
    s->bytes[s->used] = bytes;
    s->memory[s->used++] = memory;
    transfer(s, SP_UPLOAD, memory, data, bytes);
    return memory;
}

float *put_noise(Scope *s, const char *name, int64_t count)
{
    float *x = op_noise(name, count), *memory = put(s, x, (size_t)count * sizeof *x);
    s->device->status(s->device); /* the copy may still read x */
    free(x);
    return memory;
}

void get(Scope *s, const float *from, float *y, int64_t count)
{
    transfer(s, SP_DOWNLOAD, y, from, (size_t)count * sizeof *y);
    s->device->status(s->device);
}

void end(Scope *s)
{
    s->device->status(s->device);
    for (int i = 0; i < s->used; i++)
        s->device->free(s->device, s->memory[i], s->bytes[i]);
}
