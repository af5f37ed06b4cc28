/*
 * The SAM stage of a run: from prompts to the mask of what to track.
 */
#ifndef SP_PIPELINE_SEGMENTATION_H
#define SP_PIPELINE_SEGMENTATION_H

#include "pipeline/run.h"

/* Fails before any work when the weights that --sam asks for are not there (auto finds at least the
 * built-in ones). SP_CHECKPOINT. No checkpoint is opened. */
SpStatus sp_segmentation_check_weights(const SpJob *job);

/* Opens the model that --sam asks for, with auto the largest that is there and fits, and plans it
 * for the clip's kept frame. SP_USAGE for a prompt outside the frame; SP_CHECKPOINT; SP_MEMORY. */
SpStatus sp_segmentation_plan(SpRun *run);

/* Plans and runs SAM on the clip's kept frame: run->mask becomes 0, or k on object k, counted from
 * 1; where objects overlap the first stays. As sp_segmentation_plan, and SP_USAGE when nothing is
 * found. */
SpStatus sp_segmentation_run(SpRun *run);

#endif
