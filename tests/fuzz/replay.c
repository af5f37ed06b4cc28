/* Runs the files of a corpus through their targets: replay CORPUS, whose folders are named for the
 * targets, or replay CORPUS TARGET. Prints TAP, one case a target; a finding ends the program, the
 * sanitizers' words above it. */
#define _GNU_SOURCE /* asprintf, realpath, versionsort */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/targets.h"

static int is_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In a block of exactly its size, behind which AddressSanitizer looks. */
static void run_file(FuzzTarget *target, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    const size_t size = (size_t)ftell(file);
    uint8_t *data = malloc(size ? size : 1);
    rewind(file);
    if (!data || fread(data, 1, size, file) != size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    target(data, size);
    free(data);
}

/* How many files the folder has. */
static int run_folder(const char *corpus, const char *name)
{
    struct dirent **entry;
    char *path;
    if (asprintf(&path, "%s/%s", corpus, name) < 0)
        exit(1);
    const int count = scandir(path, &entry, is_file, versionsort);
    for (int i = 0; i < count; i++) {
        char *file;
        if (asprintf(&file, "%s/%s", path, entry[i]->d_name) < 0)
            exit(1);
        run_file(fuzz_target(name), file);
        free(file);
        free(entry[i]);
    }
    if (count >= 0)
        free(entry);
    free(path);
    return count;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
#define NAME(name) #name,
        FUZZ_TARGETS(NAME)
#undef NAME
    };
    int cases = 0, failures = 0;
    char *corpus = argc > 1 ? realpath(argv[1], NULL) : NULL; /* a target may go elsewhere */
    if (!corpus) {
        fprintf(stderr, "usage: replay CORPUS [TARGET]\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (argc > 2 && strcmp(argv[2], names[i]) != 0)
            continue;
        printf("# %s\n", names[i]);
        fflush(stdout);
        const int files = run_folder(corpus, names[i]);
        failures += files < 1;
        printf("%sok %d - %s: %d files\n", files < 1 ? "not " : "", ++cases, names[i], files);
    }
    free(corpus);
    printf("1..%d\n", cases);
    return failures > 0 || cases == 0;
}
