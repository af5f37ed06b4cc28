/*
 * The first reading of a run's video: all frames at once, or while the clip streams, as they are
 * needed.
 */
#ifndef SP_PIPELINE_FRAMES_H
#define SP_PIPELINE_FRAMES_H

#include "pipeline/run.h"

/* Opens the video: run->clip says what its file does, and run->length is the container's word. Who
 * is interested is told what of it will not be used. SP_INPUT, SP_MEMORY. */
SpStatus sp_frames_open(SpRun *run);

/* Reads all, or as many as show that the clip streams; then run->streams is known, and of a clip
 * that does not, its length and what was lost, which is said. */
SpStatus sp_frames_read(SpRun *run);

/* Of a clip that streams: frames up to `frames`, where there are so many. */
SpStatus sp_frames_read_to(SpRun *run, int64_t frames);

/* Of a clip that has ended: what of it is not used, one line each. */
void sp_frames_warn_of_losses(const SpRun *run);

#endif
