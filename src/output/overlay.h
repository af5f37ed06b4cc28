/*
 * The clip with its tracks drawn on it (--overlay FILE.mp4).
 *
 * A track appears with its query frame: a disc where it is visible (above 0.5), a ring where it is
 * not, behind it a line through its last places that fades with age. Sizes follow from the size of
 * the image, colours from where tracks start (palette.h).
 */
#ifndef SP_OUTPUT_OVERLAY_H
#define SP_OUTPUT_OVERLAY_H

#include "output/draw.h"
#include "output/format.h"

/* T frames of h x w and N tracks on them; views. */
typedef struct SpOverlay {
    const char *video; /* read again with the settings that gave the T frames; "-": media/spool.h */
    SpReaderSettings reader;
    int64_t frames, height, width; /* T, pixels of the video */
    const double *timestamps;      /* [T] seconds */
    double rate;                   /* used frames a second, 0 unknown */
    SpPixelAspect pixel;           /* of the video */
    int64_t tracks;
    const float *xy;         /* [T, N, 2] pixels of the video */
    const float *visibility; /* [T, N] */
    const float *queries;    /* [N, 3] used frame, x, y */
    int64_t trail;           /* frames it reaches back */
    SpBackground background;
} SpOverlay;

/* The overlay of a run's result, its tracks in pixels of the video at `xy`, room for [T, N, 2]. */
SpOverlay sp_overlay_of(const SpOutput *output, float *xy);

/* Before any work: the video can be read twice. One on standard input is kept for the second
 * reading (media/spool.h). SP_USAGE, and what that gives. */
SpStatus sp_overlay_check(const char *video);

/* Writes the video to `file`, which stays the caller's to commit or abandon; of the frames one is
 * held at a time. *codec, a static text, is what it was written with. SP_INPUT when the video
 * cannot be read as before; SP_OUTPUT; SP_MEMORY. */
SpStatus sp_overlay_write(const SpAtomicFile *file, const SpOverlay *overlay,
                          const SpProgress *progress, const char **codec);

/* What drawing needs besides the image; the arrays are its own. */
typedef struct SpOverlayBrush {
    const SpOverlay *overlay;
    SpColour *colours;   /* [N] */
    SpLinePoint *points; /* [trail + 1] */
    uint8_t *mask;       /* [pixels], for sp_draw_line */
} SpOverlayBrush;

/* A brush for images of up to `pixels` pixels. SP_MEMORY. Released by the other, also after a
 * failure. */
SpStatus sp_overlay_brush_open(const SpOverlay *overlay, int64_t pixels, SpOverlayBrush *brush);
void sp_overlay_brush_close(SpOverlayBrush *brush);

/* Draws frame t's background and tracks on that frame, given in any size. */
void sp_overlay_draw(const SpOverlayBrush *brush, int64_t t, const SpImage *image);

/* Reads the used frames again: each(self, t, image) for t = 0..T-1 with an image that may be drawn
 * on. SP_INPUT when they are no longer T of that size; SP_MEMORY; what `each` gives. */
SpStatus sp_overlay_frames(const SpOverlay *overlay, const SpProgress *progress,
                           SpStatus (*each)(void *self, int64_t t, const SpImage *image),
                           void *self);

#endif
