#include "pipeline/chunks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "geometry/camera.h"
#include "geometry/similarity.h"

/* Those of VGGT-Long; the most pixels that one fit looks at; and pairs of a frame's cameras. */
enum { CHUNK = 60, OVERLAP = 30, PIXELS = 20000, RAYS = 9 };

struct SpChunks {
    const SpChunkSource *source;
    SpChunking chunking;
    int64_t next;          /* first frame that is not final, and of the next chunk */
    bool ended;            /* there is no more */
    bool still;            /* the cameras of the last chunk, by itself */
    float to_first[16];    /* from the first chunk's world to the camera of its first frame */
    SpGeometry chunk;      /* [frames, ...] of the last one */
    SpGeometry tail;       /* [overlap, ...] its last frames, which the next chunk shares */
    SpPointPair *pair;     /* [pairs_of] */
    SpWeighted *work;      /* [pairs_of] */
    float *memory;         /* behind chunk and tail */
    SpResultChunk *listed; /* [count] of `capacity` */
    int64_t count, capacity;
};

int64_t sp_chunking_whole(const SpJob *job)
{
    return job->front_chunk > 0    ? job->front_chunk
           : job->front_chunk == 0 ? INT64_MAX
                                   : sp_job_default_frames(job);
}

SpChunking sp_chunking_of(const SpJob *job, int64_t frames)
{
    const int64_t chunk = job->front_chunk > 0 ? job->front_chunk : CHUNK;
    const int64_t half = chunk == CHUNK ? OVERLAP : chunk / 2;
    return frames > sp_chunking_whole(job)
               ? (SpChunking){chunk, job->front_overlap > 0 ? job->front_overlap : half}
               : (SpChunking){0};
}

int64_t sp_chunking_count(const SpChunking *chunking, int64_t frames, int64_t *last)
{
    const int64_t step = chunking->frames - chunking->overlap;
    const int64_t more = sp_max(frames - chunking->frames, 0);
    const int64_t count = 1 + (more + step - 1) / step;
    *last = frames - (count - 1) * step;
    return count;
}

static int64_t floats_of(int64_t frames, int64_t area)
{
    return frames * (2 * area + 9 + 16);
}

/* The most pairs of one fit. */
static int64_t pairs_of(const SpChunking *chunking)
{
    return PIXELS + RAYS * chunking->overlap;
}

size_t sp_chunks_bytes(const SpChunking *chunking, int64_t height, int64_t width)
{
    const int64_t frames = chunking->frames + chunking->overlap;
    return (size_t)floats_of(frames, height * width) * sizeof(float) +
           (size_t)pairs_of(chunking) * (sizeof(SpPointPair) + sizeof(SpWeighted));
}

static SpGeometry carve(float *memory, int64_t frames, int64_t area)
{
    SpGeometry g = {.depth = memory};
    g.confidence = g.depth + frames * area;
    g.intrinsics = g.confidence + frames * area;
    g.c2w = g.intrinsics + 9 * frames;
    return g;
}

static int64_t area_of(const SpChunks *chunks)
{
    return chunks->source->height * chunks->source->width;
}

/* The frames from `first` on. */
static SpGeometry from(const SpChunks *chunks, const SpGeometry *g, int64_t first)
{
    const int64_t area = area_of(chunks);
    return (SpGeometry){g->depth + first * area, g->confidence + first * area,
                        g->intrinsics + 9 * first, g->c2w + 16 * first};
}

SpStatus sp_chunks_open(const SpChunkSource *source, const SpChunking *chunking, SpChunks **out)
{
    const int64_t area = source->height * source->width;
    SpChunks *chunks = calloc(1, sizeof *chunks);
    *out = NULL;
    if (!chunks)
        return sp_no_memory("the front's chunks");
    chunks->source = source;
    chunks->chunking = *chunking;
    chunks->memory = malloc(sp_chunks_bytes(chunking, source->height, source->width));
    if (!chunks->memory) {
        sp_chunks_close(chunks);
        return sp_no_memory("the front's chunks; use fewer frames with --front-chunk");
    }
    chunks->pair = (SpPointPair *)(void *)chunks->memory; /* first, as doubles are aligned to 8 */
    chunks->work = (SpWeighted *)(void *)(chunks->pair + pairs_of(chunking));
    float *maps = (float *)(void *)(chunks->work + pairs_of(chunking));
    chunks->chunk = carve(maps, chunking->frames, area);
    chunks->tail = carve(maps + floats_of(chunking->frames, area), chunking->overlap, area);
    *out = chunks;
    return sp_ok();
}

