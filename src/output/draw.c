#include "output/draw.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/minmax.h"

static void blend(uint8_t *pixel, SpColour colour, float opacity)
{
    for (int c = 0; c < 3; c++)
        pixel[c] = (uint8_t)((float)pixel[c] + opacity * (float)(colour.rgb[c] - pixel[c]) + 0.5f);
}

/* How much of a pixel is inside an edge that many pixels away (below 0: the pixel is inside). */
static float coverage(float distance)
{
    return fminf(fmaxf(0.5f - distance, 0), 1);
}

/* The whole pixels between two coordinates that are in 0..size-1: first to last, none when last is
 * below first. */
static int64_t first_pixel(float at, int64_t size)
{
    return (int64_t)ceilf(fminf(fmaxf(at, 0), (float)size));
}

static int64_t last_pixel(float at, int64_t size)
{
    return (int64_t)floorf(fminf(fmaxf(at, -1), (float)(size - 1)));
}

void sp_draw_ring(const SpImage *image, float x, float y, float radius, float width,
                  SpColour colour, float opacity)
{
    const float reach = radius + width / 2 + 0.5f;
    if (!isfinite(x) || !isfinite(y))
        return;
    for (int64_t i = first_pixel(y - reach, image->height);
         i <= last_pixel(y + reach, image->height); i++)
        for (int64_t j = first_pixel(x - reach, image->width);
             j <= last_pixel(x + reach, image->width); j++) {
            const float distance = hypotf((float)j - x, (float)i - y);
            const float inside = coverage(fabsf(distance - radius) - width / 2);
            blend(image->rgb + 3 * (i * image->width + j), colour, opacity * inside);
        }
}

/* A ring around the centre itself. */
void sp_draw_disc(const SpImage *image, float x, float y, float radius, SpColour colour,
                  float opacity)
{
    sp_draw_ring(image, x, y, 0, 2 * radius, colour, opacity);
}

/* What is done to the pixels near a segment. */
typedef struct Pen {
    const SpImage *image;
    uint8_t *mask;
    float radius;
    SpColour colour;
} Pen;

/* Keeps the most opaque of the segments that meet at a pixel. */
static void mark(const Pen *pen, const SpLinePoint *a, const SpLinePoint *b, int64_t i, int64_t j)
{
    const float dx = b->x - a->x, dy = b->y - a->y, square = dx * dx + dy * dy;
    const float px = (float)j - a->x, py = (float)i - a->y;
    const float along = square > 0 ? fminf(fmaxf((px * dx + py * dy) / square, 0), 1) : 0;
    const float distance = hypotf(px - along * dx, py - along * dy);
    const float opacity = a->opacity + along * (b->opacity - a->opacity);
    const float value = 255 * opacity * coverage(distance - pen->radius) + 0.5f;
    uint8_t *at = pen->mask + i * pen->image->width + j;
    if (value > *at)
        *at = (uint8_t)value;
}

/* Blends a marked pixel and takes its mark away. */
static void paint(const Pen *pen, int64_t i, int64_t j)
{
    const int64_t at = i * pen->image->width + j;
    if (!pen->mask[at])
        return;
    blend(pen->image->rgb + 3 * at, pen->colour, (float)pen->mask[at] / 255);
    pen->mask[at] = 0;
}

/* Walks the pixels within reach of the segment a..b, row by row. */
static void walk(const Pen *pen, const SpLinePoint *a, const SpLinePoint *b, bool painting)
{
    const float reach = pen->radius + 0.5f, dx = b->x - a->x, dy = b->y - a->y;
    const int64_t bottom = last_pixel(fmaxf(a->y, b->y) + reach, pen->image->height);
    for (int64_t i = first_pixel(fminf(a->y, b->y) - reach, pen->image->height); i <= bottom; i++) {
        float from = 0, to = 1; /* the part of the segment that this row can see */
        if (fabsf(dy) > reach) {
            const float one = ((float)i - reach - a->y) / dy, two = ((float)i + reach - a->y) / dy;
            from = fminf(fmaxf(fminf(one, two), 0), 1);
            to = fminf(fmaxf(fmaxf(one, two), 0), 1);
        }
        const float left = a->x + dx * (dx < 0 ? to : from);
        const float right = a->x + dx * (dx < 0 ? from : to);
        const int64_t end = last_pixel(right + reach, pen->image->width);
        for (int64_t j = first_pixel(left - reach, pen->image->width); j <= end; j++)
            if (painting)
                paint(pen, i, j);
            else
                mark(pen, a, b, i, j);
    }
}

