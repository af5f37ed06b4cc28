/* The feature encoder `fnet` (src/tracker/README.md, "Feature encoder"). */
#ifndef SP_TRACKER_ENCODER_H
#define SP_TRACKER_ENCODER_H

#include "nn/nn.h"

enum { SP_ENCODER_STAGES = 4 };

typedef struct SpEncoderBlock {
    SpConvWeights conv1, conv2, skip; /* skip.w.rank 0: the identity */
    int64_t stride;
} SpEncoderBlock;

typedef struct SpEncoder {
    SpConvWeights conv1, conv2, conv3;
    SpEncoderBlock block[SP_ENCODER_STAGES][2];
} SpEncoder;

/* An image, device [h, w, 3] of 0..255, to L2-normalised features, device [h / 4, w / 4, C]. */
void sp_encoder_run(const SpEncoder *encoder, SpNn *nn, const float *image, int64_t h, int64_t w,
                    float *features);

#endif
