"""The tracker's goldens of single units, and the tracker itself.

Its published dimensions are small enough to be used everywhere. What a run changes in the public implementation,
all from outside: CUDA calls stay on the CPU, the sorting of the queries is stable, queries on unreliable depth are
kept as they are (it replaces them by random duplicates), bundle adjustment runs on one thread, a breakpoint is an
error, and every random choice comes from synth.Stream, which starts at the seed and goes on from window to window:
a window draws 10000 randint(T), the frames of the grid of support points in row-major order, then one
permute(number of the candidates kept).
"""
import contextlib
import functools
import os

import numpy as np
import torch
import torch.nn.functional as F

from make import catalog, reference, scene, synth

# Where the default range is not good enough: correlations that differ between tracks, a 2D step
# of about a pixel, small 3D steps, logits around 0 with spread over tracks. A head's biases are
# scale * u + offset with two numbers u that the names fix, so two values can be chosen freely.
REFINER = "spatrack.Track3D."
RANGES = {
    REFINER + "corr_mlp.fc1.weight": (0.21, 0.0),
    REFINER + "corr_mlp.fc2.weight": (0.265, 0.0),
    REFINER + "corr_depth_mlp.fc2.weight": (0.2165, 0.0),
    REFINER + "updateformer.flow_head.weight": (0.020, 0.0),
    REFINER + "updateformer.flow_head.bias": (-1.135, 0.807),
    REFINER + "updateformer.vis_conf_head.weight": (0.050, 0.0),
    REFINER + "updateformer.vis_conf_head.bias": (-243.74, 7.1935),
    REFINER + "updateformer3D.point_head.weight": (0.0015, 0.0),
    REFINER + "updateformer3D.point_head.bias": (-0.06, 0.022),
    REFINER + "updateformer3D.pro_analysis_w_head.weight": (0.060, 0.0),
    REFINER + "updateformer3D.pro_analysis_w_head.bias": (0.1, 1.5),
    REFINER + "updateformer3D.residual_head.weight": (0.02, 0.0),
}


# The tracker -------------------------------------------------------------------------------------

def config(mode):
    """The model section of the public configuration of that mode."""
    offline = mode == "offline"
    return {"backbone_cfg": {"ckpt_dir": ""}, "chunk_size": 24, "ckpt_fwd": True,
            "ft_cfg": {"mode": "fix", "paras_name": []}, "resolution": 336, "max_len": 512,
            "Track_cfg": {"base_ckpt": "",
                          "base": {"stride": 4, "corr_radius": 3, "window_len": 60 if offline else 20},
                          "stablizer": offline, "mode": "online",
                          "s_wind": 500 if offline else 20, "overlap": 4 if offline else 6},
            "track_num": 0}


def skeleton(ref, mode):
    """The predictor, its weights not set."""
    keep = [(torch.nn.init, name, lambda t, *_, **__: t)
            for name in ("trunc_normal_", "xavier_uniform_", "kaiming_normal_", "kaiming_uniform_")]
    with reference.patched(*keep):
        return ref.predictor.Predictor(config(mode)).eval()


@functools.lru_cache(1)
def predictor(folder, mode):
    """With the weights of the manifest, in which buffers are listed and not filled."""
    model = skeleton(reference.tracker(folder), mode)
    buffers = {name for name, _ in model.named_buffers()}
    filled = {name: torch.from_numpy(value) for name, value in synth.weights("tracker_" + mode, buffers)}
    missing = model.load_state_dict(filled, strict=False).missing_keys
    assert set(missing) == buffers, missing
    return model


def refiner(folder):
    return predictor(folder, "offline").spatrack.Track3D


def manifest(mode):
    def make(folder):
        model = skeleton(reference.tracker(folder), mode)
        # A buffer's values follow from a formula; the manifest lists it so that its name and shape are known.
        buffers = sorted(name for name, _ in model.named_buffers())
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        return {"mode": mode, "model": config(mode), "buffers": buffers}, shapes, \
            {**RANGES, **{name: (0.0, 0.0) for name in buffers}}
    return make


catalog.manifest("tracker_offline", manifest("offline"), "the published tracker: 588 tensors, 66 M values")
catalog.manifest("tracker_online", manifest("online"), "the same for windows of 20 frames")


