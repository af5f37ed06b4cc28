#include <stdio.h>

#include "tracker/internal.h"

#define ROOT    "spatrack.Track3D."
#define FORMER  ROOT "updateformer."
#define FORMER3 ROOT "updateformer3D."

enum { NAME = 160, HEADS = 8 };

/* A dense layer [out, in]; -1: any size. */
static SpDense bind_dense(SpBinder *b, int64_t out, int64_t in, const char *prefix,
                          const char *name)
{
    SpDense dense;
    dense.w = sp_bind_weights(b, 2, SP_DIMS(out, in), "%s%s.weight", prefix, name);
    dense.b = sp_bind_floats(b, dense.w.dim[0], "%s%s.bias", prefix, name);
    return dense;
}

static SpMlp bind_mlp(SpBinder *b, int64_t in, int64_t out, const char *prefix, const char *name)
{
    char path[NAME];
    snprintf(path, sizeof path, "%s%s.", prefix, name);
    SpMlp mlp;
    mlp.fc1 = bind_dense(b, -1, in, path, "fc1");
    mlp.fc2 = bind_dense(b, out, mlp.fc1.w.dim[0], path, "fc2");
    return mlp;
}

static SpTrackBlock bind_block(SpBinder *b, int64_t width, bool cross, const char *prefix)
{
    char attention[NAME];
    SpTrackBlock block = {.width = width, .heads = HEADS};
    snprintf(attention, sizeof attention, "%s%s.", prefix, cross ? "cross_attn" : "attn");
    if (cross) {
        block.context_w = sp_bind_floats(b, width, "%snorm_context.weight", prefix);
        block.context_b = sp_bind_floats(b, width, "%snorm_context.bias", prefix);
    }
    block.to_q = bind_dense(b, width, width, attention, "to_q");
    block.to_kv = bind_dense(b, 2 * width, width, attention, "to_kv");
    block.to_out = bind_dense(b, width, width, attention, "to_out");
    block.mlp = bind_mlp(b, width, width, prefix, "mlp");
    if (width % HEADS)
        sp_bind_fail(b, "%s: width %lld is not a multiple of %d heads", prefix, (long long)width,
                     HEADS);
    return block;
}

/* Block `i` of a kind, a segment of its own. */
static void bind_step(SpBinder *b, int64_t width, bool cross, const char *root, const char *kind,
                      int64_t i, SpTrackBlock *blocks)
{
    char prefix[NAME];
    const int segment = sp_bind_new_group(b);
    snprintf(prefix, sizeof prefix, "%s%s.%d.", root, kind, (int)i);
    blocks[i] = bind_block(b, width, cross, prefix);
    blocks[i].segment = segment;
}

/* In the order in which they run, as streams go. */
static void bind_steps(SpBinder *b, int64_t d, int64_t i, SpUpdateFormer *f)
{
    bind_step(b, d, false, FORMER, "time_blocks", i, f->time);
    bind_step(b, d, false, FORMER3, "time_blocks_new", i, f->time3);
    bind_step(b, d, true, FORMER3, "space_track3d2switcher_blocks", i, f->track_to_switcher);
    bind_step(b, d, true, FORMER, "space_virtual2point_blocks", i, f->virtual_to_point);
    bind_step(b, d, true, FORMER3, "space_virtual2switcher_blocks", i, f->virtual_to_switcher);
    bind_step(b, d, true, FORMER3, "space_switcher2virtual_blocks", i, f->switcher_to_virtual);
    bind_step(b, d, false, FORMER, "space_virtual_blocks", i, f->virtual_self);
    bind_step(b, d, false, FORMER3, "space_switcher_blocks", i, f->switcher_self);
    bind_step(b, d, true, FORMER, "space_point2virtual_blocks", i, f->point_to_virtual);
    bind_step(b, d, true, FORMER3, "space_switcher2track3d_blocks", i, f->switcher_to_track);
}

