/*
 * Calls that fail on demand, linked in place of the program's own (ld --wrap): of the kind
 * $SPATRACK_FAIL_KIND the $SPATRACK_FAIL_AT-th call fails as it does in the field. The file
 * $SPATRACK_FAIL_COUNT counts the calls of each kind in all processes of a run, 8 bytes a kind.
 * The file $SPATRACK_FAIL_PLACES gets a line a call: its kind, its number, and where it came from
 * as a number that is another for each chain of callers in the program. With $SPATRACK_FAIL_SHOW
 * set, standard error says from where the call came that fails. Calls before main are not counted:
 * they are the CUDA runtime's, where that is built in, or the sanitizers'.
 *
 * | kind    | which calls |
 * |---------|---|
 * | alloc   | malloc, calloc, realloc, aligned_alloc, strdup, asprintf, streams into memory |
 * | open    | files, folders and temporary ones; mkdir |
 * | read    | streams, descriptors, folders |
 * | write   | streams but standard error, descriptors, lengths |
 * | sync    | fsync |
 * | close   | fclose and fflush of what is written |
 * | rename  | rename |
 * | map     | mmap |
 * | start   | threads, processes, their sockets |
 * | ffmpeg  | what is called by way of its table |
 * | png     | libpng |
 * | deflate | ISA-L and zlib |
 */
#define _GNU_SOURCE /* O_TMPFILE, vasprintf */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <inttypes.h>
#include <isa-l/igzip_lib.h>
#include <png.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include "media/ffmpeg.h"

#define CALLERS       32
#define STREAM_FAILED 0x20 /* glibc's _IO_ERR_SEEN */

int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);
int __real_open64(const char *path, int flags, ...);
ssize_t __real_write(int file, const void *from, size_t size);

static const char *const kinds[] = {"alloc",  "open", "read",  "write",  "sync", "close",
                                    "rename", "map",  "start", "ffmpeg", "png",  "deflate"};
enum { KINDS = sizeof kinds / sizeof *kinds };

static atomic_long own[KINDS], *calls = own;
static int places = -1;
static bool in_main;

void *__real_mmap64(void *at, size_t size, int protection, int flags, int file, off_t offset);

/* Workers go on counting where their parents are. */
static void share_count(const char *path)
{
    const int file = __real_open64(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    void *shared = MAP_FAILED;
    if (file >= 0 && posix_fallocate(file, 0, sizeof own) == 0)
        shared = __real_mmap64(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED)
        abort();
    close(file);
    calls = shared;
}

int __wrap_main(int argc, char **argv)
{
    if (getenv("SPATRACK_FAIL_COUNT"))
        share_count(getenv("SPATRACK_FAIL_COUNT"));
    if (getenv("SPATRACK_FAIL_PLACES"))
        places = __real_open64(getenv("SPATRACK_FAIL_PLACES"),
                               O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    in_main = true;
    return __real_main(argc, argv);
}

/* Addresses count from the program's own start: processes of one run may lie elsewhere. */
static void note_place(const char *kind, long call)
{
    extern const char __executable_start, etext;
    void *callers[CALLERS];
    uint64_t place = 0xcbf29ce484222325u; /* FNV-1a, a caller at a time */
    const int count = backtrace(callers, CALLERS);
    for (int i = 0; i < count; i++) {
        const uintptr_t at = (uintptr_t)callers[i] - (uintptr_t)&__executable_start;
        if (at < (uintptr_t)&etext - (uintptr_t)&__executable_start)
            place = (place ^ at) * 0x100000001b3u;
    }
    char line[64];
    const int length = snprintf(line, sizeof line, "%s %ld %" PRIx64 "\n", kind, call, place);
    if (__real_write(places, line, (size_t)length) != length)
        abort();
}

/* Whether this call of the kind is to fail, with errno then. */
static bool fails(const char *kind, int number)
{
    if (!in_main) /* before which nothing may be called that the sanitizers watch */
        return false;
    const char *wanted = getenv("SPATRACK_FAIL_KIND"), *at = getenv("SPATRACK_FAIL_AT");
    int number_of = 0;
    while (strcmp(kinds[number_of], kind) != 0)
        number_of++;
    const long call = atomic_fetch_add(&calls[number_of], 1) + 1;
    if (places >= 0)
        note_place(kind, call);
    if (strcmp(wanted ? wanted : "", kind) != 0 || call != (at ? atol(at) : 0))
        return false;
    if (getenv("SPATRACK_FAIL_SHOW")) {
        void *callers[CALLERS];
        backtrace_symbols_fd(callers, backtrace(callers, CALLERS), STDERR_FILENO);
    }
    errno = number;
    return true;
}

static bool stream_fails(const char *kind, FILE *stream, int number)
{
    if (stream == stderr || !fails(kind, number))
        return false;
    stream->_flags |= STREAM_FAILED;
    return true;
}

/* A wrapper whose call fails with `failed` and errno `number` where its kind says so. */
#define WRAP(kind, number, failed, type, name, parameters, ...)                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(kind, number) ? failed : __real_##name(__VA_ARGS__);                          \
    }
#define WRAP_STREAM(kind, number, failed, type, name, stream, parameters, ...)                     \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return stream_fails(kind, stream, number) ? failed : __real_##name(__VA_ARGS__);           \
    }

