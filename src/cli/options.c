#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "cli/option_checks.h"
#include "output/formats.h"

enum { DEFAULT_SIDE = 336 };

typedef enum Kind { HEADING, FLAG, WHOLE, NUMBER, SIZE, TEXT, TEXTS, CHOICE, OUTPUT } Kind;

typedef struct Option {
    Kind kind;
    const char *name;  /* or the heading's text */
    const char *value; /* what --help calls it; of a CHOICE the words, "crop|fit" */
    const char *help;
    size_t field;        /* in SpOptions */
    bool affects_result; /* and so is written into it */
    bool runs;           /* says how a video is read or computed: not of a finished result */
    bool if_given;       /* but only where it is given */
    bool compares;       /* goes with --compare */
    char letter;
    double min, max, default_value;
    SpProduct product; /* of an OUTPUT: --help lists its formats */
} Option;

#define TOP(member)     .field = offsetof(SpOptions, member)
#define JOB(member)     TOP(job.member)
#define RUN(member)     JOB(member), .runs = true
#define KEPT(member)    JOB(member), .affects_result = true
#define SETTING(member) KEPT(member), .runs = true

static const Option options[] = {
    {.kind = HEADING, .name = "Input"},
    {NUMBER, "start", "SEC", "begin SEC seconds into the video (0)", SETTING(start), .max = 1e9},
    {WHOLE, "stride", "N", "use every Nth frame from there (1)", KEPT(stride), .min = 1, .max = 1e9,
     .default_value = 1},
    {WHOLE, "max-frames", "N", "use at most N frames; 0: all (80; 300 online)", SETTING(max_frames),
     .max = 1e6, .default_value = -1},
    {WHOLE, "stream", "N", "read stream N of the file, from 0 (the largest video)", KEPT(stream),
     .max = 1e6, .default_value = -1},
    {CHOICE, "portrait", "crop|fit",
     "frames taller than wide: crop to a square, or fit whole (crop)", SETTING(portrait)},
    {WHOLE, "max-input-side", "N", "first scale frames down to a shorter side of N pixels (off)",
     SETTING(max_input_side), .min = 14, .max = 1e6},
    {TEXT, "geometry", "FILE.npz",
     "take depths, intrinsics, extrinsics from FILE; skip the front end", SETTING(geometry)},
    {NUMBER, "fov", "DEGREES", "the camera sees DEGREES from left to right (the front's guess)",
     SETTING(fov), .min = 1, .max = 170},
    {NUMBER, "focal", "PIXELS", "its focal length in pixels of the video (the front's guess)",
     SETTING(focal), .min = 1, .max = 1e6},
    {NUMBER, "scale-to", "VALUE", "unit of length: the first frame's median depth becomes VALUE",
     SETTING(scale_to), .min = 1e-6, .max = 1e6},
    {NUMBER, "scale-by", "FACTOR", "unit of length: every length is multiplied by FACTOR (1)",
     SETTING(scale_by), .min = 1e-6, .max = 1e6},
    {TEXT, "list", "FILE", "more videos, one video[<TAB>output] a line; -: standard input",
     JOB(list)},
    {FLAG, "null", NULL, "the entries of --list end in NULs, not in newlines", JOB(null),
     .letter = '0'},
    {TEXT, "shard", "I/N", "of the videos, the part I of N, by a hash of their paths", TOP(shard)},
    {.kind = HEADING, .name = "Queries"},
    {WHOLE, "grid", "N", "track N x N points on the first frame (10; 50 within a mask)",
     SETTING(grid), .min = 1, .max = 1000},
    {WHOLE, "grid-every", "N", "online: every N frames, new points where none is tracked any more",
     SETTING(grid_every), .if_given = true, .min = 1, .max = 1e6},
    {TEXT, "queries", "FILE.csv",
     "track the points in FILE, one t,x,y per line: used frame, pixels", SETTING(queries)},
    {TEXT, "mask", "FILE.png", "keep only the grid points where FILE is not black", SETTING(mask)},
    {TEXTS, "point", "X,Y[,-]",
     "track the object at X,Y; X,Y,- is not part of it (repeat; NAME=X,Y)", TOP(points),
     .affects_result = true, .runs = true},
    {TEXTS, "box", "X0,Y0,X1,Y1", "track the object in this box (NAME=X0,Y0,X1,Y1)", TOP(boxes),
     .affects_result = true, .runs = true},
    {WHOLE, "prompt-frame", "N", "used frame that points and boxes refer to (0)",
     SETTING(prompt_frame), .max = 1e6},
    {CHOICE, "sam", "auto|base|large|huge|lite",
     "which SAM finds the object (auto: the largest that fits)", SETTING(sam)},
    {CHOICE, "mask-select", "first|best",
     "of SAM's three masks, the first or the best rated (first)", SETTING(mask_select)},
    {OUTPUT, "mask-out", "FILE.png", "write the mask that SAM found", RUN(mask_out),
     .product = SP_PRODUCT_MASK},
    {.kind = HEADING, .name = "Tracking"},
    {CHOICE, "mode", "offline|online", "online: in windows of 20 frames, for long clips (offline)",
     SETTING(mode)},
    {WHOLE, "front-chunk", "N",
     "depth and cameras of N frames at a time (60 in long clips; 0: all)", SETTING(front_chunk),
     .if_given = true, .max = 1e6, .default_value = -1},
    {WHOLE, "front-overlap", "N", "frames that such a chunk shares with the next (half of them)",
     SETTING(front_overlap), .if_given = true, .min = 1, .max = 1e6},
    {WHOLE, "vo-points", "N", "support points for estimating the cameras (from the weights: 756)",
     SETTING(vo_points), .max = 30000, .default_value = -1},
    {WHOLE, "iters", "N", "refinement steps (from the weights: 4)", SETTING(iterations), .min = 1,
     .max = 64, .default_value = -1},
    {WHOLE, "seed", "N", "seed for the random choice of support points (0)", SETTING(seed),
     .max = 1e15},
    {CHOICE, "refine", "auto|on|off",
     "refine points on the video's pixels (auto: with built-in weights)", SETTING(refine)},
    {FLAG, "fixed-camera", NULL, "keep the cameras as they are, without refinement",
     SETTING(fixed_camera)},
    {.kind = HEADING, .name = "Output"},
    {OUTPUT, "output", "FILE", "the result; FOLDER/: in it, named as the video; -: standard output",
     JOB(output), .letter = 'o', .product = SP_PRODUCT_RESULT},
    {CHOICE, "format", "auto|npz|csv", "of a result on standard output, -o - (npz)", JOB(format)},
    {TEXT, "omit", "NAMES", "leave arrays out of the .npz, such as video,depths", JOB(omit)},
    {WHOLE, "max-side", "N", "longer side of the saved depth and video, in pixels (336)",
     KEPT(max_side), .min = 1, .max = 16384, .default_value = -1},
    {FLAG, "no-compress", NULL, "store the arrays uncompressed", JOB(no_compress)},
    {OUTPUT, "overlay", "FILE", "draw the tracks", JOB(overlay), .product = SP_PRODUCT_OVERLAY},
    {WHOLE, "trail", "N", "how many frames a track's trail reaches back (10)", JOB(trail),
     .max = 1e6, .default_value = 10},
    {CHOICE, "background", "plain|dim|gray", "how to show the video under the tracks (plain)",
     JOB(background)},
    {TEXT, "video", "FILE", "of a finished result: its video, for --overlay and --colmap",
     JOB(original)},
    {CHOICE, "stop-after", "never|front|sam",
     "front: depth and cameras only; sam: --mask-out only (never)", SETTING(stop_after)},
    {FLAG, "no-clobber", NULL, "refuse to replace an existing output", JOB(no_clobber),
     .letter = 'n'},
    {FLAG, "skip-done", NULL, "leave a result alone that was made from this input with these flags",
     JOB(skip_done)},
    {FLAG, "fail-fast", NULL, "of several videos, stop at the first that fails", JOB(fail_fast)},
    {OUTPUT, "usd", "FILE.usda", "the camera and the tracks as a scene for Blender, Nuke, Maya",
     JOB(usd), .product = SP_PRODUCT_SCENE},
    {FLAG, "usd-cloud", NULL, "with --usd: the first frame's depth in it, too", JOB(usd_cloud)},
    {OUTPUT, "cameras", "FILE", "the cameras", JOB(cameras), .product = SP_PRODUCT_CAMERAS},
    {OUTPUT, "ply", "FILE.ply", "a cloud in the world, with the tracks", JOB(ply),
     .product = SP_PRODUCT_CLOUD},
    {OUTPUT, "colmap", "DIR", "a model of COLMAP with the frames, for nerfstudio and gsplat, too",
     JOB(colmap), .product = SP_PRODUCT_MODEL},
    {OUTPUT, "depth", "DIR", "the depth of every frame as an image", JOB(depth),
     .product = SP_PRODUCT_DEPTH},
    {CHOICE, "depth-format", "exr|png", "of those images (exr)", JOB(depth_format)},
    {OUTPUT, "viewer", "FILE.html", "the result in 3D, as a page for a browser", JOB(viewer),
     .product = SP_PRODUCT_VIEWER},
    {NUMBER, "viewer-size", "MB", "how large that page may become (8)", JOB(viewer_size),
     .min = 0.25, .max = 1000, .default_value = 8},
    {OUTPUT, "report", "FILE.json", "what the run did", JOB(report), .product = SP_PRODUCT_REPORT},
    {TEXT, "dump", "DIR", "write the intermediate tensors of the models to DIR, as safetensors",
     RUN(dump)},
    {.kind = HEADING, .name = "Comparing"},
    {TEXT, "compare", "FILE.npz", "compare this result, as expected, to the one given as VIDEO",
     TOP(expected), .compares = true},
    {NUMBER, "tolerance-px", "PIXELS",
     "how far tracks may be apart in 95 % of the places; 0: identical (1)", TOP(tolerance.pixels),
     .max = 1e9, .default_value = -1, .compares = true},
    {NUMBER, "tolerance-rel", "SHARE",
     "how far points, depth, cameras may be apart, of the depth (0.01)", TOP(tolerance.relative),
     .max = 1e9, .default_value = -1, .compares = true},
    {.kind = HEADING, .name = "Running"},
    {TEXT, "weights", "DIR", "take the models from DIR/front and DIR/offline or DIR/online",
     RUN(weights)},
    {CHOICE, "device", "auto|cpu|cuda", "where to compute (auto)", RUN(device)},
    {CHOICE, "precision", "auto|f32|bf16",
     "number formats (auto: bf16 and TF32 on a GPU, else f32)", SETTING(precision)},
    {SIZE, "vram-budget", "SIZE", "limit on device memory, such as 4G or 900M (what is free)",
     RUN(vram_budget), .min = 1, .max = 1e15},
    {CHOICE, "weight-mode", "auto|in-place|resident|streamed",
     "how weights reach the device (auto: fastest)", RUN(weight_mode)},
    {TEXT, "sleep-after", "WHEN",
     "when models leave the device: stage, video, never, SECONDS (stage)", TOP(sleep_after),
     .runs = true},
    {WHOLE, "sleep-level", "1|2", "2: sleeping also unmaps their files and closes the device (1)",
     RUN(sleep_level), .min = 1, .max = 2, .default_value = 1},
    {FLAG, "plan", NULL, "print the memory and time it would take and what fits; run nothing",
     JOB(plan)},
    {FLAG, "json", NULL, "with --plan, --info and --compare: as JSON", JOB(json), .compares = true},
    {WHOLE, "jobs", "N", "do N videos side by side (CPU: one for each thread; GPU: 1)", JOB(jobs),
     .min = 1, .max = 1024},
    {WHOLE, "threads", "N", "CPU threads (one per processor)", RUN(threads), .min = 1, .max = 1024},
    {FLAG, "quiet", NULL, "print only warnings and errors", TOP(quiet), .letter = 'q',
     .compares = true},
    {FLAG, "verbose", NULL, "print how long each stage took", TOP(verbose), .letter = 'v',
     .compares = true},
    {CHOICE, "progress", "bar|json", "json: a line of JSON for each event on standard error (bar)",
     TOP(progress), .compares = true},
    {FLAG, "prepare", NULL, "make compact copies of the published weights for GPUs, and exit",
     TOP(prepare)},
    {FLAG, "info", NULL, "print the devices and the weights found, and exit", TOP(info)},
    {CHOICE, "completions", "bash|zsh|fish", "print completions for a shell, and exit",
     TOP(completions), .default_value = -1},
    {FLAG, "version", NULL, "print the versions of the program and its libraries, and exit",
     TOP(version)},
    {FLAG, "help", NULL, "print this help and exit", TOP(help), .letter = 'h'},
};

