#!/usr/bin/env python3
"""Holds the PyTorch models against the goldens: one line a tensor, exit status 1 on a failure.

    check.py [--golden DIR] [--only front|tracker]

DIR as tests/golden: manifest/, front/, tracker/. Tolerances are those of its README: error =
max |ours - golden| / max(1, max |golden|).
"""
import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

import front
import tracker

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
UNIT, WHOLE, ENCODED = 2e-5, 1e-4, 1e-3


class Golden:
    """One file's tensors; floats as float32."""

    def __init__(self, path: Path):
        with safe_open(str(path), framework="pt") as file:
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}
            self.meta = file.metadata()

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, default=GOLDEN)
    parser.add_argument("--only", choices=["front", "tracker"])
    args = parser.parse_args()
    report = Report()
    with torch.inference_mode():
        if args.only != "tracker":
            check_front(args.golden, report)
        if args.only != "front":
            check_tracker(args.golden, report)
    print(f"{report.failed} failed")
    return report.failed > 0


if __name__ == "__main__":
    sys.exit(main())
