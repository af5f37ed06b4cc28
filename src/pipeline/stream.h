/*
 * A clip that is longer than what the front takes at once, while it is read: frames come as they
 * are needed, go through front, tracker and refinement, and into the files, and are forgotten, so
 * that memory does not grow with the clip.
 */
#ifndef SP_PIPELINE_STREAM_H
#define SP_PIPELINE_STREAM_H

#include "pipeline/run.h"

/* Whether a clip of the run's would stream if it is longer than what the front takes at once: all
 * that is written can be written frame by frame, nobody wants intermediate tensors, and the video
 * can be read a second time beside the first where that is needed. The models are open. */
bool sp_stream_may(const SpRun *run);

/* Most points that are followed at the same time where new ones come with --grid-every; 0: all. */
int64_t sp_stream_at_once(const SpRun *run);

/* Frames of `frames` whose results are held at the same time: all of a clip that does not stream.
 */
int64_t sp_stream_frames(const SpRun *run, int64_t frames);

/* Frames of the clip that are held at the same time where it streams; 0: it never does. */
int64_t sp_stream_room(const SpRun *run);

/* Bytes of host memory that streaming takes beside those results; 0: it does not. */
size_t sp_stream_bytes(const SpRun *run, int64_t frames, int64_t queries);

/* Runs it to the end, and writes the files. The run is planned. SP_INPUT, SP_OUTPUT, SP_MEMORY;
 * failures of the networks. */
SpStatus sp_stream_run(SpRun *run);

#endif
