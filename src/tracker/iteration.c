#include "tracker/window.h"

#include <string.h>

#include "geometry/camera.h"
#include "tracker/tokens.h"
#include "tracker/window_dump.h"

/* Of pairs whose tokens are made together: tokens are wide. */
enum { MAX_PAIRS = 4 * SP_ROW_TILE };

/* What the network reads of the state for each pair of track and frame: visibility and confidence,
 * motions and rigid carry as in SpTokenInputs, the rest as in SpPairs. */
typedef enum Input { LOGITS, MOTION_2D, MOTION_3D, RIGID, XY, ORIGIN, VALID, FRAME, INPUTS } Input;

static const int width_of[INPUTS] = {2, SP_MOTION_2D, SP_MOTION_3D, SP_RIGID_CARRY, 2, 3, 1, 1};

/* Rows stand by chunks of SP_CHUNK_FRAMES frames, in each track by track. */
typedef struct Inputs {
    float *rows[INPUTS];
} Inputs;

static float *row(const Inputs *in, Input input, int64_t pair)
{
    return in->rows[input] + width_of[input] * pair;
}

/* The row of track n in frame t. */
static int64_t pair_at(const SpWindow *w, int64_t n, int64_t t)
{
    const int64_t first = t / SP_CHUNK_FRAMES * SP_CHUNK_FRAMES;
    return first * w->tracks + n * sp_chunk_frames(w->frames, first) + t - first;
}

/* x now less x in the next frame, then less x in the frame before, `after` and `before` floats
 * away; 0 where there is no such frame. */
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
        sum += (double)sp_sigmoid(w->dyn[f * w->tracks + n]);
    return (float)(sum / (double)w->frames);
}

/* world: the point of the track's query. */
static void pack_track(const SpTracker *t, const SpWindow *w, const float *w2c,
                       const float world[3], int64_t n, const Inputs *in)
{
    const float map[2] = {(float)(t->model_width / t->stride),
                          (float)(t->model_height / t->stride)};
    const float one[3] = {1, 1, 1}, dynamic = mean_dynamic(w, n);
    const float frames = (float)w->frames, first = w->query_xyz[4 * n] / frames;
    for (int64_t f = 0; f < w->frames; f++) {
        const int64_t i = f * w->tracks + n, to = pair_at(w, n, f);
        const int64_t step = 3 * w->tracks, before = f ? step : 0;
        const int64_t after = f + 1 < w->frames ? step : 0;
        const float *point = w->normalised + 3 * i;
        float carried[3], *logits = row(in, LOGITS, to), *rigid = row(in, RIGID, to);
        logits[0] = w->vis[i];
        logits[1] = w->conf[i];
        differences(w->coords + 3 * i, before, after, 2, map, row(in, MOTION_2D, to));
        differences(point, before, after, 3, one, row(in, MOTION_3D, to));
        sp_pose_apply(w2c + 16 * f, world, carried);
        sp_normalise(w, carried, carried);
        rigid[0] = first - (float)f / frames;
        for (int c = 0; c < 3; c++)
            rigid[1 + c] = carried[c] - point[c];
        rigid[4] = sp_sigmoid(w->conf[i]);
        rigid[5] = dynamic;
        memcpy(row(in, XY, to), w->coords + 3 * i, 2 * sizeof(float));
        memcpy(row(in, ORIGIN, to), point, 3 * sizeof(float));
        *row(in, VALID, to) = sp_denormalise(w, (double)point[2], 2) > 0;
        *row(in, FRAME, to) = (float)(f % SP_CHUNK_FRAMES);
    }
}

