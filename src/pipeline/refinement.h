/*
 * Tracks refined on the frames of the video itself, read again (src/refine/README.md).
 */
#ifndef SP_PIPELINE_REFINEMENT_H
#define SP_PIPELINE_REFINEMENT_H

#include "pipeline/run.h"

/* Once the weights are found, and before the video is read: sets run->refines, and has the video
 * ready for a second reading. SP_USAGE where --refine on asks for what cannot be; what
 * sp_reread_check gives. */
SpStatus sp_refinement_prepare(SpRun *run);

/* Bytes that the refinement of `queries` points takes on the host, results included. */
size_t sp_refinement_bytes(const SpRun *run, int64_t frames, int64_t queries);

/* About how long it takes, without decoding; measured here. SP_MEMORY. */
SpStatus sp_refinement_seconds(const SpRun *run, int64_t queries, double *seconds);

/* Opens run->refiner for the run's queries, where tracks are refined. SP_MEMORY. */
SpStatus sp_refinement_open(SpRun *run);

/* The run has more queries. SP_MEMORY. */
SpStatus sp_refinement_grow(SpRun *run);

/* Takes the patches of frame t's queries from its picture, where the `run` has a refiner. */
void sp_refinement_see(void *run, int64_t t, const uint8_t *rgb);

/* As sp_refinement_run, of a part of one frame t, with its picture. xy: [N, 2] of work. Frames come
 * in order; the patches of queries in later frames are there. */
void sp_refinement_frame(SpRun *part, int64_t t, const uint8_t *rgb, float *xy);

/* Refines the tracker's positions, and lifts every point along its ray at its own depth, so that
 * points project onto positions. For queries whose patches have not been seen the frames are read
 * once more. run->sigma holds its [T, N] floats. SP_INPUT where the video
 * changed; SP_MEMORY. */
SpStatus sp_refinement_run(SpRun *run);

#endif
