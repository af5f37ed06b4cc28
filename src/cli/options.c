#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "input/prompts.h"

enum { MOST_FRAMES = 80, MOST_FRAMES_ONLINE = 300 };

typedef enum Kind { HEADING, FLAG, WHOLE, NUMBER, SIZE, TEXT, TEXTS, CHOICE } Kind;

typedef struct Option {
    Kind kind;
    const char *name; /* or the heading's text */
    char letter;
    const char *value; /* what --help calls it; of a CHOICE the words, "crop|fit" */
    const char *help;
    size_t field; /* in SpOptions */
    double least, most, otherwise;
    bool shapes; /* whether it shapes the result, and so is written into it */
} Option;

#define JOB(member) offsetof(SpOptions, job.member)
#define TOP(member) offsetof(SpOptions, member)

static const Option options[] = {
    {HEADING, "Input", 0, NULL, NULL, 0, 0, 0, 0, false},
    {NUMBER, "start", 0, "SEC", "begin SEC seconds into the video (0)", JOB(start), 0, 1e9, 0,
     true},
    {WHOLE, "stride", 0, "N", "use every Nth frame from there (1)", JOB(stride), 1, 1e9, 1, true},
    {WHOLE, "max-frames", 0, "N", "use at most N frames (80; 300 online)", JOB(max_frames), 1, 1e6,
     -1, true},
    {CHOICE, "portrait", 0, "crop|fit",
     "frames taller than wide: crop to a square, or fit whole (crop)", JOB(portrait), 0, 1, 0,
     true},
    {WHOLE, "max-input-side", 0, "N", "first scale frames down to a shorter side of N pixels (off)",
     JOB(max_input_side), 14, 1e6, 0, true},
    {TEXT, "geometry", 0, "FILE.npz",
     "take depths, intrinsics, extrinsics from FILE; skip the front end", JOB(geometry), 0, 0, 0,
     true},
    {HEADING, "Queries", 0, NULL, NULL, 0, 0, 0, 0, false},
    {WHOLE, "grid", 0, "N", "track N x N points on the first frame (10; 50 within a mask)",
     JOB(grid), 1, 1000, 0, true},
    {TEXT, "queries", 0, "FILE.csv",
     "track the points in FILE, one t,x,y per line: used frame, pixels", JOB(queries), 0, 0, 0,
     true},
    {TEXT, "mask", 0, "FILE.png", "keep only the grid points where FILE is not black", JOB(mask), 0,
     0, 0, true},
    {TEXTS, "point", 0, "X,Y[,-]",
     "track the object at X,Y; X,Y,- is not part of it (repeat; NAME=X,Y)", JOB(points), 0, 0, 0,
     true},
    {TEXTS, "box", 0, "X0,Y0,X1,Y1", "track the object in this box (NAME=X0,Y0,X1,Y1)", JOB(boxes),
     0, 0, 0, true},
    {WHOLE, "prompt-frame", 0, "N", "used frame that points and boxes refer to (0)",
     JOB(prompt_frame), 0, 1e6, 0, true},
    {CHOICE, "sam", 0, "auto|base|large|huge|lite",
     "which SAM finds the object (auto: the largest that fits)", JOB(sam), 0, 4, 0, true},
    {CHOICE, "mask-select", 0, "first|best",
     "of SAM's three masks, the first or the best rated (first)", JOB(mask_select), 0, 1, 0, true},
    {TEXT, "mask-out", 0, "FILE.png", "write the mask that SAM found", JOB(mask_out), 0, 0, 0,
     false},
    {HEADING, "Tracking", 0, NULL, NULL, 0, 0, 0, 0, false},
    {CHOICE, "mode", 0, "offline|online",
     "online: in windows of 20 frames, for long clips (offline)", JOB(mode), 0, 1, 0, true},
    {WHOLE, "vo-points", 0, "N",
     "support points for estimating the cameras (from the weights: 756)", JOB(vo_points), 0, 30000,
     -1, true},
    {WHOLE, "iters", 0, "N", "refinement steps (4)", JOB(iterations), 1, 64, 4, true},
    {WHOLE, "seed", 0, "N", "seed for the random choice of support points (0)", JOB(seed), 0, 1e15,
     0, true},
    {FLAG, "fixed-camera", 0, NULL, "keep the cameras as they are, without refinement",
     JOB(fixed_camera), 0, 0, 0, true},
    {HEADING, "Output", 0, NULL, NULL, 0, 0, 0, 0, false},
    {TEXT, "output", 'o', "FILE", "result: .npz, .csv or FOLDER/ (the video's name with .npz)",
     JOB(output), 0, 0, 0, false},
    {WHOLE, "max-side", 0, "N", "longer side of the saved depth and video, in pixels (336)",
     JOB(max_side), 1, 16384, 336, true},
    {FLAG, "no-compress", 0, NULL, "store the arrays uncompressed", JOB(no_compress), 0, 0, 0,
     false},
    {TEXT, "overlay", 0, "FILE", "draw the tracks: on the video (.mp4), on a contact sheet (.png)",
     JOB(overlay), 0, 0, 0, false},
    {WHOLE, "trail", 0, "N", "how many frames a track's trail reaches back (10)", JOB(trail), 0,
     1e6, 10, false},
    {CHOICE, "background", 0, "plain|dim|gray", "how to show the video under the tracks (plain)",
     JOB(background), 0, 2, 0, false},
    {CHOICE, "stop-after", 0, "never|front|sam",
     "front: depth and cameras only; sam: --mask-out only (never)", JOB(stop_after), 0, 2, 0, true},
    {FLAG, "no-clobber", 'n', NULL, "refuse to replace an existing result or overlay",
     JOB(no_clobber), 0, 0, 0, false},
    {TEXT, "report", 0, "FILE.json", "write times, memory and settings to FILE", JOB(report), 0, 0,
     0, false},
    {HEADING, "Running", 0, NULL, NULL, 0, 0, 0, 0, false},
    {TEXT, "weights", 0, "DIR", "take the models from DIR/front and DIR/offline or DIR/online",
     JOB(weights), 0, 0, 0, false},
    {CHOICE, "device", 0, "auto|cpu|cuda", "where to compute (auto)", JOB(device), 0, 2, 0, false},
    {CHOICE, "precision", 0, "auto|f32|bf16", "number formats on a GPU (auto: bf16 and TF32)",
     JOB(precision), 0, 2, 0, true},
    {SIZE, "vram-budget", 0, "SIZE", "limit on device memory, such as 4G or 900M (what is free)",
     JOB(vram_budget), 1, 1e15, 0, false},
    {CHOICE, "weight-mode", 0, "auto|in-place|resident|streamed",
     "how weights reach the device (auto: fastest)", JOB(weight_mode), 0, 3, 0, false},
    {TEXT, "sleep-after", 0, "WHEN",
     "when models leave the device: stage, video, never, SECONDS (stage)", JOB(sleep), 0, 0, 0,
     false},
    {WHOLE, "sleep-level", 0, "1|2",
     "2: sleeping also unmaps their files and closes the device (1)", JOB(sleep_level), 1, 2, 1,
     false},
    {FLAG, "plan", 0, NULL, "print the memory and time it would take and what fits; run nothing",
     JOB(plan), 0, 0, 0, false},
    {WHOLE, "threads", 0, "N", "CPU threads (one per processor)", JOB(threads), 1, 1024, 0, false},
    {FLAG, "quiet", 'q', NULL, "print only warnings and errors", TOP(quiet), 0, 0, 0, false},
    {FLAG, "verbose", 'v', NULL, "print how long each stage took", TOP(verbose), 0, 0, 0, false},
    {FLAG, "prepare", 0, NULL, "make compact copies of the published weights for GPUs, and exit",
     TOP(prepare), 0, 0, 0, false},
    {FLAG, "info", 0, NULL, "print the devices and the weights found, and exit", TOP(info), 0, 0, 0,
     false},
    {FLAG, "version", 0, NULL, "print the versions of the program and its libraries, and exit",
     TOP(version), 0, 0, 0, false},
    {FLAG, "help", 'h', NULL, "print this help and exit", TOP(help), 0, 0, 0, false},
};

