#include "base/memory.h"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TEXT = 8192 };

/* The start of a file of /proc or /sys, as text. Nothing is allocated: there may be no memory left.
 */
static void read_text(const char *path, char text[TEXT])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t some = 1;
    size_t length = 0;
    while (fd >= 0 && some > 0 && length < TEXT - 1) {
        some = read(fd, text + length, TEXT - 1 - length);
        length += some > 0 ? (size_t)some : 0;
    }
    if (fd >= 0)
        close(fd);
    text[length] = '\0';
}

/* The line behind this one, or NULL. */
static char *next_line(char *line)
{
    char *end = strchr(line, '\n');
    return end ? end + 1 : NULL;
}

/* The number behind `key` at the start of a line of the file, times `unit`; else SIZE_MAX. */
static size_t number_in(const char *path, const char *key, size_t unit)
{
    char text[TEXT];
    read_text(path, text);
    for (char *line = text; line; line = next_line(line)) {
        unsigned long long value;
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%llu", &value) == 1)
            return (size_t)value * unit;
    }
    return SIZE_MAX;
}

/* What the system says of this process, in bytes; 0 when it does not. */
static size_t number_or_0(const char *key)
{
    const size_t found = number_in("/proc/self/status", key, 1024);
    return found == SIZE_MAX ? 0 : found;
}

/* The smaller of `left` and limit - used, where both are known. */
static size_t min_left(size_t left, size_t limit, size_t used)
{
    if (limit == SIZE_MAX || used == SIZE_MAX)
        return left;
    const size_t rest = limit > used ? limit - used : 0;
    return rest < left ? rest : left;
}

/* How a version of control groups names the memory of one, in the group's folder. */
typedef struct Groups {
    const char *controllers; /* in /proc/self/cgroup */
    const char *mount, *limit, *soft_limit, *used, *cache[2];
} Groups;

/* https://docs.kernel.org/admin-guide/cgroup-v2.html, .../cgroup-v1/memory.html */
static const Groups versions[] = {
    {"",
     "/sys/fs/cgroup",
     "memory.max",
     "memory.high",
     "memory.current",
     {"inactive_file ", "active_file "}},
    {"memory",
     "/sys/fs/cgroup/memory",
     "memory.limit_in_bytes",
     NULL,
     "memory.usage_in_bytes",
     {"total_inactive_file ", "total_active_file "}},
};

typedef char Path[PATH_MAX + 128];

/* The number in a file of the folder; SIZE_MAX when there is none, or no limit. */
static size_t in_group(const Path folder, const char *file, const char *key)
{
    Path path;
    snprintf(path, sizeof path, "%.*s/%s", PATH_MAX + 64, folder, file);
    return number_in(path, key, 1);
}

/* What a group leaves of `left`. The files that it has cached give way. */
static size_t min_left_in(const Groups *groups, const Path folder, size_t left)
{
    size_t used = in_group(folder, groups->used, "");
    for (int i = 0; i < 2 && used != SIZE_MAX; i++) {
        const size_t cache = in_group(folder, "memory.stat", groups->cache[i]);
        used -= cache > used ? 0 : cache;
    }
    if (groups->soft_limit)
        left = min_left(left, in_group(folder, groups->soft_limit, ""), used);
    return min_left(left, in_group(folder, groups->limit, ""), used);
}

/* The group that this process is in, "/a/b"; "" where it is in none, or that is not known. */
static void own_group(const char *root, const Groups *groups, char group[PATH_MAX])
{
    char text[TEXT];
    Path path;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    read_text(path, text);
    *group = '\0';
    for (char *line = text, *next; line; line = next) { /* "4:memory:/a/b" */
        next = next_line(line);
        if (next)
            next[-1] = '\0';
        char *controllers = strchr(line, ':'),
             *at = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!at)
            continue;
        *at++ = '\0';
        if (strcmp(controllers + 1, groups->controllers) == 0)
            snprintf(group, PATH_MAX, "%s", strcmp(at, "/") == 0 ? "" : at);
    }
}

size_t sp_memory_of_groups(const char *root)
{
    size_t left = SIZE_MAX;
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        char group[PATH_MAX], *end;
        own_group(root, &versions[i], group);
        do { /* the group, those that it is in, and the one that is the root here */
            Path folder;
            snprintf(folder, sizeof folder, "%s%s%s", root, versions[i].mount, group);
            left = min_left_in(&versions[i], folder, left);
            end = strrchr(group, '/');
            if (end)
                *end = '\0';
        } while (end);
    }
    return left;
}

size_t sp_memory_available(void)
{
    struct rlimit limit;
    size_t left = number_in("/proc/meminfo", "MemAvailable:", 1024);
    const size_t of_groups = sp_memory_of_groups("");
    if (of_groups < left)
        left = of_groups;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        left = min_left(left, limit.rlim_cur, number_in("/proc/self/status", "VmSize:", 1024));
    return left;
}

/* Not getrusage(2)'s, which begins with the peak of the process that called exec(3). */
size_t sp_memory_peak(void)
{
    return number_or_0("VmHWM:");
}

size_t sp_memory_resident(void)
{
    return number_or_0("VmRSS:");
}

void sp_memory_trim(void)
{
    malloc_trim(0);
}
