#!/usr/bin/env python3
"""Renders clips with ground truth from a procedural world, one NNNNN.npz a seed.

    world.py OUT --first SEED --count N [--frames 24 --height 192 --width 256] [--device cpu]

| array | |
|---|---|
| video  | u8 [T, H, W, 3] RGB |
| depth  | f16 [T, H, W], along the optical axis; exact, as everything but `video` |
| label  | u8 [T, H, W]: 0 the static world, k = object k, moving or not |
| k      | f32 [T, 3, 3], pixels, pixel centres at whole numbers |
| c2w    | f32 [T, 4, 4], OpenCV axes |
| o2w    | f32 [O + 1, T, 4, 4]; o2w[0] = identity |
| moving | bool [O + 1] |
| seed   | i64 |

A seed gives the same clip on the same machine. Files that exist are left alone.
"""
import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import world_degrade
import world_scene
import world_render


def render(seed: int, frames: int = 24, height: int = 192, width: int = 256, device="cpu") -> dict:
    """A clip as a dictionary of the arrays above. On a CPU the rays are cast in C, elsewhere by PyTorch."""
    if device == "cpu":
        import world_cast
        make = world_cast.Renderer
    else:
        def make(*sizes):
            return world_render.Renderer(*sizes, device)
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt])
        renderer = make(world_scene.build(rng, frames), height, width)
        if varied(renderer, frames):
            break
    shots = [renderer.frame(t / world_scene.SECOND) for t in range(frames)]
    def stack(name):
        parts = [s[name] for s in shots]
        return torch.stack(parts).cpu().numpy() if isinstance(parts[0], Tensor) else np.stack(parts)
    clip = {"depth": stack("depth").astype(np.float16), "label": stack("label"),
            "k": stack("k").astype(np.float32), "c2w": stack("c2w").astype(np.float32),
            "o2w": stack("o2w").swapaxes(0, 1).astype(np.float32),
            "moving": np.array(renderer.scene.moving), "seed": np.int64(seed)}
    clip["video"] = world_degrade.degrade(rng, stack("image"), lambda t: flow(clip, t))
    return clip


def varied(renderer: world_render.Renderer, frames: int) -> bool:
    """Enough depth, enough objects, nothing before the lens, at both ends of the clip."""
    for time in (0.0, (frames - 1) / world_scene.SECOND):
        shot = renderer.frame(time, colours=False)
        depth, label = shot["depth"].flatten(), shot["label"].flatten()
        near, middle, far = torch.quantile(depth, torch.tensor([0.05, 0.5, 0.95], device=depth.device)).tolist()
        if depth.min() < 0.3 or far < 1.6 * near or not 0.9 < middle < 15 or not 0.04 < (label > 0).float().mean() < 0.8:
            return False
    return True


def tracks(clip: dict, query) -> tuple[Tensor, Tensor, Tensor]:
    """Follows the surface points seen at whole pixels: query [N, 3] = (t, x, y) -> xy [T, N, 2], visible [T, N],
    points [T, N, 3] in each frame's camera. Other positions take the nearest pixel's depth.

    A point is visible where one of the four pixels around it shows the same object at its depth.
    """
    depth = torch.as_tensor(np.asarray(clip["depth"])).float()
    label = torch.as_tensor(np.asarray(clip["label"])).long()
    k, c2w, o2w = (torch.as_tensor(np.asarray(clip[name])).double() for name in ("k", "c2w", "o2w"))
    query = torch.as_tensor(np.asarray(query)).double()
    frames, height, width = depth.shape
    t, xy = query[:, 0].long(), query[:, 1:]
    x, y = (xy[:, i].round().long().clamp(0, size - 1) for i, size in ((0, width), (1, height)))
    z, owner = depth[t, y, x].double(), label[t, y, x]
    ray = (torch.linalg.inv(k)[t] @ torch.cat([xy, torch.ones_like(xy[:, :1])], 1)[..., None])[..., 0]
    ones = torch.ones_like(z)[:, None]
    world = c2w[t] @ torch.cat([ray * z[:, None], ones], 1)[..., None]
    local = torch.linalg.inv(o2w)[owner, t] @ world                                  # [N, 4, 1]
    moved = torch.linalg.inv(c2w)[:, None] @ o2w[owner].transpose(0, 1) @ local      # [T, N, 4, 1]
    points = moved[..., :3, 0]
    projected = (k[:, None] @ points[..., None])[..., 0]
    xy = projected[..., :2] / projected[..., 2:].clamp_min(1e-6)
    inside = (points[..., 2] > 0.05) & (xy > -0.5).all(-1) & (xy[..., 0] < width - 0.5) & (xy[..., 1] < height - 0.5)
    at = torch.arange(frames)[:, None]
    low, high = torch.full_like(points[..., 2], 1e9), torch.zeros_like(points[..., 2])
    for dy in (0, 1):
        for dx in (0, 1):
            px = (xy[..., 0].floor().nan_to_num(0).clamp(-1, width).long() + dx).clamp(0, width - 1)
            py = (xy[..., 1].floor().nan_to_num(0).clamp(-1, height).long() + dy).clamp(0, height - 1)
            same, seen = label[at, py, px] == owner, depth[at, py, px].double()
            low = torch.where(same, torch.minimum(low, seen), low)
            high = torch.where(same, torch.maximum(high, seen), high)
    visible = inside & (points[..., 2] > 0.99 * low) & (points[..., 2] < 1.01 * high)
    return xy.float(), visible, points.float()


def flow(clip: dict, t: int) -> np.ndarray:
    """Every pixel's motion [H, W, 2] from frame t to the next (of the last frame, from the one before)."""
    frames, height, width = clip["depth"].shape
    if frames == 1:
        return np.zeros((height, width, 2), np.float32)
    other = t + 1 if t + 1 < frames else t - 1
    move = np.linalg.inv(clip["c2w"][other]) @ clip["o2w"][:, other] @ np.linalg.inv(clip["o2w"][:, t]) @ clip["c2w"][t]
    across = clip["k"][other] @ move[:, :3, :3] @ np.linalg.inv(clip["k"][t])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pixel = np.stack([x, y, np.ones_like(x)])
    out = np.zeros((height, width, 2), np.float32)
    for owner in np.unique(clip["label"][t]):
        at = clip["label"][t] == owner
        ahead = across[owner] @ pixel[:, at] * clip["depth"][t][at].astype(np.float32)
        ahead += clip["k"][other] @ move[owner, :3, 3:]
        out[at] = (ahead[:2] / np.maximum(ahead[2], 1e-3) - pixel[:2, at]).T
    return np.clip(out if other > t else -out, -width, width)


def save(path: Path, clip: dict) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with open(part, "wb") as file:
        np.savez(file, **clip)
    os.replace(part, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, required=True, metavar="SEED")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for seed in range(args.first, args.first + args.count):
        path = args.out / f"{seed:05d}.npz"
        if not path.exists():
            save(path, render(seed, args.frames, args.height, args.width, args.device))


if __name__ == "__main__":
    main()
