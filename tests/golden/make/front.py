"""The front's goldens.

The network of depth and cameras: patch embedding, alternating attention, camera head, depth head. All but
`full` run TINY, the public classes at a fraction of the size. Names of stages are those of
src/front/README.md. T frames, P = 5 + h w tokens of a frame (camera, 4 registers, patches), C = 128 channels.
"""
import functools
import json
import math

import numpy as np
import torch
import torch.nn.functional as F

from make import catalog, clips, reference, synth

FULL = {
    "img_size": 518, "patch_size": 14, "embed_dim": 1024,
    "pe_depth": 24, "pe_num_heads": 16, "pe_mlp_ratio": 4, "pe_num_register_tokens": 4,
    "pe_norm_eps": 1e-6, "pe_pos_grid": 37,
    "agg_depth": 24, "agg_num_heads": 16, "agg_mlp_ratio": 4, "agg_num_register_tokens": 4,
    "agg_norm_eps": 1e-5, "rope_base": 100.0, "rope_head_dim": 64,
    "cam_trunk_depth": 4, "cam_num_heads": 16, "cam_mlp_ratio": 4, "cam_iterations": 4,
    "cam_target_dim": 9, "cam_norm_eps": 1e-5, "cam_adaln_eps": 1e-6,
    "dpt_features": 256, "dpt_out_channels": [256, 512, 1024, 1024],
    "dpt_layers": [4, 11, 17, 23], "dpt_head_channels": 32, "dpt_output_dim": 2,
    "dpt_norm_eps": 1e-5, "dpt_chunk": 8, "dpt_pos_ratio": 0.1, "dpt_pos_omega": 100.0,
}
TINY = dict(FULL, embed_dim=128, pe_depth=2, pe_num_heads=2, agg_depth=4, agg_num_heads=2,
            cam_trunk_depth=2, cam_num_heads=2, dpt_features=32,
            dpt_out_channels=[16, 24, 40, 48], dpt_layers=[0, 1, 2, 3])


# The network -------------------------------------------------------------------------------------

def skeleton(ref, config):
    """The network without storage for its parameters."""
    vit = functools.partial(
        ref.vit.DinoVisionTransformer, embed_dim=config["embed_dim"], depth=config["pe_depth"],
        num_heads=config["pe_num_heads"], mlp_ratio=config["pe_mlp_ratio"],
        block_fn=functools.partial(ref.vit.Block, attn_class=ref.vit.MemEffAttention))
    aggregator = functools.partial(ref.agg.Aggregator, depth=config["agg_depth"], num_heads=config["agg_num_heads"])
    camera = functools.partial(ref.cam.CameraHead, trunk_depth=config["cam_trunk_depth"],
                               num_heads=config["cam_num_heads"])
    depth = functools.partial(ref.dpt.DPTHead, features=config["dpt_features"],
                              out_channels=config["dpt_out_channels"], intermediate_layer_idx=config["dpt_layers"])
    linspace = torch.linspace
    changes = [(torch, "linspace", lambda *a, **k: linspace(*a, **{**k, "device": "cpu"}))]  # its values are read back
    if config is not FULL:  # FULL is the published constructor, untouched
        changes += [(ref.agg, "vit_large", vit), (ref.net, "Aggregator", aggregator), (ref.net, "CameraHead", camera),
                    (ref.net, "DPTHead", depth)]
    with reference.patched(*changes), torch.device("meta"):
        model = ref.net.VGGT4Track(img_size=config["img_size"], patch_size=config["patch_size"],
                                   embed_dim=config["embed_dim"])
    return model.eval()


@functools.lru_cache(1)
def network(folder, manifest):
    """The network with the manifest's weights, one tensor at a time."""
    model = skeleton(reference.front(folder), FULL if manifest == "front" else TINY)
    modules = dict(model.named_modules())
    left = set(model.state_dict())
    for name, value in synth.weights(manifest):
        place, _, leaf = name.rpartition(".")
        modules[place]._parameters[leaf] = torch.nn.Parameter(torch.from_numpy(value), requires_grad=False)
        left.remove(name)
    assert not left, left
    return model


