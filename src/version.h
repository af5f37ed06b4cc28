/* Versions: of the program (meson.build), of the result's format, of the libraries that run. */
#ifndef SP_VERSION_H
#define SP_VERSION_H

#include <stdio.h>

#include "output/report.h"

enum { SP_FORMAT_VERSION = 1 };

/* Names and versions of at most `room` libraries; those of FFmpeg only when it is loaded. Texts are
 * static. Returns how many. */
int sp_libraries(SpLibraryVersion *out, int room);

/* The text of --version. */
void sp_version_print(FILE *stream);

#endif
