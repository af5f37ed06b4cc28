/*
 * Masks that the user gives (--mask). A mask is a byte a pixel: 0, or k on object k, counted
 * from 1.
 */
#ifndef SP_INPUT_MASKS_H
#define SP_INPUT_MASKS_H

#include "media/frame_plan.h"

/* The PNG at `path` as a mask of the input video's size: what is not black is object 1; another
 * size is resampled to the video's by nearest. *mask is malloc'ed and the caller's. SP_INPUT,
 * SP_MEMORY. */
SpStatus sp_mask_read(const char *path, const SpFramePlan *plan, uint8_t **mask);

#endif
