/*
 * Completions for shells, from the table of flags.
 */
#ifndef SP_CLI_COMPLETIONS_H
#define SP_CLI_COMPLETIONS_H

#include <stdio.h>

/* Writes the script that completes the arguments of spatrack in a shell (SP_SHELL_ of options.h):
 * flags by name, choices with their words, files with files of their ending, and videos. */
void sp_completions_print(FILE *stream, int shell);

#endif
