/* The reader and PNG on files made with the ffmpeg program and by hand. */
#define _GNU_SOURCE /* memmem */

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "media/exif.h"
#include "media/png.h"
#include "media/reader.h"
#include "support/scratch.h"

/* Runs ffmpeg with `arguments` ("@" stands for the scratch_folder()); skips the test without
 * ffmpeg. */
static void ffmpeg(const char *arguments)
{
    char command[16384];
    int length = snprintf(command, sizeof command, "ffmpeg -nostdin -v error -y ");
    if (system("command -v ffmpeg > /dev/null") != 0)
        skip();
    for (const char *at = arguments; *at; at++) {
        const size_t left = sizeof command - (size_t)length;
        length += at[0] == '@' ? snprintf(command + length, left, "%s", scratch_folder())
                               : snprintf(command + length, left, "%c", *at);
        assert_true(length < (int)sizeof command);
    }
    assert_int_equal(system(command), 0);
}

static const SpReaderSettings all = {0, 1, 1000, -1};

/* What reading a whole clip gave. */
typedef struct Seen {
    SpStatus status;
    int64_t frames, height, width, left_out, guess;
    SpFrameInfo info[64];
    double mean[64][3]; /* of each frame's channels */
} Seen;

static Seen see(const char *path, const SpReaderSettings *settings)
{
    SpReader *reader;
    Seen seen = {.status = sp_reader_open(path, settings, &reader)};
    if (seen.status.code != SP_OK)
        return seen;
    seen.height = sp_reader_video(reader).height;
    seen.width = sp_reader_video(reader).width;
    seen.guess = sp_reader_video(reader).expected;
    uint8_t *rgb = malloc((size_t)(3 * seen.height * seen.width));
    assert_non_null(rgb);
    for (bool end = false; seen.status.code == SP_OK;) {
        assert_true(seen.frames < 64);
        seen.status = sp_reader_next(reader, rgb, &seen.info[seen.frames], &end);
        if (end || seen.status.code != SP_OK)
            break;
        for (int64_t i = 0; i < 3 * seen.height * seen.width; i++)
            seen.mean[seen.frames][i % 3] += rgb[i] / (double)(seen.height * seen.width);
        seen.frames++;
    }
    if (seen.status.code == SP_OK)
        seen.status = sp_reader_left_out(reader, &seen.left_out);
    free(rgb);
    sp_reader_close(reader);
    return seen;
}

static void expect(const Seen *seen, int64_t frames, int64_t height, int64_t width)
{
    assert_string_equal(seen->status.text, "");
    assert_int_equal(seen->frames, frames);
    assert_int_equal(seen->height, height);
    assert_int_equal(seen->width, width);
}

static void expect_error(const Seen *seen, const char *text)
{
    assert_int_equal(seen->status.code, SP_INPUT);
    assert_null(strchr(seen->status.text, '\n'));
    if (!strstr(seen->status.text, text))
        fail_msg("\"%s\" does not say \"%s\"", seen->status.text, text);
}

/* Frames of a clip that grows brighter by 8 levels a frame come in the order they are shown. */
static void b_frames_come_in_order(void **state)
{
    (void)state;
    ffmpeg("-f lavfi -i \"nullsrc=s=64x48:r=10:d=2,geq=lum=16+10*N:cb=128:cr=128\" -c:v libx264 "
           "-bf 3 -g 20 @/b.mp4");
    const Seen seen = see(scratch_path("b.mp4"), &all);
    expect(&seen, 20, 48, 64);
    assert_int_equal(seen.guess, 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(seen.info[i].index, i);
        assert_true(fabs(seen.info[i].timestamp - i / 10.0) < 1e-6);
        assert_true(i == 0 || seen.mean[i][1] > seen.mean[i - 1][1] + 4);
    }
}

