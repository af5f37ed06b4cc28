/*
 * The transformer blocks of the update former and the 3D correlation: x += attention, then
 * x += mlp (src/tracker/README.md, "Update former"). Rows stand track by track: n * T + t.
 */
#ifndef SP_TRACKER_BLOCK_H
#define SP_TRACKER_BLOCK_H

#include "nn/layers.h"

typedef struct SpTrackBlock {
    int weight_group;
    int64_t width, heads;
    SpNorm norm, context_norm;   /* before attention and MLP; of a cross block's context */
    SpDense to_q, to_kv, to_out; /* to_kv: k first, then v */
    SpMlp mlp;
} SpTrackBlock;

/* A self block in place on x: device [tracks T, width]. Each track attends over its frames, or the
 * tracks of each frame over each other. */
typedef enum SpAttentionAxis { SP_OVER_TIME, SP_OVER_TRACKS } SpAttentionAxis;
void sp_track_self(SpNn *nn, const SpTrackBlock *block, float *x, int64_t tracks, int64_t frames,
                   SpAttentionAxis axis);

/* A cross block in place: the rows of each frame of x [tracks T, width] attend to those of the
 * same frame of context [others T, width]. */
void sp_track_cross(SpNn *nn, const SpTrackBlock *block, float *x, int64_t tracks,
                    const float *context, int64_t others, int64_t frames);

#endif
