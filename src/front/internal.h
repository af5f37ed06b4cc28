/*
 * The front network's parts (src/front/README.md). Shapes: T frames of H x W, patch grid gh x gw,
 * N = gh gw patches, P = 1 + registers + N tokens a frame, D the width of the token stream.
 * "Device" arrays are arena memory of the SpNn, "host" arrays its host memory.
 */
#ifndef SP_FRONT_INTERNAL_H
#define SP_FRONT_INTERNAL_H

#include "front/front.h"
#include "nn/layers.h"

enum {
    SP_FRONT_TAPS = 4,    /* outputs of the aggregator that the depth head reads */
    SP_FRONT_ENCODING = 9 /* translation, quaternion, two fields of view */
};

/* src/front/README.md, "The transformer block". q_norm.w is NULL where there is no q/k norm. */
typedef struct SpBlock {
    int weight_group;
    int64_t width, heads;
    SpNorm norm1, norm2, q_norm, k_norm;
    SpDense qkv, proj;
    SpMlp mlp;
    const float *ls1, *ls2;
} SpBlock;

/* Positions of the tokens of a frame for RoPE: device [2, period, 2] as (y, x), twice the same, so
 * that rows from any token of a frame on have them in one piece. */
typedef struct SpPositions {
    const int32_t *yx;
    int64_t period;
    int32_t max;
    float base;
} SpPositions;

typedef struct SpPatchEmbed {
    int weight_group;        /* of what is not the blocks' */
    int64_t registers, grid; /* side of the stored position table */
    SpConvWeights proj;
    const float *cls_token, *register_tokens, *pos_embed;
    SpNorm norm;
    int64_t depth;
    SpBlock *block;
} SpPatchEmbed;

typedef struct SpCameraHead {
    int weight_group; /* of what is not the blocks' */
    int64_t width, depth, rounds;
    SpNorm token_norm, trunk_norm, adaptive_norm; /* the last one without weights */
    const float *empty_pose;
    SpDense embed_pose, modulation;
    SpMlp pose_branch;
    SpBlock *block;
} SpCameraHead;

/* Residual convolution unit: conv2(relu(conv1(relu(x)))) + relu(x). */
typedef struct SpResidualUnit {
    SpConvWeights conv1, conv2;
} SpResidualUnit;

/* The tables of an UV embedding, device [w, c / 2] and [h, c / 2]. */
typedef struct SpUvTables {
    const float *u, *v;
} SpUvTables;

enum { SP_DEPTH_CONVOLUTIONS = 8 * SP_FRONT_TAPS + 3 };
typedef struct SpDepthHead {
    int convolutions, weight_group; /* groups: what is packed once, what each frame reads */
    float uv_ratio, uv_base;
    SpUvTables uv[SP_FRONT_TAPS], uv_full; /* of a clip's size */
    SpNorm norm;
    union {
        SpConvWeights all[SP_DEPTH_CONVOLUTIONS]; /* an unused one is of rank 0 */
        struct {
            SpConvWeights project[SP_FRONT_TAPS], layer_rn[SP_FRONT_TAPS];
            SpConvWeights resize[SP_FRONT_TAPS]; /* 0, 1 transposed; 2 unused; 3 strided */
            SpResidualUnit unit1[SP_FRONT_TAPS], unit2[SP_FRONT_TAPS]; /* unit1[3] unused */
            SpConvWeights out_conv[SP_FRONT_TAPS], output1, output2a, output2b;
        };
    };
} SpDepthHead;

struct SpFront {
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

/* Binds every part of the network into `front`, whose arrays it allocates (sp_front_close frees
 * them); failures stay in the binder. front/bind.c */
void sp_front_bind(SpBinder *binder, SpFront *front);

/* One block in place on x: device [sequences, length, width]; attention runs inside a sequence.
 * positions NULL: no RoPE. */
void sp_block_run(SpNn *nn, const SpBlock *block, float *x, int64_t sequences, int64_t length,
                  const SpPositions *positions);

/* The position table [1 + grid^2, D] for a gh x gw grid as host [1 + gh gw, D], class element
 * first: bicubic with antialias (src/front/README.md, "Position embedding"). */
void sp_position_embedding(const float *table, int64_t grid, int64_t gh, int64_t gw, int64_t width,
                           float *out);

/* The frames, as in SpFrontInput, through the patch embedding to device tokens [T, P, D]: from row
 * P - N of each frame on (src/front/README.md, "Patch embedding"). */
void sp_patch_embed_run(const SpFront *front, SpNn *nn, const SpFrontDims *dims, const float *video,
                        float *tokens);

/* Positions of a frame's tokens (src/front/README.md, "RoPE"). */
SpPositions sp_front_positions(const SpFront *front, SpNn *nn, const SpFrontDims *dims);

/* What the heads need of the aggregator: taps[k] [2, T, N, D] (frame half, global half) of output
 * `front->taps[k]`, on the device or the host as the plan says, camera host [T, 2 D] token 0 of the
 * last output. */
typedef struct SpFrontFeatures {
    float *tap[SP_FRONT_TAPS], *camera;
} SpFrontFeatures;
void sp_aggregator_run(const SpFront *front, SpNn *nn, const SpFrontDims *dims, const float *video,
                       const SpFrontFeatures *features);

/* Tokens host [T, 2 D] to the pose encoding host [T, 9], fields of view clamped at 0
 * (src/front/README.md, "Camera head"). */
void sp_camera_head_run(const SpFront *front, SpNn *nn, int64_t frames, const float *tokens,
                        float *encoding);

/* The depth head for frames of `dims`: its convolutions packed and its UV embeddings computed, in
 * arena memory. */
SpDepthHead sp_depth_head_pack(const SpFront *front, SpNn *nn, const SpFrontDims *dims);

/* A residual unit of packed convolutions in place on x. */
void sp_residual_unit_run(SpNn *nn, const SpResidualUnit *unit, SpFeatureMap x);

/* UV(h, w) of c channels (src/front/README.md, "UV embedding") in arena memory; the image's aspect
 * is that of `dims`. */
SpUvTables sp_uv_tables(const SpFront *front, SpNn *nn, const SpFrontDims *dims, int64_t h,
                        int64_t w, int64_t c);

/* Adds it to x. */
void sp_uv_add(SpNn *nn, SpUvTables uv, SpFeatureMap x);

/* How many frames go through the depth head together. */
int64_t sp_depth_head_frames(const SpNn *nn, const SpFrontDims *dims);

/* Frames that go through the depth head together. */
typedef struct SpDepthFrames {
    int64_t count;
    const float *tap[SP_FRONT_TAPS]; /* the first one's part of SpFrontFeatures' */
    float *depth, *confidence;       /* host [count, H, W]; NULL in a dry run */
} SpDepthFrames;

/* Frames of `dims` through the packed depth head; their maps are there once the device's status has
 * been asked for. */
void sp_depth_head_run(const SpFront *front, SpNn *nn, const SpFrontDims *dims,
                       const SpDepthHead *head, const SpDepthFrames *frames);

#endif