WRAP("alloc", ENOMEM, NULL, void *, malloc, (size_t size), size)
WRAP("alloc", ENOMEM, NULL, void *, calloc, (size_t count, size_t size), count, size)
WRAP("alloc", ENOMEM, NULL, void *, realloc, (void *old, size_t size), old, size)
WRAP("alloc", ENOMEM, NULL, void *, aligned_alloc, (size_t align, size_t size), align, size)
WRAP("alloc", ENOMEM, NULL, char *, strdup, (const char *text), text)
WRAP("alloc", ENOMEM, NULL, FILE *, open_memstream, (char **text, size_t *size), text, size)
WRAP("alloc", ENOMEM, NULL, FILE *, fmemopen, (void *at, size_t size, const char *mode), at, size,
     mode)

int __wrap_asprintf(char **text, const char *format, ...);
int __wrap_asprintf(char **text, const char *format, ...)
{
    if (fails("alloc", ENOMEM))
        return -1;
    va_list values;
    va_start(values, format);
    const int length = vasprintf(text, format, values);
    va_end(values);
    return length;
}

static mode_t mode_of(int flags, va_list values)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(values, mode_t) : 0;
}

int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list values;
    va_start(values, flags);
    const mode_t mode = mode_of(flags, values);
    va_end(values);
    return fails("open", EIO) ? -1 : __real_open64(path, flags, mode);
}

int __real_openat64(int folder, const char *path, int flags, ...);
int __wrap_openat64(int folder, const char *path, int flags, ...);
int __wrap_openat64(int folder, const char *path, int flags, ...)
{
    va_list values;
    va_start(values, flags);
    const mode_t mode = mode_of(flags, values);
    va_end(values);
    return fails("open", EIO) ? -1 : __real_openat64(folder, path, flags, mode);
}

WRAP("open", EMFILE, NULL, FILE *, fopen64, (const char *path, const char *mode), path, mode)
WRAP("open", ENOMEM, NULL, FILE *, fdopen, (int file, const char *mode), file, mode)
WRAP("open", EMFILE, NULL, DIR *, opendir, (const char *path), path)
WRAP("open", ENOSPC, -1, int, mkostemp64, (char *path, int flags), path, flags)
WRAP("open", ENOSPC, -1, int, mkostemps64, (char *path, int length, int flags), path, length, flags)
WRAP("open", ENOSPC, NULL, char *, mkdtemp, (char *path), path)
WRAP("open", EACCES, -1, int, mkdir, (const char *path, mode_t mode), path, mode)
WRAP("open", EIO, -1, int, scandir64,
     (const char *path, struct dirent ***names, int (*filter)(const struct dirent *),
      int (*order)(const struct dirent **, const struct dirent **)),
     path, names, filter, order)

