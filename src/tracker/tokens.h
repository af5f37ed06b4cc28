/* Tokens of the two streams and their time embedding (src/tracker/README.md, "Tokens"). */
#ifndef SP_TRACKER_TOKENS_H
#define SP_TRACKER_TOKENS_H

#include "tracker/model.h"

/* The time embedding of T frames to host [T, width], from a table of `length` rows
 * (src/tracker/README.md, "Time embedding"). */
void sp_time_embedding(int64_t length, int64_t width, int64_t frames, float *out);

/* The small parts of the tokens of m pairs, device arrays. */
typedef struct SpTokenInputs {
    const float *logits;   /* [m, 2] visibility, confidence */
    const float *motion2;  /* [m, SP_MOTION_2D] */
    const float *motion3;  /* [m, SP_MOTION_3D] */
    const float *rigid;    /* [m, SP_RIGID_CARRY] */
    const float *time;     /* [frames, token_width] time embedding of the pairs' frames */
    int64_t pairs, frames; /* m; frames of a track, which stand one after another */
} SpTokenInputs;

/* Device arrays of m rows. In token and token3 the columns 2 .. 2 + 4 corr_width, of the
 * correlation, are filled already. */
typedef struct SpTokens {
    float *token;     /* [m, token_width] */
    float *token3;    /* [m, token3_width] */
    float *projected; /* [m, token_width] of token3 */
} SpTokens;

/* Fills the other columns, projects the 3D tokens and adds the time embedding. */
void sp_tokens_finish(const SpTracker *tracker, SpNn *nn, const SpTokenInputs *inputs,
                      const SpTokens *tokens);

#endif