static void start_stride_and_max_frames_choose(void **state)
{
    (void)state;
    const SpReaderSettings some = {0.45, 3, 4, -1}, last = {1.9, 1, 80, -1},
                           beyond = {2.5, 1, 80, -1};
    Seen seen = see(scratch_path("b.mp4"), &some);
    expect(&seen, 4, 48, 64); /* 5, 8, 11, 14; left out: 17 */
    for (int i = 0; i < 4; i++)
        assert_int_equal(seen.info[i].index, 5 + 3 * i);
    assert_int_equal(seen.left_out, 1);
    seen = see(scratch_path("b.mp4"), &last);
    expect(&seen, 1, 48, 64);
    assert_int_equal(seen.left_out, 0);
    seen = see(scratch_path("b.mp4"), &beyond);
    expect_error(&seen, "ends before --start 2.5");
    const SpReaderSettings few = {0, 1, 7, -1};
    seen = see(scratch_path("b.mp4"), &few);
    assert_int_equal(seen.left_out, 13);
}

/* Red, green and blue stay themselves in every kind of pixel. */
static void pixel_formats_are_read(void **state)
{
    (void)state;
    static const char *const formats[] = {"yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gbrp"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char arguments[300];
        snprintf(arguments, sizeof arguments,
                 "-f lavfi -i \"color=c=0xC02010:s=50x38:r=5:d=0.6\" -pix_fmt %s -c:v ffv1 @/p.mkv",
                 formats[i]);
        ffmpeg(arguments);
        const Seen seen = see(scratch_path("p.mkv"), &all);
        expect(&seen, 3, 38, 50);
        assert_true(fabs(seen.mean[0][0] - 0xC0) < 4);
        assert_true(fabs(seen.mean[0][1] - 0x20) < 4);
        assert_true(fabs(seen.mean[0][2] - 0x10) < 4);
    }
}

/* Reads the clip, and `pictures`, the ffmpeg program's RGB of it, which is in size and in every
 * byte the same. */
static void expect_bytes(const char *name, const char *pictures, const char *what)
{
    SpReader *reader;
    SpFrameInfo info;
    bool end = false;
    assert_int_equal(sp_reader_open(scratch_path(name), &all, &reader).code, SP_OK);
    const size_t size =
        (size_t)(3 * sp_reader_video(reader).height * sp_reader_video(reader).width);
    uint8_t *ours = malloc(size), *theirs = malloc(size);
    FILE *file = fopen(scratch_path(pictures), "rb");
    assert_true(ours && theirs && file);
    for (int t = 0;; t++) {
        assert_int_equal(sp_reader_next(reader, ours, &info, &end).code, SP_OK);
        const size_t read = fread(theirs, 1, size, file);
        if (end) {
            assert_int_equal(read, 0);
            break;
        }
        assert_int_equal(read, size);
        size_t differ = 0;
        for (size_t i = 0; i < size; i++)
            differ += ours[i] != theirs[i];
        if (differ)
            fail_msg("%s: %zu of %zu bytes of frame %d differ", what, differ, size, t);
    }
    fclose(file);
    free(ours);
    free(theirs);
    sp_reader_close(reader);
}

static void expect_ffmpegs_bytes(const char *name, const char *what)
{
    char arguments[300];
    snprintf(arguments, sizeof arguments,
             "-i @/%s -fps_mode passthrough -f rawvideo -pix_fmt rgb24 @/frames.rgb", name);
    ffmpeg(arguments);
    expect_bytes(name, "frames.rgb", what);
}

/* A lossless clip of 2 frames, in one kind of pixel. */
typedef struct Kind {
    const char *format, *size, *range, *matrix;
} Kind;

