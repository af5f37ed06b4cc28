/*
 * The tracker's parts (docs/model/tracker.md). Shapes: a window of T frames, N tracks in it (the
 * user's first), C feature channels, D the transformer's width. Host state is ordered frame by
 * frame: [T, N, ...]; rows of the transformer track by track: n * T + t; pairs of track and frame
 * by chunks of SP_TRACK_FRAMES frames, in each track by track (sp_pair_at).
 */
#ifndef SP_TRACKER_INTERNAL_H
#define SP_TRACKER_INTERNAL_H

#include <math.h>

#include "tracker/tracker.h"

enum {
    SP_TRACK_LEVELS = 4,
    SP_TRACK_STAGES = 4, /* of the feature encoder */
    SP_TRACK_DEPTH = 8,  /* most blocks of a kind in the update former */
    SP_MOTION = 4,       /* values that encode a 2D motion */
    SP_MOTION3 = 6,
    SP_CARRY = 6,
    SP_DEGREE = 10, /* of the position encodings of motions */
    SP_DEGREE_FINE = 12,
    /* Frames whose maps are on the device and whose tokens are made together. It and all less
     * divide SP_ROW_TILE, so tracks can be cut anywhere at whole tiles of rows. The order of rows
     * does not depend on the plan, or their bits would. */
    SP_TRACK_FRAMES = 4
};

typedef struct SpDense {
    SpTensor w;
    const float *b;
} SpDense;

typedef struct SpMlp {
    SpDense fc1, fc2;
} SpMlp;

/* A transformer block of tracker.md section 5; context_w NULL: self-attention. */
typedef struct SpTrackBlock {
    int segment; /* of its weights; the tracker's own for those of the 3D branch */
    int64_t width, heads;
    const float *context_w, *context_b;
    SpDense to_q, to_kv, to_out;
    SpMlp mlp;
} SpTrackBlock;

typedef struct SpEncoderBlock {
    SpConvWeights conv1, conv2, skip; /* skip.w.rank 0: the identity */
    int64_t stride;
} SpEncoderBlock;

typedef struct SpEncoder {
    SpConvWeights conv1, conv2, conv3;
    SpEncoderBlock block[SP_TRACK_STAGES][2];
} SpEncoder;

typedef struct SpUpdateFormer {
    int first_segment, segments; /* of the blocks, in the order in which they run */
    int64_t depth, virtual_tracks;
    const float *virtual_token; /* [64, D] */
    SpDense input_transform, flow_head, vis_conf_head, point_head, weight_head, residual_head;
    SpTrackBlock time[SP_TRACK_DEPTH], virtual_self[SP_TRACK_DEPTH],
        point_to_virtual[SP_TRACK_DEPTH], virtual_to_point[SP_TRACK_DEPTH];
    SpTrackBlock time3[SP_TRACK_DEPTH], switcher_self[SP_TRACK_DEPTH],
        track_to_switcher[SP_TRACK_DEPTH], switcher_to_track[SP_TRACK_DEPTH],
        virtual_to_switcher[SP_TRACK_DEPTH], switcher_to_virtual[SP_TRACK_DEPTH];
} SpUpdateFormer;

struct SpTracker {
    int segment, encoder_segment; /* of what is not the blocks' or the encoder's */
    int64_t window, overlap, time_length, resolution; /* S, O, L, 336 */
    int64_t model_height, model_width, stride, side, neighbours, channels, support;
    int64_t token, token3, corr; /* widths of the tokens and of one level's features */
    SpEncoder encoder;
    SpMlp corr_mlp, rel_pos_mlp, corr_xyz_mlp, corr_depth_mlp, xyz_mlp, proj_xyz_embed;
    SpTrackBlock cross, aggregate;
    SpDense cross_out;
    SpUpdateFormer former;
};

/* Binds all tensors; failures stay in the binder. */
void sp_tracker_bind(SpBinder *binder, SpTrackerMode mode, SpTracker *tracker);

/* x [rows, in] through a dense layer to y, rows ldy apart. */
void sp_dense_run(SpNn *nn, const SpDense *dense, const float *x, int64_t rows, SpActivation act,
                  float *y, int64_t ldy);

/* Feature encoder: image device [h, w, 3] in 0..255 to unit features device
 * [h / stride, w / stride, C]. */
void sp_encoder_run(const SpTracker *tracker, SpNn *nn, const float *image, int64_t h, int64_t w,
                    float *features);

/* Table of the time embedding for T frames: host [T, token]. */
void sp_time_embedding(int64_t length, int64_t width, int64_t frames, float *out);

