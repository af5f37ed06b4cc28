/* A page that shows the result in 3D (src/output/README.md, "Viewer"). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/minmax.h"
#include "geometry/camera.h"
#include "media/resample.h"
#include "output/cameras.h"
#include "output/cloud.h"
#include "output/npz.h"
#include "output/text.h"
#include "viewer/page.h"

static const double DEPTH_STEP = 0.0005; /* share of the depth, as in src/viewer/clip.js */
static const double POINT_STEP = 1e-4;   /* of the scene's depth */

enum {
    SAMPLED = 4,        /* frames whose maps tell how large all become */
    LEAST_SIDE = 160,   /* of maps, before frames are left out */
    LEAST_TRACKS = 100, /* likewise */
    BASE64_LINE = 1 << 12
};

/* What of the result is in the page, and how many bytes that takes. */
typedef struct Page {
    const SpOutput *output;
    const SpResult *result;
    int64_t every, track_every; /* used frame and track */
    int64_t frames, tracks;     /* so many then */
    int64_t h, w;               /* of maps */
    double near, unit;          /* nearest depth; step of points */
    char *archive;              /* owned */
    size_t size, before_maps;   /* bytes of it; sampled: as if all maps were there */
} Page;

static void choose(Page *page, int64_t every, int64_t track_every, int64_t side)
{
    const SpResult *r = page->result;
    page->every = every;
    page->track_every = track_every;
    page->frames = (r->clip->frames + every - 1) / every;
    page->tracks = (r->tracks + track_every - 1) / track_every;
    sp_saved_size(r->clip->plan.height, r->clip->plan.width, side, &page->h, &page->w);
}

/* 0..1 as a byte that is above 127 where the value is above a half. */
static uint8_t byte_of(float value)
{
    return value > 0 ? (uint8_t)ceilf(255 * fminf(value, 1) - 0.5f) : 0;
}

/* What a plane's value is guessed to be from those to the left and above: median edge detection
 * (Weinberger, Seroussi, Sapiro 2000). */
static int guess(const uint16_t *plane, int64_t w, int64_t i)
{
    const int64_t x = i % w;
    const int left = x ? plane[i - 1] : 0, up = i >= w ? plane[i - w] : 0;
    const int corner = x && i >= w ? plane[i - w - 1] : 0;
    const int most = left > up ? left : up, least = left > up ? up : left;
    return corner >= most ? least : corner <= least ? most : left + up - corner;
}

/* Writes what bytes differ by from the guess. */
static SpStatus write_plane(SpNpzWriter *npz, const uint16_t *plane, int64_t h, int64_t w,
                            uint8_t *bytes)
{
    for (int64_t i = 0; i < h * w; i++)
        bytes[i] = (uint8_t)(plane[i] - guess(plane, w, i));
    return sp_npz_write(npz, bytes, (size_t)(h * w));
}

/* Likewise of 16 bits, sign last, in a plane of low and one of high bytes. */
static SpStatus write_wide_plane(SpNpzWriter *npz, const uint16_t *plane, int64_t h, int64_t w,
                                 uint8_t *bytes)
{
    for (int64_t i = 0; i < h * w; i++) {
        const int off = (int16_t)(uint16_t)(plane[i] - guess(plane, w, i));
        const unsigned stored = off < 0 ? ~(2 * (unsigned)off) : 2 * (unsigned)off;
        bytes[i] = (uint8_t)stored;
        bytes[h * w + i] = (uint8_t)(stored >> 8);
    }
    return sp_npz_write(npz, bytes, (size_t)(2 * h * w));
}

/* Maps being written: of a frame, in the page's size. */
typedef struct Maps {
    const Page *page;
    SpNpzWriter *npz;
    float *rgb;      /* [3, h, w] */
    uint16_t *plane; /* [h, w] */
    uint8_t *bytes;  /* [2, h, w] */
} Maps;

