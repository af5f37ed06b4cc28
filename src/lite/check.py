#!/usr/bin/env python3
"""Holds the PyTorch models against the goldens: one line a tensor, exit status 1 on a failure.

    check.py [--golden DIR] [--only front|tracker|sam]

DIR as tests/golden: manifest/, front/, tracker/, sam/. Tolerances are those of its README: error =
max |ours - golden| / max(1, max |golden|).
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import bundle
import front
import sam
import tensorfile
import tracker
import window

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
UNIT, WHOLE, ENCODED = 2e-5, 1e-4, 1e-3


class Golden:
    """One file's tensors; floats as float32."""

    def __init__(self, path: Path):
        file = tensorfile.Reader(path)
        self.tensors, self.meta = file.tensors(), file.metadata

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.tensors[name]
        return tensor.float() if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor


class Report:
    def __init__(self):
        self.failed = 0

    def line(self, good: bool, name: str, what: str) -> None:
        self.failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {name:44s} {what}", flush=True)

    def error(self, name: str, ours: Tensor, golden: Tensor, tolerance: float) -> None:
        if ours.shape != golden.shape:
            self.line(False, name, f"shape {tuple(ours.shape)}, golden {tuple(golden.shape)}")
            return
        off = (ours.double() - golden.double()).abs().max().item()
        error = off / max(1.0, golden.double().abs().max().item())
        self.line(error <= tolerance, name, f"{error:.1e} (at most {tolerance:.0e})")

    def share(self, name: str, ours: Tensor, golden: Tensor, limit: float) -> None:
        """95 % of the tracks, the last but one axis, within `limit` everywhere."""
        worst = (ours - golden).abs().flatten(0, -3).amax(0).amax(-1)
        share = (worst <= limit).double().mean().item()
        self.line(share >= 0.95, name, f"{100 * share:.1f} % of tracks within {limit:g}")


