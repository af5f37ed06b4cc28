#include "pipeline/files_internal.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/report.h"
#include "pipeline/folders.h"

const SpFileEntry sp_file_table[SP_FILE_ROLES] = {
    [SP_FILE_VIDEO] = {"the video", "VIDEO", offsetof(SpJob, video), .written = false},
    [SP_FILE_GEOMETRY] = {"the geometry", "--geometry", offsetof(SpJob, geometry),
                          .written = false},
    [SP_FILE_QUERIES] = {"the queries", "--queries", offsetof(SpJob, queries), .written = false},
    [SP_FILE_MASK] = {"the mask", "--mask", offsetof(SpJob, mask), .written = false},
    [SP_FILE_LIST] = {"the list", "--list", offsetof(SpJob, list), .written = false},
    [SP_FILE_ORIGINAL] = {"the video", "--video", offsetof(SpJob, original), .written = false},
    [SP_FILE_RESULT] = {"the result", "-o", offsetof(SpJob, output), true, SP_PRODUCT_RESULT,
                        .ending = ".npz", .always = true},
    [SP_FILE_REPORT] = {"the report", "--report", offsetof(SpJob, report), true, SP_PRODUCT_REPORT,
                        .ending = ".json", .any_ending = true},
    [SP_FILE_OVERLAY] = {"the overlay", "--overlay", offsetof(SpJob, overlay), true,
                         .product = SP_PRODUCT_OVERLAY},
    [SP_FILE_MASK_OUT] = {"SAM's mask", "--mask-out", offsetof(SpJob, mask_out), true,
                          .product = SP_PRODUCT_MASK},
    [SP_FILE_USD] = {"the scene", "--usd", offsetof(SpJob, usd), true, SP_PRODUCT_SCENE,
                     .ending = ".usda"},
    [SP_FILE_CAMERAS] = {"the cameras", "--cameras", offsetof(SpJob, cameras), true,
                         SP_PRODUCT_CAMERAS, .ending = ".json"},
    [SP_FILE_PLY] = {"the cloud", "--ply", offsetof(SpJob, ply), true, SP_PRODUCT_CLOUD,
                     .ending = ".ply"},
    [SP_FILE_COLMAP] = {"the model", "--colmap", offsetof(SpJob, colmap), true, SP_PRODUCT_MODEL,
                        .ending = "_colmap", .any_ending = true},
    [SP_FILE_DEPTH] = {"the depth images", "--depth", offsetof(SpJob, depth), true,
                       SP_PRODUCT_DEPTH, .ending = "_depth", .any_ending = true},
    [SP_FILE_VIEWER] = {"the viewer", "--viewer", offsetof(SpJob, viewer), true, SP_PRODUCT_VIEWER,
                        .ending = ".html"},
    [SP_FILE_DUMP] = {"the tensors", "--dump", offsetof(SpJob, dump), true, .folder = true},
};

static const char *asked(const SpJob *job, SpFileRole role)
{
    return *(const char *const *)((const char *)job + sp_file_table[role].field);
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
    const SpFileEntry *entry = &sp_file_table[role];
    const char *path = asked(job, role), *ending = entry->ending;
    char real[PATH_MAX];
    int begin, end, length;
    if (!path && (!entry->always || job->stop_after == SP_STOP_SAM || job->from_result))
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

static SpStatus unknown_ending(const SpFileEntry *entry, const char *path)
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
    const SpFileEntry *entry = &sp_file_table[role];
    const bool piped = role == SP_FILE_RESULT && is_standard_output(file->path);
    if (job->format && role == SP_FILE_RESULT && !piped)
        return sp_error(SP_USAGE, "--format is for -o -; elsewhere the name's ending says it");
    file->format = role == SP_FILE_DEPTH ? sp_format_at(entry->product, job->depth_format)
                   : entry->any_ending   ? sp_format_at(entry->product, 0)
                   : piped ? sp_format_at(entry->product, job->format ? job->format - 1 : 0)
                           : sp_format_of(entry->product, file->path);
    if (!file->format)
        return unknown_ending(entry, file->path);
    if (file->format->write_all && !file->format->names)
        SP_TRY(sp_run_folder_check_name(file->path, entry->flag));
    if (file->format->needs_tracks && job->stop_after != SP_STOP_NEVER)
        return sp_error(SP_USAGE, "--stop-after %s gives no tracks for %s %.200s; leave out one",
                        job->stop_after == SP_STOP_SAM ? "sam" : "front", entry->flag, file->path);
    return sp_ok();
}

/* The reports of several videos go into one file, where it is not a folder. */
static bool is_appended(const SpJob *job, SpFileRole role)
{
    const char *path = asked(job, role);
    return role == SP_FILE_REPORT && job->several && path && !is_folder(path);
}

