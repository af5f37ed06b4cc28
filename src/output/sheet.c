#include "output/sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "media/png.h"
#include "media/resample.h"
#include "output/palette.h"

enum { MAX_CELL = 800, CELLS = 4, DEPTH = 3, TICKS = 5, TEXT_CAPACITY = 48 };

static const SpColour PAPER = {{24, 24, 24}}, INK = {{224, 224, 224}}, NOTHING = {{72, 72, 72}};
static const double NEAR_SHARE = 0.02, FAR_SHARE = 0.98;

/* The sheet being made; its memory is its own. */
typedef struct Sheet {
    const SpOverlay *overlay;
    SpOverlayBrush brush;
    SpImage cell;         /* one picture */
    float *plane, *small; /* one channel of the frame and of the cell */
    SpImage page;
    int64_t dot, gap, column; /* pixels of a text's dot, between things, of a column */
    float near, far;          /* depth of the scale's ends; 0: there is none */
    char caption[CELLS][TEXT_CAPACITY], tick[TICKS][TEXT_CAPACITY];
} Sheet;

static int64_t frame_of(const SpOverlay *overlay, int cell)
{
    const int64_t last = overlay->frames - 1;
    return cell == 0 ? 0 : cell == 1 ? last / 2 : last;
}

static int64_t widest(const Sheet *sheet, char (*text)[TEXT_CAPACITY], int count)
{
    int64_t max = 0;
    for (int i = 0; i < count; i++) {
        const int64_t width = sp_text_width(sheet->dot, text[i]);
        max = width > max ? width : max;
    }
    return max;
}

/* The upper left corner of a cell's picture. */
static void corner(const Sheet *sheet, int cell, int64_t *x, int64_t *y)
{
    const int64_t caption = sp_text_height(sheet->dot) + sheet->gap / 2;
    *x = sheet->gap + cell % 2 * (sheet->column + sheet->gap);
    *y = sheet->gap + caption + cell / 2 * (sheet->cell.height + caption + sheet->gap);
}

static int by_value(const void *a, const void *b)
{
    const float one = *(const float *)a, two = *(const float *)b;
    return (one > two) - (one < two);
}

static SpStatus find_range(Sheet *sheet, const float *depth, int64_t pixels)
{
    float *sorted = malloc((size_t)pixels * sizeof *sorted);
    int64_t count = 0;
    if (!sorted)
        return sp_no_memory("the contact sheet");
    for (int64_t i = 0; i < pixels; i++)
        if (isfinite(depth[i]) && depth[i] > 0)
            sorted[count++] = depth[i];
    qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    if (count) {
        sheet->near = sorted[(int64_t)(NEAR_SHARE * (double)(count - 1))];
        sheet->far = sorted[(int64_t)ceil(FAR_SHARE * (double)(count - 1))];
    }
    free(sorted);
    return sp_ok();
}

/* Depth at `share` of the scale, 1 the near end. */
static float depth_at(const Sheet *sheet, float share)
{
    return 1 / (share / sheet->near + (1 - share) / sheet->far);
}

static SpColour colour_of(const Sheet *sheet, float depth)
{
    const float from = 1 / sheet->far, to = 1 / sheet->near;
    if (!(isfinite(depth) && depth > 0))
        return NOTHING;
    return sp_palette_inferno(to > from ? (1 / depth - from) / (to - from) : 0.5f);
}

static void write_texts(Sheet *sheet)
{
    const SpOverlay *overlay = sheet->overlay;
    for (int i = 0; i < DEPTH; i++) {
        const int64_t t = frame_of(overlay, i);
        snprintf(sheet->caption[i], TEXT_CAPACITY, "frame %lld  %.2f s", (long long)t,
                 overlay->timestamps[t]);
    }
    snprintf(sheet->caption[DEPTH], TEXT_CAPACITY, "depth  frame 0");
    for (int i = 0; i < TICKS && sheet->near > 0; i++)
        snprintf(sheet->tick[i], TEXT_CAPACITY, "%.3g",
                 (double)depth_at(sheet, 1 - (float)i / (TICKS - 1)));
}

