/* A window's set-up: features, pyramids, what the queries see, the first state (section 4). */
#include <math.h>
#include <string.h>

#include "base/nearest.h"
#include "geometry/camera.h"
#include "nn/stream.h"
#include "tracker/internal.h"

void sp_window_alloc(const SpTracker *t, SpNn *nn, SpWindow *w)
{
    const int64_t frames = w->frames, n = w->tracks, pairs = frames * n;
    const int64_t area = frames * w->height * w->width, patch = t->side * t->side;
    w->depth = sp_nn_alloc_host(nn, (size_t)area * sizeof(float));
    w->valid = sp_nn_alloc_host(nn, (size_t)area);
    float **const host[] = {&w->k_model, &w->k,     &w->c2w,  &w->c2w_start, &w->query, &w->z,
                            &w->unc,     &w->start, &w->xyz,  &w->normal,    &w->track, &w->point,
                            &w->rough,   &w->vis,   &w->conf, &w->dyn,       &w->weight};
    const int64_t size[] = {9 * frames, 9 * frames, 16 * frames, 16 * frames, 3 * n,     n,
                            n,          4 * n,      3 * pairs,   3 * pairs,   3 * pairs, 3 * pairs,
                            3 * pairs,  pairs,      pairs,       pairs,       pairs};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        *host[i] = sp_nn_alloc_host(nn, (size_t)size[i] * sizeof(float));
    w->replaced = sp_nn_alloc_host(nn, (size_t)pairs);
    sp_feature_cache_alloc(t, nn, frames, &w->maps);
    w->maps.time = sp_nn_alloc(nn, frames * t->token);
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        SpCorrelationLevel *level = &w->maps.level[l];
        level->templates = sp_nn_alloc(nn, n * patch * t->channels);
        level->template_points = sp_nn_alloc(nn, n * patch * 3);
        level->query = sp_nn_alloc(nn, n * t->neighbours * t->channels);
        level->query_projected = sp_nn_alloc(nn, n * t->neighbours * t->channels);
    }
}

/* A frame of the clip by nearest to model size, [h, w, 3]. The published code brings the video to
 * -1..1 only after its features are taken (TrackRefiner.py), so the encoder sees 0..255. */
static void model_image(const SpTracker *t, const SpTrackerInput *in, int64_t frame, float *image)
{
    const int64_t area = in->height * in->width;
    const float *video = in->video + frame * 3 * area;
    for (int64_t y = 0; y < t->model_height; y++) {
        const int64_t row = sp_nearest_index(y, in->height, t->model_height) * in->width;
        for (int64_t x = 0; x < t->model_width; x++, image += 3) {
            const int64_t at = row + sp_nearest_index(x, in->width, t->model_width);
            for (int c = 0; c < 3; c++)
                image[c] = video[c * area + at];
        }
    }
}

/* The point of the model-size map at pixel (y, x), which is a working pixel. */
static void map_point(const SpTracker *t, const SpWindow *w, int64_t frame, int64_t y, int64_t x,
                      float out[3])
{
    const int64_t i = sp_nearest_index(y, w->height, t->model_height);
    const int64_t j = sp_nearest_index(x, w->width, t->model_width);
    sp_unproject(w->k + 9 * frame, (float)j, (float)i,
                 w->depth[(frame * w->height + i) * w->width + j], out);
}

static float clamped(float x, float least, float most)
{
    return x < least ? least : x > most ? most : x;
}

/* Depth, validity and point X [N, 3] at the queries; the depth of continued ones is given. */
static void look_up_queries(const SpTracker *t, const float *overlap_z, SpWindow *w, float *points)
{
    for (int64_t n = 0; n < w->tracks; n++) {
        const float *query = w->query + 3 * n;
        const int64_t frame = (int64_t)query[0];
        const int64_t x = sp_nearest_border(query[1], t->model_width);
        const int64_t y = sp_nearest_border(query[2], t->model_height);
        const int64_t i = sp_nearest_index(y, w->height, t->model_height);
        const int64_t j = sp_nearest_index(x, w->width, t->model_width);
        const int64_t at = (frame * w->height + i) * w->width + j;
        map_point(t, w, frame, y, x, points + 3 * n);
        w->unc[n] = w->valid[at];
        w->z[n] = clamped(w->depth[at], 0.01f, 200);
        if (n < w->continued)
            w->z[n] = points[3 * n + 2] = overlap_z[n];
    }
}

