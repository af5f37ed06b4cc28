/*
 * What a model's forward function runs on: a device, its arena, host memory, and one sticky
 * status. Forward functions are written as plain sequences of calls; the first failure stays in
 * `status` and turns the rest into no-ops, so one check at the end of a stage suffices.
 *
 * In a dry run the arenas only count and no op runs: the same code that computes a stage gives
 * its exact peak. Code outside ops that touches arena memory asks sp_nn_live first.
 */
#ifndef SP_NN_NN_H
#define SP_NN_NN_H

#include "base/progress.h"
#include "kernels/ops.h"
#include "nn/residency.h"

/* One block of memory used as a stack, released in reverse order. */
typedef struct SpArena {
    char *base; /* aligned to 64 bytes; dry: an address that is never read or written */
    size_t size, used, peak;
} SpArena;

typedef enum SpWeightMode {
    SP_IN_PLACE, /* the ops read the mapped file: only where device->reads_host */
    SP_RESIDENT, /* all on the device before the stage begins */
    SP_STREAMED  /* one group at a time, while the next one is prefetched */
} SpWeightMode;

/* How a model runs in the memory there is: on the CPU nothing here but the precision changes a
 * result by a bit; the libraries of a card may round otherwise for another number of rows. Zeroed:
 * the fastest on the CPU. */
typedef struct SpPlan {
    SpWeightMode weights;
    bool keep_loop_weights; /* streamed: the weights of a loop stay resident while it runs */
    int64_t rows;           /* of an MLP at a time, a multiple of SP_ROW_TILE; 0: SP_NN_ROWS */
    int64_t queries;        /* of a long attention at a time, likewise; 0: all */
    bool roomy;             /* a card with memory to spare: more frames at a time */
    bool taps_on_device;    /* outputs that a later part reads wait on the device, not the host */
    bool features_on_host;  /* feature maps that are read again and again are on the host */
    SpPrecision precision;  /* the coarsest allowed: BF16 in the parts that may be computed so */
} SpPlan;

/* What a dry run counts: floating point operations, multiply and add as two. */
typedef enum SpWork { SP_WORK_PRODUCT, SP_WORK_ATTENTION, SP_WORK_CONVOLUTION, SP_WORKS } SpWork;

typedef struct SpDump SpDump; /* nn/dump.h */

typedef struct SpNn {
    SpDevice *device;
    SpArena arena; /* device memory */
    SpArena host;  /* host memory of the stages: inputs, results, geometry */
    bool dry;
    SpStatus status;
    const SpProgress *progress; /* may be NULL */
    const SpDump *dump;         /* who wants to see intermediate tensors; NULL: nobody */
    SpPlan plan;
    SpWeights *weights;    /* of the model that runs, unless the ops read them in place; or NULL */
    double times;          /* dry: how often the part runs that is looked at once */
    double work[SP_WORKS]; /* dry: operations counted so far */
    bool caches_features;  /* the model keeps maps where the plan says */
    double moved_bytes;    /* weights and maps that went to the device, or when dry would go */
    double moving_seconds; /* that this thread spent on it */
} SpNn;

/* A dry context on `device`. */
SpNn sp_nn_dry(SpDevice *device);

/* A context with `device_bytes` of device memory and `host_bytes` of host memory, as a dry run
 * found them. SP_MEMORY when they cannot be had. Release with sp_nn_close. */
SpStatus sp_nn_open(SpDevice *device, size_t device_bytes, size_t host_bytes, SpNn *out);
void sp_nn_close(SpNn *nn);

/* True when ops run: neither dry nor failed. */
static inline bool sp_nn_live(const SpNn *nn)
{
    return !nn->dry && nn->status.code == SP_OK;
}

/* Keeps `status` if it is the first failure. */
void sp_nn_fail(SpNn *nn, SpStatus status);

/* `count` floats of device memory from the arena; NULL and SP_MEMORY in nn->status when they do
 * not fit. */
float *sp_nn_alloc(SpNn *nn, int64_t count);

/* `bytes` of host memory from the host arena, likewise, and `count` floats of it. */
void *sp_nn_alloc_host(SpNn *nn, size_t bytes);
float *sp_nn_host_floats(SpNn *nn, int64_t count);