enum { OPTIONS = sizeof options / sizeof *options };

static void set_number(SpOptions *out, const Option *option, double value)
{
    void *field = (char *)out + option->field;
    if (option->kind == NUMBER)
        *(double *)field = value;
    else if (option->kind == WHOLE || option->kind == SIZE)
        *(int64_t *)field = (int64_t)value;
    else if (option->kind == CHOICE)
        *(int *)field = (int)value;
}

/* The flag that "--name", "--name=value", "-n" or "-nvalue" names; *value: what it holds, or NULL.
 */
static const Option *find(const char *argument, const char **value)
{
    const bool named = argument[1] == '-';
    const char *name = argument + 2;
    const size_t length = named ? strcspn(name, "=") : 0;
    *value = name[length] ? name + length + named : NULL;
    for (const Option *o = options; o < options + OPTIONS; o++)
        if (named ? o->kind != HEADING && strlen(o->name) == length &&
                        strncmp(o->name, name, length) == 0
                  : o->letter == argument[1])
            return o;
    return NULL;
}

static SpStatus read_number(const Option *option, const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    const bool whole = option->kind != WHOLE || rint(*value) == *value;
    if (end == text || *end || errno || !whole || !(*value >= option->min) ||
        !(*value <= option->max))
        return sp_error(SP_USAGE, "--%s takes a %snumber from %.15g to %.15g, not \"%.80s\"",
                        option->name, option->kind == WHOLE ? "whole " : "", option->min,
                        option->max, text);
    return sp_ok();
}

