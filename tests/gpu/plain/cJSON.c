#include "cjson/cJSON.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tests end when memory does. */
static void *checked(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static char *copy_text(const char *text, size_t length)
{
    char *copy = checked(malloc(length + 1));
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

static cJSON *new_item(PlainKind kind)
{
    cJSON *item = checked(calloc(1, sizeof *item));
    item->type = kind;
    return item;
}

static void append(cJSON *to, cJSON *item)
{
    if (to->last)
        to->last->next = item;
    else
        to->child = item;
    to->last = item;
}

void cJSON_Delete(cJSON *item)
{
    while (item) {
        cJSON *next = item->next;
        cJSON_Delete(item->child);
        free(item->valuestring);
        free(item->string);
        free(item);
        item = next;
    }
}

void cJSON_free(void *text)
{
    free(text);
}

/* ---- reading ---- */

typedef struct Text {
    const char *at, *end;
    bool good;
} Text;

static void skip(Text *t)
{
    while (t->at < t->end && strchr(" \t\r\n", *t->at) && *t->at)
        t->at++;
}

static bool take(Text *t, char c)
{
    skip(t);
    const bool there = t->at < t->end && *t->at == c;
    t->at += there;
    return there;
}

/* Escapes stay as they are but for the quoted character: no name here has others. */
static char *read_string(Text *t)
{
    const char *begin = t->at;
    while (t->at < t->end && *t->at != '"')
        t->at += *t->at == '\\' ? 2 : 1;
    if (t->at >= t->end) {
        t->good = false;
        return NULL;
    }
    char *text = copy_text(begin, (size_t)(t->at++ - begin)), *to = text;
    for (const char *from = text; *from; from++)
        *to++ = *from == '\\' && from[1] ? *++from : *from;
    *to = 0;
    return text;
}

static cJSON *read_value(Text *t);

static cJSON *read_children(Text *t, PlainKind kind, char close)
{
    cJSON *parent = new_item(kind);
    if (take(t, close))
        return parent;
    do {
        char *name = NULL;
        if (kind == PLAIN_OBJECT) {
            t->good = t->good && take(t, '"');
            name = t->good ? read_string(t) : NULL;
            t->good = t->good && take(t, ':');
        }
        cJSON *child = t->good ? read_value(t) : NULL;
        if (child) {
            child->string = name;
            append(parent, child);
        } else {
            free(name);
        }
    } while (t->good && take(t, ','));
    t->good = t->good && take(t, close);
    return parent;
}

static cJSON *read_word(Text *t)
{
    static const char *const words[] = {"null", "false", "true"};
    for (int i = 0; i < 3; i++) {
        const size_t length = strlen(words[i]);
        if ((size_t)(t->end - t->at) >= length && memcmp(t->at, words[i], length) == 0) {
            cJSON *item = new_item(i ? PLAIN_BOOL : PLAIN_NULL);
            item->valuedouble = i == 2;
            t->at += length;
            return item;
        }
    }
    char number[64] = {0}, *end;
    const size_t rest = (size_t)(t->end - t->at), length = rest < 63 ? rest : 63;
    memcpy(number, t->at, length);
    cJSON *item = new_item(PLAIN_NUMBER);
    item->valuedouble = strtod(number, &end);
    t->good = t->good && end > number;
    t->at += end - number;
    return item;
}

static cJSON *read_value(Text *t)
{
    if (take(t, '{'))
        return read_children(t, PLAIN_OBJECT, '}');
    if (take(t, '['))
        return read_children(t, PLAIN_ARRAY, ']');
    if (!take(t, '"'))
        return read_word(t);
    cJSON *item = new_item(PLAIN_STRING);
    item->valuestring = read_string(t);
    return item;
}

cJSON *cJSON_ParseWithLength(const char *text, size_t length)
{
    Text t = {text, text + length, true};
    cJSON *item = read_value(&t);
    if (!t.good) {
        cJSON_Delete(item);
        return NULL;
    }
    return item;
}

cJSON *cJSON_Parse(const char *text)
{
    return cJSON_ParseWithLength(text, strlen(text));
}

cJSON *cJSON_GetObjectItemCaseSensitive(const cJSON *object, const char *name)
{
    cJSON *item;
    cJSON_ArrayForEach(item,
                       object) if (item->string && strcmp(item->string, name) == 0) return item;
    return NULL;
}

cJSON *cJSON_GetObjectItem(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

int cJSON_GetArraySize(const cJSON *array)
{
    int count = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, array) count++;
    return count;
}

char *cJSON_GetStringValue(const cJSON *item)
{
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

cJSON_bool cJSON_IsArray(const cJSON *item)
{
    return item && item->type == PLAIN_ARRAY;
}

cJSON_bool cJSON_IsNumber(const cJSON *item)
{
    return item && item->type == PLAIN_NUMBER;
}

cJSON_bool cJSON_IsObject(const cJSON *item)
{
    return item && item->type == PLAIN_OBJECT;
}

cJSON_bool cJSON_IsString(const cJSON *item)
{
    return item && item->type == PLAIN_STRING;
}

/* ---- writing ---- */

cJSON *cJSON_CreateObject(void)
{
    return new_item(PLAIN_OBJECT);
}

cJSON *cJSON_CreateDoubleArray(const double *numbers, int count)
{
    cJSON *array = new_item(PLAIN_ARRAY);
    for (int i = 0; i < count; i++) {
        cJSON *item = new_item(PLAIN_NUMBER);
        item->valuedouble = numbers[i];
        append(array, item);
    }
    return array;
}

cJSON *cJSON_Duplicate(const cJSON *item, cJSON_bool deep)
{
    cJSON *copy = new_item((PlainKind)item->type), *child;
    copy->valuedouble = item->valuedouble;
    if (item->valuestring)
        copy->valuestring = copy_text(item->valuestring, strlen(item->valuestring));
    if (item->string)
        copy->string = copy_text(item->string, strlen(item->string));
    if (deep)
        cJSON_ArrayForEach(child, item) append(copy, cJSON_Duplicate(child, deep));
    return copy;
}

cJSON_bool cJSON_AddItemToObject(cJSON *object, const char *name, cJSON *item)
{
    free(item->string);
    item->string = copy_text(name, strlen(name));
    append(object, item);
    return 1;
}

cJSON *cJSON_AddObjectToObject(cJSON *object, const char *name)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToObject(object, name, item);
    return item;
}

cJSON *cJSON_AddStringToObject(cJSON *object, const char *name, const char *value)
{
    cJSON *item = new_item(PLAIN_STRING);
    item->valuestring = copy_text(value, strlen(value));
    cJSON_AddItemToObject(object, name, item);
    return item;
}

static void print_string(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', out);
        putc(*text, out);
    }
    putc('"', out);
}

static void print(FILE *out, const cJSON *item)
{
    const cJSON *child;
    switch (item->type) {
    case PLAIN_NULL:
        fputs("null", out);
        break;
    case PLAIN_BOOL:
        fputs(item->valuedouble != 0 ? "true" : "false", out);
        break;
    case PLAIN_NUMBER:
        fprintf(out,
                fabs(item->valuedouble) < 1e15 && floor(item->valuedouble) == item->valuedouble
                    ? "%.0f"
                    : "%.17g",
                item->valuedouble);
        break;
    case PLAIN_STRING:
        print_string(out, item->valuestring);
        break;
    default:
        putc(item->type == PLAIN_ARRAY ? '[' : '{', out);
        cJSON_ArrayForEach(child, item)
        {
            if (child != item->child)
                putc(',', out);
            if (item->type == PLAIN_OBJECT) {
                print_string(out, child->string);
                putc(':', out);
            }
            print(out, child);
        }
        putc(item->type == PLAIN_ARRAY ? ']' : '}', out);
    }
}

char *cJSON_PrintUnformatted(const cJSON *item)
{
    char *text = NULL;
    size_t size;
    FILE *out = checked(open_memstream(&text, &size));
    print(out, item);
    fclose(out);
    return checked(text);
}

char *cJSON_Print(const cJSON *item)
{
    return cJSON_PrintUnformatted(item);
}