/* The pixel of the H x W frames in the middle of one of the page's. */
static int64_t source(const Maps *maps, int64_t i)
{
    const SpFramePlan *plan = &maps->page->result->clip->plan;
    const int64_t h = maps->page->h, w = maps->page->w;
    const int64_t y = (2 * (i / w) + 1) * plan->height / (2 * h);
    return y * plan->width + (2 * (i % w) + 1) * plan->width / (2 * w);
}

static SpStatus write_depth(const Maps *maps, int64_t t)
{
    const Page *page = maps->page;
    const SpFramePlan *plan = &page->result->clip->plan;
    const float *depth = page->result->depth + t * plan->height * plan->width;
    for (int64_t i = 0; i < page->h * page->w; i++) {
        const double z = (double)depth[source(maps, i)];
        const double code = 1 + rint(log(z / page->near) / DEPTH_STEP);
        maps->plane[i] = z > 0 && isfinite(z) ? (uint16_t)fmin(code, UINT16_MAX) : 0;
    }
    return write_wide_plane(maps->npz, maps->plane, page->h, page->w, maps->bytes);
}

static SpStatus write_trust(const Maps *maps, int64_t t)
{
    const Page *page = maps->page;
    const SpFramePlan *plan = &page->result->clip->plan;
    const float *confidence = page->result->confidence + t * plan->height * plan->width;
    for (int64_t i = 0; i < page->h * page->w; i++)
        maps->plane[i] = byte_of(confidence[source(maps, i)]);
    return write_plane(maps->npz, maps->plane, page->h, page->w, maps->bytes);
}

/* Y, and Co and Cg at half the size. */
static SpStatus write_picture(const Maps *maps, int64_t t)
{
    const Page *page = maps->page;
    const SpClip *clip = page->result->clip;
    const int64_t h = page->h, w = page->w, pixels = h * w, ch = (h + 1) / 2, cw = (w + 1) / 2;
    const float *r = maps->rgb, *g = r + pixels, *b = g + pixels;
    SP_TRY(sp_resample_antialias(clip->video + t * 3 * clip->plan.height * clip->plan.width, 3,
                                 clip->plan.height, clip->plan.width, maps->rgb, h, w));
    for (int64_t i = 0; i < 3 * pixels; i++)
        maps->rgb[i] = fminf(fmaxf(maps->rgb[i], 0), 255);
    for (int64_t i = 0; i < pixels; i++)
        maps->plane[i] = (uint16_t)lrintf((r[i] + 2 * g[i] + b[i]) / 4);
    SP_TRY(write_plane(maps->npz, maps->plane, h, w, maps->bytes));
    for (int green = 0; green < 2; green++) {
        for (int64_t i = 0; i < ch * cw; i++) {
            float sum = 0;
            for (int64_t j = 0; j < 4; j++) {
                const int64_t y = sp_min(2 * (i / cw) + j / 2, h - 1);
                const int64_t at = y * w + sp_min(2 * (i % cw) + j % 2, w - 1);
                sum += green ? (2 * g[at] - r[at] - b[at]) / 4 : (r[at] - b[at]) / 2;
            }
            maps->plane[i] = (uint16_t)lrintf(fminf(128 + sum / 4, 255));
        }
        SP_TRY(write_plane(maps->npz, maps->plane, ch, cw, maps->bytes));
    }
    return sp_ok();
}

/* The maps of `count` frames, spread over the page's. */
static SpStatus write_maps(const Maps *maps, int64_t count)
{
    const Page *page = maps->page;
    const SpResult *r = page->result;
    const int64_t h = page->h, w = page->w, halves = 2 * ((h + 1) / 2) * ((w + 1) / 2);
    const struct {
        const char *name;
        const void *given;
        SpStatus (*write)(const Maps *maps, int64_t t);
        int rank;
        int64_t dims[4];
    } arrays[] = {{"depth", r->depth, write_depth, 4, {count, 2, h, w}},
                  {"trust", r->confidence, write_trust, 3, {count, h, w}},
                  {"picture", r->clip->video, write_picture, 2, {count, h * w + halves}}};
    for (int k = 0; k < 3; k++) {
        if (!arrays[k].given)
            continue;
        SP_TRY(sp_npz_begin(maps->npz, arrays[k].name, SP_U8, arrays[k].rank, arrays[k].dims));
        for (int64_t i = 0; i < count; i++)
            SP_TRY(arrays[k].write(maps, i * page->frames / count * page->every));
    }
    return sp_ok();
}

