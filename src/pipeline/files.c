#include "pipeline/files.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Entry {
    const char *what, *flag;
    size_t field; /* the path in SpJob */
    bool written;
    SpProduct product;  /* of what is written */
    const char *ending; /* of the video's own name in a folder; NULL: it cannot be named by one */
    bool any_ending, always, folder;
} Entry;

static const Entry table[SP_FILE_ROLES] = {
    [SP_FILE_VIDEO] = {"the video", "VIDEO", offsetof(SpJob, video), .written = false},
    [SP_FILE_GEOMETRY] = {"the geometry", "--geometry", offsetof(SpJob, geometry),
                          .written = false},
    [SP_FILE_QUERIES] = {"the queries", "--queries", offsetof(SpJob, queries), .written = false},
    [SP_FILE_MASK] = {"the mask", "--mask", offsetof(SpJob, mask), .written = false},
    [SP_FILE_RESULT] = {"the result", "-o", offsetof(SpJob, output), true, SP_PRODUCT_RESULT,
                        .ending = ".npz", .always = true},
    [SP_FILE_REPORT] = {"the report", "--report", offsetof(SpJob, report), true, SP_PRODUCT_REPORT,
                        .ending = ".json", .any_ending = true},
    [SP_FILE_OVERLAY] = {"the overlay", "--overlay", offsetof(SpJob, overlay), true,
                         .product = SP_PRODUCT_OVERLAY},
    [SP_FILE_MASK_OUT] = {"SAM's mask", "--mask-out", offsetof(SpJob, mask_out), true,
                          .product = SP_PRODUCT_MASK},
    [SP_FILE_DUMP] = {"the tensors", "--dump", offsetof(SpJob, dump), true, .folder = true},
};

static const char *asked(const SpJob *job, SpFileRole role)
{
    return *(const char *const *)((const char *)job + table[role].field);
}

static bool is_standard_output(const char *path)
{
    return strcmp(path, SP_STANDARD_OUTPUT) == 0;
}

static bool is_folder(const char *path)
{
    return *path && path[strlen(path) - 1] == '/';
}

/* The part of the last name in a path that stands before its ending: of "a/b.mp4" and "a/b/" "b",
 * of "a/.hidden" and "a.d/b" all. */
static void own_name(const char *path, int *begin, int *end)
{
    int stop = (int)strlen(path), dot;
    while (stop > 1 && path[stop - 1] == '/')
        stop--;
    for (*begin = stop; *begin > 0 && path[*begin - 1] != '/';)
        --*begin;
    for (dot = stop - 1; dot > *begin && path[dot] != '.';)
        dot--;
    *end = dot > *begin ? dot : stop;
}

/* The video by a path that ends in its name: of folders like "." and "frames/.." the real one. */
static const char *video_path(const SpJob *job, char real[PATH_MAX])
{
    size_t stop = strlen(job->video);
    while (stop > 1 && job->video[stop - 1] == '/')
        stop--;
    size_t start = stop;
    while (start > 0 && job->video[start - 1] != '/')
        start--;
    const char *name = job->video + start;
    const bool dots = stop - start <= 2 && strspn(name, ".") == stop - start;
    return dots && realpath(job->video, real) ? real : job->video;
}

static SpStatus name_file(const SpJob *job, SpFileRole role, char out[SP_PATH_CAPACITY])
{
    const Entry *entry = &table[role];
    const char *path = asked(job, role), *ending = entry->ending;
    char real[PATH_MAX];
    int begin, end, length;
    if (!path && (!entry->always || job->stop_after == SP_STOP_SAM))
        return sp_ok();
    const bool named_by_video = !path || (ending && is_folder(path));
    const char *video = named_by_video ? video_path(job, real) : job->video;
    own_name(video, &begin, &end);
    if (named_by_video && begin == end && *job->video)
        return sp_error(SP_USAGE, "the folder %.400s has no name: say where %s goes with %s FILE",
                        job->video, entry->what, entry->flag);
    if (!path)
        length = snprintf(out, SP_PATH_CAPACITY, "%.*s%s", end, video, ending);
    else if (named_by_video)
        length =
            snprintf(out, SP_PATH_CAPACITY, "%s%.*s%s", path, end - begin, video + begin, ending);
    else if (role == SP_FILE_RESULT && strcmp(path, "-") == 0)
        length = snprintf(out, SP_PATH_CAPACITY, "%s", SP_STANDARD_OUTPUT);
    else
        length = snprintf(out, SP_PATH_CAPACITY, "%s", path);
    return length >= 0 && length < SP_PATH_CAPACITY
               ? sp_ok()
               : sp_error(SP_USAGE, "the name of %s is longer than %d characters", entry->what,
                          SP_PATH_CAPACITY);
}

static SpStatus unknown_ending(const Entry *entry, const char *path)
{
    char endings[80] = "";
    const SpFormat *format;
    for (int i = 0; (format = sp_format_at(entry->product, i)); i++) {
        const size_t used = strlen(endings);
        snprintf(endings + used, sizeof endings - used, "%s%s", i ? " or " : "", format->ending);
    }
    return sp_error(SP_USAGE, "%.200s: the name of %s must end in %s%s", path, entry->what, endings,
                    entry->ending ? ", or in /" : "");
}

static SpStatus choose_format(const SpJob *job, SpFileRole role, SpRunFile *file)
{
    const Entry *entry = &table[role];
    const bool piped = role == SP_FILE_RESULT && is_standard_output(file->path);
    if (job->format && role == SP_FILE_RESULT && !piped)
        return sp_error(SP_USAGE, "--format is for -o -; elsewhere the name's ending says it");
    file->format = entry->any_ending ? sp_format_at(entry->product, 0)
                   : piped ? sp_format_at(entry->product, job->format ? job->format - 1 : 0)
                           : sp_format_of(entry->product, file->path);
    if (!file->format)
        return unknown_ending(entry, file->path);
    if (file->format->needs_tracks && job->stop_after != SP_STOP_NEVER)
        return sp_error(SP_USAGE, "--stop-after %s gives no tracks for %s %.200s; leave out one",
                        job->stop_after == SP_STOP_SAM ? "sam" : "front", entry->flag, file->path);
    return sp_ok();
}

