#define _GNU_SOURCE /* memfd_create, nftw */

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/targets.h"

FuzzTarget *fuzz_target(const char *name)
{
    static const struct {
        const char *name;
        FuzzTarget *run;
    } targets[] = {
#define ENTRY(name) {#name, fuzz_##name},
        FUZZ_TARGETS(ENTRY)
#undef ENTRY
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (name && strcmp(targets[i].name, name) == 0)
            return targets[i].run;
    return NULL;
}

/* What the test itself cannot do is no finding. */
static void give_up(const char *what)
{
    perror(what);
    _exit(99);
}

static void write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        const ssize_t written = write(fd, at, size);
        if (written <= 0)
            give_up("write");
        at += written;
        size -= (size_t)written;
    }
}

const char *fuzz_file(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
        give_up("memfd");
    write_all(fd, data, size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

static char folder[64];

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
    if (*folder)
        return folder;
    snprintf(folder, sizeof folder, "%s/spatrack-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder) || atexit(remove_folder) != 0)
        give_up(folder);
    return folder;
}

const char *fuzz_path(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    return path;
}

void fuzz_write(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(fuzz_path(name), "wb");
    if (!file)
        give_up(name);
    if (fwrite(data, 1, size, file) != size || fclose(file) != 0)
        give_up(name);
}

int fuzz_expect(SpStatus status, SpCode kind)
{
    const int fine = status.code == SP_OK;
    if (fine ? *status.text != 0
             : (status.code != kind && status.code != SP_MEMORY) || !*status.text ||
                   strlen(status.text) >= sizeof status.text) {
        fprintf(stderr, "status %d: \"%s\"\n", (int)status.code, status.text);
        abort();
    }
    return fine;
}