/* Rows of `size` floats of the page's frames. */
static SpStatus write_rows(const Page *page, SpNpzWriter *npz, const char *name, const float *rows,
                           int64_t size)
{
    const int64_t dims[] = {page->frames, size / (size == 9 ? 3 : 4), size == 9 ? 3 : 4};
    SP_TRY(sp_npz_begin(npz, name, SP_F32, 3, dims));
    for (int64_t i = 0; i < page->frames; i++)
        SP_TRY(sp_npz_write(npz, rows + i * page->every * size, (size_t)size * sizeof *rows));
    return sp_ok();
}

/* work [T, 16] */
static SpStatus write_cameras(const Page *page, SpNpzWriter *npz, float *work)
{
    const SpResult *r = page->result;
    const SpFramePlan *plan = &r->clip->plan;
    for (int64_t t = 0; t < r->clip->frames; t++)
        sp_pose_invert(r->c2w + 16 * t, work + 16 * t);
    SP_TRY(write_rows(page, npz, "extrinsics", work, 16));
    sp_intrinsics_scale(r->intrinsics, r->clip->frames, (double)page->w / (double)plan->width,
                        (double)page->h / (double)plan->height, work);
    SP_TRY(write_rows(page, npz, "intrinsics", work, 9));
    sp_result_input_intrinsics(r, work);
    return write_rows(page, npz, "intrinsics_input", work, 9);
}

static SpStatus write_times(const Page *page, SpNpzWriter *npz)
{
    const SpClip *clip = page->result->clip;
    const int64_t two = 2, size[] = {clip->plan.input_width, clip->plan.input_height};
    SP_TRY(sp_npz_array(npz, "size", SP_I64, 1, &two, size));
    if (!clip->timestamps)
        return sp_ok();
    SP_TRY(sp_npz_begin(npz, "timestamps", SP_F64, 1, &page->frames));
    for (int64_t i = 0; i < page->frames; i++)
        SP_TRY(sp_npz_write(npz, clip->timestamps + i * page->every, sizeof *clip->timestamps));
    return sp_ok();
}

/* Points in steps, as what they differ by from the frame before, sign last, in planes of the first
 * to the fourth bytes. work [T, 3 N], its second half for the bytes. */
static SpStatus write_points(const Page *page, SpNpzWriter *npz, const float *coords, uint8_t *work)
{
    const int64_t tracks = page->tracks, count = 3 * tracks;
    const int64_t dims[] = {page->frames, 4, tracks, 3};
    uint32_t *before = (uint32_t *)(void *)work;
    uint8_t *bytes = work + 4 * count;
    memset(before, 0, (size_t)count * sizeof *before);
    SP_TRY(sp_npz_begin(npz, "points", SP_U8, 4, dims));
    for (int64_t t = 0; t < page->frames; t++) {
        for (int64_t i = 0; i < count; i++) {
            const int64_t n = i / 3 * page->track_every;
            const float at = coords[3 * (t * page->every * page->result->tracks + n) + i % 3];
            const double steps = isnan(at) ? 0 : fmin(fmax((double)at / page->unit, -1e9), 1e9);
            const uint32_t now = (uint32_t)(int32_t)lrint(steps), off = now - before[i];
            const uint32_t stored = off >> 31 ? ~(2 * off) : 2 * off;
            for (int j = 0; j < 4; j++)
                bytes[j * count + i] = (uint8_t)(stored >> 8 * j);
            before[i] = now;
        }
        SP_TRY(sp_npz_write(npz, bytes, (size_t)(4 * count)));
    }
    return sp_ok();
}

