#include "store/checkpoint.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/tensor.h"
#include "store/compact.h"
#include "store/registry.h"

enum { NAME_CAPACITY = 256, PATH_CAPACITY = 4096, JSON_LIMIT = 64 << 20 };

typedef struct Copy {
    struct Copy *next;
    _Alignas(16) float data[];
} Copy;

struct SpCheckpoint {
    char label[PATH_CAPACITY];
    SpSafetensors *compact; /* looked into first; NULL: none */
    SpSafetensors **file;   /* the shards */
    size_t files;
    cJSON *config; /* NULL when there is none */
    Copy *copies;
    SpWeights *weights; /* what was bound */
    size_t bound_bytes;
};

static SpStatus read_json(const char *path, cJSON **out)
{
    *out = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* waits for no pipe's writer */
    FILE *file = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!file) {
        const int why = errno;
        if (fd >= 0)
            close(fd);
        return why == ENOMEM ? sp_no_memory(path)
                             : sp_error(SP_CHECKPOINT, "%s: %s", path, strerror(why));
    }
    struct stat info;
    const bool sane =
        fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) && info.st_size <= JSON_LIMIT;
    const size_t size = sane ? (size_t)info.st_size : 0;
    char *text = malloc(size + 1);
    const bool whole = text && fread(text, 1, size, file) == size;
    fclose(file);
    if (whole)
        *out = cJSON_ParseWithLength(text, size);
    free(text);
    if (!text)
        return sp_no_memory(path);
    if (!sane || !whole || !cJSON_IsObject(*out)) {
        cJSON_Delete(*out);
        *out = NULL;
        return sp_error(SP_CHECKPOINT, "%s: not a JSON object; fetch it again", path);
    }
    return sp_ok();
}

/* Adds a shard: `size` bytes at `data` called `path`, or (data NULL) the file there. */
static SpStatus add_file(SpCheckpoint *checkpoint, const char *path, const void *data, size_t size)
{
    SpSafetensors **file = realloc(checkpoint->file, (checkpoint->files + 1) * sizeof *file);
    if (!file)
        return sp_no_memory(path);
    checkpoint->file = file;
    file += checkpoint->files;
    SP_TRY(data ? sp_safetensors_open_memory(data, size, path, SP_CHECKPOINT, file)
                : sp_safetensors_open(path, SP_CHECKPOINT, file));
    checkpoint->files++;
    return sp_ok();
}

static bool seen_before(const cJSON *map, const cJSON *item)
{
    for (const cJSON *other = map->child; other != item; other = other->next)
        if (strcmp(other->valuestring, item->valuestring) == 0)
            return true;
    return false;
}

/* Whether `path`, of a file in `folder`, leads to one that is in it, or to none. */
static bool stays_in(const char *folder, const char *path)
{
    char *root = realpath(folder, NULL), *file = realpath(path, NULL);
    const size_t length = root ? strlen(root) : 0;
    const bool stays = root && (!file || (strncmp(file, root, length) == 0 && file[length] == '/'));
    free(root);
    free(file);
    return stays;
}

/* Opens each shard of an index's weight_map and checks that its tensors are where it says. */
static SpStatus add_shards(SpCheckpoint *checkpoint, const char *folder, const char *index_path)
{
    cJSON *index;
    SP_TRY(read_json(index_path, &index));
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(index, "weight_map"), *item;
    SpStatus status = cJSON_IsObject(map) && map->child
                          ? sp_ok()
                          : sp_error(SP_CHECKPOINT, "%s: it has no weight_map", index_path);
    cJSON_ArrayForEach(item, map)
    {
        char path[PATH_CAPACITY];
        if (status.code != SP_OK)
            break;
        if (!cJSON_IsString(item) || strchr(item->valuestring, '/') || !*item->valuestring ||
            (size_t)snprintf(path, sizeof path, "%s/%s", folder, item->valuestring) >= sizeof path)
            status = sp_error(SP_CHECKPOINT, "%s: tensor %.100s names no shard of this folder",
                              index_path, item->string);
        else if (!seen_before(map, item) && !stays_in(folder, path))
            status = sp_error(SP_CHECKPOINT,
                              "%s: it is a link out of its folder; put the file there", path);
        else if (!seen_before(map, item))
            status = add_file(checkpoint, path, NULL, 0);
    }
    cJSON_ArrayForEach(item, map)
    {
        if (status.code == SP_OK && !sp_checkpoint_find(checkpoint, item->string))
            status = sp_error(SP_CHECKPOINT, "%s: no shard holds tensor %.100s", index_path,
                              item->string);
    }
    cJSON_Delete(index);
    return status;
}

