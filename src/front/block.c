#include "front/internal.h"

/* Rows of a group of short sequences, whatever the plan: groups end anywhere in a row tile. A card
 * wants more of them at once. */
static int64_t group_rows(const SpNn *nn)
{
    return (nn->device->reads_host ? 8 : 32) * SP_ROW_TILE;
}

/* q, k and v stay operands where attention takes such. */
static bool operands(const SpBlock *b)
{
    return b->width / b->heads <= SP_OPERAND_HEAD;
}

/* Rows `first` .. first + count of x, counted from the first token of a frame, to their q, k and v:
 * qkv(norm1(x)), q and k normalised and rotated. qkv: [count, 3 width], each of the three a part.
 */
static void qkv_rows(SpNn *nn, const SpBlock *b, const float *x, int64_t first, int64_t count,
                     const SpPositions *positions, float *qkv)
{
    sp_dense_normed_operand(nn, &b->qkv, &b->norm1, x + first * b->width, count,
                            operands(b) ? b->width : 0, qkv);
    if (positions)
        sp_nn_run(nn, qk_norm_rope,
                  &(SpQkNormRope){qkv, count, b->heads, b->width / b->heads, b->q_norm.w,
                                  b->q_norm.b, b->k_norm.w, b->k_norm.b, b->norm1.eps,
                                  positions->yx + 2 * (first % positions->period),
                                  positions->period, positions->max, positions->base, operands(b)});
}

/* x += ls1 proj(attended), whose rows are 3 width apart. */
static void project(SpNn *nn, const SpBlock *b, const float *attended, int64_t rows, float *x)
{
    sp_dense_call(nn, &b->proj,
                  (SpLinear){.x = attended,
                             .rows = rows,
                             .ldx = 3 * b->width,
                             .gain = b->ls1,
                             .residual = x,
                             .y = x,
                             .x_operand = operands(b)});
}

/* q, k and v of all rows at once. */
static void attention(SpNn *nn, const SpBlock *b, float *x, int64_t sequences, int64_t length,
                      const SpPositions *positions)
{
    const int64_t rows = sequences * length, row = 3 * b->width;
    const int64_t chunk = sp_nn_mlp_rows(nn, rows);
    SP_NN_SCOPE(nn);
    float *qkv = sp_nn_alloc(nn, rows * row);
    for (int64_t at = 0; at < rows; at += chunk)
        qkv_rows(nn, b, x, at, sp_min(chunk, rows - at), positions, qkv + at * row);
    sp_attention_run(nn, b->heads, b->width,
                     (SpAttention){sequences, length, length, .q = qkv, .q_batch = length * row,
                                   .q_row = row, .k = qkv + b->width, .k_batch = length * row,
                                   .k_row = row, .y = qkv, .operand = operands(b)});
    project(nn, b, qkv, rows, x);
}

/* One long sequence: k and v of all rows stay, q is computed again for `chunk` rows at a time. */
static void attention_by_queries(SpNn *nn, const SpBlock *b, float *x, int64_t length,
                                 const SpPositions *positions, int64_t chunk)
{
    const int64_t width = b->width, row = 3 * width;
    SP_NN_SCOPE(nn);
    float *kv = sp_nn_alloc(nn, length * 2 * width), *qkv = sp_nn_alloc(nn, chunk * row);
    for (int64_t at = 0; at < length; at += chunk) {
        const int64_t count = sp_min(chunk, length - at);
        qkv_rows(nn, b, x, at, count, positions, qkv);
        sp_nn_copy_rows(nn, SP_ON_DEVICE, kv + at * 2 * width, 2 * width, qkv + width, row,
                        2 * width, count);
    }
    for (int64_t at = 0; at < length; at += chunk) {
        const int64_t count = sp_min(chunk, length - at);
        qkv_rows(nn, b, x, at, count, positions, qkv);
        sp_attention_run(nn, b->heads, width,
                         (SpAttention){1, count, length, .q = qkv, .q_row = row, .k = kv,
                                       .k_row = 2 * width, .y = qkv, .operand = operands(b)});
        project(nn, b, qkv, count, x + at * width);
    }
}

void sp_block_run(SpNn *nn, const SpBlock *block, float *x, int64_t sequences, int64_t length,
                  const SpPositions *positions)
{
    const int64_t group = sp_max(group_rows(nn) / length, 1), rows = sequences * length;
    const int64_t queries = nn->plan.queries ? sp_nn_chunk_rows(length, nn->plan.queries) : length;
    for (int64_t s = 0; s < sequences; s += group) {
        float *at = x + s * length * block->width;
        if (group == 1 && queries < length)
            attention_by_queries(nn, block, at, length, positions, queries);
        else
            attention(nn, block, at, sp_min(group, sequences - s), length, positions);
    }
    sp_mlp_add(nn, &block->mlp, &block->norm2, block->ls2, x, rows, sp_nn_mlp_rows(nn, rows));
}
