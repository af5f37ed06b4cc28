/*
 * SAM's parts (docs/model/sam.md). Shapes: model image S x S, token grid G x G, vision width C,
 * decoder width D, low resolution masks 4G x 4G. "Device" arrays are arena memory of the SpNn,
 * "host" arrays its host memory; maps are channels-last.
 */
#ifndef SP_SAM_INTERNAL_H
#define SP_SAM_INTERNAL_H

#include "sam/sam.h"

enum {
    SP_SAM_MASKS = 4,  /* the single mask, then the three of an ambiguous prompt */
    SP_SAM_BLOCKS = 8, /* at most so many decoder blocks, */
    SP_SAM_DEPTH = 8,  /* and hidden layers of a head */
    SP_SAM_CORNERS = 4 /* point embeddings: background, object, first and second corner */
};

typedef struct SpSamDense {
    SpTensor w; /* [out, in] */
    const float *b;
} SpSamDense;

typedef struct SpSamNorm {
    const float *w, *b;
} SpSamNorm;

/* One layer of the vision encoder (section 4). */
typedef struct SpSamLayer {
    int segment;                /* of its weights */
    int64_t width, heads, side; /* of a window; G in a global layer */
    SpSamNorm norm1, norm2;
    SpSamDense qkv, proj, lin1, lin2;
    const float *rows, *columns; /* [2 side - 1, width / heads] relative positions */
} SpSamLayer;

typedef struct SpSamVision {
    int segment; /* of what is not the layers' */
    int64_t width, patch, grid, layers;
    SpConvWeights embed; /* [C, 3, patch, patch] */
    const float *positions;
    SpSamLayer *layer;
    SpTensor neck1;      /* [D, C, 1, 1] */
    SpConvWeights neck2; /* [D, D, 3, 3] */
    SpSamNorm neck_norm1, neck_norm2;
} SpSamVision;

typedef struct SpSamPromptEncoder {
    const float *gauss; /* [2, D / 2] */
    const float *corner[SP_SAM_CORNERS], *no_point, *no_mask;
} SpSamPromptEncoder;

typedef struct SpSamAttention {
    SpSamDense q, k, v, out;
} SpSamAttention;

typedef struct SpSamBlock {
    SpSamAttention self, to_image, to_tokens;
    SpSamDense lin1, lin2;
    SpSamNorm norm[4];
} SpSamBlock;

/* proj_in, ReLU, layers with ReLU, proj_out. */
typedef struct SpSamHead {
    int64_t depth;
    SpSamDense in, layer[SP_SAM_DEPTH], out;
} SpSamHead;

typedef struct SpSamDecoder {
    int segment;
    int64_t heads, blocks;
    const float *iou_token, *mask_tokens;
    SpSamBlock block[SP_SAM_BLOCKS];
    SpSamAttention final;
    SpSamNorm final_norm, up_norm;
    SpSamDense up1, up2; /* transposed convolutions [in, out, 2, 2] */
    SpSamHead hyper[SP_SAM_MASKS], iou;
} SpSamDecoder;

struct SpSam {
    int64_t side, width; /* S, D */
    double zoom;         /* of the view around a box; 0: it sees whole pictures */
    int looks;        /* around a point, each half as wide as the one before, from the whole on */
    double threshold; /* logits above it are the object's; 0 but in a lite model */
    SpSamVision vision;
    SpSamPromptEncoder prompt;
    SpSamDecoder decoder;
};

/* Binds every part into `sam`, whose arrays it allocates (sp_sam_close frees them); failures stay
 * in the binder. sam/bind.c */
void sp_sam_bind(SpBinder *binder, SpSam *sam);

/* A square of a picture, which may reach beyond it: first column and row, side; pixels. Mirrored it
 * is shown with left and right changed. */
typedef struct SpSamCrop {
    int64_t x, y, side;
    bool mirrored;
} SpSamCrop;

/* The sizes of a picture on its way: as given, as prompts are placed on it (section 3.1), and as
 * the model sees it in the top left of its square (3.2). Or what a lite model is shown of it. */
typedef struct SpSamSizes {
    int64_t height, width;
    int64_t frame_height, frame_width;
    int64_t model_height, model_width;
    SpSamCrop view; /* of side 0: none */
} SpSamSizes;
SpSamSizes sp_sam_sizes(const SpSam *sam, int64_t height, int64_t width, int64_t short_side);

/* OpenCV's byte bilinear (section 3.1), bit for bit: rgb [h, w, 3] to out [ho, wo, 3]. */
void sp_sam_resize_frame(SpNn *nn, const uint8_t *rgb, int64_t h, int64_t w, uint8_t *out,
                         int64_t ho, int64_t wo);

/* The byte bilinear with antialias of section 3.2, bit for bit, likewise. */
void sp_sam_resize_model(SpNn *nn, const uint8_t *rgb, int64_t h, int64_t w, uint8_t *out,
                         int64_t ho, int64_t wo);

