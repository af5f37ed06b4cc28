#include "cli/option_checks.h"

#include <string.h>

#include "output/formats.h"
#include "output/npz.h"
#include "pipeline/chunks.h"
#include "pipeline/files.h"

static const double DEFAULT_TOLERANCE_PIXELS = 1, DEFAULT_TOLERANCE_RELATIVE = 0.01;

/* What goes with points and boxes, and with a mask from them. */
static SpStatus check_prompts(const SpJob *job)
{
    const bool any = job->prompts->objects > 0;
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
    return sp_ok();
}

/* What other programs read. */
static SpStatus check_exports(const SpJob *job)
{
    const char *flag = job->usd       ? "usd"
                       : job->cameras ? "cameras"
                       : job->ply     ? "ply"
                       : job->colmap  ? "colmap"
                       : job->depth   ? "depth"
                       : job->viewer  ? "viewer"
                                      : NULL;
    if (flag && job->stop_after == SP_STOP_SAM)
        return sp_error(SP_USAGE, "--stop-after sam writes the mask alone; leave out --%s", flag);
    if (job->usd_cloud && !job->usd)
        return sp_error(SP_USAGE, "--usd-cloud goes into the scene; say where with --usd");
    if (job->depth_format && !job->depth)
        return sp_error(SP_USAGE, "--depth-format is that of --depth; say where with --depth");
    return sp_ok();
}

/* Known cameras and units: one word about each. */
static SpStatus check_known(const SpJob *job)
{
    const char *flag = job->fov > 0 ? "fov" : "focal";
    if (job->fov > 0 && job->focal > 0)
        return sp_error(SP_USAGE, "--fov and --focal say the same thing; leave out one");
    if (job->geometry && (job->fov > 0 || job->focal > 0))
        return sp_error(SP_USAGE, "--geometry holds the intrinsics; leave out --%s", flag);
    if (job->scale_to > 0 && job->scale_by > 0)
        return sp_error(SP_USAGE, "--scale-to and --scale-by exclude each other");
    return sp_ok();
}

/* What is computed in chunks, and that they overlap without being one another. */
static SpStatus check_chunks(const SpJob *job)
{
    const SpChunking chunking = sp_chunking_of(job, INT64_MAX - 1);
    const bool any = job->front_chunk >= 0 || job->front_overlap > 0;
    if (any && job->geometry)
        return sp_error(SP_USAGE, "--geometry takes the place of the front; leave out --front-%s",
                        job->front_chunk >= 0 ? "chunk" : "overlap");
    if (job->front_chunk == 0 && job->front_overlap > 0)
        return sp_error(SP_USAGE, "--front-chunk 0 takes all frames at once; leave out "
                                  "--front-overlap");
    if (job->front_chunk == 1)
        return sp_error(SP_USAGE, "--front-chunk takes 2 frames or more, or 0 for all at once");
    if (job->front_chunk != 0 && chunking.overlap >= chunking.frames)
        return sp_error(SP_USAGE, "--front-overlap %lld: chunks of %lld frames share at most %lld",
                        (long long)chunking.overlap, (long long)chunking.frames,
                        (long long)chunking.frames - 1);
    return sp_ok();
}

/* New grids while a clip streams. */
static SpStatus check_grids(const SpJob *job)
{
    const char *flag = job->queries                ? "queries"
                       : job->mask                 ? "mask"
                       : job->prompts->objects > 0 ? "point and --box"
                       : job->geometry             ? "geometry"
                       : job->stop_after           ? "stop-after"
                       : job->dump                 ? "dump"
                       : job->front_chunk == 0     ? "front-chunk 0"
                                                   : NULL;
    if (!job->grid_every)
        return sp_ok();
    if (job->mode != SP_TRACKER_ONLINE)
        return sp_error(SP_USAGE, "--grid-every goes with --mode online");
    return flag ? sp_error(SP_USAGE, "--grid-every starts grids on the whole frame; leave out --%s",
                           flag)
                : sp_ok();
}

/* One video's flags; its files' names become `files`. */
static SpStatus check_video(const SpJob *job, SpRunFile files[])
{
    if (!job->video)
        return sp_error(SP_USAGE,
                        "no video given; usage: spatrack VIDEO -o tracks.npz (see --help)");
    if (job->queries && (job->grid || job->mask))
        return sp_error(SP_USAGE, "--queries says which points to track; leave out --%s",
                        job->grid ? "grid" : "mask");
    SP_TRY(check_prompts(job));
    SP_TRY(check_known(job));
    SP_TRY(check_chunks(job));
    SP_TRY(check_grids(job));
    SP_TRY(check_exports(job));
    if (job->omit)
        SP_TRY(sp_result_check_omit(job->omit));
    if (job->json && !job->plan)
        return sp_error(SP_USAGE, "--json goes with --plan, --info or --compare");
    if (job->geometry && job->stop_after == SP_STOP_FRONT)
        return sp_error(SP_USAGE, "with --geometry there is no front to stop after");
    if (!job->output && job->stop_after != SP_STOP_SAM && strcmp(job->video, "-") == 0)
        return sp_error(SP_USAGE, "reading from a pipe: say where the result goes with -o");
    SP_TRY(sp_files_name(job, files));
    const SpRunFile *result = &files[SP_FILE_RESULT];
    if (job->omit && *result->path && strcmp(result->format->ending, ".npz") != 0)
        return sp_error(SP_USAGE, "--omit leaves arrays out of an .npz; leave it out for %s",
                        result->format->ending);
    return sp_ok();
}

