/* Cameras, tracks and frames as COLMAP's model, and for nerfstudio (src/output/README.md,
 * "COLMAP"). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "geometry/camera.h"
#include "media/png.h"
#include "media/reread.h"
#include "output/formats.h"
#include "output/overlay.h"
#include "output/text.h"

enum { LEAST_SEEN = 3 };             /* frames that a point is seen in */
static const float CONFIDENT = 0.5f; /* of a track in a frame */
static const float STILL = 0.5f;     /* `dynamic` of what may move, at least */
static const double FARTHEST = 0.02; /* mean reprojection error, of the longer side */
static const double CORNER = 0.5;    /* (0, 0) is there the corner of the first pixel */

#define NAME "frame_%06d.png" /* in images/ */

enum { CAMERAS, IMAGES, POINTS, TRANSFORMS, CLOUD, FRAMES };
static const char *const names[] = {[CAMERAS] = "sparse/0/cameras.txt",
                                    [IMAGES] = "sparse/0/images.txt",
                                    [POINTS] = "sparse/0/points3D.txt",
                                    [TRANSFORMS] = "transforms.json",
                                    [CLOUD] = "sparse_pc.ply",
                                    [FRAMES] = "images/" NAME,
                                    NULL};

/* What becomes of a track. */
typedef struct Point {
    int64_t id;    /* from 1; 0: it is no point */
    int64_t seen;  /* frames */
    int64_t first; /* of them */
    double xyz[3];
    double error; /* mean distance of its projections from where it is seen, pixels */
    uint8_t rgb[3];
} Point;

typedef struct Model {
    const SpResult *result;
    float *k;             /* [T, 3, 3] in pixels of the video */
    float *w2c;           /* [T, 4, 4] */
    float *coords, *xy;   /* [T, N, 3], [T, N, 2] */
    int64_t *place;       /* [T, N] number of the observation in its image; -1: none */
    Point *point;         /* [N] */
    int64_t points;       /* of them with an id */
    int64_t seen;         /* observations of all */
    double height, width; /* of the video */
    const SpAtomicFolder *folder;
} Model;

static bool is_seen(const Model *model, int64_t t, int64_t n)
{
    const SpResult *r = model->result;
    const int64_t i = t * r->tracks + n;
    return sp_result_visible(r, t, n) && r->confs[i] > CONFIDENT && r->points[3 * i + 2] > 0 &&
           !(r->sigma && isnan(r->sigma[i])) &&
           sp_frame_has((double)model->xy[2 * i], (int64_t)model->width) &&
           sp_frame_has((double)model->xy[2 * i + 1], (int64_t)model->height);
}

/* How far from where it is seen in frame t the track's point lies there; without skew, which these
 * cameras do not have. */
static double reprojection_error(const Model *model, int64_t t, int64_t n)
{
    const float *m = model->w2c + 16 * t, *k = model->k + 9 * t;
    const float *xy = model->xy + 2 * (t * model->result->tracks + n);
    const double *world = model->point[n].xyz;
    double p[3];
    for (int i = 0; i < 3; i++, m += 4)
        p[i] = (double)m[0] * world[0] + (double)m[1] * world[1] + (double)m[2] * world[2] +
               (double)m[3];
    if (!(p[2] > 0))
        return INFINITY;
    return hypot((double)k[0] * p[0] / p[2] + (double)k[2] - (double)xy[0],
                 (double)k[4] * p[1] / p[2] + (double)k[5] - (double)xy[1]);
}

/* The mean of the track's points in the frames that it is seen in. */
static void make_point(Model *model, int64_t n)
{
    const int64_t frames = model->result->clip->frames, tracks = model->result->tracks;
    Point *point = &model->point[n];
    for (int64_t t = frames; t-- > 0;)
        if (is_seen(model, t, n)) {
            point->seen++;
            point->first = t;
            for (int i = 0; i < 3; i++)
                point->xyz[i] += (double)model->coords[3 * (t * tracks + n) + i];
        }
    for (int i = 0; i < 3; i++)
        point->xyz[i] /= (double)point->seen;
    for (int64_t t = 0; t < frames; t++)
        if (is_seen(model, t, n))
            point->error += reprojection_error(model, t, n) / (double)point->seen;
}

