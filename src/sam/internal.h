/*
 * SAM's parts (src/sam/README.md). Shapes: model image S x S, token grid G x G, vision width C,
 * decoder width D, low resolution masks 4G x 4G. "Device" arrays are arena memory of the SpNn,
 * "host" arrays its host memory; maps are channels-last.
 */
#ifndef SP_SAM_INTERNAL_H
#define SP_SAM_INTERNAL_H

#include "nn/imagenet.h"
#include "nn/layers.h"
#include "sam/sam.h"

enum {
    SP_SAM_MASKS = 4,  /* the single mask, then the three of an ambiguous prompt */
    SP_SAM_BLOCKS = 8, /* at most so many decoder blocks, */
    SP_SAM_DEPTH = 8,  /* and hidden layers of a head */
    SP_SAM_CORNERS = 4 /* point embeddings: background, object, first and second corner */
};

/* One layer of the vision encoder (src/sam/README.md, "Vision encoder"). */
typedef struct SpSamLayer {
    int weight_group;
    int64_t width, heads, side; /* of a window; G in a global layer */
    SpNorm norm1, norm2;
    SpDense qkv, proj;
    SpMlp mlp;
    const float *rel_pos_h, *rel_pos_w; /* [2 side - 1, width / heads] relative positions */
} SpSamLayer;

typedef struct SpSamVision {
    int weight_group; /* of what is not the layers' */
    int64_t width, patch, grid, layers;
    SpConvWeights embed; /* [C, 3, patch, patch] */
    const float *positions;
    SpSamLayer *layer;
    SpDense neck1;       /* [D, C], a convolution of 1 x 1 */
    SpConvWeights neck2; /* [D, D, 3, 3] */
    SpNorm neck_norm1, neck_norm2;
} SpSamVision;

typedef struct SpSamPromptEncoder {
    const float *gauss; /* [2, D / 2] */
    const float *corner[SP_SAM_CORNERS], *no_point, *no_mask;
} SpSamPromptEncoder;

typedef struct SpSamAttention {
    SpDense q, k, v, out;
} SpSamAttention;

typedef struct SpSamBlock {
    SpSamAttention self, to_image, to_tokens;
    SpMlp mlp;
    SpNorm norm[4];
} SpSamBlock;

/* proj_in, ReLU, layers with ReLU, proj_out. */
typedef struct SpSamHead {
    int64_t depth;
    SpDense in, layer[SP_SAM_DEPTH], out;
} SpSamHead;

typedef struct SpSamDecoder {
    int weight_group;
    int64_t heads, blocks;
    const float *iou_token, *mask_tokens;
    SpSamBlock block[SP_SAM_BLOCKS];
    SpSamAttention final;
    SpNorm final_norm, up_norm;
    SpConvWeights up1, up2; /* transposed, [in, out, 2, 2] */
    SpSamHead hyper[SP_SAM_MASKS], iou;
} SpSamDecoder;

struct SpSam {
    int64_t side, width; /* S, D */
    double crop_scale;   /* of the crop around a box; 0: the model sees whole images */
    int crops;        /* around a point, each half as wide as the one before, from the whole on */
    double threshold; /* logits above it are the object's; 0 but in a lite model */
    SpSamVision vision;
    SpSamPromptEncoder prompt;
    SpSamDecoder decoder;
};

/* Binds every part into `sam`, whose arrays it allocates (sp_sam_close frees them); failures stay
 * in the binder. sam/bind.c */
void sp_sam_bind(SpBinder *binder, SpSam *sam);

/* A square of an image, which may reach beyond it: first column and row, side; pixels. A mirrored
 * one is flipped left to right. */
typedef struct SpSamCrop {
    int64_t x, y, side;
    bool mirrored;
} SpSamCrop;

/* The sizes of an image on its way: as it comes, as prompts are placed on it ("The prompt frame"),
 * and as the model sees it in the top left of its square ("Longest side to S"). Or the crop that a
 * lite model sees of it. */
typedef struct SpSamSizes {
    int64_t height, width;
    int64_t frame_height, frame_width;
    int64_t model_height, model_width;
    SpSamCrop crop; /* of side 0: none */
} SpSamSizes;
SpSamSizes sp_sam_sizes(const SpSam *sam, int64_t height, int64_t width, int64_t short_side);

/* OpenCV's byte bilinear (src/sam/README.md, "The prompt frame"), bit for bit: rgb [h, w, 3] to out
 * [ho, wo, 3]. */
