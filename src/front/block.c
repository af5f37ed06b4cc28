#include <math.h>

#include "front/internal.h"

/* Rows of a group of short sequences, whatever the plan: groups end anywhere in a row tile. */
enum { GROUP_ROWS = 8 * SP_ROW_TILE };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows `first` .. first + count of x through norm and qkv, whose q and k are turned. `first` counts
 * from the first token of a frame. normed: [count, width]; out: [count, 3 width]. */
static void qkv_rows(SpNn *nn, const SpBlock *b, const float *x, int64_t first, int64_t count,
                     const SpPositions *positions, float *normed, float *out)
{
    const int64_t width = b->width;
    sp_nn_layer_norm(nn, x + first * width, count, width, b->norm1_w, b->norm1_b, b->eps, normed);
    sp_nn_linear(nn, normed, count, b->qkv, b->qkv_b, SP_IDENTITY, out);
    if (positions)
        sp_nn_run(nn, qk_norm_rope,
                  &(SpQkNormRope){.qkv = out,
                                  .rows = count,
                                  .heads = b->heads,
                                  .head = width / b->heads,
                                  .q_weight = b->q_norm_w,
                                  .q_bias = b->q_norm_b,
                                  .k_weight = b->k_norm_w,
                                  .k_bias = b->k_norm_b,
                                  .eps = b->eps,
                                  .position = positions->yx + 2 * (first % positions->period),
                                  .period = positions->period,
                                  .max_position = positions->most,
                                  .rope_base = positions->base});
}

/* y = attention, y over q; rows of q `q_row` apart, of k and v `kv_row`; a batch is a sequence. */
static void attend(SpNn *nn, const SpBlock *b, int64_t batch, int64_t nq, int64_t nk, float *q,
                   int64_t q_row, const float *kv, int64_t kv_row)
{
    sp_nn_run(nn, attention,
              &(SpAttention){.batch = batch,
                             .nq = nq,
                             .nk = nk,
                             .heads = b->heads,
                             .head = b->width / b->heads,
                             .scale = 1 / sqrtf((float)(b->width / b->heads)),
                             .q = q,
                             .k = kv,
                             .v = kv + b->width,
                             .q_batch = nq * q_row,
                             .q_row = q_row,
                             .k_batch = nk * kv_row,
                             .k_row = kv_row,
                             .v_batch = nk * kv_row,
                             .v_row = kv_row,
                             .y = q,
                             .y_batch = nq * q_row,
                             .y_row = q_row});
}

/* x += gain proj(attended), whose rows are 3 width apart. */
static void project(SpNn *nn, const SpBlock *b, const float *attended, int64_t rows, float *x)
{
    sp_nn_run(nn, linear,
              &(SpLinear){.x = attended,
                          .rows = rows,
                          .ldx = 3 * b->width,
                          .w = b->proj,
                          .b = b->proj_b,
                          .gain = b->ls1,
                          .residual = x,
                          .ldr = b->width,
                          .y = x,
                          .ldy = b->width});
}

/* q, k and v of all rows at once. */
static void attention(SpNn *nn, const SpBlock *b, float *x, int64_t sequences, int64_t length,
                      const SpPositions *positions)
{
    const int64_t rows = sequences * length, width = b->width, row = 3 * width;
    const int64_t chunk = sp_nn_mlp_rows(nn, rows);
    const SpNnMark mark = sp_nn_mark(nn);
    float *qkv = sp_nn_alloc(nn, rows * row);
    float *normed = sp_nn_alloc(nn, least(rows, chunk) * width);
    for (int64_t at = 0; at < rows; at += chunk)
        qkv_rows(nn, b, x, at, least(chunk, rows - at), positions, normed, qkv + at * row);
    attend(nn, b, sequences, length, length, qkv, row, qkv + width, row);
    project(nn, b, qkv, rows, x);
    sp_nn_release(nn, mark);
}

/* One long sequence: k and v of all rows stay, q is computed again for `chunk` rows at a time. */
static void attention_by_queries(SpNn *nn, const SpBlock *b, float *x, int64_t length,
                                 const SpPositions *positions, int64_t chunk)
{
    const int64_t width = b->width, row = 3 * width;
    const SpNnMark mark = sp_nn_mark(nn);
    float *kv = sp_nn_alloc(nn, length * 2 * width), *qkv = sp_nn_alloc(nn, chunk * row);
    float *normed = sp_nn_alloc(nn, chunk * width);
    for (int64_t at = 0; at < length; at += chunk) {
        const int64_t count = least(chunk, length - at);
        qkv_rows(nn, b, x, at, count, positions, normed, qkv);
        sp_nn_copy_rows(nn, SP_ON_DEVICE, kv + at * 2 * width, 2 * width, qkv + width, row,
                        2 * width, count);
    }
    for (int64_t at = 0; at < length; at += chunk) {
        const int64_t count = least(chunk, length - at);
        qkv_rows(nn, b, x, at, count, positions, normed, qkv);
        attend(nn, b, 1, count, length, qkv, row, kv, 2 * width);
        project(nn, b, qkv, count, x + at * width);
    }
    sp_nn_release(nn, mark);
}

static void mlp(SpNn *nn, const SpBlock *b, float *x, int64_t rows)
{
    const int64_t chunk = sp_nn_mlp_rows(nn, rows);
    const int64_t width = b->width, most = rows < chunk ? rows : chunk;
    const SpNnMark mark = sp_nn_mark(nn);
    float *normed = sp_nn_alloc(nn, most * width), *hidden = sp_nn_alloc(nn, most * b->hidden);
    for (int64_t at = 0; at < rows; at += chunk, x += chunk * width) {
        const int64_t count = rows - at < chunk ? rows - at : chunk;
        sp_nn_layer_norm(nn, x, count, width, b->norm2_w, b->norm2_b, b->eps, normed);
        sp_nn_linear(nn, normed, count, b->fc1, b->fc1_b, SP_GELU, hidden);
        sp_nn_run(nn, linear,
                  &(SpLinear){.x = hidden,
                              .rows = count,
                              .ldx = b->hidden,
                              .w = b->fc2,
                              .b = b->fc2_b,
                              .gain = b->ls2,
                              .residual = x,
                              .ldr = width,
                              .y = x,
                              .ldy = width});
    }
    sp_nn_release(nn, mark);
}

void sp_block_run(SpNn *nn, const SpBlock *block, float *x, int64_t sequences, int64_t length,
                  const SpPositions *positions)
{
    const int64_t fit = GROUP_ROWS / length, group = fit > 1 ? fit : 1;
    const int64_t queries = nn->plan.queries ? sp_nn_chunk_rows(length, nn->plan.queries) : length;
    for (int64_t s = 0; s < sequences; s += group) {
        float *at = x + s * length * block->width;
        if (group == 1 && queries < length)
            attention_by_queries(nn, block, at, length, positions, queries);
        else
            attention(nn, block, at, least(group, sequences - s), length, positions);
    }
    mlp(nn, block, x, sequences * length);
}