def choices(ref, stream):
    """The random choices replaced, and the replacement of queries switched off."""
    sort, solve = np.argsort, ref.ba.pyceres.solve

    def one_thread(options, problem, summary):
        options.num_threads = 1
        return solve(options, problem, summary)

    def randint_like(x, n):
        draws = [stream.randint(int(n)) for _ in range(x.numel())]
        return torch.tensor(draws, dtype=x.dtype).reshape(x.shape)

    return reference.patched(
        (torch, "randint_like", randint_like),
        (torch, "randperm", lambda n, **_: torch.tensor(stream.permute(int(n)))),
        (np, "argsort", lambda a, *more, **how: sort(a, *more, **{**how, "kind": "stable"})),
        (ref.spatrack, "sample_features5d", lambda x, c, **_: torch.ones(*c.shape[:3], x.shape[2])),
        (ref.ba.pyceres, "solve", one_thread))


def track(folder, model, s, vo_points, seed=0, iterations=4):
    """A run on a scene, called as the public scripts call it."""
    ref = reference.tracker(folder)
    model.spatrack.track_num = vo_points
    video = torch.from_numpy(s["frames"]).permute(0, 3, 1, 2).float()
    with choices(ref, synth.Stream(seed)), open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        return model.forward(video, depth=s["depth"].astype(np.float32), intrs=s["intrinsics"], extrs=s["c2w"],
                             queries=s["queries"], fps=1, full_point=False, iters_track=iterations,
                             query_no_BA=True, fixed_cam=False, stage=1, unc_metric=s["conf"].astype(np.float32),
                             support_frame=len(video) - 1, replace_ratio=0.2)


def noise(name, *shape, scale=1.0, offset=0.0):
    return torch.from_numpy(synth.fill("tracker." + name, shape, scale, offset))


# The goldens -------------------------------------------------------------------------------------

@catalog.golden("tracker/rng")
def rng(_folder):
    """The stream of random numbers

    next_hi_lo [8, 2]   the first numbers of seed 7, upper and lower 32 bits
    permute_20 [20]     a permutation, seed 7
    randint_6 [32]      draws below 6, seed 0
    """
    s, p, g = synth.Stream(7), synth.Stream(7), synth.Stream(0)
    numbers = [s.next() for _ in range(8)]
    return {"next_hi_lo": np.array([[v >> 32, v & 0xFFFFFFFF] for v in numbers], np.int64),
            "permute_20": np.array(p.permute(20), np.int64),
            "randint_6": np.array([g.randint(6) for _ in range(32)], np.int64)}, \
        {"seed_next": 7, "seed_permute": 7, "seed_randint": 0}


@catalog.golden("tracker/fnet")
def fnet(folder):
    """The feature encoder

    frames [2, 64, 96, 3], input [1, 2, 3, 64, 96]   u8; -1..1
    raw [2, 128, 16, 24]                             what the encoder gives
    pyramid0..3 [1, 2, 128, h, w]                    normalised features and three levels below
    stage.conv1, .layer1..4, .conv2 [1, c/8, h, w]   inner stages of frame 0, every 8th channel, before any
                                                     normalisation that follows
    """
    net = refiner(folder)
    frames = scene.render(2, 64, 96, 1)["frames"]
    video = 2 * (torch.from_numpy(frames).permute(0, 3, 1, 2).float()[None] / 255) - 1
    arrays = {"frames": frames, "input": video, "raw": net.fnet(video[0])}
    features = net.extract_img_feat(video)
    for i in range(4):
        arrays[f"pyramid{i}"] = features
        features = F.avg_pool2d(features[0], 2, stride=2)[None]
    parts = {name: getattr(net.fnet, name) for name in ("conv1", "layer1", "layer2", "layer3", "layer4", "conv2")}
    with reference.watching(parts) as seen:
        net.fnet(video[0, :1])
    arrays.update(("stage." + name, outputs[0][:, ::8]) for name, outputs in seen.items())
    return arrays, {"stage": "every 8th channel of frame 0, before any normalisation that follows"}


