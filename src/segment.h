/*
 * The SAM stage of a job, from prompts to a mask, and masks as files. A mask is a byte a pixel:
 * 0, or k on object k, counted from 1.
 */
#ifndef SP_SEGMENT_H
#define SP_SEGMENT_H

#include "media/clip.h"
#include "models.h"
#include "output/atomic.h"
#include "output/report.h"
#include "prompt.h"

/* Fails before any work when the weights that --sam asks for are not there (auto finds at least the
 * built-in ones). SP_CHECKPOINT. No checkpoint is opened. */
SpStatus sp_segment_weights(const SpJob *job);

/* Opens the model that --sam asks for, with auto the largest that is there and fits, and plans it
 * for the clip's kept frame; *name is what it is called. SP_USAGE for a prompt outside the frame;
 * SP_CHECKPOINT; SP_MEMORY. */
SpStatus sp_segment_plan(const SpJob *job, const SpPrompts *prompts, const SpClip *clip,
                         SpModels *models, SpNeed *need, const char **name);

/* Plans and runs SAM on the clip's kept frame: *mask is of the input video's size, malloc'ed and
 * the caller's; where objects overlap the first stays. `stage` says what it took. As
 * sp_segment_plan, and SP_USAGE when nothing is found. */
SpStatus sp_segment_run(const SpJob *job, const SpPrompts *prompts, const SpClip *clip,
                        SpModels *models, SpConsole *console, uint8_t **mask, SpStageReport *stage);

/* The PNG at `path` as a mask of the input video's size: what is not black is object 1; another
 * size is brought to the video's by nearest. *mask is malloc'ed and the caller's. SP_INPUT,
 * SP_MEMORY. */
SpStatus sp_mask_read(const char *path, const SpFramePlan *plan, uint8_t **mask);

/* The mask on the working frame. *working is malloc'ed and the caller's. SP_MEMORY. */
SpStatus sp_mask_working(const SpFramePlan *plan, const uint8_t *mask, uint8_t **working);

/* Writes a mask as an 8-bit PNG beside `path`, settled but not in place: object k of n has value
 * 255 k / n. SP_OUTPUT, SP_MEMORY. */
SpStatus sp_mask_write(const char *path, const SpFramePlan *plan, const uint8_t *mask,
                       int64_t objects, SpAtomicFile *file);

#endif
