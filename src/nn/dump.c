#include "nn/dump.h"

#include <stdlib.h>

enum { NAME_CAPACITY = 128 };

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

void sp_nn_dump_host(SpNn *nn, const float *host, int rank, const int64_t *dims, const char *format,
                     ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    if (sp_nn_dumps(nn))
        nn->dump->tensor(nn->dump->self, name, rank, dims, host);
}

void sp_nn_dump(SpNn *nn, const float *device, int rank, const int64_t *dims, const char *format,
                ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    int64_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= dims[i];
    float *data = sp_nn_dump_buffer(nn, count);
    if (data) {
        sp_nn_copy(nn, SP_DOWNLOAD, data, device, count);
        sp_nn_dump_host(nn, data, rank, dims, "%s", name);
    }
    free(data);
}

void sp_nn_dump_map(SpNn *nn, SpFeatureMap map, const char *format, ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    const int64_t pixels = map.h * map.w, count = pixels * map.c;
    float *rows = sp_nn_dump_buffer(nn, count), *planes = sp_nn_dump_buffer(nn, count);
    if (rows && planes) {
        sp_nn_copy(nn, SP_DOWNLOAD, rows, map.x, count);
        for (int64_t i = 0; i < count; i++)
            planes[i] = rows[i % pixels * map.c + i / pixels];
        sp_nn_dump_host(nn, planes, 3, SP_DIMS(map.c, map.h, map.w), "%s", name);
    }
    free(rows);
    free(planes);
}