def ranges_of(shapes, config):
    """(scale, offset) where synth.default_range will not do."""
    full = config is FULL
    out = {}
    for name, shape in shapes.items():
        if name.endswith(".gamma"):
            out[name] = (0.1, 0.25)
        elif name.startswith("depth_head.resize_layers") and name.endswith("weight") and ".3." not in name:
            # transposed convolution, stride = kernel: the first axis is the fan-in
            out[name] = (math.sqrt(3.0 / shape[0]), 0.0)
    # camera: four rounds add up; the mean of every entry ends near one
    out["camera_head.pose_branch.fc2.bias"] = (0.06, 0.25)
    out["camera_head.pose_branch.fc2.weight"] = (0.010 if full else 0.02, 0.0)
    # depth = exp(.), confidence = sigmoid(.); the minus sign makes depths larger than one
    out["depth_head.scratch.output_conv2.2.weight"] = (-0.25 if full else -0.15, 0.0)
    out["depth_head.scratch.output_conv2.2.bias"] = (0.05, 0.1)
    return out


def manifest(config):
    def make(folder):
        shapes = {k: tuple(v.shape) for k, v in skeleton(reference.front(folder), config).state_dict().items()}
        return config, shapes, ranges_of(shapes, config)
    return make


catalog.manifest("front", manifest(FULL), "the published front: 1341 tensors, 1158 M values")
catalog.manifest("front_tiny", manifest(TINY), "the front at a fraction of its size: 285 tensors, 4.3 M values")


# Inputs ------------------------------------------------------------------------------------------

def noise(name, shape, scale=1.0, offset=0.0):
    return torch.from_numpy(synth.fill(name, shape, scale, offset))


def notes(config, **more):
    return {"config": json.dumps(config), **{k: json.dumps(v) for k, v in more.items()}}


def small_images():
    """0..1 [3, 3, 98, 140]"""
    return torch.from_numpy(clips.frames("room", 7, 3, 140, 98)).permute(0, 3, 1, 2).float() / 255


def reduced_size(h, w, bound=224):
    """The application's first resize: its size, or None where the frame is left alone."""
    s = max(bound / h, bound / w)
    return (int(h * s), int(w * s)) if s < 1 else None


def prepared(ref, frames):
    """u8 [T, h, w, 3]: (u8 [T, 3, h', w'] after the application's resize, 0..255 [T, 3, H, 518])."""
    import torchvision.transforms
    x = torch.from_numpy(frames).permute(0, 3, 1, 2)
    size = reduced_size(*x.shape[-2:])
    if size:
        x = torchvision.transforms.Resize(size)(x)
    return x, ref.load.preprocess_image(x.float())


# Goldens of single units -------------------------------------------------------------------------

SIZES = [(90, 160), (120, 160), (131, 229), (160, 120), (180, 138), (240, 432), (331, 253), (480, 854), (720, 1280),
         (720, 1296), (1080, 1920), (1920, 1080), (1280, 720), (224, 224), (225, 225), (223, 500), (277, 640),
         (284, 512), (299, 299), (640, 277), (314, 500), (361, 401), (2160, 3840), (480, 640), (480, 368), (336, 336),
         (518, 518), (294, 518), (14, 518), (20, 518), (21, 518), (35, 518), (49, 518), (63, 518), (777, 518),
         (532, 518), (525, 518), (600, 100), (100, 1000), (60, 400), (240, 240), (375, 1242), (436, 1024), (159, 106),
         (270, 108), (583, 106), (609, 174), (512, 288), (288, 512), (347, 613), (999, 777), (333, 592)]


