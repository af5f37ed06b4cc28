/* The update former, from tokens to steps of the state (src/tracker/README.md, "Update former"). */
#ifndef SP_TRACKER_UPDATE_FORMER_H
#define SP_TRACKER_UPDATE_FORMER_H

#include "tracker/block.h"

enum { SP_FORMER_MAX_DEPTH = 8 }; /* of blocks of a kind */

/* Blocks of the 2D stream, its virtual tracks, the 3D stream and its switcher tokens, in the order
 * in which they run. A block's weights are a group of their own. */
typedef struct SpUpdateFormer {
    int first_group, groups;
    int64_t width, depth, virtual_tracks;
    const float *virtual_token; /* host [virtual_tracks, width] */
    SpDense input_transform, flow_head, vis_conf_head, point_head, weight_head, residual_head;
    SpTrackBlock time[SP_FORMER_MAX_DEPTH], time3[SP_FORMER_MAX_DEPTH],
        track_to_switcher[SP_FORMER_MAX_DEPTH], virtual_to_point[SP_FORMER_MAX_DEPTH],
        virtual_to_switcher[SP_FORMER_MAX_DEPTH], switcher_to_virtual[SP_FORMER_MAX_DEPTH],
        virtual_self[SP_FORMER_MAX_DEPTH], switcher_self[SP_FORMER_MAX_DEPTH],
        point_to_virtual[SP_FORMER_MAX_DEPTH], switcher_to_track[SP_FORMER_MAX_DEPTH];
} SpUpdateFormer;

/* Steps of every track in every frame, host [N T, ...]. */
typedef struct SpUpdates {
    float *flow;     /* [.., 2] x, y in units of `stride` model pixels */
    float *vis_conf; /* [.., 2] logits */
    float *point;    /* [.., 4] x, y, z, normalised, and the dynamic logit */
    float *weight;   /* [..] logit */
} SpUpdates;

/* stream2: device [(N + virtual_tracks) T, width], whose last rows are filled here; stream3: device
 * [N T, width]; both are overwritten. */
void sp_update_former_run(const SpUpdateFormer *former, SpNn *nn, int64_t tracks, int64_t frames,
                          float *stream2, float *stream3, const SpUpdates *updates);

#endif
