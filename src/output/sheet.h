/*
 * A contact sheet (--overlay FILE.png): the first, the middle and the last used frame with their
 * tracks, and the depth of the first with its scale.
 */
#ifndef SP_OUTPUT_SHEET_H
#define SP_OUTPUT_SHEET_H

#include "media/frame_plan.h"
#include "output/overlay.h"

/* Writes the sheet as a PNG to `file`, which stays the caller's to commit or abandon. Frames larger
 * than 800 pixels are reduced to that. depth [H, W]: of the first frame, its working frame as in
 * `plan`; colours run evenly over 1 / depth, the nearest brightest, from the 2nd to the 98th
 * percentile; gray where there is none. Errors: as sp_overlay_write. */
SpStatus sp_sheet_write(const SpAtomicFile *file, const SpOverlay *overlay, const SpFramePlan *plan,
                        const float *depth, const SpProgress *progress);

#endif
