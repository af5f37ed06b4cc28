#include "output/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/utf8.h"
#include "output/formats.h"

static bool add_text(cJSON *object, const char *key, const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    if (!text)
        return cJSON_AddNullToObject(object, key);
    char *clean = malloc(3 * strlen(text) + 1), *to = clean;
    if (!clean)
        return false;
    for (const char *from = text, *next = text; *from; from = next) {
        const bool valid = sp_utf8_next(&next) != SP_UTF8_REPLACEMENT;
        const size_t bytes = valid ? (size_t)(next - from) : sizeof replacement - 1;
        memcpy(to, valid ? from : replacement, bytes);
        to += bytes;
    }
    *to = 0;
    const bool added = cJSON_AddStringToObject(object, key, clean);
    free(clean);
    return added;
}

static bool add_number(cJSON *object, const char *key, double value)
{
    return cJSON_AddNumberToObject(object, key, value);
}

static bool add_input(cJSON *root, const SpReport *report)
{
    cJSON *input = cJSON_AddObjectToObject(root, "input");
    return input && add_text(input, "path", report->input) &&
           add_number(input, "width", (double)report->input_width) &&
           add_number(input, "height", (double)report->input_height) &&
           add_number(input, "used_frames", (double)report->used_frames) &&
           add_number(input, "left_out_frames", (double)report->left_out_frames) &&
           add_number(input, "rate", report->rate);
}

/* A new object at the end of an array; NULL without memory. */
static cJSON *add_object(cJSON *array)
{
    cJSON *object = cJSON_CreateObject();
    if (cJSON_AddItemToArray(array, object))
        return object;
    cJSON_Delete(object);
    return NULL;
}

static bool add_stages(cJSON *root, const SpReport *report)
{
    cJSON *stages = cJSON_AddArrayToObject(root, "stages");
    bool added = stages;
    for (int i = 0; added && i < report->stage_count; i++) {
        const SpStageReport *stage = &report->stages[i];
        cJSON *object = add_object(stages);
        added = add_text(object, "name", stage->name) &&
                add_number(object, "seconds", stage->seconds) &&
                add_number(object, "peak_host_bytes", (double)stage->peak_host_bytes) &&
                add_number(object, "planned_device_bytes", (double)stage->planned_device_bytes) &&
                add_number(object, "peak_device_bytes", (double)stage->peak_device_bytes) &&
                add_number(object, "weight_bytes", (double)stage->weight_bytes) &&
                add_text(object, "mode", stage->mode) &&
                add_number(object, "moved_bytes", stage->moved_bytes) &&
                add_number(object, "moving_seconds", stage->moving_seconds) &&
                add_number(object, "hidden_seconds", stage->hidden_seconds);
    }
    return added;
}

static bool add_events(cJSON *root, const SpReport *report)
{
    cJSON *cache = cJSON_AddArrayToObject(root, "cache");
    bool added = cache;
    for (int i = 0; added && i < report->event_count; i++) {
        const SpCacheEvent *event = &report->events[i];
        cJSON *object = add_object(cache);
        added = add_text(object, "event", event->what) && add_text(object, "model", event->model) &&
                add_number(object, "seconds", event->seconds) &&
                add_number(object, "models", event->models) &&
                add_number(object, "host_bytes", (double)event->host_bytes) &&
                add_number(object, "device_bytes", (double)event->device_bytes) &&
                add_number(object, "rss_bytes", (double)event->rss_bytes);
    }
    return added;
}

static bool add_numbers(cJSON *object, const char *key, const double *values, int count)
{
    return cJSON_AddItemToObject(object, key, cJSON_CreateDoubleArray(values, count));
}

/* Null where the front took all frames at once. */
static bool add_chunks(cJSON *root, const SpReport *report)
{
    if (!report->chunks)
        return cJSON_AddNullToObject(root, "front_chunks");
    cJSON *object = cJSON_AddObjectToObject(root, "front_chunks");
    bool added = add_number(object, "frames", (double)report->chunk_frames) &&
                 add_number(object, "overlap", (double)report->chunk_overlap);
    cJSON *chunks = added ? cJSON_AddArrayToObject(object, "chunks") : NULL;
    added = added && chunks;
    for (int64_t i = 0; added && i < report->chunks; i++) {
        const SpResultChunk *s = &report->chunk[i];
        cJSON *chunk = add_object(chunks);
        added = add_number(chunk, "first", (double)s->first) &&
                add_numbers(chunk, "similarity", s->similarity, 16);
    }
    return added;
}

static bool add_libraries(cJSON *root, const SpReport *report)
{
    cJSON *libraries = cJSON_AddObjectToObject(root, "libraries");
    bool added = libraries;
    for (int i = 0; added && i < report->library_count; i++)
        added = add_text(libraries, report->libraries[i].name, report->libraries[i].version);
    return added;
}

static bool add_failure(cJSON *root, const SpReport *report)
{
    cJSON *input = cJSON_AddObjectToObject(root, "input");
    return input && add_text(input, "path", report->input) &&
           add_number(root, "status", report->status) && add_text(root, "error", report->error);
}

