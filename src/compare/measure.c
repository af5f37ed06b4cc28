#include "compare/measure.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The share of places that may be off where a tolerance is above 0, as with the 95th percentile. */
static const double ALLOWED_SHARE = 0.05;
static const double DEGREES = 180 / 3.14159265358979323846;

enum { PIXELS, VISIBILITY, POINTS, DEPTH, HOLES, ROTATION, TRANSLATION, FOCAL };

/* Where positions in the image come from, best first; the last two project `coords`. */
typedef enum Source { TRACKS2D, INPUT_CAMERA, SAVED_CAMERA, SOURCES } Source;

/* A result and the one it is compared with, at one place. */
typedef struct Pair {
    const SpComparedResult *side; /* [2] */
    Source source;
    bool by_visibility; /* only where both see the track */
} Pair;

/* The value that `share` of the sorted values are not above, by nearest rank (Hoare's selection);
 * reorders them. 0 of none. */
static float quantile(float *value, int64_t count, double share)
{
    const int64_t rank = (int64_t)ceil(share * (double)count) - 1;
    int64_t low = 0, high = count - 1;
    while (low < high) {
        const float pivot = value[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (value[i] < pivot)
                i++;
            while (value[j] > pivot)
                j--;
            if (i <= j) {
                const float swapped = value[i];
                value[i++] = value[j];
                value[j--] = swapped;
            }
        }
        if (rank <= j)
            high = j;
        else if (rank >= i)
            low = i;
        else
            break;
    }
    return count ? value[rank < 0 ? 0 : rank] : 0;
}

/* a - b, 0 of the same values, those that are no numbers included; never NaN. */
static double difference(float a, float b)
{
    const double d = (double)a - (double)b;
    return a == b || (isnan(a) && isnan(b)) ? 0 : isnan(d) ? INFINITY : d;
}

/* |a - b| / |a|; never NaN. */
static double relative(float a, float b)
{
    const double d = fabs(difference(a, b)), share = d / fabs((double)a);
    return d > 0 ? (isnan(share) ? INFINITY : share) : 0;
}

static double distance(const float *a, const float *b, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += difference(a[i], b[i]) * difference(a[i], b[i]);
    return sqrt(sum);
}

static const float *at(const SpComparedResult *result, SpComparedId id, int64_t t, int64_t n)
{
    const SpComparedArray *array = &result->array[id];
    const int64_t width = array->rank == 3 ? array->dim[2] : 1;
    return array->value + (t * array->dim[1] + n) * width;
}

static bool has(const SpComparedResult *result, SpComparedId id)
{
    return result->array[id].value != NULL;
}

static SpComparedId camera_of(Source source)
{
    return source == INPUT_CAMERA ? SP_COMPARED_INTRINSICS_INPUT : SP_COMPARED_INTRINSICS;
}

static bool can(const SpComparedResult *result, Source source)
{
    return source == TRACKS2D
               ? has(result, SP_COMPARED_TRACKS2D)
               : has(result, SP_COMPARED_COORDS) && has(result, SP_COMPARED_EXTRINSICS) &&
                     has(result, camera_of(source));
}

/* Pixels of the saved maps are the same only where these are of one size. */
static bool same_maps(const SpComparedResult side[2])
{
    bool same;
    return !sp_compared_both(side, SP_COMPARED_DEPTHS, &same) || same ||
           memcmp(side[0].array[SP_COMPARED_DEPTHS].dim + 1,
                  side[1].array[SP_COMPARED_DEPTHS].dim + 1, 2 * sizeof(int64_t)) == 0;
}

static Source common_source(const SpComparedResult side[2])
{
    Source source = TRACKS2D;
    while (source < SOURCES && !(can(&side[0], source) && can(&side[1], source) &&
                                 (source != SAVED_CAMERA || same_maps(side))))
        source++;
    return source;
}