static bool stands_still(const Model *model, int64_t n)
{
    const Point *point = &model->point[n];
    return model->result->dynamic[n] < STILL && point->seen >= LEAST_SEEN &&
           point->error <= FARTHEST * fmax(model->width, model->height);
}

static void make_points(Model *model)
{
    const int64_t frames = model->result->clip->frames, tracks = model->result->tracks;
    for (int64_t n = 0; n < tracks; n++) {
        make_point(model, n);
        if (!stands_still(model, n))
            continue;
        model->point[n].id = ++model->points;
        model->seen += model->point[n].seen;
    }
    for (int64_t t = 0; t < frames; t++) {
        int64_t count = 0;
        for (int64_t n = 0; n < tracks; n++)
            model->place[t * tracks + n] =
                model->point[n].id && is_seen(model, t, n) ? count++ : -1;
    }
}

/* The first frame of the same K: cameras are told apart by that. */
static int64_t camera_of(const Model *model, int64_t t)
{
    for (int64_t i = 0; i < t; i++)
        if (memcmp(model->k + 9 * i, model->k + 9 * t, 9 * sizeof *model->k) == 0)
            return i;
    return t;
}

static void print_cameras(FILE *stream, const void *what)
{
    const Model *model = what;
    fputs("# Camera list with one line of data per camera:\n"
          "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n",
          stream);
    for (int64_t t = 0; t < model->result->clip->frames; t++) {
        const float *k = model->k + 9 * t;
        if (camera_of(model, t) == t)
            fprintf(stream, "%lld PINHOLE %.0f %.0f %.9g %.9g %.9g %.9g\n", (long long)t + 1,
                    model->width, model->height, sp_text_number(k[0]), sp_text_number(k[4]),
                    (double)k[2] + CORNER, (double)k[5] + CORNER);
    }
}

static void print_pose(FILE *stream, const float *w2c)
{
    double r[9], q[4];
    for (int i = 0; i < 9; i++)
        r[i] = (double)w2c[4 * (i / 3) + i % 3];
    sp_quaternion_of_rotation(r, q);
    fprintf(stream, "%.12g %.12g %.12g %.12g %.9g %.9g %.9g", q[3], q[0], q[1], q[2],
            sp_text_number(w2c[3]), sp_text_number(w2c[7]), sp_text_number(w2c[11]));
}

static void print_name(FILE *stream, int64_t t)
{
    fprintf(stream, NAME, (int)t);
}

static void print_images(FILE *stream, const void *what)
{
    const Model *model = what;
    const int64_t frames = model->result->clip->frames, tracks = model->result->tracks;
    fprintf(stream,
            "# Image list with two lines of data per image:\n"
            "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n"
            "#   POINTS2D[] as (X, Y, POINT3D_ID)\n"
            "# Number of images: %lld, mean observations per image: %.9g\n",
            (long long)frames, (double)model->seen / (double)frames);
    for (int64_t t = 0; t < frames && !ferror(stream); t++) {
        const char *space = "";
        fprintf(stream, "%lld ", (long long)t + 1);
        print_pose(stream, model->w2c + 16 * t);
        fprintf(stream, " %lld ", (long long)camera_of(model, t) + 1);
        print_name(stream, t);
        fputc('\n', stream);
        for (int64_t i = t * tracks; i < (t + 1) * tracks; i++) {
            if (model->place[i] < 0)
                continue;
            fprintf(stream, "%s%.9g %.9g %lld", space, (double)model->xy[2 * i] + CORNER,
                    (double)model->xy[2 * i + 1] + CORNER, (long long)model->point[i % tracks].id);
            space = " ";
        }
        fputc('\n', stream);
    }
}

