/*
 * A clip that is longer than what the front takes at once, while it is read: frames come as they
 * are needed, go through front, tracker and refinement, and into the files, and are forgotten, so
 * that memory does not grow with the clip.
 */
#ifndef SP_PIPELINE_STREAM_H
#define SP_PIPELINE_STREAM_H

#include "pipeline/run.h"

/* Runs it to the end, and writes the files. The run is planned. SP_INPUT, SP_OUTPUT, SP_MEMORY;
 * failures of the networks. */
SpStatus sp_stream_run(SpRun *run);

#endif