static bool add_all(cJSON *root, cJSON *settings, const SpReport *report)
{
    if (!add_text(root, "program", "spatrack") ||
        !add_text(root, "version", report->program_version) ||
        !cJSON_AddItemToObject(root, "settings", settings)) {
        cJSON_Delete(settings);
        return false;
    }
    if (report->error)
        return add_failure(root, report);
    return add_input(root, report) && add_text(root, "device", report->device) &&
           add_text(root, "isa", report->isa) && add_number(root, "threads", report->threads) &&
           add_text(root, "weights", report->weights) && add_stages(root, report) &&
           add_chunks(root, report) && add_events(root, report) &&
           add_number(root, "seconds", report->seconds) &&
           add_number(root, "peak_rss_bytes", (double)report->peak_rss_bytes) &&
           add_libraries(root, report);
}

static SpStatus make_json(const SpReport *report, bool line, char **out)
{
    cJSON *settings =
        report->settings_json ? cJSON_Parse(report->settings_json) : cJSON_CreateNull();
    cJSON *root = settings ? cJSON_CreateObject() : NULL;
    if (!settings)
        return sp_error(SP_OUTPUT, "the report's settings are not JSON");
    const bool added = add_all(root, settings, report);
    *out = !added ? NULL : line ? cJSON_PrintUnformatted(root) : cJSON_Print(root);
    cJSON_Delete(root);
    return *out ? sp_ok() : sp_no_memory("the report");
}

static SpStatus write_report(const SpAtomicFile *file, const SpOutput *output)
{
    char *text = NULL;
    SP_TRY(make_json(output->report, false, &text));
    errno = 0;
    const bool written = fprintf(file->stream, "%s\n", text) >= 0 && fflush(file->stream) == 0;
    const SpStatus status = written ? sp_ok() : sp_cannot_write(file->label);
    cJSON_free(text);
    return status;
}

/* By its first key. */
static bool is_own(const char *path)
{
    char program[16] = "";
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const bool own = fscanf(file, " { \"program\" : \"%15[a-z]\"", program) == 1 &&
                     strcmp(program, "spatrack") == 0;
    fclose(file);
    return own;
}

static void at_least(size_t *most, size_t bytes)
{
    *most = *most > bytes ? *most : bytes;
}

void sp_report_add_stage(SpReport *report, const SpStageReport *stage)
{
    SpStageReport *one = report->stages;
    while (one < report->stages + report->stage_count && strcmp(one->name, stage->name) != 0)
        one++;
    if (one == report->stages + report->stage_count) {
        report->stage_count++;
        *one = *stage;
        return;
    }
    one->mode = stage->mode;
    one->seconds += stage->seconds;
    one->moved_bytes += stage->moved_bytes;
    one->moving_seconds += stage->moving_seconds;
    one->hidden_seconds += stage->hidden_seconds;
    at_least(&one->peak_host_bytes, stage->peak_host_bytes);
    at_least(&one->planned_device_bytes, stage->planned_device_bytes);
    at_least(&one->peak_device_bytes, stage->peak_device_bytes);
    at_least(&one->weight_bytes, stage->weight_bytes);
}

SpStatus sp_report_check_append(const char *path)
{
    struct stat info;
    return stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0 || is_own(path)
               ? sp_ok()
               : sp_error(SP_OUTPUT,
                          "%.300s exists and was not written by spatrack; name another file with "
                          "--report",
                          path);
}

/* Behind the lines that are whole: a process that died in its line would spoil the next. */
static bool append_line(int fd, const char *text)
{
    struct iovec part[3] = {{"\n", 0}, {(char *)text, strlen(text)}, {"\n", 1}};
    struct stat before;
    char last = '\n';
    const bool regular = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    if (regular && before.st_size > 0)
        (void)!pread(fd, &last, 1, before.st_size - 1);
    part[0].iov_len = last != '\n';
    const ssize_t length = (ssize_t)(part[0].iov_len + part[1].iov_len + 1);
    errno = 0;
    if (writev(fd, part, 3) == length)
        return true;
    const int error = errno ? errno : ENOSPC;
    if (regular)
        (void)!ftruncate(fd, before.st_size);
    errno = error;
    return false;
}

SpStatus sp_report_append(const char *path, const SpReport *report)
{
    char *text = NULL;
    SP_TRY(make_json(report, true, &text));
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0)
        (void)!flock(fd, LOCK_EX); /* where there are no locks, O_APPEND keeps lines apart */
    const bool written = fd >= 0 && append_line(fd, text);
    const SpStatus status = written ? sp_ok() : sp_cannot_write(path);
    if (fd >= 0)
        close(fd);
    cJSON_free(text);
    return status;
}

const SpFormat sp_format_report = {.product = SP_PRODUCT_REPORT,
                                   .ending = ".json",
                                   .what = "times, memory and settings",
                                   .unused = SP_PART_ALL,
                                   .write = write_report,
                                   .is_own = is_own};
