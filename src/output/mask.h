/*
 * The mask that SAM found, as a picture (--mask-out).
 */
#ifndef SP_OUTPUT_MASK_H
#define SP_OUTPUT_MASK_H

#include "media/frame_plan.h"
#include "output/atomic.h"

/* Writes a mask as an 8-bit PNG beside `path`, settled but not in place: object k of n has value
 * 255 k / n. SP_OUTPUT, SP_MEMORY. */
SpStatus sp_mask_write(const char *path, const SpFramePlan *plan, const uint8_t *mask,
                       int64_t objects, SpAtomicFile *file);

#endif
