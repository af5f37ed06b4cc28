/*
 * The files that a run names, by what they are on disk: whether one that is written would replace
 * another, by whatever names.
 */
#ifndef SP_PIPELINE_COLLISIONS_H
#define SP_PIPELINE_COLLISIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/status.h"

/* The first five are the user's, the others are found from them. */
typedef struct SpNamedFile {
    const char *path;        /* "-": standard input or output */
    const char *flag, *what; /* static: "--report", "the report" */
    bool written;
    int video; /* the number of the video it belongs to */
    size_t number;
    dev_t device; /* of the file; where it does not exist, of the folder it would be in, or of the
                     one above where that one would be */
    ino_t inode;
    char *name; /* where it does not exist: the name it would get there; else "" */
} SpNamedFile;

/* Zeroed, there are none. */
typedef struct SpNamedFiles {
    SpNamedFile *file;
    size_t count;
} SpNamedFiles;

/* Adds a file or folder; the path is copied. Left out is what cannot be replaced (devices, sockets)
 * or made. SP_MEMORY. */
SpStatus sp_named_files_add(SpNamedFiles *files, const SpNamedFile *file);

/* Adds the files of a folder that `wanted` wants, called what `file` says; `links`: symbolic links
 * alone. A folder that cannot be listed has none. SP_MEMORY. */
SpStatus sp_named_files_add_folder(SpNamedFiles *files, const char *folder, bool links,
                                   bool (*wanted)(const SpNamedFile *file, const char *path),
                                   const SpNamedFile *file);

/* SP_USAGE with a path and both flags where a file that is written is another one. Sorts them. */
SpStatus sp_named_files_check(SpNamedFiles *files);

void sp_named_files_free(SpNamedFiles *files);

/* The folder of what a path leads to, and the name there; where that folder does not exist, the
 * first one above it that does, and what is missing of the path. False: it leads nowhere. */
bool sp_split_path(const char *path, char folder[PATH_MAX], char name[PATH_MAX]);

/* Whether two paths are one file or folder, also where it does not exist yet. */
bool sp_same_file(const char *one, const char *two);

/* Whether a file lies in a folder, or would be made there, `depth` folders below it at most. */
bool sp_lies_in(const char *path, const char *folder, int depth);

/* Whether a file that writing `path` would replace has other names. */
bool sp_has_names(const char *path);

#endif
