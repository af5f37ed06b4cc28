/*
 * On the device the stored parts of all frames stand part by part. On the host each chunk of frames
 * stands so, to come to the device by one copy beside the ops on the chunk before. In both a
 * level's frames stand one after another, as the ops read them.
 */
#include "tracker/feature_cache.h"

#include <string.h>

#include "nn/stream.h"

/* What is stored: the features of level 0, then each level's points. */
enum { PARTS = 1 + SP_CORRELATION_LEVELS };

/* Floats of part p of one frame. */
static int64_t part_size(const SpFeatureCache *c, int p)
{
    const SpCorrelationLevel *level = &c->level[p ? p - 1 : 0];
    return level->h * level->w * (p ? 3 : c->channels);
}

/* Floats of a frame's parts before part p; for PARTS, of all. */
static int64_t part_offset(const SpFeatureCache *c, int p)
{
    return p ? part_offset(c, p - 1) + part_size(c, p - 1) : 0;
}

/* Floats of a frame's features of levels 1 .. l - 1. */
static int64_t pooled_offset(const SpFeatureCache *c, int l)
{
    return l > 1 ? pooled_offset(c, l - 1) + c->level[l - 1].h * c->level[l - 1].w * c->channels
                 : 0;
}

/* Where part p of frame t is stored. */
static float *stored(const SpFeatureCache *c, int64_t t, int p)
{
    const int64_t first = c->on_host ? t / SP_CHUNK_FRAMES * SP_CHUNK_FRAMES : 0;
    const int64_t frames = c->on_host ? sp_chunk_frames(c->frames, first) : c->frames;
    return c->stored + first * part_offset(c, PARTS) + frames * part_offset(c, p) +
           (t - first) * part_size(c, p);
}

float *sp_feature_cache_memory(SpNn *nn, int64_t count)
{
    return nn->plan.features_on_host ? sp_nn_host_floats(nn, count) : sp_nn_alloc(nn, count);
}

void sp_feature_cache_alloc(const SpTracker *t, SpNn *nn, int64_t frames, SpFeatureCache *c)
{
    nn->caches_features = true;
    c->on_host = nn->plan.features_on_host;
    c->frames = frames;
    c->channels = t->channels;
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        c->level[l].h = t->model_height / t->stride >> l;
        c->level[l].w = t->model_width / t->stride >> l;
        c->level[l].scale = 1 / (float)(1 << l);
    }
    c->stored = sp_feature_cache_memory(nn, frames * part_offset(c, PARTS));
}

/* Memory for the levels of `frames` frames while the `next` are in flight. */
static void alloc_levels(SpNn *nn, SpFeatureCache *c, int64_t frames, int64_t next)
{
    c->pooled = sp_nn_alloc(nn, frames * pooled_offset(c, SP_CORRELATION_LEVELS));
    if (!c->on_host)
        return;
    c->slot[0] = sp_nn_alloc(nn, frames * part_offset(c, PARTS));
    c->slot[1] = sp_nn_alloc(nn, next * part_offset(c, PARTS));
}

/* Makes the levels those of `frames` frames from `first`; stored on the host they are in `slot`. */
static void select_frames(SpFeatureCache *c, int64_t first, int64_t frames, int slot)
{
    for (int p = 0; p < PARTS; p++) {
        float *at = c->on_host ? c->slot[slot] + frames * part_offset(c, p) : stored(c, first, p);
        if (p == 0)
            c->level[0].features = at;
        else
            c->level[p - 1].points = at;
    }
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        c->level[l].frames = frames;
        if (l > 0)
            c->level[l].features = c->pooled + frames * pooled_offset(c, l);
    }
}

static void pool_features(SpNn *nn, const SpFeatureCache *c)
{
    for (int l = 1; l < SP_CORRELATION_LEVELS; l++) {
        const SpCorrelationLevel *finer = &c->level[l - 1];
        sp_nn_run(nn, average_pool,
                  &(SpAveragePool){finer->features, finer->frames, finer->h, finer->w, c->channels,
                                   c->level[l].features});
    }
}

void sp_feature_cache_write(SpNn *nn, SpFeatureCache *c)
{
    alloc_levels(nn, c, 1, 0);
}

void sp_feature_cache_frame(SpFeatureCache *c, int64_t t)
{
    select_frames(c, t, 1, 0);
}

void sp_feature_cache_store(SpNn *nn, SpFeatureCache *c, int64_t t)
{
    pool_features(nn, c);
    for (int p = 0; p < PARTS && c->on_host; p++)
        sp_nn_copy(nn, SP_DOWNLOAD_LATER, stored(c, t, p), c->slot[0] + part_offset(c, p),
                   part_size(c, p));
}

void sp_feature_cache_read(SpNn *nn, SpFeatureCache *c)
{
    const int64_t frames = sp_chunk_frames(c->frames, 0);
    alloc_levels(nn, c, frames, sp_chunk_frames(c->frames, frames));
}

static int slot_of(int64_t first)
{
    return (int)(first / SP_CHUNK_FRAMES % SP_PREFETCH_SLOTS);
}

/* Begins to copy the chunk from `first` on to its slot, if there is such a chunk. */
static void prefetch(SpNn *nn, const SpFeatureCache *c, int64_t first)
{
    const int slot = slot_of(first);
    if (first < c->frames)
        sp_stream_prefetch(nn, slot, c->slot[slot], stored(c, first, 0),
                           sp_chunk_frames(c->frames, first) * part_offset(c, PARTS));
}

void sp_feature_cache_use(SpNn *nn, SpFeatureCache *c, int64_t first)
{
    if (c->on_host) {
        if (first == 0)
            prefetch(nn, c, 0);
        sp_stream_wait(nn, slot_of(first));
        prefetch(nn, c, first + SP_CHUNK_FRAMES);
    }
    select_frames(c, first, sp_chunk_frames(c->frames, first), slot_of(first));
    pool_features(nn, c);
}

void sp_feature_cache_carry(SpNn *nn, const SpFeatureCache *c, int64_t first, int64_t count,
                            float *carry)
{
    const int64_t size = part_size(c, 0);
    for (int64_t t = 0; t < count; t++) {
        if (!c->on_host)
            sp_nn_copy(nn, SP_ON_DEVICE, carry + t * size, stored(c, first + t, 0), size);
        else if (sp_nn_live(nn))
            memcpy(carry + t * size, stored(c, first + t, 0), (size_t)size * sizeof *carry);
    }
}

void sp_feature_cache_restore(SpNn *nn, SpFeatureCache *c, int64_t t, const float *carry)
{
    const int64_t size = part_size(c, 0);
    sp_nn_copy(nn, c->on_host ? SP_UPLOAD : SP_ON_DEVICE, c->level[0].features, carry + t * size,
               size);
}