def synthetic(model: torch.nn.Module, manifest: dict, prefix: str = "") -> torch.nn.Module:
    """Fills the model by the rule of the synthetic checkpoints (tests/support/synth.h)."""
    rows, own, mask = {t["name"]: t for t in manifest["tensors"]}, model.state_dict(), (1 << 64) - 1
    for name, tensor in own.items():
        row, h = rows[prefix + name], 0xCBF29CE484222325
        if row["shape"] != list(tensor.shape):
            sys.exit(f"{prefix + name}: {list(tensor.shape)}, published {row['shape']}")
        for byte in (prefix + name).encode():
            h = (h ^ byte) * 0x100000001B3 & mask
        with np.errstate(over="ignore"):
            x = np.uint64(h) + np.arange(1, tensor.numel() + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        u = ((x ^ x >> np.uint64(31)) >> np.uint64(40)) / 2.0 ** 24
        values = (row["offset"] + row["scale"] * (2 * u - 1)).astype(np.float32)
        tensor.copy_(torch.from_numpy(values).view_as(tensor))
    return model.eval()


def prepared(frames: Tensor, width: int, patch: int) -> Tensor:
    """u8 [T, h, w, 3] to the working video [T, 3, H, width] (docs/model/frames.md section 3)."""
    height = patch * round(frames.shape[1] * (width / frames.shape[2]) / patch)
    video = F.interpolate(frames.permute(0, 3, 1, 2).float(), (height, width), mode="bicubic")
    first = max(0, (height - width) // 2)
    return video[:, :, first:first + min(height, width)]


def check_front(folder: Path, report: Report) -> None:
    manifest = json.loads((folder / "manifest/front_tiny.json").read_text())
    config = manifest["config"]
    model = synthetic(front.Front(config), manifest)
    patch = config["patch_size"]

    g = Golden(folder / "front/patch_embed.safetensors")
    images = model.normalise(255 * g["images"])
    report.error("patch_embed normalised", images[:1], g["normalised"], UNIT)
    report.error("patch_embed patch_tokens", model.aggregator.patch_embed(images), g["patch_tokens"], UNIT)
    for grid in ((21, 37), (37, 28), (11, 37), (37, 37), (29, 37)):
        report.error("patch_embed pos_%dx%d" % grid, model.aggregator.patch_embed.positions(*grid)[..., ::8],
                     g["pos_%dx%d" % grid], UNIT)

    g = Golden(folder / "front/blocks.safetensors")
    rope = front.rope_table(g["positions"][0], 64, config["rope_base"])
    report.error("blocks rope", front.rotate(g["rope.input"], rope), g["rope.output"], UNIT)
    report.error("blocks frame1", model.aggregator.frame_blocks[1](g["input"], rope), g["frame1.output"], UNIT)
    whole = model.aggregator.global_blocks[1](g["input"].view(1, -1, config["embed_dim"]),
                                              tuple(t.repeat(2, 1) for t in rope))
    report.error("blocks global1", whole.view_as(g["input"]), g["global1.output"], UNIT)

    g = Golden(folder / "front/aggregator.safetensors")
    for i, out in enumerate(model.aggregator(model.normalise(255 * g["images"]))):
        report.error(f"aggregator out{i}", out, g[f"out{i}"], UNIT)

    g = Golden(folder / "front/camera.safetensors")
    report.error("camera poses", model.camera_head(g["tokens"]), g["poses"], UNIT)
    published = model.camera_head.pose_branch.fc2.bias.clone()
    model.camera_head.pose_branch.fc2.bias.copy_(g["low.bias"])
    report.error("camera low.poses", model.camera_head(g["tokens"]), g["low.poses"], UNIT)
    model.camera_head.pose_branch.fc2.bias.copy_(published)
    c2w, k = front.cameras(g["encoding"], 294, 518)
    report.error("camera camera_to_world", c2w, g["camera_to_world"], UNIT)
    report.error("camera intrinsics_294x518", k, g["intrinsics_294x518"], UNIT)

    g = Golden(folder / "front/dpt.safetensors")
    taps = [g[f"tokens{k}"] for k in range(4)]
    depth, confidence = model.depth_head(taps, 98, 140, patch)
    report.error("dpt depth", depth, g["depth"], UNIT)
    report.error("dpt conf", confidence, g["conf"], UNIT)
    report.error("dpt rcu", model.depth_head.scratch.refinenet3.resConfUnit1(g["rcu.input"]),
                 g["rcu.output"], UNIT)

    for name, stride in (("tiny", 7), ("tiny_chunks", 13)):
        g = Golden(folder / f"front/{name}.safetensors")
        video = prepared(g["frames"], config["img_size"], patch)
        out = model(video)
        c2w, k = front.cameras(out["pose_enc"], *video.shape[2:])
        report.error(f"{name} depth", out["depth"][:, ::stride, ::stride], g["depth"], WHOLE)
        report.error(f"{name} confidence", out["confidence"][:, ::stride, ::stride], g["unc_metric"], WHOLE)
        report.error(f"{name} pose_enc", out["pose_enc"], g["pose_encoding"][-1], WHOLE)
        report.error(f"{name} c2w", c2w, g["poses_pred"], WHOLE)
        report.error(f"{name} intrinsics", k, g["intrs"], WHOLE)


def check_levels(folder: Path, model: tracker.Tracker, report: Report) -> None:
    for level in (0, 2):
        g = Golden(folder / f"tracker/level{level}.safetensors")
        templates = g["track_feat_support"].flatten(1, 2)
        query = model.query_side(templates, g["track_point_map_support"].flatten(1, 2))
        frames = len(g["coords_proj_curr"])
        features, points = g["corr_feat"].flatten(2, 3), g["corr_point_map"].flatten(2, 3)
        volume = torch.einsum("tnac,nbc->tnab", features, templates)
        report.error(f"level{level} corr_volume", volume[:2, :3].view_as(g["corr_volume"]), g["corr_volume"], UNIT)
        report.error(f"level{level} corr_emb", model.corr_mlp(volume.flatten(2)), g["corr_emb"], UNIT)
        position, target = model.neighbourhood(points - g["coords_xyz_init"][:, :, None], features)
        report.error(f"level{level} rel_pos_target", position, g["rel_pos_target"], ENCODED)
        report.error(f"level{level} target_feat", target, g["target_feat"], ENCODED)
        report.error(f"level{level} queried_feat", query.expand(frames, -1, -1, -1), g["queried_feat"], ENCODED)
        mixed = model.corr_transformer[0](query[None], target, position)
        report.error(f"level{level} corr_depth_raw", mixed, g["corr_depth_raw"], ENCODED)
        report.error(f"level{level} corr_depth_emb", model.corr_depth_mlp(mixed) * g["valid_mask"],
                     g["corr_depth_emb"], ENCODED)


def check_offline(folder: Path, model: tracker.Tracker, reference_way: bool, report: Report) -> None:
    """The whole run, against each iteration's recorded state."""
    g = Golden(folder / "tracker/offline.safetensors")
    clip = window.Clip(g["in.frames"].permute(0, 3, 1, 2).float(), g["in.depth"], g["in.conf"],
                       g["in.intrinsics"], g["in.c2w"], g["in.queries"])
    name = "offline, reference way" if reference_way else "offline"
    k = 0

    def after(w: window.Window) -> None:
        nonlocal k
        parts = {"xy": w.track[..., :2], "cam_points": w.point, "xyz_unreplaced": w.rough,
                 **{part: w.logits[part][..., None] for part in ("vis", "conf", "dyn")}}
        if k == 0 and not reference_way:
            check_start(g, w, report)
        for part, ours in parts.items():
            golden = g[f"it{k}.{part}"].view_as(ours)
            if k == 0:
                error = (ours - golden).abs().max().item()
                limit = 2e-4 if part == "xy" else 1e-4
                report.line(error <= limit, f"{name} it0.{part}", f"{error:.1e} (at most {limit:.0e})")
            else:
                limit = (0.05, 1e-3) if k < 3 else (0.2, 1e-2)
                report.share(f"{name} it{k}.{part}", ours, golden, limit[part != "xy"])
        cameras = (1e-4, 1e-3, 1e-3, 5e-2)[k]
        for part, ours in (("c2w", w.c2w), ("c2w_init", w.c2w_start), ("intrinsics", w.k)):
            report.error(f"{name} it{k}.{part}", ours, g[f"it{k}.{part}"], cameras)
        # The reference differs from itself in one entry of it3 (docs/model/tracker.md section 11).
        flips = (w.replaced != g[f"it{k}.replaced"]).sum().item()
        report.line(flips <= (0, 0, 1, 20)[k], f"{name} it{k}.replaced", f"{flips} of {w.replaced.numel()} differ")
        k += 1

    out = window.run(model, clip, support=120, seed=int(g.meta["seed"]), reference_way=reference_way, after=after)
    report.share(f"{name} out.track2d", out["tracks"][..., :2], g["out.track2d"][..., :2], 0.2)
    report.share(f"{name} out.track3d", out["camera_points"], g["out.track3d"][..., :3], 1e-2)
    report.share(f"{name} out.vis", out["visibility"][..., None], g["out.vis"], 1e-2)
    report.share(f"{name} out.conf", out["confidence"][..., None], g["out.conf"], 1e-2)
    report.error(f"{name} out.c2w", out["c2w"], g["out.c2w"], 5e-2)
    report.error(f"{name} out.intrinsics", out["intrinsics"], g["out.intrinsics"], 1e-4)
    report.error(f"{name} out.depth", out["depth"][:, ::8, ::8], g["out.point_map"][:, 2], UNIT)
    report.error(f"{name} out.valid", out["valid"][:, ::8, ::8], g["out.conf_depth"], UNIT)


def check_start(g: Golden, w: window.Window, report: Report) -> None:
    report.error("start.queries", w.query, g["start.queries"], UNIT)
    report.error("start.queries_z", w.z[:, None], g["start.queries_z"], UNIT)
    report.error("start.queries_z_unc", w.unc[:, None], g["start.queries_z_unc"], UNIT)
    report.error("start.min_pts", w.lo, g["start.min_pts"], UNIT)
    report.error("start.max_pts", w.hi, g["start.max_pts"], UNIT)
    for level in range(tracker.LEVELS):
        report.error(f"start.fmap{level}", w.maps.features[level][::3, ::8, ::6, ::8], g[f"start.fmap{level}"], UNIT)
        report.error(f"start.point_map{level}", w.maps.points[level][::3, :, ::2, ::2],
                     g[f"start.point_map{level}"], UNIT)


def check_tracker(folder: Path, report: Report) -> None:
    manifest = json.loads((folder / "manifest/tracker_offline.json").read_text())
    model = synthetic(tracker.Tracker(manifest["config"]), manifest, tracker.PREFIX)

    g = Golden(folder / "tracker/fnet.safetensors")
    features = model.fnet(g["input"][0])
    for level in range(tracker.LEVELS):
        report.error(f"fnet pyramid{level}", features, g[f"pyramid{level}"][0], UNIT)
        features = F.avg_pool2d(features, 2)

    g = Golden(folder / "tracker/sample.safetensors")
    maps, frame = g["maps"][0], g["frame"][0]
    ours = tracker.query_patches(maps, frame, g["xy"][0], 3)
    report.error("sample track_support", ours.transpose(0, 1)[None], g["track_support"], UNIT)
    ours = tracker.patches(maps, g["xy_all"], 3).unflatten(2, (7, 7))
    report.error("sample correlation", ours[None], g["correlation"], UNIT)

    check_levels(folder, model, report)

    g = Golden(folder / "tracker/updateformer.safetensors")
    steps = model.updateformer3D(model.updateformer, g["x"], g["x_depth"])
    ours = {"flow_vis_conf": torch.cat([steps["flow"], steps["vis_conf"]], -1),
            "xyz": steps["point"][..., :3], "dyn": steps["point"][..., 3:], "weight": steps["weight"]}
    for part, tensor in ours.items():
        report.error(f"updateformer {part}", tensor.transpose(0, 1), g[part], UNIT)

    check_tokens(folder, model, report)
    for name in ("tiny", "medium", "skip"):
        check_bundle(folder, name, report)
    for reference_way in (False, True):
        check_offline(folder, model, reference_way, report)


def check_tokens(folder: Path, model: tracker.Tracker, report: Report) -> None:
    g = Golden(folder / "tracker/tokens.safetensors")
    corr, corr3 = g["corr_embs"], g["corr_depth_embs"]
    small = tracker.Small(
        xy=g["coords"][..., :2], normal=g["coords_xyz"], valid=torch.ones(corr.shape[:2]),
        rigid=g["q_xyz_cam"][..., 1:], frame=g["queries"][:, 0], vis=g["vis"], conf=g["confidence"],
        dyn=g["dynamic_prob"])
    recorded = [tuple(t[..., 256 * i:256 * i + 256] for t in (corr, corr3)) for i in range(4)]
    model.correlate = lambda maps, level, small, tracks, query: recorded[level]
    token, token3 = model.tokens(None, small, slice(None), [None] * tracker.LEVELS)
    del model.correlate
    report.error("tokens x", token, g["x"], ENCODED)
    report.error("tokens x_depth", token3, g["x_depth"], ENCODED)


def check_bundle(folder: Path, name: str, report: Report) -> None:
    g = Golden(folder / f"tracker/ba_{name}.safetensors")
    given = [g[f"ba.{part}"].numpy() for part in ("c2w", "intrinsics", "points", "tracks2d", "vis")]
    c2w, k, _ = bundle.adjust(*given)
    report.error(f"ba_{name} c2w", torch.from_numpy(c2w), g["ba.out_c2w"], 1e-4 if name == "medium" else 1e-5)
    report.error(f"ba_{name} intrinsics", torch.from_numpy(k), g["ba.out_intrinsics"], 1e-6)


def check_sam(folder: Path, report: Report) -> None:
    manifest = json.loads((folder / "manifest/sam_tiny.json").read_text())
    model = synthetic(sam.Sam(manifest["config"]), manifest)

    def error(g: Golden, unit: str, name: str, ours: Tensor, tolerance: float = UNIT) -> None:
        stride = int(g.meta.get("stride." + name, 1))
        report.error(f"{unit} {name}", ours.flatten()[::stride] if stride > 1 else ours, g[name], tolerance)

    g = Golden(folder / "sam/vision_layers.safetensors")
    for i in range(2):
        error(g, "vision_layers", f"layer{i}.output", model.vision_encoder.layers[i](g[f"layer{i}.input"]))

    g = Golden(folder / "sam/prompt_tiny.safetensors")
    kinds = ("point", "negative", "posneg", "skipped", "box", "box_points")
    prompts = {kind: [g[f"{kind}.{part}"] if f"{kind}.{part}" in g.tensors else None
                      for part in ("points", "labels", "boxes")] for kind in kinds}
    for kind in kinds:
        error(g, "prompt", f"{kind}.sparse", model.sparse(*prompts[kind])[0])
    error(g, "prompt", "image_position", model.image_position()[0])

    g = Golden(folder / "sam/decoder_tiny.safetensors")
    for kind in kinds:
        masks, iou = model.decode(g["image_embeddings"][None], g[f"{kind}.sparse"][None])
        for part, ours in (("masks", masks[0, 1:]), ("single_mask", masks[0, :1]), ("iou", iou[0, 1:]),
                           ("single_iou", iou[0, :1])):
            error(g, "decoder", f"{kind}.{part}", ours)

    g = Golden(folder / "sam/postprocess.safetensors")
    for name in ("landscape", "portrait", "square"):
        shapes = [tuple(g.tensors[f"{name}.{part}"].tolist()) for part in ("reshaped_size", "size")]
        error(g, "postprocess", f"{name}.logits", sam.upscale(g["logits"][None], 256, *shapes)[0], 5e-5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, default=GOLDEN)
    parser.add_argument("--only", choices=["front", "tracker", "sam"])
    args = parser.parse_args()
    report = Report()
    with torch.inference_mode():
        for name, check in (("front", check_front), ("tracker", check_tracker), ("sam", check_sam)):
            if args.only in (None, name):
                check(args.golden, report)
    print(f"{report.failed} failed")
    return report.failed > 0


if __name__ == "__main__":
    sys.exit(main())