/* Track n of frame t in pixels. */
static void position(const SpComparedResult *result, Source source, int64_t t, int64_t n,
                     float xy[2])
{
    if (source == TRACKS2D) {
        memcpy(xy, at(result, SP_COMPARED_TRACKS2D, t, n), 2 * sizeof *xy);
        return;
    }
    const float *world = at(result, SP_COMPARED_COORDS, t, n);
    const float *pose = at(result, SP_COMPARED_EXTRINSICS, t, 0);
    const float *k = at(result, camera_of(source), t, 0);
    double p[3];
    for (int i = 0; i < 3; i++)
        p[i] = (double)pose[4 * i] * world[0] + (double)pose[4 * i + 1] * world[1] +
               (double)pose[4 * i + 2] * world[2] + pose[4 * i + 3];
    for (int i = 0; i < 2; i++)
        xy[i] = (float)((k[3 * i] * p[0] + k[3 * i + 1] * p[1]) / p[2] + k[3 * i + 2]);
}

static bool visible(const SpComparedResult *result, int64_t t, int64_t n)
{
    return *at(result, SP_COMPARED_VISIBS, t, n) > 0.5f; /* src/output/README.md, "The arrays" */
}

/* Whether the tracks are compared here; without `visibs` in both, everywhere. */
static bool counts(const Pair *pair, int64_t t, int64_t n)
{
    return !pair->by_visibility || (visible(&pair->side[0], t, n) && visible(&pair->side[1], t, n));
}

static void note(SpComparison *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(SpComparison *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (out->notes < SP_COMPARE_NOTES)
        vsnprintf(out->note[out->notes++], sizeof out->note[0], format, arguments);
    va_end(arguments);
}

/* The results are not within the tolerances because of `name`. */
static void fails(SpComparison *out, const char *name)
{
    const size_t used = strlen(out->different);
    snprintf(out->different + used, sizeof out->different - used, "%s%s", used ? ", " : "", name);
    out->within = false;
}

static void judge(SpComparison *out, SpCompareRow *row)
{
    row->measured = true;
    row->within = row->value[row->checked] <= row->limit;
    if (!row->within)
        fails(out, row->name);
}

static void summarize(SpComparison *out, int id, float *error, int64_t count)
{
    SpCompareRow *row = &out->row[id];
    row->count = count;
    row->value[SP_MEDIAN] = (double)quantile(error, count, 0.5);
    row->value[SP_PERCENTILE_95] = (double)quantile(error, count, 0.95);
    row->value[SP_LARGEST] = (double)quantile(error, count, 1);
    judge(out, row);
}

static void share(SpComparison *out, int id, int64_t different, int64_t count)
{
    SpCompareRow *row = &out->row[id];
    row->count = count;
    row->different = different;
    row->value[SP_SHARE] = count ? (double)different / (double)count : 0;
    judge(out, row);
}

/* Room for an error of each place of an array of the expected result. */
static SpStatus take(int64_t count, float **error)
{
    *error = malloc((size_t)count * sizeof **error + 1);
    return *error ? sp_ok() : sp_no_memory("the comparison");
}

static SpStatus measure_pixels(const Pair *pair, SpComparison *out)
{
    const SpComparedResult *side = pair->side;
    float *error, a[2], b[2];
    int64_t count = 0;
    SP_TRY(take(side->frames * side->tracks, &error));
    for (int64_t t = 0; t < side->frames; t++)
        for (int64_t n = 0; n < side->tracks; n++)
            if (counts(pair, t, n)) {
                position(&side[0], pair->source, t, n, a);
                position(&side[1], pair->source, t, n, b);
                error[count++] = (float)distance(a, b, 2);
            }
    summarize(out, PIXELS, error, count);
    free(error);
    return sp_ok();
}

static SpStatus measure_points(const Pair *pair, SpComparison *out)
{
    const SpComparedResult *side = pair->side;
    float *error;
    int64_t count = 0;
    SP_TRY(take(side->frames * side->tracks, &error));
    for (int64_t t = 0; t < side->frames; t++)
        for (int64_t n = 0; n < side->tracks; n++)
            if (counts(pair, t, n))
                error[count++] = (float)(distance(at(&side[0], SP_COMPARED_COORDS, t, n),
                                                  at(&side[1], SP_COMPARED_COORDS, t, n), 3) /
                                         out->unit);
    summarize(out, POINTS, error, count);
    free(error);
    return sp_ok();
}

static void measure_visibility(const SpComparedResult side[2], SpComparison *out)
{
    int64_t flips = 0, either = 0;
    for (int64_t t = 0; t < side->frames; t++)
        for (int64_t n = 0; n < side->tracks; n++) {
            flips += visible(&side[0], t, n) != visible(&side[1], t, n);
            either += visible(&side[0], t, n) || visible(&side[1], t, n);
        }
    share(out, VISIBILITY, flips, either);
}

static bool is_depth(float z)
{
    return isfinite(z) && z > 0;
}

static SpStatus measure_depth(const SpComparedResult side[2], SpComparison *out)
{
    const float *a = side[0].array[SP_COMPARED_DEPTHS].value;
    const float *b = side[1].array[SP_COMPARED_DEPTHS].value;
    const int64_t places = side->array[SP_COMPARED_DEPTHS].count;
    float *error;
    int64_t count = 0, either = 0;
    SP_TRY(take(places, &error));
    for (int64_t i = 0; i < places; i++) {
        either += is_depth(a[i]) || is_depth(b[i]);
        if (is_depth(a[i]) && is_depth(b[i]))
            error[count++] = (float)relative(a[i], b[i]);
    }
    share(out, HOLES, either - count, either);
    summarize(out, DEPTH, error, count);
    free(error);
    return sp_ok();
}

/* The angle in degrees between two rotations, |A - B| = 2 sqrt(2) sin(angle / 2); rows are 4 apart.
 */
static double angle_between(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        const double d = distance(a + 4 * i, b + 4 * i, 3);
        sum += d * d;
    }
    const double sine = sqrt(sum / 8);
    return isfinite(sine) ? 2 * asin(fmin(sine, 1)) * DEGREES : INFINITY;
}