SpStatus sp_files_name(const SpJob *job, SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        SpRunFile *file = &files[role];
        file->path[0] = 0;
        file->format = NULL;
        file->appended = is_appended(job, role);
        SP_TRY(name_file(job, role, file->path));
        if (file->path[0] && sp_file_table[role].written && !sp_file_table[role].folder)
            SP_TRY(choose_format(job, role, file));
    }
    return sp_ok();
}

bool sp_file_is_written(const SpRunFile files[], SpFileRole role)
{
    return sp_file_table[role].written && files[role].path[0];
}

SpStatus sp_files_check_shared(const SpJob *job)
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        const SpFileEntry *entry = &sp_file_table[role];
        const char *path = asked(job, role);
        if (!path || is_appended(job, role) ||
            (!entry->written && role != SP_FILE_GEOMETRY && role != SP_FILE_ORIGINAL))
            continue;
        if (!entry->ending)
            return sp_error(SP_USAGE, "%s works with a single video only", entry->flag);
        if (!is_folder(path))
            return sp_error(SP_USAGE, "several videos: %s takes a folder, \"%.200s/\"", entry->flag,
                            path);
    }
    return sp_ok();
}

/* Makes the folders above a path. */
static SpStatus make_above(const char *path, const char *flag)
{
    char folder[SP_PATH_CAPACITY];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return sp_error(SP_OUTPUT, "cannot make the folder %.400s: %s; choose another %s",
                            folder, strerror(errno), flag);
    }
    return sp_ok();
}

SpStatus sp_files_make_folders(const SpJob *job, const SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        const char *path = asked(job, role), *slash = strrchr(files[role].path, '/');
        if (sp_file_is_written(files, role) && path && slash &&
            (is_folder(path) || (job->listed && role == SP_FILE_RESULT)))
            SP_TRY(make_above(files[role].path, sp_file_table[role].flag));
    }
    return sp_ok();
}

const char *sp_files_lock_name(const SpRunFile files[])
{
    for (SpFileRole role = SP_FILE_RESULT; role < SP_FILE_ROLES; role++) {
        const SpRunFile *file = &files[role];
        if (sp_file_is_written(files, role) && file->format && !file->appended &&
            !sp_run_folder_is(file) && !is_standard_output(file->path) &&
            sp_atomic_seeks(file->path) &&
            (access(file->path, F_OK) != 0 || sp_atomic_replaces(file->path)))
            return file->path;
    }
    return "";
}

/* A name that the user did not choose must not cost a file of somebody else. */
static SpStatus check_own(const SpJob *job, const SpRunFile *file, SpFileRole role)
{
    const char *path = asked(job, role);
    if ((path && !is_folder(path) && !job->listed) || !file->format->is_own ||
        !sp_atomic_replaces(file->path) || file->format->is_own(file->path))
        return sp_ok();
    if (job->listed)
        return sp_error(SP_OUTPUT,
                        "%.300s exists and was not written by spatrack; name another "
                        "file",
                        file->path);
    return sp_error(SP_OUTPUT,
                    "%.300s exists and was not written by spatrack; name another file, or this "
                    "one, with %s",
                    file->path, sp_file_table[role].flag);
}

SpStatus sp_files_check_clobber(const SpJob *job, const SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES && job->no_clobber; role++) {
        char path[SP_PATH_CAPACITY] = "";
        if (sp_run_folder_is(&files[role]))
            SP_TRY(sp_run_folder_find(&files[role], path));
        else if (sp_file_is_written(files, role) && files[role].format && !files[role].appended &&
                 sp_atomic_replaces(files[role].path))
            snprintf(path, sizeof path, "%s", files[role].path);
        if (*path)
            return sp_error(SP_OUTPUT, "%.400s exists; --no-clobber keeps it", path);
    }
    return sp_ok();
}

static SpStatus check_written(const SpJob *job, SpRunFile *file, SpFileRole role)
{
    const char *flag = sp_file_table[role].flag;
    if (!file->format)
        return sp_ok();
    if (sp_run_folder_is(file))
        return sp_run_folder_check(job, file, flag);
    if (role == SP_FILE_RESULT && is_standard_output(file->path) && !file->format->needs_tracks &&
        isatty(STDOUT_FILENO))
        return sp_error(SP_USAGE, "-o -: standard output is a terminal; send it to a file or pipe");
    if (file->format->seeks && !sp_atomic_seeks(file->path))
        return sp_error(SP_OUTPUT,
                        "cannot write %.400s: %s cannot go into a pipe; choose another %s",
                        file->path, file->format->ending, flag);
    SP_TRY(file->appended ? sp_report_check_append(file->path) : check_own(job, file, role));
    SP_TRY(sp_atomic_probe(file->path, flag, &file->written));
    if (file->appended) /* it is opened for each line */
        sp_atomic_abandon(&file->written);
    if (file->appended)
        return sp_ok();
    file->awaited = !file->written.stream && !sp_atomic_seeks(file->path);
    return file->format->check ? file->format->check(sp_job_frames(job)) : sp_ok();
}

