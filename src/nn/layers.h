/*
 * The layers that models are made of, each written once: its weights and what it computes. Arrays
 * are memory of the device; rows are dense unless a stride says otherwise. store/bind_layers.h
 * finds the weights in a checkpoint.
 */
#ifndef SP_NN_LAYERS_H
#define SP_NN_LAYERS_H

#include "base/minmax.h"
#include "nn/nn.h"

/* y = w x + b. */
typedef struct SpDense {
    SpTensor w;     /* [out, in] */
    const float *b; /* [out]; NULL: none */
} SpDense;

/* Layer norm: (x - mean) / sqrt(var + eps) * w + b. */
typedef struct SpNorm {
    const float *w, *b; /* [width]; NULL: none */
    int64_t width;
    float eps;
} SpNorm;

/* fc2(act(fc1(x))). */
typedef struct SpMlp {
    SpDense fc1, fc2;
    SpActivation act;
} SpMlp;

/* y = residual + gain * act(dense(x)) as `call` says, whose weights, and strides where they are 0,
 * are filled in: sp_dense_call(nn, &proj, (SpLinear){.x = a, .rows = n, .residual = x, .y = x}). */
void sp_dense_call(SpNn *nn, const SpDense *dense, SpLinear call);

/* y [rows, out] = act(dense(x)), x [rows, in]. */
static inline void sp_dense_run(SpNn *nn, const SpDense *dense, const float *x, int64_t rows,
                                SpActivation act, float *y)
{
    sp_dense_call(nn, dense, (SpLinear){.x = x, .rows = rows, .act = act, .y = y});
}

/* y [rows, out] = dense(norm(x)), x [rows, in], `chunk` rows at a time. */
void sp_dense_normed(SpNn *nn, const SpDense *dense, const SpNorm *norm, const float *x,
                     int64_t rows, int64_t chunk, float *y);

/* The same of all rows at once, y's rows as operands in parts of `part` columns (kernels/ops.h). */
void sp_dense_normed_operand(SpNn *nn, const SpDense *dense, const SpNorm *norm, const float *x,
                             int64_t rows, int64_t part, float *y);

/* y [rows, width] = norm(x); y may be x. The rows of x are `ldx` apart in sp_norm_rows. */
void sp_norm_rows(SpNn *nn, const SpNorm *norm, const float *x, int64_t ldx, int64_t rows,
                  float *y);

static inline void sp_norm_run(SpNn *nn, const SpNorm *norm, const float *x, int64_t rows, float *y)
{
    sp_norm_rows(nn, norm, x, norm->width, rows, y);
}

/* y [rows, width] = norm(x) as operands; y is not x. */
void sp_norm_operand(SpNn *nn, const SpNorm *norm, const float *x, int64_t rows, float *y);

/* y = mlp(x), rows of y ldy apart; what lies between is kept of all rows at once. */
void sp_mlp_run(SpNn *nn, const SpMlp *mlp, const float *x, int64_t rows, float *y, int64_t ldy);

/* x [rows, width] += gain * mlp(norm(x)), `chunk` rows at a time; norm, gain NULL: none. */
void sp_mlp_add(SpNn *nn, const SpMlp *mlp, const SpNorm *norm, const float *gain, float *x,
                int64_t rows, int64_t chunk);

/* softmax(q k^T / sqrt(width / heads)) v over `heads` heads of rows of `width` values, as `call`
 * says. Filled in are heads, head and scale; where they are NULL or 0, v = k + width (a row holds
 * both) with k's strides, and y's strides as q's. */
void sp_attention_run(SpNn *nn, int64_t heads, int64_t width, SpAttention call);

#endif
