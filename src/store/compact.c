#include "store/compact.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/half.h"

enum { PATH_CAPACITY = 4096 + 64, TEXT_CAPACITY = 32, CHUNK = 1 << 16 };

static const char FORMAT[] = "2";

/* A layer of the camera head that reads or writes pose encodings has a side no longer than this,
 * and stays in f32. */
enum { MAX_POSE_ENCODING = 16 };

/* What a file is known by without reading it. */
typedef struct Identity {
    char size[TEXT_CAPACITY], time[TEXT_CAPACITY];
} Identity;

static void path_of(const char *folder, const char *name, char out[PATH_CAPACITY])
{
    snprintf(out, PATH_CAPACITY, "%s/%s", folder, name);
}

static bool identify(const char *folder, Identity *out)
{
    char path[PATH_CAPACITY];
    struct stat info;
    path_of(folder, "model.safetensors", path);
    if (stat(path, &info) != 0)
        return false;
    snprintf(out->size, TEXT_CAPACITY, "%" PRIu64, (uint64_t)info.st_size);
    snprintf(out->time, TEXT_CAPACITY, "%" PRId64 ".%09ld", (int64_t)info.st_mtim.tv_sec,
             (long)info.st_mtim.tv_nsec);
    return true;
}

static bool metadata_matches(const SpSafetensors *file, const char *key, const char *value)
{
    const char *found = sp_safetensors_metadata(file, key);
    return found && strcmp(found, value) == 0;
}

SpStatus sp_compact_open(const char *folder, SpSafetensors **out)
{
    char path[PATH_CAPACITY];
    Identity source;
    struct stat info;
    *out = NULL;
    path_of(folder, SP_COMPACT_NAME, path);
    if (stat(path, &info) != 0 || !identify(folder, &source))
        return sp_ok();
    SP_TRY(sp_safetensors_open(path, SP_CHECKPOINT, out));
    if (metadata_matches(*out, "format", FORMAT) &&
        metadata_matches(*out, "source_size", source.size) &&
        metadata_matches(*out, "source_time", source.time))
        return sp_ok();
    sp_safetensors_close(*out);
    *out = NULL;
    return sp_ok();
}

bool sp_compact_is_current(const char *folder)
{
    SpSafetensors *file;
    const bool current = sp_compact_open(folder, &file).code == SP_OK && file;
    sp_safetensors_close(current ? file : NULL);
    return current;
}

static bool fits_f16(const SpTensor *tensor)
{
    bool fits = true;
    for (int64_t i = 0; fits && i < sp_tensor_count(tensor); i++)
        fits = fabs(sp_tensor_at(tensor, i)) <= 65504;
    return fits;
}

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static bool ends(const char *name, const char *with)
{
    const size_t length = strlen(name), tail = strlen(with);
    return length >= tail && strcmp(name + length - tail, with) == 0;
}

/* The dtype that a tensor has in the copy; F32: it is not in it. */
static SpDtype dtype_in_copy(const char *name, const SpTensor *tensor)
{
    if (tensor->rank != 2 || tensor->dtype != SP_F32)
        return SP_F32;
    if (begins(name, "aggregator."))
        return SP_BF16;
    const bool large = tensor->dim[0] > MAX_POSE_ENCODING && tensor->dim[1] > MAX_POSE_ENCODING;
    /* Of SAM's layers all but rel_pos_h and rel_pos_w. */
    const bool half = (begins(name, "camera_head.") && large) ||
                      (begins(name, "vision_encoder.layers.") && ends(name, ".weight"));
    return half && fits_f16(tensor) ? SP_F16 : SP_F32;
}

static bool add_pair(cJSON *object, const char *key, size_t first, size_t second)
{
    cJSON *pair = cJSON_CreateDoubleArray((double[2]){(double)first, (double)second}, 2);
    const bool added = cJSON_AddItemToObject(object, key, pair);
    if (!added)
        cJSON_Delete(pair);
    return added;
}

