#include "refine/refine.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "refine/align.h"
#include "refine/pyramid.h"

/* Lengths are counted in units of 1/256 of the frame's short side; all numbers come from held-out
 * clips of the recipe (src/refine/README.md, "Numbers"). */

/* How far the network is off, one axis: this, and so much more for each lack of confidence. As many
 * times that is the farthest a point is moved, and never farther than MAX_SHIFT. */
static const float NETWORK_SIGMA = 0.3f, NETWORK_SLOPE = 4, GATE = 3;
static const float MAX_SHIFT = 10, MAX_SHIFT_HIDDEN = 4;

/* The least correlations: of a patch found near the network's place; of the query's patch found
 * near that of the last frame; of the last frame's patch where the query's is not found; of a point
 * that the network calls hidden. */
static const float MIN_ALONE = 0.8f, MIN_QUERY = 0.7f, MIN_RECENT = 0.99f, MIN_HIDDEN = 0.9f;

/* How far the two patches' places may lie apart. */
static const float MAX_DRIFT = 2;

/* Of a point that is found without the network, from where it was one frame before: how far it may
 * have gone; when it is found exactly, by both patches; what is enough when the way back leads
 * there, so near. */
static const float ALONE_SHIFT = 20, EXACT = 0.9f, MAX_SIGMA = 2;
static const float MIN_RETURN = 0.8f, RETURN = 0.4f;

/* How much better that must correlate than the place near the network's; it is not looked for where
 * that correlates by ENOUGH, less the gain, or lies so near where the point is expected to have
 * gone. */
static const float ALONE_GAIN = 0.01f, ENOUGH = 0.98f, EXPECTED = 1;

/* A finer level is expected within so many of its pixels of the one above. */
static const float LEVEL_SIGMA = 1;

/* The share of a patch that must agree for the rest to be left out. */
static const float MIN_SHARE = 0.6f;

/* A point is surely found where the way back leads so near its last place, or its query's patch is
 * found so exactly and with that correlation, or where the network has at least that confidence.
 * Then it gets FOUND_VISIBILITY at least; else, where the network has less than MIN_CONFIDENCE,
 * LOST_VISIBILITY at most. So does one that is found, but to no better than ROUGH_SIGMA, where the
 * network has less than ROUGH_CONFIDENCE. Visible is above 0.5. */
static const float SURE_RETURN = 0.25f, SURE_SIGMA = 0.5f, SURE_CORRELATION = 0.85f,
                   SURE_CONFIDENCE = 0.1f;
static const float ROUGH_SIGMA = 1.5f, ROUGH_CONFIDENCE = 0.4f;
static const float MIN_CONFIDENCE = 0.3f;
static const float FOUND_VISIBILITY = 0.6f, LOST_VISIBILITY = 0.4f;

/* The less the network knows of a place, the more matches there are wrong: sigma grows by this
 * times the square of the network's expected error. */
static const float SIGMA_SLOPE = 0.7f;

enum {
    MOVE_STEPS = 12,
    AFFINE_STEPS = 8,
    LEVELS_ABOVE = 2, /* the one whose short side has 256 pixels or so */
    MAX_LEVEL = 3,    /* the coarsest on which a point may be found last */
    PATCH = SP_CUT * SP_CUT
};

typedef enum Which { QUERY, RECENT, PATCHES } Which;

/* What is known of a track on its way through the frames. */
typedef struct Track {
    bool textured;    /* the query's patch could be found again */
    bool cut, found;  /* the query's patch is there; so is a recent one */
    int64_t frame;    /* of the recent patch */
    SpWarp warp;      /* from the query's patch to that frame */
    float network[2]; /* where the network saw the point there */
    float step[2];    /* by which it came there from the frame before; 0: it was not found there */
    float sigma;
} Track;

struct SpRefiner {
    SpRefineTracks tracks;
    float unit;                  /* pixels of the video */
    SpPyramid pyramid, previous; /* of this frame and of the one before */
    Track *track;                /* [N] */
    uint8_t *patches;            /* [N, PATCHES, levels, PATCH] */
};

