/*
 * Files that appear whole or not at all: written beside the target, synced, renamed over it.
 */
#ifndef SP_OUTPUT_ATOMIC_H
#define SP_OUTPUT_ATOMIC_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"

/* A file being written. Zeroed, it is no file: committing or abandoning that does nothing. */
typedef struct SpAtomicFile {
    FILE *stream;    /* write here; open, settle and commit own it; NULL once settled */
    char *target;    /* the file that will appear, symbolic links followed; owned */
    char *temporary; /* what is written until then; NULL when the target is written directly */
    char *label;     /* the target as the caller named it, for messages; owned */
    int slot;
} SpAtomicFile;

/* What -o - stands for: sp_atomic_open writes to the process's standard output. */
#define SP_STANDARD_OUTPUT "/dev/stdout"

/* SP_OUTPUT "cannot write WHAT: No space left on device", by errno; by EIO when that is 0. */
SpStatus sp_cannot_write(const char *what);

/* Opens `.NAME.XXXXXX.tmp` beside `target` for writing; it is its user's alone until it is settled.
 * A target that is a symbolic link is followed; one that is a character device or a pipe (such as
 * /dev/null) is written directly, and so is, whatever stands behind it, a descriptor (such as
 * /dev/stdout). A named pipe is waited for until somebody reads it. At most 16 files can be open at
 * once in a process.
 * `flag` is the flag that messages tell the user to change ("-o"). Errors: SP_OUTPUT, naming the
 * folder that cannot be written or the target that is a folder; SP_MEMORY. *file is zeroed then. */
SpStatus sp_atomic_open(const char *target, const char *flag, SpAtomicFile *file);

/* Before any work: whether sp_atomic_open would succeed. What is written directly stays open in
 * *file, to be used in its place: closed and opened again, a pipe's reader would see its end. A
 * named pipe that nobody reads yet, like a regular file, leaves *file zeroed. Errors: as there. */
SpStatus sp_atomic_probe(const char *target, const char *flag, SpAtomicFile *file);

/* Whether there is a file that writing `target` would replace. */
bool sp_atomic_replaces(const char *target);

/* Whether what is written to `target` can go back and change what it wrote. */
bool sp_atomic_seeks(const char *target);

/* Where `target` leads through symbolic links, also to a file that does not exist yet, which
 * realpath() would not follow. False with errno. */
bool sp_atomic_follow(const char *target, char path[PATH_MAX]);

/* Gives a new file the mode and, where that is allowed, the owner of `target` that it is to
 * replace; where there is none, mode 0666 without the umask. */
void sp_atomic_keep_mode(int fd, const char *target);

/* Settles modes, flushes, syncs and closes the stream: all that can fail before commit's rename, so
 * that several files appear together or not at all when each is settled before the first is
 * committed. Errors: as sp_atomic_commit, and as there the file is abandoned. */
SpStatus sp_atomic_settle(SpAtomicFile *file);

/* Settles the file if it is not, renames it over its target and syncs the folder.
 * Errors: SP_OUTPUT "cannot write TARGET: No space left on device"; the temporary is removed and
 * the target is what it was. *file is zeroed either way. */
SpStatus sp_atomic_commit(SpAtomicFile *file);

/* Closes and removes the temporary; the target is what it was. After commit, a failed open, or a
 * second time it does nothing. */
void sp_atomic_abandon(SpAtomicFile *file);

/* Unlinks every temporary of this process that is not committed. Async-signal-safe, for the
 * handler of a signal that ends the program; keeps errno. */
void sp_atomic_remove_pending(void);

#endif