/* Visibility and confidence of each point. */
static SpStatus write_seen(const Page *page, SpNpzWriter *npz)
{
    const SpResult *r = page->result;
    SP_TRY(sp_npz_begin(npz, "seen", SP_U8, 3, (const int64_t[]){page->frames, page->tracks, 2}));
    for (int64_t i = 0; i < page->frames * page->tracks; i++) {
        const int64_t t = i / page->tracks * page->every;
        const int64_t at = t * r->tracks + i % page->tracks * page->track_every;
        const uint8_t seen[] = {r->visibility ? byte_of(r->visibility[at]) : 255,
                                r->confs ? byte_of(r->confs[at]) : 255};
        SP_TRY(sp_npz_write(npz, seen, sizeof seen));
    }
    return sp_ok();
}

/* Queries on the page's frames, and what else a track has one of. */
static SpStatus write_fixed(const Page *page, SpNpzWriter *npz)
{
    const SpResult *r = page->result;
    const int64_t step = page->track_every;
    if (r->queries)
        SP_TRY(sp_npz_begin(npz, "queries", SP_F32, 2, (const int64_t[]){page->tracks, 3}));
    for (int64_t i = 0; r->queries && i < page->tracks; i++) {
        const float *q = r->queries + 3 * i * step, t = ceilf(q[0] / (float)page->every);
        SP_TRY(sp_npz_write(npz, (const float[]){t, q[1], q[2]}, 3 * sizeof *q));
    }
    if (r->dynamic)
        SP_TRY(sp_npz_begin(npz, "dynamic", SP_F32, 1, &page->tracks));
    for (int64_t i = 0; r->dynamic && i < page->tracks; i++)
        SP_TRY(sp_npz_write(npz, r->dynamic + i * step, sizeof *r->dynamic));
    if (!r->object)
        return sp_ok();
    SP_TRY(sp_npz_begin(npz, "object", SP_I64, 1, &page->tracks));
    for (int64_t i = 0; i < page->tracks; i++) {
        const int64_t index = r->object[i * step] - 1;
        SP_TRY(sp_npz_write(npz, &index, sizeof index));
    }
    if (!r->objects)
        return sp_ok();
    return sp_npz_texts(npz, "object_names", r->objects, r->object_names, r->object_name_size);
}

/* What the page says of itself, when it does not hold all. */
static void print_note(const Page *page, char *out, size_t capacity)
{
    const SpFramePlan *plan = &page->result->clip->plan;
    char frames[40] = "", tracks[40] = "", maps[120] = "";
    int64_t h, w;
    sp_saved_size(plan->height, plan->width, page->output->max_side, &h, &w);
    if (page->every > 1)
        snprintf(frames, sizeof frames, " One frame in %lld.", (long long)page->every);
    if (page->track_every > 1)
        snprintf(tracks, sizeof tracks, " One track in %lld.", (long long)page->track_every);
    if (page->result->depth && page->w < w)
        snprintf(maps, sizeof maps, " %lld x %lld points a frame of %lld x %lld.",
                 (long long)page->w, (long long)page->h, (long long)w, (long long)h);
    *out = 0;
    if (*frames || *tracks || *maps)
        snprintf(out, capacity, "Reduced to fit in %.4g MB.%s%s%s", page->output->viewer_size,
                 frames, tracks, maps);
}

/* What is no array, as JSON. */
static SpStatus write_text(const Page *page, SpNpzWriter *npz)
{
    const char *path = page->output->input ? page->output->input : "";
    const char *slash = strrchr(path, '/');
    char note[320];
    print_note(page, note, sizeof note);
    const SpClip *clip = page->result->clip;
    const double rate = clip->rate > 0 || clip->timestamps ? sp_cameras_rate(page->output) : 0;
    cJSON *json = cJSON_CreateObject();
    char *text = NULL;
    if (cJSON_AddStringToObject(json, "name", slash && slash[1] ? slash + 1 : path) &&
        cJSON_AddStringToObject(json, "note", note) &&
        cJSON_AddNumberToObject(json, "rate", rate / (double)page->every) &&
        cJSON_AddNumberToObject(json, "near", page->near) &&
        cJSON_AddNumberToObject(json, "unit", page->unit))
        text = cJSON_PrintUnformatted(json);
    const SpStatus status =
        text ? sp_npz_text(npz, "page", text) : sp_no_memory("the page of the viewer");
    cJSON_free(text);
    cJSON_Delete(json);
    return status;
}

