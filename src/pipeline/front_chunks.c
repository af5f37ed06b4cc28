#include "pipeline/front_chunks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "nn/dump.h"
#include "pipeline/chunks.h"

/* What a chunk is computed with, and what part of the whole it is. */
typedef struct Source {
    SpRun *run;
    SpNn *nn;
    float *encoding;         /* [frames of a chunk, 9] */
    const SpProgress *whole; /* progress of all chunks */
    const SpDump *dump;      /* as without chunks */
    int64_t chunk, chunks;
} Source;

size_t sp_front_chunks_bytes(const SpRun *run, int64_t frames)
{
    const SpFramePlan *plan = &run->clip.plan;
    const SpChunking chunking = sp_chunking_of(run->job, frames);
    return run->has[SP_STAGE_FRONT] && chunking.frames
               ? sp_chunks_bytes(&chunking, plan->height, plan->width)
               : 0;
}

bool sp_front_chunks_text(const SpRun *run, char *text, size_t size)
{
    const SpChunking chunking = sp_chunking_of(run->job, run->clip.frames);
    int64_t last;
    *text = 0;
    if (!run->has[SP_STAGE_FRONT] || !chunking.frames)
        return false;
    snprintf(text, size, "%lld chunks of %lld frames, %lld of them shared",
             (long long)sp_chunking_count(&chunking, run->clip.frames, &last),
             (long long)chunking.frames, (long long)chunking.overlap);
    return true;
}

static SpStatus run_network(const SpRun *run, SpNn *nn, int64_t first, int64_t frames,
                            const SpFrontOutput *out)
{
    const SpFramePlan *plan = &run->clip.plan;
    const SpFrontInput input = {
        .frames = frames,
        .height = plan->height,
        .width = plan->width,
        .video = nn->dry ? NULL : run->clip.video + first * 3 * plan->height * plan->width,
        .first = first};
    return sp_front_run(run->models->model[SP_STAGE_FRONT].front, nn, &input, out);
}

static void report_chunk(void *self, double done, double total)
{
    const Source *source = self;
    sp_progress(source->whole, (double)source->chunk + done / total, (double)source->chunks);
}

/* "front/..." as "chunk3/front/...". */
static void dump_chunk(void *self, const char *name, int rank, const int64_t *dims,
                       const float *data)
{
    const Source *source = self;
    char labelled[160];
    snprintf(labelled, sizeof labelled, "chunk%lld/%s", (long long)source->chunk, name);
    source->dump->tensor(source->dump->self, labelled, rank, dims, data);
}

static SpStatus count(void *self, int64_t first, int64_t most, int64_t *frames)
{
    const Source *source = self;
    *frames = sp_min(source->run->clip.frames - first, most);
    return sp_ok();
}

static SpStatus compute(void *self, int64_t first, int64_t frames, const SpGeometry *out)
{
    Source *source = self;
    SpNn *nn = source->nn;
    const SpProgress progress = {report_chunk, source};
    const SpDump dump = {dump_chunk, source};
    const SpFrontOutput output = {out->depth, out->confidence, source->encoding, out->c2w,
                                  out->intrinsics};
    nn->progress = &progress;
    nn->dump = source->dump ? &dump : NULL;
    const SpStatus status = run_network(source->run, nn, first, frames, &output);
    nn->progress = source->whole;
    nn->dump = source->dump;
    source->chunk++;
    return status;
}

static void keep(SpRun *run, const SpChunkPiece *piece)
{
    const int64_t area = run->clip.plan.height * run->clip.plan.width;
    const SpGeometry *to = &run->geometry, *g = &piece->geometry;
    const size_t maps = (size_t)(piece->count * area) * sizeof(float);
    memcpy(to->depth + piece->first * area, g->depth, maps);
    memcpy(to->confidence + piece->first * area, g->confidence, maps);
    memcpy(to->intrinsics + 9 * piece->first, g->intrinsics,
           (size_t)(9 * piece->count) * sizeof(float));
    memcpy(to->c2w + 16 * piece->first, g->c2w, (size_t)(16 * piece->count) * sizeof(float));
}

static SpStatus keep_list(SpRun *run, const SpChunks *chunks)
{
    const SpResultChunk *list = sp_chunks_list(chunks, &run->chunks);
    const size_t bytes = (size_t)run->chunks * sizeof *list;
    run->chunk = malloc(bytes);
    if (!run->chunk)
        return sp_no_memory("the list of chunks");
    memcpy(run->chunk, list, bytes);
    return sp_ok();
}

static SpStatus collect(SpRun *run, SpChunks *chunks)
{
    SpChunkPiece piece;
    do {
        SP_TRY(sp_chunks_next(chunks, &piece));
        keep(run, &piece);
    } while (piece.count);
    return keep_list(run, chunks);
}

static SpStatus run_chunks(SpRun *run, SpNn *nn, const SpChunking *chunking, float *encoding)
{
    int64_t last;
    Source source = {run,
                     nn,
                     encoding,
                     nn->progress,
                     nn->dump,
                     0,
                     sp_chunking_count(chunking, run->clip.frames, &last)};
    const SpChunkSource from = {&source, run->clip.plan.height, run->clip.plan.width, count,
                                compute};
    SpChunks *chunks;
    SP_TRY(sp_chunks_open(&from, chunking, &chunks));
    const SpStatus status = collect(run, chunks);
    sp_chunks_close(chunks);
    return status;
}

/* The full chunks are alike. */
static SpStatus count_chunks(const SpRun *run, SpNn *nn, const SpChunking *chunking, int64_t frames)
{
    int64_t last;
    const int64_t full = sp_chunking_count(chunking, frames, &last) - 1;
    sp_nn_loop_begin(nn, full);
    const SpStatus status = run_network(run, nn, 0, chunking->frames, NULL);
    sp_nn_loop_end(nn, full);
    return status.code == SP_OK ? run_network(run, nn, 0, last, NULL) : status;
}

static SpStatus run_whole(const SpRun *run, SpNn *nn, float *encoding)
{
    const SpGeometry *g = &run->geometry;
    const SpFrontOutput output = {g->depth, g->confidence, encoding, g->c2w, g->intrinsics};
    return run_network(run, nn, 0, run->clip.frames, &output);
}

SpStatus sp_front_chunks_run(SpRun *run, SpNn *nn, int64_t frames)
{
    const SpChunking chunking = sp_chunking_of(run->job, frames);
    if (nn->dry)
        return chunking.frames ? count_chunks(run, nn, &chunking, frames)
                               : run_network(run, nn, 0, frames, NULL);
    const int64_t at_once = chunking.frames ? chunking.frames : frames;
    float *encoding = malloc((size_t)(9 * at_once) * sizeof *encoding);
    if (!encoding)
        return sp_no_memory("the camera encodings");
    const SpStatus status =
        chunking.frames ? run_chunks(run, nn, &chunking, encoding) : run_whole(run, nn, encoding);
    free(encoding);
    return status;
}
