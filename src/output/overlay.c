#include "output/overlay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "media/spool.h"
#include "media/writer.h"
#include "output/palette.h"

/* A disc's radius as a share of the image's short side; then shares of that radius. */
static const float RADIUS = 0.0065f, MIN_RADIUS = 2;
static const float RIM = 0.3f, RING_RADIUS = 1.25f, RING_WIDTH = 0.55f, TRAIL_WIDTH = 0.7f;
static const float RIM_OPACITY = 0.6f, TRAIL_OPACITY = 0.9f, HIDDEN_OPACITY = 0.35f;
static const float DIM = 0.4f;
static const SpColour BLACK = {{0, 0, 0}};

SpStatus sp_overlay_brush_open(const SpOverlay *overlay, int64_t pixels, SpOverlayBrush *brush)
{
    *brush = (SpOverlayBrush){.overlay = overlay};
    brush->colours = malloc((size_t)overlay->tracks * sizeof *brush->colours);
    brush->points = malloc((size_t)(overlay->trail + 1) * sizeof *brush->points);
    brush->mask = calloc((size_t)pixels, 1);
    if (!brush->colours || !brush->points || !brush->mask)
        return sp_no_memory("the overlay");
    return sp_palette_tracks(overlay->queries, overlay->tracks, brush->colours);
}

void sp_overlay_brush_close(SpOverlayBrush *brush)
{
    free(brush->colours);
    free(brush->points);
    free(brush->mask);
    *brush = (SpOverlayBrush){0};
}

static void draw_background(const SpImage *image, SpBackground background)
{
    const int64_t pixels = image->height * image->width;
    if (background == SP_BACKGROUND_GRAY)
        for (uint8_t *p = image->rgb; p < image->rgb + 3 * pixels; p += 3) /* BT.709 luma */
            memset(p, (13933 * p[0] + 46871 * p[1] + 4732 * p[2] + 32768) >> 16, 3);
    if (background == SP_BACKGROUND_DIM)
        for (int64_t i = 0; i < 3 * pixels; i++)
            image->rgb[i] = (uint8_t)(DIM * (float)image->rgb[i] + 0.5f);
}

static bool is_visible(const SpOverlay *overlay, int64_t t, int64_t n)
{
    return overlay->visibility[t * overlay->tracks + n] > 0.5f;
}

/* Where track n is at frame t, in pixels of an image of any size. */
static SpLinePoint position(const SpOverlay *overlay, int64_t t, int64_t n, const SpImage *image)
{
    const float *xy = overlay->xy + 2 * (t * overlay->tracks + n);
    const float sx = (float)image->width / (float)overlay->width;
    const float sy = (float)image->height / (float)overlay->height;
    return (SpLinePoint){(xy[0] + 0.5f) * sx - 0.5f, (xy[1] + 0.5f) * sy - 0.5f,
                         is_visible(overlay, t, n) ? 1 : HIDDEN_OPACITY};
}

static void draw_trail(const SpOverlayBrush *brush, int64_t t, int64_t n, const SpImage *image,
                       float width)
{
    const SpOverlay *overlay = brush->overlay;
    const int64_t start = (int64_t)overlay->queries[3 * n];
    int64_t count = 0;
    for (int64_t age = 0; age <= overlay->trail && t - age >= start; age++) {
        SpLinePoint point = position(overlay, t - age, n, image);
        point.opacity *= TRAIL_OPACITY * (1 - (float)age / (float)(overlay->trail + 1));
        brush->points[count++] = point;
    }
    sp_draw_line(image, brush->mask, brush->points, count, width, brush->colours[n]);
}

/* A dark rim keeps the marker apart from a background of its colour. */
static void draw_marker(const SpOverlay *overlay, int64_t t, int64_t n, const SpImage *image,
                        float radius, SpColour colour)
{
    const SpLinePoint at = position(overlay, t, n, image);
    const float rim = fmaxf(RIM * radius, 0.7f), ring = fmaxf(RING_WIDTH * radius, 1.2f);
    if (is_visible(overlay, t, n)) {
        sp_draw_disc(image, at.x, at.y, radius + rim, BLACK, RIM_OPACITY);
        sp_draw_disc(image, at.x, at.y, radius, colour, 1);
    } else {
        sp_draw_ring(image, at.x, at.y, RING_RADIUS * radius, ring + 2 * rim, BLACK, RIM_OPACITY);
        sp_draw_ring(image, at.x, at.y, RING_RADIUS * radius, ring, colour, 1);
    }
}

void sp_overlay_draw(const SpOverlayBrush *brush, int64_t t, const SpImage *image)
{
    const SpOverlay *overlay = brush->overlay;
    const float side = (float)(image->height < image->width ? image->height : image->width);
    const float radius = fmaxf(RADIUS * side, MIN_RADIUS);
    draw_background(image, overlay->background);
    for (int64_t n = 0; n < overlay->tracks; n++)
        draw_trail(brush, t, n, image, TRAIL_WIDTH * radius);
    for (int pass = 0; pass < 2; pass++) /* what is visible lies above what is not */
        for (int64_t n = 0; n < overlay->tracks; n++)
            if ((float)t >= overlay->queries[3 * n] && is_visible(overlay, t, n) == pass)
                draw_marker(overlay, t, n, image, radius, brush->colours[n]);
}

