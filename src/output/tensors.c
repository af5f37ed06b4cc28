#include "output/tensors.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of a file; the header's text is filled up with spaces. */
enum { HEADER = 512, LENGTH_BYTES = 8 };
enum { MAX_RANK = 8, NAME_CAPACITY = 192, PATH_CAPACITY = 4096 };
enum { FILE_CAPACITY = PATH_CAPACITY + NAME_CAPACITY + 16 };

typedef struct Tensor {
    char name[NAME_CAPACITY];
    int rank;
    int64_t dims[MAX_RANK];
    long long parts; /* so many of that shape */
    bool finished;
} Tensor;

struct SpTensorFolder {
    char path[PATH_CAPACITY];
    Tensor *tensor;
    size_t tensors, capacity;
    SpStatus status;
};

static SpStatus cannot_write(const char *path)
{
    return sp_error(SP_OUTPUT, "cannot write %.400s: %s", path, strerror(errno));
}

/* Makes the folders that lead to a path. */
static SpStatus make_folders(const char *path)
{
    char folder[PATH_CAPACITY];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return cannot_write(folder);
    }
    return sp_ok();
}

SpStatus sp_tensor_folder_open(const char *path, SpTensorFolder **out)
{
    *out = NULL;
    SpTensorFolder *folder = calloc(1, sizeof *folder);
    if (!folder)
        return sp_no_memory(path);
    SpStatus status = sp_ok();
    if ((size_t)snprintf(folder->path, sizeof folder->path, "%s/", path) >= sizeof folder->path)
        status =
            sp_error(SP_USAGE, "the folder's name is longer than %d characters", PATH_CAPACITY);
    if (status.code == SP_OK)
        status = make_folders(folder->path);
    if (status.code == SP_OK && access(folder->path, W_OK) != 0)
        status = cannot_write(path);
    if (status.code == SP_OK)
        *out = folder;
    else
        free(folder);
    return status;
}

static Tensor *find(SpTensorFolder *folder, const char *name)
{
    for (size_t i = 0; i < folder->tensors; i++)
        if (strcmp(folder->tensor[i].name, name) == 0)
            return &folder->tensor[i];
    return NULL;
}

static Tensor *new_tensor(SpTensorFolder *folder, const char *name, int rank, const int64_t *dims)
{
    if (folder->tensors == folder->capacity) {
        const size_t capacity = folder->capacity ? 2 * folder->capacity : 64;
        Tensor *larger = realloc(folder->tensor, capacity * sizeof *larger);
        if (!larger)
            return NULL;
        folder->tensor = larger;
        folder->capacity = capacity;
    }
    Tensor *tensor = &folder->tensor[folder->tensors++];
    *tensor = (Tensor){.rank = rank};
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    memcpy(tensor->dims, dims, (size_t)rank * sizeof *dims);
    return tensor;
}

static void path_of(const SpTensorFolder *folder, const Tensor *tensor, const char *ending,
                    char out[FILE_CAPACITY])
{
    snprintf(out, FILE_CAPACITY, "%s%s%s", folder->path, tensor->name, ending);
}

static size_t part_bytes(const Tensor *tensor)
{
    size_t bytes = sizeof(float);
    for (int i = 0; i < tensor->rank; i++)
        bytes *= (size_t)tensor->dims[i];
    return bytes;
}

static SpStatus append(const SpTensorFolder *folder, Tensor *tensor, const float *data)
{
    char path[FILE_CAPACITY], header[HEADER] = {0};
    path_of(folder, tensor, ".part", path);
    if (tensor->parts == 0)
        SP_TRY(make_folders(path));
    FILE *file = fopen(path, tensor->parts ? "abe" : "wbe");
    if (!file)
        return cannot_write(path);
    const size_t bytes = part_bytes(tensor);
    bool written = tensor->parts || fwrite(header, 1, HEADER, file) == HEADER;
    written = written && fwrite(data, 1, bytes, file) == bytes;
    written = fclose(file) == 0 && written;
    tensor->parts++;
    return written ? sp_ok() : cannot_write(path);
}

void sp_tensor_folder_add(SpTensorFolder *folder, const char *name, int rank, const int64_t *dims,
                          const float *data)
{
    if (folder->status.code != SP_OK)
        return;
    Tensor *tensor = find(folder, name);
    if (!tensor)
        tensor = new_tensor(folder, name, rank, dims);
    if (!tensor)
        folder->status = sp_no_memory(name);
    else if (tensor->rank != rank || memcmp(tensor->dims, dims, (size_t)rank * sizeof *dims) != 0)
        folder->status = sp_error(SP_OUTPUT, "internal error: tensor %s changes its shape", name);
    else
        folder->status = append(folder, tensor, data);
}

/* The header's length and text: {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}. */
static void make_header(const Tensor *tensor, unsigned char out[HEADER])
{
    const char *slash = strrchr(tensor->name, '/');
    char *text = (char *)out + LENGTH_BYTES;
    const size_t capacity = HEADER - LENGTH_BYTES;
    memset(out, ' ', HEADER);
    for (int i = 0; i < LENGTH_BYTES; i++)
        out[i] = (unsigned char)((unsigned long long)capacity >> 8 * i);
    int at = snprintf(text, capacity, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[",
                      slash ? slash + 1 : tensor->name);
    if (tensor->parts > 1)
        at += snprintf(text + at, capacity - (size_t)at, "%lld%s", tensor->parts,
                       tensor->rank ? "," : "");
    for (int i = 0; i < tensor->rank; i++)
        at += snprintf(text + at, capacity - (size_t)at, "%s%lld", i ? "," : "",
                       (long long)tensor->dims[i]);
    at += snprintf(text + at, capacity - (size_t)at, "],\"data_offsets\":[0,%lld]}}",
                   tensor->parts * (long long)part_bytes(tensor));
    text[at] = ' ';
}

static SpStatus finish(const SpTensorFolder *folder, Tensor *tensor)
{
    char part[FILE_CAPACITY], path[FILE_CAPACITY];
    unsigned char header[HEADER];
    path_of(folder, tensor, ".part", part);
    path_of(folder, tensor, ".safetensors", path);
    make_header(tensor, header);
    FILE *file = fopen(part, "r+be");
    if (!file)
        return cannot_write(part);
    bool written = fwrite(header, 1, HEADER, file) == HEADER;
    written = fclose(file) == 0 && written && rename(part, path) == 0;
    tensor->finished = written;
    return written ? sp_ok() : cannot_write(path);
}

/* The names in the order in which they came. */
static SpStatus write_order(const SpTensorFolder *folder)
{
    char path[FILE_CAPACITY];
    snprintf(path, sizeof path, "%sorder.txt", folder->path);
    FILE *file = fopen(path, "we");
    if (!file)
        return cannot_write(path);
    bool written = true;
    for (size_t i = 0; i < folder->tensors; i++)
        written = fprintf(file, "%s\n", folder->tensor[i].name) > 0 && written;
    written = fclose(file) == 0 && written;
    return written ? sp_ok() : cannot_write(path);
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
    for (size_t i = 0; i < folder->tensors; i++)
        if (!folder->tensor[i].finished) {
            char part[FILE_CAPACITY];
            path_of(folder, &folder->tensor[i], ".part", part);
            unlink(part);
        }
    free(folder->tensor);
    free(folder);
}