static void bind_former(SpBinder *b, SpTracker *t)
{
    SpUpdateFormer *f = &t->former;
    f->input_transform = bind_dense(b, -1, -1, FORMER, "input_transform");
    const int64_t d = f->input_transform.w.dim[0];
    t->token = f->input_transform.w.dim[1];
    sp_bind_into_group(b, SP_HOST_GROUP);
    f->virtual_tracks = sp_bind_dim(b, 1, 4, SP_DIMS(1, -1, 1, d), FORMER "virual_tracks");
    f->virtual_token = sp_bind_floats(b, f->virtual_tracks * d, FORMER "virual_tracks");
    sp_bind_into_group(b, t->segment);
    f->flow_head = bind_dense(b, 2, d, FORMER, "flow_head");
    f->vis_conf_head = bind_dense(b, 2, d, FORMER, "vis_conf_head");
    f->point_head = bind_dense(b, 4, d, FORMER3, "point_head");
    f->weight_head = bind_dense(b, 1, d, FORMER3, "pro_analysis_w_head");
    f->residual_head = bind_dense(b, d, d, FORMER3, "residual_head");
    while (f->depth < SP_TRACK_DEPTH &&
           sp_bind_has(b, FORMER "time_blocks.%d.attn.to_q.weight", (int)f->depth))
        f->depth++;
    if (f->depth == 0 || f->virtual_tracks == 1)
        sp_bind_fail(b, "the update former has no time blocks or virtual tracks");
    for (int64_t i = 0; i < f->depth; i++)
        bind_steps(b, d, i, f);
    f->first_group = f->time[0].segment;
    f->segments = f->switcher_to_track[f->depth ? f->depth - 1 : 0].segment + 1 - f->first_group;
}

static SpConvWeights bind_conv(SpBinder *b, int64_t cout, int64_t cin, int64_t k, const char *name)
{
    SpConvWeights conv = {0};
    conv.w = sp_bind_weights(b, 4, SP_DIMS(cout, cin, k, k), ROOT "fnet.%s.weight", name);
    conv.b = sp_bind_floats(b, conv.w.dim[0], ROOT "fnet.%s.bias", name);
    return conv;
}

static void bind_encoder(SpBinder *b, SpTracker *t)
{
    SpEncoder *e = &t->encoder;
    e->conv1 = bind_conv(b, -1, 3, 7, "conv1");
    int64_t c = e->conv1.w.dim[0], all = 0;
    for (int s = 0; s < SP_TRACK_STAGES; s++) {
        for (int i = 0; i < 2; i++) {
            char name[4][40];
            const char *const part[4] = {"conv1", "conv2", "downsample.0", ""};
            for (int k = 0; k < 3; k++)
                snprintf(name[k], sizeof name[k], "layer%d.%d.%s", s + 1, i, part[k]);
            SpEncoderBlock *block = &e->block[s][i];
            block->conv1 = bind_conv(b, -1, c, 3, name[0]);
            const int64_t wide = block->conv1.w.dim[0];
            block->conv2 = bind_conv(b, wide, wide, 3, name[1]);
            block->stride = s > 0 && i == 0 ? 2 : 1;
            block->skip =
                block->stride == 2 ? bind_conv(b, wide, c, 1, name[2]) : (SpConvWeights){0};
            if (block->stride == 1 && wide != c)
                sp_bind_fail(b, "fnet.%s changes the width without a downsample layer", name[0]);
            c = wide;
        }
        all += c;
    }
    e->conv2 = bind_conv(b, -1, all, 3, "conv2");
    e->conv3 = bind_conv(b, -1, e->conv2.w.dim[0], 1, "conv3");
    t->channels = e->conv3.w.dim[0];
}

/* Length of the time table, window and overlap; the rule stands at sp_tracker_open. The table is
 * computed: of the stored one only the length counts. */
