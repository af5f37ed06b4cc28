#include "pipeline/from_result.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/memory.h"

/* Whose arrays are asked for by a part; in the order of SP_PART_. */
static const char *const part_names[] = {"coords", "tracks2d", "extrinsics and intrinsics",
                                         "depths", "video"};

/* The SP_PART_s that a file of the run cannot do without. */
static unsigned needs_of(const SpRun *run, SpFileRole role)
{
    const SpJob *job = run->job;
    const SpFormat *format = run->file[role].format;
    unsigned needs = sp_format_needs(format);
    if (job->usd_cloud && format->product == SP_PRODUCT_SCENE)
        needs |= SP_PART_DEPTH | SP_PART_FRAMES;
    if (role == SP_FILE_RESULT && run->from->arrays.tracks > 0)
        needs |= SP_PART_TRACKS; /* tracks without points would be lost */
    if (format->from_video && job->original)
        needs &= ~(unsigned)SP_PART_FRAMES;
    return needs;
}

static SpStatus check_parts(const SpRun *run, SpFileRole role)
{
    char missing[120] = "";
    unsigned gone = needs_of(run, role) & ~run->from->has;
    if (gone & SP_PART_TRACKS) /* then nothing is said of pixels */
        gone &= ~(unsigned)SP_PART_PIXELS;
    for (unsigned part = 0; part < sizeof part_names / sizeof *part_names; part++)
        if (gone & 1u << part) {
            const size_t used = strlen(missing);
            snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "",
                     part_names[part]);
        }
    return gone ? sp_error(SP_INPUT, "%.200s has no %s, which %.200s is written from",
                           run->job->video, missing, run->file[role].path)
                : sp_ok();
}

/* The SP_PART_s of depth and frames that are read. */
static unsigned parts_of(const SpRun *run)
{
    unsigned parts = 0;
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        const SpFormat *format = run->file[role].format;
        const bool pictures = !(format && format->from_video && run->job->original);
        if (!*run->file[role].path || !format)
            continue;
        const unsigned unused =
            format->unused | (pictures ? 0 : SP_PART_FRAMES) |
            (format->product == SP_PRODUCT_SCENE && !run->job->usd_cloud ? SP_PART_FRAMES : 0);
        parts |= (unsigned)SP_PART_ALL & ~unused;
    }
    return parts;
}

/* Looks at the video that the result is of. */
static SpStatus look_at_video(SpRun *run)
{
    const SpJob *job = run->job;
    const SpClip *clip = &run->from->clip;
    const SpReaderSettings settings = {0, 1, LLONG_MAX, job->stream};
    SpReader *reader;
    SP_TRY(sp_reader_open(job->original, &settings, &reader));
    const SpVideoInfo video = sp_reader_video(reader);
    sp_reader_close(reader);
    if (job->stride != 1 && sp_result_arrays_have(&run->from->arrays, SP_ARRAY_FRAME_INDEX))
        return sp_error(SP_USAGE, "%.300s says which frames it is of; leave out --stride",
                        job->video);
    SP_TRY(sp_result_file_set_video(run->from, &video, job->stride));
    const int64_t last = clip->index[clip->frames - 1];
    if (video.expected > 0 && video.expected <= last)
        return sp_error(SP_INPUT, "%.200s has %lld frames; %.200s is of one with at least %lld",
                        job->original, (long long)video.expected, job->video, (long long)last + 1);
    return sp_ok();
}

SpReaderSettings sp_from_result_reader(const SpRun *run)
{
    const SpClip *clip = &run->from->clip;
    return (SpReaderSettings){0, 1, clip->index[clip->frames - 1] + 1, run->job->stream};
}

/* The settings that a result was made with, of its version; and one for a result without. */
static SpStatus take_version(SpRun *run)
{
    static const char foreign[] =
        "{\"program\":\"spatrack " SP_VERSION "\",\"format\":%d,\"settings\":{}}";
    SpResult *result = &run->from->result;
    if (!result->version) {
        run->version = malloc(sizeof foreign + 16);
        if (!run->version)
            return sp_no_memory("the result");
        snprintf(run->version, sizeof foreign + 16, foreign, SP_FORMAT_VERSION);
        result->version = run->version;
        return sp_ok();
    }
    cJSON *version = cJSON_Parse(result->version);
    const cJSON *settings = cJSON_GetObjectItemCaseSensitive(version, "settings");
    run->settings = settings ? cJSON_PrintUnformatted(settings) : NULL;
    const bool failed = !version || (settings && !run->settings);
    cJSON_Delete(version);
    return failed ? sp_no_memory("the result") : sp_ok();
}

SpStatus sp_from_result_open(SpRun *run)
{
    SP_TRY(sp_result_file_open(run->job->video, run->from));
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++)
        if (*run->file[role].path && run->file[role].format)
            SP_TRY(check_parts(run, role));
    if (run->job->original)
        SP_TRY(look_at_video(run));
    return take_version(run);
}

void sp_from_result_close(SpRun *run)
{
    sp_result_file_close(run->from);
    cJSON_free(run->settings);
}

SpStatus sp_from_result_read(SpRun *run)
{
    SP_TRY(sp_result_file_read(run->from, parts_of(run)));
    run->clip.plan = run->from->clip.plan; /* what the report tells */
    run->length = run->clip.frames = run->from->clip.frames;
    run->clip.rate = run->from->clip.rate;
    return sp_ok();
}

static SpStatus print_json(const SpRun *run, size_t bytes, size_t available)
{
    const SpClip *clip = &run->from->clip;
    cJSON *out = cJSON_CreateObject();
    const bool whole = cJSON_AddStringToObject(out, "video", run->job->video) &&
                       cJSON_AddBoolToObject(out, "fits", bytes <= available) &&
                       cJSON_AddNumberToObject(out, "frames", (double)clip->frames) &&
                       cJSON_AddNumberToObject(out, "width", (double)clip->plan.width) &&
                       cJSON_AddNumberToObject(out, "height", (double)clip->plan.height) &&
                       cJSON_AddNumberToObject(out, "points", (double)run->from->result.tracks) &&
                       cJSON_AddArrayToObject(out, "stages") &&
                       cJSON_AddNumberToObject(out, "peak_host_bytes", (double)bytes) &&
                       cJSON_AddNumberToObject(out, "free_host_bytes", (double)available);
    char *text = whole ? cJSON_PrintUnformatted(out) : NULL;
    if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(out);
    return text ? sp_ok() : sp_no_memory("the plan");
}

SpStatus sp_from_result_plan(SpRun *run)
{
    const SpClip *clip = &run->from->clip;
    const size_t bytes =
        sp_result_file_bytes(run->from, parts_of(run)) +
        sp_files_bytes(run->file, &clip->plan, clip->frames, run->from->result.tracks);
    const size_t available = sp_memory_available();
    if (run->job->json)
        SP_TRY(print_json(run, bytes, available));
    else
        printf("%s: a finished result, %lld frames of %lldx%lld, %lld points; no model runs\n"
               "%.1f MB of host memory for what is read of it and made, %.1f MB free\n",
               run->job->video, (long long)clip->frames, (long long)clip->plan.width,
               (long long)clip->plan.height, (long long)run->from->result.tracks,
               (double)bytes / 0x1p20, (double)available / 0x1p20);
    return bytes <= available
               ? sp_ok()
               : sp_error(SP_MEMORY, "%.300s needs %.1f MB of memory, %.1f MB are available",
                          run->job->video, (double)bytes / 0x1p20, (double)available / 0x1p20);
}
