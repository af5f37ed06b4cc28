#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "front/internal.h"

#define AGG    "aggregator."
#define EMBED  "aggregator.patch_embed."
#define CAMERA "camera_head."
#define DPT    "depth_head."

enum { MOST_BLOCKS = 256, DEFAULT_HEAD = 64, DEFAULT_HEADS = 16 };

void sp_block_bind(SpBinder *b, const char *prefix, int64_t width, int64_t heads, float eps,
                   SpBlock *block)
{
    const int64_t d = width;
    *block = (SpBlock){.segment = sp_bind_new_group(b), .width = d, .heads = heads, .eps = eps};
    block->norm1_w = sp_bind_floats(b, d, "%snorm1.weight", prefix);
    block->norm1_b = sp_bind_floats(b, d, "%snorm1.bias", prefix);
    block->norm2_w = sp_bind_floats(b, d, "%snorm2.weight", prefix);
    block->norm2_b = sp_bind_floats(b, d, "%snorm2.bias", prefix);
    block->qkv = sp_bind_weights(b, 2, SP_DIMS(3 * d, d), "%sattn.qkv.weight", prefix);
    block->qkv_b = sp_bind_floats(b, 3 * d, "%sattn.qkv.bias", prefix);
    block->proj = sp_bind_weights(b, 2, SP_DIMS(d, d), "%sattn.proj.weight", prefix);
    block->proj_b = sp_bind_floats(b, d, "%sattn.proj.bias", prefix);
    block->ls1 = sp_bind_floats(b, d, "%sls1.gamma", prefix);
    block->ls2 = sp_bind_floats(b, d, "%sls2.gamma", prefix);
    block->fc1 = sp_bind_weights(b, 2, SP_DIMS(-1, d), "%smlp.fc1.weight", prefix);
    block->hidden = block->fc1.dim[0];
    block->fc1_b = sp_bind_floats(b, block->hidden, "%smlp.fc1.bias", prefix);
    block->fc2 = sp_bind_weights(b, 2, SP_DIMS(d, block->hidden), "%smlp.fc2.weight", prefix);
    block->fc2_b = sp_bind_floats(b, d, "%smlp.fc2.bias", prefix);
    if (sp_bind_has(b, "%sattn.q_norm.weight", prefix)) {
        const int64_t head = d / heads;
        block->q_norm_w = sp_bind_floats(b, head, "%sattn.q_norm.weight", prefix);
        block->q_norm_b = sp_bind_floats(b, head, "%sattn.q_norm.bias", prefix);
        block->k_norm_w = sp_bind_floats(b, head, "%sattn.k_norm.weight", prefix);
        block->k_norm_b = sp_bind_floats(b, head, "%sattn.k_norm.bias", prefix);
    }
}

/* Memory for as many blocks PREFIXi. as the checkpoint has, i = 0, 1, ... */
static SpBlock *count_blocks(SpBinder *b, const char *prefix, int64_t width, int64_t heads,
                             int64_t *depth)
{
    int64_t count = 0;
    while (count < MOST_BLOCKS && sp_bind_has(b, "%s%d.norm1.weight", prefix, (int)count))
        count++;
    *depth = count;
    if (count == 0)
        sp_bind_fail(b, "it lacks tensor %s0.norm1.weight", prefix);
    if (heads < 1 || width % heads)
        sp_bind_fail(b, "%lld heads do not divide the width %lld of %s", (long long)heads,
                     (long long)width, prefix);
    if (b->status.code != SP_OK)
        return NULL;
    SpBlock *blocks = calloc((size_t)count, sizeof *blocks);
    if (!blocks)
        b->status = sp_no_memory("the front's blocks");
    return blocks;
}

static void bind_numbered(SpBinder *b, const char *prefix, int64_t i, int64_t width, int64_t heads,
                          float eps, SpBlock *blocks)
{
    char name[128];
    snprintf(name, sizeof name, "%s%d.", prefix, (int)i);
    sp_block_bind(b, name, width, heads, eps, &blocks[i]);
}

