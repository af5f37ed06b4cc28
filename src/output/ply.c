/* A cloud of what stands still, or of each frame, and the tracks (src/output/README.md, "PLY"). */
#include <stdlib.h>
#include <string.h>

#include "output/cloud.h"
#include "output/formats.h"
#include "output/palette.h"
#include "output/text.h"

#define BEGINNING "ply\nformat binary_little_endian 1.0\ncomment spatrack"

enum { VERTEX_BYTES = 15, TRACK_BYTES = 28 };

typedef struct Model {
    const SpResult *result;
    int64_t first, frames; /* whose tracks are written */
    SpCloud cloud;
    int64_t vertices;
    float *coords;     /* [T, N, 3] */
    SpColour *colours; /* [N] */
} Model;

static void print_header(FILE *stream, const Model *model)
{
    const SpResult *r = model->result;
    fputs(BEGINNING ": the world is the first frame's camera, x right, y down, z forward\n",
          stream);
    fprintf(stream, "element vertex %lld\n", (long long)model->vertices);
    fputs("property float x\nproperty float y\nproperty float z\n"
          "property uchar red\nproperty uchar green\nproperty uchar blue\n",
          stream);
    if (r->tracks) {
        fprintf(stream, "element track %lld\n", (long long)(r->tracks * model->frames));
        fputs("property int track\nproperty int frame\n"
              "property float x\nproperty float y\nproperty float z\nproperty float confidence\n"
              "property uchar red\nproperty uchar green\nproperty uchar blue\n"
              "property uchar visible\n",
              stream);
    }
    fputs("end_header\n", stream);
}

static void print_vertices(FILE *stream, const SpCloud *cloud)
{
    for (int64_t i = 0; i < cloud->count && !ferror(stream); i++) {
        const SpCloudCell *cell = &cloud->cell[i];
        const uint32_t count = cell->count;
        uint8_t bytes[VERTEX_BYTES];
        for (int j = 0; j < 3; j++) {
            const float mean = cell->sum[j] / (float)count;
            memcpy(bytes + 4 * j, &mean, 4);
            bytes[12 + j] = (uint8_t)((cell->rgb[j] + count / 2) / count);
        }
        fwrite(bytes, sizeof bytes, 1, stream);
    }
}

/* The trusted pixels of the frame. */
static void print_pixels(FILE *stream, const Model *model)
{
    const SpClip *clip = model->result->clip;
    const int64_t t = model->first;
    for (int64_t y = 0; y < clip->plan.height && !ferror(stream); y++)
        for (int64_t x = 0; x < clip->plan.width; x++) {
            uint8_t bytes[VERTEX_BYTES];
            float world[3];
            if (!sp_cloud_trusts(model->result, t, y, x))
                continue;
            sp_cloud_point(model->result, t, y, x, world);
            memcpy(bytes, world, sizeof world);
            sp_cloud_colour(clip, t, y, x, bytes + sizeof world);
            fwrite(bytes, sizeof bytes, 1, stream);
        }
}

static void print_tracks(FILE *stream, const Model *model)
{
    const SpResult *r = model->result;
    for (int64_t n = 0; n < r->tracks; n++)
        for (int64_t i = 0; i < model->frames && !ferror(stream); i++) {
            const int64_t t = model->first + i;
            const int64_t at = t * r->tracks + n;
            const int32_t names[] = {(int32_t)n, (int32_t)t};
            uint8_t bytes[TRACK_BYTES];
            memcpy(bytes, names, 8);
            memcpy(bytes + 8, model->coords + 3 * at, 12);
            memcpy(bytes + 20, r->confs + at, 4);
            memcpy(bytes + 24, model->colours[n].rgb, 3);
            bytes[27] = sp_result_visible(r, t, n);
            fwrite(bytes, sizeof bytes, 1, stream);
        }
}

static void print_ply(FILE *stream, const void *what)
{
    const Model *model = what;
    print_header(stream, model);
    print_vertices(stream, &model->cloud);
    print_tracks(stream, model);
}

static void print_frame(FILE *stream, const void *what)
{
    const Model *model = what;
    print_header(stream, model);
    print_pixels(stream, model);
    print_tracks(stream, model);
}

static SpStatus make_tracks(Model *model)
{
    const SpResult *r = model->result;
    if (!r->tracks)
        return sp_ok();
    model->coords = malloc((size_t)(3 * r->clip->frames * r->tracks) * sizeof *model->coords);
    model->colours = malloc((size_t)r->tracks * sizeof *model->colours);
    if (!model->coords || !model->colours)
        return sp_no_memory("the cloud");
    sp_result_coords(r, model->coords);
    return sp_palette_tracks(r->queries, r->tracks, model->colours);
}

static SpStatus write_ply(const SpAtomicFile *file, const SpOutput *output)
{
    Model model = {.result = output->result, .frames = output->result->clip->frames};
    SpStatus status = sp_cloud_fuse(model.result, &model.cloud);
    model.vertices = model.cloud.count;
    if (status.code == SP_OK)
        status = make_tracks(&model);
    if (status.code == SP_OK)
        status = sp_text_print(file->stream, file->label, print_ply, &model);
    sp_cloud_free(&model.cloud);
    free(model.coords);
    free(model.colours);
    return status;
}

static SpStatus write_frame(const SpAtomicFolder *folder, const char *pattern, const Model *model)
{
    SpAtomicFile file;
    SP_TRY(sp_atomic_folder_add_frame(folder, pattern, model->first, &file));
    const SpStatus status = sp_text_print(file.stream, file.label, print_frame, model);
    if (status.code == SP_OK)
        return sp_atomic_commit(&file);
    sp_atomic_abandon(&file);
    return status;
}

static int64_t count_trusted(const SpResult *r, int64_t t)
{
    int64_t count = 0;
    for (int64_t y = 0; y < r->clip->plan.height; y++)
        for (int64_t x = 0; x < r->clip->plan.width; x++)
            count += sp_cloud_trusts(r, t, y, x);
    return count;
}

static SpStatus write_frames(const SpAtomicFolder *folder, const char *const *names,
                             const SpOutput *output)
{
    Model model = {.result = output->result, .frames = 1};
    SpStatus status = make_tracks(&model);
    for (int64_t t = 0; t < output->result->clip->frames && status.code == SP_OK; t++) {
        model.first = t;
        model.vertices = count_trusted(output->result, t);
        status = write_frame(folder, names[0], &model);
    }
    free(model.coords);
    free(model.colours);
    return status;
}

static size_t bytes_of_tracks(int64_t frames, int64_t tracks)
{
    return (size_t)(3 * frames * tracks) * sizeof(float) + (size_t)tracks * sizeof(SpColour);
}

static size_t bytes_of_all(const SpFramePlan *plan, int64_t frames, int64_t tracks)
{
    return sp_cloud_bytes(frames, plan->height, plan->width) + bytes_of_tracks(frames, tracks);
}

static bool is_own(const char *path)
{
    return sp_text_begins(path, BEGINNING);
}

const SpFormat sp_format_ply = {.product = SP_PRODUCT_CLOUD,
                                .ending = ".ply",
                                .what = "what stands still in all frames",
                                .is_own = is_own,
                                .bytes = bytes_of_all,
                                .write = write_ply};

const SpFormat sp_format_plys = {.product = SP_PRODUCT_CLOUD,
                                 .ending = "_%04d.ply",
                                 .what = "a file a frame, of its depth",
                                 .write_all = write_frames};
