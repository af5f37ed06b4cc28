/*
 * The command line: one table of flags drives parsing, --help, completions and the check of the man
 * page.
 */
#ifndef SP_CLI_OPTIONS_H
#define SP_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "base/console.h"
#include "compare/compare.h"
#include "pipeline/job.h"
#include "pipeline/list.h"

/* Whose completions to print, in the order of the words of --completions; -1: none. */
enum { SP_SHELL_BASH, SP_SHELL_ZSH, SP_SHELL_FISH };

/* What to do with the process's arguments. */
typedef struct SpOptions {
    bool help, version, info, prepare;
    SpJob job;          /* of the first video */
    const char **video; /* all of them, those of folders one by one; views of `names` */
    int videos;
    SpNames names;
    const char *shard;     /* --shard as given */
    SpTexts points, boxes; /* --point and --box as given, */
    SpPrompts prompts;     /* and what they say, which the job points to */
    const char *sleep_after;
    bool quiet, verbose;
    SpProgressStyle progress;
    int completions;          /* SP_SHELL_ or -1 */
    const char *expected;     /* --compare: what video[0] is compared with */
    SpTolerances tolerance;   /* of the comparison; filled in where not given */
    const char *runs;         /* the first flag given of a run that computes */
    const char *not_compared; /* the first flag given that does not go with --compare */
    char *settings;           /* JSON of those that affect the result, which the job points to */
} SpOptions;

/* Reads argv into `options`, which must not move then and whose texts are views of argv; release
 * with sp_options_free, also after a failure. With --help, --version, --info, --prepare or
 * --completions nothing else is asked for. SP_USAGE in one line for an unknown flag, a missing or
 * bad value, flags that exclude each other, or no video; SP_MEMORY. */
SpStatus sp_options_parse(int argc, char **argv, SpOptions *options);
void sp_options_free(SpOptions *options);

/* Writes the text of --help. */
void sp_options_help(FILE *stream);

/* What a shell needs to know of a flag; views of constants. */
typedef struct SpFlag {
    const char *name;  /* without its dashes */
    char letter;       /* 0: none */
    const char *value; /* as --help has it: "FILE.npz", "DIR", "crop|fit"; NULL: takes none */
    const char *help;
    bool repeats; /* may be given several times */
} SpFlag;

/* The i-th flag of the table, from 0; false behind the last. */
bool sp_options_flag(int i, SpFlag *flag);

#endif