static int levels_of(int64_t height, int64_t width)
{
    const long above = lround(log2((double)sp_min(height, width) / 256)) + LEVELS_ABOVE;
    return (int)sp_min(sp_max(above, 0) + 1, SP_MAX_PYRAMID_LEVELS);
}

size_t sp_refiner_bytes(int64_t tracks, int64_t height, int64_t width, int threads)
{
    const size_t patches = (size_t)PATCHES * PATCH * (size_t)levels_of(height, width);
    return 2 * sp_pyramid_bytes(height, width, threads) +
           (size_t)tracks * (sizeof(Track) + patches);
}

SpStatus sp_refiner_open(const SpRefineTracks *tracks, SpRefiner **out)
{
    SpRefiner *r = *out = calloc(1, sizeof *r);
    if (!r)
        return sp_no_memory("the refinement");
    r->tracks = *tracks;
    r->tracks.threads = tracks->threads > 0 ? tracks->threads : omp_get_num_procs();
    r->unit = (float)sp_min(tracks->height, tracks->width) / 256;
    r->track = calloc((size_t)tracks->tracks, sizeof *r->track);
    SP_TRY(sp_pyramid_alloc(tracks->height, tracks->width, levels_of(tracks->height, tracks->width),
                            r->tracks.threads, &r->pyramid));
    SP_TRY(sp_pyramid_alloc(tracks->height, tracks->width, r->pyramid.levels, r->tracks.threads,
                            &r->previous));
    r->patches = malloc((size_t)(tracks->tracks * PATCHES * r->pyramid.levels) * PATCH);
    if (!r->track || !r->patches)
        return sp_no_memory("the refinement");
    return sp_ok();
}

void sp_refiner_close(SpRefiner *r)
{
    if (!r)
        return;
    sp_pyramid_free(&r->pyramid);
    sp_pyramid_free(&r->previous);
    free(r->track);
    free(r->patches);
    free(r);
}

int64_t sp_refiner_cut_frames(const SpRefiner *r)
{
    int64_t last = 0;
    for (int64_t n = 0; n < r->tracks.tracks; n++)
        if (!r->track[n].cut)
            last = sp_max(last, (int64_t)r->tracks.queries[3 * n]);
    return last > 0 ? last + 1 : 0;
}

static uint8_t *patch(const SpRefiner *r, int64_t n, Which which, int level)
{
    return r->patches + ((PATCHES * n + which) * r->pyramid.levels + level) * PATCH;
}

void sp_refiner_set_tracks(SpRefiner *r, const SpRefineTracks *tracks)
{
    const int threads = r->tracks.threads;
    r->tracks = *tracks;
    r->tracks.threads = threads;
}

SpStatus sp_refiner_grow(SpRefiner *r, const SpRefineTracks *tracks)
{
    const size_t before = (size_t)r->tracks.tracks, count = (size_t)tracks->tracks;
    Track *more = realloc(r->track, count * sizeof *more);
    r->track = more ? more : r->track;
    uint8_t *patches = realloc(r->patches, count * (size_t)(PATCHES * r->pyramid.levels) * PATCH);
    r->patches = patches ? patches : r->patches;
    if (!more || !patches)
        return sp_no_memory("the refinement");
    memset(r->track + before, 0, (count - before) * sizeof *more);
    sp_refiner_set_tracks(r, tracks);
    return sp_ok();
}

/* Where the arrays have point n of frame t. */
static int64_t index_of(const SpRefiner *r, int64_t t, int64_t n)
{
    return (t - r->tracks.first) * r->tracks.tracks + n;
}

static SpGray level_of(const SpPyramid *pyramid, int k)
{
    return (SpGray){pyramid->gray[k], pyramid->height[k], pyramid->width[k]};
}

/* Pixel x, y of the video on level k and back. */
static SpWarp on_level(SpWarp warp, int k)
{
    warp.x = ldexpf(warp.x, -k);
    warp.y = ldexpf(warp.y, -k);
    return warp;
}