/* What is written of a finished result, which says all else. `alone`: there is no video beside it
 * that flags may be for. */
static SpStatus check_result(const SpJob *job, bool alone, SpRunFile files[])
{
    bool any = false, rereads = false;
    SP_TRY(check_exports(job));
    if (job->omit)
        SP_TRY(sp_result_check_omit(job->omit));
    SP_TRY(sp_files_name(job, files));
    for (SpFileRole role = 0; role < SP_FILE_ROLES; role++) {
        const SpFormat *format = files[role].format;
        any |= format != NULL;
        rereads |= format && format->from_video;
    }
    if (!any && !job->plan && sp_npz_begins(job->video)) /* else that it is missing is told */
        return sp_error(SP_USAGE,
                        "%.300s is a finished result; say what to write from it, with --usd, "
                        "--overlay or another flag of --help under \"Output\"",
                        job->video);
    if (job->original && !rereads)
        return sp_error(SP_USAGE,
                        "--video gives the frames of --overlay and --colmap; say where one goes");
    if (alone && !job->original && (job->stride != 1 || job->stream >= 0))
        return sp_error(SP_USAGE, "--%s is about the video of a result; give it with --video",
                        job->stride != 1 ? "stride" : "stream");
    const SpFormat *result = files[SP_FILE_RESULT].format;
    const char *flag = job->omit                          ? "omit"
                       : job->no_compress                 ? "no-compress"
                       : job->result_max_side < INT32_MAX ? "max-side"
                                                          : NULL;
    const bool depth = job->depth && flag && strcmp(flag, "max-side") == 0;
    if (alone && flag && !depth && (!result || strcmp(result->ending, ".npz") != 0))
        return sp_error(SP_USAGE, "--%s is about an .npz; say with -o where one goes", flag);
    return sp_ok();
}

/* Flags of all, of which `results` are finished ones. */
static SpStatus check_results(const SpOptions *in, int results)
{
    if (results && in->job.json && !in->job.plan)
        return sp_error(SP_USAGE, "--json goes with --plan, --info or --compare");
    if (in->job.original && !results)
        return sp_error(SP_USAGE, "--video goes with a finished result in the place of VIDEO");
    if (results && results == in->videos && in->runs)
        return sp_error(SP_USAGE,
                        "%.300s is a finished result, which is not computed again; leave "
                        "out --%s",
                        in->video[0], in->runs);
    return sp_ok();
}

/* Two results, of which the video is one. */
static SpStatus check_comparison(SpOptions *out)
{
    if (out->videos != 1)
        return sp_error(SP_USAGE, "--compare takes two results: spatrack --compare EXPECTED.npz "
                                  "ACTUAL.npz");
    if (out->not_compared)
        return sp_error(SP_USAGE, "--compare runs nothing; leave out --%s", out->not_compared);
    if (out->tolerance.pixels < 0)
        out->tolerance.pixels = DEFAULT_TOLERANCE_PIXELS;
    if (out->tolerance.relative < 0)
        out->tolerance.relative = DEFAULT_TOLERANCE_RELATIVE;
    return sp_ok();
}

/* Flags of several videos, and of a list of them. */
static SpStatus check_several(const SpJob *job)
{
    if (job->null && !job->list)
        return sp_error(SP_USAGE, "-0 says how the entries of --list end; give that");
    if (job->several)
        SP_TRY(sp_files_check_shared(job));
    if (job->skip_done && job->plan)
        return sp_error(SP_USAGE, "--plan does nothing that --skip-done could leave out");
    return sp_ok();
}

/* The flags with a list alone, whose videos are not known yet. */
static SpStatus check_listed(SpOptions *out, SpRunFile files[])
{
    out->job.video = "video";
    const SpStatus status = check_video(&out->job, files);
    out->job.video = NULL;
    return status;
}

/* Every video by itself; pipeline/batch.c sees that no file of one would replace another. */
SpStatus sp_options_check(SpOptions *out)
{
    SpRunFile files[SP_FILE_ROLES];
    if (out->quiet && out->verbose)
        return sp_error(SP_USAGE, "--quiet and --verbose exclude each other");
    if (out->expected)
        return check_comparison(out);
    if (out->tolerance.pixels >= 0 || out->tolerance.relative >= 0)
        return sp_error(SP_USAGE, "--tolerance-%s goes with --compare",
                        out->tolerance.pixels >= 0 ? "px" : "rel");
    SP_TRY(check_several(&out->job));
    int results = 0;
    for (int i = out->videos - 1; i >= 0; i--) {
        sp_job_set_video(&out->job, out->video[i]);
        results += out->job.from_result;
    }
    SP_TRY(check_results(out, results));
    for (int i = out->videos - 1; i >= 0; i--) {
        sp_job_set_video(&out->job, out->video[i]);
        SP_TRY(out->job.from_result ? check_result(&out->job, results == out->videos, files)
                                    : check_video(&out->job, files));
        if (out->job.several && strcmp(out->job.video, "-") == 0)
            return sp_error(SP_USAGE, "only a single video can come from standard input");
    }
    if (out->job.list && !out->videos)
        return check_listed(out, files);
    return out->videos ? sp_ok() : check_video(&out->job, files);
}
