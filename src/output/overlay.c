#include "output/overlay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "media/reread.h"
#include "media/writer.h"
#include "output/cloud.h"
#include "output/palette.h"

/* A disc's radius as a share of the image's short side; then shares of that radius. */
static const float RADIUS = 0.0065f, MIN_RADIUS = 2;
static const float RIM = 0.3f, RING_RADIUS = 1.25f, RING_WIDTH = 0.55f, TRAIL_WIDTH = 0.7f;
static const float RIM_OPACITY = 0.6f, TRAIL_OPACITY = 0.9f, HIDDEN_OPACITY = 0.35f;
static const float DIM = 0.4f;
static const SpColour BLACK = {{0, 0, 0}};

/* Memory for more tracks, whose earlier places are not looked at. */
static SpStatus add_tracks(SpOverlay *overlay, const SpResult *result)
{
    const int64_t before = overlay->tracks, tracks = result->tracks;
    const int64_t kept = overlay->output->trail + 1;
    float *xy = malloc((size_t)(kept * tracks * 2 + 1) * sizeof *xy);
    SpShown *shown = malloc((size_t)(kept * tracks + 1) * sizeof *shown);
    SpColour *colours = realloc(overlay->colours, (size_t)(tracks + 1) * sizeof *colours);
    overlay->colours = colours ? colours : overlay->colours;
    if (!xy || !shown || !colours) {
        free(xy);
        free(shown);
        return sp_no_memory("the overlay");
    }
    for (int64_t row = 0; row < kept; row++) {
        memcpy(xy + row * 2 * tracks, overlay->xy + row * 2 * before,
               (size_t)(2 * before) * sizeof *xy);
        memcpy(shown + row * tracks, overlay->shown + row * before, (size_t)before * sizeof *shown);
    }
    free(overlay->xy);
    free(overlay->shown);
    overlay->xy = xy;
    overlay->shown = shown;
    overlay->tracks = tracks;
    const float *fresh = result->queries ? result->queries + 3 * before : NULL;
    return sp_palette_tracks(fresh, tracks - before, colours + before);
}

SpStatus sp_overlay_open(const SpOutput *output, int64_t pixels, SpOverlay *overlay)
{
    const size_t kept = (size_t)(output->trail + 1);
    *overlay = (SpOverlay){.output = output,
                           .queries = output->result->queries,
                           .xy = malloc(1),
                           .shown = malloc(1),
                           .points = malloc(kept * sizeof *overlay->points),
                           .mask = calloc((size_t)pixels, 1)};
    if (!overlay->xy || !overlay->shown || !overlay->points || !overlay->mask)
        return sp_no_memory("the overlay");
    return add_tracks(overlay, output->result);
}

