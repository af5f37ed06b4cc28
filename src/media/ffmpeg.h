/*
 * FFmpeg, loaded when the first video is opened: linking its dozens of libraries would cost every
 * start of the program some 45 ms, --help included. Functions are called through one table whose
 * types come from FFmpeg's own headers.
 */
#ifndef SP_MEDIA_FFMPEG_H
#define SP_MEDIA_FFMPEG_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#include "base/status.h"

#define SP_FFMPEG_FUNCTIONS(F)                                                                     \
    F(format, avio_open2)                                                                          \
    F(format, avio_closep)                                                                         \
    F(format, av_probe_input_buffer2)                                                              \
    F(format, avformat_alloc_context)                                                              \
    F(format, avformat_open_input)                                                                 \
    F(format, avformat_close_input)                                                                \
    F(format, avformat_find_stream_info)                                                           \
    F(format, avformat_index_get_entries_count)                                                    \
    F(format, av_find_best_stream)                                                                 \
    F(format, av_read_frame)                                                                       \
    F(format, avformat_alloc_output_context2)                                                      \
    F(format, avformat_new_stream)                                                                 \
    F(format, avformat_write_header)                                                               \
    F(format, av_interleaved_write_frame)                                                          \
    F(format, av_write_trailer)                                                                    \
    F(format, avformat_free_context)                                                               \
    F(codec, avcodec_alloc_context3)                                                               \
    F(codec, avcodec_free_context)                                                                 \
    F(codec, avcodec_parameters_to_context)                                                        \
    F(codec, avcodec_open2)                                                                        \
    F(codec, avcodec_send_packet)                                                                  \
    F(codec, avcodec_receive_frame)                                                                \
    F(codec, avcodec_find_encoder_by_name)                                                         \
    F(codec, avcodec_parameters_from_context)                                                      \
    F(codec, avcodec_send_frame)                                                                   \
    F(codec, avcodec_receive_packet)                                                               \
    F(codec, av_packet_alloc)                                                                      \
    F(codec, av_packet_free)                                                                       \
    F(codec, av_packet_unref)                                                                      \
    F(codec, av_packet_rescale_ts)                                                                 \
    F(util, av_frame_alloc)                                                                        \
    F(util, av_frame_free)                                                                         \
    F(util, av_frame_get_buffer)                                                                   \
    F(util, av_frame_make_writable)                                                                \
    F(util, av_dict_get)                                                                           \
    F(util, av_dict_set)                                                                           \
    F(util, av_dict_set_int)                                                                       \
    F(util, av_dict_parse_string)                                                                  \
    F(util, av_dict_free)                                                                          \
    F(util, av_strerror)                                                                           \
    F(util, av_d2q)                                                                                \
    F(util, av_frame_get_side_data)                                                                \
    F(util, av_opt_set_int)                                                                        \
    F(util, av_pix_fmt_desc_get)                                                                   \
    F(util, av_log_set_level)                                                                      \
    F(util, av_version_info)                                                                       \
    F(scale, sws_alloc_context)                                                                    \
    F(scale, sws_init_context)                                                                     \
    F(scale, sws_getCachedContext)                                                                 \
    F(scale, sws_freeContext)                                                                      \
    F(scale, sws_getCoefficients)                                                                  \
    F(scale, sws_getColorspaceDetails)                                                             \
    F(scale, sws_setColorspaceDetails)                                                             \
    F(scale, sws_scale)

typedef struct SpFfmpeg {
#define SP_FFMPEG_FIELD(library, name) __typeof__(&name) name;
    SP_FFMPEG_FUNCTIONS(SP_FFMPEG_FIELD)
#undef SP_FFMPEG_FIELD
} SpFfmpeg;

/* Loads the libraries this was compiled for and silences them. SP_INPUT with the loader's words for
 * one that is missing; SP_MEMORY. Not for several threads at once. The table stays for the life of
 * the process. */
SpStatus sp_ffmpeg_load(const SpFfmpeg **out);

/* FFmpeg's version when it is loaded, else NULL. */
const char *sp_ffmpeg_version(void);

#endif