static void print_points(FILE *stream, const void *what)
{
    const Model *model = what;
    const int64_t frames = model->result->clip->frames, tracks = model->result->tracks;
    fprintf(stream,
            "# 3D point list with one line of data per point:\n"
            "#   POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)\n"
            "# Number of points: %lld, mean track length: %.9g\n",
            (long long)model->points, (double)model->seen / fmax((double)model->points, 1));
    for (int64_t n = 0; n < tracks && !ferror(stream); n++) {
        const Point *point = &model->point[n];
        if (!point->id)
            continue;
        fprintf(stream, "%lld %.12g %.12g %.12g %d %d %d %.9g", (long long)point->id, point->xyz[0],
                point->xyz[1], point->xyz[2], point->rgb[0], point->rgb[1], point->rgb[2],
                point->error);
        for (int64_t t = 0; t < frames; t++)
            if (model->place[t * tracks + n] >= 0)
                fprintf(stream, " %lld %lld", (long long)t + 1,
                        (long long)model->place[t * tracks + n]);
        fputc('\n', stream);
    }
}

/* JSON has no number that is not finite. */
static void print_number(FILE *stream, double value)
{
    if (isfinite(value))
        fprintf(stream, "%.9g", value);
    else
        fputs("null", stream);
}

/* c2w of a camera with x right, y up, z backward: its second and third column turn. */
static void print_transform(FILE *stream, const float *c2w)
{
    for (int i = 0; i < 16; i++) {
        const double value = (double)c2w[i];
        fputs(i % 4 ? ", " : i ? "], [" : "[[", stream);
        print_number(stream, i % 4 == 1 || i % 4 == 2 ? 0 - value : value);
    }
    fputs("]]", stream);
}

static void print_transforms(FILE *stream, const void *what)
{
    static const char *const parts[] = {"fl_x", "fl_y", "cx", "cy"};
    const Model *model = what;
    fprintf(stream,
            "{\n\"camera_model\": \"OPENCV\",\n\"w\": %.0f,\n\"h\": %.0f,\n"
            "\"ply_file_path\": \"%s\",\n\"frames\": [",
            model->width, model->height, names[CLOUD]);
    for (int64_t t = 0; t < model->result->clip->frames && !ferror(stream); t++) {
        const float *k = model->k + 9 * t;
        const double value[] = {(double)k[0], (double)k[4], (double)k[2] + CORNER,
                                (double)k[5] + CORNER};
        fprintf(stream, "%s\n  {\"file_path\": \"images/", t ? "," : "");
        print_name(stream, t);
        fprintf(stream, "\", \"colmap_im_id\": %lld", (long long)t + 1);
        for (int i = 0; i < 4; i++) {
            fprintf(stream, ", \"%s\": ", parts[i]);
            print_number(stream, value[i]);
        }
        fputs(", \"transform_matrix\": ", stream);
        print_transform(stream, model->result->c2w + 16 * t);
        fputc('}', stream);
    }
    fputs("\n]\n}\n", stream);
}

static void print_cloud(FILE *stream, const void *what)
{
    const Model *model = what;
    fprintf(stream,
            "ply\nformat ascii 1.0\nelement vertex %lld\n"
            "property float x\nproperty float y\nproperty float z\n"
            "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n",
            (long long)model->points);
    for (int64_t n = 0; n < model->result->tracks; n++) {
        const Point *point = &model->point[n];
        if (point->id)
            fprintf(stream, "%.9g %.9g %.9g %d %d %d\n", point->xyz[0], point->xyz[1],
                    point->xyz[2], point->rgb[0], point->rgb[1], point->rgb[2]);
    }
}

static SpStatus write_texts(const Model *model)
{
    static void (*const print[])(FILE *, const void *) = {[CAMERAS] = print_cameras,
                                                          [IMAGES] = print_images,
                                                          [POINTS] = print_points,
                                                          [TRANSFORMS] = print_transforms,
                                                          [CLOUD] = print_cloud};
    for (int i = 0; i < FRAMES; i++) {
        SpAtomicFile file;
        SP_TRY(sp_atomic_folder_add(model->folder, names[i], &file));
        const SpStatus status = sp_text_print(file.stream, file.label, print[i], model);
        if (status.code != SP_OK) {
            sp_atomic_abandon(&file);
            return status;
        }
        SP_TRY(sp_atomic_commit(&file));
    }
    return sp_ok();
}