/* lo, hi of three standard deviations. One point, or points in a plane across an axis, have no
 * spread to divide by: there one unit stands in. */
static void normalisation(SpWindow *w, const float *points)
{
    const double n = (double)w->tracks;
    for (int i = 0; i < 3; i++) {
        double mean = 0, squares = 0;
        for (int64_t k = 0; k < w->tracks; k++)
            mean += (double)points[3 * k + i] / n;
        for (int64_t k = 0; k < w->tracks; k++)
            squares += ((double)points[3 * k + i] - mean) * ((double)points[3 * k + i] - mean);
        const double std = n > 1 ? sqrt(squares / (n - 1)) : 0;
        const double half = std > 1e-6 ? 3 * std : 1;
        w->lo[i] = mean - half;
        w->hi[i] = mean + half;
    }
}

/* Points of frame f into the levels. host: those of level 0. */
static void frame_points(const SpTracker *t, SpNn *nn, const SpWindow *w, int64_t f, float *host)
{
    for (int l = 0; l < SP_TRACK_LEVELS && sp_nn_live(nn); l++) {
        const SpCorrelationLevel *level = &w->maps.level[l];
        const int64_t step = t->stride << l, count = level->h * level->w;
        for (int64_t i = 0; i < count; i++) {
            float point[3];
            map_point(t, w, f, i / level->w * step, i % level->w * step, point);
            sp_normalise(w, point, host + 3 * i);
        }
        sp_nn_copy(nn, SP_UPLOAD, level->points, host, 3 * count);
    }
}

/* Patches around the queries of new tracks, sampled when the maps of the query's frame are made:
 * sorted by frame, tracks of one frame as they come. */
typedef struct Patches {
    int64_t old, fresh, done; /* tracks with patches already, new ones, those sampled so far */
    int32_t *order;           /* host [fresh] track of each sorted row, less `old` */
    int32_t *row;             /* device [fresh] sorted row of each track */
    float *xy, *frame;        /* device [levels, fresh, 2] pixels of the level; [fresh] zeros */
    float *features[SP_TRACK_LEVELS], *points[SP_TRACK_LEVELS]; /* device [fresh, side^2, C or 3] */
} Patches;

static int64_t query_frame(const SpWindow *w, int64_t n)
{
    const int64_t frame = (int64_t)w->query[3 * n];
    return frame < 0 ? 0 : frame < w->frames ? frame : w->frames - 1;
}

/* Where the sorted rows sample: [levels, fresh, 2], then zeros. */
static void patch_places(const SpTracker *t, const SpWindow *w, const Patches *p, float *xy,
                         int32_t *row)
{
    int64_t at = 0;
    for (int64_t f = 0; f < w->frames; f++)
        for (int64_t n = 0; n < p->fresh; n++)
            if (query_frame(w, p->old + n) == f) {
                row[n] = (int32_t)at;
                p->order[at++] = (int32_t)n;
            }
    for (int64_t i = 0; i < SP_TRACK_LEVELS * p->fresh; i++) {
        const float *query = w->query + 3 * (p->old + p->order[i % p->fresh]);
        const float scale = (float)(t->stride << i / p->fresh);
        xy[2 * i] = query[1] / scale;
        xy[2 * i + 1] = query[2] / scale;
    }
    memset(xy + 2 * SP_TRACK_LEVELS * p->fresh, 0, (size_t)p->fresh * sizeof *xy);
}

