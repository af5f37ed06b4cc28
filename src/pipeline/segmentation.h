/*
 * The SAM stage of a job, from prompts to a mask, and masks as files. A mask is a byte a pixel:
 * 0, or k on object k, counted from 1.
 */
#ifndef SP_PIPELINE_SEGMENTATION_H
#define SP_PIPELINE_SEGMENTATION_H

#include "input/prompts.h"
#include "media/clip.h"
#include "output/atomic.h"
#include "output/report.h"
#include "pipeline/models.h"

/* Fails before any work when the weights that --sam asks for are not there (auto finds at least the
 * built-in ones). SP_CHECKPOINT. No checkpoint is opened. */
SpStatus sp_segmentation_check_weights(const SpJob *job);

/* Opens the model that --sam asks for, with auto the largest that is there and fits, and plans it
 * for the clip's kept frame; *name is what it is called. SP_USAGE for a prompt outside the frame;
 * SP_CHECKPOINT; SP_MEMORY. */
SpStatus sp_segmentation_plan(const SpJob *job, const SpPrompts *prompts, const SpClip *clip,
                              SpModels *models, SpFootprint *need, const char **name);

/* Plans and runs SAM on the clip's kept frame: *mask is of the input video's size, malloc'ed and
 * the caller's; where objects overlap the first stays. `stage` says what it took. As
 * sp_segmentation_plan, and SP_USAGE when nothing is found. */
SpStatus sp_segmentation_run(const SpJob *job, const SpPrompts *prompts, const SpClip *clip,
                             SpModels *models, SpConsole *console, uint8_t **mask,
                             SpStageReport *stage);

#endif