/* Section 3.3: rgb [h, w, 3] to host [side, side, 3], zeros right and below. */
void sp_sam_normalise(const uint8_t *rgb, int64_t h, int64_t w, int64_t side, float *out);

/* The same for one pixel's colour of 0..255: out [3]. */
void sp_sam_normalise_pixel(const double colour[3], float *out);

/* The view around box x0, y0, x1, y1 (its first and last pixels): `zoom` of its longer side. */
SpSamCrop sp_sam_crop_around(const double box[4], double zoom);

/* Pixel x, y of the picture (0: the first one's centre) on the model image. */
void sp_sam_crop_point(const SpSam *sam, const SpSamCrop *view, const double from[2], double to[2]);

/* rgb [height, width, 3] of `sizes` in its view to normalised host [S, S, 3], zeros where the view
 * is beyond the picture. A shrunk one averages areas, a grown one is bilinear. sam/view.c */
void sp_sam_crop_image(const SpSam *sam, const SpSamSizes *sizes, const uint8_t *rgb, float *out);

/* low [4G, 4G] of the view, which is not mirrored, to the picture, bilinear: where that is above
 * the threshold and host mask [height, width] (NULL: not wanted) is 0, it becomes `value`. Whether
 * there are such pixels, and their first and last columns and rows in `box` x0, y0, x1, y1. */
bool sp_sam_crop_mask(const SpSam *sam, const SpSamSizes *sizes, const float *low, uint8_t value,
                      uint8_t *mask, double box[4]);

/* Section 3 whole, or the view: the picture to host [S, S, 3]. */
void sp_sam_picture(const SpSam *sam, SpNn *nn, const SpSamSizes *sizes, const uint8_t *rgb,
                    float *out);

/* Section 4.1: host picture [S, S, 3] to device x [G, G, C]. */
void sp_sam_embed(const SpSam *sam, SpNn *nn, const float *picture, float *x);

/* The attention of a layer behind its norm, y = residual + proj(...): x, y, residual (NULL: none)
 * device [G, G, C]; y may be residual or x. */
void sp_sam_layer_attention(SpNn *nn, const SpSamLayer *layer, int64_t grid, const float *x,
                            const float *residual, float *y);

/* One layer in place on device x [G, G, C]. */
void sp_sam_layer_run(SpNn *nn, const SpSamLayer *layer, int64_t grid, float *x);

/* Section 4.3: device x [G, G, C] to embedding [G, G, D]. */
void sp_sam_neck(const SpSam *sam, SpNn *nn, const float *x, float *embedding);

/* Section 4 whole: host picture [S, S, 3] to device embedding [G, G, D]. */
void sp_sam_encode(const SpSam *sam, SpNn *nn, const float *picture, float *embedding);

/* Section 5.2's tokens of a prompt, whose pixels here are the model image's before "+ 0.5":
 * how many, and into host out [count, D]. */
int64_t sp_sam_sparse_count(const SpPrompt *prompt);
void sp_sam_sparse(const SpSam *sam, const SpPrompt *prompt, float *out);

/* Section 5.3's position map into host out [G, G, D]. */
void sp_sam_image_position(const SpSam *sam, float *out);

/* The two-way transformer's state (section 6); device arrays. */
typedef struct SpSamTwoWay {
    int64_t tokens, pixels;
    const float *position; /* [pixels, D] of the image */
    float *start;          /* [tokens, D]: also the tokens' position term */
    float *t, *z;          /* [tokens, D], [pixels, D] */
} SpSamTwoWay;
SpSamTwoWay sp_sam_two_way_begin(const SpSam *sam, SpNn *nn, const float *embedding,
                                 const float *position, const float *sparse, int64_t count);
void sp_sam_two_way_block(const SpSam *sam, SpNn *nn, int64_t index, const SpSamTwoWay *state);
void sp_sam_two_way_end(const SpSam *sam, SpNn *nn, const SpSamTwoWay *state);

/* z device [G, G, D] to device out [4G, 4G, U]; U: sp_sam_upscaled_width. */
int64_t sp_sam_upscaled_width(const SpSam *sam);
void sp_sam_upscale(const SpSam *sam, SpNn *nn, const float *z, float *out);

/* Final tokens device [tokens, D] to device out [4, U]. */
void sp_sam_hyper(const SpSam *sam, SpNn *nn, const float *t, float *out);

/* Section 6 whole: embedding, position device [G, G, D], sparse host [count, D], to host masks
 * [4, 4G, 4G] and iou [4], of which the first belong to the single mask. */
void sp_sam_decode(const SpSam *sam, SpNn *nn, const float *embedding, const float *position,
                   const float *sparse, int64_t count, float *masks, float *iou);

/* Section 7 without a view: low [4G, 4G] to logits (NULL: not wanted), host [height, width]; where
 * they are above 0 and host mask [height, width] is 0, it becomes `value`. */
void sp_sam_postprocess(const SpSam *sam, SpNn *nn, const SpSamSizes *sizes, const float *low,
                        float *logits, uint8_t value, uint8_t *mask);

#endif
