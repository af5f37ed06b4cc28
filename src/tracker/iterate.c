/* One iteration's network half: small inputs, levels, tokens, update former (section 5). */
#include <string.h>

#include "geometry/camera.h"
#include "tracker/internal.h"

/* What the network reads of the state, a row a pair, on the device. */
typedef struct Inputs {
    float *logits, *motion, *motion3, *carry, *xy, *origin, *valid, *frame;
} Inputs;

enum {
    INPUTS = 8,
    PAIRS = 4 * SP_ROW_TILE /* most pairs whose tokens are made together: tokens are wide */
};

static const int width_of[INPUTS] = {2, SP_MOTION, SP_MOTION3, SP_CARRY, 2, 3, 1, 1};

/* The members one after another, as width_of has them. */
static float **input(Inputs *in, int i)
{
    float **const part[INPUTS] = {&in->logits, &in->motion, &in->motion3, &in->carry,
                                  &in->xy,     &in->origin, &in->valid,   &in->frame};
    return part[i];
}

void sp_query_world(const SpWindow *w, const float *k_model, const float *c2w, float *out)
{
    for (int64_t n = 0; n < w->tracks; n++) {
        const float *q = w->start + 4 * n;
        const int64_t frame = (int64_t)q[0];
        float point[3];
        sp_unproject(k_model + 9 * frame, q[1], q[2], q[3], point);
        sp_pose_apply(c2w + 16 * frame, point, out + 3 * n);
    }
}

/* now - after, now - before for `c` of every `step` values; 0 beyond the window. */
static void differences(const float *x, int64_t before, int64_t after, int c, const float *scale,
                        float *out)
{
    for (int i = 0; i < c; i++) {
        out[i] = after ? (x[i] - x[after + i]) / scale[i] : 0;
        out[c + i] = before ? (x[i] - x[i - before]) / scale[i] : 0;
    }
}

static float mean_dynamic(const SpWindow *w, int64_t n)
{
    double sum = 0;
    for (int64_t f = 0; f < w->frames; f++)
        sum += (double)sp_sigma(w->dyn[f * w->tracks + n]);
    return (float)(sum / (double)w->frames);
}

static void pack_track(const SpTracker *t, const SpWindow *w, const float *w2c,
                       const float world[3], int64_t n, Inputs *in)
{
    const float map[2] = {(float)(t->model_width / t->stride),
                          (float)(t->model_height / t->stride)};
    const float one[3] = {1, 1, 1}, dynamic = mean_dynamic(w, n);
    const float frames = (float)w->frames, first = w->start[4 * n] / frames;
    for (int64_t f = 0; f < w->frames; f++) {
        const int64_t i = f * w->tracks + n, to = sp_pair_at(w->tracks, w->frames, n, f);
        const int64_t step = 3 * w->tracks, before = f ? step : 0;
        const int64_t after = f + 1 < w->frames ? step : 0;
        float rigid[3], *carry = in->carry + SP_CARRY * to;
        in->logits[2 * to] = w->vis[i];
        in->logits[2 * to + 1] = w->conf[i];
        differences(w->xyz + 3 * i, before, after, 2, map, in->motion + SP_MOTION * to);
        differences(w->normal + 3 * i, before, after, 3, one, in->motion3 + SP_MOTION3 * to);
        sp_pose_apply(w2c + 16 * f, world, rigid);
        sp_normalise(w, rigid, rigid);
        carry[0] = first - (float)f / frames;
        for (int c = 0; c < 3; c++)
            carry[1 + c] = rigid[c] - w->normal[3 * i + c];
        carry[4] = sp_sigma(w->conf[i]);
        carry[5] = dynamic;
        memcpy(in->xy + 2 * to, w->xyz + 3 * i, 2 * sizeof(float));
        memcpy(in->origin + 3 * to, w->normal + 3 * i, 3 * sizeof(float));
        in->valid[to] = sp_denormalise(w, (double)w->normal[3 * i + 2], 2) > 0;
        in->frame[to] = (float)(f % SP_TRACK_FRAMES);
    }
}

static void pack(const SpTracker *t, SpNn *nn, const SpWindow *w, Inputs *device)
{
    const int64_t pairs = w->frames * w->tracks;
    const SpNnMark mark = sp_nn_mark(nn);
    Inputs host;
    for (int i = 0; i < INPUTS; i++)
        *input(&host, i) = sp_nn_alloc_host(nn, (size_t)(pairs * width_of[i]) * sizeof(float));
    float *world = sp_nn_alloc_host(nn, (size_t)(3 * w->tracks) * sizeof *world);
    float *w2c = sp_nn_alloc_host(nn, (size_t)(16 * w->frames) * sizeof *w2c);
    if (sp_nn_live(nn)) {
        sp_query_world(w, w->k_model, w->c2w, world);
        for (int64_t f = 0; f < w->frames; f++)
            sp_pose_invert(w->c2w + 16 * f, w2c + 16 * f);
        for (int64_t n = 0; n < w->tracks; n++)
            pack_track(t, w, w2c, world + 3 * n, n, &host);
    }
    for (int i = 0; i < INPUTS; i++)
        sp_nn_copy(nn, SP_UPLOAD, *input(device, i), *input(&host, i), pairs * width_of[i]);
    sp_nn_release(nn, mark);
}

/* Tokens of tracks first .. first + count in a chunk of frames to rows of a stream, where the
 * frames of a track stand one after another. */