static SpBlock *bind_blocks(SpBinder *b, const char *prefix, int64_t width, int64_t heads,
                            float eps, int64_t *depth)
{
    SpBlock *blocks = count_blocks(b, prefix, width, heads, depth);
    for (int64_t i = 0; blocks && i < *depth; i++)
        bind_numbered(b, prefix, i, width, heads, eps, blocks);
    return blocks;
}

static int64_t config(SpBinder *b, const char *key, int64_t otherwise)
{
    return (int64_t)sp_bind_number(b, key, (double)otherwise, 1, 1 << 20);
}

static float config_eps(SpBinder *b, const char *key, double otherwise)
{
    return (float)sp_bind_number(b, key, otherwise, 0, 1);
}

static void bind_embed(SpBinder *b, SpFront *f)
{
    SpPatchEmbed *e = &f->embed;
    const int64_t d = f->width;
    sp_bind_into_group(b, SP_HOST_GROUP);
    const int64_t places = sp_bind_dim(b, 1, 3, SP_DIMS(1, -1, d), EMBED "pos_embed");
    e->registers = sp_bind_dim(b, 1, 3, SP_DIMS(1, -1, d), EMBED "register_tokens");
    e->grid = (int64_t)lround(sqrt((double)(places - 1)));
    if (b->status.code == SP_OK && (e->grid < 1 || e->grid * e->grid + 1 != places))
        sp_bind_fail(b, "tensor " EMBED "pos_embed is not a square grid and a class");
    e->eps = config_eps(b, "pe_norm_eps", 1e-6);
    e->cls_token = sp_bind_floats(b, d, EMBED "cls_token");
    e->register_tokens = sp_bind_floats(b, e->registers * d, EMBED "register_tokens");
    e->pos_embed = sp_bind_floats(b, places * d, EMBED "pos_embed");
    e->segment = sp_bind_new_group(b);
    e->proj.w =
        sp_bind_weights(b, 4, SP_DIMS(d, 3, f->patch, f->patch), EMBED "patch_embed.proj.weight");
    e->proj.b = sp_bind_floats(b, d, EMBED "patch_embed.proj.bias");
    e->norm_w = sp_bind_floats(b, d, EMBED "norm.weight");
    e->norm_b = sp_bind_floats(b, d, EMBED "norm.bias");
    e->block =
        bind_blocks(b, EMBED "blocks.", d, config(b, "pe_num_heads", f->heads), e->eps, &e->depth);
}

static void bind_aggregator(SpBinder *b, SpFront *f)
{
    const float eps = config_eps(b, "agg_norm_eps", 1e-5);
    int64_t global_depth = 0;
    sp_bind_into_group(b, SP_HOST_GROUP);
    f->registers = sp_bind_dim(b, 2, 4, SP_DIMS(1, 2, -1, f->width), AGG "register_token");
    f->camera_token = sp_bind_floats(b, 2 * f->width, AGG "camera_token");
    f->register_token = sp_bind_floats(b, 2 * f->registers * f->width, AGG "register_token");
    f->rope_base = (float)sp_bind_number(b, "rope_base", 100, 1, 1e6);
    f->frame_block = count_blocks(b, AGG "frame_blocks.", f->width, f->heads, &f->depth);
    f->global_block = count_blocks(b, AGG "global_blocks.", f->width, f->heads, &global_depth);
    if (f->depth != global_depth)
        sp_bind_fail(b, "%lld frame blocks but %lld global ones", (long long)f->depth,
                     (long long)global_depth);
    /* In the order in which they run, as streams go. */
    for (int64_t i = 0; b->status.code == SP_OK && i < f->depth; i++) {
        bind_numbered(b, AGG "frame_blocks.", i, f->width, f->heads, eps, f->frame_block);
        bind_numbered(b, AGG "global_blocks.", i, f->width, f->heads, eps, f->global_block);
    }
    if (f->width / f->heads % 4)
        sp_bind_fail(b, "heads of %lld values cannot carry a 2D rotary embedding",
                     (long long)(f->width / f->heads));
}