static void cut(SpRefiner *r, int64_t n, Which which, float x, float y)
{
    for (int k = 0; k < r->pyramid.levels; k++)
        sp_patch_cut(level_of(&r->pyramid, k), ldexpf(x, -k), ldexpf(y, -k), patch(r, n, which, k));
}

/* The patches of the queries on frame t, which is in the pyramid. */
static void swap_pyramids(SpRefiner *r)
{
    const SpPyramid previous = r->previous;
    r->previous = r->pyramid;
    r->pyramid = previous;
}

static void cut_queries(SpRefiner *r, int64_t t)
{
    for (int64_t n = 0; n < r->tracks.tracks; n++) {
        const float *query = r->tracks.queries + 3 * n;
        Track *track = r->track + n;
        SpTemplate template;
        if ((int64_t)query[0] != t || track->cut)
            continue;
        cut(r, n, QUERY, query[1], query[2]);
        track->cut = true;
        track->textured =
            sp_template_make(patch(r, n, QUERY, r->pyramid.levels - 1), 2, NULL, &template);
        track->warp = (SpWarp){{1, 0, 0, 1}, query[1], query[2]};
    }
}

bool sp_refiner_has_queries(const SpRefiner *r, int64_t t)
{
    for (int64_t n = 0; n < r->tracks.tracks; n++)
        if ((int64_t)r->tracks.queries[3 * n] == t)
            return true;
    return false;
}

void sp_refiner_cut(SpRefiner *r, int64_t t, const uint8_t *rgb)
{
    if (!sp_refiner_has_queries(r, t))
        return;
    swap_pyramids(r); /* of the last two frames the later one is still looked at */
    sp_pyramid_fill(&r->pyramid, rgb);
    cut_queries(r, t);
    swap_pyramids(r);
}

/* A patch found on a level: its warp and sigma in pixels of the video. */
typedef struct Match {
    int level; /* -1: none yet */
    SpTemplate template;
    SpWarp warp;
    SpFit fit;
} Match;

/* How a patch is to be aligned: 2 or 6 parameters, and what its pixels weigh, NULL: alike. */
typedef struct Manner {
    int parameters, steps;
    const float *trust;
} Manner;

/* Aligns a patch of level k. False where it is not found there. */
static bool align_level(const SpPyramid *image, const uint8_t *pixels, int k, Manner manner,
                        const SpPrior *prior, const SpWarp *start, Match *out)
{
    const SpPrior here = {ldexpf(prior->x, -k), ldexpf(prior->y, -k), ldexpf(prior->sigma, -k)};
    SpWarp warp = on_level(*start, k);
    if (!sp_template_make(pixels, manner.parameters, manner.trust, &out->template) ||
        !sp_align(&out->template, level_of(image, k), &here, manner.steps, &warp))
        return false;
    out->level = k;
    out->fit = sp_align_fit(&out->template, level_of(image, k), &warp);
    /* Along an edge the prior is all that is known, and sigma not a number. */
    out->fit.sigma = fminf(ldexpf(out->fit.sigma, k), prior->sigma);
    out->warp = on_level(warp, -k);
    return true;
}

/* Two expectations in one. */
static SpPrior combine(const SpPrior *a, const SpPrior *b)
{
    const float p = 1 / (a->sigma * a->sigma), q = 1 / (b->sigma * b->sigma), sum = p + q;
    return (SpPrior){(a->x * p + b->x * q) / sum, (a->y * p + b->y * q) / sum, 1 / sqrtf(sum)};
}

/* Finds a patch from level `top` down to the finest with enough texture, there with its affine
 * warp, and then without the pixels that do not agree. False where it is not found; *match begins
 * with the warp to start from. */
