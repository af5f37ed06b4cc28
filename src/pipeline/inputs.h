/*
 * A first look at what a job reads, before anything is said about what it writes.
 */
#ifndef SP_PIPELINE_INPUTS_H
#define SP_PIPELINE_INPUTS_H

#include "pipeline/job.h"

/* SP_INPUT when the video, the geometry, the queries or the mask is on a network, is not there or
 * cannot be opened, or when a folder or a pattern holds no image. No file is read. */
SpStatus sp_inputs_check(const SpJob *job);

#endif
