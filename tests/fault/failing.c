/*
 * Allocation that fails on demand, linked in place of the program's own calls (ld --wrap): the
 * $SPATRACK_FAIL_AT-th call of malloc, calloc, realloc, aligned_alloc, strdup or mmap returns
 * NULL. Their number is written to the file $SPATRACK_FAIL_COUNT when the program ends. Calls
 * before main are not counted: they are the CUDA runtime's, where that is built in.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *text);
void *__real_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset);

int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);

static bool in_main;
static atomic_long calls;

static void write_count(void)
{
    FILE *file = fopen(getenv("SPATRACK_FAIL_COUNT"), "w");
    if (file) {
        fprintf(file, "%ld\n", calls);
        fclose(file);
    }
}

int __wrap_main(int argc, char **argv)
{
    in_main = true;
    return __real_main(argc, argv);
}

static bool fails(void)
{
    if (!in_main)
        return false;
    const char *at = getenv("SPATRACK_FAIL_AT");
    const long call = ++calls;
    if (call == 1 && getenv("SPATRACK_FAIL_COUNT"))
        atexit(write_count);
    if (!at || atol(at) != call)
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(align, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    return fails() ? MAP_FAILED : __real_mmap(at, size, protection, flags, file, offset);
}
