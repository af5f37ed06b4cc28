#include <math.h>
#include <stdlib.h>

#include "front/internal.h"
#include "store/bind_layers.h"

#define AGG    "aggregator."
#define EMBED  "aggregator.patch_embed."
#define CAMERA "camera_head."
#define DPT    "depth_head."

enum { MAX_BLOCKS = 256, MAX_ROUNDS = 64, DEFAULT_HEAD = 64, DEFAULT_HEADS = 16 };

/* What the blocks of a part have in common: their names are PREFIXi. */
typedef struct BlockKind {
    const char *prefix;
    int64_t width, heads;
    float eps;
} BlockKind;

static SpBlock bind_block(SpBinder *b, const BlockKind *kind, int64_t i)
{
    const int64_t d = kind->width, head = d / kind->heads;
    SpBlock block = {.weight_group = sp_bind_new_group(b), .width = d, .heads = kind->heads};
    char prefix[128];
    snprintf(prefix, sizeof prefix, "%s%d.", kind->prefix, (int)i);
    block.norm1 = sp_norm_bind(b, d, kind->eps, "%snorm1", prefix);
    block.norm2 = sp_norm_bind(b, d, kind->eps, "%snorm2", prefix);
    block.qkv = sp_dense_bind(b, 3 * d, d, "%sattn.qkv", prefix);
    block.proj = sp_dense_bind(b, d, d, "%sattn.proj", prefix);
    block.ls1 = sp_bind_floats(b, d, "%sls1.gamma", prefix);
    block.ls2 = sp_bind_floats(b, d, "%sls2.gamma", prefix);
    block.mlp = sp_mlp_bind(b, d, d, SP_GELU, "%smlp.fc", prefix);
    if (sp_bind_has(b, "%sattn.q_norm.weight", prefix)) {
        block.q_norm = sp_norm_bind(b, head, kind->eps, "%sattn.q_norm", prefix);
        block.k_norm = sp_norm_bind(b, head, kind->eps, "%sattn.k_norm", prefix);
    }
    return block;
}

/* Memory for as many blocks of the kind as the checkpoint has. */
static SpBlock *alloc_blocks(SpBinder *b, const BlockKind *kind, int64_t *depth)
{
    *depth = sp_bind_count(b, kind->prefix, ".norm1.weight", MAX_BLOCKS);
    if (kind->heads < 1 || kind->width % kind->heads)
        sp_bind_fail(b, "%lld heads do not divide the width %lld of %s", (long long)kind->heads,
                     (long long)kind->width, kind->prefix);
    if (b->status.code != SP_OK)
        return NULL;
    SpBlock *blocks = calloc((size_t)*depth, sizeof *blocks);
    if (!blocks)
        b->status = sp_no_memory("the front's blocks");
    return blocks;
}

static SpBlock *bind_blocks(SpBinder *b, const BlockKind *kind, int64_t *depth)
{
    SpBlock *blocks = alloc_blocks(b, kind, depth);
    for (int64_t i = 0; blocks && i < *depth; i++)
        blocks[i] = bind_block(b, kind, i);
    return blocks;
}

static int64_t config(SpBinder *b, const char *key, int64_t default_value)
{
    return sp_bind_whole(b, key, default_value, 1, 1 << 20);
}

static float config_eps(SpBinder *b, const char *key, double default_value)
{
    return (float)sp_bind_number(b, key, default_value, 0, 1);
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
    const float eps = config_eps(b, "pe_norm_eps", 1e-6);
    e->cls_token = sp_bind_floats(b, d, EMBED "cls_token");
    e->register_tokens = sp_bind_floats(b, e->registers * d, EMBED "register_tokens");
    e->pos_embed = sp_bind_floats(b, places * d, EMBED "pos_embed");
    e->weight_group = sp_bind_new_group(b);
    e->proj = sp_conv_bind(b, d, 3, f->patch, EMBED "patch_embed.proj");
    e->norm = sp_norm_bind(b, d, eps, EMBED "norm");
    const BlockKind kind = {EMBED "blocks.", d, config(b, "pe_num_heads", f->heads), eps};
    e->block = bind_blocks(b, &kind, &e->depth);
}

