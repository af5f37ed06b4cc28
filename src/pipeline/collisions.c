#include "pipeline/collisions.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/folder.h"
#include "output/atomic.h"

bool sp_split_path(const char *path, char folder[PATH_MAX], char name[PATH_MAX])
{
    char whole[PATH_MAX];
    struct stat info;
    if (!sp_atomic_follow(path, whole))
        return false;
    size_t length = strlen(whole);
    while (length > 1 && whole[length - 1] == '/')
        whole[--length] = 0;
    strcpy(folder, whole);
    for (char *slash; (slash = strrchr(folder, '/'));) {
        snprintf(name, PATH_MAX, "%s", whole + (slash + 1 - folder));
        slash[slash == folder] = 0;
        if (slash == folder || stat(folder, &info) == 0)
            return true;
    }
    strcpy(name, whole);
    strcpy(folder, ".");
    return true;
}

/* Device, inode and name of what a path leads to; `name` is "" where it exists. */
static bool identify(const char *path, SpNamedFile *out, char name[PATH_MAX])
{
    struct stat info;
    char folder[PATH_MAX];
    const bool standard = strcmp(path, "-") == 0;
    const char *real = !standard ? path : out->written ? "/dev/stdout" : "/dev/stdin";
    const bool exists = stat(real, &info) == 0;
    name[0] = 0;
    if (exists ? S_ISCHR(info.st_mode) || S_ISSOCK(info.st_mode) ||
                     (standard && !S_ISREG(info.st_mode))
               : !sp_split_path(real, folder, name) || stat(folder, &info) != 0)
        return false;
    out->device = info.st_dev;
    out->inode = info.st_ino;
    return true;
}

static bool add_one(SpNamedFiles *files, const SpNamedFile *file, const char *name)
{
    if ((files->count & (files->count - 1)) == 0) { /* full: capacities are powers of 2 */
        const size_t capacity = files->count ? 2 * files->count : 1;
        SpNamedFile *grown = realloc(files->file, capacity * sizeof *grown);
        if (!grown)
            return false;
        files->file = grown;
    }
    SpNamedFile one = *file;
    one.number = files->count;
    one.path = strdup(file->path);
    one.name = strdup(name);
    files->file[files->count++] = one;
    return one.path && one.name;
}

SpStatus sp_named_files_add(SpNamedFiles *files, const SpNamedFile *file)
{
    char name[PATH_MAX];
    SpNamedFile one = *file;
    return !identify(file->path, &one, name) || add_one(files, &one, name)
               ? sp_ok()
               : sp_no_memory("the list of files");
}

SpStatus sp_named_files_add_folder(SpNamedFiles *files, const char *folder, bool links,
                                   bool (*wanted)(const SpNamedFile *file, const char *path),
                                   const SpNamedFile *file)
{
    int error = 0;
    SpStatus status = sp_ok();
    DIR *entries = opendir(folder);
    if (!entries && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
        return sp_ok(); /* an error, where something is looked for in it */
    if (!entries)
        return sp_error(SP_INPUT, "cannot open %.400s: %s", folder, strerror(errno));
    for (const struct dirent *entry;
         status.code == SP_OK && (entry = sp_folder_next(entries, &error));) {
        char path[PATH_MAX];
        SpNamedFile one = *file;
        if (entry->d_type == DT_DIR || (links && entry->d_type == DT_REG))
            continue;
        const int length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        one.path = path;
        if (length < (int)sizeof path && wanted(file, path))
            status = sp_named_files_add(files, &one);
    }
    closedir(entries);
    return error ? sp_error(SP_INPUT, "cannot read %.400s: %s", folder, strerror(error)) : status;
}

static int same_order(const SpNamedFile *a, const SpNamedFile *b)
{
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int order(const void *one, const void *two)
{
    const SpNamedFile *a = one, *b = two;
    const int difference = same_order(a, b);
    return difference ? difference : a->number < b->number ? -1 : a->number > b->number;
}

/* Of the names of one file: the first that is read, else the first, and who would replace it. */
static const SpNamedFile *find_writer(const SpNamedFile *names, size_t count,
                                      const SpNamedFile **other)
{
    *other = names;
    for (size_t i = count; i-- > 0;)
        if (!names[i].written)
            *other = names + i;
    for (size_t i = 0; i < count; i++)
        if (names[i].written && names + i != *other)
            return names + i;
    return NULL;
}

SpStatus sp_named_files_check(SpNamedFiles *files)
{
    const SpNamedFile *first = NULL, *replaced = NULL, *other;
    if (files->count > 1)
        qsort(files->file, files->count, sizeof *files->file, order);
    for (size_t begin = 0, end; begin < files->count; begin = end) {
        for (end = begin + 1; end < files->count; end++)
            if (same_order(files->file + begin, files->file + end) != 0)
                break;
        const SpNamedFile *writer = find_writer(files->file + begin, end - begin, &other);
        if (!writer || (first && first->number < writer->number))
            continue;
        first = writer;
        replaced = other;
    }
    if (!first)
        return sp_ok();
    if (replaced->written && replaced->video != first->video)
        return sp_error(SP_USAGE, "%.300s: the results of two videos would go there", first->path);
    return sp_error(SP_USAGE, "%.300s: %s would replace %s (%s); name another file", first->path,
                    first->flag, replaced->what, replaced->flag);
}

void sp_named_files_free(SpNamedFiles *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free((char *)files->file[i].path);
        free(files->file[i].name);
    }
    free(files->file);
    *files = (SpNamedFiles){0};
}

bool sp_has_names(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink > 1;
}

bool sp_same_file(const char *one, const char *two)
{
    SpNamedFile a = {.written = true}, b = a;
    char name_a[PATH_MAX], name_b[PATH_MAX];
    return identify(one, &a, name_a) && identify(two, &b, name_b) && a.device == b.device &&
           a.inode == b.inode && strcmp(name_a, name_b) == 0;
}

bool sp_lies_in(const char *path, const char *folder, int depth)
{
    char above[PATH_MAX + 64], name[PATH_MAX];
    struct stat wanted, found;
    if (stat(folder, &wanted) != 0 || !sp_split_path(path, above, name))
        return false;
    for (int i = 0; i <= depth && stat(above, &found) == 0; i++) {
        if (found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino)
            return true;
        strcat(above, "/..");
    }
    return false;
}