static bool find_patch(const SpPyramid *image, const uint8_t *patches, int top,
                       const SpPrior *prior, Match *match)
{
    static const Manner moved = {2, MOVE_STEPS, NULL}, affine = {6, AFFINE_STEPS, NULL};
    SpPrior near = *prior;
    Match next;
    match->level = -1;
    for (int k = top; k >= 0; k--) {
        if (!align_level(image, patches + k * PATCH, k, moved, &near, &match->warp, &next))
            continue;
        *match = next;
        const SpPrior above = {next.warp.x, next.warp.y, ldexpf(LEVEL_SIGMA, k)};
        near = combine(prior, &above);
    }
    const int k = match->level;
    if (k < 0 || k > MAX_LEVEL)
        return false;
    if (align_level(image, patches + k * PATCH, k, affine, prior, &match->warp, &next) &&
        next.fit.correlation > match->fit.correlation)
        *match = next;
    float trust[SP_WINDOW_PIXELS];
    const SpWarp at = on_level(match->warp, k);
    const Manner trusted = {match->template.parameters, MOVE_STEPS, trust};
    if (sp_align_trust(&match->template, level_of(image, k), &at, trust) > MIN_SHARE &&
        align_level(image, patches + k * PATCH, k, trusted, prior, &match->warp, &next))
        *match = next;
    return true;
}

static bool is_near(const SpWarp *warp, float x, float y, float reach)
{
    return hypotf(warp->x - x, warp->y - y) < reach;
}

/* a b */
static void multiply(const float a[4], const float b[4], float out[4])
{
    const float c[4] = {a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3],
                        a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3]};
    memcpy(out, c, sizeof c);
}

/* A place where a point is found: by the recent patch, and by the query's, which does not drift;
 * and how far the way back from it misses the last place, where that was looked for. */
typedef struct Place {
    bool found[PATCHES];
    float missed;
    Match match[PATCHES];
} Place;

/* Looks for point n from x, y on, within `reach` of the prior. */
static bool find_place(const SpRefiner *r, int64_t n, float x, float y, const SpPrior *prior,
                       float reach, Place *place)
{
    const Track *track = r->track + n;
    const int top = r->pyramid.levels - 1;
    Match *query = place->match + QUERY, *recent = place->match + RECENT;
    int from = top;
    place->missed = INFINITY;
    recent->warp = (SpWarp){{1, 0, 0, 1}, x, y};
    query->warp =
        (SpWarp){{track->warp.a[0], track->warp.a[1], track->warp.a[2], track->warp.a[3]}, x, y};
    place->found[RECENT] =
        track->found && find_patch(&r->pyramid, patch(r, n, RECENT, 0), top, prior, recent) &&
        recent->fit.correlation > MIN_ALONE && is_near(&recent->warp, prior->x, prior->y, reach);
    if (place->found[RECENT]) {
        query->warp = recent->warp;
        multiply(recent->warp.a, track->warp.a, query->warp.a);
        from = (int)sp_min(recent->level + 1, top);
    }
    place->found[QUERY] = find_patch(&r->pyramid, patch(r, n, QUERY, 0), from, prior, query) &&
                          is_near(&query->warp, prior->x, prior->y, reach);
    if (place->found[RECENT])
        place->found[QUERY] =
            place->found[QUERY] && query->fit.correlation > MIN_QUERY &&
            is_near(&query->warp, recent->warp.x, recent->warp.y, MAX_DRIFT * r->unit);
    else
        place->found[QUERY] = place->found[QUERY] && query->fit.correlation > MIN_ALONE;
    return place->found[QUERY] || (place->found[RECENT] && recent->fit.correlation > MIN_RECENT);
}

static float correlation(const Place *place)
{
    return place->match[place->found[QUERY] ? QUERY : RECENT].fit.correlation;
}

/* How far the network expects to be off, in units. */
static float network_sigma(const SpRefiner *r, int64_t at)
{
    return NETWORK_SIGMA + NETWORK_SLOPE * (1 - r->tracks.confidence[at]);
}

/* Near where the network has the point, moved as the network moves it or from the network's place.
 */