static void bind_aggregator(SpBinder *b, SpFront *f)
{
    const float eps = config_eps(b, "agg_norm_eps", 1e-5);
    const BlockKind frame = {AGG "frame_blocks.", f->width, f->heads, eps};
    const BlockKind global = {AGG "global_blocks.", f->width, f->heads, eps};
    int64_t global_depth = 0;
    sp_bind_into_group(b, SP_HOST_GROUP);
    f->registers = sp_bind_dim(b, 2, 4, SP_DIMS(1, 2, -1, f->width), AGG "register_token");
    f->camera_token = sp_bind_floats(b, 2 * f->width, AGG "camera_token");
    f->register_token = sp_bind_floats(b, 2 * f->registers * f->width, AGG "register_token");
    f->rope_base = (float)sp_bind_number(b, "rope_base", 100, 1, 1e6);
    f->frame_block = alloc_blocks(b, &frame, &f->depth);
    f->global_block = alloc_blocks(b, &global, &global_depth);
    if (f->depth != global_depth)
        sp_bind_fail(b, "%lld frame blocks but %lld global ones", (long long)f->depth,
                     (long long)global_depth);
    /* In the order in which they run, as streams go. */
    for (int64_t i = 0; b->status.code == SP_OK && i < f->depth; i++) {
        f->frame_block[i] = bind_block(b, &frame, i);
        f->global_block[i] = bind_block(b, &global, i);
    }
    if (f->width / f->heads % 4)
        sp_bind_fail(b, "heads of %lld values cannot carry a 2D rotary embedding",
                     (long long)(f->width / f->heads));
}

static void bind_camera(SpBinder *b, SpFront *f)
{
    SpCameraHead *h = &f->camera;
    const int64_t d = h->width = 2 * f->width;
    const float eps = config_eps(b, "cam_norm_eps", 1e-5);
    h->adaptive_norm = (SpNorm){.width = d, .eps = config_eps(b, "cam_adaln_eps", 1e-6)};
    h->rounds = sp_bind_whole(b, "cam_iterations", 4, 1, MAX_ROUNDS);
    sp_bind_into_group(b, SP_HOST_GROUP);
    h->empty_pose = sp_bind_floats(b, SP_FRONT_ENCODING, CAMERA "empty_pose_tokens");
    h->weight_group = sp_bind_new_group(b);
    h->token_norm = sp_norm_bind(b, d, eps, CAMERA "token_norm");
    h->trunk_norm = sp_norm_bind(b, d, eps, CAMERA "trunk_norm");
    h->embed_pose = sp_dense_bind(b, d, SP_FRONT_ENCODING, CAMERA "embed_pose");
    h->modulation = sp_dense_bind(b, 3 * d, d, CAMERA "poseLN_modulation.1");
    h->pose_branch = sp_mlp_bind(b, d, SP_FRONT_ENCODING, SP_GELU, CAMERA "pose_branch.fc");
    if (h->pose_branch.fc1.w.dim[0] > d)
        sp_bind_fail(b, "the pose branch is wider than its tokens");
    const BlockKind kind = {CAMERA "trunk.", d, config(b, "cam_num_heads", DEFAULT_HEADS), eps};
    h->block = bind_blocks(b, &kind, &h->depth);
}

/* A convolution of the depth head: its weights are packed once, its bias is read for each frame. */
__attribute__((format(printf, 4, 5))) static SpConvWeights
bind_conv(SpBinder *b, const SpDepthHead *h, const int64_t dims[4], const char *format, ...)
{
    SP_FORMAT(name, 96, format);
    sp_bind_into_group(b, h->convolutions);
    SpConvWeights conv = {.w = sp_bind_weights(b, 4, dims, DPT "%s.weight", name)};
    sp_bind_into_group(b, h->weight_group);
    conv.b = sp_bind_floats(b, conv.w.dim[0], DPT "%s.bias", name);
    return conv;
}

