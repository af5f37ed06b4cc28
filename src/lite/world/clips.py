"""Renders clips with ground truth from a procedural world, one NNNNN.npz a seed.

    python3 -m world.clips OUT --first SEED --count N [--frames 24 --height 192 --width 256] [--device cpu]
                             [--photos FOLDER]

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

A seed gives the same clip on the same machine. Files that exist are left alone. --photos: pictures of
world.photos take the places of some textures; everything else in a seed's clip stays the same.
"""
import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.files import replacing
from world import degrade, render, scene


def make(seed: int, frames: int = 24, height: int = 192, width: int = 256, device="cpu",
         photos=()) -> dict:
    """A clip as a dictionary of the arrays above. Rays are cast in C on a CPU, else by PyTorch."""
    if device == "cpu":
        from world import cast  # which wants a C compiler
        kind = cast.Renderer
    else:
        def kind(*sizes):
            return render.Renderer(*sizes, device)
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt])
        renderer = kind(scene.build(rng, frames, photos), height, width)
        if varied(renderer, frames):
            break
    shots = [renderer.frame(t / scene.SECOND) for t in range(frames)]
    def stack(name):
        parts = [s[name] for s in shots]
        return torch.stack(parts).cpu().numpy() if isinstance(parts[0], Tensor) else np.stack(parts)
    clip = {"depth": stack("depth").astype(np.float16), "label": stack("label"),
            "k": stack("k").astype(np.float32), "c2w": stack("c2w").astype(np.float32),
            "o2w": stack("o2w").swapaxes(0, 1).astype(np.float32),
            "moving": np.array(renderer.scene.moving), "seed": np.int64(seed)}
    clip["video"] = degrade.degrade(rng, stack("image"), lambda t: flow(clip, t))
    return clip


def varied(renderer: render.Renderer, frames: int) -> bool:
    """Enough depth, enough objects, nothing before the lens, at both ends of the clip."""
    for time in (0.0, (frames - 1) / scene.SECOND):
        shot = renderer.frame(time, colours=False)
        depth, label = shot["depth"].flatten(), shot["label"].flatten()
        near, middle, far = (depth.quantile(part).item() for part in (0.05, 0.5, 0.95))
        if depth.min() < 0.3 or far < 1.6 * near or not 0.9 < middle < 15:
            return False
        if not 0.04 < (label > 0).float().mean() < 0.8:
            return False
    return True


def tracks(clip: dict, query) -> tuple[Tensor, Tensor, Tensor]:
    """Follows the surface points seen at whole pixels: query [N, 3] = (t, x, y) -> xy [T, N, 2],
    visible [T, N], points [T, N, 3] in each frame's camera. Other positions take the nearest
    pixel's depth.

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
    ones = torch.ones_like(z)[:, None]
    ray = (torch.linalg.inv(k)[t] @ torch.cat([xy, ones], 1)[..., None])[..., 0]
    world = c2w[t] @ torch.cat([ray * z[:, None], ones], 1)[..., None]
    local = torch.linalg.inv(o2w)[owner, t] @ world                                  # [N, 4, 1]
    moved = torch.linalg.inv(c2w)[:, None] @ o2w[owner].transpose(0, 1) @ local      # [T, N, 4, 1]
    points = moved[..., :3, 0]
    projected = (k[:, None] @ points[..., None])[..., 0]
    xy = projected[..., :2] / projected[..., 2:].clamp_min(1e-6)
    size = xy.new_tensor([width, height])
    inside = (points[..., 2] > 0.05) & (xy > -0.5).all(-1) & (xy < size - 0.5).all(-1)
    corner = xy.floor().nan_to_num(0).clamp(-torch.ones(2), size).long()
    at = torch.arange(frames)[:, None]
    low, high = torch.full_like(points[..., 2], 1e9), torch.zeros_like(points[..., 2])
    for dy in (0, 1):
        for dx in (0, 1):
            px = (corner[..., 0] + dx).clamp(0, width - 1)
            py = (corner[..., 1] + dy).clamp(0, height - 1)
            same, seen = label[at, py, px] == owner, depth[at, py, px].double()
            low = torch.where(same, torch.minimum(low, seen), low)
            high = torch.where(same, torch.maximum(high, seen), high)
    visible = inside & (points[..., 2] > 0.99 * low) & (points[..., 2] < 1.01 * high)
    return xy.float(), visible, points.float()


def flow(clip: dict, t: int) -> np.ndarray:
    """Every pixel's motion [H, W, 2] from frame t to the next (to the last from the one before)."""
    frames, height, width = clip["depth"].shape
    if frames == 1:
        return np.zeros((height, width, 2), np.float32)
    other = t + 1 if t + 1 < frames else t - 1
    inverse, c2w, o2w = np.linalg.inv, clip["c2w"], clip["o2w"]
    move = inverse(c2w[other]) @ o2w[:, other] @ inverse(o2w[:, t]) @ c2w[t]
    across = clip["k"][other] @ move[:, :3, :3] @ inverse(clip["k"][t])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pixel = np.stack([x, y, np.ones_like(x)])
    out = np.zeros((height, width, 2), np.float32)
    for owner in np.unique(clip["label"][t]):
        at = clip["label"][t] == owner
        ahead = across[owner] @ pixel[:, at] * clip["depth"][t][at].astype(np.float32)
        ahead += clip["k"][other] @ move[owner, :3, 3:]
        out[at] = (ahead[:2] / np.maximum(ahead[2], 1e-3) - pixel[:2, at]).T
    return np.clip(out if other > t else -out, -width, width)


def arguments(doc: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, required=True, metavar="SEED")
    parser.add_argument("--count", type=int, required=True)
    return parser


def write(args: argparse.Namespace, clip_of: Callable[[int], dict]) -> None:
    """The clips of the seeds that are asked for, one file each."""
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in range(args.first, args.first + args.count):
        path = args.out / f"{seed:05d}.npz"
        if not path.exists():
            clip = clip_of(seed)
            with replacing(path) as part, open(part, "wb") as file:
                np.savez(file, **clip)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--photos", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos = sorted(args.photos.glob("*.jpg")) if args.photos else ()
    write(args, lambda seed: make(seed, args.frames, args.height, args.width, args.device, photos))


if __name__ == "__main__":
    main()
