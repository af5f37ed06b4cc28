#include "output/result.h"

#include <stdint.h>
#include <string.h>

#include "geometry/camera.h"

void sp_result_coords(const SpResult *r, float *coords)
{
    if (r->coords) {
        memcpy(coords, r->coords, (size_t)(3 * r->clip->frames * r->tracks) * sizeof *coords);
        return;
    }
    for (int64_t i = 0; i < r->clip->frames * r->tracks; i++)
        sp_pose_apply(r->c2w + 16 * (i / r->tracks), r->points + 3 * i, coords + 3 * i);
}

void sp_result_tracks2d(const SpResult *r, float *tracks2d)
{
    if (r->tracks2d) {
        memcpy(tracks2d, r->tracks2d, (size_t)(2 * r->clip->frames * r->tracks) * sizeof *tracks2d);
        return;
    }
    for (int64_t i = 0; i < r->clip->frames * r->tracks; i++)
        sp_point_to_input(&r->clip->plan, r->track[3 * i], r->track[3 * i + 1], tracks2d + 2 * i,
                          tracks2d + 2 * i + 1);
}

void sp_result_input_intrinsics(const SpResult *r, float *intrinsics)
{
    const SpFramePlan *plan = &r->clip->plan;
    if (r->input_intrinsics) {
        memcpy(intrinsics, r->input_intrinsics, (size_t)(9 * r->clip->frames) * sizeof *intrinsics);
        return;
    }
    for (int64_t t = 0; t < r->clip->frames; t++) {
        float *k = memcpy(intrinsics + 9 * t, r->intrinsics + 9 * t, 9 * sizeof *k);
        for (int i = 0; i < 3; i++)
            k[3 + i] += (float)plan->first_row * k[6 + i];
    }
    sp_intrinsics_scale(intrinsics, r->clip->frames,
                        (double)plan->input_width / (double)plan->resized_width,
                        (double)plan->input_height / (double)plan->resized_height, intrinsics);
}

void sp_result_place(const SpResult *r, float *points, float *track)
{
    for (int64_t i = 0; i < r->clip->frames * r->tracks; i++, points += 3, track += 3) {
        const float *world = r->coords + 3 * i, *xy = r->tracks2d + 2 * i;
        const float *c2w = r->c2w ? r->c2w + 16 * (i / r->tracks) : NULL;
        points[0] = points[1] = points[2] = 0;
        if (c2w && (world[0] != c2w[3] || world[1] != c2w[7] || world[2] != c2w[11]))
            sp_pose_apply(r->w2c + 16 * (i / r->tracks), world, points);
        sp_point_to_working(&r->clip->plan, xy[0], xy[1], track, track + 1);
        track[2] = points[2];
    }
}

/* The i-th float after x > 0, or before it. */
static float neighbour(float x, int i)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += (uint32_t)i;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float sp_result_find_shaded(float saved)
{
    const float value = saved * 255;
    for (int i = 1; i < 4 && value > 0; i++) {
        const float above = neighbour(value, i), below = neighbour(value, -i);
        if (sp_result_shade(above) == saved)
            return above;
        if (sp_result_shade(below) == saved)
            return below;
    }
    return value;
}

void sp_result_w2c(const SpResult *r, int64_t t, float w2c[16])
{
    if (r->w2c)
        memcpy(w2c, r->w2c + 16 * t, 16 * sizeof *w2c);
    else
        sp_pose_invert(r->c2w + 16 * t, w2c);
}

static const float *row_of(const float *array, int64_t t, int64_t row)
{
    return array ? array + t * row : NULL;
}

void sp_result_frame(const SpResult *r, int64_t t, SpResultFrame *frame)
{
    const int64_t area = r->clip->plan.height * r->clip->plan.width, n = r->tracks;
    SpClip *clip = &frame->clip;
    SpResult *one = &frame->result;
    *clip = *r->clip;
    clip->frames = 1;
    clip->video = clip->video ? clip->video + 3 * t * area : NULL;
    clip->timestamps = clip->timestamps ? clip->timestamps + t : NULL;
    clip->index = clip->index ? clip->index + t : NULL;
    *one = *r;
    one->clip = clip;
    one->depth = row_of(r->depth, t, area);
    one->confidence = row_of(r->confidence, t, area);
    one->c2w = row_of(r->c2w, t, 16);
    one->w2c = row_of(r->w2c, t, 16);
    one->intrinsics = row_of(r->intrinsics, t, 9);
    one->input_intrinsics = row_of(r->input_intrinsics, t, 9);
    one->track = row_of(r->track, t, 3 * n);
    one->points = row_of(r->points, t, 3 * n);
    one->coords = row_of(r->coords, t, 3 * n);
    one->tracks2d = row_of(r->tracks2d, t, 2 * n);
    one->visibility = row_of(r->visibility, t, n);
    one->confs = row_of(r->confs, t, n);
    one->sigma = row_of(r->sigma, t, n);
}
