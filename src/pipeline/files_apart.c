#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/images.h"
#include "pipeline/collisions.h"
#include "pipeline/files_internal.h"
#include "pipeline/folders.h"
#include "store/locate.h"

enum { DUMP_DEPTH = 8 }; /* folders below --dump's that tensors lie in, at most */

/* The names of a video's files, and of the one that --dump always writes. */
static SpStatus add_video(const SpRunFile files[], int video, SpNamedFiles *all)
{
    char order[SP_PATH_CAPACITY + 16];
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        const SpFileEntry *entry = &sp_file_table[role];
        SpNamedFile one = {.path = files[role].path,
                           .flag = entry->flag,
                           .what = entry->what,
                           .written = entry->written,
                           .video = video};
        if (!files[role].path[0] || (files[role].appended && video > 0))
            continue;
        if (sp_run_folder_is(&files[role]))
            SP_TRY(sp_run_folder_add(&files[role], &one, all));
        if (!sp_run_folder_is(&files[role]) || files[role].format->names)
            SP_TRY(sp_named_files_add(all, &one));
        if (!entry->folder)
            continue;
        snprintf(order, sizeof order, "%.*s/order.txt", SP_PATH_CAPACITY, files[role].path);
        one.path = order;
        SP_TRY(sp_named_files_add(all, &one));
    }
    return sp_ok();
}

static bool is_any(const SpNamedFile *file, const char *path)
{
    (void)file;
    (void)path;
    return true;
}

/* Of the folder or pattern `file->path`. */
static bool is_image(const SpNamedFile *file, const char *path)
{
    return sp_images_is_pattern(file->path) && access(file->path, F_OK) != 0
               ? sp_run_folder_numbers(path, file->path)
               : sp_images_is_name(sp_last_name(path));
}

/* The images of a video that is a folder or a pattern. check_images knows them by their names: what
 * is left are those that are links, or all where an output has `names` of its own. */
static SpStatus add_images(const char *path, int video, bool names, SpNamedFiles *all)
{
    const SpNamedFile image = {
        .path = path, .flag = "VIDEO", .what = "an image of the video", .video = video};
    char folder[SP_PATH_CAPACITY];
    const bool pattern = access(path, F_OK) != 0 && sp_images_is_pattern(path);
    const int length = (int)(sp_last_name(path) - path);
    if (pattern)
        snprintf(folder, sizeof folder, "%.*s", length ? length : 1, length ? path : ".");
    return sp_named_files_add_folder(all, pattern ? folder : path, !names, is_image, &image);
}

static SpStatus add_weights(const SpJob *job, SpNamedFiles *all)
{
    for (SpModelId id = 0; id < SP_MODELS; id++) {
        SpLocated place;
        if (sp_weights_locate(job->weights, id, &place).code != SP_OK || place.embedded)
            continue;
        if (job->dump &&
            (sp_same_file(job->dump, place.folder) || sp_lies_in(place.folder, job->dump, 0)))
            return sp_error(SP_USAGE,
                            "%.300s: --dump would write among the weights (%s); choose another "
                            "folder",
                            job->dump, place.where);
        const SpNamedFile file = {.flag = place.where, .what = "a file of the weights"};
        SP_TRY(sp_named_files_add_folder(all, place.folder, false, is_any, &file));
    }
    return sp_ok();
}

static SpStatus becomes_image(const char *path, const char *flag)
{
    return sp_error(SP_USAGE,
                    "%.300s: %s would become one of the video's images (VIDEO); choose another "
                    "folder",
                    path, flag);
}

/* Likewise, of the first of the files of each name. */
static SpStatus check_many_images(const SpRunFile *file, const char *flag, const char *video,
                                  bool folder)
{
    char pattern[SP_PATH_CAPACITY], path[SP_PATH_CAPACITY];
    for (int i = 0; sp_run_folder_pattern(file, i, pattern); i++) {
        sp_run_folder_number(pattern, 0, path);
        if (folder ? sp_images_is_name(sp_last_name(path)) && sp_lies_in(path, video, 0)
                   : sp_run_folder_numbers(path, video))
            return becomes_image(path, flag);
    }
    return sp_ok();
}

/* Nothing that is written would be taken for an image of the folder or pattern `video`. */
static SpStatus check_images(const SpRunFile files[], const char *video, bool folder)
{
    char target[PATH_MAX];
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        const char *path = files[role].path;
        if (sp_run_folder_is(&files[role]))
            SP_TRY(check_many_images(&files[role], sp_file_table[role].flag, video, folder));
        if (!sp_file_is_written(files, role) || sp_file_table[role].folder ||
            sp_run_folder_is(&files[role]) || !sp_atomic_follow(path, target))
            continue;
        if (folder ? sp_images_is_name(sp_last_name(target)) && sp_lies_in(target, video, 0)
                   : sp_run_folder_numbers(target, video))
            return becomes_image(path, sp_file_table[role].flag);
    }
    return sp_ok();
}

/* Of `video`, the files of the job with each of the videos. */
static SpStatus check_images_of(const char *video, const SpJob *job, const char *const *videos,
                                int count)
{
    struct stat info;
    SpJob one = *job;
    SpRunFile files[SP_FILE_ROLES];
    const bool exists = stat(video, &info) == 0;
    if (exists ? !S_ISDIR(info.st_mode) : !sp_images_is_pattern(video))
        return sp_ok();
    for (int i = 0; i < count; i++) {
        sp_job_set_video(&one, videos[i]);
        SP_TRY(sp_files_name(&one, files));
        SP_TRY(check_images(files, video, exists));
    }
    return sp_ok();
}

