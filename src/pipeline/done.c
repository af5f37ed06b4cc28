#include "pipeline/done.h"

#include <errno.h>
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

static bool add_piece(FILE *file, Record *record)
{
    unsigned char bytes[PIECE];
    const size_t count = fread(bytes, 1, sizeof bytes, file);
    record->hash = sp_fnv(record->hash, bytes, count);
    return !ferror(file);
}

static SpStatus add_file(const char *path, const struct stat *info, Record *record)
{
    FILE *file = fopen(path, "re");
    const bool whole =
        file && add_piece(file, record) &&
        (info->st_size <= PIECE ||
         (fseeko(file, info->st_size - PIECE, SEEK_SET) == 0 && add_piece(file, record)));
    const int number = errno;
    if (file)
        fclose(file);
    if (!whole)
        return sp_error(SP_INPUT, "cannot read %.300s: %s", path, strerror(number));
    record->size += info->st_size;
    if (is_after(info->st_mtim, record->time))
        record->time = info->st_mtim;
    return sp_ok();
}

/* The images, as far as each is a file; *known: whether all are. */
static SpStatus add_images(const SpImages *images, Record *record, bool *known)
{
    for (int64_t i = 0; i < images->count; i++) {
        struct stat info;
        *known = stat(images->path[i], &info) == 0 && S_ISREG(info.st_mode);
        if (!*known)
            break;
        SP_TRY(add_file(images->path[i], &info, record));
    }
    record->files = images->count;
    return sp_ok();
}

/* *known becomes false for what cannot be looked at twice, and for what is not there, which is
 * found when it is read. SP_INPUT. */
static SpStatus look_at(const char *path, Record *record, bool *known)
{
    struct stat info;
    SpImages images = {0};
    const bool exists = stat(path, &info) == 0;
    *record = (Record){.hash = SP_FNV};
    *known = exists && S_ISREG(info.st_mode);
    if (*known)
        return add_file(path, &info, record);
    if (strcmp(path, "-") == 0 || (exists && !S_ISDIR(info.st_mode)))
        return sp_ok();
    SpStatus status =
        exists ? sp_images_of_folder(path, &images) : sp_images_of_pattern(path, &images);
    if (status.code == SP_OK)
        status = add_images(&images, record, known);
    else if (!exists)
        status = sp_ok();
    sp_images_free(&images);
    return status;
}

static bool add_record(cJSON *object, const Record *record)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, record->hash);
    return cJSON_AddNumberToObject(object, "size", (double)record->size) &&
           cJSON_AddStringToObject(object, "ends", hash) &&
           (!record->files || cJSON_AddNumberToObject(object, "files", (double)record->files));
}

/* An input's record in `object`, NULL where memory was short. */
static SpStatus add_input(cJSON *object, const char *path, SpInputRecord *record, bool *known)
{
    Record found;
    SP_TRY(look_at(path, &found, known));
    if (is_after(found.time, record->changed))
        record->changed = found.time;
    return !*known || (object && add_record(object, &found)) ? sp_ok() : sp_no_memory("the result");
}

SpStatus sp_input_record(const SpJob *job, SpInputRecord *record)
{
    const char *const key[] = {"geometry", "queries", "mask"};
    const char *const path[] = {job->geometry, job->queries, job->mask};
    bool known = true;
    *record = (SpInputRecord){0};
    cJSON *root = cJSON_CreateObject();
    SpStatus status = add_input(root, job->video, record, &known);
    for (int i = 0; i < 3 && status.code == SP_OK && known; i++)
        if (path[i])
            status = add_input(cJSON_AddObjectToObject(root, key[i]), path[i], record, &known);
    if (status.code == SP_OK && known) {
        record->json = cJSON_PrintUnformatted(root);
        status = record->json ? sp_ok() : sp_no_memory("the result");
    }
    cJSON_Delete(root);
    return status;
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
    bool begins;
    if (sp_npz_text_begins(npz, "version", program, &begins).code != SP_OK || !begins ||
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
