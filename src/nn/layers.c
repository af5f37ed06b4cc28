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
    sp_nn_run(
        nn, layer_norm,
        &(SpLayerNorm){x, rows, norm->width, ldx, norm->w, norm->b, norm->eps, y, norm->width});
}

void sp_dense_normed(SpNn *nn, const SpDense *dense, const SpNorm *norm, const float *x,
                     int64_t rows, int64_t chunk, float *y)
{
    SP_NN_SCOPE(nn);
    float *normed = sp_nn_alloc(nn, sp_min(rows, chunk) * norm->width);
    for (int64_t at = 0; at < rows; at += chunk) {
        const int64_t count = sp_min(chunk, rows - at);
        sp_norm_run(nn, norm, x + at * norm->width, count, normed);
        sp_dense_run(nn, dense, normed, count, SP_IDENTITY, y + at * dense->w.dim[0]);
    }
}

void sp_mlp_run(SpNn *nn, const SpMlp *mlp, const float *x, int64_t rows, float *y, int64_t ldy)
{
    SP_NN_SCOPE(nn);
    float *hidden = sp_nn_alloc(nn, rows * mlp->fc1.w.dim[0]);
    sp_dense_run(nn, &mlp->fc1, x, rows, mlp->act, hidden);
    sp_dense_call(nn, &mlp->fc2, (SpLinear){.x = hidden, .rows = rows, .y = y, .ldy = ldy});
}

void sp_mlp_add(SpNn *nn, const SpMlp *mlp, const SpNorm *norm, const float *gain, float *x,
                int64_t rows, int64_t chunk)
{
    const int64_t width = mlp->fc1.w.dim[1], together = sp_min(rows, chunk);
    SP_NN_SCOPE(nn);
    float *normed = norm ? sp_nn_alloc(nn, together * width) : NULL;
    float *hidden = sp_nn_alloc(nn, together * mlp->fc1.w.dim[0]);
    for (int64_t at = 0; at < rows; at += chunk, x += chunk * width) {
        const int64_t count = sp_min(chunk, rows - at);
        if (norm)
            sp_norm_run(nn, norm, x, count, normed);
        sp_dense_run(nn, &mlp->fc1, norm ? normed : x, count, mlp->act, hidden);
        sp_dense_call(nn, &mlp->fc2,
                      (SpLinear){.x = hidden, .rows = count, .gain = gain, .residual = x, .y = x});
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
