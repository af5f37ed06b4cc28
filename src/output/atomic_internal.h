/*
 * What atomic.c and atomic_folder.c share: places for the names of temporaries, which a signal
 * handler reads, and what is done alike for files and folders.
 */
#ifndef SP_OUTPUT_ATOMIC_INTERNAL_H
#define SP_OUTPUT_ATOMIC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/status.h"

enum { SP_ATOMIC_DEPTH = 8 }; /* folders in each other, in one that is written, at most */

/* A free slot, or -1; sp_atomic_no_slot is the error of `path` then. Its path has PATH_MAX bytes.
 * What a slot holds is removed by sp_atomic_remove_pending until it is released. */
int sp_atomic_claim_slot(void);
SpStatus sp_atomic_no_slot(const char *path);
char *sp_atomic_slot_path(int slot);
void sp_atomic_slot_holds_file(int slot);
void sp_atomic_slot_holds_folder(int slot);
void sp_atomic_release_slot(int slot);

/* The slot's path becomes `.NAME` + ending beside `path`, NAME cut at 200 bytes. False with errno:
 * it is too long. */
bool sp_atomic_name_temporary(const char *path, const char *ending, int slot);

/* Removes a file or a folder with all that is in it, at most `depth` folders deep; no link is
 * followed. Async-signal-safe. */
void sp_atomic_remove_tree(int parent, const char *name, int depth);

/* Length of the folder's part of a path, with its last slash; 0 for a bare name. */
size_t sp_atomic_folder_length(const char *path);

/* The mode less the umask. */
mode_t sp_atomic_default_mode(mode_t mode);

/* Syncs the folder of what a path names. Its file is in place by now: a file system that cannot
 * sync a folder does not change that. */
void sp_atomic_sync_folder(const char *path);

#endif
