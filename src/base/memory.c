#include "base/memory.h"

#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* The number behind `key` at the start of a line of the file, times `unit`; else SIZE_MAX. */
static size_t number_in(const char *path, const char *key, size_t unit)
{
    char line[256];
    size_t found = SIZE_MAX;
    FILE *file = fopen(path, "re");
    while (file && found == SIZE_MAX && fgets(line, sizeof line, file)) {
        unsigned long long value;
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%llu", &value) == 1)
            found = (size_t)value * unit;
    }
    if (file)
        fclose(file);
    return found;
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

size_t sp_memory_available(void)
{
    static const char *const cgroup[][2] = {
        {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes",
         "/sys/fs/cgroup/memory/memory.usage_in_bytes"}};
    struct rlimit limit;
    size_t left = number_in("/proc/meminfo", "MemAvailable:", 1024);
    for (int i = 0; i < 2; i++)
        left = min_left(left, number_in(cgroup[i][0], "", 1), number_in(cgroup[i][1], "", 1));
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
