/*
 * The front network's parts (docs/model/front.md). Shapes: T frames of H x W, patch grid gh x gw,
 * N = gh gw patches, P = 1 + registers + N tokens a frame, D the width of the token stream.
 * "Device" arrays are arena memory of the SpNn, "host" arrays its host memory.
 */
#ifndef SP_FRONT_INTERNAL_H
#define SP_FRONT_INTERNAL_H

#include "front/front.h"

enum {
    SP_FRONT_TAPS = 4,    /* outputs of the aggregator that the depth head reads */
    SP_FRONT_ENCODING = 9 /* translation, quaternion, two fields of view */
};

/* A transformer block (section 3). q_norm is NULL where there is no q/k norm and no RoPE. */
typedef struct SpBlock {
    int segment; /* of its weights */
    int64_t width, heads, hidden;
    float eps;
    const float *norm1_w, *norm1_b, *norm2_w, *norm2_b;
    const float *q_norm_w, *q_norm_b, *k_norm_w, *k_norm_b;
    SpTensor qkv, proj, fc1, fc2;
    const float *qkv_b, *proj_b, *fc1_b, *fc2_b, *ls1, *ls2;
} SpBlock;

/* Positions of the tokens of a frame for RoPE: device [2, period, 2] as (y, x), twice the same, so
 * that rows from any token of a frame on have them in one piece. */
typedef struct SpPositions {
    const int32_t *yx;
    int64_t period;
    int32_t most;
    float base;
} SpPositions;

typedef struct SpPatchEmbed {
    int segment;             /* of what is not the blocks' */
    int64_t registers, grid; /* side of the stored position table */
    SpConvWeights proj;
    const float *cls_token, *register_tokens, *pos_embed, *norm_w, *norm_b;
    float eps;
    int64_t depth;
    SpBlock *block;
} SpPatchEmbed;

typedef struct SpCameraHead {
    int segment; /* of what is not the blocks' */
    int64_t width, depth, hidden, rounds;
    float eps, adaln_eps;
    const float *token_norm_w, *token_norm_b, *trunk_norm_w, *trunk_norm_b, *empty_pose;
    SpTensor embed_pose, modulation, fc1, fc2;
    const float *embed_pose_b, *modulation_b, *fc1_b, *fc2_b;
    SpBlock *block;
} SpCameraHead;

/* Residual convolution unit: conv2(relu(conv1(relu(x)))) + relu(x). */
typedef struct SpResidualUnit {
    SpConvWeights conv1, conv2;
} SpResidualUnit;

typedef struct SpDepthHead {
    int convolutions, segment; /* segments: what is packed once, and what each frame reads */
    float eps, uv_ratio, uv_base;
    const float *norm_w, *norm_b;
    SpConvWeights project[SP_FRONT_TAPS], layer_rn[SP_FRONT_TAPS];
    SpConvWeights resize[SP_FRONT_TAPS]; /* 0, 1 transposed; 2 unused; 3 strided */
    SpResidualUnit unit1[SP_FRONT_TAPS], unit2[SP_FRONT_TAPS]; /* unit1[3] unused */
    SpConvWeights out_conv[SP_FRONT_TAPS], output1, output2a, output2b;
} SpDepthHead;

struct SpFront {
    const SpCheckpoint *checkpoint;
    int64_t image_size, patch, width, heads, depth; /* depth: pairs of frame and global blocks */
    int64_t registers, taps[SP_FRONT_TAPS];
    float rope_base;
    const float *camera_token, *register_token; /* [2, 1, D], [2, registers, D] */
    SpBlock *frame_block, *global_block;
    SpPatchEmbed embed;
    SpCameraHead camera;
    SpDepthHead dpt;
};

/* The sizes of a run. */
typedef struct SpFrontDims {
    int64_t frames, height, width, gh, gw, patches, tokens;
} SpFrontDims;
SpFrontDims sp_front_dims(const SpFront *front, int64_t frames, int64_t height, int64_t width);

/* Binds `.../blocks.i.` = prefix of width `width`. */
void sp_block_bind(SpBinder *binder, const char *prefix, int64_t width, int64_t heads, float eps,
                   SpBlock *block);

/* Binds every part of the network into `front`, whose arrays it allocates (sp_front_close frees
 * them); failures stay in the binder. front/bind.c */
void sp_front_bind(SpBinder *binder, SpFront *front);

