/* The cameras of all frames as JSON, or as Nuke's .chan (src/output/README.md, "Cameras"). */
#include "output/cameras.h"

#include <math.h>
#include <stdlib.h>

#include "geometry/camera.h"
#include "output/text.h"

#define BEGINNING "{\n\"format\": \"spatrack cameras\","

static const double DEGREES = 180 / 3.14159265358979323846;

void sp_cameras_y_up(const float m[16], float out[16])
{
    for (int i = 0; i < 16; i++) {
        const bool turned = (i / 4 == 1 || i / 4 == 2) != (i % 4 == 1 || i % 4 == 2);
        out[i] = turned ? 0 - m[i] : m[i];
    }
}

double sp_cameras_rate(const SpOutput *output)
{
    const SpClip *clip = output->result->clip;
    const double stride = output->reader.stride > 0 ? (double)output->reader.stride : 1;
    const double last = clip->timestamps[clip->frames - 1] - clip->timestamps[0];
    return clip->rate > 0 ? clip->rate / stride : last > 0 ? (double)(clip->frames - 1) / last : 24;
}

/* What is printed of an output. */
typedef struct Cameras {
    const SpOutput *output;
    const float *intrinsics; /* [T, 3, 3] in pixels of the input video */
} Cameras;

/* JSON has no number that is not finite. */
static void print_number(FILE *stream, double value)
{
    if (isfinite(value))
        fprintf(stream, "%.9g", value);
    else
        fputs("null", stream);
}

static void print_matrix(FILE *stream, const char *name, const float *m, int side)
{
    fprintf(stream, ", \"%s\": [", name);
    for (int i = 0; i < side * side; i++) {
        fputs(i % side ? ", " : i ? "], [" : "[", stream);
        print_number(stream, (double)m[i]);
    }
    fputs("]]", stream);
}

static void print_conventions(FILE *stream)
{
    fputs("\"conventions\": {\n"
          "  \"pixels\": \"of the video as it plays, `size` wide and high; x right, y down, (0, 0) "
          "is the centre of the first pixel\",\n"
          "  \"camera\": \"x right, y down, z forward\",\n"
          "  \"world\": \"the camera of the first frame; its unit of length is that of the depth, "
          "times `scale`\",\n"
          "  \"K\": \"pixel = K x / z for a point x of the camera, z its third coordinate\",\n"
          "  \"w2c\": \"world to camera, of column vectors: x = R X + t, rows [R | t] and 0 0 0 "
          "1\",\n"
          "  \"c2w\": \"camera to world, the inverse of w2c\",\n"
          "  \"index\": \"number of the frame in the file, from 0; `frame` counts the used "
          "frames\",\n"
          "  \"time\": \"when the frame is shown, seconds; `rate` is the used frames a second\"\n"
          "},\n",
          stream);
}

static void print_json(FILE *stream, const void *what)
{
    const Cameras *cameras = what;
    const SpResult *r = cameras->output->result;
    const SpClip *clip = r->clip;
    float w2c[16];
    fprintf(stream, BEGINNING "\n\"version\": %s,\n", r->version);
    print_conventions(stream);
    fprintf(stream, "\"size\": [%lld, %lld],\n\"rate\": ", (long long)clip->plan.input_width,
            (long long)clip->plan.input_height);
    print_number(stream, sp_cameras_rate(cameras->output));
    fputs(",\n\"scale\": ", stream);
    print_number(stream, r->scale);
    fputs(",\n\"frames\": [", stream);
    for (int64_t t = 0; t < clip->frames && !ferror(stream); t++) {
        fprintf(stream, "%s\n  {\"frame\": %lld, \"index\": %lld, \"time\": ", t ? "," : "",
                (long long)t, (long long)clip->index[t]);
        print_number(stream, clip->timestamps[t]);
        print_matrix(stream, "K", cameras->intrinsics + 9 * t, 3);
        sp_result_w2c(r, t, w2c);
        print_matrix(stream, "w2c", w2c, 4);
        print_matrix(stream, "c2w", r->c2w + 16 * t, 4);
        fputc('}', stream);
    }
    fputs("\n]\n}\n", stream);
}

/* Degrees about x, y and z of R = Ry Rx Rz: Nuke's order ZXY. */
static void angles_of(const float m[16], double angle[3])
{
    const double sine = fmin(fmax(-(double)m[6], -1), 1);
    const bool locked = fabs(sine) > 1 - 1e-9; /* straight up or down: y and z are one axis */
    angle[0] = DEGREES * asin(sine);
    angle[1] = DEGREES *
               (locked ? atan2(-(double)m[8], (double)m[0]) : atan2((double)m[2], (double)m[10]));
    angle[2] = locked ? 0 : DEGREES * atan2((double)m[4], (double)m[5]);
}

static void print_chan(FILE *stream, const void *what)
{
    const Cameras *cameras = what;
    const SpClip *clip = cameras->output->result->clip;
    double before[3] = {0};
    for (int64_t t = 0; t < clip->frames && !ferror(stream); t++) {
        const float *k = cameras->intrinsics + 9 * t;
        float m[16];
        double angle[3];
        sp_cameras_y_up(cameras->output->result->c2w + 16 * t, m);
        angles_of(m, angle);
        for (int i = 0; i < 3; i++) { /* no turn through 360 degrees from one frame to the next */
            angle[i] += 360 * rint((before[i] - angle[i]) / 360);
            before[i] = angle[i];
        }
        fprintf(stream, "%lld\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\n", (long long)t + 1,
                sp_text_number(m[3]), sp_text_number(m[7]), sp_text_number(m[11]), angle[0],
                angle[1], angle[2],
                2 * DEGREES * atan((double)clip->plan.input_height / 2 / (double)k[4]));
    }
}

static SpStatus print(const SpAtomicFile *file, const SpOutput *output,
                      void (*form)(FILE *stream, const void *what))
{
    const SpResult *r = output->result;
    float *intrinsics = malloc((size_t)(9 * r->clip->frames) * sizeof *intrinsics);
    if (!intrinsics)
        return sp_no_memory("the cameras");
    sp_result_input_intrinsics(r, intrinsics);
    const Cameras cameras = {output, intrinsics};
    const SpStatus status = sp_text_print(file->stream, file->label, form, &cameras);
    free(intrinsics);
    return status;
}

static SpStatus write_json(const SpAtomicFile *file, const SpOutput *output)
{
    return print(file, output, print_json);
}

static SpStatus write_chan(const SpAtomicFile *file, const SpOutput *output)
{
    return print(file, output, print_chan);
}

static bool is_own(const char *path)
{
    return sp_text_begins(path, BEGINNING);
}

const SpFormat sp_format_cameras = {.product = SP_PRODUCT_CAMERAS,
                                    .ending = ".json",
                                    .what = "K, w2c and c2w of every frame",
                                    .unused = SP_PART_DEPTH | SP_PART_FRAMES,
                                    .is_own = is_own,
                                    .write = write_json};

const SpFormat sp_format_chan = {.product = SP_PRODUCT_CAMERAS,
                                 .ending = ".chan",
                                 .what = "for Nuke",
                                 .unused = SP_PART_DEPTH | SP_PART_FRAMES,
                                 .write = write_chan};
