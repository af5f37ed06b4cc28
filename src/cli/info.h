/* What --info and --version print. */
#ifndef SP_CLI_INFO_H
#define SP_CLI_INFO_H

#include <stdio.h>

#include "base/status.h"

/* Devices, then each model's checkpoint with its place and size; `weights` is --weights or NULL. */
void sp_info_print(FILE *stream, const char *weights);

/* The same as a JSON object: {"devices": [{"device", "description"}], "weights": [{"model",
 * "bytes", "folder", "where"}]}; folder is null for what is built in, bytes where "problem" says
 * why there are none. SP_MEMORY. */
SpStatus sp_info_print_json(FILE *stream, const char *weights);

/* The program's version (meson.build), then a line for each library with its version. */
void sp_version_print(FILE *stream);

#endif
