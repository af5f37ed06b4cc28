#include <stdio.h>
#include <stdlib.h>

#include "sam/internal.h"

#define VISION  "vision_encoder."
#define PROMPT  "prompt_encoder."
#define DECODER "mask_decoder."
#define TWO_WAY "mask_decoder.transformer."

enum { NAME = 160, MOST_LAYERS = 256, DEFAULT_HEADS = 8 };

/* A dense layer [out, in]; -1: any size. */
static SpSamDense bind_dense(SpBinder *b, int64_t out, int64_t in, const char *prefix,
                             const char *name)
{
    SpSamDense dense;
    dense.w = sp_bind_weights(b, 2, SP_DIMS(out, in), "%s%s.weight", prefix, name);
    dense.b = sp_bind_floats(b, dense.w.dim[0], "%s%s.bias", prefix, name);
    return dense;
}

static SpSamNorm bind_norm(SpBinder *b, int64_t width, const char *prefix, const char *name)
{
    return (SpSamNorm){sp_bind_floats(b, width, "%s%s.weight", prefix, name),
                       sp_bind_floats(b, width, "%s%s.bias", prefix, name)};
}

static void bind_layer(SpBinder *b, int64_t width, const char *prefix, SpSamLayer *layer)
{
    layer->segment = sp_bind_segment(b);
    static const int64_t any[] = {-1, -1};
    const int64_t entries = sp_bind_side(b, 0, 2, any, "%sattn.rel_pos_h", prefix);
    const int64_t head = sp_bind_side(b, 1, 2, any, "%sattn.rel_pos_h", prefix);
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
    layer->rows = sp_bind_floats(b, entries * head, "%sattn.rel_pos_h", prefix);
    layer->columns = sp_bind_floats(b, entries * head, "%sattn.rel_pos_w", prefix);
    layer->norm1 = bind_norm(b, width, prefix, "layer_norm1");
    layer->norm2 = bind_norm(b, width, prefix, "layer_norm2");
    layer->qkv = bind_dense(b, 3 * width, width, prefix, "attn.qkv");
    layer->proj = bind_dense(b, width, width, prefix, "attn.proj");
    layer->lin1 = bind_dense(b, -1, width, prefix, "mlp.lin1");
    layer->lin2 = bind_dense(b, width, layer->lin1.w.dim[0], prefix, "mlp.lin2");
}

static void bind_vision(SpBinder *b, SpSam *sam)
{
    SpSamVision *v = &sam->vision;
    v->segment = sp_bind_segment(b);
    v->grid = sp_bind_side(b, 1, 4, SP_DIMS(1, -1, -1, -1), VISION "pos_embed");
    v->width = sp_bind_side(b, 3, 4, SP_DIMS(1, v->grid, v->grid, -1), VISION "pos_embed");
    v->positions = sp_bind_floats(b, v->grid * v->grid * v->width, VISION "pos_embed");
    v->embed.w =
        sp_bind_weights(b, 4, SP_DIMS(v->width, 3, -1, -1), VISION "patch_embed.projection.weight");
    v->embed.b = sp_bind_floats(b, v->width, VISION "patch_embed.projection.bias");
    v->patch = v->embed.w.dim[2];
    sam->side = v->grid * v->patch;
    if (b->status.code == SP_OK &&
        (v->embed.w.dim[3] != v->patch || v->grid > SP_MAX_WINDOW || v->patch > 64))
        sp_bind_fail(b, "patches of %lldx%lld pixels on a grid of %lld are not supported",
                     (long long)v->embed.w.dim[3], (long long)v->patch, (long long)v->grid);
    while (v->layers < MOST_LAYERS &&
           sp_bind_has(b, VISION "layers.%d.attn.qkv.weight", (int)v->layers))
        v->layers++;
    if (v->layers == 0)
        sp_bind_fail(b, "it lacks tensor " VISION "layers.0.attn.qkv.weight");
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
    sp_bind_into(b, v->segment);
    v->neck1 = sp_bind_weights(b, 4, SP_DIMS(-1, v->width, 1, 1), VISION "neck.conv1.weight");
    const int64_t d = sam->width = v->neck1.dim[0];
    v->neck2.w = sp_bind_weights(b, 4, SP_DIMS(d, d, 3, 3), VISION "neck.conv2.weight");
    v->neck_norm1 = bind_norm(b, d, VISION, "neck.layer_norm1");
    v->neck_norm2 = bind_norm(b, d, VISION, "neck.layer_norm2");
}

/* The position matrix has two tied names; files may hold either. */
static void bind_prompt(SpBinder *b, SpSam *sam)
{
    static const char shared[] = "shared_image_embedding.positional_embedding";
    static const char tied[] = PROMPT "shared_embedding.positional_embedding";
    SpSamPromptEncoder *p = &sam->prompt;
    const int64_t d = sam->width;
    sp_bind_into(b, SP_HOST_SEGMENT);
    const char *name = sp_bind_has(b, "%s", shared) || !sp_bind_has(b, "%s", tied) ? shared : tied;
    if (d % 2)
        sp_bind_fail(b, "the decoder's width %lld is odd", (long long)d);
    sp_bind_side(b, 0, 2, SP_DIMS(2, d / 2), "%s", name);
    p->gauss = sp_bind_floats(b, d, "%s", name);
    for (int i = 0; i < SP_SAM_CORNERS; i++)
        p->corner[i] = sp_bind_floats(b, d, PROMPT "point_embed.%d.weight", i);
    p->no_point = sp_bind_floats(b, d, PROMPT "not_a_point_embed.weight");
    sp_bind_into(b, sam->decoder.segment);
    p->no_mask = sp_bind_floats(b, d, PROMPT "no_mask_embed.weight");
}

