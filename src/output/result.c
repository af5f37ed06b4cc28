#include "output/result.h"

#include <string.h>

#include "geometry/camera.h"

void sp_result_coords(const SpResult *r, float *coords)
{
    for (int64_t i = 0; i < r->clip->frames * r->tracks; i++)
        sp_pose_apply(r->c2w + 16 * (i / r->tracks), r->points + 3 * i, coords + 3 * i);
}

void sp_result_tracks2d(const SpResult *r, float *tracks2d)
{
    for (int64_t i = 0; i < r->clip->frames * r->tracks; i++)
        sp_point_to_input(&r->clip->plan, r->track[3 * i], r->track[3 * i + 1], tracks2d + 2 * i,
                          tracks2d + 2 * i + 1);
}

void sp_result_input_intrinsics(const SpResult *r, float *intrinsics)
{
    const SpFramePlan *plan = &r->clip->plan;
    for (int64_t t = 0; t < r->clip->frames; t++) {
        float *k = memcpy(intrinsics + 9 * t, r->intrinsics + 9 * t, 9 * sizeof *k);
        for (int i = 0; i < 3; i++)
            k[3 + i] += (float)plan->first_row * k[6 + i];
    }
    sp_intrinsics_scale(intrinsics, r->clip->frames,
                        (double)plan->input_width / (double)plan->resized_width,
                        (double)plan->input_height / (double)plan->resized_height, intrinsics);
}