enum { OPTIONS = sizeof options / sizeof *options };

static void *field_of(SpOptions *out, const Option *option)
{
    return (char *)out + option->field;
}

static void set_number(SpOptions *out, const Option *option, double value)
{
    if (option->kind == NUMBER)
        *(double *)field_of(out, option) = value;
    else if (option->kind == WHOLE || option->kind == SIZE)
        *(int64_t *)field_of(out, option) = (int64_t)value;
    else if (option->kind == CHOICE)
        *(int *)field_of(out, option) = (int)value;
}

static const Option *find(const char *name, size_t length)
{
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].kind != HEADING && strlen(options[i].name) == length &&
            strncmp(options[i].name, name, length) == 0)
            return options + i;
    return NULL;
}

static const Option *find_letter(char letter)
{
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].letter == letter && letter)
            return options + i;
    return NULL;
}

static SpStatus read_number(const Option *option, const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    const bool whole = option->kind != WHOLE || rint(*value) == *value;
    if (end == text || *end || errno || !whole || !(*value >= option->least) ||
        !(*value <= option->most))
        return sp_error(SP_USAGE, "--%s takes a %snumber from %.15g to %.15g, not \"%.80s\"",
                        option->name, option->kind == WHOLE ? "whole " : "", option->least,
                        option->most, text);
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
    if (end == text || (*end && (!unit || end[1])) || !(*value >= option->least) ||
        !(*value <= option->most))
        return sp_error(SP_USAGE, "--%s takes bytes like 4G or 900M, not \"%.80s\"", option->name,
                        text);
    return sp_ok();
}