void sp_chunks_close(SpChunks *chunks)
{
    if (!chunks)
        return;
    free(chunks->listed);
    free(chunks->memory);
    free(chunks);
}

const SpResultChunk *sp_chunks_list(const SpChunks *chunks, int64_t *count)
{
    *count = chunks->count;
    return chunks->listed;
}

static bool is_depth(float depth)
{
    return depth > 0 && isfinite(depth);
}

static bool stands_still(const SpGeometry *g, int64_t frames)
{
    for (int64_t t = 1; t < frames; t++)
        if (memcmp(g->c2w, g->c2w + 16 * t, 16 * sizeof *g->c2w) != 0)
            return false;
    return true;
}

/* The alignment -------------------------------------------------------------------------------- */

/* Where the camera of a frame puts a pixel at that depth. */
static void place_of(const float k[9], const float c2w[16], const float pixel[2], double depth,
                     double place[3])
{
    float point[3];
    sp_unproject(k, pixel[0], pixel[1], (float)depth, point);
    sp_pose_apply(c2w, point, point);
    for (int i = 0; i < 3; i++)
        place[i] = point[i];
}

static double trust_of(const SpChunks *chunks, int64_t i)
{
    const double a = chunks->tail.confidence[i], b = chunks->chunk.confidence[i];
    return a > 0 && b > 0 ? sqrt(a * b) : 0;
}

static bool has_both(const SpChunks *chunks, int64_t i)
{
    return is_depth(chunks->tail.depth[i]) && is_depth(chunks->chunk.depth[i]);
}

/* A pixel of shared frame t: in this chunk (x) and in the last one (y). */
static SpPointPair pixel_pair(const SpChunks *chunks, int64_t t, int64_t x, int64_t y)
{
    const SpGeometry a = from(chunks, &chunks->tail, t), b = from(chunks, &chunks->chunk, t);
    const int64_t i = y * chunks->source->width + x;
    const float pixel[2] = {(float)x, (float)y};
    SpPointPair pair = {.weight = trust_of(chunks, t * area_of(chunks) + i), .unit = a.depth[i]};
    place_of(b.intrinsics, b.c2w, pixel, b.depth[i], pair.x);
    place_of(a.intrinsics, a.c2w, pixel, a.depth[i], pair.y);
    return pair;
}

/* Pairs from a grid over the shared frames. */
static int64_t gather_pixels(SpChunks *chunks)
{
    const int64_t height = chunks->source->height, width = chunks->source->width;
    const int64_t overlap = chunks->chunking.overlap;
    int64_t count = 0, step = 1;
    while (overlap * ((height + step - 1) / step) * ((width + step - 1) / step) > PIXELS &&
           step < sp_max(height, width))
        step++;
    for (int64_t t = 0; t < overlap; t++)
        for (int64_t y = step / 2; y < height; y += step)
            for (int64_t x = step / 2; x < width; x += step)
                if (count < PIXELS && has_both(chunks, (t * height + y) * width + x))
                    chunks->pair[count++] = pixel_pair(chunks, t, x, y);
    return count;
}

/* Where the network trusts nothing, everything counts the same. Returns the sum. */
static double even_out(SpPointPair *pair, int64_t count)
{
    double total = 0;
    for (int64_t i = 0; i < count; i++)
        total += pair[i].weight;
    for (int64_t i = 0; i < count && !(total > 0); i++)
        pair[i].weight = 1;
    return total > 0 ? total : (double)count;
}