static bool add_tensor(cJSON *header, const char *name, const SpTensor *tensor, SpDtype dtype,
                       size_t *offset)
{
    const size_t begin = *offset;
    cJSON *object = cJSON_AddObjectToObject(header, name);
    *offset += (size_t)sp_tensor_count(tensor) * sizeof(uint16_t);
    return object && cJSON_AddStringToObject(object, "dtype", dtype == SP_F16 ? "F16" : "BF16") &&
           add_pair(object, "shape", (size_t)tensor->dim[0], (size_t)tensor->dim[1]) &&
           add_pair(object, "data_offsets", begin, *offset);
}

/* The header's text; NULL when memory is short. */
static char *make_header(const SpSafetensors *source, const Identity *identity, size_t *payload)
{
    cJSON *header = cJSON_CreateObject();
    cJSON *metadata = cJSON_AddObjectToObject(header, "__metadata__");
    bool added = metadata && cJSON_AddStringToObject(metadata, "format", FORMAT) &&
                 cJSON_AddStringToObject(metadata, "source_size", identity->size) &&
                 cJSON_AddStringToObject(metadata, "source_time", identity->time);
    *payload = 0;
    for (size_t i = 0; added && i < sp_safetensors_count(source); i++) {
        const SpTensor *tensor;
        const char *name = sp_safetensors_at(source, i, &tensor);
        const SpDtype dtype = dtype_in_copy(name, tensor);
        added = dtype == SP_F32 || add_tensor(header, name, tensor, dtype, payload);
    }
    char *text = added ? cJSON_PrintUnformatted(header) : NULL;
    cJSON_Delete(header);
    return text;
}

static bool write_header(FILE *stream, const char *text)
{
    const size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)padded >> 8 * i);
    return fwrite(prefix, 1, 8, stream) == 8 && fwrite(text, 1, length, stream) == length &&
           fwrite("       ", 1, padded - length, stream) == padded - length;
}

static bool write_tensor(FILE *stream, const SpTensor *tensor, SpDtype dtype, uint16_t *chunk)
{
    const int64_t count = sp_tensor_count(tensor);
    for (int64_t at = 0; at < count; at += CHUNK) {
        const size_t some = (size_t)(count - at < CHUNK ? count - at : CHUNK);
        for (size_t i = 0; i < some; i++) {
            const float value = (float)sp_tensor_at(tensor, at + (int64_t)i);
            chunk[i] = dtype == SP_F16 ? sp_f32_to_f16(value) : sp_f32_to_bf16(value);
        }
        if (fwrite(chunk, sizeof *chunk, some, stream) != some)
            return false;
    }
    return true;
}

static SpStatus write_all(const SpSafetensors *source, FILE *stream, const char *header)
{
    uint16_t *chunk = malloc(CHUNK * sizeof *chunk);
    if (!chunk)
        return sp_no_memory("the compact copy");
    bool written = write_header(stream, header);
    for (size_t i = 0; written && i < sp_safetensors_count(source); i++) {
        const SpTensor *tensor;
        const char *name = sp_safetensors_at(source, i, &tensor);
        const SpDtype dtype = dtype_in_copy(name, tensor);
        written = dtype == SP_F32 || write_tensor(stream, tensor, dtype, chunk);
    }
    free(chunk);
    return written ? sp_ok()
                   : sp_error(SP_OUTPUT, "cannot write %s: %s", SP_COMPACT_NAME, strerror(errno));
}

SpStatus sp_compact_write(const char *folder, FILE *stream, size_t *bytes)
{
    char path[PATH_CAPACITY];
    SpSafetensors *source;
    Identity identity;
    size_t payload;
    path_of(folder, "model.safetensors", path);
    SP_TRY(sp_safetensors_open(path, SP_CHECKPOINT, &source));
    SpStatus status = identify(folder, &identity)
                          ? sp_ok()
                          : sp_error(SP_CHECKPOINT, "%s: %s", path, strerror(errno));
    if (status.code == SP_OK) {
        char *header = make_header(source, &identity, &payload);
        status = !header       ? sp_no_memory("the compact copy")
                 : payload > 0 ? write_all(source, stream, header)
                               : sp_error(SP_CHECKPOINT,
                                          "%s: it has no f32 matrices of the front's or of SAM's "
                                          "transformers",
                                          path);
        *bytes = header ? payload + 8 + (strlen(header) + 7) / 8 * 8 : 0;
        cJSON_free(header);
    }
    sp_safetensors_close(source);
    return status;
}