static SpStatus lay_out(Sheet *sheet)
{
    const SpOverlay *overlay = sheet->overlay;
    const int64_t h = overlay->height, w = overlay->width;
    sp_saved_size(h, w, MAX_CELL, &sheet->cell.height, &sheet->cell.width);
    const int64_t ch = sheet->cell.height, cw = sheet->cell.width, side = ch < cw ? ch : cw;
    sheet->dot = side > 270 ? (side + 90) / 180 : 1;
    sheet->gap = 6 * sheet->dot;
    write_texts(sheet);
    const int64_t text = widest(sheet, sheet->caption, CELLS);
    sheet->column = cw > text ? cw : text;
    int64_t x, y;
    corner(sheet, DEPTH, &x, &y);
    sheet->page.height = y + ch + sheet->gap;
    sheet->page.width = x + cw + 4 * sheet->gap + widest(sheet, sheet->tick, TICKS);
    if (sheet->page.width < x + sheet->column + sheet->gap)
        sheet->page.width = x + sheet->column + sheet->gap;
    sheet->cell.rgb = malloc((size_t)(3 * ch * cw));
    sheet->page.rgb = malloc((size_t)(3 * sheet->page.height * sheet->page.width));
    sheet->plane = malloc((size_t)(h * w) * sizeof *sheet->plane);
    sheet->small = malloc((size_t)(ch * cw) * sizeof *sheet->small);
    if (!sheet->cell.rgb || !sheet->page.rgb || !sheet->plane || !sheet->small)
        return sp_no_memory("the contact sheet");
    sp_draw_box(&sheet->page, 0, 0, sheet->page.width, sheet->page.height, PAPER);
    return sp_overlay_brush_open(overlay, ch * cw, &sheet->brush);
}

/* The frame reduced to the cell. */
static SpStatus reduce(const Sheet *sheet, const SpImage *frame)
{
    const SpImage *cell = &sheet->cell;
    const int64_t pixels = frame->height * frame->width;
    for (int c = 0; c < 3; c++) {
        for (int64_t i = 0; i < pixels; i++)
            sheet->plane[i] = frame->rgb[3 * i + c];
        SP_TRY(sp_resample_antialias(sheet->plane, 1, frame->height, frame->width, sheet->small,
                                     cell->height, cell->width));
        for (int64_t i = 0; i < cell->height * cell->width; i++)
            cell->rgb[3 * i + c] = (uint8_t)(fminf(fmaxf(sheet->small[i], 0), 255) + 0.5f);
    }
    return sp_ok();
}

/* Puts the cell's picture and its caption on the page. */
static void place_cell(const Sheet *sheet, int cell)
{
    int64_t x, y;
    corner(sheet, cell, &x, &y);
    sp_draw_image(&sheet->page, x, y, &sheet->cell);
    sp_draw_text(&sheet->page, x, y - sheet->gap / 2 - sp_text_height(sheet->dot), sheet->dot,
                 sheet->caption[cell], INK);
}

static SpStatus add_frame(void *self, int64_t t, const SpImage *image)
{
    const Sheet *sheet = self;
    for (int i = 0; i < DEPTH; i++)
        if (t == frame_of(sheet->overlay, i)) {
            SP_TRY(reduce(sheet, image));
            sp_overlay_draw(&sheet->brush, t, &sheet->cell);
            place_cell(sheet, i);
        }
    return sp_ok();
}

/* Between the four nearest pixels of depth [h, w]; 0 outside. */
static float sample(const float *depth, int64_t h, int64_t w, float x, float y)
{
    if (!(x > -0.5f && y > -0.5f && x < (float)w - 0.5f && y < (float)h - 0.5f))
        return 0;
    x = fminf(fmaxf(x, 0), (float)(w - 1));
    y = fminf(fmaxf(y, 0), (float)(h - 1));
    const int64_t j = (int64_t)x, i = (int64_t)y;
    const int64_t k = j + 1 < w ? j + 1 : j, l = i + 1 < h ? i + 1 : i;
    const float fx = x - (float)j, fy = y - (float)i;
    const float above = depth[i * w + j] * (1 - fx) + depth[i * w + k] * fx;
    const float below = depth[l * w + j] * (1 - fx) + depth[l * w + k] * fx;
    return above * (1 - fy) + below * fy;
}

