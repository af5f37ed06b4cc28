#include "support/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[PATH_MAX];

int scratch_make(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/spatrack-test-XXXXXX", parent ? parent : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

int scratch_empty(void)
{
    int count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            count += unlinkat(dirfd(dir), entry->d_name, 0) == 0 ||
                     unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0;
    closedir(dir);
    return count;
}

int scratch_remove(void **state)
{
    (void)state;
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

const char *scratch_folder(void)
{
    return folder;
}

const char *scratch_path(const char *name)
{
    static char path[4][PATH_MAX + 512];
    static int next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

char *file_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    char *text = NULL;
    size_t room = 0, length = 0, got = 0;
    do {
        length += got;
        room = 2 * room + 4096;
        text = realloc(text, room);
        assert_non_null(text);
        got = fread(text + length, 1, room - length - 1, file);
    } while (got);
    fclose(file);
    text[length] = 0;
    if (size)
        *size = length;
    return text;
}

void file_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void assert_text(const char *path, const char *expected)
{
    char *text = file_read(path, NULL);
    assert_string_equal(text, expected);
    free(text);
}

void assert_ok(SpStatus status)
{
    if (status.code != SP_OK)
        fail_msg("%d: %s", status.code, status.text);
}

void assert_error(SpStatus status, SpCode code, const char *part)
{
    if (status.code != code || !strstr(status.text, part) || strchr(status.text, '\n'))
        fail_msg("%d: '%s' instead of %d: '%s'", status.code, status.text, code, part);
}
