/*
 * A patch of one frame found in another: the affine warp, gain and offset that make them agree
 * best, by the inverse compositional method (Baker and Matthews, "Lucas-Kanade 20 Years On", 2004);
 * gain and offset are projected out (Hager and Belhumeur 1998).
 */
#ifndef SP_REFINE_ALIGN_H
#define SP_REFINE_ALIGN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SP_WINDOW = 21,         /* pixels a side that are compared */
    SP_CUT = SP_WINDOW + 2, /* with what its gradient needs */
    SP_WINDOW_PIXELS = SP_WINDOW * SP_WINDOW,
    SP_WINDOW_PADDED = (SP_WINDOW_PIXELS + 31) / 32 * 32, /* a window's arrays: then zeros */
    SP_WARP_PARAMETERS = 6
};

/* From a patch's pixel u, counted from its middle, to pixel a u + (x, y) of an image. */
typedef struct SpWarp {
    float a[4]; /* row-major */
    float x, y;
} SpWarp;

/* An image of one level, [height, width]. */
typedef struct SpGray {
    const float *pixel;
    int64_t height, width;
} SpGray;

/* A patch ready to be found, and what its pixels weigh: a Gaussian about the middle. */
typedef struct SpTemplate {
    int parameters; /* 2: only moved; 6: affine */
    float weight[SP_WINDOW_PADDED];
    float value[SP_WINDOW_PADDED];                       /* weighted, less the mean */
    float descent[SP_WARP_PARAMETERS][SP_WINDOW_PADDED]; /* weighted; gain and offset taken out */
    double hessian[SP_WARP_PARAMETERS][SP_WARP_PARAMETERS];
    double total, energy; /* sum of the weights; of the weighted squares */
} SpTemplate;

/* How well a patch and an image agree at a warp. */
typedef struct SpFit {
    float correlation; /* normalised, -1..1 */
    float sigma;       /* standard deviation of x, y in pixels of the image, one axis */
} SpFit;

/* Cuts out a patch around x, y: [SP_CUT, SP_CUT] bytes. */
void sp_patch_cut(SpGray image, float x, float y, uint8_t *cut);

/* Makes a template of a patch; `trust` [SP_WINDOW_PIXELS] multiplies the weights, NULL: nothing
 * does. False where it has too little texture to be found. */
bool sp_template_make(const uint8_t *cut, int parameters, const float *trust, SpTemplate *out);

/* How far each of the patch's pixels agrees with the image at a warp, 0..1, after Geman and McClure
 * (1987): what covers the point, or moves otherwise, gets little. Returns their mean. */
float sp_align_trust(const SpTemplate *template, SpGray image, const SpWarp *warp, float *trust);

/* Where the patch is expected, and how surely: the standard deviation of x and of y, pixels. */
typedef struct SpPrior {
    float x, y, sigma;
} SpPrior;

/* Improves `warp` by at most `iterations` steps. False where it leads nowhere. */
bool sp_align(const SpTemplate *template, SpGray image, const SpPrior *prior, int iterations,
              SpWarp *warp);

/* How well they agree. */
SpFit sp_align_fit(const SpTemplate *template, SpGray image, const SpWarp *warp);

#endif