static bool find_by_network(const SpRefiner *r, int64_t t, int64_t n, Place *place)
{
    const SpRefineTracks *all = &r->tracks;
    const Track *track = r->track + n;
    const int64_t at = index_of(r, t, n);
    const float x = all->xy[2 * at], y = all->xy[2 * at + 1];
    const bool visible = all->visibility[at] > 0.5f;
    const float sigma = network_sigma(r, at);
    const float reach = fminf(visible ? MAX_SHIFT : MAX_SHIFT_HIDDEN, GATE * sigma) * r->unit;
    const SpPrior prior = {x, y, sigma * r->unit};
    const float moved[2] = {track->warp.x + x - track->network[0],
                            track->warp.y + y - track->network[1]};
    const bool apart = hypotf(moved[0] - x, moved[1] - y) > r->unit;
    bool found = track->found && find_place(r, n, moved[0], moved[1], &prior, reach, place);
    if (!found && (!track->found || apart))
        found = find_place(r, n, x, y, &prior, reach, place);
    return found && (visible || correlation(place) > MIN_HIDDEN);
}

/* How far from where the point was one frame before the way back from a place ends, in units;
 * INFINITY: nowhere. */
static float way_back(const SpRefiner *r, int64_t n, const Match *there)
{
    const Track *track = r->track + n;
    const int top = r->pyramid.levels - 1;
    uint8_t patches[SP_MAX_PYRAMID_LEVELS * PATCH];
    const float x = there->warp.x, y = there->warp.y;
    const SpPrior prior = {x, y, ALONE_SHIFT * r->unit};
    Match back = {.warp = {{1, 0, 0, 1}, x, y}};
    for (int k = 0; k <= top; k++)
        sp_patch_cut(level_of(&r->pyramid, k), ldexpf(x, -k), ldexpf(y, -k), patches + k * PATCH);
    if (!find_patch(&r->previous, patches, top, &prior, &back))
        return INFINITY;
    return hypotf(back.warp.x - track->warp.x, back.warp.y - track->warp.y) / r->unit;
}

/* Where the network may have lost the point: from its last place, one frame before, on as it moved
 * last. Both patches must be found, almost exactly, or the recent one so that the way back leads to
 * that place. */
static bool find_by_itself(const SpRefiner *r, int64_t t, int64_t n, Place *place)
{
    const Track *track = r->track + n;
    const Match *query = place->match + QUERY, *recent = place->match + RECENT;
    const SpPrior prior = {track->warp.x, track->warp.y, ALONE_SHIFT * r->unit};
    const float max_sigma = MAX_SIGMA * r->unit;
    if (!track->found || track->frame != t - 1)
        return false;
    find_place(r, n, prior.x + track->step[0], prior.y + track->step[1], &prior, prior.sigma,
               place);
    if (!place->found[RECENT])
        return false;
    if (place->found[QUERY] && query->fit.correlation > EXACT && recent->fit.correlation > EXACT &&
        query->fit.sigma < max_sigma)
        return true;
    if (recent->fit.correlation > MIN_RETURN && recent->fit.sigma < max_sigma)
        place->missed = way_back(r, n, recent);
    return place->missed < RETURN;
}

/* Point n was found at frame t, at the track's warp. */
static void keep(SpRefiner *r, int64_t t, int64_t n)
{
    const SpRefineTracks *all = &r->tracks;
    const int64_t at = index_of(r, t, n);
    const float expected = network_sigma(r, at);
    Track *track = r->track + n;
    track->found = true;
    track->frame = t;
    memcpy(track->network, all->xy + 2 * at, sizeof track->network);
    all->xy[2 * at] = track->warp.x;
    all->xy[2 * at + 1] = track->warp.y;
    all->sigma[at] = track->sigma * (1 + SIGMA_SLOPE * expected * expected);
    cut(r, n, RECENT, track->warp.x, track->warp.y);
}

