/* What --version prints. */
#ifndef SP_CLI_VERSION_H
#define SP_CLI_VERSION_H

#include <stdio.h>

/* The program's version (meson.build), then a line for each library with its version. */
void sp_version_print(FILE *stream);

#endif
