/* The copy of align.c for this processor. */
#include "refine/align_internal.h"

#define HERE(name) (sp_has_avx512() ? name##_avx512 : sp_has_avx2() ? name##_avx2 : name##_baseline)

void sp_patch_cut(SpGray image, float x, float y, uint8_t *cut)
{
    HERE(sp_align_copy_cut)(image, x, y, cut);
}

bool sp_template_make(const uint8_t *cut, int parameters, const float *trust, SpTemplate *out)
{
    return HERE(sp_align_copy_template)(cut, parameters, trust, out);
}

float sp_align_trust(const SpTemplate *template, SpGray image, const SpWarp *warp, float *trust)
{
    return HERE(sp_align_copy_trust)(template, image, warp, trust);
}

bool sp_align(const SpTemplate *template, SpGray image, const SpPrior *prior, int iterations,
              SpWarp *warp)
{
    return HERE(sp_align_copy_warp)(template, image, prior, iterations, warp);
}

SpFit sp_align_fit(const SpTemplate *template, SpGray image, const SpWarp *warp)
{
    return HERE(sp_align_copy_fit)(template, image, warp);
}
