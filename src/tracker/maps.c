/*
 * Where the maps of a window's frames are. On the device they are kept whole. On the host a chunk
 * of frames is one piece, which comes to the device by one copy beside the ops on the chunk before;
 * in both, a level's frames stand one after another, as the ops read them.
 */
#include <string.h>

#include "nn/stream.h"
#include "tracker/internal.h"

/* What is kept: the features of level 0, then each level's points. */
enum { PARTS = 1 + SP_TRACK_LEVELS };

/* Floats of one frame's part. */
static int64_t part(const SpWindowMaps *m, int p)
{
    const SpTrackLevel *level = &m->level[p ? p - 1 : 0];
    return level->h * level->w * (p ? 3 : m->channels);
}

/* Those of a frame's parts before part p; before PARTS: of all. */
static int64_t before(const SpWindowMaps *m, int p)
{
    return p ? before(m, p - 1) + part(m, p - 1) : 0;
}

/* Floats of one frame's features of levels 1 .. l - 1. */
static int64_t halves_before(const SpWindowMaps *m, int l)
{
    return l > 1 ? halves_before(m, l - 1) + m->level[l - 1].h * m->level[l - 1].w * m->channels
                 : 0;
}

/* Frame t's part p, where it is kept: of a chunk on the host, of all frames on the device. */
static float *kept(const SpWindowMaps *m, int64_t t, int p)
{
    const int64_t first = m->on_host ? t / SP_TRACK_FRAMES * SP_TRACK_FRAMES : 0;
    const int64_t frames = m->on_host ? sp_chunk_frames(m->frames, first) : m->frames;
    return m->kept + first * before(m, PARTS) + frames * before(m, p) + (t - first) * part(m, p);
}

float *sp_maps_memory(SpNn *nn, int64_t count)
{
    return nn->plan.maps_on_host ? sp_nn_host(nn, (size_t)count * sizeof(float))
                                 : sp_nn_floats(nn, count);
}

void sp_maps_take(const SpTracker *t, SpNn *nn, int64_t frames, SpWindowMaps *m)
{
    nn->has_maps = true;
    m->on_host = nn->plan.maps_on_host;
    m->frames = frames;
    m->channels = t->channels;
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        m->level[l].h = t->model_height / t->stride >> l;
        m->level[l].w = t->model_width / t->stride >> l;
    }
    m->kept = sp_maps_memory(nn, frames * before(m, PARTS));
}

/* Memory to look at `frames` frames while the `next` come. */
static void take(SpNn *nn, SpWindowMaps *m, int64_t frames, int64_t next)
{
    m->halves = sp_nn_floats(nn, frames * halves_before(m, SP_TRACK_LEVELS));
    if (!m->on_host)
        return;
    m->brought[0] = sp_nn_floats(nn, frames * before(m, PARTS));
    m->brought[1] = sp_nn_floats(nn, next * before(m, PARTS));
}

/* The levels are those of `frames` frames from `first`, brought to a slot where the host keeps
 * them.
 */
static void look(SpWindowMaps *m, int64_t first, int64_t frames, int slot)
{
    for (int p = 0; p < PARTS; p++) {
        float *at = m->on_host ? m->brought[slot] + frames * before(m, p) : kept(m, first, p);
        *(p ? &m->level[p - 1].points : &m->level[0].features) = at;
    }
    for (int l = 1; l < SP_TRACK_LEVELS; l++)
        m->level[l].features = m->halves + frames * halves_before(m, l);
}

static void halve(SpNn *nn, const SpWindowMaps *m, int64_t frames)
{
    for (int l = 1; l < SP_TRACK_LEVELS; l++) {
        const SpTrackLevel *above = &m->level[l - 1];
        sp_nn_run(nn, average_pool,
                  &(SpAveragePool){above->features, frames, above->h, above->w, m->channels,
                                   m->level[l].features});
    }
}

void sp_maps_make(SpNn *nn, SpWindowMaps *m)
{
    take(nn, m, 1, 0);
}

void sp_maps_frame(SpWindowMaps *m, int64_t t)
{
    look(m, t, 1, 0);
}

void sp_maps_keep(SpNn *nn, SpWindowMaps *m, int64_t t)
{
    halve(nn, m, 1);
    for (int p = 0; p < PARTS && m->on_host; p++)
        sp_nn_copy(nn, SP_DOWNLOAD, kept(m, t, p), m->brought[0] + before(m, p), part(m, p));
}

void sp_maps_read(SpNn *nn, SpWindowMaps *m)
{
    const int64_t frames = sp_chunk_frames(m->frames, 0);
    take(nn, m, frames, sp_chunk_frames(m->frames, frames));
}

static int slot_of(int64_t first)
{
    return (int)(first / SP_TRACK_FRAMES % SP_PREFETCH_SLOTS);
}

/* Begins to bring the chunk from `first` on, if there is one. */
static void bring(SpNn *nn, const SpWindowMaps *m, int64_t first)
{
    const int slot = slot_of(first);
    if (first < m->frames)
        sp_stream_bring(nn, slot, m->brought[slot], kept(m, first, 0),
                        sp_chunk_frames(m->frames, first) * before(m, PARTS));
}

void sp_maps_use(SpNn *nn, SpWindowMaps *m, int64_t first)
{
    const int64_t frames = sp_chunk_frames(m->frames, first);
    if (m->on_host) {
        if (first == 0)
            bring(nn, m, 0);
        sp_stream_wait(nn, slot_of(first));
        bring(nn, m, first + SP_TRACK_FRAMES);
    }
    look(m, first, frames, slot_of(first));
    halve(nn, m, frames);
}

/* What is kept: between places of one kind. */
static void copy_kept(SpNn *nn, const SpWindowMaps *m, float *to, const float *from, int64_t count)
{
    if (!m->on_host)
        sp_nn_copy(nn, SP_ON_DEVICE, to, from, count);
    else if (sp_nn_live(nn))
        memcpy(to, from, (size_t)count * sizeof *to);
}

void sp_maps_carry(SpNn *nn, const SpWindowMaps *m, int64_t first, int64_t count, float *carried)
{
    for (int64_t t = 0; t < count; t++)
        copy_kept(nn, m, carried + t * part(m, 0), kept(m, first + t, 0), part(m, 0));
}

void sp_maps_recall(SpNn *nn, SpWindowMaps *m, int64_t t, const float *carried)
{
    sp_nn_copy(nn, m->on_host ? SP_UPLOAD : SP_ON_DEVICE, m->level[0].features,
               carried + t * part(m, 0), part(m, 0));
}