/* The ratio of the depths in the middle, which favours neither chunk. 1 where there are none. */
static double scale_of_depth(const SpChunks *chunks)
{
    const int64_t pixels = chunks->chunking.overlap * area_of(chunks);
    const int64_t step = (pixels + PIXELS - 1) / PIXELS;
    double median = NAN;
    for (int round = 0; round < 2 && isnan(median); round++) {
        int64_t count = 0;
        for (int64_t i = step / 2; i < pixels; i += step)
            if (has_both(chunks, i))
                chunks->work[count++] = (SpWeighted){
                    log((double)chunks->tail.depth[i] / (double)chunks->chunk.depth[i]),
                    round ? 1 : trust_of(chunks, i)};
        median = sp_weighted_median(chunks->work, count);
    }
    return isnan(median) ? 1 : exp(median);
}

/* The depth in the middle of the pairs' units. */
static double middle_depth(const SpChunks *chunks, int64_t pairs)
{
    for (int64_t i = 0; i < pairs; i++)
        chunks->work[i] = (SpWeighted){chunks->pair[i].unit, chunks->pair[i].weight};
    return sp_weighted_median(chunks->work, pairs);
}

/* The cameras themselves, behind `pairs` of pixels and together of as much weight: where both
 * chunks have a few rays of each frame at the same depth, as if depth had no error. Returns how
 * many. */
static int64_t gather_cameras(SpChunks *chunks, int64_t pairs, double weight)
{
    const int64_t overlap = chunks->chunking.overlap;
    const double depth = middle_depth(chunks, pairs), scale = scale_of_depth(chunks);
    for (int64_t t = 0; t < overlap; t++)
        for (int ray = 0; ray < RAYS; ray++) {
            const SpGeometry a = from(chunks, &chunks->tail, t);
            const SpGeometry b = from(chunks, &chunks->chunk, t);
            const float pixel[2] = {(float)(ray % 3 * (chunks->source->width - 1)) / 2,
                                    (float)(ray / 3 * (chunks->source->height - 1)) / 2};
            SpPointPair *pair = &chunks->pair[pairs + RAYS * t + ray];
            *pair = (SpPointPair){.weight = weight / (double)(RAYS * overlap), .unit = depth};
            place_of(a.intrinsics, b.c2w, pixel, depth / scale, pair->x);
            place_of(a.intrinsics, a.c2w, pixel, depth, pair->y);
        }
    return RAYS * overlap;
}

/* From this chunk's world to that of the first one, in which the tail is. */
static SpSimilarity align(SpChunks *chunks, bool still)
{
    SpSimilarity s;
    int64_t count = still ? 0 : gather_pixels(chunks);
    const double weight = even_out(chunks->pair, count);
    if (count > 0) {
        count += gather_cameras(chunks, count, weight);
        if (sp_similarity_fit(chunks->pair, count, chunks->work, &s))
            return s;
    }
    return sp_similarity_between(chunks->chunk.c2w, chunks->tail.c2w, scale_of_depth(chunks));
}

static void apply(SpChunks *chunks, const SpSimilarity *s, int64_t frames)
{
    const SpGeometry *g = &chunks->chunk;
    for (int64_t i = 0; i < frames * area_of(chunks); i++)
        g->depth[i] = (float)(s->scale * (double)g->depth[i]);
    for (int64_t t = 0; t < frames; t++)
        sp_similarity_pose(s, g->c2w + 16 * t, g->c2w + 16 * t);
}

/* The fade ------------------------------------------------------------------------------------- */

static float mix(float a, float b, double share)
{
    return (float)((double)a + share * ((double)b - (double)a));
}

/* The pose between two. */
static void mix_poses(const float a[16], float b[16], double share)
{
    double r[2][9], q[2][4], between[4], dot = 0;
    for (int i = 0; i < 9; i++) {
        r[0][i] = a[4 * (i / 3) + i % 3];
        r[1][i] = b[4 * (i / 3) + i % 3];
    }
    for (int k = 0; k < 2; k++)
        sp_quaternion_of_rotation(r[k], q[k]);
    for (int i = 0; i < 4; i++)
        dot += q[0][i] * q[1][i];
    for (int i = 0; i < 4; i++)
        between[i] = (1 - share) * q[0][i] + (dot < 0 ? -share : share) * q[1][i];
    sp_rotation_of_quaternion(between, r[0]);
    for (int i = 0; i < 9; i++)
        b[4 * (i / 3) + i % 3] = (float)r[0][i];
    for (int i = 3; i < 12; i += 4)
        b[i] = mix(a[i], b[i], share);
}

