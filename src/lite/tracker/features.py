"""Trains the lite tracker's encoder by matching: a point of one frame against all cells of another.

    python3 -m tracker.features --clips DIR... --state DIR [--steps N] [--start TRACKER.safetensors]

DIR/train and DIR/held hold clips of world.clips or world.planes; every DIR is used as much. The state
(weights, optimiser, step) is written every few minutes and training goes on from it. The gate: on held
clips, matching single cells must beat raw 8x8 RGB patches, over the whole frame and within a few cells
of the truth.
"""
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common import checkpoint
from common.config import STRIDE, TRACKER
from common.training import Log, State, rate
from tracker.data import held_clips, pick_clip, training_arguments
from tracker.model import PREFIX, Tracker, pyramid
from world import clips

LOSS_LEVELS, POINTS, FRAMES = (1.0, 0.5, 0.25), 192, 3
FINE, FINE_REACH, FINE_SPACING, FINE_SIGMA = 1.0, 3, (0.5, 3), 0.6  # weight, steps to a side, pixels, pixels


def points_in(clip: dict, frame: int, count: int, random: np.random.Generator) -> np.ndarray:
    """Queries [count, 3] of one frame, half of them near edges of the image, where tracking matters; a
    quarter is moved onto what moves by itself, if anything does."""
    h, w = clip["depth"].shape[1:]
    gray = clip["video"][frame].astype(np.float32).mean(-1)
    edge = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
    cumulative = np.cumsum(edge.ravel() + 1e-3)
    at = np.searchsorted(cumulative, random.random(count // 2) * cumulative[-1])
    xy = np.concatenate([np.stack([at % (w - 1), at // (w - 1)], 1) + random.uniform(-0.5, 0.5, (count // 2, 2)),
                         random.uniform(0, 1, (count - count // 2, 2)) * [w - 1, h - 1]])
    moving = np.flatnonzero(clip["moving"][clip["label"][frame]])
    if len(moving):
        at = moving[random.integers(len(moving), size=count // 4)]
        xy[::4][:count // 4] = np.stack([at % w, at // w], 1) + random.uniform(-0.5, 0.5, (count // 4, 2))
    return np.concatenate([np.full((count, 1), frame), xy.clip(0, [w - 1, h - 1])], 1)


def at_points(maps: Tensor, xy: Tensor) -> Tensor:
    """Bilinear samples of [C, h, w] at [N, 2] in cells: [N, C]."""
    h, w = maps.shape[1:]
    grid = xy * (2 / xy.new_tensor([w - 1, h - 1])) - 1
    return F.grid_sample(maps[None], grid[None, None], "bilinear", "border", align_corners=True)[0, :, 0].T


def cell_target(xy: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """The four cells around xy [N, 2] and their bilinear weights, [N, 4] each."""
    xy = xy.clamp_min(0).minimum(xy.new_tensor([w - 1.001, h - 1.001]))
    x, y = xy.long().unbind(-1)
    fx, fy = (xy - xy.floor()).unbind(-1)
    index = torch.stack([y * w + x, y * w + x + 1, y * w + w + x, y * w + w + x + 1], -1)
    return index, torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], -1)


def match_loss(a: Tensor, b: Tensor, xy_a: Tensor, xy_b: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of each point of map a against all cells of map b, positions in cells."""
    logits = scale * at_points(a, xy_a) @ b.flatten(1)
    index, weight = cell_target(xy_b, *b.shape[1:])
    return -(logits.log_softmax(-1).gather(1, index) * weight).sum(-1).mean()


def patch_scores(a: Tensor, b: Tensor, xy: Tensor) -> Tensor:
    """How each point's 3x3 patch of map a [C, h, w] fits around every cell of map b: [N, h, w]."""
    h, w = b.shape[1:]
    steps = torch.arange(-1, 2)
    shifts = torch.cartesian_prod(steps, steps)
    templates = at_points(a, (xy[:, None] + shifts).flatten(0, 1)).unflatten(0, (len(xy), 9))
    padded = F.pad(b[None], (1, 1, 1, 1), mode="replicate")[0]
    return sum(template @ padded[:, 1 + y:1 + y + h, 1 + x:1 + x + w].flatten(1)
               for template, (x, y) in zip(templates.unbind(1), shifts.tolist())).unflatten(1, (h, w)) / 9


def fine_loss(a: Tensor, b: Tensor, xy_a: Tensor, xy_b: Tensor, scale: Tensor, random: np.random.Generator) -> Tensor:
    """Cross-entropy of each point's patch of map a over a small grid of positions near the truth in map
    b, fractions of a cell apart: products of interpolated features are interpolated products."""
    spacing = float(np.exp(random.uniform(*np.log(FINE_SPACING)))) / STRIDE
    steps = torch.arange(-FINE_REACH, FINE_REACH + 1.)
    shift = torch.from_numpy(random.uniform(-1.5, 1.5, (len(xy_b), 1, 2))).float()
    offsets = (torch.cartesian_prod(steps, steps) + shift) * spacing
    grid = (xy_b[:, None] + offsets) * (2 / xy_b.new_tensor([b.shape[2] - 1, b.shape[1] - 1])) - 1
    scores = F.grid_sample(patch_scores(a, b, xy_a)[:, None], grid[:, None], "bilinear", "border", align_corners=True)
    target = (-0.5 * (offsets / (FINE_SIGMA / STRIDE)).square().sum(-1)).softmax(-1)
    return -((scale * scores[:, 0, 0]).log_softmax(-1) * target).sum(-1).mean()


def recoloured(images: Tensor, random: np.random.Generator) -> Tensor:
    """Channels in another order, and each frame's own gamma: what the textures' colours were says little."""
    gamma = torch.from_numpy(np.exp(random.normal(0, 0.15, (len(images), 1, 1, 1)))).float()
    return 255 * (images[:, random.permutation(3)] / 255) ** gamma


def clip_loss(fnet: torch.nn.Module, scales: Tensor, clip: dict, random: np.random.Generator) -> Tensor:
    """All ordered neighbours among a few frames of a clip, chosen near and far."""
    frames = random.permutation(len(clip["video"]))[:FRAMES]
    images = torch.from_numpy(clip["video"][frames]).permute(0, 3, 1, 2).float()
    levels = pyramid(fnet(recoloured(images, random)))
    loss, count = images.new_zeros(()), 0
    for i in range(FRAMES):
        j = (i + 1) % FRAMES
        query = points_in(clip, frames[i], POINTS, random)
        xy, visible, _ = (np.asarray(x) for x in clips.tracks(clip, query))
        keep = visible[frames[j]]
        if keep.sum() < 8:
            continue
        xy_a, xy_b = (torch.from_numpy(p[keep]).float() for p in (query[:, 1:], xy[frames[j]]))
        for level, weight in enumerate(LOSS_LEVELS):
            step, maps = STRIDE << level, levels[level]
            loss = loss + weight * match_loss(maps[i], maps[j], xy_a / step, xy_b / step, scales[level].exp())
            count += 1
        loss = loss + FINE * fine_loss(levels[0][i], levels[0][j], xy_a / STRIDE, xy_b / STRIDE, scales[-1].exp(),
                                       random)
    return loss / max(count, 1) * len(LOSS_LEVELS) / sum(LOSS_LEVELS)


def rgb_patches(images: Tensor) -> Tensor:
    """8x8 RGB patches around every cell, mean removed, of unit length: [T, 192, h / 4, w / 4]."""
    t, _, h, w = images.shape
    x = F.unfold(F.pad(images, (4, 4, 4, 4), mode="replicate"), 8, stride=STRIDE)
    x = x.unflatten(1, (3, -1))
    x = (x - x.mean(2, keepdim=True)).flatten(1, 2).unflatten(2, (h // STRIDE + 1, w // STRIDE + 1))
    return F.normalize(x[..., :-1, :-1], dim=1)


def match_errors(maps: Tensor, clip: dict, random: np.random.Generator) -> np.ndarray:
    """Pixel errors of the best cell, over the whole frame and within three cells: [2, N]."""
    h, w = maps.shape[2:]
    out = []
    for _ in range(4):
        a, b = random.permutation(len(maps))[:2]
        query = points_in(clip, a, POINTS, random)
        xy, visible, _ = (np.asarray(x) for x in clips.tracks(clip, query))
        keep = visible[b]
        if not keep.any():
            continue
        truth = torch.from_numpy(xy[b][keep]).float()
        score = at_points(maps[a], torch.from_numpy(query[keep, 1:]).float() / STRIDE) @ maps[b].flatten(1)
        cells = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy"), -1).flatten(0, 1)
        off = (cells * STRIDE - truth[:, None]).abs().amax(-1)
        near = score.masked_fill(off > 3 * STRIDE, -torch.inf)
        errors = [(cells[s.argmax(-1)] * STRIDE - truth).norm(dim=-1) for s in (score, near)]
        out.append(torch.stack(errors).numpy())
    return np.concatenate(out, 1)


def gate(fnet: torch.nn.Module, paths: list[Path]) -> dict[str, float]:
    """Shares of points matched within 4 and 8 pixels, beside those of RGB patches."""
    errors = {"features": [], "rgb": []}
    with torch.inference_mode():
        for n, path in enumerate(paths):
            clip = dict(np.load(path))
            images = torch.from_numpy(clip["video"]).permute(0, 3, 1, 2).float()
            for name, maps in (("features", fnet(images)), ("rgb", rgb_patches(images))):
                errors[name].append(match_errors(maps, clip, np.random.default_rng(n)))
    scores = {}
    for name, parts in errors.items():
        whole, near = np.concatenate(parts, 1)
        scores |= {f"{name}_{px}": round(float((whole < px).mean()), 4) for px in (4, 8, 16)}
        scores[f"{name}_local_4"] = round(float((near < 4).mean()), 4)
    return scores


def main() -> None:
    args = training_arguments(__doc__, "for the gate", 2e-3).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    tracker = Tracker(TRACKER)
    if args.start:
        checkpoint.read(tracker, args.start, PREFIX)
    fnet = tracker.fnet
    scales = torch.nn.Parameter(torch.full((len(LOSS_LEVELS) + 1,), math.log(15)))
    optimiser = torch.optim.AdamW([{"params": fnet.parameters()}, {"params": [scales], "weight_decay": 0}],
                                  args.rate, weight_decay=1e-3, betas=(0.9, 0.98))
    state = State(args.state / "features.pt", {"fnet": fnet, "optimiser": optimiser}, {"scales": scales})
    log = Log(state)
    for step in range(state.step, args.steps):
        random = np.random.default_rng((args.seed, step))
        for group in optimiser.param_groups:
            group["lr"] = args.rate * rate(step, args.steps)
        loss = sum(clip_loss(fnet, scales, dict(np.load(pick_clip(args.clips, random))), random) for _ in range(2)) / 2
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(fnet.parameters(), 1.0)
        optimiser.step()
        log.add(step, {"loss": loss.item()})
        if state.due() or step + 1 == args.steps:
            state.save(step + 1)
        if step % 500 == 499 or step + 1 == args.steps:
            print("gate", gate(fnet, held_clips(args.clips, args.held)), flush=True)
    log.end()


if __name__ == "__main__":
    main()
