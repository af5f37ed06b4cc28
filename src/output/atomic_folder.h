/*
 * Files in a folder that appear together, and whole: written into a temporary folder and moved in
 * at the end. Files of other names that the folder holds stay.
 */
#ifndef SP_OUTPUT_ATOMIC_FOLDER_H
#define SP_OUTPUT_ATOMIC_FOLDER_H

#include <stdint.h>

#include "output/atomic.h"

/* A folder being written. Zeroed, it is none: committing or abandoning that does nothing. */
typedef struct SpAtomicFolder {
    char *target;    /* the folder that the files will be in, symbolic links followed; owned */
    char *temporary; /* the one that they are in until then */
    char *label;     /* the target as the caller named it, for messages; owned */
    int slot;
    bool settled;
} SpAtomicFolder;

/* Makes a temporary folder: `.NAME.XXXXXX` beside `target`, or, where that exists,
 * `.spatrack.XXXXXX` in it. It is its user's alone until it is settled. `target` may end in a
 * slash, and the folder above it must exist. `flag`: which flag messages tell the user to change
 * ("--depth"). SP_OUTPUT naming the folder that cannot be written or the target that is no folder;
 * SP_MEMORY. *folder is zeroed then. */
SpStatus sp_atomic_folder_open(const char *target, const char *flag, SpAtomicFolder *folder);

/* Opens the file `name` in it, "images/1.png", whose folder is made. *file is written directly:
 * sp_atomic_commit ends it, sp_atomic_abandon, too. SP_OUTPUT; SP_MEMORY. */
SpStatus sp_atomic_folder_add(const SpAtomicFolder *folder, const char *name, SpAtomicFile *file);

/* Likewise, for a frame's name: `pattern` has one %d (sp_images_is_pattern) or, %% aside, no %. */
SpStatus sp_atomic_folder_add_frame(const SpAtomicFolder *folder, const char *pattern,
                                    int64_t frame, SpAtomicFile *file);

/* Whether the files could be moved: no folder of the target is in the way of a file, no file in
 * that of a folder, and its folders are writable and on one file system. Syncs the files. SP_OUTPUT
 * naming what is in the way; SP_MEMORY; the folder is abandoned then. */
SpStatus sp_atomic_folder_settle(SpAtomicFolder *folder);

/* Settles the folder, then moves it to its target where there is nothing; else moves its files
 * there one by one, over those of the same names. Errors: as for sp_atomic_folder_settle. *folder
 * is zeroed either way. */
SpStatus sp_atomic_folder_commit(SpAtomicFolder *folder);

/* Removes the temporary folder and its files; the target is what it was. After a commit, a failed
 * open, or a second time it does nothing. */
void sp_atomic_folder_abandon(SpAtomicFolder *folder);

#endif
