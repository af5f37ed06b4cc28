/*
 * Segment Anything: from points and boxes on one image to the mask of the object meant
 * (src/sam/README.md; published as facebook/sam-vit-base, -large, -huge).
 */
#ifndef SP_SAM_SAM_H
#define SP_SAM_SAM_H

#include "base/prompt.h"
#include "nn/nn.h"
#include "store/checkpoint.h"

/* The reference scales an image to this shorter side before the model sees it. */
enum { SP_SAM_SHORT_SIDE = 336 };

typedef struct SpSam SpSam;

/* Which of the three masks that an ambiguous prompt gives: the first, as the reference keeps it, or
 * the one with the highest predicted IoU. */
typedef enum SpSamSelect { SP_SAM_FIRST, SP_SAM_BEST } SpSamSelect;

/* Host arrays. */
typedef struct SpSamInput {
    int64_t height, width;
    const uint8_t *rgb;     /* [height, width, 3] */
    int64_t short_side;     /* the image is first scaled to it (SP_SAM_SHORT_SIDE); 0: not */
    int64_t objects;        /* at most 255 */
    const SpPrompt *prompt; /* [objects] */
    SpSamSelect select;
} SpSamInput;

/* Host arrays of the caller. */
typedef struct SpSamOutput {
    uint8_t *mask; /* [height, width] 0, or k on object k, counted from 1; the first where several
                      overlap */
    float *iou;    /* [objects] the model's own guess at the mask's IoU; NULL: not wanted */
} SpSamOutput;

/* Binds every tensor, dims from the checkpoint, which must outlive the model. SP_CHECKPOINT naming
 * file and tensor; SP_MEMORY. Release with sp_sam_close (NULL allowed). */
SpStatus sp_sam_open(SpCheckpoint *checkpoint, SpSam **sam);
void sp_sam_close(SpSam *sam);

/* Runs the model; with a dry `nn` only memory is counted and `output` is not written (rgb may be
 * NULL). The arenas are back at their height on return. */
SpStatus sp_sam_run(const SpSam *sam, SpNn *nn, const SpSamInput *input, const SpSamOutput *output);

#endif