/* "900M": a number of bytes, or of K, M, G, T, each 1024 of the one before. */
static SpStatus read_size(const Option *option, const char *text, double *value)
{
    static const char units[] = "KMGT";
    char *end;
    *value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (end != text && unit)
        *value *= pow(1024, (double)(unit - units + 1));
    if (end == text || (*end && (!unit || end[1])) || !(*value >= option->min) ||
        !(*value <= option->max))
        return sp_error(SP_USAGE, "--%s takes bytes like 4G or 900M, not \"%.80s\"", option->name,
                        text);
    return sp_ok();
}

/* The place of `text` among the words of "a|b". */
static SpStatus read_choice(const Option *option, const char *text, double *value)
{
    const size_t length = strlen(text);
    const char *word = option->value;
    *value = 0;
    for (int place = 0; word; place++) {
        *value = place;
        if (strcspn(word, "|") == length && strncmp(word, text, length) == 0)
            return sp_ok();
        word = strchr(word, '|');
        word = word ? word + 1 : NULL;
    }
    return sp_error(SP_USAGE, "--%s takes %s, not \"%.80s\"", option->name, option->value, text);
}

static SpStatus set_value(const Option *option, const char *text, SpOptions *out)
{
    void *field = (char *)out + option->field;
    double value;
    if (option->kind == TEXT || option->kind == OUTPUT) {
        if (!*text)
            return sp_error(SP_USAGE, "--%s takes %s, not an empty name", option->name,
                            option->value);
        *(const char **)field = text;
        return sp_ok();
    }
    if (option->kind == TEXTS) {
        SpTexts *texts = field;
        if (texts->count == SP_MAX_TEXTS)
            return sp_error(SP_USAGE, "--%s can be given at most %d times", option->name,
                            SP_MAX_TEXTS);
        texts->item[texts->count++] = text;
        return sp_ok();
    }
    SP_TRY(option->kind == CHOICE ? read_choice(option, text, &value)
           : option->kind == SIZE ? read_size(option, text, &value)
                                  : read_number(option, text, &value));
    set_number(out, option, value);
    return sp_ok();
}

