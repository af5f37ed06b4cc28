#include "store/safetensors.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/registry.h"

enum { HEADER_LENGTH_BYTES = 8 };
static const size_t HEADER_LIMIT = 100u << 20;

typedef struct Entry {
    const char *name; /* owned by the parsed header */
    SpTensor tensor;
    size_t begin, end;
} Entry;

struct SpSafetensors {
    const unsigned char *data;
    size_t size;
    bool mapped;
    cJSON *header;
    Entry *entry; /* by offset */
    size_t count;
    Entry **by_name;
};

static int compare_offset(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int compare_name(const void *a, const void *b)
{
    return strcmp((*(Entry *const *)a)->name, (*(Entry *const *)b)->name);
}

static bool whole_number(const cJSON *json, double limit, size_t *out)
{
    if (!cJSON_IsNumber(json) || !(json->valuedouble >= 0) || json->valuedouble > limit ||
        floor(json->valuedouble) != json->valuedouble)
        return false;
    *out = (size_t)json->valuedouble;
    return true;
}

static bool parse_dtype(const cJSON *json, SpDtype *out)
{
    static const char *const name[] = {
        [SP_F32] = "F32", [SP_F16] = "F16", [SP_BF16] = "BF16", [SP_F64] = "F64",
        [SP_I32] = "I32", [SP_I64] = "I64", [SP_U8] = "U8",     [SP_BOOL] = "BOOL"};
    for (size_t i = 0; cJSON_IsString(json) && i < sizeof name / sizeof *name; i++)
        if (strcmp(json->valuestring, name[i]) == 0) {
            *out = (SpDtype)i;
            return true;
        }
    return false;
}

/* Fills shape and returns the tensor's bytes, or SIZE_MAX when the shape is unusable. */
static size_t parse_shape(const cJSON *shape, SpTensor *tensor)
{
    size_t bytes = sp_dtype_size(tensor->dtype);
    if (!cJSON_IsArray(shape) || cJSON_GetArraySize(shape) > SP_MAX_RANK)
        return SIZE_MAX;
    const cJSON *item;
    cJSON_ArrayForEach(item, shape)
    {
        size_t dim;
        if (!whole_number(item, 1e15, &dim) || __builtin_mul_overflow(bytes, dim, &bytes))
            return SIZE_MAX;
        tensor->dim[tensor->rank++] = (int64_t)dim;
    }
    return bytes;
}

static SpStatus parse_entry(const cJSON *json, size_t data_size, const unsigned char *data,
                            const char *label, SpCode kind, Entry *entry)
{
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(json, "data_offsets");
    entry->name = json->string;
    if (!parse_dtype(cJSON_GetObjectItemCaseSensitive(json, "dtype"), &entry->tensor.dtype))
        return sp_error(kind, "%s: tensor %.100s has no known dtype", label, entry->name);
    const size_t bytes =
        parse_shape(cJSON_GetObjectItemCaseSensitive(json, "shape"), &entry->tensor);
    if (bytes == SIZE_MAX)
        return sp_error(kind, "%s: tensor %.100s has an impossible shape", label, entry->name);
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !whole_number(offsets->child, 1e15, &entry->begin) ||
        !whole_number(offsets->child->next, 1e15, &entry->end))
        return sp_error(kind, "%s: tensor %.100s has no data offsets", label, entry->name);
    if (entry->begin > entry->end || entry->end > data_size)
        return sp_error(kind, "%s: tensor %.100s lies outside the file (truncated? fetch it again)",
                        label, entry->name);
    if (entry->end - entry->begin != bytes)
        return sp_error(kind, "%s: tensor %.100s needs %zu bytes but has %zu", label, entry->name,
                        bytes, entry->end - entry->begin);
    entry->tensor.data = data + entry->begin;
    return sp_ok();
}

static SpStatus index_entries(SpSafetensors *file, const char *label, SpCode kind)
{
    qsort(file->entry, file->count, sizeof *file->entry, compare_offset);
    size_t end = 0;
    for (size_t i = 0; i < file->count; i++) {
        const Entry *e = &file->entry[i];
        if (e->begin < end && e->begin < e->end)
            return sp_error(kind, "%s: tensor %.100s overlaps %.100s", label, e->name,
                            file->entry[i - 1].name);
        end = e->end > end ? e->end : end;
        file->by_name[i] = &file->entry[i];
    }
    qsort(file->by_name, file->count, sizeof *file->by_name, compare_name);
    for (size_t i = 1; i < file->count; i++)
        if (strcmp(file->by_name[i - 1]->name, file->by_name[i]->name) == 0)
            return sp_error(kind, "%s: tensor %.100s appears twice", label, file->by_name[i]->name);
    return sp_ok();
}