static void add_depth(const Sheet *sheet, const SpFramePlan *plan, const float *depth)
{
    const SpImage *cell = &sheet->cell;
    const float sx = (float)sheet->overlay->width / (float)cell->width;
    const float sy = (float)sheet->overlay->height / (float)cell->height;
    for (int64_t i = 0; i < cell->height; i++)
        for (int64_t j = 0; j < cell->width; j++) {
            float x, y;
            sp_point_to_working(plan, ((float)j + 0.5f) * sx - 0.5f, ((float)i + 0.5f) * sy - 0.5f,
                                &x, &y);
            const float value = sample(depth, plan->height, plan->width, x, y);
            sp_draw_box(cell, j, i, 1, 1, colour_of(sheet, value));
        }
    place_cell(sheet, DEPTH);
}

/* The bar beside the depth and what its colours mean. */
static void add_scale(const Sheet *sheet)
{
    const int64_t h = sheet->cell.height, gap = sheet->gap, text = sp_text_height(sheet->dot);
    int64_t x, y;
    corner(sheet, DEPTH, &x, &y);
    x += sheet->cell.width + gap;
    if (!(sheet->near > 0))
        return;
    for (int64_t i = 0; i < h; i++)
        sp_draw_box(&sheet->page, x, y + i, gap, 1,
                    sp_palette_inferno(1 - ((float)i + 0.5f) / (float)h));
    for (int i = 0; i < TICKS; i++) {
        const int64_t at = y + i * (h - 1) / (TICKS - 1);
        int64_t top = at - text / 2;
        top = top < y ? y : top + text > y + h ? y + h - text : top;
        sp_draw_box(&sheet->page, x + gap, at, gap / 2, 1, INK);
        sp_draw_text(&sheet->page, x + 2 * gap, top, sheet->dot, sheet->tick[i], INK);
    }
}

static SpStatus make(Sheet *sheet, const SpFramePlan *plan, const float *depth,
                     const SpProgress *progress)
{
    SP_TRY(find_range(sheet, depth, plan->height * plan->width));
    SP_TRY(lay_out(sheet));
    SP_TRY(sp_overlay_frames(sheet->overlay, progress, add_frame, sheet));
    add_depth(sheet, plan, depth);
    add_scale(sheet);
    return sp_ok();
}

SpStatus sp_sheet_write(const SpAtomicFile *file, const SpOverlay *overlay, const SpFramePlan *plan,
                        const float *depth, const SpProgress *progress)
{
    Sheet sheet = {.overlay = overlay};
    SpStatus status = make(&sheet, plan, depth, progress);
    if (status.code == SP_OK)
        status = sp_png_write(file->stream, file->label, sheet.page.height, sheet.page.width, 3,
                              sheet.page.rgb);
    sp_overlay_brush_close(&sheet.brush);
    free(sheet.cell.rgb);
    free(sheet.plane);
    free(sheet.small);
    free(sheet.page.rgb);
    return status;
}

static SpStatus write(const SpAtomicFile *file, const SpOutput *output)
{
    const SpResult *result = output->result;
    float *xy = malloc((size_t)(2 * result->clip->frames * result->tracks) * sizeof *xy);
    if (!xy)
        return sp_no_memory("the contact sheet");
    const SpOverlay overlay = sp_overlay_of(output, xy);
    const SpStatus status = sp_sheet_write(file, &overlay, &result->clip->plan, result->depth,
                                           &output->console->progress);
    free(xy);
    return status;
}

const SpFormat sp_format_sheet = {.product = SP_PRODUCT_OVERLAY,
                                  .ending = ".png",
                                  .what = "a contact sheet",
                                  .needs_tracks = true,
                                  .check = sp_overlay_check,
                                  .write = write};