/* The place of `text` among the words of "a|b". */
static SpStatus read_choice(const Option *option, const char *text, double *value)
{
    const size_t length = strlen(text);
    const char *word = option->value;
    for (*value = 0; word; *value += 1) {
        if (strcspn(word, "|") == length && strncmp(word, text, length) == 0)
            return sp_ok();
        word = strchr(word, '|');
        word = word ? word + 1 : NULL;
    }
    return sp_error(SP_USAGE, "--%s takes %s, not \"%.80s\"", option->name, option->value, text);
}

static SpStatus add_text(const Option *option, const char *text, SpTexts *texts)
{
    if (texts->count == SP_MAX_TEXTS)
        return sp_error(SP_USAGE, "--%s can be given %d times", option->name, SP_MAX_TEXTS);
    texts->item[texts->count++] = text;
    return sp_ok();
}

static SpStatus take_value(const Option *option, const char *text, SpOptions *out)
{
    double value;
    if (option->kind == TEXT) {
        if (!*text)
            return sp_error(SP_USAGE, "--%s takes %s, not an empty name", option->name,
                            option->value);
        *(const char **)field_of(out, option) = text;
        return sp_ok();
    }
    if (option->kind == TEXTS)
        return add_text(option, text, field_of(out, option));
    SP_TRY(option->kind == CHOICE ? read_choice(option, text, &value)
           : option->kind == SIZE ? read_size(option, text, &value)
                                  : read_number(option, text, &value));
    set_number(out, option, value);
    return sp_ok();
}