static SpResidualUnit bind_unit(SpBinder *b, const SpDepthHead *h, int64_t c, int k, int unit)
{
    static const char name[] = "scratch.refinenet%d.resConfUnit%d.conv%d";
    SpResidualUnit bound = {.conv1 = bind_conv(b, h, SP_DIMS(c, c, 3, 3), name, k + 1, unit, 1)};
    bound.conv2 = bind_conv(b, h, SP_DIMS(c, c, 3, 3), name, k + 1, unit, 2);
    return bound;
}

/* What makes the k-th map of the pyramid of c channels (-1: any number). */
static void bind_pyramid(SpBinder *b, SpDepthHead *h, int64_t width, int k, int64_t c)
{
    static const int64_t kernel[SP_FRONT_TAPS] = {4, 2, 0, 3};
    h->project[k] = bind_conv(b, h, SP_DIMS(-1, width, 1, 1), "projects.%d", k);
    const int64_t wide = h->project[k].w.dim[0];
    if (k != 2)
        h->resize[k] =
            bind_conv(b, h, SP_DIMS(wide, wide, kernel[k], kernel[k]), "resize_layers.%d", k);
    h->resize[k].transposed = k < 2;
    sp_bind_into_group(b, h->convolutions);
    h->layer_rn[k].w =
        sp_bind_weights(b, 4, SP_DIMS(c, wide, 3, 3), DPT "scratch.layer%d_rn.weight", k + 1);
    if (wide % 4)
        sp_bind_fail(b, "depth_head.projects.%d: %lld channels are not a multiple of 4", k,
                     (long long)wide);
}

static void bind_depth(SpBinder *b, SpFront *f)
{
    SpDepthHead *h = &f->dpt;
    const float eps = config_eps(b, "dpt_norm_eps", 1e-5);
    h->uv_ratio = (float)sp_bind_number(b, "dpt_pos_ratio", 0.1, 0, 10);
    h->uv_base = (float)sp_bind_number(b, "dpt_pos_omega", 100, 1, 1e6);
    h->convolutions = sp_bind_new_group(b);
    h->weight_group = sp_bind_new_group(b);
    h->norm = sp_norm_bind(b, 2 * f->width, eps, DPT "norm");
    for (int k = 0; k < SP_FRONT_TAPS; k++)
        bind_pyramid(b, h, 2 * f->width, k, k ? h->layer_rn[0].w.dim[0] : -1);
    const int64_t c = h->layer_rn[0].w.dim[0];
    for (int k = 0; k < SP_FRONT_TAPS; k++) {
        if (k < 3)
            h->unit1[k] = bind_unit(b, h, c, k, 1);
        h->unit2[k] = bind_unit(b, h, c, k, 2);
        h->out_conv[k] =
            bind_conv(b, h, SP_DIMS(c, c, 1, 1), "scratch.refinenet%d.out_conv", k + 1);
    }
    h->output1 = bind_conv(b, h, SP_DIMS(-1, c, 3, 3), "scratch.output_conv1");
    h->output2a = bind_conv(b, h, SP_DIMS(-1, h->output1.w.dim[0], 3, 3), "scratch.output_conv2.0");
    h->output2b = bind_conv(b, h, SP_DIMS(2, h->output2a.w.dim[0], 1, 1), "scratch.output_conv2.2");
    if (h->output1.w.dim[0] % 4)
        sp_bind_fail(b, "depth_head.scratch.output_conv1: channels are not a multiple of 4");
}

/* Which outputs the depth head reads: as the config says, else 4, 11, 17, 23. */
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
    f->image_size = config(b, "img_size", SP_FRONT_WIDTH);
    if (f->image_size % f->patch)
        sp_bind_fail(b, "img_size %lld is not a multiple of the patch size %lld",
                     (long long)f->image_size, (long long)f->patch);
    bind_embed(b, f);
    bind_aggregator(b, f);
    bind_taps(b, f);
    bind_camera(b, f);
    bind_depth(b, f);
}