/* Where the camera of a w2c is in the world, -R^T t. */
static void place_of(const float *w2c, float place[3])
{
    for (int i = 0; i < 3; i++)
        place[i] = -(w2c[i] * w2c[3] + w2c[4 + i] * w2c[7] + w2c[8 + i] * w2c[11]);
}

static SpStatus measure_poses(const SpComparedResult side[2], SpComparison *out)
{
    float *angle, *shift = NULL;
    SpStatus status = take(side->frames, &angle);
    if (status.code == SP_OK)
        status = take(side->frames, &shift);
    for (int64_t t = 0; t < side->frames && status.code == SP_OK; t++) {
        const float *a = at(&side[0], SP_COMPARED_EXTRINSICS, t, 0);
        const float *b = at(&side[1], SP_COMPARED_EXTRINSICS, t, 0);
        float from[3], to[3];
        place_of(a, from);
        place_of(b, to);
        angle[t] = (float)angle_between(a, b);
        shift[t] = (float)(distance(from, to, 3) / out->unit);
    }
    if (status.code == SP_OK) {
        summarize(out, ROTATION, angle, side->frames);
        summarize(out, TRANSLATION, shift, side->frames);
    }
    free(angle);
    free(shift);
    return status;
}

static SpStatus measure_focal(const SpComparedResult side[2], SpComparedId id, SpComparison *out)
{
    float *error;
    SP_TRY(take(side->frames, &error));
    for (int64_t t = 0; t < side->frames; t++) {
        const float *a = at(&side[0], id, t, 0), *b = at(&side[1], id, t, 0);
        error[t] = (float)fmax(relative(a[0], b[0]), relative(a[4], b[4]));
    }
    summarize(out, FOCAL, error, side->frames);
    free(error);
    return sp_ok();
}

/* The median of the depths above 0 that are expected, or without depths that of the points' z in
 * the first camera; 1 where there is none. */