/* The program is started twice for all of them, which takes longer than what it does. */
static void expect_exact(const Kind *kind, int kinds)
{
    char in[8000] = "", out[8000] = "", arguments[16000], name[20], pictures[20], what[100];
    for (int i = 0; i < kinds; i++) {
        snprintf(in + strlen(in), sizeof in - strlen(in),
                 " -f lavfi -i \"testsrc=s=%s:r=5:d=0.4,noise=alls=20:all_seed=1,format=%s,"
                 "setparams=range=%s:colorspace=%s\"",
                 kind[i].size, kind[i].format, kind[i].range, kind[i].matrix);
        snprintf(out + strlen(out), sizeof out - strlen(out),
                 " -map %d -color_range %s -colorspace %s -c:v %s @/e%d.mkv", i, kind[i].range,
                 kind[i].matrix, strncmp(kind[i].format, "yuvj", 4) == 0 ? "mjpeg -q:v 2" : "ffv1",
                 i);
    }
    snprintf(arguments, sizeof arguments, "%s%s", in, out);
    ffmpeg(arguments);
    *in = *out = 0;
    for (int i = 0; i < kinds; i++) {
        snprintf(in + strlen(in), sizeof in - strlen(in), " -i @/e%d.mkv", i);
        snprintf(out + strlen(out), sizeof out - strlen(out),
                 " -map %d -fps_mode passthrough -f rawvideo -pix_fmt rgb24 @/e%d.rgb", i, i);
    }
    snprintf(arguments, sizeof arguments, "%s%s", in, out);
    ffmpeg(arguments);
    for (int i = 0; i < kinds; i++) {
        snprintf(name, sizeof name, "e%d.mkv", i);
        snprintf(pictures, sizeof pictures, "e%d.rgb", i);
        snprintf(what, sizeof what, "%s %s %s %s", kind[i].format, kind[i].size, kind[i].range,
                 kind[i].matrix);
        expect_bytes(name, pictures, what);
    }
}

static void frames_equal_the_ffmpeg_programs(void **state)
{
    (void)state;
    static const char *const formats[] = {
        "yuv420p",     "yuv422p",     "yuv444p",     "yuv410p",  "yuv411p",  "yuv440p",
        "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuva420p", "yuvj420p", "yuvj422p",
        "gray",        "gray10le",    "bgr0",        "bgra",     "gbrp",     "gbrp10le"};
    enum { FORMATS = sizeof formats / sizeof *formats, AT_ONCE = 6 };
    _Static_assert(FORMATS % AT_ONCE == 0, "some are left");
    for (int first = 0; first < FORMATS; first += AT_ONCE) {
        Kind kind[2 * AT_ONCE];
        for (int i = 0; i < 2 * AT_ONCE; i++)
            kind[i] = (Kind){formats[first + i / 2], i % 2 ? "129x31" : "50x38", "tv", "bt709"};
        expect_exact(kind, 2 * AT_ONCE);
    }
}

static void colours_equal_the_ffmpeg_programs(void **state)
{
    (void)state;
    static const char *const formats[] = {"yuv420p", "yuv444p", "yuv420p10le", "gray"};
    static const char *const matrices[] = {"smpte170m", "bt709", "bt2020nc", "fcc", "unknown"};
    enum { MATRICES = sizeof matrices / sizeof *matrices };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        Kind kind[2 * MATRICES];
        for (int k = 0; k < 2 * MATRICES; k++)
            kind[k] = (Kind){formats[i], "53x38", k % 2 ? "pc" : "tv", matrices[k / 2]};
        expect_exact(kind, 2 * MATRICES);
    }
}

static void unusual_clips_are_read(void **state)
{
    (void)state;
    ffmpeg("-f lavfi -i testsrc=s=53x37:r=7:d=1 -pix_fmt yuv444p -c:v libx264 @/odd.mp4");
    Seen seen = see(scratch_path("odd.mp4"), &all);
    expect(&seen, 7, 37, 53);
    ffmpeg("-f lavfi -i testsrc=s=64x48:r=5 -frames:v 1 -c:v libx264 @/one.mp4");
    seen = see(scratch_path("one.mp4"), &all);
    expect(&seen, 1, 48, 64);
    ffmpeg("-f lavfi -i sine=d=1 -f lavfi -i testsrc=s=64x48:r=5:d=1 -map 0:a -map 1:v -c:v "
           "libx264 -c:a aac @/audio.mp4");
    seen = see(scratch_path("audio.mp4"), &all);
    expect(&seen, 5, 48, 64);
    ffmpeg("-f lavfi -i \"testsrc=s=64x48:r=20:d=1,select='not(mod(n\\,3))+eq(n\\,1)'\" -vsync vfr "
           "-c:v libx264 @/vfr.mp4");
    seen = see(scratch_path("vfr.mp4"), &all);
    expect(&seen, 8, 48, 64);
    assert_true(fabs(seen.info[1].timestamp - 0.05) < 1e-3);
    assert_true(fabs(seen.info[2].timestamp - 0.15) < 1e-3);
    ffmpeg("-f lavfi -i testsrc=s=1x1:r=5 -frames:v 2 -c:v ffv1 @/dot.mkv");
    seen = see(scratch_path("dot.mkv"), &all);
    expect(&seen, 2, 1, 1);
}