/* How many letters must be added, left out or replaced to make one text of the other. */
static size_t edit_distance(const char *one, size_t length, const char *other)
{
    size_t row[32];
    const size_t width = strlen(other);
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 0; i < length; i++) {
        size_t corner = row[0]++;
        for (size_t j = 0; j < width; j++) {
            const size_t replaced = corner + (one[i] != other[j]);
            corner = row[j + 1];
            const size_t shorter = (row[j] < corner ? row[j] : corner) + 1;
            row[j + 1] = shorter < replaced ? shorter : replaced;
        }
    }
    return row[width];
}

/* The flag that begins as what was written, or else the one nearest to it, if any is near. */
static const Option *nearest(const char *argument)
{
    const char *name = argument + strspn(argument, "-");
    const size_t length = strcspn(name, "=");
    const Option *best = NULL;
    size_t least = length > 3 ? length / 2 : 1;
    for (const Option *o = options; o < options + OPTIONS && length > 1; o++) {
        if (o->kind == HEADING)
            continue;
        const bool begins = strncmp(o->name, name, length) == 0;
        const size_t distance = begins ? 0 : edit_distance(name, length, o->name);
        if (distance < least || (!best && distance == least)) {
            best = o;
            least = distance;
        }
    }
    return best;
}

static SpStatus unknown_flag(const char *argument)
{
    const Option *meant = nearest(argument);
    return meant
               ? sp_error(SP_USAGE, "there is no flag %.80s; did you mean --%s?", argument,
                          meant->name)
               : sp_error(SP_USAGE, "there is no flag %.80s; spatrack --help lists them", argument);
}

