#define _GNU_SOURCE /* strchrnul */

#include "cli/info.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "kernels/devices.h"
#include "pipeline/libraries.h"
#include "store/locate.h"

/* Where a model's weights are and how large; false with what is wrong in *place and `problem`. */
static bool find_model(const char *weights, SpModelId model, SpLocated *place, size_t *bytes,
                       SpStatus *problem)
{
    SpCheckpoint *checkpoint;
    *problem = sp_weights_locate(weights, model, place);
    if (problem->code == SP_OK && !sp_weights_exist(place))
        *problem = sp_error(SP_CHECKPOINT, "none");
    if (problem->code == SP_OK)
        *problem = sp_weights_open(place, &checkpoint);
    if (problem->code != SP_OK)
        return false;
    *bytes = sp_checkpoint_bytes(checkpoint);
    sp_checkpoint_close(checkpoint);
    return true;
}

static void print_model(FILE *stream, const char *weights, SpModelId model)
{
    const char *name = sp_model_info(model)->name;
    SpLocated place;
    SpStatus problem;
    size_t bytes;
    if (!find_model(weights, model, &place, &bytes, &problem))
        fprintf(stream, "%s: %s\n", name, problem.text);
    else
        fprintf(stream, "%s: %.1f MB, %s%s%s%s\n", name, (double)bytes / (1 << 20),
                place.embedded ? "" : place.folder, place.embedded ? "" : " (", place.where,
                place.embedded ? "" : ")");
}

void sp_info_print(FILE *stream, const char *weights)
{
    sp_devices_describe(stream);
    for (SpModelId id = 0; id < SP_MODELS; id++)
        if (sp_model_info(id)->published)
            print_model(stream, weights, id);
}

/* A line for each device, "cpu: what it is", as objects. */
static bool add_devices(cJSON *list)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (stream)
        sp_devices_describe(stream);
    bool whole = stream && fclose(stream) == 0;
    for (char *line = text, *end; whole && line && *line; line = end) {
        end = strchrnul(line, '\n');
        if (*end)
            *end++ = 0;
        char *colon = strstr(line, ": ");
        cJSON *device = cJSON_CreateObject();
        whole = cJSON_AddItemToArray(list, device);
        if (colon)
            *colon = 0;
        whole = whole && cJSON_AddStringToObject(device, "device", line) &&
                cJSON_AddStringToObject(device, "description", colon ? colon + 2 : "");
    }
    free(text);
    return whole;
}

static bool add_model(cJSON *list, const char *weights, SpModelId id)
{
    SpLocated place;
    SpStatus problem;
    size_t bytes;
    cJSON *model = cJSON_CreateObject();
    const bool found = find_model(weights, id, &place, &bytes, &problem);
    if (!cJSON_AddItemToArray(list, model) ||
        !cJSON_AddStringToObject(model, "model", sp_model_info(id)->name))
        return false;
    if (!found)
        return cJSON_AddNullToObject(model, "bytes") &&
               cJSON_AddStringToObject(model, "problem", problem.text);
    return cJSON_AddNumberToObject(model, "bytes", (double)bytes) &&
           (place.embedded ? cJSON_AddNullToObject(model, "folder")
                           : cJSON_AddStringToObject(model, "folder", place.folder)) &&
           cJSON_AddStringToObject(model, "where", place.where);
}

SpStatus sp_info_print_json(FILE *stream, const char *weights)
{
    cJSON *info = cJSON_CreateObject();
    bool whole = add_devices(cJSON_AddArrayToObject(info, "devices"));
    cJSON *models = cJSON_AddArrayToObject(info, "weights");
    for (SpModelId id = 0; id < SP_MODELS && whole; id++)
        if (sp_model_info(id)->published)
            whole = add_model(models, weights, id);
    char *text = whole ? cJSON_PrintUnformatted(info) : NULL;
    if (text)
        fprintf(stream, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(info);
    return text ? sp_ok() : sp_no_memory("the list");
}

void sp_version_print(FILE *stream)
{
    SpLibraryVersion libraries[SP_REPORT_LIBRARIES];
    const int count = sp_libraries(libraries);
    fprintf(stream, "spatrack %s\n", SP_VERSION);
    for (int i = 0; i < count; i++)
        fprintf(stream, "%s %s\n", libraries[i].name, libraries[i].version);
}