/* One block in place on x: device [sequences, length, width]; attention runs inside a sequence.
 * positions NULL: no RoPE. */
void sp_block_run(SpNn *nn, const SpBlock *block, float *x, int64_t sequences, int64_t length,
                  const SpPositions *positions);

/* Host rgb 0..255 [3, H, W] to (v / 255 - mean) / std as host [H, W, 3] (section 1). */
void sp_front_normalise(const float *rgb, int64_t height, int64_t width, float *out);

/* The position table [1 + grid^2, D] for a gh x gw grid as host [1 + gh gw, D], class element
 * first: bicubic with antialias, a = -0.5 (section 2, frames.md section 6). */
void sp_position_embedding(const float *table, int64_t grid, int64_t gh, int64_t gw, int64_t width,
                           float *out);

/* Half an embedding of section 7's UV: host [count, half] for positions evenly from -most to most
 * (most = span (count - 1) / count): first half / 2 columns sines, then cosines, times ratio. */
void sp_uv_axis(int64_t count, double span, int64_t half, double base, double ratio, float *out);

/* `count` frames through the patch embedding (section 2): video as in SpFrontInput; x: device
 * [count, 1 + registers + N, D], then normalised patch tokens to tokens: device [count, P, D] from
 * row P - N of each frame on. `special`: device [1 + registers, D]; `position`: device [N, D]. */
typedef struct SpEmbedRun {
    const float *special, *position; /* device, made by sp_patch_embed_begin */
} SpEmbedRun;
SpEmbedRun sp_patch_embed_begin(const SpFront *front, SpNn *nn, const SpFrontDims *dims);
void sp_patch_embed_tokens(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                           const SpEmbedRun *run, const float *video, int64_t count, float *x);
void sp_patch_embed_frames(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                           const float *video, int64_t count, float *tokens);

/* Positions (section 3) of a frame's tokens. */
SpPositions sp_front_positions(const SpFront *front, SpNn *nn, const SpFrontDims *dims);

/* What the heads need of the aggregator: taps[k] [2, T, N, D] (frame half, global half) of output
 * `front->taps[k]`, on the device or the host as the plan says, camera host [T, 2 D] token 0 of the
 * last output. */
typedef struct SpFrontFeatures {
    float *tap[SP_FRONT_TAPS], *camera;
} SpFrontFeatures;
void sp_aggregator_run(const SpFront *front, SpNn *nn, const SpFrontDims *dims, const float *video,
                       const SpFrontFeatures *features);

/* Section 5: tokens host [T, 2 D] to the pose encoding host [T, 9] (fields of view clamped at 0).
 * delta, poses: host [rounds, T, 9] of every round, or NULL. */
void sp_camera_head_run(const SpFront *front, SpNn *nn, int64_t frames, const float *tokens,
                        float *encoding, float *deltas, float *poses);

/* Weights of the depth head's convolutions in the device's order, taken from the arena. */
typedef struct SpPackedUnit {
    float *conv1, *conv2;
} SpPackedUnit;
typedef struct SpPackedDepthHead {
    float *project[SP_FRONT_TAPS], *layer_rn[SP_FRONT_TAPS], *resize[SP_FRONT_TAPS];
    SpPackedUnit unit1[SP_FRONT_TAPS], unit2[SP_FRONT_TAPS];
    float *out_conv[SP_FRONT_TAPS], *output1, *output2a, *output2b;
} SpPackedDepthHead;
SpPackedDepthHead sp_depth_head_pack(const SpFront *front, SpNn *nn);

/* A residual unit in place on x: device [h, w, c]. */
void sp_residual_unit_run(SpNn *nn, const SpResidualUnit *unit, const SpPackedUnit *packed,
                          int64_t h, int64_t w, float *x);

/* Adds UV(h, w) of section 7 to x: device [h, w, c]; `dims` tells the image's aspect. */
void sp_uv_add(const SpFront *front, SpNn *nn, const SpFrontDims *dims, int64_t h, int64_t w,
               int64_t c, float *x);

/* One frame through the depth head: tap[k] as in SpFrontFeatures, planes of [N, D] `plane` floats
 * apart; depth, confidence host [H, W]. */
void sp_depth_head_frame(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                         const SpPackedDepthHead *packed, const float *const tap[SP_FRONT_TAPS],
                         int64_t plane, float *depth, float *confidence);

#endif
