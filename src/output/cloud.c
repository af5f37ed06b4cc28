#include "output/cloud.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/camera.h"

static const float TRUSTED = 0.5f;     /* confidence */
static const float SAME_DEPTH = 0.05f; /* share by which two depths of one place may differ */
static const float FARTHEST = 1e9f;    /* cubes from the origin, within int32 */

enum { VIEWS = 8, FIRST_CELLS = 1 << 14, MOST_PIXELS = 1 << 21 };

static bool is_trusted(float depth, float confidence)
{
    return isfinite(depth) && depth > 0 && confidence > TRUSTED;
}

bool sp_cloud_trusts(const SpResult *r, int64_t t, int64_t y, int64_t x)
{
    const int64_t at = (t * r->clip->plan.height + y) * r->clip->plan.width + x;
    return is_trusted(r->depth[at], r->confidence[at]);
}

/* In the frame's camera. */
static void camera_point(const SpResult *r, int64_t t, int64_t y, int64_t x, float point[3])
{
    const int64_t at = (t * r->clip->plan.height + y) * r->clip->plan.width + x;
    sp_unproject(r->intrinsics + 9 * t, (float)x, (float)y, r->depth[at], point);
}

void sp_cloud_point(const SpResult *r, int64_t t, int64_t y, int64_t x, float world[3])
{
    camera_point(r, t, y, x, world);
    sp_pose_apply(r->c2w + 16 * t, world, world);
}

void sp_cloud_colour(const SpClip *clip, int64_t t, int64_t y, int64_t x, uint8_t rgb[3])
{
    const int64_t h = clip->plan.height, w = clip->plan.width;
    for (int64_t c = 0; c < 3; c++) {
        const float value = clip->video[((3 * t + c) * h + y) * w + x];
        rgb[c] = (uint8_t)(fminf(fmaxf(value, 0), 255) + 0.5f);
    }
}

double sp_cloud_depth(const SpResult *r)
{
    const int64_t pixels = r->clip->plan.height * r->clip->plan.width;
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < pixels; i++)
        if (is_trusted(r->depth[i], r->confidence[i])) {
            sum += log((double)r->depth[i]);
            count++;
        }
    return count ? exp(sum / (double)count) : 1;
}

/* How another frame sees the points of a frame. */
typedef struct View {
    float project[12]; /* [3, 4] from that frame's camera to x z, y z, z of this one's pixels */
    const float *depth, *confidence;
} View;

static void make_view(const SpResult *r, int64_t from, int64_t to, View *view)
{
    const int64_t pixels = r->clip->plan.height * r->clip->plan.width;
    const float *k = r->intrinsics + 9 * to;
    float pose[16];
    sp_pose_invert(r->c2w + 16 * to, pose);
    sp_pose_multiply(pose, r->c2w + 16 * from, pose);
    for (int i = 0; i < 12; i++) {
        const float *row = k + 3 * (i / 4), *column = pose + i % 4;
        view->project[i] = row[0] * column[0] + row[1] * column[4] + row[2] * column[8];
    }
    view->depth = r->depth + to * pixels;
    view->confidence = r->confidence + to * pixels;
}

/* Up to VIEWS other frames, spread evenly over the clip. */
static int make_views(const SpResult *r, int64_t t, View views[VIEWS])
{
    const int64_t frames = r->clip->frames, wanted = frames < VIEWS ? frames : VIEWS;
    int count = 0;
    for (int64_t i = 0; i < wanted && frames > 1; i++) {
        const int64_t other = i * (frames - 1) / (wanted - 1);
        if (other != t)
            make_view(r, t, other, &views[count++]);
    }
    return count;
}

/* Whether what a frame shows at `point` of its camera stands still: of the other frames that see
 * the place free or taken, at most a quarter look through it. */
static bool is_still(const SpFramePlan *plan, const View *views, int count, const float point[3])
{
    int seen = 0, through = 0;
    for (int i = 0; i < count; i++) {
        const float *m = views[i].project;
        float p[3];
        for (int j = 0; j < 3; j++, m += 4)
            p[j] = m[0] * point[0] + m[1] * point[1] + m[2] * point[2] + m[3];
        const float x = p[0] / p[2], y = p[1] / p[2];
        if (!(p[2] > 0) || !sp_frame_has((double)x, plan->width) ||
            !sp_frame_has((double)y, plan->height))
            continue;
        /* A coordinate on the last half pixel may round to one beyond it. */
        const int64_t column = lrintf(fminf(fmaxf(x, 0), (float)(plan->width - 1)));
        const int64_t row = lrintf(fminf(fmaxf(y, 0), (float)(plan->height - 1)));
        const int64_t at = row * plan->width + column;
        const float depth = views[i].depth[at];
        if (!is_trusted(depth, views[i].confidence[at]) || depth < p[2] * (1 - SAME_DEPTH))
            continue;
        seen++;
        through += depth > p[2] * (1 + SAME_DEPTH);
    }
    return 4 * through <= seen;
}

