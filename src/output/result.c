#include "output/result.h"

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