/* One level of the pyramids and what the queries see there, on the device. */
typedef struct SpTrackLevel {
    int64_t h, w;
    float *features;        /* [F, h, w, C] unit rows, of the frames looked at: see SpWindowMaps */
    float *points;          /* [F, h, w, 3] normalised, likewise */
    float *templates;       /* [N, side^2, C] */
    float *template_points; /* [N, side^2, 3] */
    float *query;           /* [N, neighbours, C] the query's side of the 3D branch */
    float *query_projected; /* [N, neighbours, C] its q projection */
} SpTrackLevel;

/* The maps of a window, of which some frames are looked at: first each alone, to make it, and then
 * in every iteration SP_TRACK_FRAMES together. What waits in between is `kept`, on the device or
 * the host as the plan says: features of level 0 and points of all levels. The features' other
 * levels are made whenever frames are looked at. maps.c */
typedef struct SpWindowMaps {
    int64_t frames, channels;
    bool on_host;
    float *kept;
    float *brought[SP_PREFETCH_SLOTS]; /* device: copies of what is kept on the host */
    float *halves;                     /* device: features of levels 1 .. */
    float *time;                       /* device [T, token] */
    SpTrackLevel level[SP_TRACK_LEVELS];
} SpWindowMaps;

/* Frames of the chunk that begins with frame `first` of `frames`. */
static inline int64_t sp_chunk_frames(int64_t frames, int64_t first)
{
    return frames - first < SP_TRACK_FRAMES ? frames - first : SP_TRACK_FRAMES;
}

/* The pair of track n of `tracks` in frame t of `frames`. */
static inline int64_t sp_pair_at(int64_t tracks, int64_t frames, int64_t n, int64_t t)
{
    const int64_t first = t / SP_TRACK_FRAMES * SP_TRACK_FRAMES;
    return first * tracks + n * sp_chunk_frames(frames, first) + t - first;
}

/* `count` floats for maps that wait, on the device or the host as the plan says. */
float *sp_maps_memory(SpNn *nn, int64_t count);

/* Sizes of the levels, and the memory for the maps of `frames` frames. */
void sp_maps_take(const SpTracker *tracker, SpNn *nn, int64_t frames, SpWindowMaps *maps);

/* Making them: memory for one frame, to be released by the caller; from sp_maps_frame on the
 * levels' features and points are those of frame t, whose features of level 0 and points of all
 * levels are then filled; sp_maps_keep makes the other levels of the features and keeps the frame.
 */
void sp_maps_make(SpNn *nn, SpWindowMaps *maps);
void sp_maps_frame(SpWindowMaps *maps, int64_t t);
void sp_maps_keep(SpNn *nn, SpWindowMaps *maps, int64_t t);

/* Reading them: memory for SP_TRACK_FRAMES, or two of it, to be released by the caller; from
 * sp_maps_use on the levels' features and points are those of the chunk that begins with frame
 * `first`, while the next one is on its way. From the first chunk to the last, one after another.
 */
void sp_maps_read(SpNn *nn, SpWindowMaps *maps);
void sp_maps_use(SpNn *nn, SpWindowMaps *maps, int64_t first);

/* Features of level 0 of `count` frames from `first` to `carried`, [count, h, w, C] where maps are
 * kept; and its frame t back as frame t of the window, for sp_maps_keep. */
void sp_maps_carry(SpNn *nn, const SpWindowMaps *maps, int64_t first, int64_t count,
                   float *carried);
void sp_maps_recall(SpNn *nn, SpWindowMaps *maps, int64_t t, const float *carried);

/* The query's side of the 3D branch from the level's templates: fills query and
 * query_projected, for `tracks` tracks. */
void sp_level_query(const SpTracker *tracker, SpNn *nn, const SpTrackLevel *level, int64_t tracks);

/* Tracks in a chunk of frames in one iteration; device arrays of pairs. */
typedef struct SpPairs {
    int64_t first_track, tracks, frames;
    const float *frame;  /* [m] of the level's frames */
    const float *xy;     /* [m, 2] in units of `stride` model pixels */
    const float *origin; /* [m, 3] P, normalised */
    const float *valid;  /* [m] 1 where the point lies before the camera */
} SpPairs;

/* Both branches of one level, whose maps are `frames`: `corr` columns a pair into token (rows token
 * width apart) and token3. */
void sp_level_run(const SpTracker *tracker, SpNn *nn, const SpTrackLevel *level, int scale,
                  int64_t frames, const SpPairs *pairs, float *token, float *token3);