/* Shared frame t, the last chunk's share falling and this one's rising. */
static void fade(SpChunks *chunks, int64_t t)
{
    const SpGeometry a = from(chunks, &chunks->tail, t), b = from(chunks, &chunks->chunk, t);
    const double share = (double)(t + 1) / (double)(chunks->chunking.overlap + 1);
    for (int64_t i = 0; i < area_of(chunks); i++) {
        const bool has_a = is_depth(a.depth[i]), has_b = is_depth(b.depth[i]);
        if (has_a && has_b) {
            b.depth[i] = mix(a.depth[i], b.depth[i], share);
            b.confidence[i] = mix(a.confidence[i], b.confidence[i], share);
        } else if (has_a) {
            b.depth[i] = a.depth[i];
            b.confidence[i] = a.confidence[i];
        }
    }
    for (int i = 0; i < 9; i++)
        b.intrinsics[i] = mix(a.intrinsics[i], b.intrinsics[i], share);
    mix_poses(a.c2w, b.c2w, share);
}

/* The order ------------------------------------------------------------------------------------ */

/* The chunk's first camera, before the fade, in the world of the result, which is the camera of the
 * clip's first frame. */
static SpStatus list(SpChunks *chunks, double scale)
{
    if (chunks->count == chunks->capacity) {
        const int64_t capacity = 2 * chunks->capacity + 8;
        SpResultChunk *more = realloc(chunks->listed, (size_t)capacity * sizeof *more);
        if (!more)
            return sp_no_memory("the list of chunks");
        chunks->listed = more;
        chunks->capacity = capacity;
    }
    static const float origin[16] = {[0] = 1, [5] = 1, [10] = 1, [15] = 1};
    float camera[16];
    sp_pose_multiply(chunks->to_first, chunks->chunk.c2w, camera);
    const SpSimilarity s = sp_similarity_between(origin, camera, scale);
    SpResultChunk *one = &chunks->listed[chunks->count++];
    *one = (SpResultChunk){.first = chunks->next, .similarity[15] = 1};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++)
            one->similarity[4 * i + j] = scale * s.rotation[3 * i + j];
        one->similarity[4 * i + 3] = s.translation[i];
    }
    return sp_ok();
}

static SpStatus begin(SpChunks *chunks, int64_t frames)
{
    sp_pose_invert(chunks->chunk.c2w, chunks->to_first);
    chunks->still = stands_still(&chunks->chunk, frames);
    return list(chunks, 1);
}

static SpStatus join(SpChunks *chunks, int64_t frames)
{
    const bool still = stands_still(&chunks->chunk, frames);
    const SpSimilarity s = align(chunks, still && chunks->still);
    chunks->still = still;
    apply(chunks, &s, frames);
    SP_TRY(list(chunks, s.scale));
    for (int64_t t = 0; t < chunks->chunking.overlap; t++)
        fade(chunks, t);
    return sp_ok();
}

SpStatus sp_chunks_next(SpChunks *chunks, SpChunkPiece *piece)
{
    const SpChunkSource *source = chunks->source;
    const int64_t whole = chunks->chunking.frames, overlap = chunks->chunking.overlap;
    const int64_t shared = chunks->count ? overlap : 0;
    int64_t frames = 0;
    *piece = (SpChunkPiece){.first = chunks->next};
    if (!chunks->ended)
        SP_TRY(source->count(source->self, chunks->next, whole, &frames));
    if (frames <= shared) { /* the last chunk was the last one */
        piece->geometry = chunks->tail;
        piece->count = chunks->ended ? 0 : shared;
        chunks->next += piece->count;
        chunks->ended = true;
        return sp_ok();
    }
    SP_TRY(source->compute(source->self, chunks->next, frames, &chunks->chunk));
    SP_TRY(shared ? join(chunks, frames) : begin(chunks, frames));
    piece->geometry = chunks->chunk;
    piece->count = frames;
    chunks->ended = frames < whole;
    if (!chunks->ended) {
        piece->count -= overlap;
        const SpGeometry end = from(chunks, &chunks->chunk, piece->count);
        sp_geometry_copy(&chunks->tail, &end, overlap, area_of(chunks));
    }
    chunks->next += piece->count;
    return sp_ok();
}
