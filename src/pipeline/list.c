#define _GNU_SOURCE

#include "pipeline/list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/images.h"

enum { PIECE = 64 << 10, MOST_ENTRY = 64 << 10 };

SpStatus sp_names_add(SpNames *names, const char *name)
{
    const int count = names->count;
    if ((count & (count - 1)) == 0) { /* full: capacities are powers of 2 */
        char **grown = realloc(names->name, (count ? 2 * (size_t)count : 1) * sizeof *grown);
        if (!grown)
            return sp_no_memory("the names");
        names->name = grown;
    }
    names->name[count] = strdup(name);
    if (!names->name[count])
        return sp_no_memory("the names");
    names->count++;
    return sp_ok();
}

void sp_names_free(SpNames *names)
{
    for (int i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names->name);
    *names = (SpNames){0};
}

static bool is_video_name(const char *name)
{
    static const char *const endings[] = {".mp4", ".mov",  ".mkv", ".avi", ".webm", ".m4v",
                                          ".mpg", ".mpeg", ".ts",  ".mts", ".m2ts", ".wmv",
                                          ".flv", ".ogv",  ".3gp", ".mxf", ".y4m"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && dot != name && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static int is_video_or_image(const struct dirent *entry)
{
    return is_video_name(entry->d_name) || sp_images_is_name(entry->d_name);
}

static SpStatus add_all(SpNames *names, const char *folder, struct dirent **entry, int count)
{
    SpStatus status = sp_ok();
    const size_t length = strlen(folder);
    const char *slash = length && folder[length - 1] == '/' ? "" : "/";
    for (int i = 0; i < count && status.code == SP_OK; i++) {
        char *path;
        if (asprintf(&path, "%s%s%s", folder, slash, entry[i]->d_name) < 0)
            return sp_no_memory("the names");
        status = sp_names_add(names, path);
        free(path);
    }
    return status;
}

SpStatus sp_names_add_videos(SpNames *names, const char *path, bool *folder)
{
    struct stat info;
    struct dirent **entry = NULL;
    const int count = stat(path, &info) == 0 && S_ISDIR(info.st_mode)
                          ? scandir(path, &entry, is_video_or_image, versionsort)
                          : 0;
    *folder = count > 0;
    for (int i = 0; i < count; i++)
        *folder &= !sp_images_is_name(entry[i]->d_name);
    const SpStatus status =
        *folder ? add_all(names, path, entry, count) : sp_names_add(names, path);
    for (int i = 0; i < count; i++)
        free(entry[i]);
    free(entry);
    return status;
}

uint64_t sp_fnv(uint64_t hash, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3;
    return hash;
}

bool sp_in_shard(const char *path, int64_t shard, int64_t shards)
{
    return sp_fnv(SP_FNV, path, strlen(path)) % (uint64_t)shards == (uint64_t)(shard - 1);
}

SpStatus sp_list_open(const char *path, bool null, SpList *list)
{
    const int fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                          : open(path, O_RDONLY | O_CLOEXEC);
    *list = (SpList){.path = path, .fd = fd, .end = null ? '\0' : '\n'};
    return fd < 0 ? sp_error(SP_INPUT, "cannot open %.400s: %s (--list)", path, strerror(errno))
                  : sp_ok();
}

void sp_list_close(SpList *list)
{
    if (list->path && list->fd >= 0)
        close(list->fd);
    free(list->text);
    *list = (SpList){.fd = -1};
}

SpStatus sp_list_read(SpList *list)
{
    if (list->capacity - list->used < PIECE) {
        const size_t capacity = 2 * list->capacity + PIECE;
        char *grown = realloc(list->text, capacity);
        if (!grown)
            return sp_no_memory("the list");
        list->text = grown;
        list->capacity = capacity;
    }
    const ssize_t bytes = read(list->fd, list->text + list->used, PIECE);
    if (bytes < 0 && errno != EINTR && errno != EAGAIN)
        return sp_error(SP_INPUT, "cannot read %.400s: %s (--list)", list->path, strerror(errno));
    list->ended = bytes == 0;
    list->used += bytes > 0 ? (size_t)bytes : 0;
    return sp_ok();
}

/* Cuts the entry at the beginning of what has been read off; *video is NULL where it is empty. */
static SpStatus take_one(SpList *list, size_t length, char **video, const char **output)
{
    const size_t past = length < list->used ? length + 1 : length;
    if (list->end == '\n' && length && list->text[length - 1] == '\r')
        length--;
    *video = length ? strndup(list->text, length) : NULL;
    if (length && !*video)
        return sp_no_memory("the list");
    list->used -= past;
    memmove(list->text, list->text + past, list->used);
    char *tab = *video ? strrchr(*video, '\t') : NULL;
    if (tab)
        *tab++ = 0;
    *output = tab && *tab ? tab : NULL;
    return sp_ok();
}

SpStatus sp_list_take(SpList *list, char **video, const char **output)
{
    *video = NULL;
    *output = NULL;
    while (!*video && list->used) {
        const char *end = memchr(list->text, list->end, list->used);
        const size_t length = end ? (size_t)(end - list->text) : list->used;
        if (length > MOST_ENTRY)
            return sp_error(SP_INPUT, "%.400s: an entry of more than %d bytes (--list)", list->path,
                            MOST_ENTRY);
        if (!end && !list->ended)
            break;
        SP_TRY(take_one(list, length, video, output));
    }
    return sp_ok();
}
