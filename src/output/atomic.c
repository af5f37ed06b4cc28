#define _GNU_SOURCE

#include "output/atomic.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/minmax.h"
#include "output/atomic_internal.h"

enum { SLOTS = 16, LINK_LIMIT = 40, NAME_KEPT = 200, SUFFIX_LENGTH = 4, TRIES = 8 };

typedef enum SlotState { SLOT_FREE, SLOT_CLAIMED, SLOT_PENDING, SLOT_PENDING_FOLDER } SlotState;

/* Fixed memory, because a signal handler reads it. */
static struct {
    atomic_int state;
    char path[PATH_MAX];
} slots[SLOTS];

int sp_atomic_claim_slot(void)
{
    for (int i = 0; i < SLOTS; i++) {
        int expected = SLOT_FREE;
        if (atomic_compare_exchange_strong(&slots[i].state, &expected, SLOT_CLAIMED))
            return i;
    }
    return -1;
}

char *sp_atomic_slot_path(int slot)
{
    return slots[slot].path;
}

void sp_atomic_slot_holds_file(int slot)
{
    atomic_store(&slots[slot].state, SLOT_PENDING);
}

void sp_atomic_slot_holds_folder(int slot)
{
    atomic_store(&slots[slot].state, SLOT_PENDING_FOLDER);
}

void sp_atomic_release_slot(int slot)
{
    atomic_store(&slots[slot].state, SLOT_FREE);
}

SpStatus sp_atomic_no_slot(const char *path)
{
    return sp_error(SP_OUTPUT, "cannot write %.400s: %d files are being written already", path,
                    SLOTS);
}

/* Without opendir, which allocates. */
static void empty_folder(int fd, int depth)
{
    union {
        struct dirent64 first;
        char bytes[2048];
    } list;
    ssize_t length;
    while ((length = getdents64(fd, &list, sizeof list)) > 0)
        for (ssize_t at = 0; at < length;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(list.bytes + at);
            const char *name = entry->d_name;
            at += entry->d_reclen;
            if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
                sp_atomic_remove_tree(fd, name, depth - 1);
        }
}

void sp_atomic_remove_tree(int parent, const char *name, int depth)
{
    if (unlinkat(parent, name, 0) == 0 || errno != EISDIR)
        return;
    /* Another thread may be making files in it, and descriptors may be short for a moment. */
    for (int i = 0; i < TRIES && depth > 0; i++) {
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
            return;
        const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            continue;
        empty_folder(fd, depth);
        close(fd);
    }
    unlinkat(parent, name, AT_REMOVEDIR);
}

void sp_atomic_remove_pending(void)
{
    const int saved = errno;
    for (int i = 0; i < SLOTS; i++) {
        const int state = atomic_load(&slots[i].state);
        if (state == SLOT_PENDING)
            unlink(slots[i].path);
        else if (state == SLOT_PENDING_FOLDER)
            sp_atomic_remove_tree(AT_FDCWD, slots[i].path, SP_ATOMIC_DEPTH);
    }
    errno = saved;
}

SpStatus sp_cannot_write(const char *what)
{
    return sp_error(SP_OUTPUT, "cannot write %.400s: %s", what, strerror(errno ? errno : EIO));
}

