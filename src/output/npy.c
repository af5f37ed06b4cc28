#include "output/npy.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

static const char *skip_spaces(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

/* A quoted word of at most `capacity` - 1 characters; NULL when there is none. */
static const char *parse_word(const char *at, char *word, size_t capacity)
{
    const char quote = *at;
    if (quote != '\'' && quote != '"')
        return NULL;
    const char *end = strchr(at + 1, quote);
    if (!end || (size_t)(end - at) > capacity)
        return NULL;
    memcpy(word, at + 1, (size_t)(end - at - 1));
    word[end - at - 1] = 0;
    return skip_spaces(end + 1);
}

/* "(24, 3)", "(24,)" or "()". */
static const char *parse_shape(const char *at, SpNpy *npy)
{
    if (*at != '(')
        return NULL;
    at = skip_spaces(at + 1);
    while (*at != ')') {
        char *end;
        errno = 0;
        const long long extent = isdigit((unsigned char)*at) ? strtoll(at, &end, 10) : -1;
        if (extent < 0 || errno || npy->rank == SP_MAX_RANK)
            return NULL;
        npy->dim[npy->rank++] = extent;
        at = skip_spaces(end);
        if (*at == ',')
            at = skip_spaces(at + 1);
        else if (*at != ')')
            return NULL;
    }
    return skip_spaces(at + 1);
}

static const char *parse_truth(const char *at, bool *truth)
{
    *truth = strncmp(at, "True", 4) == 0;
    if (!*truth && strncmp(at, "False", 5) != 0)
        return NULL;
    return skip_spaces(at + (*truth ? 4 : 5));
}

bool sp_npy_parse(const char *at, char descr[16], SpNpy *npy)
{
    enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
    unsigned seen = 0;
    char key[16];
    at = skip_spaces(at);
    if (*at++ != '{')
        return false;
    for (at = skip_spaces(at); *at != '}';) {
        at = parse_word(at, key, sizeof key);
        if (!at || *at != ':')
            return false;
        at = skip_spaces(at + 1);
        const unsigned item = strcmp(key, "descr") == 0           ? DESCR
                              : strcmp(key, "fortran_order") == 0 ? ORDER
                              : strcmp(key, "shape") == 0         ? SHAPE
                                                                  : 0;
        if (item == 0 || (seen & item))
            return false;
        if (item == DESCR && *at == '[')
            return true;
        at = item == DESCR   ? parse_word(at, descr, 16)
             : item == ORDER ? parse_truth(at, &npy->fortran)
                             : parse_shape(at, npy);
        seen |= item;
        if (at && *at == ',')
            at = skip_spaces(at + 1);
        else if (!at || *at != '}')
            return false;
    }
    return seen == ALL;
}

double sp_npy_element(const SpNpy *npy, const unsigned char *at)
{
    union {
        uint64_t bits;
        float f4;
        double f8;
    } value = {0};
    unsigned char *bytes = (unsigned char *)&value;
    for (size_t i = 0; i < npy->element; i++)
        bytes[i] = at[npy->big_endian ? npy->element - 1 - i : i];
    const int unused = 64 - 8 * (int)npy->element;
    switch (npy->type) {
    case 'f':
        return npy->element == 2   ? (double)sp_f16_to_f32((uint16_t)value.bits)
               : npy->element == 4 ? (double)value.f4
                                   : value.f8;
    case 'i': /* the sign moves down again */
        return (double)((int64_t)(value.bits << unused) >> unused);
    case 'b':
        return value.bits ? 1 : 0;
    default:
        return (double)value.bits;
    }
}

void sp_npy_print_shape(char *out, size_t capacity, int rank, const int64_t *dims)
{
    size_t at = 0;
    snprintf(out, capacity, "()");
    for (int i = 0; i < rank && at < capacity; i++) {
        char extent[24] = "*";
        if (dims[i] >= 0)
            snprintf(extent, sizeof extent, "%lld", (long long)dims[i]);
        at += (size_t)snprintf(out + at, capacity - at, "%s%s", i ? "," : "", extent);
    }
}
