#include "support/synth.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/half.h"

enum { CHUNK = 1 << 20 };

void synth_fill(const char *name, double scale, double offset, int64_t begin, int64_t count,
                float *out)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001B3u;
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) {
        uint64_t x = h + (uint64_t)(begin + i + 1) * 0x9E3779B97F4A7C15u;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
        x ^= x >> 31;
        const double u = (double)(x >> 40) * 0x1p-24;
        const double spread = scale * (2.0 * u - 1.0);
        out[i] = (float)(offset + spread);
    }
}

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    size_t size = 0, room = 1 << 16;
    char *text = malloc(room);
    while (text) {
        size += fread(text + size, 1, room - size - 1, file);
        if (size < room - 1)
            break;
        char *larger = realloc(text, room *= 2);
        if (!larger)
            free(text);
        text = larger;
    }
    if (text)
        text[size] = 0;
    fclose(file);
    return text;
}

static int64_t tensor_count(const cJSON *tensor)
{
    int64_t n = 1;
    const cJSON *dim;
    cJSON_ArrayForEach(dim, cJSON_GetObjectItem(tensor, "shape")) n *= (int64_t)dim->valuedouble;
    return n;
}

static const char *tensor_name(const cJSON *tensor)
{
    return cJSON_GetObjectItem(tensor, "name")->valuestring;
}

static void write_header(const cJSON *manifest, SpDtype dtype, FILE *out)
{
    const char *const names[] = {[SP_F32] = "F32", [SP_F16] = "F16", [SP_BF16] = "BF16"};
    cJSON *header = cJSON_CreateObject();
    double at = 0;
    const cJSON *tensor;
    cJSON_ArrayForEach(tensor, cJSON_GetObjectItem(manifest, "tensors"))
    {
        cJSON *entry = cJSON_AddObjectToObject(header, tensor_name(tensor));
        const double end = at + (double)tensor_count(tensor) * (double)sp_dtype_size(dtype);
        cJSON_AddStringToObject(entry, "dtype", names[dtype]);
        cJSON_AddItemToObject(entry, "shape",
                              cJSON_Duplicate(cJSON_GetObjectItem(tensor, "shape"), true));
        cJSON_AddItemToObject(entry, "data_offsets",
                              cJSON_CreateDoubleArray((double[]){at, end}, 2));
        at = end;
    }
    char *text = cJSON_PrintUnformatted(header);
    const uint64_t length = (strlen(text) + 7) / 8 * 8;
    fwrite(&length, 8, 1, out);
    fprintf(out, "%-*s", (int)length, text);
    free(text);
    cJSON_Delete(header);
}

static void write_tensor(const cJSON *tensor, SpDtype dtype, float *chunk, FILE *out)
{
    const int64_t n = tensor_count(tensor);
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        const int64_t count = n - begin < CHUNK ? n - begin : CHUNK;
        synth_fill(tensor_name(tensor), cJSON_GetObjectItem(tensor, "scale")->valuedouble,
                   cJSON_GetObjectItem(tensor, "offset")->valuedouble, begin, count, chunk);
        uint16_t *halves = (uint16_t *)chunk;
        for (int64_t i = 0; dtype != SP_F32 && i < count; i++) {
            float value;
            memcpy(&value, (char *)chunk + i * 4, sizeof value);
            const uint16_t half = dtype == SP_F16 ? sp_f32_to_f16(value) : sp_f32_to_bf16(value);
            memcpy((char *)halves + i * 2, &half, sizeof half);
        }
        fwrite(chunk, sp_dtype_size(dtype), (size_t)count, out);
    }
}

/* A hole where the tensors would be. */
static bool leave_out(const cJSON *manifest, SpDtype dtype, FILE *out)
{
    off_t size = ftello(out);
    const cJSON *tensor;
    cJSON_ArrayForEach(tensor, cJSON_GetObjectItem(manifest, "tensors")) size +=
        tensor_count(tensor) * (off_t)sp_dtype_size(dtype);
    return fflush(out) == 0 && ftruncate(fileno(out), size) == 0;
}

/* chunk NULL: only the outline. */
static SpStatus write_checkpoint(const cJSON *manifest, const char *folder, SpDtype dtype,
                                 float *chunk)
{
    char path[4096];
    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *config = fopen(path, "wb");
    char *text = cJSON_Print(cJSON_GetObjectItem(manifest, "config"));
    const bool configured = config && text && fputs(text, config) >= 0;
    free(text);
    if (!config || (fclose(config) | !configured))
        return sp_error(SP_OUTPUT, "%s: %s", path, strerror(errno));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *out = fopen(path, "wb");
    if (!out)
        return sp_error(SP_OUTPUT, "%s: %s", path, strerror(errno));
    write_header(manifest, dtype, out);
    const cJSON *tensor;
    cJSON_ArrayForEach(tensor, cJSON_GetObjectItem(manifest, "tensors")) if (chunk)
        write_tensor(tensor, dtype, chunk, out);
    const bool failed = ferror(out) || (!chunk && !leave_out(manifest, dtype, out));
    if (fclose(out) || failed)
        return sp_error(SP_OUTPUT, "%s: %s", path, strerror(errno));
    return sp_ok();
}

static cJSON *read_manifest(const char *path)
{
    char *text = read_text(path);
    cJSON *manifest = text ? cJSON_Parse(text) : NULL;
    free(text);
    return manifest;
}

SpStatus synth_checkpoint(const char *manifest_path, const char *folder, SpDtype dtype)
{
    cJSON *manifest = read_manifest(manifest_path);
    float *chunk = malloc(CHUNK * sizeof *chunk);
    const SpStatus status = manifest && chunk
                                ? write_checkpoint(manifest, folder, dtype, chunk)
                                : sp_error(SP_INPUT, "%s: not a manifest", manifest_path);
    free(chunk);
    cJSON_Delete(manifest);
    return status;
}

SpStatus synth_outline(const char *manifest_path, const char *folder)
{
    cJSON *manifest = read_manifest(manifest_path);
    const SpStatus status = manifest ? write_checkpoint(manifest, folder, SP_F32, NULL)
                                     : sp_error(SP_INPUT, "%s: not a manifest", manifest_path);
    cJSON_Delete(manifest);
    return status;
}
