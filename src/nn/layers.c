#include "nn/layers.h"

#include <math.h>

void sp_dense_call(SpNn *nn, const SpDense *dense, SpLinear call)
{
    const int64_t out = dense->w.dim[0];
    call.w = dense->w;
    call.b = dense->b;
    call.ldx = call.ldx ? call.ldx : dense->w.dim[1];
    call.ldr = call.ldr ? call.ldr : out;
    call.ldy = call.ldy ? call.ldy : out;
    sp_nn_run(nn, linear, &call);
}

void sp_norm_rows(SpNn *nn, const SpNorm *norm, const float *x, int64_t ldx, int64_t rows, float *y)
{
    sp_nn_run(nn, layer_norm,
              &(SpLayerNorm){x, rows, norm->width, ldx, norm->w, norm->b, norm->eps, y, norm->width,
                             false});
}

void sp_norm_operand(SpNn *nn, const SpNorm *norm, const float *x, int64_t rows, float *y)
{
    const int64_t width = norm->width;
    sp_nn_run(nn, layer_norm,
              &(SpLayerNorm){x, rows, width, width, norm->w, norm->b, norm->eps, y, width, true});
}

/* Rows of a norm through a dense layer, y in parts or not. */
static void normed(SpNn *nn, const SpDense *dense, const SpNorm *norm, const float *x, int64_t rows,
                   int64_t part, float *y)
{
    SP_NN_SCOPE(nn);
    float *operand = sp_nn_alloc(nn, rows * norm->width);
    sp_norm_operand(nn, norm, x, rows, operand);
    sp_dense_call(
        nn, dense,
        (SpLinear){.x = operand, .rows = rows, .y = y, .x_operand = true, .y_part = part});
}

void sp_dense_normed(SpNn *nn, const SpDense *dense, const SpNorm *norm, const float *x,
                     int64_t rows, int64_t chunk, float *y)
{
    for (int64_t at = 0; at < rows; at += chunk)
        normed(nn, dense, norm, x + at * norm->width, sp_min(chunk, rows - at), 0,
               y + at * dense->w.dim[0]);
}

void sp_dense_normed_operand(SpNn *nn, const SpDense *dense, const SpNorm *norm, const float *x,
                             int64_t rows, int64_t part, float *y)
{
    normed(nn, dense, norm, x, rows, part, y);
}

/* act(fc1(x)) as operands, x operands or not. */
static void hidden_rows(SpNn *nn, const SpMlp *mlp, const float *x, bool operand, int64_t rows,
                        float *hidden)
{
    sp_dense_call(nn, &mlp->fc1,
                  (SpLinear){.x = x,
                             .rows = rows,
                             .act = mlp->act,
                             .y = hidden,
                             .x_operand = operand,
                             .y_part = mlp->fc1.w.dim[0]});
}

void sp_mlp_run(SpNn *nn, const SpMlp *mlp, const float *x, int64_t rows, float *y, int64_t ldy)
{
    SP_NN_SCOPE(nn);
    float *hidden = sp_nn_alloc(nn, rows * mlp->fc1.w.dim[0]);
    hidden_rows(nn, mlp, x, false, rows, hidden);
    sp_dense_call(nn, &mlp->fc2,
                  (SpLinear){.x = hidden, .rows = rows, .y = y, .ldy = ldy, .x_operand = true});
}

void sp_mlp_add(SpNn *nn, const SpMlp *mlp, const SpNorm *norm, const float *gain, float *x,
                int64_t rows, int64_t chunk)
{
    const int64_t width = mlp->fc1.w.dim[1], together = sp_min(rows, chunk);
    SP_NN_SCOPE(nn);
    float *operand = norm ? sp_nn_alloc(nn, together * width) : NULL;
    float *hidden = sp_nn_alloc(nn, together * mlp->fc1.w.dim[0]);
    for (int64_t at = 0; at < rows; at += chunk, x += chunk * width) {
        const int64_t count = sp_min(chunk, rows - at);
        if (norm)
            sp_norm_operand(nn, norm, x, count, operand);
        hidden_rows(nn, mlp, norm ? operand : x, norm != NULL, count, hidden);
        sp_dense_call(nn, &mlp->fc2,
                      (SpLinear){.x = hidden,
                                 .rows = count,
                                 .gain = gain,
                                 .residual = x,
                                 .y = x,
                                 .x_operand = true});
    }
}

void sp_attention_run(SpNn *nn, int64_t heads, int64_t width, SpAttention call)
{
    call.heads = heads;
    call.head = width / heads;
    call.scale = 1 / sqrtf((float)call.head);
    call.v = call.v ? call.v : call.k + width;
    call.v_batch = call.v_row ? call.v_batch : call.k_batch;
    call.v_row = call.v_row ? call.v_row : call.k_row;
    call.y_batch = call.y_row ? call.y_batch : call.q_batch;
    call.y_row = call.y_row ? call.y_row : call.q_row;
    sp_nn_run(nn, attention, &call);
}
