#include <stdio.h>
#include <stdlib.h>

#include "sam/internal.h"
#include "store/bind_layers.h"

#define VISION  "vision_encoder."
#define PROMPT  "prompt_encoder."
#define DECODER "mask_decoder."
#define TWO_WAY "mask_decoder.transformer."

enum { NAME = 160, MAX_LAYERS = 256, DEFAULT_HEADS = 8 };
static const float EPS = 1e-6f, FINAL_EPS = 1e-5f;

static void bind_layer(SpBinder *b, int64_t width, const char *prefix, SpSamLayer *layer)
{
    layer->weight_group = sp_bind_new_group(b);
    static const int64_t any[] = {-1, -1};
    const int64_t entries = sp_bind_dim(b, 0, 2, any, "%sattn.rel_pos_h", prefix);
    const int64_t head = sp_bind_dim(b, 1, 2, any, "%sattn.rel_pos_h", prefix);
    if (b->status.code != SP_OK)
        return;
    if (head > SP_MAX_WINDOW_HEAD || width % head)
        sp_bind_fail(b, "tensor %sattn.rel_pos_h: heads of %lld values do not divide %lld", prefix,
                     (long long)head, (long long)width);
    layer->width = width;
    layer->heads = width / head;
    layer->side = (entries + 1) / 2;
    if (entries % 2 == 0 || layer->side > SP_MAX_WINDOW)
        sp_bind_fail(b, "tensor %sattn.rel_pos_h has %lld rows, not 2 * side - 1 of a window",
                     prefix, (long long)entries);
    layer->rel_pos_h = sp_bind_floats(b, entries * head, "%sattn.rel_pos_h", prefix);
    layer->rel_pos_w = sp_bind_floats(b, entries * head, "%sattn.rel_pos_w", prefix);
    layer->norm1 = sp_norm_bind(b, width, EPS, "%slayer_norm1", prefix);
    layer->norm2 = sp_norm_bind(b, width, EPS, "%slayer_norm2", prefix);
    layer->qkv = sp_dense_bind(b, 3 * width, width, "%sattn.qkv", prefix);
    layer->proj = sp_dense_bind(b, width, width, "%sattn.proj", prefix);
    layer->mlp = sp_mlp_bind(b, width, width, SP_GELU, "%smlp.lin", prefix);
}

static void bind_vision(SpBinder *b, SpSam *sam)
{
    SpSamVision *v = &sam->vision;
    v->weight_group = sp_bind_new_group(b);
    v->grid = sp_bind_dim(b, 1, 4, SP_DIMS(1, -1, -1, -1), VISION "pos_embed");
    v->width = sp_bind_dim(b, 3, 4, SP_DIMS(1, v->grid, v->grid, -1), VISION "pos_embed");
    v->positions = sp_bind_floats(b, v->grid * v->grid * v->width, VISION "pos_embed");
    v->embed = sp_conv_bind(b, v->width, 3, -1, VISION "patch_embed.projection");
    v->patch = v->embed.w.dim[2];
    sam->side = v->grid * v->patch;
    if (b->status.code == SP_OK &&
        (v->embed.w.dim[3] != v->patch || v->grid > SP_MAX_WINDOW || v->patch > 64))
        sp_bind_fail(b, "patches of %lldx%lld pixels on a grid of %lld are not supported",
                     (long long)v->embed.w.dim[3], (long long)v->patch, (long long)v->grid);
    v->layers = sp_bind_count(b, VISION "layers.", ".attn.qkv.weight", MAX_LAYERS);
    if (b->status.code != SP_OK)
        return;
    v->layer = calloc((size_t)v->layers, sizeof *v->layer);
    if (!v->layer)
        b->status = sp_no_memory("SAM's layers");
    for (int64_t i = 0; v->layer && i < v->layers; i++) {
        char prefix[NAME];
        snprintf(prefix, sizeof prefix, VISION "layers.%d.", (int)i);
        bind_layer(b, v->width, prefix, &v->layer[i]);
    }
    sp_bind_into_group(b, v->weight_group);
    v->neck1.w = sp_bind_weights(b, 4, SP_DIMS(-1, v->width, 1, 1), VISION "neck.conv1.weight");
    const int64_t d = sam->width = v->neck1.w.dim[0];
    v->neck2.w = sp_bind_weights(b, 4, SP_DIMS(d, d, 3, 3), VISION "neck.conv2.weight");
    v->neck_norm1 = sp_norm_bind(b, d, EPS, VISION "neck.layer_norm1");
    v->neck_norm2 = sp_norm_bind(b, d, EPS, VISION "neck.layer_norm2");
}

/* The position matrix has two tied names; files may hold either. */
static void bind_prompt(SpBinder *b, SpSam *sam)
{
    static const char shared[] = "shared_image_embedding.positional_embedding";
    static const char tied[] = PROMPT "shared_embedding.positional_embedding";
    SpSamPromptEncoder *p = &sam->prompt;
    const int64_t d = sam->width;
    sp_bind_into_group(b, SP_HOST_GROUP);
    const char *name = sp_bind_has(b, "%s", shared) || !sp_bind_has(b, "%s", tied) ? shared : tied;
    if (d % 2)
        sp_bind_fail(b, "the decoder's width %lld is odd", (long long)d);
    sp_bind_dim(b, 0, 2, SP_DIMS(2, d / 2), "%s", name);
    p->gauss = sp_bind_floats(b, d, "%s", name);
    for (int i = 0; i < SP_SAM_CORNERS; i++)
        p->corner[i] = sp_bind_floats(b, d, PROMPT "point_embed.%d.weight", i);
    p->no_point = sp_bind_floats(b, d, PROMPT "not_a_point_embed.weight");
    sp_bind_into_group(b, sam->decoder.weight_group);
    p->no_mask = sp_bind_floats(b, d, PROMPT "no_mask_embed.weight");
}

