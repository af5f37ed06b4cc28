/* The libraries that run, and their versions. */
#ifndef SP_PIPELINE_LIBRARIES_H
#define SP_PIPELINE_LIBRARIES_H

#include "output/report.h"

/* Names and versions; that of FFmpeg only when it is loaded. Texts are static. Returns how many. */
int sp_libraries(SpLibraryVersion out[SP_REPORT_LIBRARIES]);

#endif
