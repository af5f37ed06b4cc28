#include "output/palette.h"

#include <math.h>
#include <stdlib.h>

static const float VIOLET = 0.82f, WHITE = 0.2f; /* last hue; white mixed in */

typedef struct Start {
    float x, y;
    int64_t track;
} Start;

static int by_row(const void *a, const void *b)
{
    const Start *one = a, *two = b;
    if (one->y != two->y)
        return one->y < two->y ? -1 : 1;
    if (one->x != two->x)
        return one->x < two->x ? -1 : 1;
    return one->track < two->track ? -1 : 1;
}

/* hue 0..1 from red through yellow, green and blue. */
static SpColour rainbow(float hue)
{
    SpColour out;
    for (int c = 0; c < 3; c++) {
        const float turn = fmodf(6 * hue + (float)(2 * (3 - c) % 6), 6); /* 0: this channel's own */
        const float value = fminf(fmaxf(fabsf(turn - 3) - 1, 0), 1);
        out.rgb[c] = (uint8_t)(255 * (WHITE + (1 - WHITE) * value) + 0.5f);
    }
    return out;
}

SpStatus sp_palette_tracks(const float *queries, int64_t tracks, SpColour *out)
{
    Start *starts = malloc((size_t)tracks * sizeof *starts);
    if (!starts)
        return sp_no_memory("the colours of tracks");
    for (int64_t n = 0; n < tracks; n++)
        starts[n] = (Start){queries[3 * n + 1], queries[3 * n + 2], n};
    qsort(starts, (size_t)tracks, sizeof *starts, by_row);
    for (int64_t i = 0; i < tracks; i++)
        out[starts[i].track] = rainbow(tracks > 1 ? VIOLET * (float)i / (float)(tracks - 1) : 0);
    free(starts);
    return sp_ok();
}

SpColour sp_palette_inferno(float value)
{
    static const uint8_t table[9][3] = {/* at 0, 1/8, ..., 1; straight lines between them */
                                        {0, 0, 4},      {33, 12, 74},   {87, 16, 110},
                                        {138, 34, 106}, {188, 55, 84},  {228, 90, 49},
                                        {249, 142, 9},  {249, 203, 53}, {252, 255, 164}};
    const float at = 8 * (value > 0 ? fminf(value, 1) : 0);
    const int i = at < 7 ? (int)at : 7;
    SpColour out;
    for (int c = 0; c < 3; c++)
        out.rgb[c] = (uint8_t)((float)table[i][c] +
                               (at - (float)i) * (float)(table[i + 1][c] - table[i][c]) + 0.5f);
    return out;
}