static SpStatus find_unit(const SpComparedResult *expected, SpComparison *out)
{
    const bool maps = has(expected, SP_COMPARED_DEPTHS);
    const SpComparedArray *array = &expected->array[maps ? SP_COMPARED_DEPTHS : SP_COMPARED_COORDS];
    float *depth;
    int64_t count = 0;
    SP_TRY(take(array->count, &depth));
    for (int64_t i = maps ? 0 : 2; i < array->count; i += maps ? 1 : 3)
        if (is_depth(array->value[i]))
            depth[count++] = array->value[i];
    out->unit = count ? (double)quantile(depth, count, 0.5) : 1;
    if (!count && (has(expected, SP_COMPARED_COORDS) || has(expected, SP_COMPARED_EXTRINSICS)))
        note(out, "no depth is expected: lengths are in the file's unit, not relative to it");
    free(depth);
    return sp_ok();
}

/* The rows as they stand before anything is measured. With a tolerance of 0 the largest counts. */
static void begin_rows(SpComparison *out)
{
    static const SpCompareRow rows[SP_COMPARE_ROWS] = {
        [PIXELS] = {.name = "2D error", .unit = "pixels", .checked = SP_PERCENTILE_95},
        [VISIBILITY] = {.name = "visibility flips", .unit = "of those seen", .checked = SP_SHARE},
        [POINTS] = {.name = "3D error", .unit = "of the depth", .checked = SP_PERCENTILE_95},
        [DEPTH] = {.name = "depth", .unit = "relative", .checked = SP_MEDIAN},
        [HOLES] = {.name = "depth in one alone", .unit = "of the pixels", .checked = SP_SHARE},
        [ROTATION] = {.name = "rotation", .unit = "degrees", .checked = SP_LARGEST},
        [TRANSLATION] = {.name = "translation", .unit = "of the depth", .checked = SP_LARGEST},
        [FOCAL] = {.name = "focal length", .unit = "relative", .checked = SP_LARGEST},
    };
    memcpy(out->row, rows, sizeof rows);
    for (int i = 0; i < SP_COMPARE_ROWS; i++) {
        SpCompareRow *row = &out->row[i];
        const double tolerance =
            i == PIXELS || i == VISIBILITY ? out->tolerances.pixels : out->tolerances.relative;
        if (row->checked == SP_SHARE)
            row->limit = tolerance > 0 ? ALLOWED_SHARE : 0;
        else
            row->limit = i == ROTATION ? tolerance * DEGREES : tolerance;
        if (!(tolerance > 0) && row->checked != SP_SHARE)
            row->checked = SP_LARGEST;
    }
}

/* "24 frames expected, 23 found". */
static void compare_counts(const char *what, int64_t expected, int64_t found, SpComparison *out)
{
    if (expected < 0 || found < 0 || expected == found)
        return;
    note(out, "%s: %lld expected, %lld found", what, (long long)expected, (long long)found);
    fails(out, what);
}

/* A row that is expected and has nothing to be measured on. */
static void compare_missing(bool expected, bool both, int id, SpComparison *out)
{
    if (!expected || both)
        return;
    note(out, "%s: expected, and cannot be measured: an array is missing", out->row[id].name);
    fails(out, out->row[id].name);
}

/* "only expected: sigma, video". */
static void note_alone(const SpComparedResult *one, const SpComparedResult *other,
                       const char *whose, SpComparison *out)
{
    char names[300] = "", name[64];
    for (size_t i = 0; sp_npz_name(one->file.npz, i, name, sizeof name); i++)
        if (*name && !sp_npz_has(other->file.npz, name)) {
            const size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", name);
        }
    if (*names)
        note(out, "only in %s: %s", whose, names);
}

/* With a tolerance of 0, places that no row looks at count, too. */
static void compare_values(const SpComparedResult side[2], SpComparison *out)
{
    for (SpComparedId id = 0; id < SP_COMPARED_ARRAYS; id++) {
        const bool flat = id == SP_COMPARED_TRACKS2D || id == SP_COMPARED_VISIBS;
        const double tolerance = flat ? out->tolerances.pixels : out->tolerances.relative;
        bool same;
        if (tolerance > 0 || !sp_compared_both(side, id, &same) || !same)
            continue;
        int64_t different = 0;
        for (int64_t i = 0; i < side->array[id].count; i++)
            different += difference(side[0].array[id].value[i], side[1].array[id].value[i]) != 0;
        if (!different)
            continue;
        note(out, "%s: %lld of %lld values are not identical", sp_compared_name(id),
             (long long)different, (long long)side->array[id].count);
        fails(out, sp_compared_name(id));
    }
}