/* The configuration comes first: where it is damaged, nothing need be known of the tensors. */
static SpStatus open_folder(SpCheckpoint *checkpoint, const char *folder)
{
    char path[PATH_CAPACITY + 64];
    snprintf(path, sizeof path, "%s/config.json", folder);
    if (access(path, F_OK) == 0)
        SP_TRY(read_json(path, &checkpoint->config));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (access(path, F_OK) == 0)
        return add_file(checkpoint, path, NULL, 0);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    if (access(path, F_OK) != 0)
        return sp_error(SP_CHECKPOINT, "%s: no model.safetensors here; fetch it with %s", folder,
                        sp_weights_make());
    return add_shards(checkpoint, folder, path);
}

static SpStatus open_memory(SpCheckpoint *checkpoint, const void *data, size_t size)
{
    SP_TRY(add_file(checkpoint, checkpoint->label, data, size));
    const char *config = sp_safetensors_metadata(checkpoint->file[0], "config");
    checkpoint->config = config ? cJSON_Parse(config) : NULL;
    if (config && !cJSON_IsObject(checkpoint->config))
        return sp_error(SP_CHECKPOINT, "%s: its configuration is not JSON", checkpoint->label);
    return sp_ok();
}

/* The folder `label`, or where `data` is not NULL what is there. */
static SpStatus open_either(const char *label, const void *data, size_t size, SpCheckpoint **out)
{
    *out = NULL;
    SpCheckpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (!checkpoint)
        return sp_no_memory(label);
    snprintf(checkpoint->label, sizeof checkpoint->label, "%s", label);
    checkpoint->weights = sp_weights_new();
    const SpStatus status = !checkpoint->weights ? sp_no_memory(label)
                            : data               ? open_memory(checkpoint, data, size)
                                                 : open_folder(checkpoint, label);
    if (status.code == SP_OK)
        *out = checkpoint;
    else
        sp_checkpoint_close(checkpoint);
    return status;
}

SpStatus sp_checkpoint_open(const char *folder, SpCheckpoint **out)
{
    return open_either(folder, NULL, 0, out);
}

SpStatus sp_checkpoint_open_memory(const void *data, size_t size, const char *label,
                                   SpCheckpoint **out)
{
    return open_either(label, data, size, out);
}

SpStatus sp_checkpoint_use_compact(SpCheckpoint *checkpoint)
{
    return checkpoint->compact ? sp_ok() : sp_compact_open(checkpoint->label, &checkpoint->compact);
}

void sp_checkpoint_close(SpCheckpoint *checkpoint)
{
    if (!checkpoint)
        return;
    sp_safetensors_close(checkpoint->compact);
    for (size_t i = 0; i < checkpoint->files; i++)
        sp_safetensors_close(checkpoint->file[i]);
    for (Copy *copy = checkpoint->copies, *next; copy; copy = next) {
        next = copy->next;
        free(copy);
    }
    cJSON_Delete(checkpoint->config);
    sp_weights_free(checkpoint->weights);
    free(checkpoint->file);
    free(checkpoint);
}

