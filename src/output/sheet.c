/* A contact sheet (--overlay FILE.png): the first, the middle and the last used frame with their
 * tracks, and the depth of the first with its scale (src/output/README.md, "Contact sheet"). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/minmax.h"
#include "media/png.h"
#include "media/resample.h"
#include "output/overlay.h"
#include "output/palette.h"

enum { MAX_CELL = 800, CELLS = 4, DEPTH = 3, TICKS = 5, TEXT_CAPACITY = 48 };

static const SpColour PAPER = {{24, 24, 24}}, INK = {{224, 224, 224}}, NOTHING = {{72, 72, 72}};
static const double NEAR_SHARE = 0.02, FAR_SHARE = 0.98;

/* The sheet being made; its memory is its own. */
typedef struct Sheet {
    const SpOutput *output;
    const SpClip *clip;
    SpOverlay overlay;
    SpImage cell;         /* one picture */
    float *plane, *small; /* one channel of the frame and of the cell */
    SpImage page;
    int64_t dot, gap;           /* pixels of a text's dot, between things */
    int64_t x[CELLS], y[CELLS]; /* the upper left corners of the pictures */
    float near, far;            /* depth of the scale's ends; 0: there is none */
    char caption[CELLS][TEXT_CAPACITY], tick[TICKS][TEXT_CAPACITY];
} Sheet;

static int64_t frame_of(const SpClip *clip, int cell)
{
    const int64_t last = clip->frames - 1;
    return cell == 0 ? 0 : cell == 1 ? last / 2 : last;
}

static int64_t widest(const Sheet *sheet, char (*text)[TEXT_CAPACITY], int count)
{
    int64_t width = 0;
    for (int i = 0; i < count; i++)
        width = sp_max(width, sp_text_width(sheet->dot, text[i]));
    return width;
}

static int by_value(const void *a, const void *b)
{
    const float one = *(const float *)a, two = *(const float *)b;
    return (one > two) - (one < two);
}

/* The depths at the ends of the scale. */
static SpStatus find_range(Sheet *sheet)
{
    const float *depth = sheet->output->result->depth;
    const int64_t pixels = sheet->clip->plan.height * sheet->clip->plan.width;
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
    for (int i = 0; i < DEPTH; i++) {
        const int64_t t = frame_of(sheet->clip, i);
        snprintf(sheet->caption[i], TEXT_CAPACITY, "frame %lld  %.2f s", (long long)t,
                 sheet->clip->timestamps[t]);
    }
    snprintf(sheet->caption[DEPTH], TEXT_CAPACITY, "depth  frame 0");
    for (int i = 0; i < TICKS && sheet->near > 0; i++)
        snprintf(sheet->tick[i], TEXT_CAPACITY, "%.3g",
                 (double)depth_at(sheet, 1 - (float)i / (TICKS - 1)));
}

/* Decides where everything is: pictures in two columns of two, a caption above each. */
static void lay_out(Sheet *sheet)
{
    SpImage *cell = &sheet->cell, *page = &sheet->page;
    sp_saved_size(sheet->clip->plan.input_height, sheet->clip->plan.input_width, MAX_CELL,
                  &cell->height, &cell->width);
    const int64_t side = sp_min(cell->height, cell->width);
    const int64_t dot = sheet->dot = side > 270 ? (side + 90) / 180 : 1;
    const int64_t gap = sheet->gap = 6 * dot, caption = sp_text_height(dot) + gap / 2;
    write_texts(sheet);
    const int64_t column = sp_max(cell->width, widest(sheet, sheet->caption, CELLS));
    for (int i = 0; i < CELLS; i++) {
        sheet->x[i] = gap + i % 2 * (column + gap);
        sheet->y[i] = gap + caption + i / 2 * (cell->height + caption + gap);
    }
    page->height = sheet->y[DEPTH] + cell->height + gap;
    page->width = sheet->x[DEPTH] + gap +
                  sp_max(column, cell->width + 3 * gap + widest(sheet, sheet->tick, TICKS));
}