static void bind_camera(SpBinder *b, SpFront *f)
{
    SpCameraHead *h = &f->camera;
    const int64_t d = h->width = 2 * f->width;
    h->eps = config_eps(b, "cam_norm_eps", 1e-5);
    h->adaln_eps = config_eps(b, "cam_adaln_eps", 1e-6);
    h->rounds = config(b, "cam_iterations", 4);
    sp_bind_into_group(b, SP_HOST_GROUP);
    h->empty_pose = sp_bind_floats(b, SP_FRONT_ENCODING, CAMERA "empty_pose_tokens");
    h->segment = sp_bind_new_group(b);
    h->token_norm_w = sp_bind_floats(b, d, CAMERA "token_norm.weight");
    h->token_norm_b = sp_bind_floats(b, d, CAMERA "token_norm.bias");
    h->trunk_norm_w = sp_bind_floats(b, d, CAMERA "trunk_norm.weight");
    h->trunk_norm_b = sp_bind_floats(b, d, CAMERA "trunk_norm.bias");
    h->embed_pose =
        sp_bind_weights(b, 2, SP_DIMS(d, SP_FRONT_ENCODING), CAMERA "embed_pose.weight");
    h->embed_pose_b = sp_bind_floats(b, d, CAMERA "embed_pose.bias");
    h->modulation = sp_bind_weights(b, 2, SP_DIMS(3 * d, d), CAMERA "poseLN_modulation.1.weight");
    h->modulation_b = sp_bind_floats(b, 3 * d, CAMERA "poseLN_modulation.1.bias");
    h->fc1 = sp_bind_weights(b, 2, SP_DIMS(-1, d), CAMERA "pose_branch.fc1.weight");
    h->hidden = h->fc1.dim[0];
    h->fc1_b = sp_bind_floats(b, h->hidden, CAMERA "pose_branch.fc1.bias");
    h->fc2 = sp_bind_weights(b, 2, SP_DIMS(SP_FRONT_ENCODING, h->hidden),
                             CAMERA "pose_branch.fc2.weight");
    h->fc2_b = sp_bind_floats(b, SP_FRONT_ENCODING, CAMERA "pose_branch.fc2.bias");
    if (h->hidden > d)
        sp_bind_fail(b, "the pose branch is wider than its tokens");
    h->block = bind_blocks(b, CAMERA "trunk.", d, config(b, "cam_num_heads", DEFAULT_HEADS), h->eps,
                           &h->depth);
}

/* A convolution [cout, cin, k, k] (any size where -1) with a bias unless told otherwise. */
static SpConvWeights bind_conv(SpBinder *b, const SpDepthHead *h, int64_t cout, int64_t cin,
                               int64_t k, bool bias, const char *name)
{
    SpConvWeights conv = {0};
    sp_bind_into_group(b, h->convolutions);
    conv.w = sp_bind_weights(b, 4, SP_DIMS(cout, cin, k, k), DPT "%s.weight", name);
    sp_bind_into_group(b, h->segment);
    if (bias)
        conv.b = sp_bind_floats(b, conv.w.dim[0], DPT "%s.bias", name);
    return conv;
}

static SpResidualUnit bind_unit(SpBinder *b, const SpDepthHead *h, int64_t c, int k, int unit)
{
    char name[2][96];
    for (int i = 0; i < 2; i++)
        snprintf(name[i], sizeof name[i], "scratch.refinenet%d.resConfUnit%d.conv%d", k + 1, unit,
                 i + 1);
    return (SpResidualUnit){bind_conv(b, h, c, c, 3, true, name[0]),
                            bind_conv(b, h, c, c, 3, true, name[1])};
}

