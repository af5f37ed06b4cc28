#include "support/dumped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TENSORS = 128 };

typedef struct Tensor {
    char name[128];
    float *values;
    int64_t count;
} Tensor;

struct Dumped {
    SpDump sink;
    Tensor tensor[MAX_TENSORS];
    int tensors;
};

static Tensor *find(const Dumped *dumped, const char *name)
{
    for (int i = 0; i < dumped->tensors; i++)
        if (strcmp(dumped->tensor[i].name, name) == 0)
            return (Tensor *)&dumped->tensor[i];
    return NULL;
}

static void append(void *self, const char *name, int rank, const int64_t *dims, const float *data)
{
    Dumped *dumped = self;
    int64_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= dims[i];
    Tensor *tensor = find(dumped, name);
    if (!tensor) {
        assert_true(dumped->tensors < MAX_TENSORS);
        tensor = &dumped->tensor[dumped->tensors++];
        snprintf(tensor->name, sizeof tensor->name, "%s", name);
    }
    const size_t bytes = (size_t)(tensor->count + count) * sizeof *data;
    tensor->values = realloc(tensor->values, bytes);
    assert_non_null(tensor->values);
    memcpy(tensor->values + tensor->count, data, (size_t)count * sizeof *data);
    tensor->count += count;
}

Dumped *dumped_begin(SpNn *nn)
{
    Dumped *dumped = calloc(1, sizeof *dumped);
    assert_non_null(dumped);
    dumped->sink = (SpDump){append, dumped};
    nn->dump = &dumped->sink;
    return dumped;
}

void dumped_end(SpNn *nn, Dumped *dumped)
{
    nn->dump = NULL;
    for (int i = 0; i < dumped->tensors; i++)
        free(dumped->tensor[i].values);
    free(dumped);
}

const float *dumped_values(const Dumped *dumped, const char *name, int64_t *count)
{
    const Tensor *tensor = find(dumped, name);
    if (!tensor)
        fail_msg("no %s was dumped", name);
    *count = tensor->count;
    return tensor->values;
}

int dumped_compare(const Dumped *dumped, const char *unit, Golden *golden, const char *prefix,
                   double tolerance)
{
    const size_t length = strlen(unit);
    int compared = 0;
    for (int i = 0; i < dumped->tensors; i++) {
        const Tensor *ours = &dumped->tensor[i];
        if (strncmp(ours->name, unit, length) != 0 || ours->name[length] != '/')
            continue;
        const char *tensor = ours->name + length + 1;
        const char *name = prefix ? golden_name(prefix, tensor) : tensor;
        if (!golden_has(golden, name))
            continue;
        const int64_t stride = golden_stride(golden, name);
        assert_true(ours->count > (sp_tensor_count(golden_tensor(golden, name)) - 1) * stride);
        golden_compare(golden, name, ours->values, tolerance);
        compared++;
    }
    return compared;
}