/* A clip whose left half is white, stored turned by 90 degrees. */
static void rotation_is_honoured(void **state)
{
    (void)state;
    ffmpeg("-f lavfi -i \"color=black:s=64x48:r=5:d=0.4,drawbox=w=32:color=white:t=fill\" -c:v "
           "libx264 @/flat.mp4");
    /* ffmpeg 6 and later have an option for that, and 7 no longer heeds the metadata. */
    ffmpeg(system("ffmpeg -v error -h full | grep -q -e -display_rotation") == 0
               ? "-display_rotation -90 -i @/flat.mp4 -c copy @/turned.mp4"
               : "-i @/flat.mp4 -c copy -metadata:s:v rotate=90 @/turned.mp4");
    ffmpeg("-i @/turned.mp4 -frames:v 1 @/shown.png"); /* ffmpeg turns what it shows */
    SpReader *reader;
    SpFrameInfo info;
    bool end;
    assert_int_equal(sp_reader_open(scratch_path("turned.mp4"), &all, &reader).code, SP_OK);
    assert_int_equal(sp_reader_video(reader).height, 64);
    assert_int_equal(sp_reader_video(reader).width, 48);
    uint8_t rgb[3 * 64 * 48], *shown;
    assert_int_equal(sp_reader_next(reader, rgb, &info, &end).code, SP_OK);
    sp_reader_close(reader);
    int64_t h, w;
    assert_int_equal(sp_png_read_gray(scratch_path("shown.png"), &h, &w, &shown).code, SP_OK);
    assert_true(h == 64 && w == 48);
    for (int i = 0; i < 64 * 48; i++)
        assert_true((rgb[3 * i] > 128) == (shown[i] > 128));
    free(shown);
}

/* Copies @/flat.mp4 to @/way.mp4 with a, b, c, d in the display matrix of its track. */
static void write_turned(const int ways[4])
{
    static uint8_t bytes[1 << 16];
    static const int places[] = {0, 1, 3, 4};
    FILE *file = fopen(scratch_path("flat.mp4"), "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    uint8_t *matrix = memmem(bytes, size, "tkhd", 4);
    assert_non_null(matrix);
    matrix += 44; /* in 16.16 fixed point, high byte first */
    for (int i = 0; i < 4; i++) {
        const uint8_t sign = ways[i] < 0 ? 0xff : 0;
        memcpy(matrix + 4 * places[i], (uint8_t[]){sign, ways[i] ? sign | 1 : 0, 0, 0}, 4);
    }
    file_write(scratch_path("way.mp4"), bytes, size);
}

/* Matrices of the track, and H.264's own messages: what the ffmpeg program shows. */
static void mirrors_go_before_the_rotation(void **state)
{
    (void)state;
    static const int ways[][4] = {{1, 0, 0, 1},  {-1, 0, 0, 1}, {1, 0, 0, -1}, {-1, 0, 0, -1},
                                  {0, 1, -1, 0}, {0, -1, 1, 0}, {0, 1, 1, 0},  {0, -1, -1, 0}};
    ffmpeg("-f lavfi -i testsrc2=s=64x48:r=5:d=0.4 -c:v libx264 -pix_fmt yuv420p @/flat.mp4");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char what[60];
        snprintf(what, sizeof what, "matrix %d %d %d %d", ways[i][0], ways[i][1], ways[i][2],
                 ways[i][3]);
        write_turned(ways[i]);
        expect_ffmpegs_bytes("way.mp4", what);
    }
    ffmpeg("-i @/flat.mp4 -c copy -frames:v 1 -bsf:v "
           "h264_metadata=display_orientation=insert:flip=horizontal:rotate=90 @/sei.mkv");
    expect_ffmpegs_bytes("sei.mkv", "a message in the stream");
}