/* Small inputs of the tokens of all pairs, device arrays. */
typedef struct SpTokenInputs {
    const float *logits;  /* [N T, 2] visibility, confidence */
    const float *motion;  /* [N T, SP_MOTION] */
    const float *motion3; /* [N T, SP_MOTION3] */
    const float *carry;   /* [N T, SP_CARRY] */
} SpTokenInputs;

/* Both tokens of pairs of whole tracks in `frames` frames with the level features already in place
 * (columns 2 .. 2 + 4 corr): the small parts, the projection of the 3D token and the time
 * embedding, of which `time` are these frames' rows. token: [m, token]; token3: [m, token3] to
 * projected: [m, token]. */
void sp_tokens_finish(const SpTracker *tracker, SpNn *nn, const SpTokenInputs *inputs,
                      int64_t first_pair, int64_t pairs, int64_t frames, const float *time,
                      float *token, float *token3, float *projected);

/* Tokens to the two streams' rows, device [m, D]. */
void sp_former_embed(const SpTracker *tracker, SpNn *nn, const float *token, int64_t rows,
                     float *stream);

/* What the update former returns, host [N T, ...]. */
typedef struct SpUpdates {
    float *flow;     /* [.., 2] in units of `stride` model pixels */
    float *vis_conf; /* [.., 2] */
    float *point;    /* [.., 4] normalised step, dynamic logit */
    float *weight;   /* [..] */
} SpUpdates;

/* The update former on the streams: stream2 device [(N + virtual) T, D], whose virtual rows it
 * fills; stream3 device [N T, D]; both are overwritten. */
void sp_former_run(const SpTracker *tracker, SpNn *nn, int64_t tracks, int64_t frames,
                   float *stream2, float *stream3, const SpUpdates *updates);

/* A self block over time on x: device [tracks T, width], or over the tracks of each frame. */
typedef enum SpAxisOf { SP_OVER_TIME, SP_OVER_TRACKS } SpAxisOf;
void sp_track_self(SpNn *nn, const SpTrackBlock *block, float *x, int64_t tracks, int64_t frames,
                   SpAxisOf axis);
/* A cross block: each frame's x [tracks T, width] attends to its context [others T, width]. */
void sp_track_cross(SpNn *nn, const SpTrackBlock *block, float *x, int64_t tracks,
                    const float *context, int64_t others, int64_t frames);

/* The one source of randomness: splitmix64 (tracker.md section 3, "Random numbers"). */
typedef struct SpRandom {
    uint64_t state;
} SpRandom;
uint64_t sp_random_next(SpRandom *random);
int64_t sp_random_below(SpRandom *random, int64_t n);
/* A Fisher-Yates permutation of 0 .. n - 1. */
void sp_random_permute(SpRandom *random, int64_t n, int32_t *out);

/* A window of the clip: what is given (tracker.md sections 3 and 4) and the state that the
 * iterations refine (section 6). Host arrays, frame by frame; "working" pixels are those of the
 * height x width maps, "model" pixels those of the tracker's model_height x model_width. The
 * first `users` tracks are the user's, the first `continued` of them come from the window
 * before; the rest are support queries. */
typedef struct SpWindow {
    int64_t frames, tracks, users, continued;
    int64_t height, width;
    float *depth;        /* [T, height, width] */
    uint8_t *valid;      /* [T, height, width] */
    float *k_model, *k;  /* [T, 3, 3] model pixels, as given; working pixels, refined */
    float *c2w;          /* [T, 4, 4] relative to the first frame */
    float *query;        /* [N, 3] frame, x, y in model pixels */
    float *z, *unc;      /* [N] depth and validity at the query */
    float *start;        /* [N, 4] frame, x, y (model pixels), z: see sp_query_world */
    double lo[3], hi[3]; /* normalised = 2 (p - lo) / (hi - lo) - 1 */
    float *xyz;          /* [T, N, 3] x, y in units of `stride` model pixels, z */
    float *normal;       /* [T, N, 3] camera-space points, normalised */
    float *vis, *conf, *dyn, *weight; /* [T, N] logits */
    float *track;                     /* [T, N, 3] x, y in working pixels, z */
    float *point;                     /* [T, N, 3] camera-space points */
    uint8_t *replaced;                /* [T, N] whether the depth map's value was taken */
    float *rough;                     /* [T, N, 3] the points before that */
    float *c2w_start;                 /* [T, 4, 4] before bundle adjustment */
    SpWindowMaps maps;
} SpWindow;

/* Height and width of the maps the tracker works on (section 3, step 1). */
void sp_working_size(int64_t resolution, int64_t h, int64_t w, int64_t *height, int64_t *width);

