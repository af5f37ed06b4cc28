/* Each op between a model and the device: weights are looked up, work is counted. */
#include "nn/nn.h"

/* Where the device reads what is at `at`, which may be a weight. */
static const void *resolve(SpNn *nn, const void *at)
{
    const void *found = at;
    if (!nn->weights || nn->plan.weights == SP_IN_PLACE || !at)
        return at;
    if (!nn->dry || nn->plan.weights == SP_STREAMED)
        found = sp_weights_find(nn->weights, at);
    else if (sp_weights_only_host(nn->weights, at))
        found = NULL;
    if (!found)
        sp_nn_fail(nn, sp_error(SP_DEVICE, "internal error: a weight is used that is not on %s",
                                nn->device->name));
    return found;
}

static void count(SpNn *nn, SpWork kind, double operations)
{
    if (nn->dry)
        nn->work[kind] += nn->times * operations;
}

static double product(int64_t a, int64_t b, int64_t c)
{
    return 2 * (double)a * (double)b * (double)c;
}

static void before_linear(SpNn *nn, SpLinear *call)
{
    call->w.data = resolve(nn, call->w.data);
    call->b = resolve(nn, call->b);
    call->gain = resolve(nn, call->gain);
    count(nn, SP_WORK_PRODUCT, product(call->rows, call->w.dim[0], call->w.dim[1]));
}

static void before_layer_norm(SpNn *nn, SpLayerNorm *call)
{
    call->weight = resolve(nn, call->weight);
    call->bias = resolve(nn, call->bias);
}

static void before_attention(SpNn *nn, SpAttention *call)
{
    const int64_t width = call->heads * call->head;
    count(nn, SP_WORK_ATTENTION, 2 * product(call->batch * call->nq, call->nk, width));
}

static void before_window_attention(SpNn *nn, SpWindowAttention *call)
{
    const int64_t side = call->side,
                  windows = (call->h + side - 1) / side * ((call->w + side - 1) / side);
    call->padding = resolve(nn, call->padding);
    call->rel_pos_h = resolve(nn, call->rel_pos_h);
    call->rel_pos_w = resolve(nn, call->rel_pos_w);
    count(nn, SP_WORK_ATTENTION,
          2 * product(windows * side * side, side * side, call->heads * call->head));
}

static void before_qk_norm_rope(SpNn *nn, SpQkNormRope *call)
{
    call->q_weight = resolve(nn, call->q_weight);
    call->q_bias = resolve(nn, call->q_bias);
    call->k_weight = resolve(nn, call->k_weight);
    call->k_bias = resolve(nn, call->k_bias);
}

static void before_pack(SpNn *nn, SpConvPack *call)
{
    call->w.data = resolve(nn, call->w.data);
}

static void before_conv2d(SpNn *nn, SpConv2d *call)
{
    const int64_t taps = call->kh * call->kw * call->cin;
    const int64_t h = (call->h + 2 * call->pad - call->kh) / call->stride + 1;
    const int64_t w = (call->w + 2 * call->pad - call->kw) / call->stride + 1;
    call->b = resolve(nn, call->b);
    call->residual = resolve(nn, call->residual);
    count(nn, SP_WORK_CONVOLUTION, product(call->n * h * w, call->cout, taps));
}

static void before_deconv(SpNn *nn, SpDeconv *call)
{
    call->b = resolve(nn, call->b);
    count(nn, SP_WORK_PRODUCT,
          product(call->n * call->h * call->w, call->cin, call->cout * call->s * call->s));
}

static void before_elementwise(SpNn *nn, SpElementwise *call)
{
    call->add = resolve(nn, call->add);
}

static void before_correlate(SpNn *nn, SpCorrelate *call)
{
    const int64_t patch = call->side * call->side;
    count(nn, SP_WORK_PRODUCT, product(call->pairs * patch, patch, call->c));
}

/* What is done with an op's arguments before it runs. The other ops have no weights among them, and
 * their work is not counted. */
static const struct {
#define MEMBER(op, type) void (*op)(SpNn *, type *);
    SP_EACH_OP(MEMBER)
} before = {
    .linear = before_linear,
    .layer_norm = before_layer_norm,
    .attention = before_attention,
    .window_attention = before_window_attention,
    .qk_norm_rope = before_qk_norm_rope,
    .conv_pack = before_pack,
    .conv2d = before_conv2d,
    .deconv_pack = before_pack,
    .deconv = before_deconv,
    .elementwise = before_elementwise,
    .correlate = before_correlate,
};

#define DEFINE_OP(op, type)                                                                        \
    void sp_nn_op_##op(SpNn *nn, const type *arguments)                                            \
    {                                                                                              \
        type call = *arguments;                                                                    \
        if (before.op && nn->status.code == SP_OK)                                                 \
            before.op(nn, &call);                                                                  \
        if (sp_nn_live(nn))                                                                        \
            nn->device->ops.op(nn->device, &call);                                                 \
    }
SP_EACH_OP(DEFINE_OP)
