/* The copies of align.c, one for each instruction set, as align.h describes them. */
#ifndef SP_REFINE_ALIGN_INTERNAL_H
#define SP_REFINE_ALIGN_INTERNAL_H

#include "base/isa.h"
#include "refine/align.h"

#define SP_ALIGN_COPIES(isa)                                                                       \
    void sp_align_copy_cut_##isa(SpGray, float, float, uint8_t *);                                 \
    bool sp_align_copy_template_##isa(const uint8_t *, int, const float *, SpTemplate *);          \
    float sp_align_copy_trust_##isa(const SpTemplate *, SpGray, const SpWarp *, float *);          \
    bool sp_align_copy_warp_##isa(const SpTemplate *, SpGray, const SpPrior *, int, SpWarp *);     \
    SpFit sp_align_copy_fit_##isa(const SpTemplate *, SpGray, const SpWarp *);
SP_ALIGN_COPIES(baseline)
SP_ALIGN_COPIES(avx2)
SP_ALIGN_COPIES(avx512)

#endif