size_t sp_atomic_folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The descriptor that a path names ("/dev/stdout", "/dev/fd/3"), or -1. */
static int descriptor_of(const char *path)
{
    static const char *const standard[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    static const char *const folder[] = {"/dev/fd/", "/proc/self/fd/"};
    for (int i = 0; i < 3; i++)
        if (strcmp(path, standard[i]) == 0)
            return i;
    for (int i = 0; i < 2; i++) {
        const char *digits = path + strlen(folder[i]);
        if (strncmp(path, folder[i], strlen(folder[i])) == 0 && *digits &&
            strspn(digits, "0123456789") == strlen(digits))
            return (int)sp_min(strtol(digits, NULL, 10), INT_MAX);
    }
    return -1;
}

/* Stops at a descriptor: what stands behind it may be a file that must not be replaced, but
 * written where its writer is. What is wrong with a path that cannot be read, creating the file
 * reports better. */
bool sp_atomic_follow(const char *target, char path[PATH_MAX])
{
    char link[PATH_MAX];
    size_t length = (size_t)snprintf(path, PATH_MAX, "%s", target);
    for (int i = 0; i < LINK_LIMIT && length < PATH_MAX; i++) {
        const ssize_t bytes = descriptor_of(path) < 0 ? readlink(path, link, sizeof link - 1) : -1;
        if (bytes < 0)
            return true;
        link[bytes] = 0;
        const size_t folder = link[0] == '/' ? 0 : sp_atomic_folder_length(path);
        length = folder + (size_t)snprintf(path + folder, PATH_MAX - folder, "%s", link);
    }
    errno = length < PATH_MAX ? ELOOP : ENAMETOOLONG;
    return false;
}

mode_t sp_atomic_default_mode(mode_t mode)
{
    const mode_t mask = umask(0);
    umask(mask);
    return mode & ~mask;
}

void sp_atomic_keep_mode(int fd, const char *target)
{
    struct stat old;
    mode_t mode = sp_atomic_default_mode(0666);
    if (stat(target, &old) == 0) {
        if (fchown(fd, old.st_uid, old.st_gid) != 0)
            (void)!fchown(fd, (uid_t)-1, old.st_gid);
        mode = old.st_mode & 0777;
    }
    (void)!fchmod(fd, mode); /* file systems without modes refuse; no harm */
}

bool sp_atomic_name_temporary(const char *path, const char *ending, int slot)
{
    const int folder = (int)sp_atomic_folder_length(path);
    const char *name = path + folder;
    int kept = (int)strlen(name);
    if (kept > NAME_KEPT) /* not through a character of UTF-8 */
        for (kept = NAME_KEPT; kept > 0 && (name[kept] & 0xc0) == 0x80;)
            kept--;
    const int length =
        snprintf(slots[slot].path, PATH_MAX, "%.*s.%.*s%s", folder, path, kept, name, ending);
    errno = ENAMETOOLONG;
    return length < PATH_MAX;
}

/* The slot is pending before the file exists: mkostemps tries names in that very buffer, so a
 * signal at any moment finds the right one. */
static int create_temporary(const char *path, int slot)
{
    if (!sp_atomic_name_temporary(path, ".XXXXXX.tmp", slot))
        return -1;
    atomic_store(&slots[slot].state, SLOT_PENDING);
    return mkostemps(slots[slot].path, SUFFIX_LENGTH, O_CLOEXEC);
}

static SpStatus open_beside(const char *path, const char *flag, SpAtomicFile *file)
{
    file->slot = sp_atomic_claim_slot();
    if (file->slot < 0)
        return sp_atomic_no_slot(path);
    const int fd = create_temporary(path, file->slot);
    if (fd < 0) {
        const int error = errno, folder = (int)sp_atomic_folder_length(path);
        sp_atomic_release_slot(file->slot);
        return sp_error(SP_OUTPUT, "cannot write %.*s: %s; choose another %s",
                        folder > 1 ? (int)sp_min(folder - 1, 400) : 1, folder ? path : ".",
                        strerror(error), flag);
    }
    file->temporary = slots[file->slot].path;
    file->stream = fdopen(fd, "wb");
    if (!file->stream)
        close(fd);
    return file->stream ? sp_ok() : sp_no_memory(path);
}

/* Of what is no regular file, or what a descriptor leads to. With O_NONBLOCK, a pipe that nobody
 * reads yet leaves no stream. */
static SpStatus open_stream(const char *target, int descriptor, int flags, SpAtomicFile *file)
{
    const int fd = descriptor < 0 ? open(target, O_WRONLY | O_CLOEXEC | O_NOCTTY | flags)
                                  : fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return flags && errno == ENXIO ? sp_ok() : sp_cannot_write(target);
    if (flags && descriptor < 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~flags);
    file->stream = fdopen(fd, "wb");
    if (file->stream)
        return sp_ok();
    const SpStatus status = errno == EINVAL ? sp_cannot_write(target) : sp_no_memory(target);
    close(fd);
    return status;
}

static SpStatus open_target(const char *target, const char *flag, bool wait, SpAtomicFile *file)
{
    char path[PATH_MAX];
    struct stat info;
    const bool exists = stat(target, &info) == 0;
    const size_t length = strlen(target);
    file->label = strdup(target);
    if (!file->label)
        return sp_no_memory(target);
    if (length == 0 || target[length - 1] == '/' || (exists && S_ISDIR(info.st_mode)))
        return sp_error(SP_OUTPUT, "cannot write '%.400s': not a file name; choose another %s",
                        target, flag);
    if (exists && S_ISBLK(info.st_mode))
        return sp_error(SP_OUTPUT, "cannot write %.400s: a block device; choose another %s", target,
                        flag);
    if (!sp_atomic_follow(target, path))
        return sp_error(SP_OUTPUT, "cannot write %.400s: %s; choose another %s", target,
                        strerror(errno), flag);
    const int descriptor = descriptor_of(path);
    if (descriptor >= 0 || (exists && !S_ISREG(info.st_mode)))
        return open_stream(target, descriptor,
                           !wait && exists && S_ISFIFO(info.st_mode) ? O_NONBLOCK : 0, file);
    file->target = strdup(path);
    if (!file->target)
        return sp_no_memory(target);
    return open_beside(path, flag, file);
}

SpStatus sp_atomic_open(const char *target, const char *flag, SpAtomicFile *file)
{
    *file = (SpAtomicFile){0};
    const SpStatus status = open_target(target, flag, true, file);
    if (status.code != SP_OK)
        sp_atomic_abandon(file);
    return status;
}

SpStatus sp_atomic_probe(const char *target, const char *flag, SpAtomicFile *file)
{
    *file = (SpAtomicFile){0};
    const SpStatus status = open_target(target, flag, false, file);
    if (status.code != SP_OK || file->temporary || !file->stream)
        sp_atomic_abandon(file);
    return status;
}

bool sp_atomic_replaces(const char *target)
{
    char path[PATH_MAX];
    struct stat info;
    return stat(target, &info) == 0 && S_ISREG(info.st_mode) && sp_atomic_follow(target, path) &&
           descriptor_of(path) < 0;
}

bool sp_atomic_seeks(const char *target)
{
    char path[PATH_MAX];
    struct stat info;
    return sp_atomic_follow(target, path) && descriptor_of(path) < 0 &&
           (stat(path, &info) != 0 || (!S_ISFIFO(info.st_mode) && !S_ISSOCK(info.st_mode)));
}

/* False with errno. */
static bool finish_stream(FILE *stream, bool sync)
{
    errno = 0;
    const bool written =
        fflush(stream) == 0 && !ferror(stream) && (!sync || fsync(fileno(stream)) == 0);
    const int error = errno;
    const bool closed = fclose(stream) == 0;
    if (!written)
        errno = error;
    return written && closed;
}

void sp_atomic_sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const int length = (int)sp_atomic_folder_length(path);
    snprintf(folder, sizeof folder, "%.*s", length ? length : 1, length ? path : ".");
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

static SpStatus give_up(SpAtomicFile *file)
{
    const SpStatus status = sp_cannot_write(file->label);
    sp_atomic_abandon(file);
    return status;
}

SpStatus sp_atomic_settle(SpAtomicFile *file)
{
    if (!file->stream)
        return sp_ok();
    if (file->temporary)
        sp_atomic_keep_mode(fileno(file->stream), file->target);
    const bool finished = finish_stream(file->stream, file->temporary);
    file->stream = NULL;
    return finished ? sp_ok() : give_up(file);
}

SpStatus sp_atomic_commit(SpAtomicFile *file)
{
    SP_TRY(sp_atomic_settle(file));
    if (file->temporary) {
        if (rename(file->temporary, file->target) != 0)
            return give_up(file);
        sp_atomic_release_slot(file->slot);
        file->temporary = NULL;
        sp_atomic_sync_folder(file->target);
    }
    sp_atomic_abandon(file);
    return sp_ok();
}

void sp_atomic_abandon(SpAtomicFile *file)
{
    if (file->stream)
        fclose(file->stream);
    if (file->temporary) {
        unlink(file->temporary);
        sp_atomic_release_slot(file->slot);
    }
    free(file->target);
    free(file->label);
    *file = (SpAtomicFile){0};
}