/* Of the points that frame t is the first to see. */
static void take_colours(const Model *model, int64_t t, const SpImage *image)
{
    for (int64_t n = 0; n < model->result->tracks; n++) {
        const float *xy = model->xy + 2 * (t * model->result->tracks + n);
        Point *point = &model->point[n];
        if (!point->id || point->first != t)
            continue;
        const int64_t x =
            sp_min(sp_max((int64_t)floor((double)xy[0] + CORNER), 0), image->width - 1);
        const int64_t y =
            sp_min(sp_max((int64_t)floor((double)xy[1] + CORNER), 0), image->height - 1);
        memcpy(point->rgb, image->rgb + 3 * (y * image->width + x), 3);
    }
}

static SpStatus write_image(void *self, int64_t t, const SpImage *image)
{
    const Model *model = self;
    const SpPngImage png = {image->height, image->width, 3, 8, image->rgb, NULL};
    SpAtomicFile file;
    take_colours(model, t, image);
    SP_TRY(sp_atomic_folder_add_frame(model->folder, names[FRAMES], t, &file));
    const SpStatus status = sp_png_write_image(file.stream, file.label, &png);
    if (status.code == SP_OK)
        return sp_atomic_commit(&file);
    sp_atomic_abandon(&file);
    return status;
}

static SpStatus make_model(Model *model)
{
    const SpResult *r = model->result;
    const int64_t frames = r->clip->frames;
    const size_t places = (size_t)(frames * r->tracks);
    model->k = malloc((size_t)(9 * frames) * sizeof *model->k);
    model->w2c = malloc((size_t)(16 * frames) * sizeof *model->w2c);
    model->coords = malloc(3 * places * sizeof *model->coords);
    model->xy = malloc(2 * places * sizeof *model->xy);
    model->place = malloc(places * sizeof *model->place);
    model->point = calloc((size_t)r->tracks, sizeof *model->point);
    if (!model->k || !model->w2c || !model->coords || !model->xy || !model->place || !model->point)
        return sp_no_memory("the model");
    sp_result_input_intrinsics(r, model->k);
    for (int64_t t = 0; t < frames; t++)
        sp_pose_invert(r->c2w + 16 * t, model->w2c + 16 * t);
    sp_result_coords(r, model->coords);
    sp_result_tracks2d(r, model->xy);
    make_points(model);
    return sp_ok();
}

static SpStatus write_model(const SpAtomicFolder *folder, const char *const *all,
                            const SpOutput *output)
{
    const SpFramePlan *plan = &output->result->clip->plan;
    Model model = {.result = output->result,
                   .folder = folder,
                   .height = (double)plan->input_height,
                   .width = (double)plan->input_width};
    (void)all; /* the names above */
    SpStatus status = make_model(&model);
    if (status.code == SP_OK)
        status = sp_overlay_frames(output, write_image, &model);
    if (status.code == SP_OK)
        status = write_texts(&model);
    if (status.code == SP_OK && model.points == 0)
        sp_console_note(output->console, "%.300s: no track stands still, so there are no points",
                        folder->label);
    free(model.k);
    free(model.w2c);
    free(model.coords);
    free(model.xy);
    free(model.place);
    free(model.point);
    return status;
}

static SpStatus check(const char *video)
{
    return sp_reread_check(video, "colmap");
}

/* A frame of the video, and what is made for the tracks. */
static size_t bytes_of(const SpFramePlan *plan, int64_t frames, int64_t tracks)
{
    return (size_t)(3 * plan->input_height * plan->input_width) +
           (size_t)(frames * tracks) * (5 * sizeof(float) + sizeof(int64_t));
}

const SpFormat sp_format_colmap = {.product = SP_PRODUCT_MODEL,
                                   .ending = "_colmap",
                                   .what = "a model of COLMAP, the frames, and transforms.json",
                                   .needs_tracks = true,
                                   .check = check,
                                   .write_all = write_model,
                                   .bytes = bytes_of,
                                   .from_video = true,
                                   .unused = SP_PART_DEPTH,
                                   .names = names};