/* Only the first of three equal frames says how it is turned. */
static void a_turn_holds_for_the_frames_after_it(void **state)
{
    (void)state;
    ffmpeg("-f lavfi -i testsrc2=s=64x48:r=5,loop=-1:1:0 -frames:v 3 -c:v libx264 -qp 0 -bsf:v "
           "h264_metadata=display_orientation=insert:rotate=90 @/sei.mkv");
    SpReader *reader;
    SpFrameInfo info;
    bool end;
    static uint8_t rgb[3][3 * 64 * 48];
    assert_int_equal(sp_reader_open(scratch_path("sei.mkv"), &all, &reader).code, SP_OK);
    assert_int_equal(sp_reader_video(reader).height, 64);
    for (int t = 0; t < 3; t++) {
        assert_int_equal(sp_reader_next(reader, rgb[t], &info, &end).code, SP_OK);
        assert_memory_equal(rgb[t], rgb[0], sizeof rgb[0]);
    }
    sp_reader_close(reader);
}

static void images_are_read(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scratch_path("images"), 0777), 0);
    ffmpeg("-f lavfi -i \"nullsrc=s=40x30:r=10:d=1,geq=lum=16+20*N:cb=128:cr=128\" "
           "@/images/f%03d.png");
    Seen seen = see(scratch_path("images"), &all);
    expect(&seen, 10, 30, 40);
    assert_int_equal(seen.guess, 10);
    assert_true(fabs(seen.info[3].timestamp - 0.1) < 1e-9);
    for (int i = 1; i < 10; i++)
        assert_true(seen.mean[i][0] > seen.mean[i - 1][0] + 4);
    const SpReaderSettings some = {0, 4, 2, -1};
    seen = see(scratch_path("images/f%03d.png"), &some);
    expect(&seen, 2, 30, 40);
    assert_int_equal(seen.info[1].index, 4);
    assert_int_equal(seen.left_out, 1);
    seen = see(scratch_path("images/g%03d.png"), &all);
    expect_error(&seen, "no image has a name of this pattern");
    ffmpeg("-f lavfi -i testsrc=s=20x30 -frames:v 1 @/images/f011.png");
    seen = see(scratch_path("images"), &all);
    expect_error(&seen, "f011.png: 20x30; the images before it are 40x30");
    FILE *file = fopen(scratch_path("images/f011.png"), "w");
    assert_non_null(file);
    fputs("no image", file);
    fclose(file);
    seen = see(scratch_path("images"), &all);
    expect_error(&seen, "f011.png");
    assert_int_equal(mkdir(scratch_path("empty"), 0777), 0);
    seen = see(scratch_path("empty"), &all);
    expect_error(&seen, "a folder without images");
}

static void a_pipe_is_read(void **state)
{
    (void)state;
    ffmpeg("-i @/b.mp4 -c copy @/b.mkv");
    const int before = dup(0), file = open(scratch_path("b.mkv"), O_RDONLY);
    assert_true(before >= 0 && file >= 0 && dup2(file, 0) == 0);
    const Seen seen = see("-", &all);
    assert_true(dup2(before, 0) == 0);
    close(before), close(file);
    expect(&seen, 20, 48, 64);
}

static void bad_files_are_named(void **state)
{
    (void)state;
    Seen seen = see("/none.mp4", &all);
    expect_error(&seen, "cannot open /none.mp4: No such file");
    file_write(scratch_path("zero.mp4"), "", 0);
    seen = see(scratch_path("zero.mp4"), &all);
    expect_error(&seen, "an empty file");
    file_write(scratch_path("text.mp4"), "This is not a video.\n", 21);
    seen = see(scratch_path("text.mp4"), &all);
    expect_error(&seen, "text.mp4");
    static const char playlist[] = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nb.mp4\n"
                                   "#EXT-X-ENDLIST\n";
    file_write(scratch_path("list.m3u8"), playlist, sizeof playlist - 1);
    seen = see(scratch_path("list.m3u8"), &all);
    expect_error(&seen, "list.m3u8");
    ffmpeg("-f lavfi -i sine=d=1 -c:a aac @/sound.m4a");
    seen = see(scratch_path("sound.m4a"), &all);
    expect_error(&seen, "no video stream");
}