/* Memory while the archive is written. */
typedef struct Work {
    float *values;   /* [T, 16] or [T, N, 3], whichever is more */
    float *rgb;      /* [3, h, w] */
    uint16_t *plane; /* [h, w] */
    uint8_t *bytes;  /* [2, h, w] or [24, N], whichever is more */
} Work;

static SpStatus write_arrays(Page *page, SpNpzWriter *npz, FILE *stream, const Work *work,
                             bool sample)
{
    const SpResult *r = page->result;
    const int64_t count = sample ? sp_min(page->frames, SAMPLED) : page->frames;
    const Maps maps = {page, npz, work->rgb, work->plane, work->bytes};
    SP_TRY(write_text(page, npz));
    SP_TRY(write_cameras(page, npz, work->values));
    SP_TRY(write_times(page, npz));
    if (r->tracks) {
        SP_TRY(write_fixed(page, npz));
        sp_result_coords(r, work->values);
        SP_TRY(write_points(page, npz, work->values, work->bytes));
        SP_TRY(write_seen(page, npz));
    }
    page->before_maps = (size_t)ftell(stream);
    if (r->depth)
        SP_TRY(write_maps(&maps, count));
    const size_t map_bytes = (size_t)ftell(stream) - page->before_maps;
    SP_TRY(sp_npz_finish(npz));
    if (sample)
        page->size += map_bytes / (size_t)count * (size_t)(page->frames - count);
    return sp_ok();
}

/* Makes the archive that the page holds; `sample`: only as much of it as tells its size. */
static SpStatus pack(Page *page, bool sample)
{
    const size_t frames = (size_t)page->result->clip->frames, tracks = (size_t)page->result->tracks;
    const size_t pixels = (size_t)(page->h * page->w);
    const Work work = {malloc((3 * tracks > 16 ? 3 * tracks : 16) * frames * sizeof(float)),
                       malloc(3 * pixels * sizeof(float)), malloc(pixels * sizeof(uint16_t)),
                       malloc(2 * pixels > 24 * tracks ? 2 * pixels : 24 * tracks)};
    SpNpzWriter *npz = NULL;
    free(page->archive);
    page->archive = NULL;
    FILE *stream = open_memstream(&page->archive, &page->size);
    SpStatus status = stream && work.values && work.rgb && work.plane && work.bytes
                          ? sp_npz_create(stream, "the page of the viewer", true, &npz)
                          : sp_no_memory("the page of the viewer");
    if (status.code == SP_OK)
        status = write_arrays(page, npz, stream, &work, sample);
    sp_npz_discard(npz);
    const size_t estimated = page->size;
    if (stream && fclose(stream) != 0 && status.code == SP_OK)
        status = sp_no_memory("the page of the viewer");
    if (sample)
        page->size = estimated;
    free(work.values);
    free(work.rgb);
    free(work.plane);
    free(work.bytes);
    return status;
}

static int64_t times(int64_t count, double factor)
{
    return sp_max(count + 1, (int64_t)fmin(ceil((double)count * factor), 0x1p53));
}

/* Chooses less, so that about `limit` bytes are enough: tracks, where they take more than their
 * share, else pixels, then frames. False: there is nothing left to leave out. */
static bool shrink(Page *page, size_t limit)
{
    const SpResult *r = page->result;
    const double share = (double)limit / (r->depth ? 2 : 1), fixed = (double)page->before_maps;
    const int64_t side = sp_max(page->h, page->w);
    if (page->frames == 1 && page->tracks <= 1 && side == 1)
        return false;
    if (fixed > share && page->tracks > LEAST_TRACKS) {
        choose(page, page->every, times(page->track_every, fixed / share), side);
        return true;
    }
    const double maps = ((double)page->size - fixed) / fmax((double)limit - fixed, 1);
    const int64_t smaller = (int64_t)((double)side * sqrt(0.97 / fmax(maps, 1)));
    if (r->depth && fixed <= share && (side > LEAST_SIDE || page->frames == 1))
        choose(page, page->every, page->track_every,
               sp_max(page->frames == 1 ? 1 : LEAST_SIDE, sp_min(smaller, side - 1)));
    else if (page->frames > 1)
        choose(page, times(page->every, fmax(maps, fixed / share)), page->track_every, side);
    else
        choose(page, page->every, times(page->track_every, 2), sp_max(side / 2, 1));
    return true;
}

