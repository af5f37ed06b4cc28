/*
 * VGGT4Track: depth, confidence, camera poses and intrinsics from the frames of a clip
 * (src/front/README.md; published as Yuxihenry/SpatialTrackerV2_Front).
 */
#ifndef SP_FRONT_FRONT_H
#define SP_FRONT_FRONT_H

#include "nn/nn.h"
#include "store/checkpoint.h"

/* As published: the width that frames are prepared to, and the side of a patch in pixels. */
enum { SP_FRONT_WIDTH = 518, SP_FRONT_PATCH = 14 };

/* Depths of more confidence than this are used. */
#define SP_FRONT_CONFIDENCE 0.5f

typedef struct SpFront SpFront;

/* T frames of the prepared video (src/media/frame_plan.h). */
typedef struct SpFrontInput {
    int64_t frames, height, width; /* multiples of the patch size */
    const float *video;            /* host [T, 3, H, W], RGB 0..255, unclamped */
    int64_t first;                 /* number of the first frame, for messages */
} SpFrontInput;

/* Host arrays of the caller. */
typedef struct SpFrontOutput {
    float *depth;      /* [T, H, W] */
    float *confidence; /* [T, H, W], 0..1 */
    float *pose_enc;   /* [T, 9] translation, quaternion xyzw, fov_h, fov_w (radians) */
    float *c2w;        /* [T, 4, 4] camera to world */
    float *intrinsics; /* [T, 3, 3] pixels of the H x W frames */
} SpFrontOutput;

/* Binds every tensor of the network, dims from the checkpoint, which must outlive the model.
 * SP_CHECKPOINT naming file and tensor; SP_MEMORY. Release with sp_front_close (NULL allowed). */
SpStatus sp_front_open(SpCheckpoint *checkpoint, SpFront **front);
void sp_front_close(SpFront *front);

/* The width the frames are prepared to (config `img_size`, else SP_FRONT_WIDTH). */
int64_t sp_front_width(const SpFront *front);

/* Pixels of a patch's side; the sides of the frames are multiples of it. */
int64_t sp_front_patch(const SpFront *front);

/* Runs the network; with a dry `nn` only its memory is counted and `output` is not written.
 * The arenas are back at their height on return. SP_INPUT names a frame whose field of view is
 * not positive; otherwise nn->status. */
SpStatus sp_front_run(const SpFront *front, SpNn *nn, const SpFrontInput *input,
                      const SpFrontOutput *output);

#endif