static void embed(const SpTracker *t, SpNn *nn, const SpWindow *w, int64_t frame, int64_t first,
                  int64_t count, const float *token, float *stream)
{
    const int64_t frames = sp_chunk_frames(w->frames, frame);
    const int64_t d = t->former.input_transform.w.dim[0];
    const SpNnMark mark = sp_nn_mark(nn);
    float *rows = sp_nn_alloc(nn, count * frames * d);
    sp_former_embed(t, nn, token, count * frames, rows);
    sp_nn_copy_rows(nn, SP_ON_DEVICE, stream + (first * w->frames + frame) * d, w->frames * d, rows,
                    frames * d, frames * d, count);
    sp_nn_release(nn, mark);
}

/* The streams' rows of these pairs, whose frames' maps are on the device. */
static void tokens(const SpTracker *t, SpNn *nn, const SpWindow *w, const Inputs *in, int64_t frame,
                   int64_t first, int64_t count, float *stream2, float *stream3)
{
    const int64_t frames = sp_chunk_frames(w->frames, frame), m = count * frames;
    const int64_t at = sp_pair_at(w->tracks, w->frames, first, frame);
    const SpPairs pairs = {.first_track = first,
                           .tracks = count,
                           .frames = frames,
                           .frame = in->frame + at,
                           .xy = in->xy + 2 * at,
                           .origin = in->origin + 3 * at,
                           .valid = in->valid + at};
    const SpTokenInputs small = {in->logits, in->motion, in->motion3, in->carry};
    const float *time = w->maps.time + frame * t->token;
    const SpNnMark mark = sp_nn_mark(nn);
    float *token = sp_nn_alloc(nn, m * t->token), *token3 = sp_nn_alloc(nn, m * t->token3);
    float *projected = sp_nn_alloc(nn, m * t->token);
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        const int64_t column = 2 + l * t->corr;
        sp_correlation_run(t, nn, &w->maps.level[l], l, frames, &pairs, token + column,
                           token3 + column);
    }
    sp_tokens_finish(t, nn, &small, at, m, frames, time, token, token3, projected);
    embed(t, nn, w, frame, first, count, token, stream2);
    embed(t, nn, w, frame, first, count, projected, stream3);
    sp_nn_release(nn, mark);
}

/* All rows of both streams: chunks of frames, in each groups of tracks. The first group of the
 * first chunk needs the most memory: a dry run looks at that. */
static void all_tokens(const SpTracker *t, SpNn *nn, SpWindow *w, const Inputs *in, float *stream2,
                       float *stream3)
{
    const int64_t all = w->tracks * sp_chunk_frames(w->frames, 0);
    const int64_t most = nn->plan.rows && nn->plan.rows < PAIRS ? nn->plan.rows : PAIRS;
    const int64_t rows = sp_nn_chunk_rows(all, most);
    const double times = nn->times, pairs = (double)(w->tracks * w->frames);
    const SpNnMark mark = sp_nn_mark(nn);
    sp_feature_cache_read(nn, &w->maps);
    for (int64_t frame = 0; frame < w->frames; frame += SP_TRACK_FRAMES) {
        const int64_t frames = sp_chunk_frames(w->frames, frame), group = rows / frames;
        sp_feature_cache_use(nn, &w->maps, frame);
        for (int64_t n = 0; n < w->tracks && !(nn->dry && n + frame > 0); n += group) {
            const int64_t count = w->tracks - n < group ? w->tracks - n : group;
            nn->times = nn->dry ? times * pairs / (double)(count * frames) : times;
            tokens(t, nn, w, in, frame, n, count, stream2, stream3);
            nn->times = times;
            sp_progress(nn->progress, (double)(frame * w->tracks + (n + count) * frames), pairs);
        }
    }
    sp_nn_release(nn, mark);
}

void sp_window_iterate(const SpTracker *t, SpNn *nn, const SpTrackerSettings *settings, SpWindow *w)
{
    const int64_t pairs = w->frames * w->tracks, d = t->former.input_transform.w.dim[0];
    const SpNnMark mark = sp_nn_mark(nn);
    const SpUpdates updates = {sp_nn_alloc_host(nn, (size_t)(2 * pairs) * sizeof(float)),
                               sp_nn_alloc_host(nn, (size_t)(2 * pairs) * sizeof(float)),
                               sp_nn_alloc_host(nn, (size_t)(4 * pairs) * sizeof(float)),
                               sp_nn_alloc_host(nn, (size_t)pairs * sizeof(float))};
    const SpNnMark network = sp_nn_mark(nn);
    Inputs in;
    float *stream2 = sp_nn_alloc(nn, (w->tracks + t->former.virtual_tracks) * w->frames * d);
    float *stream3 = sp_nn_alloc(nn, pairs * d);
    const SpNnMark inputs = sp_nn_mark(nn);
    for (int i = 0; i < INPUTS; i++)
        *input(&in, i) = sp_nn_alloc(nn, pairs * width_of[i]);
    pack(t, nn, w, &in);
    all_tokens(t, nn, w, &in, stream2, stream3);
    sp_nn_release(nn, inputs);
    sp_former_run(t, nn, w->tracks, w->frames, stream2, stream3, &updates);
    sp_nn_release(nn, network);
    sp_window_update(t, nn, settings, &updates, w);
    sp_nn_release(nn, mark);
}
