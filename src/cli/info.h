/* What --info and --version print. */
#ifndef SP_CLI_INFO_H
#define SP_CLI_INFO_H

#include <stdio.h>

/* Devices, then each model's checkpoint with its place and size; `weights` is --weights or NULL. */
void sp_info_print(FILE *stream, const char *weights);

/* The program's version (meson.build), then a line for each library with its version. */
void sp_version_print(FILE *stream);

#endif