void sp_overlay_close(SpOverlay *overlay)
{
    free(overlay->xy);
    free(overlay->shown);
    free(overlay->colours);
    free(overlay->points);
    free(overlay->mask);
    *overlay = (SpOverlay){0};
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

/* Where track n at frame t stands in the arrays. */
static int64_t row_of(const SpOverlay *overlay, int64_t t, int64_t n)
{
    return t % (overlay->output->trail + 1) * overlay->tracks + n;
}

SpStatus sp_overlay_place(SpOverlay *overlay, int64_t t, const SpResult *frame)
{
    if (frame->tracks > overlay->tracks)
        SP_TRY(add_tracks(overlay, frame));
    overlay->queries = frame->queries;
    sp_result_tracks2d(frame, overlay->xy + 2 * row_of(overlay, t, 0));
    for (int64_t n = 0; n < frame->tracks; n++)
        overlay->shown[row_of(overlay, t, n)] = !sp_result_is_there(frame, 0, n) ? SP_SHOWN_NOT
                                                : sp_result_visible(frame, 0, n) ? SP_SHOWN_DISC
                                                                                 : SP_SHOWN_RING;
    return sp_ok();
}

/* Where track n is at frame t, in pixels of an image of any size. */
static SpLinePoint position(const SpOverlay *overlay, int64_t t, int64_t n, const SpImage *image)
{
    const SpFramePlan *plan = &overlay->output->result->clip->plan;
    const int64_t row = row_of(overlay, t, n);
    const float *xy = overlay->xy + 2 * row;
    const float sx = (float)image->width / (float)plan->input_width;
    const float sy = (float)image->height / (float)plan->input_height;
    return (SpLinePoint){(xy[0] + 0.5f) * sx - 0.5f, (xy[1] + 0.5f) * sy - 0.5f,
                         overlay->shown[row] == SP_SHOWN_DISC ? 1 : HIDDEN_OPACITY};
}

static void draw_trail(const SpOverlay *overlay, int64_t t, int64_t n, const SpImage *image,
                       float width)
{
    const int64_t start = (int64_t)overlay->queries[3 * n];
    const int64_t trail = overlay->output->trail;
    int64_t count = 0;
    for (int64_t age = 0; age <= trail && t - age >= start; age++) {
        if (overlay->shown[row_of(overlay, t - age, n)] == SP_SHOWN_NOT)
            break;
        SpLinePoint point = position(overlay, t - age, n, image);
        point.opacity *= TRAIL_OPACITY * (1 - (float)age / (float)(trail + 1));
        overlay->points[count++] = point;
    }
    sp_draw_line(image, overlay->mask, overlay->points, count, width, overlay->colours[n]);
}

/* A dark rim keeps the marker apart from a background of its colour. */
static void draw_marker(const SpImage *image, SpLinePoint at, bool visible, float radius,
                        SpColour colour)
{
    const float rim = fmaxf(RIM * radius, 0.7f), ring = fmaxf(RING_WIDTH * radius, 1.2f);
    if (visible) {
        sp_draw_disc(image, at.x, at.y, radius + rim, BLACK, RIM_OPACITY);
        sp_draw_disc(image, at.x, at.y, radius, colour, 1);
    } else {
        sp_draw_ring(image, at.x, at.y, RING_RADIUS * radius, ring + 2 * rim, BLACK, RIM_OPACITY);
        sp_draw_ring(image, at.x, at.y, RING_RADIUS * radius, ring, colour, 1);
    }
}

void sp_overlay_draw(const SpOverlay *overlay, int64_t t, const SpImage *image)
{
    const int64_t tracks = overlay->tracks;
    const float radius = fmaxf(RADIUS * (float)sp_min(image->height, image->width), MIN_RADIUS);
    draw_background(image, overlay->output->background);
    for (int64_t n = 0; n < tracks; n++)
        draw_trail(overlay, t, n, image, TRAIL_WIDTH * radius);
    for (SpShown pass = SP_SHOWN_RING; pass <= SP_SHOWN_DISC; pass++) /* which lies above */
        for (int64_t n = 0; n < tracks; n++)
            if ((float)t >= overlay->queries[3 * n] &&
                overlay->shown[row_of(overlay, t, n)] == pass)
                draw_marker(image, position(overlay, t, n, image), pass == SP_SHOWN_DISC, radius,
                            overlay->colours[n]);
}

/* Hands frames on as images. */
typedef struct Images {
    const SpClip *clip;
    SpStatus (*each)(void *self, int64_t t, const SpImage *image);
    void *self;
} Images;

static SpStatus hand_on(void *self, int64_t t, uint8_t *rgb)
{
    const Images *images = self;
    const SpFramePlan *plan = &images->clip->plan;
    const SpImage image = {plan->input_height, plan->input_width, rgb};
    return images->each(images->self, t, &image);
}

/* The clip's own frames. */
static SpStatus hand_on_clip(const SpOutput *output, Images *images)
{
    const SpClip *clip = output->result->clip;
    const int64_t h = clip->plan.height, w = clip->plan.width;
    const SpImage image = {h, w, malloc((size_t)(3 * h * w))};
    SpStatus status = image.rgb ? sp_ok() : sp_no_memory("a frame");
    for (int64_t t = 0; t < clip->frames && status.code == SP_OK; t++) {
        for (int64_t i = 0; i < h * w; i++)
            sp_cloud_colour(clip, t, i / w, i % w, image.rgb + 3 * i);
        status = images->each(images->self, t, &image);
        sp_progress(&output->console->progress, (double)(t + 1), (double)clip->frames);
    }
    free(image.rgb);
    return status;
}

SpStatus sp_overlay_frames(const SpOutput *output,
                           SpStatus (*each)(void *self, int64_t t, const SpImage *image),
                           void *self)
{
    const SpClip *clip = output->result->clip;
    Images images = {clip, each, self};
    if (!output->video)
        return hand_on_clip(output, &images);
    const SpReread reread = {.video = output->video,
                             .settings = output->reader,
                             .clip = clip,
                             .frames = clip->frames,
                             .progress = &output->console->progress,
                             .each = hand_on,
                             .self = &images};
    return sp_reread(&reread);
}

/* A video being written. */
typedef struct Video {
    SpOverlay overlay;
    SpWriter *writer;
    const char *label; /* of the file, a view */
} Video;

static SpStatus draw_frame(Video *video, int64_t t, const SpResult *frame, const SpImage *image)
{
    SP_TRY(sp_overlay_place(&video->overlay, t, frame));
    sp_overlay_draw(&video->overlay, t, image);
    return sp_writer_add(video->writer, frame->clip->timestamps[0], image->rgb);
}

static SpStatus draw_read(void *self, int64_t t, const SpImage *image)
{
    Video *video = self;
    SpResultFrame frame;
    sp_result_frame(video->overlay.output->result, t, &frame);
    return draw_frame(video, t, &frame.result, image);
}

static SpStatus open_video(const SpAtomicFile *file, const SpOutput *output, Video *video)
{
    const SpClip *clip = output->result->clip;
    const SpWriterSettings settings = {.height = clip->plan.input_height,
                                       .width = clip->plan.input_width,
                                       .frames = clip->frames,
                                       .timestamps = clip->timestamps,
                                       .rate = clip->rate / (double)output->reader.stride,
                                       .pixel = clip->pixel};
    SP_TRY(sp_overlay_open(output, settings.height * settings.width, &video->overlay));
    return sp_writer_open(file->temporary ? file->temporary : file->label, file->label, &settings,
                          &video->writer);
}

static SpStatus finish_video(const Video *video, const char *label)
{
    SP_TRY(sp_writer_finish(video->writer));
    const char *codec = sp_writer_codec(video->writer);
    if (strcmp(codec, "H.264") != 0)
        sp_console_note(video->overlay.output->console,
                        "this FFmpeg cannot encode H.264; %.300s is %s", label, codec);
    return sp_ok();
}

static void close_video(Video *video)
{
    sp_writer_close(video->writer);
    sp_overlay_close(&video->overlay);
}

static SpStatus write_video(const SpAtomicFile *file, const SpOutput *output)
{
    Video video = {0};
    SpStatus status = open_video(file, output, &video);
    if (status.code == SP_OK)
        status = sp_overlay_frames(output, draw_read, &video);
    if (status.code == SP_OK)
        status = finish_video(&video, file->label);
    close_video(&video);
    return status;
}

static SpStatus begin_frames(const SpAtomicFile *file, const SpOutput *output, void **stream)
{
    Video *video = *stream = calloc(1, sizeof *video);
    if (!video)
        return sp_no_memory("the overlay");
    video->label = file->label;
    return open_video(file, output, video);
}

static SpStatus add_frame(void *stream, int64_t t, const SpResult *frame, uint8_t *rgb)
{
    const SpFramePlan *plan = &frame->clip->plan;
    const SpImage image = {plan->input_height, plan->input_width, rgb};
    return draw_frame(stream, t, frame, &image);
}

static SpStatus end_frames(void *stream, const SpResult *whole)
{
    const Video *video = stream;
    (void)whole;
    return finish_video(video, video->label);
}

static void discard_frames(void *stream)
{
    close_video(stream);
    free(stream);
}

static const SpFrameFormat frame_by_frame = {begin_frames, add_frame, end_frames, discard_frames};

SpStatus sp_overlay_check(const char *video)
{
    return sp_reread_check(video, "overlay");
}

const SpFormat sp_format_video = {.product = SP_PRODUCT_OVERLAY,
                                  .ending = ".mp4",
                                  .what = "the video",
                                  .needs_tracks = true,
                                  .from_video = true,
                                  .unused = SP_PART_CAMERAS | SP_PART_DEPTH,
                                  .seeks = true,
                                  .check = sp_overlay_check,
                                  .write = write_video,
                                  .frames = &frame_by_frame};
