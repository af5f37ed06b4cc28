#include "media/exr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "media/ffmpeg.h"

static const SpFfmpeg *ff; /* since the first image was opened */

struct SpExr {
    int64_t height, width;
    AVCodecContext *codec;
    AVFrame *frame;
    AVPacket *packet;
};

static SpStatus failed(const char *label, int code)
{
    char why[128] = "";
    if (code == AVERROR(ENOMEM))
        return sp_no_memory("encoding");
    ff->av_strerror(code, why, sizeof why);
    return sp_error(SP_OUTPUT, "cannot write %.300s: %s", label, why);
}

static SpStatus find(const char *encoder, const AVCodec **codec)
{
    SP_TRY(sp_ffmpeg_load(&ff));
    *codec = ff->avcodec_find_encoder_by_name(encoder);
    return *codec
               ? sp_ok()
               : sp_error(SP_OUTPUT, "this FFmpeg has no encoder for EXR; use --depth-format png");
}

SpStatus sp_exr_check(const char *encoder)
{
    const AVCodec *codec;
    return find(encoder, &codec);
}

static SpStatus start(SpExr *exr, const AVCodec *codec)
{
    AVDictionary *settings = NULL;
    exr->codec = ff->avcodec_alloc_context3(codec);
    exr->frame = ff->av_frame_alloc();
    exr->packet = ff->av_packet_alloc();
    if (!exr->codec || !exr->frame || !exr->packet)
        return sp_no_memory("encoding");
    exr->codec->width = exr->frame->width = (int)exr->width;
    exr->codec->height = exr->frame->height = (int)exr->height;
    exr->codec->pix_fmt = AV_PIX_FMT_GRAYF32LE;
    exr->frame->format = AV_PIX_FMT_GRAYF32LE;
    exr->codec->time_base = (AVRational){1, 1};
    exr->codec->thread_count = 1; /* so that each frame gives its packet at once */
    int code = ff->av_dict_parse_string(&settings, "compression=zip16:format=float", "=", ":", 0);
    if (code >= 0)
        code = ff->avcodec_open2(exr->codec, codec, &settings);
    ff->av_dict_free(&settings);
    if (code >= 0)
        code = ff->av_frame_get_buffer(exr->frame, 0);
    return code < 0 ? failed("the depth as EXR", code) : sp_ok();
}

SpStatus sp_exr_open(int64_t h, int64_t w, SpExr **out)
{
    const AVCodec *codec;
    *out = NULL;
    SP_TRY(find(SP_EXR_ENCODER, &codec));
    SpExr *exr = calloc(1, sizeof *exr);
    if (!exr)
        return sp_no_memory("encoding");
    exr->height = h;
    exr->width = w;
    const SpStatus status = start(exr, codec);
    if (status.code == SP_OK)
        *out = exr;
    else
        sp_exr_close(exr);
    return status;
}

void sp_exr_close(SpExr *exr)
{
    if (!exr)
        return;
    ff->avcodec_free_context(&exr->codec);
    ff->av_frame_free(&exr->frame);
    ff->av_packet_free(&exr->packet);
    free(exr);
}

SpStatus sp_exr_write(SpExr *exr, FILE *stream, const char *label, const float *pixels)
{
    int code = ff->av_frame_make_writable(exr->frame); /* the encoder may hold it */
    for (int64_t y = 0; code >= 0 && y < exr->height; y++)
        memcpy(exr->frame->data[0] + y * exr->frame->linesize[0], pixels + y * exr->width,
               (size_t)exr->width * sizeof *pixels);
    if (code >= 0)
        code = ff->avcodec_send_frame(exr->codec, exr->frame);
    if (code >= 0)
        code = ff->avcodec_receive_packet(exr->codec, exr->packet);
    if (code < 0)
        return failed(label, code);
    const size_t size = (size_t)exr->packet->size;
    errno = 0;
    const size_t written = fwrite(exr->packet->data, 1, size, stream);
    const int why = errno;
    ff->av_packet_unref(exr->packet);
    return written == size
               ? sp_ok()
               : sp_error(SP_OUTPUT, "cannot write %.300s: %s", label, strerror(why ? why : EIO));
}
