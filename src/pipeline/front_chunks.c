#include "pipeline/front_chunks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minmax.h"
#include "nn/dump.h"
#include "pipeline/arrays.h"
#include "pipeline/chunks.h"

struct SpFrontChunks {
    SpRun *run;
    SpChunkSource from;
    SpChunks *chunks;
    float *encoding; /* [frames of a chunk, 9] */
    SpNn *nn;
    const SpProgress *whole; /* progress of all chunks */
    const SpDump *dump;      /* as without chunks */
    int64_t chunk, count;    /* `count` as far as the clip's length is known */
};

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
    const SpChunking chunking = sp_chunking_of(run->job, run->length);
    int64_t last;
    *text = 0;
    if (!run->has[SP_STAGE_FRONT] || !chunking.frames)
        return false;
    if (run->streams && !run->clip.expected) /* how many there will be is not known */
        snprintf(text, size, "chunks of %lld frames, %lld of them shared",
                 (long long)chunking.frames, (long long)chunking.overlap);
    else
        snprintf(text, size, "%lld chunks of %lld frames, %lld of them shared",
                 (long long)sp_chunking_count(&chunking, run->length, &last),
                 (long long)chunking.frames, (long long)chunking.overlap);
    return true;
}

static SpStatus run_network(const SpRun *run, SpNn *nn, int64_t first, int64_t frames,
                            const SpFrontOutput *out)
{
    const SpFramePlan *plan = &run->clip.plan;
    const SpFrontInput input = {.frames = frames,
                                .height = plan->height,
                                .width = plan->width,
                                .video = nn->dry ? NULL
                                                 : run->clip.video + (first - run->clip.first) * 3 *
                                                                         plan->height * plan->width,
                                .first = first};
    return sp_front_run(run->models->model[SP_STAGE_FRONT].front, nn, &input, out);
}

static void report_chunk(void *self, double done, double total)
{
    const SpFrontChunks *chunks = self;
    sp_progress(chunks->whole, (double)chunks->chunk + done / total, (double)chunks->count);
}

/* "front/..." as "chunk3/front/...". */
static void dump_chunk(void *self, const char *name, int rank, const int64_t *dims,
                       const float *data)
{
    const SpFrontChunks *chunks = self;
    char labelled[160];
    snprintf(labelled, sizeof labelled, "chunk%lld/%s", (long long)chunks->chunk, name);
    chunks->dump->tensor(chunks->dump->self, labelled, rank, dims, data);
}

static SpStatus count(void *self, int64_t first, int64_t most, int64_t *frames)
{
    const SpFrontChunks *chunks = self;
    *frames = sp_min(chunks->run->clip.frames - first, most);
    return sp_ok();
}

static SpStatus compute(void *self, int64_t first, int64_t frames, const SpGeometry *out)
{
    SpFrontChunks *chunks = self;
    SpNn *nn = chunks->nn;
    const SpProgress progress = {report_chunk, chunks};
    const SpDump dump = {dump_chunk, chunks};
    const SpFrontOutput output = {out->depth, out->confidence, chunks->encoding, out->c2w,
                                  out->intrinsics};
    nn->progress = &progress;
    nn->dump = chunks->dump ? &dump : NULL;
    const SpStatus status = run_network(chunks->run, nn, first, frames, &output);
    nn->progress = chunks->whole;
    nn->dump = chunks->dump;
    chunks->chunk++;
    return status;
}

SpStatus sp_front_chunks_open(SpRun *run, const SpChunking *chunking, SpFrontChunks **out)
{
    const SpFramePlan *plan = &run->clip.plan;
    int64_t last;
    SpFrontChunks *chunks = *out = calloc(1, sizeof *chunks);
    if (!chunks)
        return sp_no_memory("the front's chunks");
    chunks->run = run;
    chunks->from = (SpChunkSource){chunks, plan->height, plan->width, count, compute};
    chunks->count = sp_chunking_count(chunking, run->length, &last);
    chunks->encoding = malloc((size_t)(9 * chunking->frames) * sizeof *chunks->encoding);
    const SpStatus status = chunks->encoding
                                ? sp_chunks_open(&chunks->from, chunking, &chunks->chunks)
                                : sp_no_memory("the camera encodings");
    if (status.code == SP_OK)
        return status;
    sp_front_chunks_close(chunks);
    *out = NULL;
    return status;
}

void sp_front_chunks_close(SpFrontChunks *chunks)
{
    if (!chunks)
        return;
    sp_chunks_close(chunks->chunks);
    free(chunks->encoding);
    free(chunks);
}

SpStatus sp_front_chunks_next(SpFrontChunks *chunks, SpNn *nn, SpChunkPiece *piece)
{
    chunks->nn = nn;
    chunks->whole = nn->progress;
    chunks->dump = nn->dump;
    return sp_chunks_next(chunks->chunks, piece);
}

static void keep(const SpRun *run, const SpChunkPiece *piece)
{
    SpRun part;
    sp_arrays_part(run, piece->first, piece->count, &part);
    sp_geometry_copy(&part.geometry, &piece->geometry, piece->count,
                     run->clip.plan.height * run->clip.plan.width);
}

SpStatus sp_front_chunks_list(const SpFrontChunks *chunks)
{
    SpRun *run = chunks->run;
    const SpResultChunk *list = sp_chunks_list(chunks->chunks, &run->chunks);
    const size_t bytes = (size_t)run->chunks * sizeof *list;
    free(run->chunk);
    run->chunk = malloc(bytes);
    if (!run->chunk)
        return sp_no_memory("the list of chunks");
    memcpy(run->chunk, list, bytes);
    return sp_ok();
}

static SpStatus collect(SpRun *run, SpNn *nn, SpFrontChunks *chunks)
{
    SpChunkPiece piece;
    do {
        SP_TRY(sp_front_chunks_next(chunks, nn, &piece));
        keep(run, &piece);
    } while (piece.count);
    return sp_front_chunks_list(chunks);
}

static SpStatus run_chunks(SpRun *run, SpNn *nn, const SpChunking *chunking)
{
    SpFrontChunks *chunks;
    const SpStatus opened = sp_front_chunks_open(run, chunking, &chunks);
    if (opened.code != SP_OK || !chunks)
        return opened;
    const SpStatus status = collect(run, nn, chunks);
    sp_front_chunks_close(chunks);
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

static SpStatus run_whole(const SpRun *run, SpNn *nn)
{
    const SpGeometry *g = &run->geometry;
    float *encoding = malloc((size_t)(9 * run->clip.frames) * sizeof *encoding);
    if (!encoding)
        return sp_no_memory("the camera encodings");
    const SpFrontOutput output = {g->depth, g->confidence, encoding, g->c2w, g->intrinsics};
    const SpStatus status = run_network(run, nn, 0, run->clip.frames, &output);
    free(encoding);
    return status;
}

SpStatus sp_front_chunks_run(SpRun *run, SpNn *nn, int64_t frames)
{
    const SpChunking chunking = sp_chunking_of(run->job, frames);
    if (nn->dry)
        return chunking.frames ? count_chunks(run, nn, &chunking, frames)
                               : run_network(run, nn, 0, frames, NULL);
    return chunking.frames ? run_chunks(run, nn, &chunking) : run_whole(run, nn);
}
