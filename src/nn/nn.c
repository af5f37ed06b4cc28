#include "nn/nn.h"

#include <stdlib.h>

enum { ARENA_ALIGN = 64 };

SpNn sp_nn_dry(SpDevice *device)
{
    /* Where no process has memory, so that no address here is also one of a weight. */
    const SpArena arena = {.base = (char *)((uintptr_t)1 << 62), .size = SIZE_MAX / 4};
    return (SpNn){.device = device, .arena = arena, .host = arena, .dry = true, .times = 1};
}

static size_t aligned(size_t bytes)
{
    return (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

SpStatus sp_nn_open(SpDevice *device, size_t device_bytes, size_t host_bytes, SpNn *out)
{
    SpArena arena = {.size = aligned(device_bytes)}, host = {.size = aligned(host_bytes)};
    SpStatus status = sp_ok();
    arena.base = arena.size ? device->alloc(device, arena.size) : NULL;
    host.base = host.size ? aligned_alloc(ARENA_ALIGN, host.size) : NULL;
    *out = (SpNn){.device = device, .arena = arena, .host = host};
    if (arena.size && !arena.base)
        status = sp_error(SP_MEMORY, "%s: cannot get %zu MB for the models", device->name,
                          arena.size >> 20);
    else if (host.size && !host.base)
        status =
            sp_error(SP_MEMORY, "cannot get %zu MB of host memory for the clip", host.size >> 20);
    if (status.code != SP_OK)
        sp_nn_close(out);
    return status;
}

void sp_nn_close(SpNn *nn)
{
    if (nn->dry)
        return;
    if (nn->arena.base)
        nn->device->free(nn->device, nn->arena.base, nn->arena.size);
    free(nn->host.base);
    nn->arena.base = nn->host.base = NULL;
}

void sp_nn_fail(SpNn *nn, SpStatus status)
{
    if (nn->status.code == SP_OK)
        nn->status = status;
}

static void *alloc(SpNn *nn, SpArena *arena, size_t bytes, const char *which)
{
    void *at = (char *)((uintptr_t)arena->base + arena->used);
    if (bytes > arena->size || aligned(bytes) > arena->size - arena->used) {
        sp_nn_fail(nn, sp_error(SP_MEMORY,
                                "internal error: the planned %s memory (%zu MB) is not enough",
                                which, arena->size >> 20));
        return NULL;
    }
    arena->used += aligned(bytes);
    arena->peak = arena->used > arena->peak ? arena->used : arena->peak;
    return at;
}

float *sp_nn_alloc(SpNn *nn, int64_t count)
{
    return alloc(nn, &nn->arena, (size_t)count * sizeof(float), nn->device->name);
}

void *sp_nn_alloc_host(SpNn *nn, size_t bytes)
{
    return alloc(nn, &nn->host, bytes, "host");
}

float *sp_nn_host_floats(SpNn *nn, int64_t count)
{
    return sp_nn_alloc_host(nn, (size_t)count * sizeof(float));
}

SpNnScope sp_nn_scope(SpNn *nn)
{
    return (SpNnScope){nn, nn->arena.used, nn->host.used};
}

void sp_nn_scope_end(const SpNnScope *scope)
{
    scope->nn->arena.used = scope->arena;
    scope->nn->host.used = scope->host;
}

void sp_nn_precision(SpNn *nn, SpPrecision precision)
{
    const bool allowed = precision <= nn->plan.precision;
    if (!nn->dry)
        nn->device->set_precision(nn->device, allowed ? precision : SP_PRECISION_F32);
}

int64_t sp_nn_loop_begin(SpNn *nn, int64_t count)
{
    if (nn->dry)
        nn->times *= (double)count;
    return nn->dry && count > 0 ? 1 : count;
}

void sp_nn_loop_end(SpNn *nn, int64_t count)
{
    if (nn->dry)
        nn->times /= (double)count;
}

int64_t sp_nn_mlp_rows(const SpNn *nn, int64_t rows)
{
    return sp_nn_chunk_rows(rows, nn->plan.rows ? nn->plan.rows : SP_NN_ROWS);
}

int64_t sp_nn_chunk_rows(int64_t rows, int64_t max)
{
    const int64_t chunks = (rows + max - 1) / max, even = (rows + chunks - 1) / chunks;
    return (even + SP_ROW_TILE - 1) / SP_ROW_TILE * SP_ROW_TILE;
}

/* Eight parameters: two places, each with its stride, and a size. */
void sp_nn_copy_rows(SpNn *nn, SpCopyKind kind, float *to, int64_t to_stride, const float *from,
                     int64_t from_stride, int64_t count, int64_t rows)
{
    sp_nn_run(nn, copy,
              &(SpCopy){kind, to, (size_t)to_stride * sizeof *to, from,
                        (size_t)from_stride * sizeof *from, (size_t)count * sizeof *to,
                        (size_t)rows});
}

void sp_nn_copy(SpNn *nn, SpCopyKind kind, float *to, const float *from, int64_t count)
{
    sp_nn_copy_rows(nn, kind, to, count, from, count, count, 1);
}

void sp_nn_conv_alloc(SpNn *nn, SpConvWeights *conv)
{
    conv->packed = sp_nn_alloc(nn, sp_tensor_count(&conv->w));
}

void sp_nn_conv_fill(SpNn *nn, const SpConvWeights *conv)
{
    const SpConvPack pack = {conv->w, conv->packed};
    if (conv->transposed)
        sp_nn_run(nn, deconv_pack, &pack);
    else
        sp_nn_run(nn, conv_pack, &pack);
}

SpConvWeights sp_nn_conv_pack(SpNn *nn, const SpConvWeights *conv)
{
    SpConvWeights packed = *conv;
    sp_nn_conv_alloc(nn, &packed);
    sp_nn_conv_fill(nn, &packed);
    return packed;
}

SpFeatureMap sp_nn_feature_map(SpNn *nn, int64_t n, int64_t h, int64_t w, int64_t c)
{
    return (SpFeatureMap){sp_nn_alloc(nn, n * h * w * c), n, h, w, c};
}

void sp_nn_convolve(SpNn *nn, SpFeatureMap x, const SpConvWeights *conv, int64_t stride,
                    SpActivation act, const float *residual, SpFeatureMap y)
{
    const int64_t k = conv->w.dim[2];
    sp_nn_run(nn, conv2d,
              &(SpConv2d){x.x, x.n, x.h, x.w, x.c, x.c, conv->packed, y.c, k, k, stride,
                          k > stride ? k / 2 : 0, conv->b, act, residual, y.x, y.c});
}

void sp_nn_deconvolve(SpNn *nn, SpFeatureMap x, const SpConvWeights *conv, SpFeatureMap y)
{
    sp_nn_run(
        nn, deconv,
        &(SpDeconv){x.x, x.n, x.h, x.w, x.c, conv->packed, y.c, conv->w.dim[2], conv->b, y.x});
}