/* Nothing else that is written has a name that one of a folder's files could have. */
static SpStatus check_many(const SpRunFile files[])
{
    char pattern[SP_PATH_CAPACITY], target[PATH_MAX];
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++)
        for (int i = 0;
             sp_run_folder_is(&files[role]) && sp_run_folder_pattern(&files[role], i, pattern); i++)
            for (SpFileRole other = 0; other < SP_FILE_ROLES; other++) {
                const SpNamedFile file = {.path = pattern};
                const char *path = files[other].path;
                if (sp_file_is_written(files, other) && !sp_file_table[other].folder &&
                    !sp_run_folder_is(&files[other]) && sp_atomic_follow(path, target) &&
                    sp_run_folder_has(&file, target))
                    return sp_error(SP_USAGE, "%.300s: %s would replace %s (%s); name another file",
                                    path, sp_file_table[role].flag, sp_file_table[other].what,
                                    sp_file_table[other].flag);
            }
    return sp_ok();
}

static SpStatus check_all_images(const SpJob *job, const char *const *videos, int count)
{
    for (int k = 0; k < count; k++)
        SP_TRY(check_images_of(videos[k], job, videos, count));
    return job->original ? check_images_of(job->original, job, videos, count) : sp_ok();
}

/* No file that is read has a name that --dump could write. */
static SpStatus check_dump(const SpRunFile files[])
{
    const char *dump = files[SP_FILE_DUMP].path;
    for (SpFileRole role = 0; *dump && role < SP_FILE_ROLES; role++) {
        const char *path = files[role].path, *ending = strrchr(path, '.');
        if (*path && ending && !sp_file_table[role].folder &&
            (strcmp(ending, ".safetensors") == 0 || strcmp(ending, ".part") == 0) &&
            sp_lies_in(path, dump, DUMP_DEPTH))
            return sp_error(SP_USAGE, "%.300s: --dump would replace %s (%s); choose another folder",
                            path, sp_file_table[role].what, sp_file_table[role].flag);
    }
    return sp_ok();
}

static SpStatus collect(const SpJob *job, const char *const *videos, int count, SpNamedFiles *all)
{
    SpJob one = *job;
    SpRunFile files[SP_FILE_ROLES];
    bool replaces = job->dump, names = false;
    for (int i = 0; i < count; i++) {
        sp_job_set_video(&one, videos[i]);
        SP_TRY(sp_files_name(&one, files));
        SP_TRY(add_video(files, i, all));
        SP_TRY(check_dump(files));
        SP_TRY(check_many(files));
        for (SpFileRole role = 0; role < SP_FILE_ROLES; role++)
            if (sp_file_is_written(files, role) && sp_atomic_replaces(files[role].path)) {
                replaces = true;
                names |= sp_has_names(files[role].path);
            } else {
                replaces |= sp_run_folder_is(&files[role]);
            }
    }
    for (int i = 0; replaces && i < count; i++)
        SP_TRY(add_images(videos[i], i, names, all));
    if (replaces && job->original)
        SP_TRY(add_images(job->original, 0, names, all));
    return replaces ? add_weights(job, all) : sp_ok();
}

SpStatus sp_files_apart(const SpJob *job, const char *const *videos, int count)
{
    SpNamedFiles all = {0};
    SP_TRY(check_all_images(job, videos, count));
    SpStatus status = collect(job, videos, count, &all);
    if (status.code == SP_OK)
        status = sp_named_files_check(&all);
    sp_named_files_free(&all);
    return status;
}

SpStatus sp_files_admit(const SpJob *job, SpPlaces *places, bool *again)
{
    SpRunFile files[SP_FILE_ROLES];
    const uint64_t video = sp_places_video(job->video);
    *again = false;
    SP_TRY(sp_files_name(job, files));
    SP_TRY(sp_files_make_folders(job, files));
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        const SpFileEntry *entry = &sp_file_table[role], *other;
        const SpPlaceOwner owner = {.video = video & SP_PLACES_VIDEO, .role = role}, *found;
        if (!*files[role].path || files[role].appended ||
            (!entry->written && role != SP_FILE_VIDEO))
            continue;
        SP_TRY(sp_places_claim(places, files[role].path, &owner, &found));
        if (!found || !(entry->written || sp_file_table[found->role].written))
            continue;
        *again = role == SP_FILE_RESULT && found->role == role && found->video == video;
        if (*again)
            return sp_ok();
        other = &sp_file_table[found->role];
        if (found->video == video && found->role != role)
            return sp_error(SP_USAGE, "%.300s: %s would replace %s; name another file",
                            files[role].path, entry->what, other->what);
        if (!other->written || !entry->written)
            return sp_error(SP_USAGE, "%.300s: %s of one video would replace %s of another",
                            files[role].path, entry->written ? entry->what : other->what,
                            entry->written ? other->what : entry->what);
        return sp_error(SP_USAGE, "%.300s: the results of two videos would go there",
                        files[role].path);
    }
    return sp_ok();
}
