/*
 * What a folder holds, entry by entry.
 */
#ifndef SP_BASE_FOLDER_H
#define SP_BASE_FOLDER_H

#include <dirent.h>
#include <errno.h>

/* The next entry, NULL at the end and where it cannot be read; *error is errno then, else 0. */
static inline const struct dirent *sp_folder_next(DIR *folder, int *error)
{
    errno = 0;
    const struct dirent *entry = readdir(folder);
    *error = entry ? 0 : errno;
    return entry;
}

#endif