static SpStatus allocate(Sheet *sheet)
{
    const SpFramePlan *plan = &sheet->clip->plan;
    const int64_t cell = sheet->cell.height * sheet->cell.width;
    sheet->cell.rgb = malloc((size_t)(3 * cell));
    sheet->page.rgb = malloc((size_t)(3 * sheet->page.height * sheet->page.width));
    sheet->plane = malloc((size_t)(plan->input_height * plan->input_width) * sizeof *sheet->plane);
    sheet->small = malloc((size_t)cell * sizeof *sheet->small);
    if (!sheet->cell.rgb || !sheet->page.rgb || !sheet->plane || !sheet->small)
        return sp_no_memory("the contact sheet");
    return sp_overlay_open(sheet->output, cell, &sheet->overlay);
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
    const int64_t x = sheet->x[cell], y = sheet->y[cell];
    sp_draw_image(&sheet->page, x, y, &sheet->cell);
    sp_draw_text(&sheet->page, x, y - sheet->gap / 2 - sp_text_height(sheet->dot), sheet->dot,
                 sheet->caption[cell], INK);
}

static SpStatus add_frame(void *self, int64_t t, const SpImage *image)
{
    Sheet *sheet = self;
    SpResultFrame frame;
    sp_result_frame(sheet->output->result, t, &frame);
    SP_TRY(sp_overlay_place(&sheet->overlay, t, &frame.result));
    for (int i = 0; i < DEPTH; i++)
        if (t == frame_of(sheet->clip, i)) {
            SP_TRY(reduce(sheet, image));
            sp_overlay_draw(&sheet->overlay, t, &sheet->cell);
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

static void add_depth(const Sheet *sheet)
{
    const SpFramePlan *plan = &sheet->clip->plan;
    const SpImage *cell = &sheet->cell;
    const float sx = (float)plan->input_width / (float)cell->width;
    const float sy = (float)plan->input_height / (float)cell->height;
    for (int64_t i = 0; i < cell->height; i++)
        for (int64_t j = 0; j < cell->width; j++) {
            float x, y;
            sp_point_to_working(plan, ((float)j + 0.5f) * sx - 0.5f, ((float)i + 0.5f) * sy - 0.5f,
                                &x, &y);
            const float depth =
                sample(sheet->output->result->depth, plan->height, plan->width, x, y);
            sp_draw_box(cell, j, i, 1, 1, colour_of(sheet, depth));
        }
    place_cell(sheet, DEPTH);
}

/* The bar beside the depth and what its colours mean. */
static void add_scale(const Sheet *sheet)
{
    const int64_t h = sheet->cell.height, gap = sheet->gap, text = sp_text_height(sheet->dot);
    const int64_t x = sheet->x[DEPTH] + sheet->cell.width + gap, y = sheet->y[DEPTH];
    if (!(sheet->near > 0))
        return;
    for (int64_t i = 0; i < h; i++)
        sp_draw_box(&sheet->page, x, y + i, gap, 1,
                    sp_palette_inferno(1 - ((float)i + 0.5f) / (float)h));
    for (int i = 0; i < TICKS; i++) {
        const int64_t at = y + i * (h - 1) / (TICKS - 1);
        int64_t top = at - text / 2;
        top = top < y ? y : sp_min(top, y + h - text);
        sp_draw_box(&sheet->page, x + gap, at, gap / 2, 1, INK);
        sp_draw_text(&sheet->page, x + 2 * gap, top, sheet->dot, sheet->tick[i], INK);
    }
}

static SpStatus make(Sheet *sheet)
{
    SP_TRY(find_range(sheet));
    lay_out(sheet);
    SP_TRY(allocate(sheet));
    sp_draw_box(&sheet->page, 0, 0, sheet->page.width, sheet->page.height, PAPER);
    SP_TRY(sp_overlay_frames(sheet->output, add_frame, sheet));
    add_depth(sheet);
    add_scale(sheet);
    return sp_ok();
}

static SpStatus write_sheet(const SpAtomicFile *file, const SpOutput *output)
{
    Sheet sheet = {.output = output, .clip = output->result->clip};
    SpStatus status = make(&sheet);
    if (status.code == SP_OK)
        status = sp_png_write(file->stream, file->label, sheet.page.height, sheet.page.width, 3,
                              sheet.page.rgb);
    sp_overlay_close(&sheet.overlay);
    free(sheet.cell.rgb);
    free(sheet.plane);
    free(sheet.small);
    free(sheet.page.rgb);
    return status;
}

const SpFormat sp_format_sheet = {.product = SP_PRODUCT_OVERLAY,
                                  .ending = ".png",
                                  .what = "a contact sheet",
                                  .needs_tracks = true,
                                  .from_video = true,
                                  .unused = SP_PART_CAMERAS,
                                  .check = sp_overlay_check,
                                  .write = write_sheet};