/* A cloud being fused: cells by their places. */
typedef struct Fusing {
    SpCloud *cloud;
    int32_t *slot; /* [slots] number of a cell, -1: free; a power of two, twice the cells' room */
    int64_t slots;
    int64_t step; /* as step_of says */
} Fusing;

/* Where in the table a place is, or would be. */
static int64_t find_slot(const Fusing *f, const int32_t place[3])
{
    const uint64_t hash = ((uint64_t)(uint32_t)place[0] * 0x9e3779b97f4a7c15u) ^
                          ((uint64_t)(uint32_t)place[1] * 0xc2b2ae3d27d4eb4fu) ^
                          ((uint64_t)(uint32_t)place[2] * 0x165667b19e3779f9u);
    int64_t at = (int64_t)((hash ^ hash >> 32) & (uint64_t)(f->slots - 1));
    while (f->slot[at] >= 0 &&
           memcmp(f->cloud->cell[f->slot[at]].place, place, 3 * sizeof *place) != 0)
        at = (at + 1) & (f->slots - 1);
    return at;
}

static SpStatus grow(Fusing *f)
{
    const int64_t cells = f->slots ? f->slots : FIRST_CELLS;
    SpCloudCell *cell = realloc(f->cloud->cell, (size_t)cells * sizeof *cell);
    if (!cell)
        return sp_no_memory("the cloud");
    f->cloud->cell = cell;
    int32_t *slot = realloc(f->slot, (size_t)(2 * cells) * sizeof *slot);
    if (!slot)
        return sp_no_memory("the cloud");
    f->slot = slot;
    f->slots = 2 * cells;
    memset(slot, -1, (size_t)f->slots * sizeof *slot);
    for (int64_t i = 0; i < f->cloud->count; i++)
        slot[find_slot(f, cell[i].place)] = (int32_t)i;
    return sp_ok();
}

static SpStatus add(Fusing *f, const float world[3], const uint8_t rgb[3])
{
    int32_t place[3];
    for (int i = 0; i < 3; i++) {
        const float at = floorf(world[i] / f->cloud->side);
        if (!(fabsf(at) < FARTHEST))
            return sp_ok();
        place[i] = (int32_t)at;
    }
    if (2 * f->cloud->count == f->slots)
        SP_TRY(grow(f));
    int32_t *slot = &f->slot[find_slot(f, place)];
    if (*slot < 0) {
        *slot = (int32_t)f->cloud->count;
        f->cloud->cell[f->cloud->count++] = (SpCloudCell){.place = {place[0], place[1], place[2]}};
    }
    SpCloudCell *cell = &f->cloud->cell[*slot];
    cell->count++;
    for (int i = 0; i < 3; i++) {
        cell->sum[i] += world[i];
        cell->rgb[i] += rgb[i];
    }
    return sp_ok();
}

static SpStatus add_frame(Fusing *f, const SpResult *r, int64_t t)
{
    const SpFramePlan *plan = &r->clip->plan;
    View views[VIEWS];
    const int count = make_views(r, t, views);
    for (int64_t y = 0; y < plan->height; y += f->step)
        for (int64_t x = 0; x < plan->width; x += f->step) {
            float point[3];
            uint8_t rgb[3];
            if (!sp_cloud_trusts(r, t, y, x))
                continue;
            camera_point(r, t, y, x, point);
            if (!is_still(plan, views, count, point))
                continue;
            sp_pose_apply(r->c2w + 16 * t, point, point);
            sp_cloud_colour(r->clip, t, y, x, rgb);
            SP_TRY(add(f, point, rgb));
        }
    return sp_ok();
}

/* Every such pixel of every such row is looked at. */
static int64_t step_of(int64_t frames, int64_t height, int64_t width)
{
    int64_t step = 1;
    while (frames * height * width / (step * step) > MOST_PIXELS)
        step++;
    return step;
}

/* As grow() makes room, for a cell a pixel. */
size_t sp_cloud_bytes(int64_t frames, int64_t height, int64_t width)
{
    const int64_t step = step_of(frames, height, width);
    const int64_t pixels = frames * ((height + step - 1) / step) * ((width + step - 1) / step);
    size_t cells = FIRST_CELLS;
    while (cells < (size_t)pixels)
        cells *= 2;
    return cells * (sizeof(SpCloudCell) + 2 * sizeof(int32_t));
}

SpStatus sp_cloud_fuse(const SpResult *r, SpCloud *cloud)
{
    const SpFramePlan *plan = &r->clip->plan;
    Fusing f = {.cloud = cloud, .step = step_of(r->clip->frames, plan->height, plan->width)};
    *cloud =
        (SpCloud){.side = (float)((double)f.step * sp_cloud_depth(r) / (double)r->intrinsics[0])};
    SpStatus status = sp_ok();
    for (int64_t t = 0; t < r->clip->frames && status.code == SP_OK; t++)
        status = add_frame(&f, r, t);
    free(f.slot);
    return status;
}

void sp_cloud_free(SpCloud *cloud)
{
    free(cloud->cell);
    *cloud = (SpCloud){0};
}