static SpStatus changed(const SpOverlay *overlay)
{
    return sp_error(SP_INPUT, "%.300s: its frames changed between the first and the second reading",
                    overlay->video);
}

static SpStatus frames_of(const SpOverlay *overlay, SpReader *reader, const SpProgress *progress,
                          const SpImage *image,
                          SpStatus (*each)(void *self, int64_t t, const SpImage *image), void *self)
{
    for (int64_t t = 0; t < overlay->frames; t++) {
        SpFrameInfo info;
        bool end;
        SP_TRY(sp_reader_next(reader, image->rgb, &info, &end));
        if (end)
            return changed(overlay);
        SP_TRY(each(self, t, image));
        sp_progress(progress, (double)(t + 1), (double)overlay->frames);
    }
    return sp_ok();
}

SpStatus sp_overlay_frames(const SpOverlay *overlay, const SpProgress *progress,
                           SpStatus (*each)(void *self, int64_t t, const SpImage *image),
                           void *self)
{
    SpReader *reader;
    SpImage image = {overlay->height, overlay->width, NULL};
    SpStatus status = strcmp(overlay->video, "-") == 0 ? sp_spool_rewind() : sp_ok();
    SP_TRY(status);
    SP_TRY(sp_reader_open(overlay->video, &overlay->reader, &reader));
    if (sp_reader_height(reader) != image.height || sp_reader_width(reader) != image.width)
        status = changed(overlay);
    else if (!(image.rgb = malloc((size_t)(3 * image.height * image.width))))
        status = sp_no_memory("a frame");
    else
        status = frames_of(overlay, reader, progress, &image, each, self);
    free(image.rgb);
    sp_reader_close(reader);
    return status;
}

/* A video being written. */
typedef struct Video {
    SpOverlayBrush brush;
    SpWriter *writer;
} Video;

static SpStatus add_frame(void *self, int64_t t, const SpImage *image)
{
    Video *video = self;
    sp_overlay_draw(&video->brush, t, image);
    return sp_writer_add(video->writer, image->rgb);
}

static SpStatus write_video(const SpAtomicFile *file, const SpOverlay *overlay,
                            const SpProgress *progress, Video *video)
{
    const SpWriterSettings settings = {.height = overlay->height,
                                       .width = overlay->width,
                                       .frames = overlay->frames,
                                       .timestamps = overlay->timestamps,
                                       .rate = overlay->rate,
                                       .pixel = overlay->pixel};
    SP_TRY(sp_overlay_brush_open(overlay, overlay->height * overlay->width, &video->brush));
    SP_TRY(sp_writer_open(file->temporary ? file->temporary : file->label, file->label, &settings,
                          &video->writer));
    SP_TRY(sp_overlay_frames(overlay, progress, add_frame, video));
    return sp_writer_finish(video->writer);
}

SpStatus sp_overlay_write(const SpAtomicFile *file, const SpOverlay *overlay,
                          const SpProgress *progress, const char **codec)
{
    Video video = {0};
    const SpStatus status = write_video(file, overlay, progress, &video);
    if (status.code == SP_OK)
        *codec = sp_writer_codec(video.writer);
    sp_writer_close(video.writer);
    sp_overlay_brush_close(&video.brush);
    return status;
}

SpStatus sp_overlay_check(const char *video)
{
    struct stat info;
    if (strcmp(video, "-") == 0)
        return sp_spool_stdin();
    if (stat(video, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return sp_error(SP_USAGE,
                        "%.300s: not a regular file, but --overlay reads the video twice; "
                        "use standard input: spatrack - < %.100s",
                        video, video);
    return sp_ok();
}

SpOverlay sp_overlay_of(const SpOutput *output, float *xy)
{
    const SpResult *result = output->result;
    const SpClip *clip = result->clip;
    sp_result_tracks2d(result, xy);
    return (SpOverlay){.video = output->video,
                       .reader = output->reader,
                       .frames = clip->frames,
                       .height = clip->plan.input_height,
                       .width = clip->plan.input_width,
                       .timestamps = clip->timestamps,
                       .rate = clip->rate / (double)output->reader.stride,
                       .pixel = clip->pixel,
                       .tracks = result->tracks,
                       .xy = xy,
                       .visibility = result->visibility,
                       .queries = result->queries,
                       .trail = output->trail,
                       .background = output->background};
}

static SpStatus write(const SpAtomicFile *file, const SpOutput *output)
{
    const int64_t pairs = output->result->clip->frames * output->result->tracks;
    const char *codec;
    float *xy = malloc((size_t)(2 * pairs) * sizeof *xy);
    if (!xy)
        return sp_no_memory("the overlay");
    const SpOverlay overlay = sp_overlay_of(output, xy);
    const SpStatus status = sp_overlay_write(file, &overlay, &output->console->progress, &codec);
    if (status.code == SP_OK && strcmp(codec, "H.264") != 0)
        sp_console_note(output->console, "this FFmpeg cannot encode H.264; %.300s is %s",
                        file->label, codec);
    free(xy);
    return status;
}

const SpFormat sp_format_video = {.product = SP_PRODUCT_OVERLAY,
                                  .ending = ".mp4",
                                  .what = "the video",
                                  .needs_tracks = true,
                                  .check = sp_overlay_check,
                                  .write = write};
