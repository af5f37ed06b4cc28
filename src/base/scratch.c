#define _GNU_SOURCE

#include "base/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the file system has no nameless files. */
static int open_and_unlink(const char *folder)
{
    char name[4096];
    if (snprintf(name, sizeof name, "%s/.spatrack.XXXXXX", folder) >= (int)sizeof name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    const int file = mkostemp(name, O_CLOEXEC);
    if (file >= 0)
        unlink(name);
    return file;
}

static int open_in(const char *folder)
{
    const int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    const bool none = file < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT);
    return none ? open_and_unlink(folder) : file;
}

int sp_scratch_open(const char *beside, const char **folder)
{
    const char *temporary = getenv("TMPDIR");
    const char *slash = beside ? strrchr(beside, '/') : NULL;
    if (beside && !slash)
        return open_in(".");
    if (!beside) {
        temporary = temporary && *temporary ? temporary : "/var/tmp";
        if (folder)
            *folder = temporary;
        return open_in(temporary);
    }
    char *parent = strndup(beside, slash == beside ? 1 : (size_t)(slash - beside));
    const int file = parent ? open_in(parent) : -1;
    free(parent);
    return file;
}