SpStatus sp_files_name(const SpJob *job, SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        SpRunFile *file = &files[role];
        file->path[0] = 0;
        SP_TRY(name_file(job, role, file->path));
        if (file->path[0] && table[role].written && !table[role].folder)
            SP_TRY(choose_format(job, role, file));
    }
    return sp_ok();
}

static bool is_written(const SpRunFile files[], SpFileRole role)
{
    return table[role].written && files[role].path[0];
}

SpStatus sp_files_apart(const SpRunFile one[], const SpRunFile other[])
{
    for (SpFileRole a = 0; a < SP_FILE_ROLES; a++)
        for (SpFileRole b = 0; b < SP_FILE_ROLES; b++)
            if (is_written(one, a) && is_written(other, b) &&
                strcmp(one[a].path, other[b].path) == 0)
                return sp_error(SP_USAGE, "%.200s: the results of two videos would go there",
                                one[a].path);
    return sp_ok();
}

SpStatus sp_files_check_shared(const SpJob *job)
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        const Entry *entry = &table[role];
        const char *path = asked(job, role);
        if (!path || (!entry->written && role != SP_FILE_GEOMETRY))
            continue;
        if (!entry->ending)
            return sp_error(SP_USAGE, "%s works with a single video only", entry->flag);
        if (!is_folder(path))
            return sp_error(SP_USAGE, "several videos: %s takes a folder, \"%.200s/\"", entry->flag,
                            path);
    }
    return sp_ok();
}

/* The folder that a path's last name is in, "." for a bare name. */
static void folder_of(const char *path, char out[SP_PATH_CAPACITY])
{
    const char *slash = strrchr(path, '/');
    const int length = slash == path ? 1 : slash ? (int)(slash - path) : 0;
    snprintf(out, SP_PATH_CAPACITY, "%.*s", length ? length : 1, length ? path : ".");
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether two paths are one file or folder by whatever names, also where it does not exist yet. */
static bool same(const char *one, const char *two)
{
    struct stat a, b;
    char folder_one[SP_PATH_CAPACITY], folder_two[SP_PATH_CAPACITY];
    if (strcmp(one, two) == 0)
        return true;
    const bool found_one = stat(one, &a) == 0, found_two = stat(two, &b) == 0;
    if (found_one && found_two)
        return !S_ISCHR(a.st_mode) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    if (found_one || found_two || strcmp(last_name(one), last_name(two)) != 0)
        return false;
    folder_of(one, folder_one);
    folder_of(two, folder_two);
    return stat(folder_one, &a) == 0 && stat(folder_two, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* Nothing that is read, or named before it in the table, is what `role` would replace. */
static SpStatus check_replaces(const SpRunFile files[], SpFileRole role)
{
    const char *path = files[role].path, *flag = table[role].flag;
    char folder[SP_PATH_CAPACITY];
    for (SpFileRole other = 0; other < role; other++)
        if (files[other].path[0] && same(path, files[other].path))
            return sp_error(SP_USAGE, "%.400s: %s would replace %s; name another file", path, flag,
                            table[other].what);
    folder_of(path, folder);
    if (files[role].format && strcmp(files[role].format->ending, ".png") == 0 &&
        same(folder, files[SP_FILE_VIDEO].path))
        return sp_error(SP_USAGE,
                        "%.400s: %s would become one of the video's images; choose another folder",
                        path, flag);
    return sp_ok();
}

SpStatus sp_files_check_clobber(const SpJob *job, const SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES && job->no_clobber; role++) {
        const char *path = files[role].path;
        if (is_written(files, role) && files[role].format && !is_standard_output(path) &&
            access(path, F_OK) == 0)
            return sp_error(SP_OUTPUT, "%.400s exists; --no-clobber keeps it", path);
    }
    return sp_ok();
}

static SpStatus check_written(const SpJob *job, const SpRunFile files[], SpFileRole role)
{
    const SpRunFile *file = &files[role];
    SpAtomicFile probe;
    SP_TRY(check_replaces(files, role));
    if (!file->format)
        return sp_ok();
    if (role == SP_FILE_RESULT && is_standard_output(file->path) && !file->format->needs_tracks &&
        isatty(STDOUT_FILENO))
        return sp_error(SP_USAGE, "-o -: standard output is a terminal; send it to a file or pipe");
    SP_TRY(sp_atomic_open(file->path, table[role].flag, &probe));
    sp_atomic_abandon(&probe);
    return file->format->check ? file->format->check(job->video) : sp_ok();
}

SpStatus sp_files_check(const SpJob *job, const SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++)
        if (is_written(files, role))
            SP_TRY(check_written(job, files, role));
    return sp_ok();
}

SpStatus sp_files_write(SpRunFile files[], SpFileRole role, const SpOutput *output)
{
    SpRunFile *file = &files[role];
    if (!file->path[0])
        return sp_ok();
    SP_TRY(sp_atomic_open(file->path, table[role].flag, &file->written));
    SP_TRY(file->format->write(&file->written, output));
    return sp_atomic_settle(&file->written);
}

SpStatus sp_files_commit(SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++)
        SP_TRY(sp_atomic_commit(&files[role].written));
    return sp_ok();
}

void sp_files_abandon(SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++)
        sp_atomic_abandon(&files[role].written);
}