SpStatus sp_files_check(const SpJob *job, SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++)
        if (sp_file_is_written(files, role))
            SP_TRY(check_written(job, &files[role], role));
    return sp_ok();
}

size_t sp_files_bytes(const SpRunFile files[], const SpFramePlan *plan, int64_t frames,
                      int64_t tracks)
{
    size_t most = 0;
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        const SpFormat *format = files[role].path[0] ? files[role].format : NULL;
        const size_t bytes = format && format->bytes ? format->bytes(plan, frames, tracks) : 0;
        most = bytes > most ? bytes : most;
    }
    return most;
}

static SpStatus open_written(SpRunFile *file, SpFileRole role)
{
    file->awaited = false;
    return file->written.stream
               ? sp_ok()
               : sp_atomic_open(file->path, sp_file_table[role].flag, &file->written);
}

static SpStatus begin_stream(SpRunFile *file, SpFileRole role, const SpFrameFormat *by_frame,
                             const SpOutput *output)
{
    SP_TRY(open_written(file, role));
    file->by_frame = by_frame;
    return by_frame->begin(&file->written, output, &file->stream);
}

/* Nothing more is written. */
static void close_stream(SpRunFile *file)
{
    if (file->stream)
        file->by_frame->discard(file->stream);
    file->stream = NULL;
}

static SpStatus end_stream(SpRunFile *file, const SpResult *whole)
{
    SP_TRY(file->by_frame->end(file->stream, whole));
    close_stream(file);
    return sp_atomic_settle(&file->written);
}

SpStatus sp_files_write(SpRunFile files[], SpFileRole role, const SpOutput *output)
{
    SpRunFile *file = &files[role];
    if (!file->path[0] || file->appended)
        return sp_ok();
    if (sp_run_folder_is(file))
        return sp_run_folder_write(file, sp_file_table[role].flag, output);
    if (file->stream)
        return end_stream(file, output->result);
    SP_TRY(open_written(file, role));
    SP_TRY(file->format->write(&file->written, output));
    return sp_atomic_settle(&file->written);
}

bool sp_files_have_pictures(const SpRunFile files[])
{
    const SpRunFile *file = &files[SP_FILE_RESULT];
    return file->path[0] && file->format && file->format->pictures && sp_atomic_seeks(file->path);
}

SpStatus sp_files_begin_pictures(SpRunFile files[], const SpOutput *output)
{
    SpRunFile *file = &files[SP_FILE_RESULT];
    return begin_stream(file, SP_FILE_RESULT, file->format->pictures, output);
}

SpStatus sp_files_add_picture(SpRunFile files[], int64_t t, const SpResult *frame)
{
    SpRunFile *file = &files[SP_FILE_RESULT];
    return file->by_frame->add(file->stream, t, frame, NULL);
}

/* Written frame by frame where the run streams: not what is made of something else. */
static bool has_frames(const SpRunFile files[], SpFileRole role)
{
    return sp_file_is_written(files, role) && role != SP_FILE_REPORT && role != SP_FILE_MASK_OUT;
}

bool sp_files_stream(const SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++)
        if (has_frames(files, role) && !(files[role].format && files[role].format->frames))
            return false;
    return true;
}

SpStatus sp_files_begin(SpRunFile files[], const SpOutput *output)
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        SpRunFile *file = &files[role];
        if (has_frames(files, role))
            SP_TRY(begin_stream(file, role, file->format->frames, output));
    }
    return sp_ok();
}

SpStatus sp_files_add(SpRunFile files[], int64_t t, const SpResult *frame, uint8_t *rgb)
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++)
        if (files[role].stream)
            SP_TRY(files[role].by_frame->add(files[role].stream, t, frame, rgb));
    return sp_ok();
}

SpStatus sp_files_end(SpRunFile files[], const SpResult *whole)
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        SpRunFile *file = &files[role];
        if (file->stream)
            SP_TRY(end_stream(file, whole));
    }
    return sp_ok();
}

SpStatus sp_files_commit(SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        if (role != SP_FILE_RESULT)
            SP_TRY(sp_atomic_commit(&files[role].written));
        SP_TRY(sp_atomic_folder_commit(&files[role].folder));
    }
    return sp_atomic_commit(&files[SP_FILE_RESULT].written);
}

void sp_files_abandon(SpRunFile files[])
{
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        SpRunFile *file = &files[role];
        close_stream(file);
        sp_atomic_abandon(&file->written);
        sp_atomic_folder_abandon(&file->folder);
        if (file->awaited &&
            sp_atomic_probe(file->path, sp_file_table[role].flag, &file->written).code == SP_OK)
            sp_atomic_abandon(&file->written);
    }
}
