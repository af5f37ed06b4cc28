#include "base/memory.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* The number of kilobytes behind `key` in a file of "Key:  123 kB" lines. */
static size_t kilobytes(const char *path, const char *key)
{
    char line[256];
    size_t found = SIZE_MAX;
    FILE *file = fopen(path, "re");
    while (file && found == SIZE_MAX && fgets(line, sizeof line, file)) {
        unsigned long long value;
        if (strncmp(line, key, strlen(key)) == 0 &&
            sscanf(line + strlen(key), ": %llu", &value) == 1)
            found = (size_t)value * 1024;
    }
    if (file)
        fclose(file);
    return found;
}

static size_t number_in(const char *path)
{
    unsigned long long value;
    FILE *file = fopen(path, "re");
    const int read = file ? fscanf(file, "%llu", &value) : 0;
    if (file)
        fclose(file);
    return read == 1 ? (size_t)value : SIZE_MAX;
}

static size_t left_of(size_t limit, size_t used)
{
    if (limit == SIZE_MAX || used == SIZE_MAX)
        return SIZE_MAX;
    return limit > used ? limit - used : 0;
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t sp_memory_available(void)
{
    struct rlimit limit;
    size_t left = kilobytes("/proc/meminfo", "MemAvailable");
    left = min(left, left_of(number_in("/sys/fs/cgroup/memory.max"),
                             number_in("/sys/fs/cgroup/memory.current")));
    left = min(left, left_of(number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
                             number_in("/sys/fs/cgroup/memory/memory.usage_in_bytes")));
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        left = min(left, left_of((size_t)limit.rlim_cur, kilobytes("/proc/self/status", "VmSize")));
    return left;
}

size_t sp_memory_peak(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}

size_t sp_memory_resident(void)
{
    const size_t resident = kilobytes("/proc/self/status", "VmRSS");
    return resident == SIZE_MAX ? 0 : resident;
}