WRAP("read", EIO, -1, ssize_t, pread64, (int file, void *to, size_t size, off_t at), file, to, size,
     at)
WRAP("read", EIO, NULL, struct dirent *, readdir64, (DIR * folder), folder)
WRAP("read", EIO, -1, ssize_t, getdents64, (int file, void *to, size_t size), file, to, size)
WRAP("read", EIO, -1, ssize_t, recv, (int file, void *to, size_t size, int flags), file, to, size,
     flags)
WRAP_STREAM("read", EIO, 0, size_t, fread, stream,
            (void *to, size_t size, size_t count, FILE *stream), to, size, count, stream)
WRAP_STREAM("read", EIO, NULL, char *, fgets, stream, (char *to, int size, FILE *stream), to, size,
            stream)
WRAP_STREAM("read", EIO, EOF, int, getc, stream, (FILE * stream), stream)

WRAP("write", ENOSPC, -1, ssize_t, write, (int file, const void *from, size_t size), file, from,
     size)
WRAP("write", ENOSPC, -1, ssize_t, writev, (int file, const struct iovec *parts, int count), file,
     parts, count)
WRAP("write", EPIPE, -1, ssize_t, send, (int file, const void *from, size_t size, int flags), file,
     from, size, flags)
WRAP("write", ENOSPC, -1, int, ftruncate64, (int file, off_t size), file, size)
WRAP_STREAM("write", ENOSPC, -1, int, fseeko64, stream, (FILE * stream, off_t at, int from), stream,
            at, from)
WRAP_STREAM("write", ENOSPC, 0, size_t, fwrite, stream,
            (const void *from, size_t size, size_t count, FILE *stream), from, size, count, stream)
WRAP_STREAM("write", ENOSPC, EOF, int, fputs, stream, (const char *text, FILE *stream), text,
            stream)
WRAP_STREAM("write", ENOSPC, EOF, int, fputc, stream, (int byte, FILE *stream), byte, stream)
WRAP_STREAM("write", ENOSPC, EOF, int, puts, stdout, (const char *text), text)
WRAP_STREAM("write", ENOSPC, EOF, int, putchar, stdout, (int byte), byte)

int __wrap_fprintf(FILE *stream, const char *format, ...);
int __wrap_fprintf(FILE *stream, const char *format, ...)
{
    if (stream_fails("write", stream, ENOSPC))
        return -1;
    va_list values;
    va_start(values, format);
    const int length = vfprintf(stream, format, values);
    va_end(values);
    return length;
}

int __wrap_printf(const char *format, ...);
int __wrap_printf(const char *format, ...)
{
    if (stream_fails("write", stdout, ENOSPC))
        return -1;
    va_list values;
    va_start(values, format);
    const int length = vprintf(format, values);
    va_end(values);
    return length;
}

WRAP("sync", EIO, -1, int, fsync, (int file), file)
WRAP_STREAM("close", ENOSPC, EOF, int, fflush, stream, (FILE * stream), stream)

int __real_fclose(FILE *stream);
int __wrap_fclose(FILE *stream);
int __wrap_fclose(FILE *stream)
{
    const bool failed = fails("close", ENOSPC);
    const int status = __real_fclose(stream);
    if (failed)
        errno = ENOSPC;
    return failed ? EOF : status;
}

WRAP("rename", EIO, -1, int, rename, (const char *from, const char *to), from, to)
WRAP("map", ENOMEM, MAP_FAILED, void *, mmap64,
     (void *at, size_t size, int protection, int flags, int file, off_t offset), at, size,
     protection, flags, file, offset)
WRAP("start", EAGAIN, EAGAIN, int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *with),
     thread, attributes, run, with)
WRAP("start", EAGAIN, -1, pid_t, fork, (void), )
WRAP("start", EMFILE, -1, int, socketpair, (int domain, int type, int protocol, int ends[2]),
     domain, type, protocol, ends)