/* With room for all tracks: a dry run does not know the old ones. */
static Patches patches_begin(const SpTracker *t, SpNn *nn, const SpWindow *w)
{
    const int64_t all = w->tracks, patch = t->side * t->side;
    Patches p = {.old = w->continued, .fresh = all - w->continued};
    const int64_t places = (2 * SP_TRACK_LEVELS + 1) * p.fresh;
    const size_t rows = (size_t)p.fresh * sizeof *p.row;
    float *xy = sp_nn_alloc_host(nn, (size_t)((2 * SP_TRACK_LEVELS + 1) * all) * sizeof *xy);
    int32_t *row = sp_nn_alloc_host(nn, (size_t)all * sizeof *row);
    p.order = sp_nn_alloc_host(nn, (size_t)all * sizeof *p.order);
    p.xy = sp_nn_alloc(nn, (2 * SP_TRACK_LEVELS + 1) * all);
    p.frame = p.xy + 2 * SP_TRACK_LEVELS * p.fresh;
    p.row = (int32_t *)(void *)sp_nn_alloc(nn, all);
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        p.features[l] = sp_nn_alloc(nn, all * patch * t->channels);
        p.points[l] = sp_nn_alloc(nn, all * patch * 3);
    }
    if (sp_nn_live(nn))
        patch_places(t, w, &p, xy, row);
    sp_nn_copy(nn, SP_UPLOAD, p.xy, xy, places);
    sp_nn_run(nn, copy, &(SpCopy){SP_UPLOAD, p.row, rows, row, rows, rows, 1});
    return p;
}

/* Those of the queries in frame f, whose maps the levels are. */
static void patches_of_frame(const SpTracker *t, SpNn *nn, const SpWindow *w, int64_t f, Patches *p)
{
    const int64_t patch = t->side * t->side, c = t->channels, from = p->done;
    if (!sp_nn_live(nn))
        return;
    while (p->done < p->fresh && query_frame(w, p->old + p->order[p->done]) == f)
        p->done++;
    for (int l = 0; l < SP_TRACK_LEVELS && p->done > from; l++) {
        const SpCorrelationLevel *level = &w->maps.level[l];
        SpSamplePatches samples = {.map = level->features,
                                   .frames = 1,
                                   .h = level->h,
                                   .w = level->w,
                                   .c = c,
                                   .xy = p->xy + 2 * (l * p->fresh + from),
                                   .frame = p->frame,
                                   .pairs = p->done - from,
                                   .side = t->side,
                                   .out = p->features[l] + from * patch * c,
                                   .ldy = c};
        sp_nn_run(nn, sample_patches, &samples);
        samples.map = level->points;
        samples.c = samples.ldy = 3;
        samples.out = p->points[l] + from * patch * 3;
        sp_nn_run(nn, sample_patches, &samples);
    }
}

/* Level 0's features of frame f: those of the window before, or the encoder's. */
static void frame_features(const SpTracker *t, SpNn *nn, const SpTrackerInput *in, int64_t frame,
                           float *image, float *uploaded, const SpWindow *w)
{
    if (sp_nn_live(nn))
        model_image(t, in, frame, image);
    sp_nn_copy(nn, SP_UPLOAD, uploaded, image, 3 * t->model_height * t->model_width);
    sp_encoder_run(t, nn, uploaded, t->model_height, t->model_width, w->maps.level[0].features);
}

/* Maps of all frames, and the patches around the queries, which are in them. */
static void maps(const SpTracker *t, SpNn *nn, const SpTrackerInput *in, int64_t first,
                 const SpWindowCarry *carried, SpWindow *w, Patches *patches)
{
    const int64_t pixels = 3 * t->model_height * t->model_width;
    const int64_t known = carried->tracks ? t->overlap : 0;
    const SpNnMark mark = sp_nn_mark(nn);
    float *image = sp_nn_alloc_host(nn, (size_t)pixels * sizeof *image);
    float *points = sp_nn_alloc_host(nn, (size_t)(w->maps.level[0].h * w->maps.level[0].w * 3) *
                                             sizeof *points);
    float *uploaded = sp_nn_alloc(nn, pixels);
    sp_feature_cache_write(nn, &w->maps);
    SpStream weights = sp_stream_load(nn, t->encoder_group, 1);
    /* Every frame needs the same memory: a dry run looks at one. */
    const int64_t frames = sp_nn_loop_begin(nn, w->frames);
    for (int64_t f = 0; f < frames; f++) {
        sp_feature_cache_frame(&w->maps, f);
        if (f < known)
            sp_feature_cache_recall(nn, &w->maps, f, carried->features);
        else
            frame_features(t, nn, in, sp_window_frame(in, first, f), image, uploaded, w);
        frame_points(t, nn, w, f, points);
        sp_feature_cache_store(nn, &w->maps, f);
        patches_of_frame(t, nn, w, f, patches);
        sp_progress(nn->progress, (double)(f + 1), (double)w->frames);
    }
    sp_nn_loop_end(nn, w->frames);
    sp_stream_end(nn, &weights);
    sp_nn_release(nn, mark);
}