def size_table(ref):
    rows = []
    for h, w in SIZES:
        first_h, first_w = reduced_size(h, w) or (h, w)
        resized = ref.load.preprocess_image(torch.zeros(1, first_h, first_w), keep_ratio=True).shape[1]
        rows.append((h, w, first_h, first_w, resized, max(0, (resized - 518) // 2), min(resized, 518)))
    return np.array(rows, np.int32)


@catalog.golden("front/preprocess")
def preprocess(folder):
    """Frames to the network's input: sizes, resampling, cropping

    sizes [52, 7]                i32 rows: h, w, after the application's resize h, w, resized h at width 518, first
                                 kept row, kept rows
    CASE.frames [T, h, w, 3]     u8; CASE: wide, reduce, portrait, odd, odd_reduce
    CASE.reduced [T, h', w', 3]  u8 after the application's resize, where it applies
    CASE.shape [4]               of the result, T 3 H 518
    CASE.sample [T, 3, H/5, 74]  the result, 0..255, at every 5th row and 7th column
    CASE.rows [1, 3, 3, 518]     rows 0, 1 and H - 1 of frame 0
    antialias.input [1, 2, 23, 31], antialias.bilinear_HxW, bicubic_HxW [1, 2, H, W]  the resamplers alone
    """
    ref = reference.front(folder)
    arrays = {"sizes": size_table(ref)}
    cases = {"wide": ("boxes", 0, 2, 160, 90), "reduce": ("room", 5, 1, 432, 240),
             "portrait": ("tall", 10, 1, 138, 180), "odd": ("boxes", 20, 1, 229, 131),
             "odd_reduce": ("tall", 30, 1, 253, 331)}
    for name, what in cases.items():
        frames = clips.frames(*what)
        reduced, ready = prepared(ref, frames)
        arrays[name + ".frames"] = frames
        if reduced.shape[-2:] != frames.shape[1:3]:
            arrays[name + ".reduced"] = reduced.permute(0, 2, 3, 1)
        arrays[name + ".shape"] = np.array(ready.shape, np.int32)
        arrays[name + ".sample"] = ready[:, :, ::5, ::7]
        arrays[name + ".rows"] = ready[:1, :, [0, 1, -1]]
    x = noise("input.resize", (1, 2, 23, 31))
    arrays["antialias.input"] = x
    for size in ((11, 17), (10, 31), (40, 20)):
        arrays["antialias.bilinear_%dx%d" % size] = F.interpolate(x, size, mode="bilinear", antialias=True)
    for size in ((11, 17), (46, 62), (29, 31)):
        arrays["bicubic_%dx%d" % size] = F.interpolate(x, size, mode="bicubic")
    return arrays, notes({}, sample_strides=[5, 7], rows=[0, 1, -1],
                         sizes="h, w, app h, app w, resized h at width 518, first kept row, kept rows")


@catalog.golden("front/patch_embed")
def patch_embed(folder):
    """The patch embedding, a DINOv2 with registers

    images [2, 3, 98, 140]       0..1
    normalised [1, 3, 98, 140], conv [1, 70, C], tokens_in, block0, block1 [1, 75, C]  stages of image 0; tokens are
                                 the class, 4 registers, patches
    patch_tokens [2, 70, C]      the result
    pos_HxW [1, 1 + H W, C/8]    the position embedding of a grid, every 8th channel, the class first
    """
    agg = network(folder, "front_tiny").aggregator
    pe, images = agg.patch_embed, small_images()[:2]
    x = ((images[None] - agg._resnet_mean) / agg._resnet_std)[0]
    arrays = {"images": images, "normalised": x[:1], "conv": pe.patch_embed(x)[:1],
              "tokens_in": pe.prepare_tokens_with_masks(x)[:1]}
    with reference.watching({f"block{i}": block for i, block in enumerate(pe.blocks)}) as seen:
        result = pe(x)
    arrays.update((name, outputs[0][:1]) for name, outputs in seen.items())
    arrays["patch_tokens"] = result["x_norm_patchtokens"]
    for h, w in ((21, 37), (37, 28), (11, 37), (37, 37), (29, 37)):
        position = pe.interpolate_pos_encoding(torch.zeros(1, h * w + 1, pe.embed_dim), h * 14, w * 14)
        arrays[f"pos_{h}x{w}"] = position[:, :, ::8]
    return arrays, notes(TINY, pos_channel_stride=8,
                         note="tokens_in, conv, blocks: image 0; token order class, 4 registers, patches")


@catalog.golden("front/blocks")
def blocks(folder):
    """A frame block, a global block and RoPE alone

    input [2, 50, C], positions [2, 50, 2]             5 tokens and a grid of 5 x 9; positions i32 (row, column)
    frame1.norm1, .attn, .output [2, 50, C]            aggregator.frame_blocks.1
    frame1.q_norm, .k_norm, .q_rope, .k_rope [2, 2, 50, 64]  frame, head, token
    global1.output [2, 50, C]                          aggregator.global_blocks.1 over the tokens of both frames
    rope.input, .output [1, 2, 50, 64]                 at the positions of frame 0
    rope.far_positions [1, 3, 2], .far_output [1, 2, 3, 64]  tokens 5..7 of rope.input at far positions
    """
    agg, grid, frames = network(folder, "front_tiny").aggregator, (5, 9), 2
    count, head = 5 + grid[0] * grid[1], TINY["embed_dim"] // TINY["agg_num_heads"]
    x = noise("input.block", (frames, count, TINY["embed_dim"]), 1.5, 0.1)
    pos = agg.position_getter(frames, *grid, device="cpu") + 1
    pos = torch.cat([torch.zeros(frames, 5, 2, dtype=pos.dtype), pos], 1)
    block = agg.frame_blocks[1]
    qkv = block.attn.qkv(block.norm1(x)).reshape(frames, count, 3, -1, head).permute(2, 0, 3, 1, 4)
    q, k = block.attn.q_norm(qkv[0]), block.attn.k_norm(qkv[1])
    r, far = noise("input.rope", (1, 2, count, head)), torch.tensor([[[37, 1], [1, 37], [20, 30]]])
    joint = agg.global_blocks[1](x.reshape(1, -1, x.shape[-1]), pos=pos.reshape(1, -1, 2)).reshape(x.shape)
    arrays = {"input": x, "positions": pos, "frame1.norm1": block.norm1(x), "frame1.q_norm": q, "frame1.k_norm": k,
              "frame1.q_rope": agg.rope(q, pos), "frame1.k_rope": agg.rope(k, pos),
              "frame1.attn": block.attn(block.norm1(x), pos=pos), "frame1.output": block(x, pos=pos),
              "global1.output": joint, "rope.input": r, "rope.output": agg.rope(r, pos[:1]), "rope.far_positions": far,
              "rope.far_output": agg.rope(r[:, :, 5:8], far)}
    return arrays, notes(TINY, grid=grid, note="frame1 = aggregator.frame_blocks.1, global1 = "
                         "aggregator.global_blocks.1 over all frames' tokens; positions are (row, column); "
                         "rope.far_output rotates tokens 5..7 of rope.input")


@catalog.golden("front/aggregator")
def aggregator(folder):
    """Alternating attention

    images [3, 3, 98, 140]   0..1
    outI [3, 75, 2 C]        I = 0..3: what frame block I gives, then what global block I gives
    """
    images = small_images()
    tokens, start = network(folder, "front_tiny").aggregator(images[None])
    arrays = {"images": images, **{f"out{i}": t[0] for i, t in enumerate(tokens)}}
    return arrays, notes(TINY, patch_start=start,
                         note="out i = frame block i's output | global block i's output, T,P,2C")


@catalog.golden("front/camera")
def camera(folder):
    """The camera head, and cameras of its encoding

    tokens [5, 2 C]                              the frames' camera tokens
    token_norm, embed_pose0, trunk0 [5, 2 C], modulation0 [5, 6 C]  stages of round 0
    delta, poses [4, 5, 9]                       each round's raw step and its pose: translation, quaternion x y z w,
                                                 fields of view
    low.bias [9], low.poses [4, 5, 9]            the same with another pose_branch.fc2.bias, which drives fields of
                                                 view below zero
    encoding [12, 9]                             poses to be decoded
    intrinsics_HxW [12, 3, 3], extrinsics [12, 3, 4], camera_to_world [12, 4, 4]  of encoding
    activated [12, 9]                            of encoding - 0.8
    """
    cam, ref, frames = network(folder, "front_tiny").camera_head, reference.front(folder), 5
    tokens = noise("input.camera", (1, frames, 1, 2 * TINY["embed_dim"]), 1.7)
    parts = {"token_norm": cam.token_norm, "embed_pose": cam.embed_pose, "modulation": cam.poseLN_modulation,
             "trunk": cam.trunk, "delta": cam.pose_branch}
    with reference.watching(parts) as seen:
        poses = cam([tokens])
    arrays = {"tokens": tokens[0, :, 0], "token_norm": seen["token_norm"][0][0],
              "embed_pose0": seen["embed_pose"][0][0], "modulation0": seen["modulation"][0][0],
              "trunk0": seen["trunk"][0][0],
              "delta": torch.cat(seen["delta"]), "poses": torch.cat(poses)}
    # What is fed back is not rectified.
    last, bias = cam.pose_branch.fc2, cam.pose_branch.fc2.bias
    last.bias = torch.nn.Parameter(bias - 0.27)
    arrays.update({"low.bias": last.bias, "low.poses": torch.cat(cam([tokens]))})
    last.bias = bias
    encoding = noise("input.pose", (1, 12, 9))
    encoding[..., 7:] = encoding[..., 7:].abs() * 0.9 + 0.3
    encoding[0, 10, 3:7] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    encoding[0, 11, 3:7] = torch.tensor([3.0, -0.01, 0.02, 0.005])
    for h, w in ((294, 518), (518, 518)):
        extrinsics, intrinsics = ref.pose.pose_encoding_to_extri_intri(encoding, (h, w))
        arrays[f"intrinsics_{h}x{w}"] = intrinsics[0]
    whole = torch.eye(4).repeat(12, 1, 1)
    whole[:, :3] = extrinsics[0]
    arrays.update({"encoding": encoding[0], "extrinsics": extrinsics[0], "camera_to_world": torch.inverse(whole),
                   "activated": ref.cam.activate_pose(encoding - 0.8, fl_act="relu")[0]})
    return arrays, notes(TINY, note="poses, delta: round, frame, 9; low: with another pose_branch.fc2.bias; "
                         "activated: of encoding - 0.8; camera_to_world and extrinsics belong to encoding")


@catalog.golden("front/dpt")
def dpt(folder):
    """The depth head, its position embedding and its resampling

    tokensI [2, 75, 2 C]                         I = 0..3, of a grid of 7 x 10 patches
    norm0 [1, 70, 2 C], projectI [1, c, 7, 10], resizeI, rnI [1, 32, h, w], fuse1..4, conv1  stages of frame 0;
                                                 projectI before the position embedding
    before_activation [2, 2, 98, 140], depth, conf [2, 98, 140]
    uvgrid_HxWxC [H, W, 2], uv_HxWxC [H, W, C]   the position embedding alone; every 7th row and column where
                                                 H W > 2000
    align.input [1, 3, 11, 7], align_HxW [1, 3, H, W]  bilinear with aligned corners
    rcu.input, .output [1, 32, 6, 5]             refinenet3.resConfUnit1
    """
    head, ref, frames, grid = network(folder, "front_tiny").depth_head, reference.front(folder), 2, (7, 10)
    tokens = [noise(f"input.dpt.{i}", (1, frames, 5 + grid[0] * grid[1], 2 * TINY["embed_dim"]), 1.6, 0.2 * i)
              for i in range(4)]
    scratch = head.scratch
    parts = {"norm": head.norm, "head": scratch.output_conv2, "conv1": scratch.output_conv1}
    for i in range(4):
        parts[f"project{i}"], parts[f"resize{i}"] = head.projects[i], head.resize_layers[i]
        parts[f"rn{i}"] = getattr(scratch, f"layer{i + 1}_rn")
        parts[f"fuse{i + 1}"] = getattr(scratch, f"refinenet{i + 1}")
    with reference.watching(parts) as seen:
        depth, conf = head(tokens, torch.zeros(1, frames, 3, grid[0] * 14, grid[1] * 14), 5)
    arrays = {f"tokens{i}": t[0] for i, t in enumerate(tokens)}
    names = {"norm": "norm0", "head": "before_activation"}
    for name, outputs in seen.items():
        arrays[names.get(name, name)] = outputs[0] if name == "head" else outputs[0][:1]
    arrays["depth"], arrays["conf"] = depth[0, ..., 0], conf[0]
    for h, w, c, image_h, image_w in ((7, 10, 16, 98, 140), (21, 37, 32, 294, 518), (98, 140, 16, 98, 140),
                                      (5, 9, 24, 518, 518)):
        uv = ref.uv.create_uv_grid(w, h, aspect_ratio=image_w / image_h, dtype=torch.float32)
        step = 7 if h * w > 2000 else 1
        arrays[f"uv_{h}x{w}x{c}"] = ref.uv.position_grid_to_embed(uv, c)[::step, ::step]
        if step == 1:
            arrays[f"uvgrid_{h}x{w}x{c}"] = uv
    x = noise("input.align", (1, 3, 11, 7))
    arrays["align.input"] = x
    for h, w in ((21, 13), (22, 14), (5, 4), (11, 7), (1, 9)):
        arrays[f"align_{h}x{w}"] = ref.dpt.custom_interpolate(x, (h, w), mode="bilinear", align_corners=True)
    x = noise("input.rcu", (1, TINY["dpt_features"], 6, 5))
    arrays.update({"rcu.input": x, "rcu.output": scratch.refinenet3.resConfUnit1(x.clone())})
    return arrays, notes(TINY, image=[98, 140], patch_start=5, uv_strides="7 where H*W > 2000, else 1",
                         uv="name: grid H x W x channels; image sizes 98x140, 294x518, 98x140, 518x518",
                         note="project, resize, rn, fuse, conv1: frame 0; project before the position embedding; "
                              "rcu = depth_head.scratch.refinenet3.resConfUnit1")


# Whole runs --------------------------------------------------------------------------------------

def poses_of(result):
    return {"pose_encoding": torch.cat(result["pose_enc_list"]), "poses_pred": result["poses_pred"][0],
            "intrs": result["intrs"][0]}


def whole(folder, clip, width, height, count, step):
    """Frames through all steps; depth and confidence at every `step`-th row and column, points at a fifth of those."""
    frames = clips.frames(clip, 2, count, width, height)
    ready = prepared(reference.front(folder), frames)[1]
    result = network(folder, "front_tiny")(ready[None] / 255)
    arrays = {"frames": frames, "shape": np.array(ready.shape, np.int32), **poses_of(result),
              "depth": result["points_map"][..., 2][:, ::step, ::step],
              "unc_metric": result["unc_metric"][:, ::step, ::step],
              "points": result["points_map"][:, ::5 * step, ::5 * step]}
    return arrays, {"strides": {"depth": step, "unc_metric": step, "points": 5 * step}}, ready / 255, result


def distance_to_float64(model, images, result):
    """Largest differences of this run from one of the same network in float64."""
    model.double()
    x = images[None].double()
    tokens, start = model.aggregator(x)
    depth, conf = model.depth_head(tokens, images=x, patch_start_idx=start)
    exact = depth[0, ..., 0], conf[0], model.camera_head(tokens)[-1]
    model.float()
    ours = result["points_map"][..., 2], result["unc_metric"], result["pose_enc_list"][-1]
    return {k: float((x.double() - y).abs().max()) for k, x, y in zip(("depth", "conf", "pose"), ours, exact)}


@catalog.golden("front/tiny")
def tiny(folder):
    """Frames to depth and cameras, 294 x 518

    frames [3, 120, 214, 3], shape [4]            u8; of the network's input
    pose_encoding [4, 3, 9]                       round, frame
    poses_pred [3, 4, 4], intrs [3, 3, 3]         camera to world; pixels of the network's input
    depth, unc_metric [3, 42, 74]                 depth and its confidence at every 7th row and column
    points [3, 9, 15, 3]                          in the camera, at every 35th row and column
    The metadata's float32_error is how far a run in float64 is.
    """
    arrays, strides, images, result = whole(folder, "boxes", 214, 120, 3, 7)
    error = distance_to_float64(network(folder, "front_tiny"), images, result)
    return arrays, notes(TINY, **strides, float32_error=error)


@catalog.golden("front/tiny_chunks")
def tiny_chunks(folder):
    """Nine frames, more than a chunk of the depth head, 112 x 518

    As `tiny`: frames [9, 51, 230, 3]; depth, unc_metric [9, 9, 40] at every 13th row and column, points [9, 2, 8, 3]
    at every 65th.
    """
    arrays, strides, _, _ = whole(folder, "room", 230, 51, 9, 13)
    return arrays, notes(TINY, **strides)


@catalog.golden("front/tiny_resized_back")
def tiny_resized_back(folder):
    """Frames that are not 518 wide, straight into the network, which resizes and crops them itself

    frames [2, 96, 72, 3]; depth, unc_metric [2, 96, 72]; points [2, 24, 18, 3] at every 4th row and column; poses
    as in `tiny`.
    """
    frames = clips.frames("tall", 5, 2, 72, 96)
    result = network(folder, "front_tiny")(torch.from_numpy(frames).permute(0, 3, 1, 2).float()[None] / 255)
    return {"frames": frames, **poses_of(result), "depth": result["points_map"][..., 2],
            "unc_metric": result["unc_metric"], "points": result["points_map"][:, ::4, ::4]}, \
        notes(TINY, note="frames/255 go straight into the network, which resizes and crops them itself")


@catalog.golden("front/full", slow=True, noise=1e-4)
def full(folder):
    """The published dimensions, two frames of 294 x 518; takes 6 GB

    frames [2, 120, 214, 3], shape [4]
    patch_tokens [2, 7, 256]                      every 111th patch, every 4th channel
    token_rows [8], tokens4, tokens11, tokens17, tokens23 [2, 8, 512]  what the depth head reads, those tokens,
                                                  every 4th channel
    before_activation [2, 2, 42, 74], depth, unc_metric [2, 42, 74]    every 7th row and column
    pose_encoding, poses_pred, intrs              as in `tiny`
    """
    model = network(folder, "front")
    frames = clips.frames("boxes", 2, 2, 214, 120)
    ready = prepared(reference.front(folder), frames)[1]
    agg = model.aggregator
    parts = {"tokens": agg, "patches": agg.patch_embed, "head": model.depth_head.scratch.output_conv2}
    with reference.watching(parts) as seen:
        result = model(ready[None] / 255)
    rows = [0, 1, 4, 5, 6, 42, 300, 781]
    arrays = {"frames": frames, "shape": np.array(ready.shape, np.int32),
              "patch_tokens": seen["patches"][0]["x_norm_patchtokens"][:, ::111, ::4],
              "token_rows": np.array(rows, np.int32)}
    for i in FULL["dpt_layers"]:
        arrays[f"tokens{i}"] = seen["tokens"][0][0][i][0][:, rows, ::4]
    arrays.update({**poses_of(result), "before_activation": seen["head"][0][:, :, ::7, ::7],
                   "depth": result["points_map"][:, ::7, ::7, 2], "unc_metric": result["unc_metric"][:, ::7, ::7]})
    return arrays, notes(FULL, strides={"depth": 7, "patch_tokens": [111, 4], "tokens channels": 4})