static void pack(const SpTracker *t, SpNn *nn, const SpWindow *w, const Inputs *device)
{
    const int64_t pairs = w->frames * w->tracks;
    SP_NN_SCOPE(nn);
    Inputs host;
    for (int i = 0; i < INPUTS; i++)
        host.rows[i] = sp_nn_host_floats(nn, pairs * width_of[i]);
    float *world = sp_nn_host_floats(nn, 3 * w->tracks),
          *w2c = sp_nn_host_floats(nn, 16 * w->frames);
    if (sp_nn_live(nn)) {
        sp_query_world(w, w->model_intrinsics, w->c2w, world);
        for (int64_t f = 0; f < w->frames; f++)
            sp_pose_invert(w->c2w + 16 * f, w2c + 16 * f);
        for (int64_t n = 0; n < w->tracks; n++)
            pack_track(t, w, w2c, world + 3 * n, n, &host);
    }
    for (int i = 0; i < INPUTS; i++)
        sp_nn_copy(nn, SP_UPLOAD, device->rows[i], host.rows[i], pairs * width_of[i]);
}

/* Tensors of the tokens for the sink of nn/dump.h. */
enum { CORRELATION_2D, CORRELATION_3D, TOKEN_2D, TOKEN_3D, DUMPS };

/* The network half while it runs; streams as in update_former.h, rows track by track. */
typedef struct Run {
    const SpTracker *tracker;
    SpNn *nn;
    SpWindow *window;
    Inputs inputs;
    float *stream2, *stream3;
    SpTokenDump dump[DUMPS];
} Run;

/* Tokens of pairs in frames from `frame` on to their rows of a stream. */
static void embed(const Run *r, int64_t frame, const SpPairs *p, const float *tokens, float *stream)
{
    const SpDense *transform = &r->tracker->former.input_transform;
    const int64_t d = r->tracker->former.width, some = p->frames * d, all = r->window->frames * d;
    SP_NN_SCOPE(r->nn);
    float *rows = sp_nn_alloc(r->nn, p->tracks * some);
    sp_dense_run(r->nn, transform, tokens, p->tracks * p->frames, SP_IDENTITY, rows);
    sp_nn_copy_rows(r->nn, SP_ON_DEVICE, stream + p->first_track * all + frame * d, all, rows, some,
                    some, p->tracks);
}

static void dump_tokens(const Run *r, int i, int64_t frame, const SpPairs *p, const float *rows,
                        int64_t stride)
{
    sp_dump_tokens_add(r->nn, r->window, p, frame, rows, stride, &r->dump[i]);
}

/* Both streams' rows of tracks first .. first + count in the cache's chunk, from `frame` on. */
static void embed_pairs(const Run *r, int64_t frame, int64_t first, int64_t count)
{
    const SpTracker *t = r->tracker;
    const SpWindow *w = r->window;
    const int64_t frames = sp_chunk_frames(w->frames, frame), m = count * frames;
    const int64_t at = pair_at(w, first, frame);
    const SpPairs pairs = {.first_track = first,
                           .tracks = count,
                           .frames = frames,
                           .frame = row(&r->inputs, FRAME, at),
                           .xy = row(&r->inputs, XY, at),
                           .origin = row(&r->inputs, ORIGIN, at),
                           .valid = row(&r->inputs, VALID, at)};
    const SpTokenInputs small = {.logits = row(&r->inputs, LOGITS, at),
                                 .motion2 = row(&r->inputs, MOTION_2D, at),
                                 .motion3 = row(&r->inputs, MOTION_3D, at),
                                 .rigid = row(&r->inputs, RIGID, at),
                                 .time = w->time + frame * t->token_width,
                                 .pairs = m,
                                 .frames = frames};
    SP_NN_SCOPE(r->nn);
    float *token = sp_nn_alloc(r->nn, m * t->token_width);
    float *token3 = sp_nn_alloc(r->nn, m * t->token3_width);
    float *projected = sp_nn_alloc(r->nn, m * t->token_width);
    for (int l = 0; l < SP_CORRELATION_LEVELS; l++) {
        const int64_t column = 2 + l * t->corr_width;
        sp_correlation_run(t, r->nn, &w->cache.level[l], &pairs, token + column, token3 + column);
    }
    dump_tokens(r, CORRELATION_2D, frame, &pairs, token + 2, t->token_width);
    dump_tokens(r, CORRELATION_3D, frame, &pairs, token3 + 2, t->token3_width);
    sp_tokens_finish(t, r->nn, &small, &(SpTokens){token, token3, projected});
    dump_tokens(r, TOKEN_2D, frame, &pairs, token, t->token_width);
    dump_tokens(r, TOKEN_3D, frame, &pairs, projected, t->token_width);
    embed(r, frame, &pairs, token, r->stream2);
    embed(r, frame, &pairs, projected, r->stream3);
}

