#include <stdio.h>

#include "store/bind_layers.h"
#include "tracker/model.h"

#define ROOT    "spatrack.Track3D."
#define FORMER  ROOT "updateformer."
#define FORMER3 ROOT "updateformer3D."
#define FNET    ROOT "fnet."
#define CONFIG  "model.Track_cfg."

enum { NAME_SIZE = 160, HEADS = 8, MAX_FRAMES = 1 << 20 };

/* A block, in a cross block with a norm of the context. */
static SpTrackBlock bind_block(SpBinder *b, int64_t width, bool cross, const char *prefix)
{
    const char *const attention = cross ? "cross_attn" : "attn";
    SpTrackBlock block = {.width = width, .heads = HEADS, .norm = {NULL, NULL, width, 1e-6f}};
    if (cross)
        block.context_norm = sp_norm_bind(b, width, 1e-5f, "%snorm_context", prefix);
    block.to_q = sp_dense_bind(b, width, width, "%s%s.to_q", prefix, attention);
    block.to_kv = sp_dense_bind(b, 2 * width, width, "%s%s.to_kv", prefix, attention);
    block.to_out = sp_dense_bind(b, width, width, "%s%s.to_out", prefix, attention);
    block.mlp = sp_mlp_bind(b, width, width, SP_GELU_TANH, "%smlp.fc", prefix);
    if (width % HEADS)
        sp_bind_fail(b, "%s: width %lld is not a multiple of %d heads", prefix, (long long)width,
                     HEADS);
    return block;
}

/* Block KIND.i, a weight group of its own. */
static SpTrackBlock bind_former_block(SpBinder *b, int64_t width, bool cross, const char *kind,
                                      int64_t i)
{
    char prefix[NAME_SIZE];
    const int group = sp_bind_new_group(b);
    snprintf(prefix, sizeof prefix, "%s.%d.", kind, (int)i);
    SpTrackBlock block = bind_block(b, width, cross, prefix);
    block.weight_group = group;
    return block;
}

/* In the order in which they run, in which they are streamed. */
static void bind_former_blocks(SpBinder *b, SpUpdateFormer *f, int64_t i)
{
    const struct {
        SpTrackBlock *block;
        const char *kind;
        bool cross;
    } blocks[] = {
        {f->time, FORMER "time_blocks", false},
        {f->time3, FORMER3 "time_blocks_new", false},
        {f->track_to_switcher, FORMER3 "space_track3d2switcher_blocks", true},
        {f->virtual_to_point, FORMER "space_virtual2point_blocks", true},
        {f->virtual_to_switcher, FORMER3 "space_virtual2switcher_blocks", true},
        {f->switcher_to_virtual, FORMER3 "space_switcher2virtual_blocks", true},
        {f->virtual_self, FORMER "space_virtual_blocks", false},
        {f->switcher_self, FORMER3 "space_switcher_blocks", false},
        {f->point_to_virtual, FORMER "space_point2virtual_blocks", true},
        {f->switcher_to_track, FORMER3 "space_switcher2track3d_blocks", true},
    };
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++)
        blocks[k].block[i] = bind_former_block(b, f->width, blocks[k].cross, blocks[k].kind, i);
}

static void bind_former(SpBinder *b, SpTracker *t)
{
    SpUpdateFormer *f = &t->former;
    f->input_transform = sp_dense_bind(b, -1, -1, FORMER "input_transform");
    const int64_t d = f->width = f->input_transform.w.dim[0];
    t->token_width = f->input_transform.w.dim[1];
    sp_bind_into_group(b, SP_HOST_GROUP);
    f->virtual_tracks = sp_bind_dim(b, 1, 4, SP_DIMS(1, -1, 1, d), FORMER "virual_tracks");
    f->virtual_token = sp_bind_floats(b, f->virtual_tracks * d, FORMER "virual_tracks");
    sp_bind_into_group(b, t->weight_group);
    f->flow_head = sp_dense_bind(b, 2, d, FORMER "flow_head");
    f->vis_conf_head = sp_dense_bind(b, 2, d, FORMER "vis_conf_head");
    f->point_head = sp_dense_bind(b, 4, d, FORMER3 "point_head");
    f->weight_head = sp_dense_bind(b, 1, d, FORMER3 "pro_analysis_w_head");
    f->residual_head = sp_dense_bind(b, d, d, FORMER3 "residual_head");
    while (f->depth < SP_FORMER_MAX_DEPTH &&
           sp_bind_has(b, FORMER "time_blocks.%d.attn.to_q.weight", (int)f->depth))
        f->depth++;
    if (f->depth == 0 || f->virtual_tracks == 1)
        sp_bind_fail(b, "the update former has no time blocks or virtual tracks");
    for (int64_t i = 0; i < f->depth; i++)
        bind_former_blocks(b, f, i);
    f->first_group = f->time[0].weight_group;
    f->groups = f->switcher_to_track[f->depth ? f->depth - 1 : 0].weight_group + 1 - f->first_group;
}

