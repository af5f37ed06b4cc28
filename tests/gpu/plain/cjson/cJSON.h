/* The part of cJSON's interface that spatrack's checkpoint reader and synth call. */
#ifndef SP_TESTS_PLAIN_CJSON_H
#define SP_TESTS_PLAIN_CJSON_H

#include <stddef.h>

typedef enum PlainKind {
    PLAIN_NULL,
    PLAIN_BOOL,
    PLAIN_NUMBER,
    PLAIN_STRING,
    PLAIN_ARRAY,
    PLAIN_OBJECT
} PlainKind;

typedef int cJSON_bool;
typedef struct cJSON {
    struct cJSON *next, *child, *last; /* last: of the children */
    int type;                          /* a PlainKind */
    char *valuestring, *string;
    double valuedouble;
} cJSON;

#define cJSON_ArrayForEach(item, array)                                                            \
    for (item = (array) ? (array)->child : NULL; item; item = item->next)

cJSON *cJSON_Parse(const char *text);
cJSON *cJSON_ParseWithLength(const char *text, size_t length);
void cJSON_Delete(cJSON *item);
void cJSON_free(void *text); /* of cJSON_Print */
char *cJSON_Print(const cJSON *item);
char *cJSON_PrintUnformatted(const cJSON *item);

cJSON *cJSON_GetObjectItem(const cJSON *object, const char *name);
cJSON *cJSON_GetObjectItemCaseSensitive(const cJSON *object, const char *name);
int cJSON_GetArraySize(const cJSON *array);
char *cJSON_GetStringValue(const cJSON *item);
cJSON_bool cJSON_IsArray(const cJSON *item);
cJSON_bool cJSON_IsNumber(const cJSON *item);
cJSON_bool cJSON_IsObject(const cJSON *item);
cJSON_bool cJSON_IsString(const cJSON *item);

cJSON *cJSON_CreateObject(void);
cJSON *cJSON_CreateDoubleArray(const double *numbers, int count);
cJSON *cJSON_Duplicate(const cJSON *item, cJSON_bool deep);
cJSON *cJSON_AddObjectToObject(cJSON *object, const char *name);
cJSON *cJSON_AddStringToObject(cJSON *object, const char *name, const char *value);
cJSON_bool cJSON_AddItemToObject(cJSON *object, const char *name, cJSON *item);

#endif