/* What the queries see on level l: patches in the tracks' order, those of continued ones as they
 * were, and what follows from them. points: host, of these. */
static void templates(const SpTracker *t, SpNn *nn, const SpWindowCarry *carried, const SpWindow *w,
                      const Patches *p, int l, float *points)
{
    const int64_t patch = t->side * t->side, c = t->channels, old = p->old, fresh = p->fresh;
    const SpCorrelationLevel *level = &w->maps.level[l];
    const int64_t wide = patch * c, narrow = patch * 3;
    sp_nn_run(nn, pick_rows,
              &(SpPickRows){p->features[l], p->row, 1, fresh, fresh, wide,
                            level->templates + old * wide, wide});
    sp_nn_run(nn, pick_rows,
              &(SpPickRows){p->points[l], p->row, 1, fresh, fresh, narrow,
                            level->template_points + old * narrow, narrow});
    if (old) {
        sp_nn_copy(nn, SP_ON_DEVICE, level->templates, carried->templates[l], old * wide);
        for (int64_t i = 0; i < old * patch && sp_nn_live(nn); i++)
            sp_normalise(w, carried->template_points[l] + 3 * i, points + 3 * i);
        sp_nn_copy(nn, SP_UPLOAD, level->template_points, points, old * narrow);
    }
    sp_correlation_query(t, nn, level, w->tracks);
}

static void maps_and_templates(const SpTracker *t, SpNn *nn, const SpTrackerInput *in,
                               int64_t first, const SpWindowCarry *carried, SpWindow *w)
{
    const SpNnMark mark = sp_nn_mark(nn);
    Patches patches = patches_begin(t, nn, w);
    float *points =
        sp_nn_alloc_host(nn, (size_t)(carried->users * t->side * t->side * 3) * sizeof *points);
    maps(t, nn, in, first, carried, w, &patches);
    for (int l = 0; l < SP_TRACK_LEVELS; l++)
        templates(t, nn, carried, w, &patches, l, points);
    sp_nn_release(nn, mark);
}

/* Q of section 4 for pair (f, n): x, y in model pixels and z; and the camera-space point. */
static void first_position(const SpTracker *t, const SpWindowCarry *carried, const SpWindow *w,
                           const float *points, int64_t f, int64_t n, float xyz[3], float normal[3])
{
    if (n >= w->continued) {
        memcpy(xyz, w->query + 3 * n + 1, 2 * sizeof *xyz);
        xyz[2] = w->z[n];
        sp_normalise(w, points + 3 * n, normal);
        return;
    }
    const int64_t at = (f < t->overlap ? f : t->overlap - 1) * carried->users + n;
    xyz[0] = carried->track[3 * at] * (float)t->model_width / (float)w->width;
    xyz[1] = carried->track[3 * at + 1] * (float)t->model_height / (float)w->height;
    xyz[2] = carried->track[3 * at + 2];
    sp_normalise(w, carried->point + 3 * at, normal);
}

static void first_state(const SpTracker *t, const SpWindowCarry *carried, const float *points,
                        SpWindow *w)
{
    const int64_t pairs = w->frames * w->tracks;
    for (int64_t i = 0; i < pairs; i++) {
        const int64_t f = i / w->tracks, n = i % w->tracks;
        float *xyz = w->xyz + 3 * i;
        first_position(t, carried, w, points, f, n, xyz, w->normal + 3 * i);
        if (f == 0) {
            w->start[4 * n] = w->query[3 * n];
            memcpy(w->start + 4 * n + 1, xyz, 3 * sizeof *xyz);
        }
        xyz[0] /= (float)t->stride;
        xyz[1] /= (float)t->stride;
    }
    float *const logits[] = {w->vis, w->conf, w->dyn, w->weight};
    for (int i = 0; i < 4; i++)
        memset(logits[i], 0, (size_t)pairs * sizeof **logits);
}