/* `in` channels to its own; *in becomes these. */
static SpEncoderBlock bind_encoder_block(SpBinder *b, int stage, int i, int64_t *in)
{
    SpEncoderBlock block = {.stride = stage > 0 && i == 0 ? 2 : 1};
    block.conv1 = sp_conv_bind(b, -1, *in, 3, FNET "layer%d.%d.conv1", stage + 1, i);
    const int64_t out = block.conv1.w.dim[0];
    block.conv2 = sp_conv_bind(b, out, out, 3, FNET "layer%d.%d.conv2", stage + 1, i);
    if (block.stride == 2)
        block.skip = sp_conv_bind(b, out, *in, 1, FNET "layer%d.%d.downsample.0", stage + 1, i);
    else if (out != *in)
        sp_bind_fail(b, "fnet.layer%d.%d.conv1 changes the width without a downsample layer",
                     stage + 1, i);
    *in = out;
    return block;
}

static void bind_encoder(SpBinder *b, SpTracker *t)
{
    SpEncoder *e = &t->encoder;
    e->conv1 = sp_conv_bind(b, -1, 3, 7, FNET "conv1");
    int64_t c = e->conv1.w.dim[0], all = 0;
    for (int s = 0; s < SP_ENCODER_STAGES; s++, all += c)
        for (int i = 0; i < 2; i++)
            e->block[s][i] = bind_encoder_block(b, s, i, &c);
    e->conv2 = sp_conv_bind(b, -1, all, 3, FNET "conv2");
    e->conv3 = sp_conv_bind(b, -1, e->conv2.w.dim[0], 1, FNET "conv3");
    t->channels = e->conv3.w.dim[0];
}

/* Length of the time table, window and overlap; the rule stands at sp_tracker_open. The table is
 * computed: of the stored one only the length counts. */
static void bind_windows(SpBinder *b, SpTrackerMode mode, SpTracker *t)
{
    const bool online = mode == SP_TRACKER_ONLINE;
    const int64_t window = online ? 20 : 500, overlap = online ? 6 : 4;
    const SpTensor *table = sp_checkpoint_find(b->checkpoint, ROOT "time_emb");
    const bool stored =
        table && table->rank == 3 && table->dim[1] > 0 && table->dim[1] <= MAX_FRAMES;
    t->time_length =
        sp_bind_whole(b, CONFIG "base.window_len", stored ? table->dim[1] : 60, 1, MAX_FRAMES);
    t->window = sp_bind_whole(b, CONFIG "s_wind", window, 2, MAX_FRAMES);
    t->overlap = sp_bind_whole(b, CONFIG "overlap", overlap, 1, MAX_FRAMES);
    if (online && t->window > t->time_length) {
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
    t->resolution = sp_bind_whole(b, "model.resolution", 336, 14, 8192);
    t->stride = sp_bind_whole(b, CONFIG "base.stride", 4, 4, 4);
    t->patch_side = 2 * sp_bind_whole(b, CONFIG "base.corr_radius", 3, 2, 4) + 1;
    t->knn = sp_bind_whole(b, CONFIG "base.neighbours", 16, 1, 24);
    t->support = sp_bind_whole(b, "model.track_num", 756, 0, 30000);
    t->iterations = sp_bind_whole(b, "model.iters_track", 4, 1, 64);
    sp_bind_numbers(b, CONFIG "base.model_resolution", 2, resolution);
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
    t->weight_group = sp_bind_new_group(b);
    bind_former(b, t);
    sp_bind_into_group(b, t->weight_group);
    const int64_t c = t->channels, points = t->patch_side * t->patch_side;
    const int64_t motion = SP_MOTION_2D * (1 + 2 * SP_DEGREE);
    t->corr_mlp = sp_mlp_bind(b, points * points, -1, SP_GELU, ROOT "corr_mlp.fc");
    t->corr_width = t->corr_mlp.fc2.w.dim[0];
    t->rel_pos_mlp =
        sp_mlp_bind(b, 3 * (1 + 2 * SP_DEGREE_FINE), c, SP_GELU, ROOT "rel_pos_mlp.fc");
    t->corr_xyz_mlp = sp_mlp_bind(b, 2 * c, c, SP_GELU, ROOT "corr_xyz_mlp.fc");
    t->corr_depth_mlp = sp_mlp_bind(b, -1, t->corr_width, SP_GELU, ROOT "corr_depth_mlp.fc");
    t->xyz_mlp =
        sp_mlp_bind(b, SP_MOTION_3D * (1 + 2 * SP_DEGREE), motion, SP_GELU, ROOT "xyz_mlp.fc");
    t->token3_width = t->token_width + SP_RIGID_CARRY * (1 + 2 * SP_DEGREE_FINE);
    t->proj_xyz_embed =
        sp_mlp_bind(b, t->token3_width, t->token_width, SP_GELU, ROOT "proj_xyz_embed.fc");
    t->cross = bind_block(b, c, true, ROOT "corr_transformer.0.xblock1_2.");
    t->aggregate = bind_block(b, c, true, ROOT "corr_transformer.0.aggr.");
    t->cross_out =
        sp_dense_bind(b, t->corr_depth_mlp.fc1.w.dim[1], c, ROOT "corr_transformer.0.out_proj");
    if (b->status.code == SP_OK &&
        t->token_width != 2 + SP_CORRELATION_LEVELS * t->corr_width + motion)
        sp_bind_fail(b, "tokens of %lld values do not hold %d levels of %lld",
                     (long long)t->token_width, SP_CORRELATION_LEVELS, (long long)t->corr_width);
}