/* One argument that is a flag; *i moves over a value of its own. */
static SpStatus take_flag(int argc, char **argv, int *i, SpOptions *out)
{
    const char *argument = argv[*i], *value = NULL;
    const Option *option;
    if (argument[1] == '-') {
        const size_t length = strcspn(argument + 2, "=");
        option = find(argument + 2, length);
        value = argument[2 + length] ? argument + 3 + length : NULL;
    } else {
        option = find_letter(argument[1]);
        value = argument[2] ? argument + 2 : NULL;
    }
    if (!option || (argument[1] != '-' && option->kind == FLAG && value))
        return sp_error(SP_USAGE, "there is no flag %.80s; spatrack --help lists them", argument);
    if (option->kind == FLAG) {
        if (value)
            return sp_error(SP_USAGE, "--%s takes no value", option->name);
        *(bool *)field_of(out, option) = true;
        return sp_ok();
    }
    if (!value) {
        if (*i + 1 >= argc)
            return sp_error(SP_USAGE, "--%s needs a value: %s", option->name, option->value);
        value = argv[++*i];
    }
    return take_value(option, value, out);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* What goes with points and boxes, and with a mask from them. */
static SpStatus check_prompts(const SpJob *job)
{
    static SpPrompts prompts;
    const bool any = job->points.count || job->boxes.count;
    SP_TRY(sp_prompts_parse(&job->points, &job->boxes, &prompts));
    if (any && (job->queries || job->mask))
        return sp_error(SP_USAGE, "--point and --box find what to track; leave out --%s",
                        job->queries ? "queries" : "mask");
    if (!any && (job->mask_out || job->prompt_frame || job->stop_after == SP_STOP_SAM))
        return sp_error(SP_USAGE, "%s needs a --point or a --box",
                        job->mask_out       ? "--mask-out"
                        : job->prompt_frame ? "--prompt-frame"
                                            : "--stop-after sam");
    if (any && job->stop_after == SP_STOP_FRONT)
        return sp_error(SP_USAGE, "--stop-after front tracks nothing; leave out --point and --box");
    if (job->stop_after == SP_STOP_SAM && (!job->mask_out || job->output))
        return sp_error(SP_USAGE, "--stop-after sam writes the mask alone: give --mask-out, no -o");
    if (job->mask_out && !ends_with(job->mask_out, ".png"))
        return sp_error(SP_USAGE, "%.200s: the mask's name must end in .png", job->mask_out);
    if (job->mask_out && (strcmp(job->mask_out, job->video) == 0 ||
                          (job->report && strcmp(job->mask_out, job->report) == 0) ||
                          (job->overlay && strcmp(job->mask_out, job->overlay) == 0)))
        return sp_error(SP_USAGE, "--mask-out would replace %.300s; name another file",
                        job->mask_out);
    return sp_ok();
}

static SpStatus check(const SpOptions *out)
{
    const SpJob *job = &out->job;
    if (!job->video)
        return sp_error(SP_USAGE, "which video? spatrack VIDEO -o tracks.npz (or --help)");
    if (job->queries && (job->grid || job->mask))
        return sp_error(SP_USAGE, "--queries says which points to track; leave out --%s",
                        job->grid ? "grid" : "mask");
    SP_TRY(check_prompts(job));
    if (job->geometry && job->stop_after == SP_STOP_FRONT)
        return sp_error(SP_USAGE, "with --geometry there is no front to stop after");
    if (job->output && !ends_with(job->output, ".npz") && !ends_with(job->output, ".csv") &&
        !ends_with(job->output, "/"))
        return sp_error(SP_USAGE, "%.200s: the result's name must end in .npz or .csv, or in /",
                        job->output);
    if (job->output && ends_with(job->output, ".csv") && job->stop_after == SP_STOP_FRONT)
        return sp_error(SP_USAGE, "--stop-after front gives no tracks for a .csv; name an .npz");
    if (job->overlay && !ends_with(job->overlay, ".mp4") && !ends_with(job->overlay, ".png"))
        return sp_error(SP_USAGE, "%.200s: the overlay's name must end in .mp4 or .png",
                        job->overlay);
    if (job->overlay && job->stop_after != SP_STOP_NEVER)
        return sp_error(SP_USAGE, "--stop-after %s gives no tracks to draw; leave out --overlay",
                        job->stop_after == SP_STOP_SAM ? "sam" : "front");
    if (!job->output && job->stop_after != SP_STOP_SAM && strcmp(job->video, "-") == 0)
        return sp_error(SP_USAGE, "reading from a pipe: say where the result goes with -o");
    if (out->quiet && out->verbose)
        return sp_error(SP_USAGE, "--quiet and --verbose exclude each other");
    return sp_ok();
}

/* Several videos: each has files of its own. */
static SpStatus check_many(const SpJob *job)
{
    const char *const single[] = {job->overlay, job->mask_out, job->geometry};
    const char *const name[] = {"--overlay", "--mask-out", "--geometry"};
    const char *const folder[] = {job->output, job->report};
    for (int i = 0; i < 3; i++)
        if (single[i])
            return sp_error(SP_USAGE, "%s is one video's; give one video", name[i]);
    for (int i = 0; i < 2; i++)
        if (folder[i] && !ends_with(folder[i], "/"))
            return sp_error(SP_USAGE, "several videos: %s takes a folder, \"%.200s/\"",
                            i ? "--report" : "-o", folder[i]);
    return sp_ok();
}

/* Every video by itself, and that no result would replace another. */
static SpStatus check_all(SpOptions *out)
{
    SpJob other = out->job;
    char name[SP_PATH_CAPACITY], other_name[SP_PATH_CAPACITY];
    if (out->videos > 1)
        SP_TRY(check_many(&out->job));
    for (int i = out->videos - 1; i >= 0; i--) {
        out->job.video = out->video[i];
        SP_TRY(check(out));
        if (out->videos > 1 && strcmp(out->job.video, "-") == 0)
            return sp_error(SP_USAGE, "several videos cannot come from a pipe");
        SP_TRY(sp_job_output_name(&out->job, name));
        for (int k = i + 1; k < out->videos; k++) {
            other.video = out->video[k];
            SP_TRY(sp_job_output_name(&other, other_name));
            if (strcmp(name, other_name) == 0)
                return sp_error(SP_USAGE, "%.200s: two videos would be written there", name);
        }
    }
    return out->videos ? sp_ok() : check(out);
}

static SpStatus read_sleep(SpJob *job)
{
    static const char *const words[] = {"stage", "video", "never"};
    char *end;
    for (int i = 0; i < 3; i++)
        if (!job->sleep || strcmp(job->sleep, words[i]) == 0) {
            job->sleep_after = (SpSleepAfter)i;
            return sp_ok();
        }
    job->sleep_after = SP_SLEEP_SECONDS;
    job->sleep_seconds = strtod(job->sleep, &end);
    if (end == job->sleep || *end || !(job->sleep_seconds >= 0) || !(job->sleep_seconds <= 1e9))
        return sp_error(SP_USAGE,
                        "--sleep-after takes stage, video, never or seconds, not \"%.80s\"",
                        job->sleep);
    return sp_ok();
}

/* Defaults that depend on other flags. */
static void settle(SpJob *job)
{
    if (job->max_frames < 0)
        job->max_frames = job->mode == SP_TRACKER_ONLINE ? MOST_FRAMES_ONLINE : MOST_FRAMES;
}

SpStatus sp_options_parse(int argc, char **argv, SpOptions *out)
{
    bool only_names = false;
    *out = (SpOptions){0};
    for (int i = 0; i < OPTIONS; i++)
        set_number(out, options + i, options[i].otherwise);
    out->video = malloc((size_t)(argc + 1) * sizeof *out->video);
    if (!out->video)
        return sp_no_memory("the names");
    for (int i = 1; i < argc; i++) {
        if (!only_names && strcmp(argv[i], "--") == 0)
            only_names = true;
        else if (!only_names && argv[i][0] == '-' && argv[i][1])
            SP_TRY(take_flag(argc, argv, &i, out));
        else
            out->video[out->videos++] = argv[i];
    }
    settle(&out->job);
    SP_TRY(read_sleep(&out->job));
    return out->help || out->version || out->info || out->prepare ? sp_ok() : check_all(out);
}

void sp_options_free(SpOptions *out)
{
    free(out->video);
}

void sp_options_help(FILE *stream)
{
    fputs("usage: spatrack [FLAGS] VIDEO...\n\n"
          "Turns videos into 3D point tracks, depth and camera poses.\n"
          "VIDEO: a file, a folder or a printf pattern of images, or - for standard input.\n",
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
    }
    fputs("\nExit status: 0 done, 2 usage, 3 input, 4 weights, 5 memory, 6 device, 7 output,\n"
          "130 interrupted. See spatrack(1).\n",
          stream);
}

static cJSON *json_of(const SpOptions *in, const Option *option)
{
    const void *field = (const char *)in + option->field;
    switch (option->kind) {
    case FLAG:
        return cJSON_CreateBool(*(const bool *)field);
    case SIZE:
    case WHOLE: /* below the least: not given, chosen by the run */
        return (double)*(const int64_t *)field < option->least
                   ? cJSON_CreateNull()
                   : cJSON_CreateNumber((double)*(const int64_t *)field);
    case NUMBER:
        return cJSON_CreateNumber(*(const double *)field);
    case TEXT:
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

char *sp_options_settings(const SpOptions *in)
{
    cJSON *settings = cJSON_CreateObject();
    bool whole = settings != NULL;
    for (int i = 0; i < OPTIONS && whole; i++)
        if (options[i].shapes) {
            cJSON *item = json_of(in, options + i);
            whole = item && cJSON_AddItemToObject(settings, options[i].name, item);
            if (!whole)
                cJSON_Delete(item);
        }
    char *text = whole ? cJSON_PrintUnformatted(settings) : NULL;
    cJSON_Delete(settings);
    return text;
}
