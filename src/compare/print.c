#include "compare/print.h"

#include <math.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

static const char *const statistic_name[] = {"median", "95 %", "largest"};

static void print_row(const SpCompareRow *row, FILE *stream)
{
    char limit[64], what[64];
    snprintf(what, sizeof what, "%s, %s", row->name, row->unit);
    if (row->checked == SP_SHARE)
        snprintf(limit, sizeof limit, "%.3g %%", 100 * row->limit);
    else
        snprintf(limit, sizeof limit, "%.3g (%s)", row->limit, statistic_name[row->checked]);
    fprintf(stream, "%-34s ", what);
    if (row->checked == SP_SHARE) {
        char share[64];
        snprintf(share, sizeof share, "%lld of %lld, %.3g %%", (long long)row->different,
                 (long long)row->count, 100 * row->value[SP_SHARE]);
        fprintf(stream, "%32s", share);
    } else
        fprintf(stream, "%10.3g %10.3g %10.3g", row->value[SP_MEDIAN], row->value[SP_PERCENTILE_95],
                row->value[SP_LARGEST]);
    fprintf(stream, "   %s%s\n", limit, row->within ? "" : " TOO FAR");
}

void sp_comparison_print(const SpComparison *comparison, FILE *stream)
{
    const SpComparedResult *expected = comparison->results;
    fprintf(stream, "%lld frames", (long long)expected->frames);
    if (expected->tracks >= 0)
        fprintf(stream, ", %lld tracks", (long long)expected->tracks);
    fprintf(stream, ", median depth %.6g\n\n%-34s %10s %10s %10s   %s\n", comparison->unit, "",
            statistic_name[SP_MEDIAN], statistic_name[SP_PERCENTILE_95], statistic_name[SP_LARGEST],
            "allowed");
    for (int i = 0; i < SP_COMPARE_ROWS; i++)
        if (comparison->row[i].measured)
            print_row(&comparison->row[i], stream);
    for (int i = 0; i < comparison->notes; i++)
        fprintf(stream, "%s%s\n", i ? "" : "\n", comparison->note[i]);
}

/* JSON knows no infinity. */
static bool add_number(cJSON *object, const char *key, double value)
{
    return isfinite(value) ? cJSON_AddNumberToObject(object, key, value) != NULL
                           : cJSON_AddNullToObject(object, key) != NULL;
}

/* Hands `item`, which may be NULL, to the array. */
static bool append(cJSON *array, cJSON *item)
{
    if (item && cJSON_AddItemToArray(array, item))
        return true;
    cJSON_Delete(item);
    return false;
}

static bool add_row(cJSON *rows, const SpCompareRow *row)
{
    cJSON *object = cJSON_CreateObject();
    if (!append(rows, object))
        return false;
    bool fine = cJSON_AddStringToObject(object, "name", row->name) &&
                cJSON_AddStringToObject(object, "unit", row->unit) &&
                add_number(object, "count", (double)row->count);
    if (row->checked == SP_SHARE)
        fine = fine && add_number(object, "different", (double)row->different) &&
               add_number(object, "share", row->value[SP_SHARE]);
    else
        fine = fine && add_number(object, "median", row->value[SP_MEDIAN]) &&
               add_number(object, "percentile_95", row->value[SP_PERCENTILE_95]) &&
               add_number(object, "largest", row->value[SP_LARGEST]);
    static const char *const key[] = {"median", "percentile_95", "largest", "share"};
    return fine && cJSON_AddStringToObject(object, "checked", key[row->checked]) &&
           add_number(object, "allowed", row->limit) &&
           cJSON_AddBoolToObject(object, "within", row->within);
}

static bool fill(cJSON *root, const SpComparison *comparison)
{
    const SpComparedResult *expected = comparison->results;
    bool fine = add_number(root, "frames", (double)expected->frames) &&
                add_number(root, "tracks", expected->tracks < 0 ? NAN : (double)expected->tracks) &&
                add_number(root, "median_depth", comparison->unit);
    cJSON *rows = fine ? cJSON_AddArrayToObject(root, "rows") : NULL;
    fine = rows != NULL;
    for (int i = 0; i < SP_COMPARE_ROWS && fine; i++)
        fine = !comparison->row[i].measured || add_row(rows, &comparison->row[i]);
    cJSON *notes = fine ? cJSON_AddArrayToObject(root, "notes") : NULL;
    fine = notes != NULL;
    for (int i = 0; i < comparison->notes && fine; i++)
        fine = append(notes, cJSON_CreateString(comparison->note[i]));
    return fine && cJSON_AddBoolToObject(root, "within", comparison->within);
}

SpStatus sp_comparison_print_json(const SpComparison *comparison, FILE *stream)
{
    cJSON *root = cJSON_CreateObject();
    char *text = root && fill(root, comparison) ? cJSON_PrintUnformatted(root) : NULL;
    if (text)
        fprintf(stream, "%s\n", text);
    cJSON_Delete(root);
    free(text);
    return text ? sp_ok() : sp_no_memory("the JSON");
}
