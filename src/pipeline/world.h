/*
 * What the user says of a run's world: its unit of length, and the cameras' field of view. All of
 * it holds of a part of the run, too (pipeline/arrays.h).
 */
#ifndef SP_PIPELINE_WORLD_H
#define SP_PIPELINE_WORLD_H

#include "pipeline/run.h"

/* The intrinsics that --fov or --focal fix, in the place of [T, 3, 3]: square pixels, the axis
 * through the middle. Without these flags nothing changes. */
void sp_world_fix_intrinsics(const SpRun *run, float *intrinsics);

/* run->scale: what --scale-by or --scale-to multiply lengths by; frame 0 is among the arrays.
 * SP_INPUT where it has no depth; SP_MEMORY. */
SpStatus sp_world_choose_scale(SpRun *run);

/* The power of two that brings lengths as in millimetres to what the tracker is made for; 1 where
 * they fit. SP_MEMORY. */
SpStatus sp_world_choose_unit(const SpRun *run, double *unit);

/* Lengths in another unit: of depth and first cameras, and of all there is. */
void sp_world_scale_geometry(const SpRun *run, double factor);
void sp_world_scale(const SpRun *run, double factor);

/* The first cameras, c2w, as seen from another world: `to` [4, 4] times each. */
void sp_world_move(const SpRun *run, const float to[16]);

#endif
