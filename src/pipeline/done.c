#include "pipeline/done.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include "media/images.h"
#include "output/npz.h"
#include "pipeline/folders.h"
#include "pipeline/list.h"

enum { PIECE = 4096 };

/* Of one file or of many. */
typedef struct Record {
    long long size, files; /* files: 0 of what is one */
    uint64_t hash;
    struct timespec time;
} Record;

static bool is_after(struct timespec a, struct timespec b)
{
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static void add_piece(FILE *file, Record *record)
{
    unsigned char bytes[PIECE];
    const size_t count = fread(bytes, 1, sizeof bytes, file);
    record->hash = sp_fnv(record->hash, bytes, count);
}

static bool add_file(const char *path, Record *record)
{
    struct stat info;
    FILE *file = fopen(path, "re");
    const bool regular = file && fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode);
    if (regular) {
        add_piece(file, record);
        if (info.st_size > PIECE && fseeko(file, info.st_size - PIECE, SEEK_SET) == 0)
            add_piece(file, record);
    }
    if (file)
        fclose(file);
    if (!regular)
        return false;
    record->size += info.st_size;
    if (is_after(info.st_mtim, record->time))
        record->time = info.st_mtim;
    return true;
}

/* False: it is nothing that can be looked at twice. */
static bool look_at(const char *path, Record *record)
{
    struct stat info;
    SpImages images = {0};
    const bool exists = stat(path, &info) == 0;
    *record = (Record){.hash = SP_FNV};
    if (exists && S_ISREG(info.st_mode))
        return add_file(path, record);
    if (strcmp(path, "-") == 0 || (exists && !S_ISDIR(info.st_mode)))
        return false;
    const SpStatus status =
        exists ? sp_images_of_folder(path, &images) : sp_images_of_pattern(path, &images);
    bool all = status.code == SP_OK;
    for (int64_t i = 0; all && i < images.count; i++)
        all = add_file(images.path[i], record);
    record->files = images.count;
    sp_images_free(&images);
    return all;
}

static bool add_record(cJSON *object, const Record *record)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, record->hash);
    return cJSON_AddNumberToObject(object, "size", (double)record->size) &&
           cJSON_AddStringToObject(object, "ends", hash) &&
           (!record->files || cJSON_AddNumberToObject(object, "files", (double)record->files));
}

/* *known becomes false where an input cannot be looked at; the result where memory is short. */
static bool add_inputs(cJSON *root, const SpJob *job, bool *known, struct timespec *changed)
{
    const char *const key[] = {"geometry", "queries", "mask"};
    const char *const path[] = {job->geometry, job->queries, job->mask};
    Record record;
    bool added = true;
    *known = look_at(job->video, &record);
    if (*known)
        added = add_record(root, &record);
    *changed = record.time;
    for (int i = 0; i < 3 && added && *known; i++) {
        if (!path[i])
            continue;
        *known = look_at(path[i], &record);
        cJSON *object = *known ? cJSON_AddObjectToObject(root, key[i]) : NULL;
        added = !*known || (object && add_record(object, &record));
        if (is_after(record.time, *changed))
            *changed = record.time;
    }
    return added;
}

SpStatus sp_input_record(const SpJob *job, SpInputRecord *record)
{
    bool known = true;
    cJSON *root = cJSON_CreateObject();
    const bool added = root && add_inputs(root, job, &known, &record->changed);
    record->json = added && known ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    return record->json || (added && !known) ? sp_ok() : sp_no_memory("the result");
}

/* Whether the arrays of the archive are those that the job would write, as far as each run has
 * them. */
static bool has_arrays(const SpNpz *npz, const SpJob *job)
{
    static const char *const names[] = {
        "extrinsics", "intrinsics", "intrinsics_input", "size",  "saved_size", "scale",
        "rate",       "depths",     "confs_depth",      "video", "timestamps", "frame_index",
        "coords",     "tracks2d",   "visibs",           "confs", "dynamic",    "queries"};
    const int of_frames = 12;
    const int count = job->stop_after == SP_STOP_NEVER ? sizeof names / sizeof *names : of_frames;
    for (int i = 0; i < count; i++)
        if (sp_npz_has(npz, names[i]) == sp_npz_names_hold(job->omit, names[i]))
            return false;
    return true;
}

static bool is_same(const cJSON *version, const char *key, const char *wanted)
{
    cJSON *other = cJSON_Parse(wanted);
    const bool same =
        other && cJSON_Compare(cJSON_GetObjectItemCaseSensitive(version, key), other, true);
    cJSON_Delete(other);
    return same;
}

static bool has_version(SpNpz *npz, const SpJob *job, const char *record)
{
    static const char program[] = "{\"program\":\"spatrack " SP_VERSION "\",";
    int64_t count;
    size_t stride;
    char *text = NULL, format[16];
    if (!sp_npz_text_begins(npz, "version", program) ||
        sp_npz_read_texts(npz, "version", &count, &stride, &text).code != SP_OK)
        return false;
    cJSON *version = cJSON_Parse(text);
    snprintf(format, sizeof format, "%d", SP_FORMAT_VERSION);
    const bool same = is_same(version, "format", format) && is_same(version, "input", record) &&
                      is_same(version, "settings", job->settings);
    cJSON_Delete(version);
    free(text);
    return same;
}

/* Whether a file that the run would write beside the result was written with it: results are begun
 * first and put into place last. SP_MEMORY. */
static SpStatus is_there(const SpRunFile *file, bool beside, struct timespec time, bool *there)
{
    char path[SP_PATH_CAPACITY];
    struct stat info;
    *there = true;
    if (sp_run_folder_is(file)) {
        SP_TRY(sp_run_folder_find(file, path));
        *there = *path && stat(path, &info) == 0;
        return sp_ok();
    }
    *there = stat(file->path, &info) == 0 && S_ISREG(info.st_mode) &&
             !(beside && is_after(time, info.st_mtim));
    return sp_ok();
}

SpStatus sp_is_done(const SpJob *job, const SpRunFile files[], const SpInputRecord *record,
                    bool *done)
{
    const SpRunFile *result = &files[SP_FILE_RESULT];
    struct stat info;
    SpNpz *npz;
    *done = false;
    if (!record->json || job->from_result || job->dump || !*result->path ||
        strcmp(result->format->ending, ".npz") != 0 || stat(result->path, &info) != 0 ||
        !S_ISREG(info.st_mode) || is_after(record->changed, info.st_mtim))
        return sp_ok();
    *done = sp_npz_open(result->path, &npz).code == SP_OK && has_version(npz, job, record->json) &&
            has_arrays(npz, job);
    sp_npz_close(npz);
    for (SpFileRole role = SP_FILE_RESULT + 1; role < SP_FILE_ROLES && *done; role++)
        if (*files[role].path && files[role].format && !files[role].appended)
            SP_TRY(is_there(&files[role], role != SP_FILE_MASK_OUT, info.st_mtim, done));
    return sp_ok();
}
