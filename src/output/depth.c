/* The depth of every frame as an image (src/output/README.md, "Depth images"). */
#include <math.h>
#include <stdlib.h>

#include "media/exr.h"
#include "media/png.h"
#include "media/resample.h"
#include "output/formats.h"
#include "output/text.h"

enum { MOST = 65535 }; /* of 16 bits */

typedef struct Depth {
    const SpResult *result;
    int64_t h, w;    /* the saved size */
    float *map;      /* [h, w] of one frame */
    uint16_t *words; /* [h, w] */
    SpExr *exr;      /* NULL: PNG */
    double step;     /* of the PNG's values */
    char scale[32];  /* that as text */
} Depth;

/* The largest depth of all frames is the largest value; reducing gives none above it. */
static void choose_step(Depth *depth)
{
    const SpFramePlan *plan = &depth->result->clip->plan;
    float largest = 0;
    for (int64_t i = 0; i < depth->result->clip->frames * plan->height * plan->width; i++)
        if (isfinite(depth->result->depth[i]))
            largest = fmaxf(largest, depth->result->depth[i]);
    depth->step = largest > 0 ? (double)largest / MOST : 1;
}

static void print_step(FILE *stream, const void *what)
{
    fprintf(stream, "%.9g", *(const double *)what);
}

/* In any locale. */
static SpStatus name_step(Depth *depth)
{
    FILE *stream = fmemopen(depth->scale, sizeof depth->scale, "w");
    if (!stream)
        return sp_no_memory("the depth images");
    const SpStatus status = sp_text_print(stream, "the depth images", print_step, &depth->step);
    fclose(stream);
    return status;
}

static SpStatus write_png(Depth *depth, const SpAtomicFile *file)
{
    const char *const text[] = {
        "depth_scale", depth->scale, "Description",
        "depth = value * depth_scale, in the unit of length of the result; 0: no depth", NULL};
    const SpPngImage image = {depth->h, depth->w, 1, 16, depth->words, text};
    for (int64_t i = 0; i < depth->h * depth->w; i++) {
        const double value = rint((double)depth->map[i] / depth->step);
        depth->words[i] = value > 0 ? (uint16_t)fmin(value, MOST) : 0;
    }
    return sp_png_write_image(file->stream, file->label, &image);
}

static SpStatus write_frame(Depth *depth, const SpAtomicFolder *folder, const char *pattern,
                            int64_t t)
{
    const SpFramePlan *plan = &depth->result->clip->plan;
    SpAtomicFile file;
    SP_TRY(sp_resample_antialias(depth->result->depth + t * plan->height * plan->width, 1,
                                 plan->height, plan->width, depth->map, depth->h, depth->w));
    SP_TRY(sp_atomic_folder_add_frame(folder, pattern, t, &file));
    const SpStatus status = depth->exr
                                ? sp_exr_write(depth->exr, file.stream, file.label, depth->map)
                                : write_png(depth, &file);
    if (status.code == SP_OK)
        return sp_atomic_commit(&file);
    sp_atomic_abandon(&file);
    return status;
}

static SpStatus write_frames(Depth *depth, const SpAtomicFolder *folder, const char *pattern)
{
    if (!depth->map || !depth->words)
        return sp_no_memory("the depth images");
    choose_step(depth);
    SP_TRY(name_step(depth));
    for (int64_t t = 0; t < depth->result->clip->frames; t++)
        SP_TRY(write_frame(depth, folder, pattern, t));
    return sp_ok();
}

static SpStatus write(const SpAtomicFolder *folder, const char *pattern, const SpOutput *output,
                      bool exr)
{
    Depth depth = {.result = output->result};
    const SpFramePlan *plan = &output->result->clip->plan;
    sp_saved_size(plan->height, plan->width, output->max_side, &depth.h, &depth.w);
    const size_t area = (size_t)(depth.h * depth.w);
    if (exr)
        SP_TRY(sp_exr_open(depth.h, depth.w, &depth.exr));
    depth.map = malloc(area * sizeof *depth.map);
    depth.words = malloc(area * sizeof *depth.words);
    const SpStatus status = write_frames(&depth, folder, pattern);
    sp_exr_close(depth.exr);
    free(depth.map);
    free(depth.words);
    return status;
}

static SpStatus write_exrs(const SpAtomicFolder *folder, const char *const *names,
                           const SpOutput *output)
{
    return write(folder, names[0], output, true);
}

static SpStatus write_pngs(const SpAtomicFolder *folder, const char *const *names,
                           const SpOutput *output)
{
    return write(folder, names[0], output, false);
}

static SpStatus check_exr(const char *video)
{
    (void)video;
    return sp_exr_check(SP_EXR_ENCODER);
}

const SpFormat sp_format_exr = {.product = SP_PRODUCT_DEPTH,
                                .ending = ".exr",
                                .what = "floats",
                                .unused = SP_PART_TRACKS | SP_PART_PIXELS | SP_PART_CAMERAS |
                                          SP_PART_FRAMES,
                                .check = check_exr,
                                .write_all = write_exrs,
                                .names = (const char *const[]){"depth_%06d.exr", NULL}};

const SpFormat sp_format_png = {.product = SP_PRODUCT_DEPTH,
                                .ending = ".png",
                                .what = "16 bits; the text chunk depth_scale holds their unit",
                                .unused = SP_PART_TRACKS | SP_PART_PIXELS | SP_PART_CAMERAS |
                                          SP_PART_FRAMES,
                                .write_all = write_pngs,
                                .names = (const char *const[]){"depth_%06d.png", NULL}};