static SpStatus parse_header(SpSafetensors *file, const char *label, SpCode kind)
{
    static const char pointer[] = "version https://git-lfs";
    if (file->size >= sizeof pointer && memcmp(file->data, pointer, sizeof pointer - 1) == 0)
        return sp_error(kind, "%s: a git-lfs pointer, not the file itself; fetch it with %s", label,
                        sp_weights_make());
    size_t length = 0;
    if (file->size < HEADER_LENGTH_BYTES)
        return sp_error(kind, "%s: too short for a safetensors file", label);
    for (int i = HEADER_LENGTH_BYTES - 1; i >= 0; i--)
        length = length << 8 | file->data[i];
    if (length > file->size - HEADER_LENGTH_BYTES || length > HEADER_LIMIT)
        return sp_error(kind,
                        "%s: the header (%zu bytes) is longer than the file; not a "
                        "safetensors file, or truncated",
                        label, length);
    const char *text = (const char *)file->data + HEADER_LENGTH_BYTES;
    file->header = cJSON_ParseWithLength(text, length);
    if (!cJSON_IsObject(file->header))
        return sp_error(kind, "%s: the header is not JSON; not a safetensors file", label);

    const size_t items = (size_t)cJSON_GetArraySize(file->header);
    file->entry = calloc(items + 1, sizeof *file->entry);
    file->by_name = calloc(items + 1, sizeof(Entry *));
    if (!file->entry || !file->by_name)
        return sp_no_memory(label);
    const unsigned char *data = file->data + HEADER_LENGTH_BYTES + length;
    const size_t data_size = file->size - HEADER_LENGTH_BYTES - length;
    const cJSON *item;
    cJSON_ArrayForEach(item, file->header)
    {
        if (strcmp(item->string, "__metadata__") == 0)
            continue;
        SP_TRY(parse_entry(item, data_size, data, label, kind, &file->entry[file->count]));
        file->count++;
    }
    return index_entries(file, label, kind);
}

SpStatus sp_safetensors_open_memory(const void *data, size_t size, const char *label, SpCode kind,
                                    SpSafetensors **out)
{
    *out = NULL;
    SpSafetensors *file = calloc(1, sizeof *file);
    if (!file)
        return sp_no_memory(label);
    file->data = data;
    file->size = size;
    const SpStatus status = parse_header(file, label, kind);
    if (status.code == SP_OK)
        *out = file;
    else
        sp_safetensors_close(file);
    return status;
}

SpStatus sp_safetensors_open(const char *path, SpCode kind, SpSafetensors **out)
{
    *out = NULL;
    const int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe's writer is not waited for */
    if (fd < 0)
        return sp_error(kind, "%s: %s", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return sp_error(kind, "%s: not a regular file", path);
    }
    const size_t size = (size_t)info.st_size;
    static char nothing[1];
    void *data = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : nothing;
    close(fd);
    if (data == MAP_FAILED)
        return sp_error(kind, "%s: cannot map it: %s", path, strerror(errno));
    const SpStatus status = sp_safetensors_open_memory(data, size, path, kind, out);
    if (status.code == SP_OK)
        (*out)->mapped = size > 0;
    else if (size)
        munmap(data, size);
    return status;
}

void sp_safetensors_close(SpSafetensors *file)
{
    if (!file)
        return;
    cJSON_Delete(file->header);
    free(file->entry);
    free(file->by_name);
    if (file->mapped)
        munmap((void *)(uintptr_t)file->data, file->size);
    free(file);
}

const SpTensor *sp_safetensors_find(const SpSafetensors *file, const char *name)
{
    Entry key = {.name = name}, *at = &key;
    Entry **found = bsearch(&at, file->by_name, file->count, sizeof *file->by_name, compare_name);
    return found ? &(*found)->tensor : NULL;
}

size_t sp_safetensors_count(const SpSafetensors *file)
{
    return file->count;
}

const char *sp_safetensors_at(const SpSafetensors *file, size_t i, const SpTensor **tensor)
{
    if (tensor)
        *tensor = &file->entry[i].tensor;
    return file->entry[i].name;
}

const char *sp_safetensors_metadata(const SpSafetensors *file, const char *key)
{
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(file->header, "__metadata__");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(all, key));
}