const SpTensor *sp_checkpoint_find(const SpCheckpoint *checkpoint, const char *name)
{
    const SpTensor *found =
        checkpoint->compact ? sp_safetensors_find(checkpoint->compact, name) : NULL;
    for (size_t i = 0; i < checkpoint->files && !found; i++)
        found = sp_safetensors_find(checkpoint->file[i], name);
    return found;
}

SpWeights *sp_checkpoint_weights(const SpCheckpoint *checkpoint)
{
    return checkpoint->weights;
}

size_t sp_checkpoint_bytes(const SpCheckpoint *checkpoint)
{
    size_t bytes = 0;
    for (size_t i = 0; i < checkpoint->files; i++)
        for (size_t k = 0; k < sp_safetensors_count(checkpoint->file[i]); k++) {
            const SpTensor *tensor;
            sp_safetensors_at(checkpoint->file[i], k, &tensor);
            bytes += (size_t)sp_tensor_count(tensor) * sp_dtype_size(tensor->dtype);
        }
    return bytes;
}

size_t sp_checkpoint_bound_bytes(const SpCheckpoint *checkpoint)
{
    return checkpoint->bound_bytes;
}

void sp_bind_fail(SpBinder *binder, const char *format, ...)
{
    SP_FORMAT(text, 300, format);
    if (binder->status.code == SP_OK)
        binder->status = sp_error(SP_CHECKPOINT, "%.190s: %s", binder->checkpoint->label, text);
}

/* The item at a path of keys, "model.Track_cfg.overlap"; NULL when absent. */
static const cJSON *config_item(const SpBinder *binder, const char *path)
{
    const cJSON *item = binder->checkpoint->config;
    while (item && *path) {
        char key[64];
        const size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        item = cJSON_GetObjectItemCaseSensitive(item, key);
        path += length + (path[length] == '.');
    }
    return item;
}

double sp_bind_number(SpBinder *binder, const char *key, double default_value, double min,
                      double max)
{
    const cJSON *item = config_item(binder, key);
    if (!item)
        return default_value;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= min && item->valuedouble <= max)) {
        sp_bind_fail(binder, "config.json: %s is not a number from %g to %g", key, min, max);
        return default_value;
    }
    return item->valuedouble;
}

int64_t sp_bind_whole(SpBinder *binder, const char *key, int64_t default_value, int64_t min,
                      int64_t max)
{
    const double number =
        sp_bind_number(binder, key, (double)default_value, (double)min, (double)max);
    if (number != floor(number)) {
        sp_bind_fail(binder, "config.json: %s is not a whole number", key);
        return default_value;
    }
    return (int64_t)number;
}

bool sp_bind_numbers(SpBinder *binder, const char *key, int count, int64_t *out)
{
    const cJSON *item = config_item(binder, key), *number;
    if (!item)
        return false;
    int i = 0;
    cJSON_ArrayForEach(number, item)
    {
        if (i == count || !cJSON_IsNumber(number) || fabs(number->valuedouble) > 1e9 ||
            number->valuedouble != floor(number->valuedouble))
            break;
        out[i++] = (int64_t)number->valuedouble;
    }
    if (i != count || cJSON_GetArraySize(item) != count)
        sp_bind_fail(binder, "config.json: %s is not a list of %d whole numbers", key, count);
    return true;
}

static void shape_text(int rank, const int64_t *dims, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, dims[i] < 0 ? "%sany" : "%s%lld", i ? "," : "",
                               (long long)dims[i]);
}

/* A tensor of floating-point numbers of the given shape (-1 for any size; rank -1: any), or NULL
 * after recording why not. */