@catalog.golden("tracker/sample")
def sample(folder):
    """Sampling from maps, at positions outside the borders too; row 3 is an exact half

    maps [1, 3, 8, 10, 12], xy [1, 9, 2], frame [1, 9]      frames, channels, h, w; x, y in cells
    track_centre [1, 1, 9, 8], track_support [1, 49, 9, 8]  a track's feature and its 7 x 7 neighbourhood
    xy_all [3, 9, 2], correlation [1, 3, 9, 7, 7, 8]        7 x 7 neighbourhoods in every frame
    nearest_border, linear_border [1, 9, 8], nearest_zero [3, 8, 9]  the border repeated, or zeros beyond it
    """
    net = refiner(folder)
    from models.SpaTrackV2.models.blocks import bilinear_sampler as zero_padded
    from models.SpaTrackV2.utils.model_utils import sample_features5d
    maps = noise("maps", 1, 3, 8, 10, 12)
    xy = noise("xy", 1, 9, 2, scale=9.0, offset=5.0)
    xy[0, :4] = torch.tensor([[0.0, 0.0], [11.0, 9.0], [-2.5, 4.5], [6.5, 2.5]])
    t = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 1, 2]])
    centre, support = net.get_track_feat(maps, t, xy, support_radius=3)
    many = torch.stack([xy[0] + 0.3 * k for k in range(3)])
    correlation = net.get_correlation_feat(maps, many.clone(), radius=3)
    txy = torch.cat([t[..., None].float(), xy], -1)
    return {"maps": maps, "xy": xy, "frame": t, "track_centre": centre, "track_support": support, "xy_all": many,
            "correlation": correlation,
            "nearest_border": sample_features5d(maps, txy[:, None], interp_mode="nearest")[:, 0],
            "linear_border": sample_features5d(maps, txy[:, None])[:, 0],
            "nearest_zero": zero_padded(maps[0], many[:, :, None], mode="nearest")[..., 0]}, {}


@catalog.golden("tracker/time_embed")
def time_embed(folder):
    """The embedding of time, resampled to T frames

    TN [1, N, 222]   N = 1, 6, 20, 60, 75; every 5th channel
    """
    net = refiner(folder)
    return {f"T{t}": net.interpolate_time_embed(torch.zeros(1), t)[:, :, ::5] for t in (1, 6, 20, 60, 75)}, \
        {"note": "every 5th channel"}


class Prepared(Exception):
    """Leaves a run before the tracker proper."""


def prepared(folder, s, vo_points):
    """What the refiner is called with: (positional, named)."""
    got = []

    def stop(*positional, **named):
        got.extend((positional, named))
        raise Prepared

    with reference.patched((refiner(folder), "forward", stop)), contextlib.suppress(Prepared):
        track(folder, predictor(folder, "offline"), s, vo_points)
    return got


@catalog.golden("tracker/prepare")
def prepare(folder):
    """Everything before the refiner: a landscape with a far sky, and a portrait

    CASE.in.depth, .conf [3, h, w], .queries [12, 3], .intrinsics, .c2w  CASE: land (90 x 160), port (168 x 126)
    CASE.depth [3, H/8, W/8]             at the tracker's size, every 8th row and column
    CASE.unc u8 [3, H/2, W/2]            1 where depth is valid, every 2nd
    CASE.points [3, H/16, W/16, 3]       in the camera, every 16th
    CASE.queries [12, 3], CASE.support [200, 3], CASE.intrinsics [3, 3, 3], CASE.c2w [3, 4, 4]
    CASE.size [2], CASE.unc_sum, CASE.depth_sum [1]
    sizes [8, 4]                         rows: h, w of the frames, H, W of the tracker
    """
    arrays = {}
    for case, (h, w) in (("land", (90, 160)), ("port", (168, 126))):
        s = scene.render(3, h, w, 12, seed=3)
        if case == "land":
            s["depth"][:, :12, 40:] = 60.0
            s["depth"][:, 20:24, 10:14] = 0.0
        (_, depth, unc, points, queries), named = prepared(folder, s, 200)
        arrays.update((f"{case}.{name}", value) for name, value in {
            **{"in." + name: s[name] for name in ("depth", "conf", "queries", "intrinsics", "c2w")},
            "depth": depth[:, 0, ::8, ::8], "unc": (unc[:, 0, ::2, ::2] > 0.5).to(torch.uint8),
            "points": points[:, ::16, ::16], "queries": queries[0, 0], "support": named["support_pts_q"][0, 0],
            "intrinsics": named["intrs"][0], "c2w": named["cam_gt"][0],
            "size": np.array(depth.shape[-2:], np.int64), "unc_sum": unc.double().sum(),
            "depth_sum": depth.double().sum()}.items())
    from models.monoD.depth_anything_v2.util.transform import Resize
    rule = Resize(336, 336, resize_target=False, keep_aspect_ratio=True, ensure_multiple_of=14,
                  resize_method="lower_bound")
    arrays["sizes"] = np.array([[h, w, *map(int, rule.get_size(h, w))] for h, w in (
        (294, 518), (518, 294), (336, 336), (224, 398), (378, 518), (100, 640), (518, 518), (140, 518))], np.int64)
    return arrays, {"seed": 0, "vo_points": 200, "strides": "depth 8, unc 2, points 16"}
