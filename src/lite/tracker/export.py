"""Writes what tracker.train has reached as the embedded checkpoint, offline.safetensors.

    python3 -m tracker.export --clips DIR... --state DIR [--output FILE]

The visibility head's bias is set on half of the held clips; the others give the scores that go into
the metadata, beside those of pyramidal Lucas-Kanade.
"""
from pathlib import Path

import cv2
import numpy as np
import torch

from common import checkpoint, compat
from common.config import TRACKER
from common.scores import lucas_kanade
from tracker import window
from tracker.data import (arguments, cached_features, choose_queries, faulty_depth, front_video, held_clips,
                          make_sample)
from tracker.features import gate
from tracker.model import PREFIX
from tracker.train import ITERATIONS, SQUARE, VISIBLE_LOGIT, Frozen, Rollout, mean, scores
from world import clips

SHIFTS = np.linspace(-4, 4, 41)
AJ_SLACK, BALANCED_SLACK = 0.005, 0.03


def outcomes(model: Frozen, paths: list[Path], folder: Path) -> list[tuple]:
    """Of every clip what `scores` wants, with the visibility logits in place of the answers."""
    out = []
    for n, path in enumerate(paths):
        random, clip = np.random.default_rng(n), dict(np.load(path))
        maps = cached_features(model.fnet, path, clip, folder)
        sample = make_sample(maps, clip, choose_queries(clip, 48, random), model.radius, random)
        run = Rollout(model, sample, sample.query[:, 1:].expand(sample.xy.shape))
        for _ in range(ITERATIONS):
            run.step()
        out.append((run.pixels() * SQUARE, run.vis, sample.xy * SQUARE, sample.visible, sample.query[:, 0]))
    return out


def calibrate(model: Frozen, paths: list[Path], folder: Path) -> float:
    """Moves the visibility head's bias as far towards visible as average Jaccard and balanced accuracy stay
    hardly below their best: points that flicker are worth less to whoever uses the tracks than a few that are
    hidden and called visible."""
    found = outcomes(model, paths, folder)
    at = [mean([scores(xy, vis + shift > VISIBLE_LOGIT, *truth) for xy, vis, *truth in found]) for shift in SHIFTS]
    best = {name: max(s[name] for s in at) for name in ("AJ", "balanced")}
    near = [s["AJ"] >= best["AJ"] - AJ_SLACK and s["balanced"] >= best["balanced"] - BALANCED_SLACK for s in at]
    shift = float(SHIFTS[near].max() if any(near) else SHIFTS[np.argmax([s["AJ"] for s in at])])
    model.updateformer.vis_conf_head.bias[0] += shift / ITERATIONS
    return shift


def whole_program(model: Frozen, clip: dict, n: int) -> tuple[dict[str, float], dict[str, float]]:
    """Scores of window.run, everything in it, on a faulty depth and with cameras that stand still;
    and Lucas-Kanade's."""
    random = np.random.default_rng(n)
    query = choose_queries(clip, 48, random)
    query[:, 1:] = np.rint(query[:, 1:])
    xy, visible, _ = (torch.as_tensor(x) for x in clips.tracks(clip, query))
    inside = (xy >= 0).all(-1) & (xy <= torch.tensor([255, 191])).all(-1)
    video = front_video(clip["video"])
    scale = torch.tensor([video.shape[3] / clip["video"].shape[2], video.shape[2] / clip["video"].shape[1]])
    depth = faulty_depth(torch.from_numpy(clip["depth"]).float(), random)[0]
    depth = window.resize_nearest(depth[:, None], tuple(video.shape[2:]))[:, 0]
    observed = window.Clip(video, depth, torch.ones_like(depth),
                           window.scaled(torch.from_numpy(clip["k"]), *scale.tolist()),
                           torch.eye(4).repeat(len(video), 1, 1),
                           torch.from_numpy(query).float() * torch.cat([torch.ones(1), scale]))
    out = window.run(model, observed, support=128)
    truth = (xy.float() * SQUARE, visible & inside, observed.queries[:, 0])
    ours = scores(out["tracks"][..., :2] / scale * SQUARE, out["visibility"] > 0.5, *truth)
    true_c2w = observed.c2w.new_tensor(np.linalg.inv(clip["c2w"][:1]) @ clip["c2w"])
    angle = [(torch.einsum("tii->t", c2w[:, :3, :3].transpose(1, 2) @ true_c2w[:, :3, :3]) - 1) / 2
             for c2w in (out["c2w"], observed.c2w)]
    ours["rotation"], ours["rotation_still"] = (a.clamp(-1, 1).acos().rad2deg().mean().item() for a in angle)
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in clip["video"]]
    flow, shown = (torch.from_numpy(part) for part in lucas_kanade(gray, query))
    return ours, scores(flow * SQUARE, shown, *truth)


def main() -> None:
    parser = arguments(__doc__, "for the bias and the scores")
    parser.set_defaults(held=24)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "offline.safetensors")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = Frozen(TRACKER).eval()
    state = compat.load(args.state / "tracker.pt")
    model.load_state_dict(state["parts"]["model"])
    paths = held_clips(args.clips, args.held)
    with torch.inference_mode():
        shift = calibrate(model, paths[1::2], args.state / "maps")
        both = [whole_program(model, dict(np.load(path)), n) for n, path in enumerate(paths[::2])]
        found = {"held": mean([b[0] for b in both]), "lucas_kanade": mean([b[1] for b in both]),
                 "gate": gate(model.fnet, paths[:8]), "visibility_shift": shift}
    print(found)
    meta = {"steps": state["step"], "seed": state["more"].get("seed", 0), "scores": found}
    print(f"{args.output}: {checkpoint.write(args.output, model, TRACKER, meta, PREFIX)} bytes")


if __name__ == "__main__":
    main()
