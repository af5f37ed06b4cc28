#include "nn/dump.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool sp_nn_dumps(const SpNn *nn)
{
    return nn->dump && sp_nn_live(nn);
}

float *sp_nn_dump_buffer(SpNn *nn, int64_t count)
{
    float *buffer = sp_nn_dumps(nn) ? malloc((size_t)count * sizeof *buffer) : NULL;
    if (sp_nn_dumps(nn) && !buffer)
        sp_nn_fail(nn, sp_no_memory("a dumped tensor"));
    return buffer;
}

static void hand_over(const SpNn *nn, const float *data, int rank, const int64_t *dims,
                      const char *format, va_list args)
{
    char name[128];
    vsnprintf(name, sizeof name, format, args);
    nn->dump->tensor(nn->dump->self, name, rank, dims, data);
}

void sp_nn_dump_host(SpNn *nn, const float *host, int rank, const int64_t *dims, const char *format,
                     ...)
{
    va_list args;
    va_start(args, format);
    if (sp_nn_dumps(nn))
        hand_over(nn, host, rank, dims, format, args);
    va_end(args);
}

void sp_nn_dump(SpNn *nn, const float *device, int rank, const int64_t *dims, const char *format,
                ...)
{
    int64_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= dims[i];
    float *data = sp_nn_dump_buffer(nn, count);
    va_list args;
    va_start(args, format);
    if (data) {
        sp_nn_copy(nn, SP_DOWNLOAD, data, device, count);
        hand_over(nn, data, rank, dims, format, args);
    }
    va_end(args);
    free(data);
}

void sp_nn_dump_map(SpNn *nn, SpFeatureMap map, const char *format, ...)
{
    const int64_t pixels = map.h * map.w, count = pixels * map.c;
    float *rows = sp_nn_dump_buffer(nn, count), *planes = sp_nn_dump_buffer(nn, count);
    va_list args;
    va_start(args, format);
    if (rows && planes) {
        sp_nn_copy(nn, SP_DOWNLOAD, rows, map.x, count);
        for (int64_t i = 0; i < count; i++)
            planes[i] = rows[i % pixels * map.c + i / pixels];
        hand_over(nn, planes, 3, (const int64_t[]){map.c, map.h, map.w}, format, args);
    }
    va_end(args);
    free(rows);
    free(planes);
}