/* The largest archive of at most `limit` bytes. */
static SpStatus fit(Page *page, size_t limit)
{
    choose(page, 1, 1, page->output->max_side);
    for (bool sample = page->frames > SAMPLED;;) {
        SP_TRY(pack(page, sample));
        const bool small = page->size <= limit;
        if (!sample && (small || !shrink(page, limit)))
            return sp_ok();
        sample = sample && !small && shrink(page, limit);
    }
}

/* The nearest depth above 0, and the step of points, from the scene's depth. */
static void measure(Page *page)
{
    const SpResult *r = page->result;
    const SpFramePlan *plan = &r->clip->plan;
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < r->clip->frames * r->tracks; i++)
        if (r->points[3 * i + 2] > 0 && isfinite(r->points[3 * i + 2])) {
            sum += (double)r->points[3 * i + 2];
            count++;
        }
    page->near = INFINITY;
    for (int64_t i = 0; r->depth && i < r->clip->frames * plan->height * plan->width; i++)
        if (r->depth[i] > 0)
            page->near = fmin(page->near, (double)r->depth[i]);
    page->near = isfinite(page->near) ? page->near : 1;
    page->unit = POINT_STEP * (count ? sum / (double)count : 1);
}

/* base64 (RFC 4648), a line at a time. */
static void print_base64(FILE *stream, const char *archive, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *data = (const unsigned char *)archive;
    char line[BASE64_LINE];
    size_t used = 0;
    for (size_t i = 0; i < size; i += 3) {
        const unsigned left = size - i < 3 ? (unsigned)(size - i) : 3;
        const unsigned bits = (unsigned)data[i] << 16 |
                              (left > 1 ? (unsigned)data[i + 1] << 8 : 0) |
                              (left > 2 ? data[i + 2] : 0);
        for (unsigned j = 0; j < 4; j++)
            line[used++] = j <= left ? digits[bits >> (18 - 6 * j) & 63] : '=';
        if (used == sizeof line || i + 3 >= size) {
            fwrite(line, 1, used, stream);
            fputc('\n', stream);
            used = 0;
        }
    }
}

static void print_page(FILE *stream, const void *what)
{
    const Page *page = what;
    size_t size;
    const char *text = sp_viewer_page(&size);
    fwrite(text, 1, size, stream);
    print_base64(stream, page->archive, page->size);
    fputs(SP_VIEWER_END, stream);
}

static SpStatus write_viewer(const SpAtomicFile *file, const SpOutput *output)
{
    Page page = {.output = output, .result = output->result};
    size_t size;
    sp_viewer_page(&size);
    /* Four digits for three bytes, and the ends of lines. */
    const double left = (output->viewer_size * 1e6 - (double)size - 64) * 0.75 * (1 - 1e-3);
    measure(&page);
    SpStatus status = fit(&page, (size_t)fmax(left, 0));
    if (status.code == SP_OK)
        status = sp_text_print(file->stream, file->label, print_page, &page);
    free(page.archive);
    return status;
}

static bool is_own(const char *path)
{
    return sp_text_begins(path, SP_VIEWER_BEGINNING);
}

const SpFormat sp_format_viewer = {.product = SP_PRODUCT_VIEWER,
                                   .ending = ".html",
                                   .what = "a page that shows the result in 3D",
                                   .unused = SP_PART_PIXELS,
                                   .optional = SP_PART_DEPTH | SP_PART_FRAMES,
                                   .is_own = is_own,
                                   .write = write_viewer};