/* Takes the memory of a window with that many frames and tracks from the arenas of `nn`. */
void sp_window_take(const SpTracker *tracker, SpNn *nn, SpWindow *window);

/* Frame t of the window in the input, whose last frame repeats. */
static inline int64_t sp_window_frame(const SpTrackerInput *in, int64_t first, int64_t t)
{
    return first + t < in->frames ? first + t : in->frames - 1;
}

/* Section 3: maps, cameras and intrinsics of the frames from `first`, and the support queries
 * (rows users .. tracks of window->query, working pixels). window->tracks counts those wanted and
 * falls to those there are. scratch: host int32 [SP_SUPPORT_SCRATCH]. */
enum { SP_SUPPORT_GRID = 100, SP_SUPPORT_SCRATCH = 7 * SP_SUPPORT_GRID * SP_SUPPORT_GRID };
void sp_window_maps(const SpTracker *tracker, const SpTrackerInput *input, int64_t first,
                    SpWindow *window);
void sp_window_support(SpWindow *window, SpRandom *random, int32_t *scratch);

/* What a window hands to the next one about the user's tracks (section 2). */
typedef struct SpCarried {
    int64_t tracks;                          /* that have been in a window, 0 in the first */
    float *features;                         /* of the last O frames: see sp_maps_carry */
    float *templates[SP_TRACK_LEVELS];       /* device [users, side^2, C] */
    float *template_points[SP_TRACK_LEVELS]; /* host [users, side^2, 3], not normalised */
    float *track, *point;                    /* host [O, users, 3] of the last frames */
    int64_t users;                           /* rows of the arrays above */
} SpCarried;

/* Takes the memory for `users` tracks, of which none has been in a window, from the arenas. */
void sp_carried_take(const SpTracker *tracker, SpNn *nn, int64_t users, SpCarried *carried);

/* Section 4: features, pyramids, templates and the first state. overlap_z: [continued] depth at
 * the queries of continued tracks. */
void sp_window_start(const SpTracker *tracker, SpNn *nn, const SpTrackerInput *input, int64_t first,
                     const SpCarried *carried, const float *overlap_z, SpWindow *window);

/* Keeps what the next window needs; `carried` has the memory. */
void sp_window_carry(const SpTracker *tracker, SpNn *nn, const SpWindow *window,
                     SpCarried *carried);

/* Sections 5 and 6: one iteration. */
void sp_window_iterate(const SpTracker *tracker, SpNn *nn, const SpTrackerSettings *settings,
                       SpWindow *window);

/* Its second half, section 6: the network's steps, [N T, ...], onto the state. */
void sp_window_update(const SpTracker *tracker, SpNn *nn, const SpTrackerSettings *settings,
                      const SpUpdates *updates, SpWindow *window);

/* The query's point of each track in the world, [N, 3]: start unprojected with k_model's frame
 * and moved by c2w's (section 5; section 6 step 7 with other cameras). For a continued track
 * `start` mixes two frames: the number of the one it is queried at again, and its place in the
 * window's first. The published code does so, evidently by mistake (section 10, 2); it is kept
 * because its results, which the goldens hold, contain it. */
void sp_query_world(const SpWindow *window, const float *k_model, const float *c2w, float *out);

/* Nearest sampling of tracker.md section 4, the index along one axis: coordinates beyond the
 * border taken to it, or -1 for them. */
static inline int64_t sp_nearest_border(float x, int64_t size)
{
    const float last = (float)(size - 1), g = x * (2 / last) - 1, p = (g + 1) / 2 * last;
    return p > 0 ? (p < last ? (int64_t)rintf(p) : size - 1) : 0;
}

static inline int64_t sp_nearest_zero(float x, int64_t size)
{
    const float last = (float)(size - 1), g = 2 * x / last - 1, p = rintf((g + 1) / 2 * last);
    return p >= 0 && p <= last ? (int64_t)p : -1;
}

/* To the normalised coordinates of a window and back. */
static inline void sp_normalise(const SpWindow *window, const float p[3], float out[3])
{
    for (int i = 0; i < 3; i++)
        out[i] = (float)(2 * ((double)p[i] - window->lo[i]) / (window->hi[i] - window->lo[i]) - 1);
}

static inline float sp_denormalise(const SpWindow *window, double p, int axis)
{
    return (float)((p + 1) / 2 * (window->hi[axis] - window->lo[axis]) + window->lo[axis]);
}

static inline float sp_sigma(float x)
{
    return 1 / (1 + expf(-x));
}

#endif
