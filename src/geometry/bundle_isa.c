/* The copy of bundle.c and bundle_step.c for this processor. */
#include "geometry/bundle_internal.h"

size_t sp_bundle_workspace(int64_t frames, int64_t points)
{
    return sp_bundle_bytes_baseline(frames, points);
}

SpBundleStats sp_bundle_adjust(const SpBundleProblem *problem, void *workspace, float *c2w,
                               float *k)
{
    if (sp_has_avx512())
        return sp_bundle_solve_avx512(problem, workspace, c2w, k);
    if (sp_has_avx2())
        return sp_bundle_solve_avx2(problem, workspace, c2w, k);
    return sp_bundle_solve_baseline(problem, workspace, c2w, k);
}
