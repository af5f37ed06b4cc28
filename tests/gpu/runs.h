/* The tracker, SAM and many videos in a row on a device's own memory. */
#ifndef SP_TESTS_GPU_RUNS_H
#define SP_TESTS_GPU_RUNS_H

#include "kernels/ops.h"

/* Opens the device that is tested, as sp_cuda_open(0, ..). */
typedef SpStatus (*OpenDevice)(SpDevice **device);

/* The published tracker with synthetic weights: as much memory as planned, the same bits resident
 * and streamed; `full` frames and points with times, and within 1 GB. */
void tracker_runs(const char *goldens, SpDevice *device, bool full);

/* The same of SAM base, which must keep within 0.6 GB. */
void sam_runs(const char *goldens, SpDevice *device, bool full);

/* `count` videos with the built-in models, whose weights are in turn loaded for each stage,
 * streamed, kept for the video, and gone with the device after it (sleep at level 2): the same bits
 * each time, and from the tenth on no less memory free after a video. *device is open again at the
 * end, or NULL.
 */
void many_videos(OpenDevice open, SpDevice **device, int count);

#endif
