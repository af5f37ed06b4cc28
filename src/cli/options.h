/*
 * The command line: one table of flags drives parsing, --help and the check of the man page.
 */
#ifndef SP_CLI_OPTIONS_H
#define SP_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "pipeline/job.h"

/* What to do with the process's arguments. */
typedef struct SpOptions {
    bool help, version, info, prepare;
    SpJob job;          /* of the first video */
    const char **video; /* all of them */
    int videos;
    SpTexts points, boxes; /* --point and --box as given, */
    SpPrompts prompts;     /* and what they say, which the job points to */
    const char *sleep_after;
    bool quiet, verbose;
    char *settings; /* JSON of those that affect the result, which the job points to */
} SpOptions;

/* Reads argv into `options`, which must not move then and whose texts are views of argv; release
 * with sp_options_free, also after a failure. With --help, --version, --info or --prepare nothing
 * else is asked for. SP_USAGE in one line for an unknown flag, a missing or bad value, flags that
 * exclude each other, or no video; SP_MEMORY. */
SpStatus sp_options_parse(int argc, char **argv, SpOptions *options);
void sp_options_free(SpOptions *options);

/* Writes the text of --help. */
void sp_options_help(FILE *stream);

#endif