static bool is_finite(const SpLinePoint *point)
{
    return isfinite(point->x) && isfinite(point->y);
}

void sp_draw_line(const SpImage *image, uint8_t *mask, const SpLinePoint *points, int64_t count,
                  float width, SpColour colour)
{
    const Pen pen = {image, mask, width / 2, colour};
    for (int pass = 0; pass < 2; pass++)
        for (int64_t k = 0; k + 1 < count; k++)
            if (is_finite(points + k) && is_finite(points + k + 1))
                walk(&pen, points + k, points + k + 1, pass == 1);
}

void sp_draw_box(const SpImage *image, int64_t x, int64_t y, int64_t width, int64_t height,
                 SpColour colour)
{
    const int64_t right = sp_min(x + width, image->width);
    const int64_t bottom = sp_min(y + height, image->height);
    for (int64_t i = sp_max(y, 0); i < bottom; i++)
        for (int64_t j = sp_max(x, 0); j < right; j++)
            memcpy(image->rgb + 3 * (i * image->width + j), colour.rgb, 3);
}

void sp_draw_image(const SpImage *image, int64_t x, int64_t y, const SpImage *from)
{
    const int64_t left = sp_max(x, 0), right = sp_min(x + from->width, image->width);
    for (int64_t i = 0; i < from->height && left < right; i++)
        if (y + i >= 0 && y + i < image->height)
            memcpy(image->rgb + 3 * ((y + i) * image->width + left),
                   from->rgb + 3 * (i * from->width + left - x), (size_t)(3 * (right - left)));
}

enum { GLYPH_WIDTH = 5, GLYPH_HEIGHT = 7, GLYPH_STEP = 6 };

/* Rows from the top; the highest of the five bits is the left dot. */
static const struct {
    char letter;
    uint8_t rows[GLYPH_HEIGHT];
} font[] = {
    {'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}},
    {'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'2', {0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f}},
    {'3', {0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e}},
    {'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}},
    {'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
    {'6', {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}},
    {'7', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08}},
    {'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}},
    {'9', {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c}},
    {'.', {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c}},
    {'-', {0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00}},
    {'+', {0x00, 0x04, 0x04, 0x1f, 0x04, 0x04, 0x00}},
    {'a', {0x00, 0x00, 0x0e, 0x01, 0x0f, 0x11, 0x0f}},
    {'d', {0x01, 0x01, 0x0d, 0x13, 0x11, 0x11, 0x0f}},
    {'e', {0x00, 0x00, 0x0e, 0x11, 0x1f, 0x10, 0x0e}},
    {'f', {0x06, 0x09, 0x08, 0x1c, 0x08, 0x08, 0x08}},
    {'h', {0x10, 0x10, 0x16, 0x19, 0x11, 0x11, 0x11}},
    {'m', {0x00, 0x00, 0x1a, 0x15, 0x15, 0x11, 0x11}},
    {'p', {0x00, 0x00, 0x1e, 0x11, 0x1e, 0x10, 0x10}},
    {'r', {0x00, 0x00, 0x16, 0x19, 0x10, 0x10, 0x10}},
    {'s', {0x00, 0x00, 0x0e, 0x10, 0x0e, 0x01, 0x1e}},
    {'t', {0x08, 0x08, 0x1c, 0x08, 0x08, 0x09, 0x06}},
};

static const uint8_t *glyph(char letter)
{
    for (size_t i = 0; i < sizeof font / sizeof *font; i++)
        if (font[i].letter == letter)
            return font[i].rows;
    return NULL;
}

void sp_draw_text(const SpImage *image, int64_t x, int64_t y, int64_t dot, const char *text,
                  SpColour colour)
{
    for (; *text; text++, x += GLYPH_STEP * dot) {
        const uint8_t *rows = glyph(*text);
        for (int i = 0; rows && i < GLYPH_HEIGHT; i++)
            for (int j = 0; j < GLYPH_WIDTH; j++)
                if (rows[i] >> (GLYPH_WIDTH - 1 - j) & 1)
                    sp_draw_box(image, x + j * dot, y + i * dot, dot, dot, colour);
    }
}

int64_t sp_text_width(int64_t dot, const char *text)
{
    const int64_t letters = (int64_t)strlen(text);
    return letters ? (letters * GLYPH_STEP - (GLYPH_STEP - GLYPH_WIDTH)) * dot : 0;
}

int64_t sp_text_height(int64_t dot)
{
    return GLYPH_HEIGHT * dot;
}