static void time_table(const SpTracker *t, SpNn *nn, const SpWindow *w)
{
    const SpNnMark mark = sp_nn_mark(nn);
    float *time = sp_nn_alloc_host(nn, (size_t)(w->frames * t->token) * sizeof *time);
    if (sp_nn_live(nn))
        sp_time_embedding(t->time_length, t->token, w->frames, time);
    sp_nn_copy(nn, SP_UPLOAD, w->maps.time, time, w->frames * t->token);
    sp_nn_release(nn, mark);
}

void sp_window_init(const SpTracker *t, SpNn *nn, const SpTrackerInput *in, int64_t first,
                    const SpWindowCarry *carried, const float *overlap_z, SpWindow *w)
{
    const SpNnMark mark = sp_nn_mark(nn);
    float *points = sp_nn_alloc_host(nn, (size_t)(3 * w->tracks) * sizeof *points);
    if (sp_nn_live(nn)) {
        look_up_queries(t, overlap_z, w, points);
        normalisation(w, points);
        first_state(t, carried, points, w);
    }
    time_table(t, nn, w);
    maps_and_templates(t, nn, in, first, carried, w);
    sp_nn_release(nn, mark);
}

/* Rows `from` .. users of a [.., 3] array of the device, denormalised, to the host. */
static void keep_points(const SpTracker *t, SpNn *nn, const SpWindow *w, int l, int64_t from,
                        SpWindowCarry *carried)
{
    const int64_t patch = t->side * t->side, count = (w->users - from) * patch;
    float *kept = carried->template_points[l] + from * patch * 3;
    sp_nn_copy(nn, SP_DOWNLOAD, kept, w->maps.level[l].template_points + from * patch * 3,
               3 * count);
    for (int64_t i = 0; i < 3 * count && sp_nn_live(nn); i++)
        kept[i] = sp_denormalise(w, (double)kept[i], (int)(i % 3));
}

void sp_carry_alloc(const SpTracker *t, SpNn *nn, int64_t users, SpWindowCarry *c)
{
    const int64_t patch = t->side * t->side;
    const int64_t map = t->model_height / t->stride * (t->model_width / t->stride) * t->channels;
    *c = (SpWindowCarry){.users = users};
    c->features = sp_feature_cache_memory(nn, t->overlap * map);
    c->track = sp_nn_alloc_host(nn, (size_t)(3 * t->overlap * users) * sizeof(float));
    c->point = sp_nn_alloc_host(nn, (size_t)(3 * t->overlap * users) * sizeof(float));
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        c->templates[l] = sp_nn_alloc(nn, users * patch * t->channels);
        c->template_points[l] = sp_nn_alloc_host(nn, (size_t)(3 * users * patch) * sizeof(float));
    }
}

void sp_window_carry(const SpTracker *t, SpNn *nn, const SpWindow *w, SpWindowCarry *carried)
{
    const int64_t patch = t->side * t->side * t->channels, known = w->continued;
    const SpCorrelationLevel *level = w->maps.level;
    const int64_t last = w->frames - t->overlap;
    if (!sp_nn_live(nn))
        return;
    sp_feature_cache_carry(nn, &w->maps, last, t->overlap, carried->features);
    for (int l = 0; l < SP_TRACK_LEVELS; l++) {
        sp_nn_copy(nn, SP_ON_DEVICE, carried->templates[l] + known * patch,
                   level[l].templates + known * patch, (w->users - known) * patch);
        keep_points(t, nn, w, l, known, carried);
    }
    for (int64_t f = 0; f < t->overlap; f++) {
        const int64_t from = (last + f) * w->tracks * 3, to = f * carried->users * 3;
        memcpy(carried->track + to, w->track + from, (size_t)(3 * w->users) * sizeof(float));
        memcpy(carried->point + to, w->point + from, (size_t)(3 * w->users) * sizeof(float));
    }
    carried->tracks = w->users;
}