/* FFmpeg's functions are found by name: each of these stands in place of the one found. */
#define FFMPEG_CALLS(F)                                                                            \
    F(int, AVERROR(EIO), avio_open2,                                                               \
      (AVIOContext * *io, const char *url, int flags, const AVIOInterruptCB *stop,                 \
       AVDictionary **options),                                                                    \
      io, url, flags, stop, options)                                                               \
    F(int, AVERROR_INVALIDDATA, av_probe_input_buffer2,                                            \
      (AVIOContext * io, const AVInputFormat **format, const char *url, void *log,                 \
       unsigned offset, unsigned most),                                                            \
      io, format, url, log, offset, most)                                                          \
    F(AVFormatContext *, NULL, avformat_alloc_context, (void), )                                   \
    F(int, AVERROR(ENOMEM), avformat_find_stream_info,                                             \
      (AVFormatContext * file, AVDictionary * *options), file, options)                            \
    F(int, AVERROR(EIO), av_read_frame, (AVFormatContext * file, AVPacket * packet), file, packet) \
    F(AVStream *, NULL, avformat_new_stream, (AVFormatContext * file, const AVCodec *codec), file, \
      codec)                                                                                       \
    F(int, AVERROR(EIO), avformat_write_header, (AVFormatContext * file, AVDictionary * *options), \
      file, options)                                                                               \
    F(int, AVERROR(ENOSPC), av_interleaved_write_frame,                                            \
      (AVFormatContext * file, AVPacket * packet), file, packet)                                   \
    F(int, AVERROR(ENOSPC), av_write_trailer, (AVFormatContext * file), file)                      \
    F(AVCodecContext *, NULL, avcodec_alloc_context3, (const AVCodec *codec), codec)               \
    F(int, AVERROR(ENOMEM), avcodec_parameters_to_context,                                         \
      (AVCodecContext * context, const AVCodecParameters *from), context, from)                    \
    F(int, AVERROR(ENOMEM), avcodec_parameters_from_context,                                       \
      (AVCodecParameters * to, const AVCodecContext *context), to, context)                        \
    F(int, AVERROR(ENOMEM), avcodec_open2,                                                         \
      (AVCodecContext * context, const AVCodec *codec, AVDictionary **options), context, codec,    \
      options)                                                                                     \
    F(int, AVERROR_INVALIDDATA, avcodec_send_packet,                                               \
      (AVCodecContext * context, const AVPacket *packet), context, packet)                         \
    F(int, AVERROR_INVALIDDATA, avcodec_receive_frame,                                             \
      (AVCodecContext * context, AVFrame * frame), context, frame)                                 \
    F(const AVCodec *, NULL, avcodec_find_encoder_by_name, (const char *name), name)               \
    F(int, AVERROR(ENOMEM), avcodec_send_frame, (AVCodecContext * context, const AVFrame *frame),  \
      context, frame)                                                                              \
    F(int, AVERROR(ENOMEM), avcodec_receive_packet, (AVCodecContext * context, AVPacket * packet), \
      context, packet)                                                                             \
    F(AVPacket *, NULL, av_packet_alloc, (void), )                                                 \
    F(AVFrame *, NULL, av_frame_alloc, (void), )                                                   \
    F(int, AVERROR(ENOMEM), av_frame_get_buffer, (AVFrame * frame, int align), frame, align)       \
    F(int, AVERROR(ENOMEM), av_frame_make_writable, (AVFrame * frame), frame)                      \
    F(int, AVERROR(ENOMEM), av_dict_set_int,                                                       \
      (AVDictionary * *options, const char *key, int64_t value, int flags), options, key, value,   \
      flags)                                                                                       \
    F(struct SwsContext *, NULL, sws_alloc_context, (void), )                                      \
    F(int, AVERROR(ENOMEM), sws_init_context,                                                      \
      (struct SwsContext * context, SwsFilter * from, SwsFilter * to), context, from, to)          \
    F(int, AVERROR(EINVAL), sws_scale,                                                             \
      (struct SwsContext * context, const uint8_t *const from[], const int strides[], int y,       \
       int height, uint8_t *const to[], const int to_strides[]),                                   \
      context, from, strides, y, height, to, to_strides)

