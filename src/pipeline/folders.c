#include "pipeline/folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media/images.h"

static const char DIGITS[] = "0123456789";

SpStatus sp_run_folder_check_name(const char *path, const char *flag)
{
    if (sp_images_is_pattern(sp_last_name(path)))
        return sp_ok();
    return sp_error(SP_USAGE,
                    "%.200s: %s writes a file a frame where its name has one number, such as "
                    "cloud_%%04d.ply; write other %% as %%%%",
                    path, flag);
}

bool sp_run_folder_is(const SpRunFile *file)
{
    return file->path[0] && file->format && file->format->write_all;
}

/* The folder that these files lie in. */
static void folder_of(const SpRunFile *file, char folder[SP_PATH_CAPACITY])
{
    const int length = (int)(sp_last_name(file->path) - file->path);
    if (file->format->names)
        snprintf(folder, SP_PATH_CAPACITY, "%s", file->path);
    else
        snprintf(folder, SP_PATH_CAPACITY, "%.*s", length ? length : 1, length ? file->path : ".");
}

bool sp_run_folder_pattern(const SpRunFile *file, int i, char pattern[SP_PATH_CAPACITY])
{
    char folder[SP_PATH_CAPACITY];
    const char *name = file->format->names ? file->format->names[i]
                       : i                 ? NULL
                                           : sp_last_name(file->path);
    size_t at = 0;
    folder_of(file, folder);
    for (const char *from = folder; *from && at + 2 < SP_PATH_CAPACITY; from++) {
        pattern[at++] = *from;
        if (*from == '%')
            pattern[at++] = '%';
    }
    const size_t left = SP_PATH_CAPACITY - at;
    return name && (size_t)snprintf(pattern + at, left, "/%s", name) < left;
}

void sp_run_folder_number(const char *pattern, int number, char path[SP_PATH_CAPACITY])
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(path, SP_PATH_CAPACITY, pattern, number);
#pragma GCC diagnostic pop
}

bool sp_run_folder_numbers(const char *path, const char *pattern)
{
    char image[SP_PATH_CAPACITY];
    const char *ending = strrchr(sp_last_name(pattern), '.'),
               *its = strrchr(sp_last_name(path), '.');
    if ((ending != NULL) != (its != NULL) || (ending && strcmp(ending, its) != 0))
        return false;
    for (const char *at = path; *(at += strcspn(at, DIGITS)); at += strspn(at, DIGITS)) {
        sp_run_folder_number(pattern, (int)strtol(at, NULL, 10), image);
        if (sp_same_file(path, image))
            return true;
    }
    return false;
}

bool sp_run_folder_has(const SpNamedFile *file, const char *path)
{
    char one[SP_PATH_CAPACITY];
    if (sp_images_is_pattern(file->path))
        return sp_run_folder_numbers(path, file->path);
    sp_run_folder_number(file->path, 0, one);
    return sp_same_file(path, one);
}

SpStatus sp_run_folder_add(const SpRunFile *file, const SpNamedFile *as, SpNamedFiles *all)
{
    char pattern[SP_PATH_CAPACITY], folder[SP_PATH_CAPACITY];
    SpNamedFile one = *as;
    one.path = pattern;
    for (int i = 0; sp_run_folder_pattern(file, i, pattern); i++) {
        sp_run_folder_number(pattern, 0, folder);
        *strrchr(folder, '/') = 0;
        SP_TRY(sp_named_files_add_folder(all, folder, false, sp_run_folder_has, &one));
    }
    return sp_ok();
}

SpStatus sp_run_folder_find(const SpRunFile *file, char path[SP_PATH_CAPACITY])
{
    char pattern[SP_PATH_CAPACITY];
    for (int i = 0; sp_run_folder_pattern(file, i, pattern); i++) {
        SpImages images = {0};
        sp_run_folder_number(pattern, 0, path);
        if (!sp_images_is_pattern(pattern) && access(path, F_OK) == 0)
            return sp_ok();
        if (!sp_images_is_pattern(pattern))
            continue;
        const SpStatus status = sp_images_of_pattern(pattern, &images);
        if (status.code == SP_OK)
            snprintf(path, SP_PATH_CAPACITY, "%s", images.path[0]);
        sp_images_free(&images);
        if (status.code != SP_INPUT) /* which says that there is none */
            return status;
    }
    path[0] = 0;
    return sp_ok();
}

SpStatus sp_run_folder_check(const SpJob *job, const SpRunFile *file, const char *flag)
{
    char folder[SP_PATH_CAPACITY];
    SpAtomicFolder trial;
    SpStatus status = sp_ok();
    folder_of(file, folder);
    SP_TRY(sp_atomic_folder_open(folder, flag, &trial));
    const char *const own[] = {sp_last_name(file->path), NULL};
    const char *const *names = file->format->names ? file->format->names : own;
    for (int i = 0; names[i] && status.code == SP_OK; i++) {
        SpAtomicFile one;
        status = sp_atomic_folder_add_frame(&trial, names[i], 0, &one);
        if (status.code == SP_OK)
            status = sp_atomic_commit(&one);
    }
    if (status.code == SP_OK)
        status = sp_atomic_folder_settle(&trial);
    sp_atomic_folder_abandon(&trial);
    return status.code == SP_OK && file->format->check ? file->format->check(sp_job_frames(job))
                                                       : status;
}

SpStatus sp_run_folder_write(SpRunFile *file, const char *flag, const SpOutput *output)
{
    char folder[SP_PATH_CAPACITY];
    const char *const own[] = {sp_last_name(file->path), NULL};
    folder_of(file, folder);
    SP_TRY(sp_atomic_folder_open(folder, flag, &file->folder));
    SP_TRY(file->format->write_all(&file->folder, file->format->names ? file->format->names : own,
                                   output));
    return sp_atomic_folder_settle(&file->folder);
}
