/*
 * A lock beside an output: of the processes that would write it, one does.
 */
#ifndef SP_OUTPUT_LOCK_H
#define SP_OUTPUT_LOCK_H

#include <stdbool.h>

#include "base/status.h"

/* Zeroed, nothing is locked. */
typedef struct SpLock {
    bool held;
    int fd, slot;
} SpLock;

/* Locks `target`, which need not exist, by flock(2) of `.NAME.lock` beside it. The kernel lets go
 * of it when its owner dies; the file that one leaves behind is taken over, and what it wrote of
 * the target and never finished is removed. *free: no other process holds it; then it is this one's
 * until sp_lock_release, or, where the file system has no locks, the folder cannot be written or
 * a file that is no lock has its name, nobody's. SP_OUTPUT when too many files are written at once.
 */
SpStatus sp_lock_take(const char *target, SpLock *lock, bool *free);

/* Removes the file and lets go; of nothing, it does nothing. sp_atomic_remove_pending removes the
 * file, too. */
void sp_lock_release(SpLock *lock);

#endif
