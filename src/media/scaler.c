#include "media/scaler.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNED = 64 };

/* Where the chroma samples lie, as FFmpeg's scale filter has it. */
static void set_chroma_place(const SpFfmpeg *ff, struct SwsContext *scaler, const AVFrame *frame)
{
    const AVPixFmtDescriptor *pixel = ff->av_pix_fmt_desc_get(frame->format);
#if LIBAVUTIL_VERSION_MAJOR < 59 /* before FFmpeg 7 */
    if (frame->format == AV_PIX_FMT_YUV420P)
        ff->av_opt_set_int(scaler, "src_v_chr_pos", 128, 0);
    (void)pixel;
#else
    if (pixel->log2_chroma_w)
        ff->av_opt_set_int(scaler, "src_h_chr_pos", 128 * ((1 << pixel->log2_chroma_w) - 1), 0);
    if (pixel->log2_chroma_h)
        ff->av_opt_set_int(scaler, "src_v_chr_pos", 128 * ((1 << pixel->log2_chroma_h) - 1), 0);
    if (frame->color_range != AVCOL_RANGE_UNSPECIFIED)
        ff->av_opt_set_int(scaler, "src_range", frame->color_range == AVCOL_RANGE_JPEG, 0);
    ff->av_opt_set_int(scaler, "dst_range", 1, 0);
#endif
}

/* Colours as the frame says, BT.601 as FFmpeg has it where it does not. */
static void set_colours(const SpFfmpeg *ff, struct SwsContext *scaler, const AVFrame *frame)
{
    int *unused, full, full_out, brightness, contrast, saturation;
    ff->sws_getColorspaceDetails(scaler, &unused, &full, &unused, &full_out, &brightness, &contrast,
                                 &saturation);
#if LIBAVUTIL_VERSION_MAJOR < 59
    const int space = frame->colorspace == AVCOL_SPC_RGB ? SWS_CS_ITU601 : (int)frame->colorspace;
    const int *in = ff->sws_getCoefficients(space), *out = in;
    if (frame->color_range != AVCOL_RANGE_UNSPECIFIED)
        full = frame->color_range == AVCOL_RANGE_JPEG;
#else
    const int *in = ff->sws_getCoefficients(frame->colorspace);
    const int *out = ff->sws_getCoefficients(AVCOL_SPC_RGB);
#endif
    ff->sws_setColorspaceDetails(scaler, in, full, out, full_out, brightness, contrast, saturation);
}

/* Makes the context from `frame` to RGB of w x h pixels, unless it is there. */
static SpStatus open_context(SpScaler *s, const AVFrame *frame, int w, int h, const char *label)
{
    const SpFfmpeg *ff = s->ff;
    const int made_for[] = {w,
                            h,
                            frame->width,
                            frame->height,
                            frame->format,
                            (int)frame->colorspace,
                            (int)frame->color_range};
    if (s->context && memcmp(made_for, s->made_for, sizeof made_for) == 0)
        return sp_ok();
    ff->sws_freeContext(s->context);
    s->context = ff->sws_alloc_context();
    if (!s->context)
        return sp_no_memory("decoding");
    memcpy(s->made_for, made_for, sizeof made_for);
    ff->av_opt_set_int(s->context, "srcw", frame->width, 0);
    ff->av_opt_set_int(s->context, "srch", frame->height, 0);
    ff->av_opt_set_int(s->context, "src_format", frame->format, 0);
    ff->av_opt_set_int(s->context, "dstw", w, 0);
    ff->av_opt_set_int(s->context, "dsth", h, 0);
    ff->av_opt_set_int(s->context, "dst_format", AV_PIX_FMT_RGB24, 0);
    ff->av_opt_set_int(s->context, "sws_flags", SWS_BICUBIC, 0);
    set_chroma_place(ff, s->context, frame);
    if (ff->sws_init_context(s->context, NULL, NULL) < 0) {
        ff->sws_freeContext(s->context);
        s->context = NULL;
        return sp_error(SP_INPUT, "%.300s: this FFmpeg cannot convert its pixels to RGB", label);
    }
    set_colours(ff, s->context, frame);
    return sp_ok();
}

/* Bytes for `size`; swscale writes whole vectors, so that every pixel is computed the same way. */
static SpStatus grow(SpScaler *s, size_t size)
{
    if (size <= s->capacity)
        return sp_ok();
    free(s->unrotated);
    s->unrotated = aligned_alloc(ALIGNED, size);
    s->capacity = s->unrotated ? size : 0;
    return s->unrotated ? sp_ok() : sp_no_memory("a frame");
}

SpStatus sp_scaler_run(SpScaler *s, const AVFrame *frame, SpOrientation orientation, int h, int w,
                       const char *label, uint8_t *rgb)
{
    const bool sideways = orientation.quarter_turns & 1;
    const int wide = sideways ? h : w, high = sideways ? w : h; /* before the rotation */
    const int stride = 3 * ((wide + ALIGNED - 1) / ALIGNED * ALIGNED);
    SP_TRY(open_context(s, frame, wide, high, label));
    SP_TRY(grow(s, (size_t)stride * (size_t)(high + 1)));
    const int rows = s->ff->sws_scale(
        s->context, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height,
        (uint8_t *const[]){s->unrotated, NULL, NULL, NULL}, (const int[]){stride, 0, 0, 0});
    if (rows < 0)
        return sp_error(SP_INPUT, "%.300s: FFmpeg failed to convert a frame to RGB", label);
    sp_orient(s->unrotated, stride, h, w, orientation, rgb);
    return sp_ok();
}

void sp_scaler_close(SpScaler *s)
{
    s->ff->sws_freeContext(s->context);
    free(s->unrotated);
}