void sp_sam_resize_frame(SpNn *nn, const uint8_t *rgb, int64_t h, int64_t w, uint8_t *out,
                         int64_t ho, int64_t wo);

/* The byte bilinear with antialias (src/sam/README.md, "Longest side to S"), bit for bit,
 * likewise. */
void sp_sam_resize_model(SpNn *nn, const uint8_t *rgb, int64_t h, int64_t w, uint8_t *out,
                         int64_t ho, int64_t wo);

/* rgb [h, w, 3] to host [side, side, 3], zeros right and below
 * (src/sam/README.md, "Normalise and pad"). */
void sp_sam_normalise(const uint8_t *rgb, int64_t h, int64_t w, int64_t side, float *out);

/* The same for one pixel's colour of 0..255: out [3]. */
static inline void sp_sam_normalise_pixel(const double colour[3], float *out)
{
    static const float mean[3] = SP_IMAGENET_MEAN(255), deviation[3] = SP_IMAGENET_DEVIATION(255);
    for (int c = 0; c < 3; c++)
        out[c] = ((float)colour[c] - mean[c]) / deviation[c];
}

/* The crop around box x0, y0, x1, y1 (its first and last pixels): `scale` of its longer side
 * (src/sam/README.md, "Crops"). */
SpSamCrop sp_sam_crop_around(const double box[4], double scale);

/* Pixel x, y of the image (0: the first one's centre) on the model image. */
void sp_sam_crop_point(const SpSam *sam, const SpSamCrop *crop, const double from[2], double to[2]);

/* The crop of rgb [height, width, 3] of `sizes` to normalised host [S, S, 3], zeros where it is
 * beyond the image. A shrunk one averages areas, a grown one is bilinear. */
void sp_sam_crop_image(const SpSam *sam, const SpSamSizes *sizes, const uint8_t *rgb, float *out);

/* low [4G, 4G] of the crop, which is not mirrored, to the image, bilinear: where that is above the
 * threshold and host mask [height, width] (NULL: not wanted) is 0, it becomes `value`. Whether
 * there are such pixels, and their first and last columns and rows in `box` x0, y0, x1, y1. */
bool sp_sam_crop_mask(const SpSam *sam, const SpSamSizes *sizes, const float *low, uint8_t value,
                      uint8_t *mask, double box[4]);

/* The image, whole or its crop, as the model sees it: host [S, S, 3]
 * (src/sam/README.md, "Preparing the picture"). */
void sp_sam_model_image(const SpSam *sam, SpNn *nn, const SpSamSizes *sizes, const uint8_t *rgb,
                        float *out);

/* The attention of a layer, x += proj(...): device [G, G, C]; qkv: the packed q, k and v of its
 * norm, device [G, G, 3 C], which it overwrites. */
void sp_sam_layer_attention(SpNn *nn, const SpSamLayer *layer, int64_t grid, float *qkv, float *x);

/* One layer in place on device x [G, G, C]. */
void sp_sam_layer_run(SpNn *nn, const SpSamLayer *layer, int64_t grid, float *x);

/* src/sam/README.md, "Vision encoder": host image [S, S, 3] to device embedding [G, G, D]. */
void sp_sam_encode(const SpSam *sam, SpNn *nn, const float *image, float *embedding);

/* A prompt's tokens (src/sam/README.md, "Sparse tokens"), whose pixels here are the model image's
 * before "+ 0.5": how many, and into host out [count, D]. */
int64_t sp_sam_sparse_count(const SpPrompt *prompt);
void sp_sam_sparse(const SpSam *sam, const SpPrompt *prompt, float *out);

/* The position map into host out [G, G, D]
 * (src/sam/README.md, "Dense prompt and image positions"). */
void sp_sam_image_position(const SpSam *sam, float *out);

/* What the mask decoder reads. */
typedef struct SpSamDecoding {
    const float *embedding, *position; /* device [G, G, D] */
    const float *sparse;               /* host [count, D] */
    int64_t count;
} SpSamDecoding;

/* src/sam/README.md, "Mask decoder": host masks [4, 4G, 4G] and iou [4], of which the first belong
 * to the single mask. */
void sp_sam_decode(const SpSam *sam, SpNn *nn, const SpSamDecoding *in, float *masks, float *iou);

/* low [4G, 4G] of a whole image to its pixels (src/sam/README.md, "Back to pixels"): where they are
 * above the threshold and host mask [height, width] is 0, it becomes `value`. */
void sp_sam_postprocess(const SpSam *sam, SpNn *nn, const SpSamSizes *sizes, const float *low,
                        uint8_t value, uint8_t *mask);

#endif
