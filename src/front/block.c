#include <math.h>

#include "front/internal.h"

/* Rows that go through the MLP, or through a group of short sequences, together. */
enum { MOST_ROWS = 8 * SP_ROW_TILE };

static void attention(SpNn *nn, const SpBlock *b, float *x, int64_t sequences, int64_t length,
                      const SpPositions *positions)
{
    const int64_t rows = sequences * length, width = b->width, row = 3 * width;
    const int64_t chunk = sp_nn_chunk_rows(rows, MOST_ROWS);
    const SpNnMark mark = sp_nn_mark(nn);
    float *qkv = sp_nn_floats(nn, rows * row);
    float *normed = sp_nn_floats(nn, (rows < chunk ? rows : chunk) * width);
    for (int64_t at = 0; at < rows; at += chunk) {
        const int64_t count = rows - at < chunk ? rows - at : chunk;
        sp_nn_layer_norm(nn, x + at * width, count, width, b->norm1_w, b->norm1_b, b->eps, normed);
        sp_nn_linear(nn, normed, count, b->qkv, b->qkv_b, SP_IDENTITY, qkv + at * row);
    }
    if (positions)
        sp_nn_run(nn, qk_norm_rope,
                  &(SpQkNormRope){.qkv = qkv,
                                  .rows = rows,
                                  .heads = b->heads,
                                  .head = width / b->heads,
                                  .q_weight = b->q_norm_w,
                                  .q_bias = b->q_norm_b,
                                  .k_weight = b->k_norm_w,
                                  .k_bias = b->k_norm_b,
                                  .eps = b->eps,
                                  .position = positions->yx,
                                  .period = positions->period,
                                  .max_position = positions->most,
                                  .rope_base = positions->base});
    sp_nn_run(nn, attention,
              &(SpAttention){.batch = sequences,
                             .nq = length,
                             .nk = length,
                             .heads = b->heads,
                             .head = width / b->heads,
                             .scale = 1 / sqrtf((float)(width / b->heads)),
                             .q = qkv,
                             .k = qkv + width,
                             .v = qkv + 2 * width,
                             .q_batch = length * row,
                             .q_row = row,
                             .k_batch = length * row,
                             .k_row = row,
                             .v_batch = length * row,
                             .v_row = row,
                             .y = qkv,
                             .y_batch = length * row,
                             .y_row = row});
    sp_nn_run(nn, linear,
              &(SpLinear){.x = qkv,
                          .rows = rows,
                          .ldx = row,
                          .w = b->proj,
                          .b = b->proj_b,
                          .gain = b->ls1,
                          .residual = x,
                          .ldr = width,
                          .y = x,
                          .ldy = width});
    sp_nn_release(nn, mark);
}

static void mlp(SpNn *nn, const SpBlock *b, float *x, int64_t rows)
{
    const int64_t chunk = sp_nn_chunk_rows(rows, MOST_ROWS);
    const int64_t width = b->width, most = rows < chunk ? rows : chunk;
    const SpNnMark mark = sp_nn_mark(nn);
    float *normed = sp_nn_floats(nn, most * width), *hidden = sp_nn_floats(nn, most * b->hidden);
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
    const int64_t fit = MOST_ROWS / length, group = fit > 1 ? fit : 1;
    for (int64_t s = 0; s < sequences; s += group)
        attention(nn, block, x + s * length * block->width,
                  sequences - s < group ? sequences - s : group, length, positions);
    mlp(nn, block, x, sequences * length);
}
