/*
 * Anti-aliased shapes on RGB images. Coordinates are pixels, x to the right and y down, with (0, 0)
 * the centre of the first pixel; what lies outside the image, or is not finite, is not drawn.
 * Every shape is its exact distance field cut off over one pixel.
 */
#ifndef SP_OUTPUT_DRAW_H
#define SP_OUTPUT_DRAW_H

#include <stdint.h>

typedef struct SpImage {
    int64_t height, width;
    uint8_t *rgb; /* [height, width, 3] */
} SpImage;

typedef struct SpColour {
    uint8_t rgb[3];
} SpColour;

/* A filled disc, and a ring whose stroke of `width` runs along the circle of `radius`. opacity:
 * 0..1. */
void sp_draw_disc(const SpImage *image, float x, float y, float radius, SpColour colour,
                  float opacity);
void sp_draw_ring(const SpImage *image, float x, float y, float radius, float width,
                  SpColour colour, float opacity);

/* A point of a line and how opaque the line is there, 0..1. */
typedef struct SpLinePoint {
    float x, y, opacity;
} SpLinePoint;

/* The line through points[count], `width` wide with round ends, its opacity running evenly between
 * points; it never covers itself twice. mask [height, width]: all zeros, before and after. */
void sp_draw_line(const SpImage *image, uint8_t *mask, const SpLinePoint *points, int64_t count,
                  float width, SpColour colour);

/* A filled rectangle of whole pixels. */
void sp_draw_box(const SpImage *image, int64_t x, int64_t y, int64_t width, int64_t height,
                 SpColour colour);

/* Copies `from` with its first pixel at x, y. */
void sp_draw_image(const SpImage *image, int64_t x, int64_t y, const SpImage *from);

/* A line of text in a fixed font of 5 x 7 dots, each `dot` pixels square, its upper left corner at
 * x, y: digits, ". - +", the letters of "frame", "depth" and "s"; others are blank. */
void sp_draw_text(const SpImage *image, int64_t x, int64_t y, int64_t dot, const char *text,
                  SpColour colour);

/* The pixels that text covers. */
int64_t sp_text_width(int64_t dot, const char *text);
int64_t sp_text_height(int64_t dot);

#endif