/* Sets the size in every frame header of a file of JPEG images from the `from`-th on. */
static void enlarge(const char *name, int from, int h, int w)
{
    size_t size;
    unsigned char *bytes = (unsigned char *)file_read(scratch_path(name), &size);
    int frames = 0;
    for (size_t at = 0; at + 9 < size; at++)
        if (bytes[at] == 0xff && bytes[at + 1] == 0xc0 && frames++ >= from) {
            bytes[at + 5] = (unsigned char)(h >> 8);
            bytes[at + 6] = (unsigned char)h;
            bytes[at + 7] = (unsigned char)(w >> 8);
            bytes[at + 8] = (unsigned char)w;
        }
    assert_true(frames > from);
    file_write(scratch_path(name), bytes, size);
    free(bytes);
}

/* A frame of 120 million pixels is refused before there is memory for it, whoever names it. */
static void absurd_frames_are_refused(void **state)
{
    (void)state;
    enum { H = 6000, W = 20000 };
    SpReader *reader;
    ffmpeg("-f lavfi -i testsrc=s=32x24:r=25 -frames:v 3 -c:v mjpeg -f mjpeg @/some.mjpeg");
    enlarge("some.mjpeg", 0, H, W);
    Seen seen = see(scratch_path("some.mjpeg"), &all);
    expect_error(&seen, "larger than can be read");
    ffmpeg("-f lavfi -i testsrc=s=32x24:r=25 -frames:v 3 -c:v mjpeg -f mjpeg @/some.mjpeg");
    enlarge("some.mjpeg", 2, H, W);
    seen = see(scratch_path("some.mjpeg"), &all);
    expect(&seen, 2, 24, 32);
    assert_int_equal(sp_reader_open(scratch_path("some.mjpeg"), &all, &reader).code, SP_OK);
    sp_reader_close(reader);
    ffmpeg("-f lavfi -i testsrc=s=32x24:r=25 -frames:v 1 @/large.jpg");
    enlarge("large.jpg", 0, 65535, 65535);
    seen = see(scratch_path("large.jpg"), &all);
    expect_error(&seen, "large.jpg");
    ffmpeg("-f lavfi -i color=s=16400x16:r=25 -frames:v 1 -c:v mjpeg @/broad.mkv");
    seen = see(scratch_path("broad.mkv"), &all);
    expect_error(&seen, "frames of 16400x16; at most 16384 a side");
}

/* Cut anywhere, a clip gives the frames that are whole or one line of error. */
static void cut_clips_end_well(void **state)
{
    (void)state;
    static uint8_t bytes[1 << 20];
    static const char *const names[] = {"b.mp4", "b.mkv"};
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(scratch_path(names[i]), "rb");
        if (!file)
            skip();
        const size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        for (int cut = 1; cut < 12; cut++) {
            file_write(scratch_path("cut"), bytes, size * (size_t)cut / 12);
            const Seen seen = see(scratch_path("cut"), &all);
            assert_true(seen.status.code == SP_OK ? seen.frames > 0 : seen.status.code == SP_INPUT);
        }
    }
}