static void bind_windows(SpBinder *b, SpTrackerMode mode, SpTracker *t)
{
    const int64_t most = 1 << 20, window = mode == SP_TRACKER_ONLINE ? 20 : 500;
    const int64_t overlap = mode == SP_TRACKER_ONLINE ? 6 : 4;
    const SpTensor *table = sp_checkpoint_find(b->checkpoint, ROOT "time_emb");
    const bool stored = table && table->rank == 3 && table->dim[1] > 0 && table->dim[1] <= most;
    t->time_length = (int64_t)sp_bind_number(b, "model.Track_cfg.base.window_len",
                                             stored ? (double)table->dim[1] : 60, 1, (double)most);
    t->window =
        (int64_t)sp_bind_number(b, "model.Track_cfg.s_wind", (double)window, 2, (double)most);
    t->overlap =
        (int64_t)sp_bind_number(b, "model.Track_cfg.overlap", (double)overlap, 1, (double)most);
    if (mode == SP_TRACKER_ONLINE && t->window > t->time_length) {
        t->window = window;
        t->overlap = overlap;
    }
    if (t->overlap >= t->window)
        sp_bind_fail(b, "config.json: overlap %lld is not shorter than the window %lld",
                     (long long)t->overlap, (long long)t->window);
}

static void bind_constants(SpBinder *b, SpTracker *t)
{
    int64_t resolution[2] = {384, 512};
    t->resolution = (int64_t)sp_bind_number(b, "model.resolution", 336, 14, 8192);
    t->stride = (int64_t)sp_bind_number(b, "model.Track_cfg.base.stride", 4, 4, 4);
    t->side = 2 * (int64_t)sp_bind_number(b, "model.Track_cfg.base.corr_radius", 3, 2, 4) + 1;
    t->neighbours = (int64_t)sp_bind_number(b, "model.Track_cfg.base.neighbours", 16, 1, 24);
    t->support = (int64_t)sp_bind_number(b, "model.track_num", 756, 0, 30000);
    sp_bind_numbers(b, "model.Track_cfg.base.model_resolution", 2, resolution);
    t->model_height = resolution[0];
    t->model_width = resolution[1];
    if (t->model_height < 64 || t->model_height > 4096 || t->model_height % 32 ||
        t->model_width < 64 || t->model_width > 4096 || t->model_width % 32)
        sp_bind_fail(b, "config.json: model_resolution is not two multiples of 32 from 64 on");
}

void sp_tracker_bind(SpBinder *b, SpTrackerMode mode, SpTracker *t)
{
    bind_windows(b, mode, t);
    bind_constants(b, t);
    t->encoder_group = sp_bind_new_group(b);
    bind_encoder(b, t);
    t->segment = sp_bind_new_group(b);
    bind_former(b, t);
    sp_bind_into_group(b, t->segment);
    const int64_t c = t->channels, points = t->side * t->side;
    const int64_t motion = SP_MOTION * (1 + 2 * SP_DEGREE);
    t->corr_mlp = bind_mlp(b, points * points, -1, ROOT, "corr_mlp");
    t->corr = t->corr_mlp.fc2.w.dim[0];
    t->rel_pos_mlp = bind_mlp(b, 3 * (1 + 2 * SP_DEGREE_FINE), c, ROOT, "rel_pos_mlp");
    t->corr_xyz_mlp = bind_mlp(b, 2 * c, c, ROOT, "corr_xyz_mlp");
    t->corr_depth_mlp = bind_mlp(b, -1, t->corr, ROOT, "corr_depth_mlp");
    t->xyz_mlp = bind_mlp(b, SP_MOTION3 * (1 + 2 * SP_DEGREE), motion, ROOT, "xyz_mlp");
    t->token3 = t->token + SP_CARRY * (1 + 2 * SP_DEGREE_FINE);
    t->proj_xyz_embed = bind_mlp(b, t->token3, t->token, ROOT, "proj_xyz_embed");
    t->cross = bind_block(b, c, true, ROOT "corr_transformer.0.xblock1_2.");
    t->aggregate = bind_block(b, c, true, ROOT "corr_transformer.0.aggr.");
    t->cross_out =
        bind_dense(b, t->corr_depth_mlp.fc1.w.dim[1], c, ROOT, "corr_transformer.0.out_proj");
    if (b->status.code == SP_OK && t->token != 2 + SP_TRACK_LEVELS * t->corr + motion)
        sp_bind_fail(b, "tokens of %lld values do not hold %d levels of %lld", (long long)t->token,
                     SP_TRACK_LEVELS, (long long)t->corr);
}