static SpSamAttention bind_attention(SpBinder *b, const SpSam *sam, const char *prefix,
                                     const char *name)
{
    const int64_t heads = sam->decoder.heads;
    SpSamAttention a = {.q = sp_dense_bind(b, -1, sam->width, "%s%s.q_proj", prefix, name)};
    const int64_t inner = a.q.w.dim[0];
    a.k = sp_dense_bind(b, inner, sam->width, "%s%s.k_proj", prefix, name);
    a.v = sp_dense_bind(b, inner, sam->width, "%s%s.v_proj", prefix, name);
    a.out = sp_dense_bind(b, sam->width, inner, "%s%s.out_proj", prefix, name);
    if (inner % heads || inner / heads > SP_MAX_WINDOW_HEAD)
        sp_bind_fail(b, "%s%s.: %lld values do not make %lld heads", prefix, name, (long long)inner,
                     (long long)heads);
    return a;
}

static SpSamBlock bind_block(SpBinder *b, const SpSam *sam, int64_t index)
{
    char prefix[NAME];
    snprintf(prefix, sizeof prefix, TWO_WAY "layers.%d.", (int)index);
    SpSamBlock block = {.self = bind_attention(b, sam, prefix, "self_attn")};
    block.to_image = bind_attention(b, sam, prefix, "cross_attn_token_to_image");
    block.to_tokens = bind_attention(b, sam, prefix, "cross_attn_image_to_token");
    block.mlp = sp_mlp_bind(b, sam->width, sam->width, SP_RELU, "%smlp.lin", prefix);
    for (int i = 0; i < 4; i++)
        block.norm[i] = sp_norm_bind(b, sam->width, EPS, "%slayer_norm%d", prefix, i + 1);
    return block;
}

static SpSamHead bind_head(SpBinder *b, int64_t in, int64_t out, const char *prefix)
{
    SpSamHead head = {.in = sp_dense_bind(b, -1, in, "%sproj_in", prefix)};
    const int64_t hidden = head.in.w.dim[0];
    for (; head.depth < SP_SAM_DEPTH; head.depth++) {
        const int i = (int)head.depth;
        if (!sp_bind_has(b, "%slayers.%d.weight", prefix, i))
            break;
        head.layer[i] = sp_dense_bind(b, hidden, hidden, "%slayers.%d", prefix, i);
    }
    head.out = sp_dense_bind(b, out, hidden, "%sproj_out", prefix);
    return head;
}

static void bind_decoder(SpBinder *b, SpSam *sam)
{
    SpSamDecoder *d = &sam->decoder;
    const int64_t heads = sp_bind_whole(b, "decoder_heads", DEFAULT_HEADS, 1, 256);
    d->heads = sp_bind_whole(b, "mask_decoder_config.num_attention_heads", heads, 1, 256);
    sp_bind_into_group(b, SP_HOST_GROUP);
    d->iou_token = sp_bind_floats(b, sam->width, DECODER "iou_token.weight");
    d->mask_tokens = sp_bind_floats(b, SP_SAM_MASKS * sam->width, DECODER "mask_tokens.weight");
    sp_bind_into_group(b, d->weight_group);
    d->blocks = sp_bind_count(b, TWO_WAY "layers.", ".self_attn.q_proj.weight", SP_SAM_BLOCKS);
    for (int64_t i = 0; i < d->blocks; i++)
        d->block[i] = bind_block(b, sam, i);
    d->final = bind_attention(b, sam, TWO_WAY, "final_attn_token_to_image");
    d->final_norm = sp_norm_bind(b, sam->width, FINAL_EPS, TWO_WAY "layer_norm_final_attn");
    d->up1 = sp_deconv_bind(b, sam->width, -1, 2, DECODER "upscale_conv1");
    d->up_norm = sp_norm_bind(b, d->up1.w.dim[1], EPS, DECODER "upscale_layer_norm");
    d->up2 = sp_deconv_bind(b, d->up1.w.dim[1], -1, 2, DECODER "upscale_conv2");
    for (int i = 0; i < SP_SAM_MASKS; i++) {
        char prefix[NAME];
        snprintf(prefix, sizeof prefix, DECODER "output_hypernetworks_mlps.%d.", i);
        d->hyper[i] = bind_head(b, sam->width, d->up2.w.dim[1], prefix);
    }
    d->iou = bind_head(b, sam->width, SP_SAM_MASKS, DECODER "iou_prediction_head.");
}

void sp_sam_bind(SpBinder *b, SpSam *sam)
{
    bind_vision(b, sam);
    if (b->status.code != SP_OK)
        return;
    sam->crop_scale = sp_bind_number(b, "zoom", 0, 0, 16);
    sam->crops = (int)sp_bind_whole(b, "looks", 1, 1, 8);
    sam->threshold = sp_bind_number(b, "mask_threshold", 0, -100, 100);
    sam->decoder.weight_group = sp_bind_new_group(b);
    bind_prompt(b, sam);
    bind_decoder(b, sam);
}