static void masks_are_read(void **state)
{
    (void)state;
    static const char *const formats[] = {"gray", "rgb24", "gray16be", "monob", "pal8", "rgba"};
    int64_t h, w;
    uint8_t *pixels;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char arguments[300];
        snprintf(arguments, sizeof arguments,
                 "-f lavfi -i \"color=black:s=20x10,drawbox=w=10:color=white:t=fill\" -frames:v 1 "
                 "-pix_fmt %s @/mask.png",
                 formats[i]);
        ffmpeg(arguments);
        assert_int_equal(sp_png_read_gray(scratch_path("mask.png"), &h, &w, &pixels).code, SP_OK);
        assert_true(h == 10 && w == 20);
        assert_true(pixels[3] > 200 && pixels[15] < 50);
        free(pixels);
    }
    ffmpeg("-f lavfi -i \"color=white:s=8x8,format=rgba,colorchannelmixer=aa=0\" -frames:v 1 "
           "@/clear.png");
    assert_int_equal(sp_png_read_gray(scratch_path("clear.png"), &h, &w, &pixels).code, SP_OK);
    assert_int_equal(pixels[0], 0);
    free(pixels);
    assert_int_equal(sp_png_read_gray("/none.png", &h, &w, &pixels).code, SP_INPUT);
    assert_int_equal(sp_png_read_gray(scratch_path("b.mp4"), &h, &w, &pixels).code, SP_INPUT);
    FILE *file = fopen(scratch_path("mask.png"), "rb");
    static uint8_t bytes[4096];
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t cut = 0; cut + 12 < size; cut++) {
        file_write(scratch_path("cut.png"), bytes, cut);
        const SpStatus status = sp_png_read_gray(scratch_path("cut.png"), &h, &w, &pixels);
        if (status.code == SP_OK)
            free(pixels); /* only the end marker was missing */
        else
            assert_int_equal(status.code, SP_INPUT);
    }
}

/* The bytes up to `size` alone, so that sanitizers see a step beyond them. */
static int orientation_in(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + !size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    const int found = sp_exif_orientation(copy, size);
    free(copy);
    return found;
}

static void image_headers_are_read_within_their_bytes(void **state)
{
    (void)state;
    enum { TIFF = 22, PNG = 8 + 8 + TIFF + 4 };
    static const uint8_t little[TIFF] = "II*\0\x8\0\0\0\x1\0\x12\x1\x3\0\x1\0\0\0\x6\0\0";
    static const uint8_t big[TIFF] = "MM\0*\0\0\0\x8\0\x1\x1\x12\0\x3\0\0\0\x1\0\x7\0";
    static const uint8_t start[] = "\x89PNG\r\n\x1a\n\0\0\0\x16"
                                   "eXIf";
    static const uint8_t jpeg[] =
        "\xff\xd8\xff\xe1\0\x6\xff\xd8\xff\xd9\xff\xda\0\x2\x5\xff\0\xff\xd9";
    uint8_t png[PNG] = {0}, far[TIFF];
    memcpy(png, start, 16);
    memcpy(png + 16, big, TIFF);
    memcpy(far, little, TIFF);
    far[4] = far[7] = 0xff; /* a directory far behind the file */
    for (size_t size = 0; size <= TIFF; size++) {
        assert_int_equal(orientation_in(little, size), size == TIFF ? 6 : 0);
        assert_int_equal(orientation_in(big, size), size == TIFF ? 7 : 0);
        assert_int_equal(orientation_in(far, size), 0);
    }
    for (size_t size = 0; size <= PNG; size++)
        assert_int_equal(orientation_in(png, size), size == PNG ? 7 : 0);
    for (size_t size = 0; size < sizeof jpeg; size++) /* without the text's 0 */
        assert_int_equal(sp_jpeg_is_cut(jpeg, size), size < sizeof jpeg - 1);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(b_frames_come_in_order),
        cmocka_unit_test(start_stride_and_max_frames_choose),
        cmocka_unit_test(pixel_formats_are_read),
        cmocka_unit_test(frames_equal_the_ffmpeg_programs),
        cmocka_unit_test(colours_equal_the_ffmpeg_programs),
        cmocka_unit_test(unusual_clips_are_read),
        cmocka_unit_test(rotation_is_honoured),
        cmocka_unit_test(mirrors_go_before_the_rotation),
        cmocka_unit_test(a_turn_holds_for_the_frames_after_it),
        cmocka_unit_test(images_are_read),
        cmocka_unit_test(a_pipe_is_read),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(absurd_frames_are_refused),
        cmocka_unit_test(cut_clips_end_well),
        cmocka_unit_test(image_headers_are_read_within_their_bytes),
        cmocka_unit_test(masks_are_read),
    };
    return cmocka_run_group_tests_name("media", cases, scratch_make, scratch_remove);
}
