#include "output/tensors.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/tensor.h"
#include "output/atomic.h"

enum {
    NAME_CAPACITY = 192,
    PATH_CAPACITY = 4096,
    FILE_CAPACITY = PATH_CAPACITY + NAME_CAPACITY + 16,
    HEADER = 512 - 8, /* of a file, after 8 bytes of its length; filled up with spaces */
};

typedef struct Tensor {
    char name[NAME_CAPACITY];
    int rank;                  /* of a part */
    int64_t dims[SP_MAX_RANK]; /* the number of parts, and the shape of each */
} Tensor;

struct SpTensorFolder {
    char path[PATH_CAPACITY]; /* with its last slash */
    Tensor *tensor;
    size_t tensors;
    SpStatus status;
};

/* Makes the folders that lead to a path. */
static SpStatus make_folders(const char *path)
{
    char folder[PATH_CAPACITY];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return sp_cannot_write(folder);
    }
    return sp_ok();
}

SpStatus sp_tensor_folder_open(const char *path, SpTensorFolder **out)
{
    SpTensorFolder *folder = *out = calloc(1, sizeof *folder);
    if (!folder)
        return sp_no_memory(path);
    if (snprintf(folder->path, PATH_CAPACITY, "%s/", path) >= PATH_CAPACITY)
        return sp_error(SP_USAGE, "the folder's name is longer than %d characters", PATH_CAPACITY);
    SP_TRY(make_folders(folder->path));
    return access(folder->path, W_OK) == 0 ? sp_ok() : sp_cannot_write(path);
}

/* The tensor of that name, new without parts; NULL without memory. */
static Tensor *find(SpTensorFolder *folder, const char *name, int rank, const int64_t *dims)
{
    for (size_t i = 0; i < folder->tensors; i++)
        if (strcmp(folder->tensor[i].name, name) == 0)
            return &folder->tensor[i];
    Tensor *larger = realloc(folder->tensor, (folder->tensors + 1) * sizeof *larger);
    if (!larger)
        return NULL;
    folder->tensor = larger;
    Tensor *tensor = &larger[folder->tensors++];
    *tensor = (Tensor){.rank = rank};
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    memcpy(tensor->dims + 1, dims, (size_t)rank * sizeof *dims);
    return tensor;
}

static void path_of(const SpTensorFolder *folder, const char *name, const char *ending,
                    char out[FILE_CAPACITY])
{
    snprintf(out, FILE_CAPACITY, "%s%s%s", folder->path, name, ending);
}

/* Of `rank` dims of float32. */
static size_t bytes_of(int rank, const int64_t *dims)
{
    size_t bytes = sizeof(float);
    for (int i = 0; i < rank; i++)
        bytes *= (size_t)dims[i];
    return bytes;
}

static SpStatus append(const SpTensorFolder *folder, Tensor *tensor, const float *data)
{
    const bool first = tensor->dims[0]++ == 0;
    const size_t bytes = bytes_of(tensor->rank, tensor->dims + 1);
    char path[FILE_CAPACITY];
    path_of(folder, tensor->name, ".part", path);
    if (first)
        SP_TRY(make_folders(path));
    FILE *file = fopen(path, first ? "wbe" : "abe");
    if (!file)
        return sp_cannot_write(path);
    bool written = !first || fseek(file, 8 + HEADER, SEEK_SET) == 0;
    written = written && fwrite(data, 1, bytes, file) == bytes;
    written = fclose(file) == 0 && written;
    return written ? sp_ok() : sp_cannot_write(path);
}

void sp_tensor_folder_add(SpTensorFolder *folder, const char *name, int rank, const int64_t *dims,
                          const float *data)
{
    if (folder->status.code != SP_OK)
        return;
    Tensor *tensor = find(folder, name, rank, dims);
    if (!tensor)
        folder->status = sp_no_memory(name);
    else if (tensor->rank != rank ||
             memcmp(tensor->dims + 1, dims, (size_t)rank * sizeof *dims) != 0)
        folder->status = sp_error(SP_OUTPUT, "internal error: tensor %s changes its shape", name);
    else
        folder->status = append(folder, tensor, data);
}

/* {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}} */
static void make_header(const Tensor *tensor, char out[HEADER])
{
    const char *slash = strrchr(tensor->name, '/');
    int at = snprintf(out, HEADER, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[",
                      slash ? slash + 1 : tensor->name);
    for (int i = tensor->dims[0] == 1; i <= tensor->rank; i++)
        at += snprintf(out + at, HEADER - (size_t)at, "%lld%s", (long long)tensor->dims[i],
                       i < tensor->rank ? "," : "");
    at += snprintf(out + at, HEADER - (size_t)at, "],\"data_offsets\":[0,%zu]}}",
                   bytes_of(tensor->rank + 1, tensor->dims));
    memset(out + at, ' ', HEADER - (size_t)at);
}

static SpStatus finish(const SpTensorFolder *folder, const Tensor *tensor)
{
    char part[FILE_CAPACITY], path[FILE_CAPACITY], header[HEADER];
    path_of(folder, tensor->name, ".part", part);
    path_of(folder, tensor->name, ".safetensors", path);
    make_header(tensor, header);
    FILE *file = fopen(part, "r+be");
    if (!file)
        return sp_cannot_write(part);
    bool written =
        fwrite(&(uint64_t){HEADER}, 8, 1, file) == 1 && fwrite(header, HEADER, 1, file) == 1;
    sp_atomic_keep_mode(fileno(file), path);
    written = fclose(file) == 0 && written && rename(part, path) == 0;
    return written ? sp_ok() : sp_cannot_write(path);
}

/* The names in the order in which they came. */
static SpStatus write_order(const SpTensorFolder *folder)
{
    char path[FILE_CAPACITY];
    path_of(folder, "order", ".txt", path);
    FILE *file = fopen(path, "we");
    if (!file)
        return sp_cannot_write(path);
    bool written = true;
    for (size_t i = 0; i < folder->tensors; i++)
        written = fprintf(file, "%s\n", folder->tensor[i].name) > 0 && written;
    written = fclose(file) == 0 && written;
    return written ? sp_ok() : sp_cannot_write(path);
}

SpStatus sp_tensor_folder_finish(SpTensorFolder *folder)
{
    SP_TRY(folder->status);
    for (size_t i = 0; i < folder->tensors; i++)
        SP_TRY(finish(folder, &folder->tensor[i]));
    return write_order(folder);
}

void sp_tensor_folder_close(SpTensorFolder *folder)
{
    if (!folder)
        return;
    for (size_t i = 0; i < folder->tensors; i++) {
        char part[FILE_CAPACITY];
        path_of(folder, folder->tensor[i].name, ".part", part);
        unlink(part); /* there is none once it is finished */
    }
    free(folder->tensor);
    free(folder);
}
