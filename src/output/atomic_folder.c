#define _GNU_SOURCE /* asprintf */

#include "output/atomic_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/folder.h"
#include "output/atomic_internal.h"

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static SpStatus cannot_use(const char *path, const char *why, const char *flag)
{
    return sp_error(SP_OUTPUT, "cannot write %.400s: %s; choose another %s", path, why, flag);
}

/* Where `target` leads, without slashes at its end. */
static SpStatus find_target(const char *target, const char *flag, SpAtomicFolder *folder)
{
    char path[PATH_MAX], bare[PATH_MAX];
    struct stat info;
    size_t length = strlen(target);
    while (length > 1 && target[length - 1] == '/')
        length--;
    if (length == 0 || length >= sizeof bare)
        return cannot_use(target, strerror(length ? ENAMETOOLONG : ENOENT), flag);
    snprintf(bare, sizeof bare, "%.*s", (int)length, target);
    folder->label = strdup(bare);
    if (!folder->label)
        return sp_no_memory(target);
    if (!sp_atomic_follow(bare, path))
        return cannot_use(bare, strerror(errno), flag);
    if (stat(path, &info) == 0 && !S_ISDIR(info.st_mode))
        return cannot_use(bare, "not a folder", flag);
    folder->target = strdup(path);
    return folder->target ? sp_ok() : sp_no_memory(target);
}

/* mkdtemp tries names in the slot's own path, so a signal at any moment finds the right one. */
static SpStatus make_temporary(const char *flag, SpAtomicFolder *folder)
{
    char inside[PATH_MAX];
    const bool exists = is_folder(folder->target);
    const int length = snprintf(inside, sizeof inside, "%s/spatrack", folder->target);
    folder->slot = sp_atomic_claim_slot();
    if (folder->slot < 0)
        return sp_atomic_no_slot(folder->label);
    char *path = sp_atomic_slot_path(folder->slot);
    bool made = (!exists || length < (int)sizeof inside) &&
                sp_atomic_name_temporary(exists ? inside : folder->target, ".XXXXXX", folder->slot);
    if (made) {
        sp_atomic_slot_holds_folder(folder->slot);
        made = mkdtemp(path) != NULL;
    }
    if (made) {
        folder->temporary = path;
        return sp_ok();
    }
    const int error = errno;
    sp_atomic_release_slot(folder->slot);
    return cannot_use(folder->label, strerror(error), flag);
}

SpStatus sp_atomic_folder_open(const char *target, const char *flag, SpAtomicFolder *folder)
{
    *folder = (SpAtomicFolder){0};
    SpStatus status = find_target(target, flag, folder);
    if (status.code == SP_OK)
        status = make_temporary(flag, folder);
    if (status.code != SP_OK)
        sp_atomic_folder_abandon(folder);
    return status;
}

