#define _GNU_SOURCE

#include "output/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/atomic.h"
#include "output/atomic_internal.h"

enum { TRIES = 100, RANDOM_LETTERS = 6 };

static const char TEMPORARY_ENDING[] = ".tmp";

/* Whether a name is `.NAME.XXXXXX.tmp`, a temporary of sp_atomic_open. */
static bool is_temporary_of(const char *entry, const char *name)
{
    const size_t length = strlen(name);
    return strlen(entry) == 1 + length + 1 + RANDOM_LETTERS + sizeof TEMPORARY_ENDING - 1 &&
           entry[0] == '.' && strncmp(entry + 1, name, length) == 0 && entry[1 + length] == '.' &&
           strcmp(entry + 1 + length + 1 + RANDOM_LETTERS, TEMPORARY_ENDING) == 0;
}

/* Whoever writes `path` holds its lock, so these are those of the dead. */
static void remove_temporaries(const char *path)
{
    char folder[PATH_MAX];
    const int length = (int)sp_atomic_folder_length(path);
    snprintf(folder, sizeof folder, "%.*s", length ? length : 1, length ? path : ".");
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries && (entry = readdir(entries));)
        if (is_temporary_of(entry->d_name, path + length))
            unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries)
        closedir(entries);
}

/* A descriptor of the file at `path` with its lock; -1 with errno EWOULDBLOCK: another process has
 * it; another errno: there are no locks. */
static int lock_file(const char *path, bool *existed)
{
    for (int i = 0; i < TRIES; i++) {
        struct stat own, there;
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        *existed = fd < 0 && errno == EEXIST;
        if (*existed)
            fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT && *existed)
            continue; /* its owner has just removed it */
        if (fd < 0)
            return -1;
        if (*existed && (fstat(fd, &own) != 0 || !S_ISREG(own.st_mode) || own.st_size > 0)) {
            close(fd); /* somebody's own file: a lock is empty */
            errno = EEXIST;
            return -1;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            const int error = errno;
            if (error != EWOULDBLOCK && !*existed)
                unlink(path);
            close(fd);
            errno = error;
            return -1;
        }
        if (fstat(fd, &own) == 0 && stat(path, &there) == 0 && own.st_ino == there.st_ino &&
            own.st_dev == there.st_dev)
            return fd;
        close(fd); /* its owner has removed it between opening and locking */
    }
    errno = EWOULDBLOCK;
    return -1;
}

SpStatus sp_lock_take(const char *target, SpLock *lock, bool *free)
{
    char path[PATH_MAX];
    bool existed;
    *lock = (SpLock){0};
    *free = true;
    if (!sp_atomic_follow(target, path))
        return sp_ok();
    const int slot = sp_atomic_claim_slot();
    if (slot < 0)
        return sp_atomic_no_slot(path);
    const int fd = sp_atomic_name_temporary(path, ".lock", slot)
                       ? lock_file(sp_atomic_slot_path(slot), &existed)
                       : -1;
    if (fd < 0) {
        *free = errno != EWOULDBLOCK;
        sp_atomic_release_slot(slot);
        return sp_ok();
    }
    sp_atomic_slot_holds_file(slot);
    *lock = (SpLock){.held = true, .fd = fd, .slot = slot};
    if (existed)
        remove_temporaries(path);
    return sp_ok();
}

void sp_lock_release(SpLock *lock)
{
    if (!lock->held)
        return;
    unlink(sp_atomic_slot_path(lock->slot));
    sp_atomic_release_slot(lock->slot);
    close(lock->fd);
    *lock = (SpLock){0};
}
