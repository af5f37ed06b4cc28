/*
 * Which clips stream (pipeline/stream.h), and what is held of one that does.
 */
#ifndef SP_PIPELINE_STREAM_PLAN_H
#define SP_PIPELINE_STREAM_PLAN_H

#include "pipeline/chunks.h"
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

/* Frames of a window of the run's tracker; 0: it has none. */
int64_t sp_stream_window(const SpRun *run);

/* Chunks as long clips have them. */
SpChunking sp_stream_chunking(const SpRun *run);

/* Whether frames are looked at a second time. */
bool sp_stream_looks_again(const SpRun *run);

/* Points a side of the run's grid. */
int64_t sp_stream_side(const SpRun *run);

#endif