/* All rows of both streams: chunks of frames, in each groups of tracks. The first group of the
 * first chunk needs as much memory as any: a dry run goes through that one alone. */
static void embed_window(const Run *r)
{
    SpNn *nn = r->nn;
    SpWindow *w = r->window;
    const int64_t max = nn->plan.rows ? sp_min(nn->plan.rows, MAX_PAIRS) : MAX_PAIRS;
    const int64_t rows = sp_nn_chunk_rows(w->tracks * sp_chunk_frames(w->frames, 0), max);
    const double times = nn->times, pairs = (double)(w->tracks * w->frames);
    SP_NN_SCOPE(nn);
    sp_feature_cache_read(nn, &w->cache);
    for (int64_t frame = 0; frame < w->frames; frame += SP_CHUNK_FRAMES) {
        const int64_t frames = sp_chunk_frames(w->frames, frame), group = rows / frames;
        sp_feature_cache_use(nn, &w->cache, frame);
        for (int64_t n = 0; n < w->tracks && !(nn->dry && n + frame > 0); n += group) {
            const int64_t count = sp_min(group, w->tracks - n);
            nn->times = nn->dry ? times * pairs / (double)(count * frames) : times;
            embed_pairs(r, frame, n, count);
            nn->times = times;
            sp_progress(nn->progress, (double)(frame * w->tracks + (n + count) * frames), pairs);
        }
    }
}

/* The network on the window's state. */
static void run_network(const SpTracker *t, SpNn *nn, SpWindow *w, const SpUpdates *updates)
{
    const int64_t pairs = w->frames * w->tracks, d = t->former.width;
    const int64_t corr = SP_CORRELATION_LEVELS * t->corr_width;
    SP_NN_SCOPE(nn);
    Run run = {.tracker = t,
               .nn = nn,
               .window = w,
               .dump = {[CORRELATION_2D] = {"corr_embs", corr, true, NULL},
                        [CORRELATION_3D] = {"corr_depth_embs", corr, true, NULL},
                        [TOKEN_2D] = {"x", t->token_width, false, NULL},
                        [TOKEN_3D] = {"x_depth", t->token_width, false, NULL}}};
    run.stream2 = sp_nn_alloc(nn, (w->tracks + t->former.virtual_tracks) * w->frames * d);
    run.stream3 = sp_nn_alloc(nn, pairs * d);
    {
        SP_NN_SCOPE(nn);
        for (int i = 0; i < INPUTS; i++)
            run.inputs.rows[i] = sp_nn_alloc(nn, pairs * width_of[i]);
        pack(t, nn, w, &run.inputs);
        for (int i = 0; i < DUMPS; i++)
            sp_dump_tokens_begin(nn, w, &run.dump[i]);
        embed_window(&run);
        for (int i = 0; i < DUMPS; i++)
            sp_dump_tokens_end(nn, w, &run.dump[i]);
    }
    sp_update_former_run(&t->former, nn, w->tracks, w->frames, run.stream2, run.stream3, updates);
    sp_dump_updates(nn, w, updates);
}

void sp_window_iterate(const SpTracker *t, SpNn *nn, const SpTrackerSettings *settings, SpWindow *w)
{
    const int64_t pairs = w->frames * w->tracks;
    SP_NN_SCOPE(nn);
    const SpUpdates updates = {.flow = sp_nn_host_floats(nn, 2 * pairs),
                               .vis_conf = sp_nn_host_floats(nn, 2 * pairs),
                               .point = sp_nn_host_floats(nn, 4 * pairs),
                               .weight = sp_nn_host_floats(nn, pairs)};
    run_network(t, nn, w, &updates);
    sp_window_update(t, nn, settings, &updates, w);
}