static SpStatus measure_tracks(const SpComparedResult side[2], SpComparison *out)
{
    const Source source = common_source(side);
    bool same;
    const bool seen = sp_compared_both(side, SP_COMPARED_VISIBS, &same);
    const bool points = sp_compared_both(side, SP_COMPARED_COORDS, &same);
    const Pair pair = {.side = side, .source = source, .by_visibility = seen};
    const bool expected = can(side, TRACKS2D) || can(side, INPUT_CAMERA) || can(side, SAVED_CAMERA);
    compare_missing(expected, source < SOURCES, PIXELS, out);
    compare_missing(has(side, SP_COMPARED_VISIBS), seen, VISIBILITY, out);
    compare_missing(has(side, SP_COMPARED_COORDS), points, POINTS, out);
    if (side[0].frames != side[1].frames || side[0].tracks != side[1].tracks)
        return sp_ok();
    if (source == SAVED_CAMERA)
        out->row[PIXELS].unit = "saved pixels";
    if (source < SOURCES)
        SP_TRY(measure_pixels(&pair, out));
    if (seen)
        measure_visibility(side, out);
    return points ? measure_points(&pair, out) : sp_ok();
}

static SpStatus measure_cameras(const SpComparedResult side[2], SpComparison *out)
{
    bool same;
    const bool poses = sp_compared_both(side, SP_COMPARED_EXTRINSICS, &same);
    const bool input = sp_compared_both(side, SP_COMPARED_INTRINSICS_INPUT, &same);
    const bool saved = sp_compared_both(side, SP_COMPARED_INTRINSICS, &same) && same_maps(side);
    compare_missing(has(side, SP_COMPARED_EXTRINSICS), poses, ROTATION, out);
    compare_missing(has(side, SP_COMPARED_INTRINSICS_INPUT) || has(side, SP_COMPARED_INTRINSICS),
                    input || saved, FOCAL, out);
    if (side[0].frames != side[1].frames)
        return sp_ok();
    if (poses)
        SP_TRY(measure_poses(side, out));
    return input || saved
               ? measure_focal(side, input ? SP_COMPARED_INTRINSICS_INPUT : SP_COMPARED_INTRINSICS,
                               out)
               : sp_ok();
}

static SpStatus measure_maps(const SpComparedResult side[2], SpComparison *out)
{
    bool same;
    const bool both = sp_compared_both(side, SP_COMPARED_DEPTHS, &same);
    const int64_t *a = side[0].array[SP_COMPARED_DEPTHS].dim;
    const int64_t *b = side[1].array[SP_COMPARED_DEPTHS].dim;
    compare_missing(has(side, SP_COMPARED_DEPTHS), both, DEPTH, out);
    if (both && !same_maps(side)) {
        note(out, "depth maps: %lld x %lld expected, %lld x %lld found", (long long)a[2],
             (long long)a[1], (long long)b[2], (long long)b[1]);
        fails(out, "depth maps");
    }
    return both && same ? measure_depth(side, out) : sp_ok();
}

SpStatus sp_comparison_measure(const SpComparedResult side[2], const SpTolerances *tolerances,
                               SpComparison *out)
{
    *out = (SpComparison){.results = side, .tolerances = *tolerances, .within = true};
    begin_rows(out);
    compare_counts("frames", side[0].frames, side[1].frames, out);
    compare_counts("tracks", side[0].tracks, side[1].tracks, out);
    SP_TRY(find_unit(&side[0], out));
    SP_TRY(measure_tracks(side, out));
    SP_TRY(measure_maps(side, out));
    SP_TRY(measure_cameras(side, out));
    compare_values(side, out);
    note_alone(&side[0], &side[1], "the expected result", out);
    note_alone(&side[1], &side[0], "the actual result", out);
    return sp_ok();
}