static void bind_depth(SpBinder *b, SpFront *f)
{
    static const int64_t kernel[SP_FRONT_TAPS] = {4, 2, 0, 3};
    SpDepthHead *h = &f->dpt;
    h->eps = config_eps(b, "dpt_norm_eps", 1e-5);
    h->uv_ratio = (float)sp_bind_number(b, "dpt_pos_ratio", 0.1, 0, 10);
    h->uv_base = (float)sp_bind_number(b, "dpt_pos_omega", 100, 1, 1e6);
    h->convolutions = sp_bind_new_group(b);
    h->segment = sp_bind_new_group(b);
    h->norm_w = sp_bind_floats(b, 2 * f->width, DPT "norm.weight");
    h->norm_b = sp_bind_floats(b, 2 * f->width, DPT "norm.bias");
    int64_t c = -1;
    for (int k = 0; k < SP_FRONT_TAPS; k++) {
        char name[96];
        snprintf(name, sizeof name, "projects.%d", k);
        h->project[k] = bind_conv(b, h, -1, 2 * f->width, 1, true, name);
        const int64_t wide = h->project[k].w.dim[0];
        snprintf(name, sizeof name, "resize_layers.%d", k);
        if (k == 2)
            h->resize[k] = (SpConvWeights){0};
        else
            h->resize[k] = bind_conv(b, h, wide, wide, kernel[k], true, name);
        snprintf(name, sizeof name, "scratch.layer%d_rn", k + 1);
        h->layer_rn[k] = bind_conv(b, h, c, wide, 3, false, name);
        c = h->layer_rn[0].w.dim[0];
        if (wide % 4)
            sp_bind_fail(b, "depth_head.projects.%d: %lld channels are not a multiple of 4", k,
                         (long long)wide);
    }
    for (int k = 0; k < SP_FRONT_TAPS; k++) {
        char name[96];
        if (k < 3)
            h->unit1[k] = bind_unit(b, h, c, k, 1);
        h->unit2[k] = bind_unit(b, h, c, k, 2);
        snprintf(name, sizeof name, "scratch.refinenet%d.out_conv", k + 1);
        h->out_conv[k] = bind_conv(b, h, c, c, 1, true, name);
    }
    h->output1 = bind_conv(b, h, -1, c, 3, true, "scratch.output_conv1");
    h->output2a = bind_conv(b, h, -1, h->output1.w.dim[0], 3, true, "scratch.output_conv2.0");
    h->output2b = bind_conv(b, h, 2, h->output2a.w.dim[0], 1, true, "scratch.output_conv2.2");
    if (h->output1.w.dim[0] % 4)
        sp_bind_fail(b, "depth_head.scratch.output_conv1: channels are not a multiple of 4");
}

/* Which outputs the depth head reads: told by the config, else 4, 11, 17, 23. */
static void bind_taps(SpBinder *b, SpFront *f)
{
    static const int64_t published[SP_FRONT_TAPS] = {4, 11, 17, 23};
    if (!sp_bind_numbers(b, "dpt_layers", SP_FRONT_TAPS, f->taps))
        for (int k = 0; k < SP_FRONT_TAPS; k++)
            f->taps[k] = published[k];
    for (int k = 0; k < SP_FRONT_TAPS; k++)
        if (f->taps[k] < 0 || f->taps[k] >= f->depth)
            sp_bind_fail(b, "the depth head reads output %lld of %lld", (long long)f->taps[k],
                         (long long)f->depth);
}

void sp_front_bind(SpBinder *b, SpFront *f)
{
    static const char proj[] = EMBED "patch_embed.proj.weight";
    f->width = sp_bind_dim(b, 0, 4, SP_DIMS(-1, 3, -1, -1), proj);
    f->patch = sp_bind_dim(b, 2, 4, SP_DIMS(-1, 3, -1, -1), proj);
    const SpTensor *q_norm =
        sp_checkpoint_find(b->checkpoint, AGG "frame_blocks.0.attn.q_norm.weight");
    if (b->status.code != SP_OK)
        return;
    const int64_t head =
        q_norm && q_norm->rank == 1 && q_norm->dim[0] > 0 ? q_norm->dim[0] : DEFAULT_HEAD;
    f->heads = config(b, "agg_num_heads", f->width / head > 0 ? f->width / head : 1);
    f->image_size = config(b, "img_size", 518);
    if (f->image_size % f->patch)
        sp_bind_fail(b, "img_size %lld is not a multiple of the patch size %lld",
                     (long long)f->image_size, (long long)f->patch);
    bind_embed(b, f);
    bind_aggregator(b, f);
    bind_taps(b, f);
    bind_camera(b, f);
    bind_depth(b, f);
}
