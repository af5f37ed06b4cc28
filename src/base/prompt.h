/*
 * What points at one object: what the user gives (input/prompts.h) and what SAM reads (sam/sam.h).
 */
#ifndef SP_BASE_PROMPT_H
#define SP_BASE_PROMPT_H

#include <stdint.h>

/* Points, a box, or both; pixels of the image, (0, 0) the centre of the first one. */
typedef struct SpPrompt {
    int64_t points;
    const double *point; /* [points, 2] x, y */
    const int *label;    /* [points] 1 on the object, 0 on what is not, -1 counts as no point */
    const double *box;   /* [4] x0, y0, x1, y1 or NULL */
} SpPrompt;

#endif