/* One argument that is a flag; *i moves over a value of its own. */
static SpStatus read_flag(int argc, char **argv, int *i, SpOptions *out)
{
    const char *argument = argv[*i], *value;
    const Option *option = find(argument, &value);
    if (!option || (argument[1] != '-' && option->kind == FLAG && value))
        return unknown_flag(argument);
    if (!option->compares && !out->not_compared)
        out->not_compared = option->name;
    if (option->runs && !out->runs)
        out->runs = option->name;
    if (option->kind == FLAG) {
        if (value)
            return sp_error(SP_USAGE, "--%s takes no value", option->name);
        *(bool *)((char *)out + option->field) = true;
        return sp_ok();
    }
    if (!value) {
        if (*i + 1 >= argc)
            return sp_error(SP_USAGE, "--%s needs a value: %s", option->name, option->value);
        value = argv[++*i];
    }
    return set_value(option, value, out);
}

/* "2/8" */
static SpStatus read_shard(const char *text, SpJob *job)
{
    long long shard, shards;
    int length = 0;
    if (!text)
        return sp_ok();
    if (sscanf(text, "%lld/%lld%n", &shard, &shards, &length) != 2 || text[length] || shard < 1 ||
        shards < shard || shards > 1000000)
        return sp_error(SP_USAGE,
                        "--shard takes I/N with I from 1 to N, such as 2/8, not \"%.80s\"", text);
    job->shard = shard;
    job->shards = shards;
    return sp_ok();
}

static SpStatus read_sleep(const char *text, SpJob *job)
{
    static const char *const words[] = {"stage", "video", "never"};
    char *end;
    for (int i = 0; i < 3; i++)
        if (!text || strcmp(text, words[i]) == 0) {
            job->sleep_after = (SpSleep)i;
            return sp_ok();
        }
    job->sleep_after = SP_SLEEP_SECONDS;
    job->sleep_seconds = strtod(text, &end);
    if (end == text || *end || !(job->sleep_seconds >= 0) || !(job->sleep_seconds <= 1e9))
        return sp_error(SP_USAGE,
                        "--sleep-after takes stage, video, never or seconds, not \"%.80s\"", text);
    return sp_ok();
}

static cJSON *json_of(const SpOptions *in, const Option *option)
{
    const void *field = (const char *)in + option->field;
    switch (option->kind) {
    case FLAG:
        return cJSON_CreateBool(*(const bool *)field);
    case SIZE:
    case WHOLE: /* below the minimum: not given, chosen by the run */
        return (double)*(const int64_t *)field < option->min
                   ? cJSON_CreateNull()
                   : cJSON_CreateNumber((double)*(const int64_t *)field);
    case NUMBER:
        return *(const double *)field < option->min ? cJSON_CreateNull()
                                                    : cJSON_CreateNumber(*(const double *)field);
    case TEXT:
    case OUTPUT:
        return *(const char *const *)field ? cJSON_CreateString(*(const char *const *)field)
                                           : cJSON_CreateNull();
    case TEXTS: {
        const SpTexts *texts = field;
        return cJSON_CreateStringArray(texts->item, (int)texts->count);
    }
    default: {
        const char *word = option->value;
        char text[20];
        for (int i = *(const int *)field; i > 0; i--)
            word = strchr(word, '|') + 1;
        snprintf(text, sizeof text, "%.*s", (int)strcspn(word, "|"), word);
        return cJSON_CreateString(text);
    }
    }
}

/* The settings that affect the result as a JSON object; malloc'ed, NULL when memory is short. */
static char *make_settings(const SpOptions *in)
{
    cJSON *settings = cJSON_CreateObject();
    bool whole = settings != NULL;
    for (int i = 0; i < OPTIONS && whole; i++)
        if (options[i].affects_result) {
            cJSON *item = json_of(in, options + i);
            if (options[i].if_given && cJSON_IsNull(item)) {
                cJSON_Delete(item);
                continue;
            }
            whole = item && cJSON_AddItemToObject(settings, options[i].name, item);
            if (!whole)
                cJSON_Delete(item);
        }
    char *text = whole ? cJSON_PrintUnformatted(settings) : NULL;
    cJSON_Delete(settings);
    return text;
}

