#!/usr/bin/env python3
"""Writes what train_tracker.py has reached as the embedded checkpoint, offline.safetensors.

    src/lite/export_tracker.py --clips DIR... --state DIR [--output FILE]

The visibility head's bias is set on half of the held clips; the others give the scores that go into
the metadata, beside those of pyramidal Lucas-Kanade. Wants OpenCV for the latter.
"""
import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

import compat
import export
import window
from lite_config import CONFIG, VISIBLE_LOGIT
from tracker import PREFIX
from tracker_data import choose, features, front_video, make_sample, faulty_depth
from train_features import gate, held
from train_tracker import ITERATIONS, SQUARE, Frozen, Run, scores
import world

SHIFTS = np.linspace(-4, 4, 41)
BALANCED_SLACK = 0.02


def outcomes(model: Frozen, paths: list[Path], cache: Path) -> list[tuple]:
    """Of every clip what `scores` wants, with the visibility logits in place of the answers."""
    out = []
    for n, path in enumerate(paths):
        random, clip = np.random.default_rng(n), dict(np.load(path))
        maps = features(model.fnet, path, clip, cache)
        sample = make_sample(maps, clip, choose(clip, 48, random), model.radius, random)
        run = Run(model, sample, sample.query[:, 1:].expand(sample.xy.shape))
        for _ in range(ITERATIONS):
            run.step()
        out.append((run.place() * SQUARE, run.vis, sample.xy * SQUARE, sample.visible, sample.query[:, 0]))
    return out


def mean(parts: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([p[name] for p in parts])), 4) for name in parts[0]}


def calibrate(model: Frozen, paths: list[Path], cache: Path) -> float:
    """Moves the visibility head's bias to where average Jaccard is best, among the places whose balanced
    accuracy is hardly below the best."""
    found = outcomes(model, paths, cache)
    at = [mean([scores(xy, vis + shift > VISIBLE_LOGIT, *truth) for xy, vis, *truth in found]) for shift in SHIFTS]
    least = max(s["balanced"] for s in at) - BALANCED_SLACK
    shift = float(SHIFTS[np.argmax([s["AJ"] * (s["balanced"] >= least) for s in at])])
    model.updateformer.vis_conf_head.bias[0] += shift / ITERATIONS
    return shift


def lucas_kanade(clip: dict, query: np.ndarray) -> tuple[Tensor, Tensor]:
    """OpenCV's defaults and a forward-backward check, as ../tools/evaluate.py has it: forward in time."""
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in clip["video"]]
    xy = np.repeat(query[None, :, 1:], len(gray), 0).astype(np.float32)
    shown = np.ones(xy.shape[:2], bool)
    for t in range(len(gray) - 1):
        live = query[:, 0] <= t
        a = xy[t, live][:, None]
        if not live.any():
            continue
        b, found, _ = cv2.calcOpticalFlowPyrLK(gray[t], gray[t + 1], a, None)
        back, _, _ = cv2.calcOpticalFlowPyrLK(gray[t + 1], gray[t], b, None)
        xy[t + 1, live] = b[:, 0]
        shown[t + 1, live] = shown[t, live] & (np.linalg.norm((a - back)[:, 0], axis=-1) < 1.5) & (found[:, 0] > 0)
    return torch.from_numpy(xy), torch.from_numpy(shown)


def whole_program(model: Frozen, clip: dict, n: int) -> tuple[dict[str, float], dict[str, float]]:
    """Scores of window.run, everything in it, on a faulty depth and with cameras that stand still;
    and Lucas-Kanade's."""
    random = np.random.default_rng(n)
    query = choose(clip, 48, random)
    query[:, 1:] = np.rint(query[:, 1:])
    xy, visible, _ = (torch.as_tensor(x) for x in world.tracks(clip, query))
    inside = (xy >= 0).all(-1) & (xy <= torch.tensor([255, 191])).all(-1)
    video = front_video(clip["video"])
    scale = torch.tensor([video.shape[3] / clip["video"].shape[2], video.shape[2] / clip["video"].shape[1]])
    depth = faulty_depth(torch.from_numpy(clip["depth"]).float(), random)[0]
    depth = window.nearest(depth[:, None], tuple(video.shape[2:]))[:, 0]
    given = window.Clip(video, depth, torch.ones_like(depth), window.scaled(torch.from_numpy(clip["k"]), *scale.tolist()),
                        torch.eye(4).repeat(len(video), 1, 1),
                        torch.from_numpy(query).float() * torch.cat([torch.ones(1), scale]))
    out = window.run(model, given, support=128)
    truth = (xy.float() * SQUARE, visible & inside, given.queries[:, 0])
    ours = scores(out["tracks"][..., :2] / scale * SQUARE, out["visibility"] > 0.5, *truth)
    turned = (given.c2w.new_tensor(np.linalg.inv(clip["c2w"][:1]) @ clip["c2w"]), out["c2w"])
    angle = [(torch.einsum("tii->t", r.transpose(1, 2) @ turned[0][:, :3, :3]) - 1) / 2
             for r in (turned[1][:, :3, :3], given.c2w[:, :3, :3])]
    ours["rotation"], ours["rotation_still"] = (a.clamp(-1, 1).acos().rad2deg().mean().item() for a in angle)
    flow, shown = lucas_kanade(clip, query)
    return ours, scores(flow * SQUARE, shown, *truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--held", type=int, default=24)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("offline.safetensors"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = Frozen(CONFIG).eval()
    state = compat.load(args.state / "tracker.pt")
    model.load_state_dict(state["parts"]["model"])
    paths = held(args.clips, args.held)
    with torch.inference_mode():
        shift = calibrate(model, paths[1::2], args.state / "maps")
        both = [whole_program(model, dict(np.load(path)), n) for n, path in enumerate(paths[::2])]
        found = {"held": mean([b[0] for b in both]), "lucas_kanade": mean([b[1] for b in both]),
                 "gate": gate(model.fnet, paths[:8]), "visibility_shift": shift}
    print(found)
    meta = {"steps": state["step"], "seed": state["more"].get("seed", 0), "scores": found}
    print(f"{args.output}: {export.write(args.output, model, CONFIG, meta, PREFIX)} bytes")


if __name__ == "__main__":
    main()
