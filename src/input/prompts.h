/*
 * What the user points at with --point and --box: which objects there are, and what points at each.
 */
#ifndef SP_INPUT_PROMPTS_H
#define SP_INPUT_PROMPTS_H

#include <stdbool.h>

#include "base/prompt.h"
#include "base/status.h"

/* What a flag that may be repeated was given, in order. */
enum { SP_MAX_TEXTS = 64 };
typedef struct SpTexts {
    const char *item[SP_MAX_TEXTS];
    int64_t count;
} SpTexts;

enum { SP_OBJECT_NAME = 64 };

/* Objects in the order in which points, then boxes first name them; `prompt` points into the arrays
 * below it, so the struct must not move. */
typedef struct SpPrompts {
    int64_t objects;
    bool named;                                  /* whether any prompt carries a name */
    char name[2 * SP_MAX_TEXTS][SP_OBJECT_NAME]; /* "object" for what carries none */
    SpPrompt prompt[2 * SP_MAX_TEXTS];           /* in pixels of the input video */
    double point[2 * SP_MAX_TEXTS];              /* grouped by object */
    int label[SP_MAX_TEXTS];
    double box[4 * SP_MAX_TEXTS];
} SpPrompts;

/* Reads points "[NAME=]X,Y" (on the object) or "[NAME=]X,Y,-" (not on it) and boxes
 * "[NAME=]X0,Y0,X1,Y1". SP_USAGE: malformed, a box without area, a second box for an object, an
 * object with nothing on it, a name that is too long. */
SpStatus sp_prompts_parse(const SpTexts *points, const SpTexts *boxes, SpPrompts *out);

/* What points at each object of a frame of height x width: out[objects], whose boxes are cut to the
 * frame in box [objects, 4]. SP_USAGE when a point lies more than half a pixel outside, or a box
 * misses the frame. */
SpStatus sp_prompts_fit(const SpPrompts *prompts, int64_t height, int64_t width, SpPrompt *out,
                        double *box);

#endif