/* Puts the videos of folders in their place. */
static SpStatus expand_folders(SpOptions *out)
{
    bool folders = false, folder;
    for (int i = 0; i < out->videos; i++) {
        SP_TRY(sp_names_add_videos(&out->names, out->video[i], &folder));
        folders |= folder;
    }
    out->job.several = folders || out->videos > 1 || out->job.list;
    const char **video = malloc((size_t)(out->names.count + 1) * sizeof *video);
    if (!video)
        return sp_no_memory("the names");
    free(out->video);
    out->video = video;
    out->videos = out->names.count;
    for (int i = 0; i < out->videos; i++)
        out->video[i] = out->names.name[i];
    return sp_ok();
}

SpStatus sp_options_parse(int argc, char **argv, SpOptions *out)
{
    SpJob *job = &out->job;
    bool only_names = false;
    *out = (SpOptions){0};
    for (int i = 0; i < OPTIONS; i++)
        set_number(out, options + i, options[i].default_value);
    out->video = malloc((size_t)(argc + 1) * sizeof *out->video);
    if (!out->video)
        return sp_no_memory("the names");
    for (int i = 1; i < argc; i++) {
        if (!only_names && strcmp(argv[i], "--") == 0)
            only_names = true;
        else if (!only_names && argv[i][0] == '-' && argv[i][1])
            SP_TRY(read_flag(argc, argv, &i, out));
        else
            out->video[out->videos++] = argv[i];
    }
    SP_TRY(expand_folders(out));
    SP_TRY(read_shard(out->shard, job));
    if (job->max_frames < 0)
        job->max_frames = sp_job_default_frames(job);
    job->result_max_side = job->max_side < 0 ? INT32_MAX : job->max_side;
    job->max_side = job->max_side < 0 ? DEFAULT_SIDE : job->max_side;
    SP_TRY(read_sleep(out->sleep_after, job));
    if (out->help || out->version || out->info || out->prepare || out->completions >= 0)
        return sp_ok();
    SP_TRY(sp_prompts_parse(&out->points, &out->boxes, &out->prompts));
    job->prompts = &out->prompts;
    SP_TRY(sp_options_check(out));
    job->settings = out->settings = make_settings(out);
    return out->settings ? sp_ok() : sp_no_memory("the settings");
}

void sp_options_free(SpOptions *out)
{
    free(out->video);
    sp_names_free(&out->names);
    free(out->settings);
}

void sp_options_help(FILE *stream)
{
    fputs(
        "usage: spatrack [FLAGS] VIDEO...\n"
        "       spatrack [FLAGS] RESULT.npz...\n"
        "       spatrack --compare EXPECTED.npz ACTUAL.npz\n\n"
        "Turns videos into 3D point tracks, depth and camera poses.\n"
        "VIDEO: a file, a folder of videos or images, a printf pattern of images, - for standard "
        "input.\n"
        "RESULT.npz: a finished result, from which other files are written; nothing is computed.\n",
        stream);
    for (const Option *o = options; o < options + OPTIONS; o++) {
        char left[64];
        if (o->kind == HEADING) {
            fprintf(stream, "\n%s:\n", o->name);
            continue;
        }
        const char letter[5] = {o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
                                o->letter ? ',' : ' ', ' ', 0};
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        fprintf(stream, "  %-30s %s\n", left, o->help);
        const bool several = o->kind == OUTPUT && sp_format_at(o->product, 1);
        const SpFormat *format;
        for (int i = 0; several && (format = sp_format_at(o->product, i)); i++)
            fprintf(stream, "  %-30s   %s: %s\n", "", format->ending, format->what);
    }
    fputs("\nExit status: 0 done, 1 --compare: they differ, or of several videos some failed, 2 "
          "usage,\n"
          "3 input, 4 weights, 5 memory, 6 device, 7 output, 130 interrupted. See spatrack(1).\n",
          stream);
}

bool sp_options_flag(int i, SpFlag *flag)
{
    for (const Option *o = options; o < options + OPTIONS; o++)
        if (o->kind != HEADING && i-- == 0) {
            *flag = (SpFlag){.name = o->name,
                             .letter = o->letter,
                             .value = o->kind == FLAG ? NULL : o->value,
                             .help = o->help,
                             .repeats = o->kind == TEXTS};
            return true;
        }
    return false;
}