static const SpTensor *find(SpBinder *binder, int rank, const int64_t *dims, const char *name)
{
    if (binder->status.code != SP_OK)
        return NULL;
    const SpTensor *found = sp_checkpoint_find(binder->checkpoint, name);
    bool fits = found && (rank < 0 || found->rank == rank);
    for (int i = 0; fits && i < rank; i++)
        fits = dims[i] < 0 ? found->dim[i] > 0 : found->dim[i] == dims[i];
    if (!found) {
        sp_bind_fail(binder, "it lacks tensor %s", name);
    } else if (found->dtype != SP_F32 && found->dtype != SP_F16 && found->dtype != SP_BF16) {
        sp_bind_fail(binder, "tensor %s is not F32, F16 or BF16", name);
    } else if (!fits) {
        char expected[80], got[80];
        shape_text(rank, dims, expected, sizeof expected);
        shape_text(found->rank, found->dim, got, sizeof got);
        sp_bind_fail(binder, "tensor %s has shape [%s], not [%s]", name, got, expected);
    }
    return binder->status.code == SP_OK ? found : NULL;
}

/* A float32 copy that lives as long as the checkpoint. */
static const float *converted(SpBinder *binder, const SpTensor *tensor, const char *name)
{
    const int64_t n = sp_tensor_count(tensor);
    Copy *copy = malloc(sizeof *copy + (size_t)n * sizeof copy->data[0]);
    if (!copy) {
        binder->status = sp_no_memory(name);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++)
        copy->data[i] = (float)sp_tensor_at(tensor, i);
    copy->next = binder->checkpoint->copies;
    binder->checkpoint->copies = copy;
    return copy->data;
}

/* Adds what was bound of `tensor`, its own data or a copy, to the current weight group. */
static void add_weights(SpBinder *binder, const SpTensor *tensor, const void *data, size_t bytes,
                        const char *name)
{
    binder->checkpoint->bound_bytes +=
        (size_t)sp_tensor_count(tensor) * sp_dtype_size(tensor->dtype);
    if (data && !sp_weights_add(binder->checkpoint->weights, data, bytes))
        binder->status = sp_no_memory(name);
}

int sp_bind_new_group(SpBinder *binder)
{
    const int group = sp_weights_new_group(binder->checkpoint->weights);
    if (group < 0)
        binder->status = sp_no_memory("the list of weights");
    return group < 0 ? SP_HOST_GROUP : group;
}

void sp_bind_into_group(SpBinder *binder, int group)
{
    sp_weights_select_group(binder->checkpoint->weights, group);
}

static bool aligned(const SpTensor *tensor)
{
    return (uintptr_t)tensor->data % sp_dtype_size(tensor->dtype) == 0;
}

SpTensor sp_bind_weights(SpBinder *binder, int rank, const int64_t *dims, const char *format, ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    const SpTensor *found = find(binder, rank, dims, name);
    if (!found)
        return (SpTensor){0};
    SpTensor tensor = *found;
    if (!aligned(found)) {
        tensor.data = converted(binder, found, name);
        tensor.dtype = SP_F32;
    }
    add_weights(binder, found, tensor.data,
                (size_t)sp_tensor_count(&tensor) * sp_dtype_size(tensor.dtype), name);
    return tensor;
}

const float *sp_bind_floats(SpBinder *binder, int64_t count, const char *format, ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    const SpTensor *found = find(binder, -1, NULL, name);
    if (!found)
        return NULL;
    if (sp_tensor_count(found) != count) {
        sp_bind_fail(binder, "tensor %s has %lld values, not %lld", name,
                     (long long)sp_tensor_count(found), (long long)count);
        return NULL;
    }
    const float *values =
        found->dtype == SP_F32 && aligned(found) ? found->data : converted(binder, found, name);
    add_weights(binder, found, values, (size_t)count * sizeof *values, name);
    return values;
}

int64_t sp_bind_dim(SpBinder *binder, int axis, int rank, const int64_t *dims, const char *format,
                    ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    const SpTensor *found = find(binder, rank, dims, name);
    return found ? found->dim[axis] : 0;
}

bool sp_bind_has(const SpBinder *binder, const char *format, ...)
{
    SP_FORMAT(name, NAME_CAPACITY, format);
    return sp_checkpoint_find(binder->checkpoint, name) != NULL;
}