static SpSamAttention bind_attention(SpBinder *b, const SpSam *sam, const char *prefix,
                                     const char *name)
{
    SpSamAttention a;
    char path[NAME];
    snprintf(path, sizeof path, "%s%s.", prefix, name);
    a.q = bind_dense(b, -1, sam->width, path, "q_proj");
    const int64_t inner = a.q.w.dim[0];
    a.k = bind_dense(b, inner, sam->width, path, "k_proj");
    a.v = bind_dense(b, inner, sam->width, path, "v_proj");
    a.out = bind_dense(b, sam->width, inner, path, "out_proj");
    if (inner % sam->decoder.heads || inner / sam->decoder.heads > SP_MAX_WINDOW_HEAD)
        sp_bind_fail(b, "%s: %lld values do not make %lld heads", path, (long long)inner,
                     (long long)sam->decoder.heads);
    return a;
}

static void bind_block(SpBinder *b, const SpSam *sam, int index, SpSamBlock *block)
{
    char prefix[NAME];
    snprintf(prefix, sizeof prefix, TWO_WAY "layers.%d.", index);
    block->self = bind_attention(b, sam, prefix, "self_attn");
    block->to_image = bind_attention(b, sam, prefix, "cross_attn_token_to_image");
    block->to_tokens = bind_attention(b, sam, prefix, "cross_attn_image_to_token");
    block->lin1 = bind_dense(b, -1, sam->width, prefix, "mlp.lin1");
    block->lin2 = bind_dense(b, sam->width, block->lin1.w.dim[0], prefix, "mlp.lin2");
    for (int i = 0; i < 4; i++) {
        char name[20];
        snprintf(name, sizeof name, "layer_norm%d", i + 1);
        block->norm[i] = bind_norm(b, sam->width, prefix, name);
    }
}

static SpSamHead bind_head(SpBinder *b, int64_t in, int64_t out, const char *prefix)
{
    SpSamHead head = {0};
    head.in = bind_dense(b, -1, in, prefix, "proj_in");
    const int64_t hidden = head.in.w.dim[0];
    while (head.depth < SP_SAM_DEPTH &&
           sp_bind_has(b, "%slayers.%d.weight", prefix, (int)head.depth)) {
        char name[20];
        snprintf(name, sizeof name, "layers.%d", (int)head.depth);
        head.layer[head.depth++] = bind_dense(b, hidden, hidden, prefix, name);
    }
    head.out = bind_dense(b, out, hidden, prefix, "proj_out");
    return head;
}

static SpSamDense bind_deconv(SpBinder *b, int64_t in, const char *name)
{
    SpSamDense deconv;
    deconv.w = sp_bind_weights(b, 4, SP_DIMS(in, -1, 2, 2), DECODER "%s.weight", name);
    deconv.b = sp_bind_floats(b, deconv.w.dim[1], DECODER "%s.bias", name);
    return deconv;
}

static void bind_decoder(SpBinder *b, SpSam *sam)
{
    SpSamDecoder *d = &sam->decoder;
    const double heads = sp_bind_number(b, "decoder_heads", DEFAULT_HEADS, 1, 256);
    d->heads = (int64_t)sp_bind_number(b, "mask_decoder_config.num_attention_heads", heads, 1, 256);
    sp_bind_into(b, SP_HOST_SEGMENT);
    d->iou_token = sp_bind_floats(b, sam->width, DECODER "iou_token.weight");
    d->mask_tokens = sp_bind_floats(b, SP_SAM_MASKS * sam->width, DECODER "mask_tokens.weight");
    sp_bind_into(b, d->segment);
    while (d->blocks < SP_SAM_BLOCKS &&
           sp_bind_has(b, TWO_WAY "layers.%d.self_attn.q_proj.weight", (int)d->blocks)) {
        bind_block(b, sam, (int)d->blocks, &d->block[d->blocks]);
        d->blocks++;
    }
    if (d->blocks == 0)
        sp_bind_fail(b, "it lacks tensor " TWO_WAY "layers.0.self_attn.q_proj.weight");
    d->final = bind_attention(b, sam, TWO_WAY, "final_attn_token_to_image");
    d->final_norm = bind_norm(b, sam->width, TWO_WAY, "layer_norm_final_attn");
    d->up1 = bind_deconv(b, sam->width, "upscale_conv1");
    d->up_norm = bind_norm(b, d->up1.w.dim[1], DECODER, "upscale_layer_norm");
    d->up2 = bind_deconv(b, d->up1.w.dim[1], "upscale_conv2");
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
    sam->zoom = sp_bind_number(b, "zoom", 0, 0, 16);
    sam->looks = (int)sp_bind_number(b, "looks", 1, 1, 8);
    sam->threshold = sp_bind_number(b, "mask_threshold", 0, -100, 100);
    sam->decoder.segment = sp_bind_segment(b);
    bind_prompt(b, sam);
    bind_decoder(b, sam);
}
