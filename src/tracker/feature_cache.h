/*
 * The pyramids of a window's frames (src/tracker/README.md, "Pyramids"). Stored of every frame, on
 * the device or the host as planned, are the features of level 0 and the points of all levels.
 * First each frame is written alone, then every iteration reads the frames in chunks of
 * SP_CHUNK_FRAMES; the other levels of the features are pooled whenever frames are written or read.
 */
#ifndef SP_TRACKER_FEATURE_CACHE_H
#define SP_TRACKER_FEATURE_CACHE_H

#include "tracker/correlation.h"

/* Frames that are on the device together. It and all less divide SP_ROW_TILE, so tracks can be cut
 * anywhere at whole tiles of rows. The order of rows does not depend on the plan, or their bits
 * would. */
enum { SP_CHUNK_FRAMES = 4 };

/* Frames of the chunk that begins with frame `first` of `frames`. */
static inline int64_t sp_chunk_frames(int64_t frames, int64_t first)
{
    return frames - first < SP_CHUNK_FRAMES ? frames - first : SP_CHUNK_FRAMES;
}

typedef struct SpFeatureCache {
    int64_t frames, channels;
    bool on_host;
    float *stored;
    float *slot[SP_PREFETCH_SLOTS]; /* device: copies of what is stored on the host */
    float *pooled;                  /* device: features of levels 1 .. */
    SpCorrelationLevel level[SP_CORRELATION_LEVELS];
} SpFeatureCache;

/* `count` floats on the device or the host as planned. */
float *sp_feature_cache_memory(SpNn *nn, int64_t count);

/* Sizes of the levels, and memory to store `frames` frames. */
void sp_feature_cache_alloc(const SpTracker *tracker, SpNn *nn, int64_t frames,
                            SpFeatureCache *cache);

/* Writing: memory for one frame, which the caller releases; then of each frame in turn
 * sp_feature_cache_frame makes the levels those of frame t, the caller fills features of level 0
 * and points of all levels, and sp_feature_cache_store pools the features and stores the frame. */
void sp_feature_cache_write(SpNn *nn, SpFeatureCache *cache);
void sp_feature_cache_frame(SpFeatureCache *cache, int64_t t);
void sp_feature_cache_store(SpNn *nn, SpFeatureCache *cache, int64_t t);

/* Reading: memory for a chunk and for the next one on its way, which the caller releases; then
 * sp_feature_cache_use makes the levels those of the chunk that begins with frame `first`. Chunks
 * are read from the first to the last, one after another. */
void sp_feature_cache_read(SpNn *nn, SpFeatureCache *cache);
void sp_feature_cache_use(SpNn *nn, SpFeatureCache *cache, int64_t first);

/* Copies level 0's features of `count` frames from `first` to `carry`, [count, h, w, C] of
 * sp_feature_cache_memory. */
void sp_feature_cache_carry(SpNn *nn, const SpFeatureCache *cache, int64_t first, int64_t count,
                            float *carry);

/* Frame t of `carry` to frame t of this window, between sp_feature_cache_frame and _store. */
void sp_feature_cache_restore(SpNn *nn, SpFeatureCache *cache, int64_t t, const float *carry);

#endif
