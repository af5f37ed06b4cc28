/*
 * The clip with its tracks drawn on it (--overlay FILE.mp4).
 *
 * A track appears with its query frame: a disc where it is visible, a ring where it is not, behind
 * it a line through its last places that fades with age. Sizes follow from the size of the image,
 * colours from where tracks start (palette.h).
 */
#ifndef SP_OUTPUT_OVERLAY_H
#define SP_OUTPUT_OVERLAY_H

#include "output/draw.h"
#include "output/formats.h"

/* Before any work: the video, if there is one, can be read twice (media/reread.h). */
SpStatus sp_overlay_check(const char *video);

/* How a track is shown in a frame, visible or not; not at all where it is not followed. */
typedef enum SpShown { SP_SHOWN_NOT, SP_SHOWN_RING, SP_SHOWN_DISC } SpShown;

/* What draws a run's tracks; the arrays are its own. Frame t of the places that trails still reach
 * lies in row t % (trail + 1). */
typedef struct SpOverlay {
    const SpOutput *output;
    const float *queries; /* [N, 3] of the last frame placed, a view */
    int64_t tracks;       /* N */
    float *xy;            /* [trail + 1, N, 2] tracks in pixels of the video */
    SpShown *shown;       /* [trail + 1, N] */
    SpColour *colours;    /* [N] */
    SpLinePoint *points;  /* [trail + 1] */
    uint8_t *mask;        /* [pixels], for sp_draw_line */
} SpOverlay;

/* Gets ready for images of up to `pixels` pixels. SP_MEMORY. Released by sp_overlay_close, also
 * after a failure. */
SpStatus sp_overlay_open(const SpOutput *output, int64_t pixels, SpOverlay *overlay);
void sp_overlay_close(SpOverlay *overlay);

/* Frame t, of one of which `frame` is the result, comes after t - 1: its places. It may have more
 * tracks, which get colours among themselves. SP_MEMORY. */
SpStatus sp_overlay_place(SpOverlay *overlay, int64_t t, const SpResult *frame);

/* Draws the background and tracks of frame t, the last one placed, on it, given in any size. */
void sp_overlay_draw(const SpOverlay *overlay, int64_t t, const SpImage *image);

/* The used frames, read again, or, where the output has no video, as the clip has them: each(self,
 * t, image) for t = 0..T-1 with an image that may be drawn on. As sp_reread. */
SpStatus sp_overlay_frames(const SpOutput *output,
                           SpStatus (*each)(void *self, int64_t t, const SpImage *image),
                           void *self);

#endif