/* Makes the folders below the temporary one that lead to a path. */
static bool make_folders(const char *path, size_t from)
{
    char folder[PATH_MAX];
    for (const char *slash = strchr(path + from, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

SpStatus sp_atomic_folder_add(const SpAtomicFolder *folder, const char *name, SpAtomicFile *file)
{
    char path[PATH_MAX];
    *file = (SpAtomicFile){0};
    if (asprintf(&file->label, "%s/%s", folder->label, name) < 0) {
        file->label = NULL;
        return sp_no_memory(name);
    }
    const int length = snprintf(path, sizeof path, "%s/%s", folder->temporary, name);
    errno = ENAMETOOLONG;
    if (length < (int)sizeof path && make_folders(path, strlen(folder->temporary) + 1))
        file->stream = fopen(path, "wbxe");
    if (file->stream)
        return sp_ok();
    const SpStatus status = sp_cannot_write(file->label);
    sp_atomic_abandon(file);
    return status;
}

SpStatus sp_atomic_folder_add_frame(const SpAtomicFolder *folder, const char *pattern,
                                    int64_t frame, SpAtomicFile *file)
{
    char name[PATH_MAX];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    const int length = snprintf(name, sizeof name, pattern, (int)frame);
#pragma GCC diagnostic pop
    errno = ENAMETOOLONG;
    return length > 0 && length < (int)sizeof name ? sp_atomic_folder_add(folder, name, file)
                                                   : sp_cannot_write(pattern);
}

/* What is done with each file and folder of a folder, before what is in it. */
typedef SpStatus Visit(const char *from, const char *to, const char *label);

static SpStatus failed_with(const char *label, int error)
{
    errno = error;
    return sp_cannot_write(label);
}

static SpStatus walk(const char *from, const char *to, const char *label, Visit *visit);

static SpStatus walk_into(const char *from, const char *to, const char *label, const char *name,
                          Visit *visit)
{
    char *path[3] = {0};
    const char *parts[] = {from, to, label};
    SpStatus status = sp_ok();
    for (int i = 0; i < 3; i++)
        if (asprintf(&path[i], "%s/%s", parts[i], name) < 0) {
            path[i] = NULL;
            status = sp_no_memory(label);
        }
    if (status.code == SP_OK)
        status = visit(path[0], path[1], path[2]);
    if (status.code == SP_OK && is_folder(path[0]))
        status = walk(path[0], path[1], path[2], visit);
    for (int i = 0; i < 3; i++)
        free(path[i]);
    return status;
}

static SpStatus walk(const char *from, const char *to, const char *label, Visit *visit)
{
    int error = 0;
    SpStatus status = sp_ok();
    DIR *entries = opendir(from);
    if (!entries)
        return sp_cannot_write(label);
    for (const struct dirent *entry;
         status.code == SP_OK && (entry = sp_folder_next(entries, &error));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = walk_into(from, to, label, entry->d_name, visit);
    closedir(entries);
    return error ? failed_with(label, error) : status;
}

static SpStatus check_place(const char *from, const char *to, const char *label)
{
    struct stat ours, theirs;
    if (stat(from, &ours) != 0)
        return sp_cannot_write(label);
    if (S_ISDIR(ours.st_mode)) {
        if (stat(to, &theirs) != 0)
            return sp_ok();
        if (!S_ISDIR(theirs.st_mode))
            return failed_with(label, ENOTDIR);
        if (ours.st_dev != theirs.st_dev)
            return failed_with(label, EXDEV);
        return access(to, W_OK | X_OK) == 0 ? sp_ok() : sp_cannot_write(label);
    }
    return lstat(to, &theirs) == 0 && S_ISDIR(theirs.st_mode) ? failed_with(label, EISDIR)
                                                              : sp_ok();
}

static SpStatus sync_one(const char *from, const char *to, const char *label)
{
    (void)to;
    const int fd = open(from, O_RDONLY | O_CLOEXEC);
    errno = fd < 0 ? errno : 0;
    const bool synced = fd >= 0 && (fsync(fd) == 0 || is_folder(from));
    const SpStatus status = synced ? sp_ok() : sp_cannot_write(label);
    if (fd >= 0)
        close(fd);
    return status;
}

static SpStatus move_one(const char *from, const char *to, const char *label)
{
    if (is_folder(from))
        return mkdir(to, 0777) == 0 || errno == EEXIST ? sp_ok() : sp_cannot_write(label);
    return rename(from, to) == 0 ? sp_ok() : sp_cannot_write(label);
}

static SpStatus visit_all(const SpAtomicFolder *folder, Visit *visit)
{
    return walk(folder->temporary, folder->target, folder->label, visit);
}

SpStatus sp_atomic_folder_settle(SpAtomicFolder *folder)
{
    if (!folder->temporary || folder->settled)
        return sp_ok();
    SpStatus status = visit_all(folder, check_place);
    if (status.code == SP_OK)
        status = visit_all(folder, sync_one);
    (void)!chmod(folder->temporary, sp_atomic_default_mode(0777));
    folder->settled = true;
    if (status.code != SP_OK)
        sp_atomic_folder_abandon(folder);
    return status;
}

SpStatus sp_atomic_folder_commit(SpAtomicFolder *folder)
{
    SP_TRY(sp_atomic_folder_settle(folder));
    if (!folder->temporary)
        return sp_ok();
    SpStatus status = sp_ok();
    if (access(folder->target, F_OK) == 0 || rename(folder->temporary, folder->target) != 0)
        status = access(folder->target, F_OK) == 0 ? visit_all(folder, move_one)
                                                   : sp_cannot_write(folder->label);
    if (status.code == SP_OK)
        sp_atomic_sync_folder(folder->target);
    sp_atomic_folder_abandon(folder); /* of what was moved, nothing is left */
    return status;
}

void sp_atomic_folder_abandon(SpAtomicFolder *folder)
{
    if (folder->temporary) {
        sp_atomic_remove_tree(AT_FDCWD, folder->temporary, SP_ATOMIC_DEPTH);
        sp_atomic_release_slot(folder->slot);
    }
    free(folder->target);
    free(folder->label);
    *folder = (SpAtomicFolder){0};
}
