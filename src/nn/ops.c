/* Each op between a model and the device: weights are looked up, work is counted. */
#include "nn/nn.h"

/* *at, which may be a weight, as the device reads it. */
static void find(SpNn *nn, const void **at)
{
    const void *found;
    if (!nn->weights || nn->plan.weights == SP_IN_PLACE || !*at)
        return;
    if (nn->dry && nn->plan.weights == SP_RESIDENT)
        found = sp_weights_only_host(nn->weights, *at) ? NULL : *at;
    else
        found = sp_weights_find(nn->weights, *at);
    if (found)
        *at = found;
    else
        sp_nn_fail(nn, sp_error(SP_DEVICE, "internal error: a weight is used that is not on %s",
                                nn->device->name));
}

static void find_floats(SpNn *nn, const float **at)
{
    const void *weight = *at;
    find(nn, &weight);
    *at = weight;
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

/* What an op does to its call before it runs. */
#define NOTHING(op, type)                                                                          \
    static void before_##op(SpNn *nn, type *call)                                                  \
    {                                                                                              \
        (void)nn;                                                                                  \
        (void)call;                                                                                \
    }

NOTHING(resize, SpResize)
NOTHING(instance_norm, SpInstanceNorm)
NOTHING(axis_add, SpAxisAdd)
NOTHING(modulate, SpModulate)
NOTHING(copy, SpCopy)
NOTHING(sample_patches, SpSamplePatches)
NOTHING(neighbours, SpNeighbours)
NOTHING(posenc, SpPosenc)
NOTHING(group_mean, SpGroupMean)
NOTHING(pick_rows, SpPickRows)
NOTHING(add_rows, SpAddRows)
NOTHING(scale_rows, SpScaleRows)
NOTHING(unit_rows, SpUnitRows)
NOTHING(halve, SpHalve)

static void before_linear(SpNn *nn, SpLinear *call)
{
    find(nn, &call->w.data);
    find_floats(nn, &call->b);
    find_floats(nn, &call->gain);
    count(nn, SP_WORK_PRODUCT, product(call->rows, call->w.dim[0], call->w.dim[1]));
}

static void before_layer_norm(SpNn *nn, SpLayerNorm *call)
{
    find_floats(nn, &call->weight);
    find_floats(nn, &call->bias);
}

static void before_attention(SpNn *nn, SpAttention *call)
{
    const int64_t width = call->heads * call->head;
    count(nn, SP_WORK_ATTENTION, 2 * product(call->batch * call->nq, call->nk, width));
}

static void before_grid_attention(SpNn *nn, SpGridAttention *call)
{
    const int64_t side = call->side,
                  windows = (call->h + side - 1) / side * ((call->w + side - 1) / side);
    find_floats(nn, &call->beyond);
    find_floats(nn, &call->rows);
    find_floats(nn, &call->columns);
    count(nn, SP_WORK_ATTENTION,
          2 * product(windows * side * side, side * side, call->heads * call->head));
}

static void before_qk_norm_rope(SpNn *nn, SpQkNormRope *call)
{
    find_floats(nn, &call->q_weight);
    find_floats(nn, &call->q_bias);
    find_floats(nn, &call->k_weight);
    find_floats(nn, &call->k_bias);
}

static void before_conv_pack(SpNn *nn, SpConvPack *call)
{
    find(nn, &call->w.data);
}

static void before_deconv_pack(SpNn *nn, SpConvPack *call)
{
    find(nn, &call->w.data);
}

static void before_conv2d(SpNn *nn, SpConv2d *call)
{
    const int64_t taps = call->kh * call->kw * call->cin;
    const int64_t h = (call->h + 2 * call->pad - call->kh) / call->stride + 1;
    const int64_t w = (call->w + 2 * call->pad - call->kw) / call->stride + 1;
    find_floats(nn, &call->b);
    find_floats(nn, &call->residual);
    count(nn, SP_WORK_CONVOLUTION, product(call->n * h * w, call->cout, taps));
}

static void before_deconv(SpNn *nn, SpDeconv *call)
{
    find_floats(nn, &call->b);
    count(nn, SP_WORK_PRODUCT,
          product(call->n * call->h * call->w, call->cin, call->cout * call->s * call->s));
}

static void before_map(SpNn *nn, SpMap *call)
{
    find_floats(nn, &call->add);
}

static void before_correlate(SpNn *nn, SpCorrelate *call)
{
    const int64_t patch = call->side * call->side;
    count(nn, SP_WORK_PRODUCT, product(call->pairs * patch, patch, call->c));
}

#define DEFINE_OP(op, type)                                                                        \
    void sp_nn_op_##op(SpNn *nn, const type *call)                                                 \
    {                                                                                              \
        type found = *call;                                                                        \
        if (nn->status.code == SP_OK)                                                              \
            before_##op(nn, &found);                                                               \
        if (sp_nn_live(nn))                                                                        \
            nn->device->ops.op(nn->device, &found);                                                \
    }
SP_EACH_OP(DEFINE_OP)