/* What is allocated in both arenas after SP_NN_SCOPE(nn); is released at the end of the block. */
typedef struct SpNnScope {
    SpNn *nn;
    size_t arena, host;
} SpNnScope;
SpNnScope sp_nn_scope(SpNn *nn);
void sp_nn_scope_end(const SpNnScope *scope);
#define SP_NN_SCOPE(nn)          SP_NN_SCOPE_AT(nn, __LINE__)
#define SP_NN_SCOPE_AT(nn, line) SP_NN_SCOPE_NAMED(nn, line)
#define SP_NN_SCOPE_NAMED(nn, line)                                                                \
    __attribute__((cleanup(sp_nn_scope_end), unused)) const SpNnScope scope_##line = sp_nn_scope(nn)

/* The ops of kernels/ops.h: sp_nn_run(nn, linear, &(SpLinear){...}). Unless live they are skipped,
 * but when dry counted. Weights are named by where the model has them, and read where the plan has
 * placed them; SP_DEVICE in nn->status, also of a dry run, when it has not. */
#define sp_nn_run(nn, op, ...) sp_nn_op_##op(nn, __VA_ARGS__)

#define SP_NN_OP(op, type) void sp_nn_op_##op(SpNn *nn, const type *call);
SP_EACH_OP(SP_NN_OP)

/* The format for the ops issued from now on: `precision` where the plan allows one as coarse, else
 * F32. */
void sp_nn_precision(SpNn *nn, SpPrecision precision);

/* Where a dry run looks at one of `count` equal parts: what it counts in between counts for all.
 * Live it returns `count`, dry 1: the number of parts to go through. */
int64_t sp_nn_loop_begin(SpNn *nn, int64_t count);
void sp_nn_loop_end(SpNn *nn, int64_t count);

/* Rows of each chunk when `rows` rows are cut evenly into chunks of about `max` at most: a multiple
 * of SP_ROW_TILE, at most the next one from `rows` on. */
int64_t sp_nn_chunk_rows(int64_t rows, int64_t max);

/* sp_nn_chunk_rows for the rows of an MLP: as the plan says, or SP_NN_ROWS. */
enum { SP_NN_ROWS = 8 * SP_ROW_TILE };
int64_t sp_nn_mlp_rows(const SpNn *nn, int64_t rows);

/* Copies `count` floats. */
void sp_nn_copy(SpNn *nn, SpCopyKind kind, float *to, const float *from, int64_t count);

/* Copies `rows` rows of `count` floats, rows to_stride / from_stride floats apart. Eight
 * parameters: two places, each with its stride, and a size. */
void sp_nn_copy_rows(SpNn *nn, SpCopyKind kind, float *to, int64_t to_stride, const float *from,
                     int64_t from_stride, int64_t count, int64_t rows);

/* A convolution's weights [out, in, k, k], or when transposed (of stride k) [in, out, k, k]; bias
 * [out] or NULL. `packed`: the weights in the order that the device reads. */
typedef struct SpConvWeights {
    SpTensor w;
    const float *b;
    bool transposed;
    float *packed;
} SpConvWeights;

/* The same packed, in arena memory. */
SpConvWeights sp_nn_conv_pack(SpNn *nn, const SpConvWeights *conv);

/* The two halves of it: memory, and what goes there. */
void sp_nn_conv_alloc(SpNn *nn, SpConvWeights *conv);
void sp_nn_conv_fill(SpNn *nn, const SpConvWeights *conv);

/* Maps of features of n images on the device, [n, h, w, c]. */
typedef struct SpFeatureMap {
    float *x;
    int64_t n, h, w, c;
} SpFeatureMap;

/* In arena memory. */
SpFeatureMap sp_nn_feature_map(SpNn *nn, int64_t n, int64_t h, int64_t w, int64_t c);

/* y = act(conv(x)) + residual, which has y's shape or is NULL; `conv` is packed. Kernels that
 * overlap are padded by k / 2, patches (k = stride) are not. */
void sp_nn_convolve(SpNn *nn, SpFeatureMap x, const SpConvWeights *conv, int64_t stride,
                    SpActivation act, const float *residual, SpFeatureMap y);

/* y = transposed conv(x); packed likewise. */
void sp_nn_deconvolve(SpNn *nn, SpFeatureMap x, const SpConvWeights *conv, SpFeatureMap y);

#endif