#define FFMPEG_STAND_IN(type, failed, name, parameters, ...)                                       \
    static __typeof__(&name) found_##name;                                                         \
    static type stand_in_##name parameters                                                         \
    {                                                                                              \
        return fails("ffmpeg", EIO) ? failed : found_##name(__VA_ARGS__);                          \
    }
FFMPEG_CALLS(FFMPEG_STAND_IN)

void *__real_dlsym(void *library, const char *name);
void *__wrap_dlsym(void *library, const char *name);
static void *stand_in_of(void *function, const char *name)
{
#define FFMPEG_FOUND(type, failed, known, ...)                                                     \
    if (function && !strcmp(name, #known)) {                                                       \
        __typeof__(&known) stand_in = stand_in_##known;                                            \
        memcpy(&found_##known, &function, sizeof function);                                        \
        memcpy(&function, &stand_in, sizeof function);                                             \
    }
    FFMPEG_CALLS(FFMPEG_FOUND)
    return function;
}

/* AddressSanitizer's own start calls it, too. */
__attribute__((no_sanitize("address"))) void *__wrap_dlsym(void *library, const char *name)
{
    return in_main ? stand_in_of(__real_dlsym(library, name), name) : __real_dlsym(library, name);
}

WRAP("png", ENOMEM, NULL, png_structp, png_create_write_struct,
     (png_const_charp version, png_voidp with, png_error_ptr on_error, png_error_ptr on_warning),
     version, with, on_error, on_warning)
WRAP("png", ENOMEM, NULL, png_infop, png_create_info_struct, (png_const_structrp png), png)

/* What fails by a long jump. */
#define WRAP_JUMP(name, parameters, ...)                                                           \
    void __real_##name parameters;                                                                 \
    void __wrap_##name parameters;                                                                 \
    void __wrap_##name parameters                                                                  \
    {                                                                                              \
        if (fails("png", ENOSPC))                                                                  \
            png_error(png, "Write Error");                                                         \
        __real_##name(__VA_ARGS__);                                                                \
    }
WRAP_JUMP(png_write_info, (png_structrp png, png_const_inforp info), png, info)
WRAP_JUMP(png_write_row, (png_structrp png, png_const_bytep row), png, row)
WRAP_JUMP(png_write_end, (png_structrp png, png_inforp info), png, info)

/* The simplified interface, which leaves its words in the image. */
#define WRAP_IMAGE(name, parameters, ...)                                                          \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        if (!fails("png", EIO))                                                                    \
            return __real_##name(__VA_ARGS__);                                                     \
        png_image_free(image);                                                                     \
        image->warning_or_error = PNG_IMAGE_ERROR;                                                 \
        snprintf(image->message, sizeof image->message, "made to fail");                           \
        return 0;                                                                                  \
    }
WRAP_IMAGE(png_image_begin_read_from_stdio, (png_imagep image, FILE *file), image, file)
WRAP_IMAGE(png_image_finish_read,
           (png_imagep image, png_const_colorp background, void *to, png_int_32 stride,
            void *colours),
           image, background, to, stride, colours)
WRAP_IMAGE(png_image_write_to_stdio,
           (png_imagep image, FILE *file, int to_8_bits, const void *from, png_int_32 stride,
            const void *colours),
           image, file, to_8_bits, from, stride, colours)

WRAP("deflate", EIO, ISAL_INVALID_STATE, int, isal_deflate, (struct isal_zstream * stream), stream)
WRAP("deflate", ENOMEM, Z_MEM_ERROR, int, inflateInit2_,
     (z_streamp stream, int bits, const char *version, int size), stream, bits, version, size)
WRAP("deflate", EIO, Z_DATA_ERROR, int, inflate, (z_streamp stream, int flush), stream, flush)
