/* The libraries that run, and their versions. */
#ifndef SP_PIPELINE_LIBRARIES_H
#define SP_PIPELINE_LIBRARIES_H

#include "output/report.h"

/* Names and versions of at most `capacity` libraries; that of FFmpeg only when it is loaded. Texts
 * are static. Returns how many. */
int sp_libraries(SpLibraryVersion *out, int capacity);

#endif
