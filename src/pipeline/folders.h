/*
 * The files of a run that are many: a folder of files, or a pattern of them (`write_all` in
 * output/formats.h). Below, a pattern is a path with one %d for a frame's number, or none, and %%
 * for any other %.
 */
#ifndef SP_PIPELINE_FOLDERS_H
#define SP_PIPELINE_FOLDERS_H

#include <string.h>

#include "pipeline/collisions.h"
#include "pipeline/files.h"

/* What stands behind the last slash of a path; a view. */
static inline const char *sp_last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether one of the run's files is such a folder or pattern. */
bool sp_run_folder_is(const SpRunFile *file);

/* SP_USAGE when the last name of `path` is no pattern with a number. */
SpStatus sp_run_folder_check_name(const char *path, const char *flag);

/* The pattern of the i-th name of these files, from 0; false: there is no such name, or it is too
 * long. */
bool sp_run_folder_pattern(const SpRunFile *file, int i, char pattern[SP_PATH_CAPACITY]);

/* The path of a frame. */
void sp_run_folder_number(const char *pattern, int number, char path[SP_PATH_CAPACITY]);

/* Whether a file is an image of a pattern with a number, or would be one: with one of its own
 * numbers the pattern names it. */
bool sp_run_folder_numbers(const char *path, const char *pattern);

/* Whether `path` is, or would be, of the pattern `file->path`. */
bool sp_run_folder_has(const SpNamedFile *file, const char *path);

/* Adds those of the files that exist, called what `as` says. SP_MEMORY. */
SpStatus sp_run_folder_add(const SpRunFile *file, const SpNamedFile *as, SpNamedFiles *all);

/* The first of the files that exists; "": none does. SP_MEMORY. */
SpStatus sp_run_folder_find(const SpRunFile *file, char path[SP_PATH_CAPACITY]);

/* Before any work: a file of each name could be moved into its place, by a trial, and what the
 * format's check says. SP_OUTPUT; what that gives. */
SpStatus sp_run_folder_check(const SpJob *job, const SpRunFile *file, const char *flag);

/* Writes the files, whole but not yet in their place. SP_OUTPUT; SP_MEMORY; SP_INPUT. */
SpStatus sp_run_folder_write(SpRunFile *file, const char *flag, const SpOutput *output);

#endif