/* Whether a place shows that point n, looked for at frame t, is there. */
static bool is_sure(const SpRefiner *r, int64_t t, int64_t n, const Place *place)
{
    const SpFit *fit = &place->match[QUERY].fit;
    return place->missed < SURE_RETURN ||
           (place->found[QUERY] &&
            ((fit->sigma < SURE_SIGMA * r->unit && fit->correlation > SURE_CORRELATION) ||
             r->tracks.confidence[index_of(r, t, n)] >= SURE_CONFIDENCE));
}

/* Sets the visibility of point n, which has a picture, at frame t, where its place is known to
 * `sigma`: where it is not surely there, or only roughly, and the network is not sure of its place
 * either, it is called hidden. */
static void judge(const SpRefiner *r, int64_t t, int64_t n, bool sure, float sigma)
{
    const int64_t at = index_of(r, t, n);
    const float confidence = r->tracks.confidence[at];
    const bool rough = sigma > ROUGH_SIGMA * r->unit && confidence < ROUGH_CONFIDENCE;
    float *visibility = r->tracks.visibility + at;
    if (sure && !rough)
        *visibility = fmaxf(*visibility, FOUND_VISIBILITY);
    else if (r->track[n].textured && (rough || confidence < MIN_CONFIDENCE))
        *visibility = fminf(*visibility, LOST_VISIBILITY);
}

static void refine_point(SpRefiner *r, int64_t t, int64_t n)
{
    const float *query = r->tracks.queries + 3 * n;
    Track *track = r->track + n;
    Place place, own;
    if ((int64_t)query[0] == t) {
        track->warp = (SpWarp){{1, 0, 0, 1}, query[1], query[2]};
        track->step[0] = track->step[1] = 0;
        track->sigma = 0;
        keep(r, t, n);
        judge(r, t, n, true, 0);
        return;
    }
    bool found = find_by_network(r, t, n, &place);
    const Match *match = &place.match[place.found[QUERY] ? QUERY : RECENT];
    const bool expected = found && is_near(&match->warp, track->warp.x + track->step[0],
                                           track->warp.y + track->step[1], EXPECTED * r->unit);
    const float better = found ? match->fit.correlation + ALONE_GAIN : 0;
    if (!expected && better < ENOUGH && find_by_itself(r, t, n, &own) &&
        (own.found[QUERY] ? correlation(&own) > better : !found)) {
        place = own;
        found = true;
    }
    const bool follows = track->found && track->frame == t - 1;
    if (found && follows && place.found[RECENT] && !is_sure(r, t, n, &place))
        place.missed = way_back(r, n, &place.match[RECENT]);
    if (!found) {
        judge(r, t, n, false, 0);
        return;
    }
    const bool sure = is_sure(r, t, n, &place);
    const float last[2] = {track->warp.x, track->warp.y};
    if (place.found[QUERY]) {
        track->warp = place.match[QUERY].warp;
        track->sigma = place.match[QUERY].fit.sigma;
    } else {
        const SpWarp recent = place.match[RECENT].warp;
        multiply(recent.a, track->warp.a, track->warp.a);
        track->warp.x = recent.x;
        track->warp.y = recent.y;
        track->sigma = hypotf(track->sigma, place.match[RECENT].fit.sigma);
    }
    track->step[0] = follows ? track->warp.x - last[0] : 0;
    track->step[1] = follows ? track->warp.y - last[1] : 0;
    judge(r, t, n, sure, track->sigma);
    keep(r, t, n);
}

void sp_refiner_frame(SpRefiner *r, int64_t t, const uint8_t *rgb)
{
    swap_pyramids(r);
    sp_pyramid_fill(&r->pyramid, rgb);
    cut_queries(r, t);
    for (int64_t n = 0; n < r->tracks.tracks; n++)
        r->tracks.sigma[index_of(r, t, n)] = NAN;
#pragma omp parallel for schedule(dynamic, 4) num_threads(r->tracks.threads)
    for (int64_t n = 0; n < r->tracks.tracks; n++)
        if (r->track[n].cut && isfinite(r->tracks.xy[2 * index_of(r, t, n)]))
            refine_point(r, t, n);
}
