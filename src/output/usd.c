/* The camera and the tracks as a scene, USD as text (src/output/README.md, "USD"). */
#include <math.h>
#include <stdlib.h>

#include "base/minmax.h"
#include "geometry/camera.h"
#include "output/cameras.h"
#include "output/cloud.h"
#include "output/palette.h"
#include "output/text.h"

#define BEGINNING "#usda 1.0\n(\n    doc = \"spatrack"

/* Width of the film in tenths of the scene's unit, which is USD's: 36 mm where that is a metre. */
static const double APERTURE = 0.36;
static const double MARKER = 0.013; /* a track's width as a share of the picture's short side */

typedef struct Scene {
    const SpOutput *output;
    float *intrinsics; /* [T, 3, 3] in pixels of the input video */
    float *coords;     /* [T, N, 3]; of a result without tracks NULL, as the colours */
    SpColour *colours; /* [N] */
} Scene;

/* The number of a frame on the scene's time line. */
static long long time_of(int64_t t)
{
    return (long long)t + 1;
}

/* Displayed colours are linear: IEC 61966-2-1. */
static double linear(uint8_t byte)
{
    const double c = byte / 255.0;
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

/* A point of the world, and turned so that y is up. */
static void print_point(FILE *stream, bool first, const float world[3])
{
    fprintf(stream, "%s(%.9g, %.9g, %.9g)", first ? "" : ", ", sp_text_number(world[0]),
            sp_text_number(0 - world[1]), sp_text_number(0 - world[2]));
}

static void print_colour(FILE *stream, bool first, const uint8_t rgb[3])
{
    fprintf(stream, "%s(%.4g, %.4g, %.4g)", first ? "" : ", ", linear(rgb[0]), linear(rgb[1]),
            linear(rgb[2]));
}

static void print_head(FILE *stream, const Scene *scene)
{
    const SpResult *r = scene->output->result;
    const double rate = sp_cameras_rate(scene->output);
    fputs(BEGINNING ": camera and tracks of a video, turned so that y is up\"\n"
                    "    customLayerData = {\n        string spatrack = ",
          stream);
    sp_text_quote(stream, r->version);
    fprintf(stream,
            "\n    }\n    defaultPrim = \"Scene\"\n    upAxis = \"Y\"\n    metersPerUnit = 1\n"
            "    startTimeCode = %lld\n    endTimeCode = %lld\n"
            "    timeCodesPerSecond = %.9g\n    framesPerSecond = %.9g\n)\n\n"
            "def Xform \"Scene\"\n{\n",
            time_of(0), time_of(r->clip->frames - 1), rate, rate);
}

typedef enum Lens { FOCAL, APERTURE_UP, OFFSET_RIGHT, OFFSET_UP, LENSES } Lens;

/* The picture reaches half a pixel beyond the outer centres, and its middle is the film's. */
static double lens_of(const SpFramePlan *plan, const float k[9], Lens lens)
{
    const double w = (double)plan->input_width, h = (double)plan->input_height;
    const double focal = APERTURE * (double)k[0] / w;
    switch (lens) {
    case FOCAL:
        return focal;
    case APERTURE_UP:
        return focal * h / (double)k[4];
    case OFFSET_RIGHT:
        return focal * ((w - 1) / 2 - (double)k[2]) / (double)k[0];
    default:
        return focal * ((double)k[5] - (h - 1) / 2) / (double)k[4];
    }
}

static void print_lens(FILE *stream, const Scene *scene)
{
    static const char *const names[LENSES] = {"focalLength", "verticalAperture",
                                              "horizontalApertureOffset", "verticalApertureOffset"};
    const SpClip *clip = scene->output->result->clip;
    fprintf(stream, "        float horizontalAperture = %.9g\n", APERTURE);
    for (Lens lens = 0; lens < LENSES; lens++) {
        fprintf(stream, "        float %s.timeSamples = {\n", names[lens]);
        for (int64_t t = 0; t < clip->frames; t++)
            fprintf(stream, "            %lld: %.9g,\n", time_of(t),
                    lens_of(&clip->plan, scene->intrinsics + 9 * t, lens));
        fputs("        }\n", stream);
    }
}

/* USD multiplies rows by matrices: each stands transposed. */
static void print_poses(FILE *stream, const SpResult *r)
{
    float m[16];
    fputs("        matrix4d xformOp:transform.timeSamples = {\n", stream);
    for (int64_t t = 0; t < r->clip->frames; t++) {
        sp_cameras_y_up(r->c2w + 16 * t, m);
        fprintf(stream, "            %lld: (", time_of(t));
        for (int j = 0; j < 4; j++)
            fprintf(stream, " (%.9g, %.9g, %.9g, %.9g)%s", sp_text_number(m[j]),
                    sp_text_number(m[4 + j]), sp_text_number(m[8 + j]), sp_text_number(m[12 + j]),
                    j < 3 ? "," : " ),\n");
    }
    fputs("        }\n        uniform token[] xformOpOrder = [\"xformOp:transform\"]\n", stream);
}

/* The geometric mean of how far the tracks are from the first camera; 1 without any. */
static double track_depth(const Scene *scene)
{
    const SpResult *r = scene->output->result;
    float w2c[16], point[3];
    double sum = 0;
    int64_t count = 0;
    sp_result_w2c(r, 0, w2c);
    for (int64_t n = 0; n < r->tracks; n++) {
        sp_pose_apply(w2c, scene->coords + 3 * n, point);
        if (point[2] > 0 && isfinite(point[2])) {
            sum += log((double)point[2]);
            count++;
        }
    }
    return count ? exp(sum / (double)count) : 1;
}

static void print_camera(FILE *stream, const Scene *scene)
{
    const SpResult *r = scene->output->result;
    const double depth = r->depth ? sp_cloud_depth(r) : track_depth(scene);
    fprintf(stream,
            "    def Camera \"Camera\"\n    {\n        token projection = \"perspective\"\n"
            "        float2 clippingRange = (%.9g, %.9g)\n",
            depth / 100, depth * 100);
    print_lens(stream, scene);
    print_poses(stream, r);
    fputs("    }\n", stream);
}

/* An attribute with a value a point, whose samples or values follow. */
static void print_attribute(FILE *stream, const char *type, const char *name, const char *form)
{
    fprintf(stream, "        %s %s (\n            interpolation = \"%s\"\n        )\n", type, name,
            form);
}

static void print_positions(FILE *stream, const Scene *scene)
{
    const SpResult *r = scene->output->result;
    fputs("        point3f[] points.timeSamples = {\n", stream);
    for (int64_t t = 0; t < r->clip->frames && !ferror(stream); t++) {
        fprintf(stream, "            %lld: [", time_of(t));
        for (int64_t n = 0; n < r->tracks; n++)
            print_point(stream, n == 0, scene->coords + 3 * (t * r->tracks + n));
        fputs("],\n", stream);
    }
    fputs("        }\n", stream);
}

static void print_visible(FILE *stream, const SpResult *r)
{
    print_attribute(stream, "bool[]", "primvars:visible", "vertex");
    fputs("        bool[] primvars:visible.timeSamples = {\n", stream);
    for (int64_t t = 0; t < r->clip->frames && !ferror(stream); t++) {
        fprintf(stream, "            %lld: [", time_of(t));
        for (int64_t n = 0; n < r->tracks; n++)
            fprintf(stream, "%s%d", n ? ", " : "", sp_result_visible(r, t, n));
        fputs("],\n", stream);
    }
    fputs("        }\n", stream);
}

static void print_sigma(FILE *stream, const SpResult *r)
{
    if (!r->sigma)
        return;
    print_attribute(stream, "float[]", "primvars:sigma", "vertex");
    fputs("        float[] primvars:sigma.timeSamples = {\n", stream);
    for (int64_t t = 0; t < r->clip->frames && !ferror(stream); t++) {
        fprintf(stream, "            %lld: [", time_of(t));
        for (int64_t n = 0; n < r->tracks; n++)
            fprintf(stream, "%s%.9g", n ? ", " : "", sp_text_number(r->sigma[t * r->tracks + n]));
        fputs("],\n", stream);
    }
    fputs("        }\n", stream);
}

/* As wide as the overlay's disc in the track's first frame. */
static double width_of(const Scene *scene, int64_t n)
{
    const SpResult *r = scene->output->result;
    const SpFramePlan *plan = &r->clip->plan;
    const int64_t t = (int64_t)r->queries[3 * n];
    const float *world = scene->coords + 3 * (t * r->tracks + n);
    float w2c[16], point[3];
    sp_result_w2c(r, t, w2c);
    sp_pose_apply(w2c, world, point);
    const double depth = (double)point[2];
    const double side = (double)sp_min(plan->input_width, plan->input_height);
    return depth > 0 ? depth * MARKER * side / (double)scene->intrinsics[9 * t] : 0;
}

static void print_objects(FILE *stream, const SpResult *r)
{
    if (!r->object)
        return;
    fputs("        int[] primvars:object = [", stream);
    for (int64_t n = 0; n < r->tracks; n++)
        fprintf(stream, "%s%d", n ? ", " : "", r->object[n] - 1);
    fputs("] (\n            interpolation = \"vertex\"\n        )\n"
          "        string[] primvars:object_names = [",
          stream);
    for (int64_t i = 0; i < r->objects; i++) {
        fputs(i ? ", " : "", stream);
        sp_text_quote(stream, r->object_names + (size_t)i * r->object_name_size);
    }
    fputs("] (\n            interpolation = \"constant\"\n        )\n", stream);
}

static void print_fixed(FILE *stream, const Scene *scene)
{
    const SpResult *r = scene->output->result;
    fputs("        int64[] ids = [", stream);
    for (int64_t n = 0; n < r->tracks; n++)
        fprintf(stream, "%s%lld", n ? ", " : "", (long long)n);
    fputs("]\n        float[] widths = [", stream);
    for (int64_t n = 0; n < r->tracks; n++)
        fprintf(stream, "%s%.9g", n ? ", " : "", width_of(scene, n));
    fputs("]\n        color3f[] primvars:displayColor = [", stream);
    for (int64_t n = 0; n < r->tracks; n++)
        print_colour(stream, n == 0, scene->colours[n].rgb);
    fputs("] (\n            interpolation = \"vertex\"\n        )\n"
          "        float[] primvars:dynamic = [",
          stream);
    for (int64_t n = 0; n < r->tracks; n++)
        fprintf(stream, "%s%.9g", n ? ", " : "", sp_text_number(r->dynamic[n]));
    fputs("] (\n            interpolation = \"vertex\"\n        )\n", stream);
}

static void print_tracks(FILE *stream, const Scene *scene)
{
    const SpResult *r = scene->output->result;
    fputs("\n    def Points \"Tracks\"\n    {\n", stream);
    print_positions(stream, scene);
    print_fixed(stream, scene);
    print_objects(stream, r);
    print_visible(stream, r);
    print_sigma(stream, r);
    fputs("    }\n", stream);
}

/* Calls `each` for the first frame's trusted pixels. */
static void each_pixel(FILE *stream, const Scene *scene,
                       void (*each)(FILE *stream, const Scene *scene, bool first, int64_t y,
                                    int64_t x))
{
    const SpFramePlan *plan = &scene->output->result->clip->plan;
    bool first = true;
    for (int64_t y = 0; y < plan->height; y++)
        for (int64_t x = 0; x < plan->width && !ferror(stream); x++)
            if (sp_cloud_trusts(scene->output->result, 0, y, x)) {
                each(stream, scene, first, y, x);
                first = false;
            }
}

static void print_pixel_point(FILE *stream, const Scene *scene, bool first, int64_t y, int64_t x)
{
    float world[3];
    sp_cloud_point(scene->output->result, 0, y, x, world);
    print_point(stream, first, world);
}

static void print_pixel_colour(FILE *stream, const Scene *scene, bool first, int64_t y, int64_t x)
{
    uint8_t rgb[3];
    sp_cloud_colour(scene->output->result->clip, 0, y, x, rgb);
    print_colour(stream, first, rgb);
}

/* As wide as a pixel there. */
static void print_pixel_width(FILE *stream, const Scene *scene, bool first, int64_t y, int64_t x)
{
    const SpResult *r = scene->output->result;
    fprintf(stream, "%s%.4g", first ? "" : ", ",
            (double)r->depth[y * r->clip->plan.width + x] / (double)r->intrinsics[0]);
}

static void print_cloud(FILE *stream, const Scene *scene)
{
    fputs("\n    def Points \"Cloud\"\n    {\n        point3f[] points = [", stream);
    each_pixel(stream, scene, print_pixel_point);
    fputs("]\n        float[] widths = [", stream);
    each_pixel(stream, scene, print_pixel_width);
    fputs("]\n        color3f[] primvars:displayColor = [", stream);
    each_pixel(stream, scene, print_pixel_colour);
    fputs("] (\n            interpolation = \"vertex\"\n        )\n    }\n", stream);
}

static void print_scene(FILE *stream, const void *what)
{
    const Scene *scene = what;
    print_head(stream, scene);
    print_camera(stream, scene);
    if (scene->output->result->tracks)
        print_tracks(stream, scene);
    if (scene->output->usd_cloud)
        print_cloud(stream, scene);
    fputs("}\n", stream);
}

static SpStatus make_scene(Scene *scene)
{
    const SpResult *r = scene->output->result;
    const size_t frames = (size_t)r->clip->frames, tracks = (size_t)r->tracks;
    scene->intrinsics = malloc(9 * frames * sizeof *scene->intrinsics);
    if (!scene->intrinsics)
        return sp_no_memory("the scene");
    sp_result_input_intrinsics(r, scene->intrinsics);
    if (!tracks)
        return sp_ok();
    scene->coords = malloc(3 * frames * tracks * sizeof *scene->coords);
    scene->colours = malloc(tracks * sizeof *scene->colours);
    if (!scene->coords || !scene->colours)
        return sp_no_memory("the scene");
    sp_result_coords(r, scene->coords);
    return sp_palette_tracks(r->queries, r->tracks, scene->colours);
}

static SpStatus write_usd(const SpAtomicFile *file, const SpOutput *output)
{
    Scene scene = {.output = output};
    SpStatus status = make_scene(&scene);
    if (status.code == SP_OK)
        status = sp_text_print(file->stream, file->label, print_scene, &scene);
    free(scene.intrinsics);
    free(scene.coords);
    free(scene.colours);
    return status;
}

static bool is_own(const char *path)
{
    return sp_text_begins(path, BEGINNING);
}

const SpFormat sp_format_usd = {.product = SP_PRODUCT_SCENE,
                                .ending = ".usda",
                                .what = "camera and tracks for Blender, Nuke, Maya and Houdini",
                                .optional = SP_PART_DEPTH | SP_PART_FRAMES,
                                .is_own = is_own,
                                .write = write_usd};
