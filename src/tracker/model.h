/* The tracker's weights and constants (src/tracker/README.md, "Constants"). */
#ifndef SP_TRACKER_MODEL_H
#define SP_TRACKER_MODEL_H

#include "tracker/encoder.h"
#include "tracker/tracker.h"
#include "tracker/update_former.h"

enum {
    SP_CORRELATION_LEVELS = 4,
    SP_MOTION_2D = 4, /* values of a track's motion in its 2D token */
    SP_MOTION_3D = 6, /* in its 3D token */
    SP_RIGID_CARRY = 6,
    SP_DEGREE = 10, /* of the position encoding of motions */
    SP_DEGREE_FINE = 12
};

struct SpTracker {
    int encoder_group, weight_group;                  /* of the encoder; of what has no other */
    int64_t window, overlap, time_length, resolution; /* S, O, L, 336 */
    int64_t model_height, model_width, stride, patch_side, knn, channels, support, iterations;
    int64_t token_width, token3_width, corr_width; /* of the tokens and of one level's features */
    SpEncoder encoder;
    SpMlp corr_mlp, rel_pos_mlp, corr_xyz_mlp, corr_depth_mlp, xyz_mlp, proj_xyz_embed;
    SpTrackBlock cross, aggregate;
    SpDense cross_out;
    SpUpdateFormer former;
};

/* Binds all tensors; the first failure stays in the binder. */
void sp_tracker_bind(SpBinder *binder, SpTrackerMode mode, SpTracker *tracker);

#endif
