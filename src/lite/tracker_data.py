"""Clips as the lite tracker sees them in training: cached features, a front's faulty depth, truth.

Arrays are ordered [T, N, ...] as in window.py; positions are in model pixels, which are the clips' own.
"""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import window
import world
from lite_config import FRONT_PATCH, FRONT_WIDTH, LEVELS, STRIDE
from tracker import Encoder, Maps, query_patches

HALF = 2  # depth is made worse at half the size: it is looked at every fourth pixel


@dataclass
class Sample:
    """A window: what the network is given, and the truth."""
    maps: Maps
    query: Tensor      # [N, 3] frame, x, y
    query_point: Tensor  # [N, 3] camera-space point of the query, from the given depth
    lo: Tensor         # [3] as in window.Window
    hi: Tensor
    xy: Tensor         # [T, N, 2]
    point: Tensor      # [T, N, 3] camera space, in the given depth's measure
    visible: Tensor    # [T, N]
    inside: Tensor     # [T, N] inside of the image
    moving: Tensor     # [N]
    c2w: Tensor        # [T, 4, 4] relative to the first frame, in the given depth's measure
    k: Tensor          # [T, 3, 3] as given

    def normalise(self, p: Tensor) -> Tensor:
        return 2 * (p - self.lo) / (self.hi - self.lo) - 1

    def denormalise(self, p: Tensor) -> Tensor:
        return (p + 1) / 2 * (self.hi - self.lo) + self.lo

    def part(self, first: int, end: int, tracks: slice | Tensor) -> "Sample":
        """The window of frames first..end - 1 and some tracks, whose templates stay those of their queries."""
        maps = Maps([x[first:end] for x in self.maps.features], [x[first:end] for x in self.maps.points],
                    [x[tracks] for x in self.maps.templates], [x[tracks] for x in self.maps.template_points])
        truth = (x[first:end, tracks] for x in (self.xy, self.point, self.visible, self.inside))
        query = self.query[tracks] - self.query.new_tensor([first, 0, 0])
        return Sample(maps, query, self.query_point[tracks].clone(), self.lo, self.hi, *truth, self.moving[tracks],
                      torch.linalg.inv(self.c2w[first]) @ self.c2w[first:end], self.k[first:end])


def front_video(video: np.ndarray) -> Tensor:
    """u8 [T, h, w, 3] to what the front hands on, [T, 3, H, FRONT_WIDTH] (docs/model/frames.md section 3)."""
    height = FRONT_PATCH * round(video.shape[1] * (FRONT_WIDTH / video.shape[2]) / FRONT_PATCH)
    images = torch.from_numpy(video).permute(0, 3, 1, 2).float()
    return F.interpolate(images, (height, FRONT_WIDTH), mode="bicubic").clamp(0, 255)


def seen(video: np.ndarray) -> Tensor:
    """The encoder's images: by way of the front's size, then the nearest pixel."""
    return F.interpolate(front_video(video), video.shape[1:3], mode="nearest")


def features(fnet: Encoder, path: Path, clip: dict, cache: Path) -> Tensor:
    """Level 0 [T, C, h, w], made once for a clip and kept as float16."""
    kept = cache / f"{path.parent.parent.name}-{path.stem}.npy"
    if kept.exists():
        return torch.from_numpy(np.load(kept)).float()
    with torch.no_grad():
        maps = torch.cat([fnet(image) for image in seen(clip["video"]).split(4)])
    cache.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part.npy")
    np.save(part, maps.half().numpy())
    part.rename(kept)
    return maps.half().float()


def smooth_noise(random: np.random.Generator, size: tuple[int, ...], coarse: tuple[int, ...]) -> Tensor:
    """Low-frequency noise [T, h, w] of unit size."""
    x = torch.from_numpy(random.normal(size=coarse)).float()[None, None]
    return F.interpolate(x, size, mode="trilinear", align_corners=True)[0, 0]


def faulty_depth(depth: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Depth [T, h, w] made worse as a small front's is, and the smooth factor that it was multiplied by
    (the front's scale, and slow errors in space and time)."""
    still = smooth_noise(random, tuple(depth.shape), (1, 4, 5))
    field = random.uniform(0.05, 0.3) * still + 0.04 * smooth_noise(random, tuple(depth.shape), (5, 3, 3))
    field = (field + random.normal(0, 0.5)).exp()
    sigma = random.uniform(0.2, 1.5)
    radius = int(2 * sigma + 1)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    x = F.pad((1 / depth.clamp(0.05, 200))[:, None], [radius] * 4, mode="replicate")
    x = F.conv2d(F.conv2d(x, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]
    noise = 1 + random.uniform(0, 0.01) * torch.from_numpy(random.normal(size=depth.shape)).float()
    return field * noise / x, field


def choose(clip: dict, count: int, random: np.random.Generator, first: int = 0, end: int | None = None) -> np.ndarray:
    """Queries [count, 3] in frames first..end - 1: most in the first of them, half on what moves by
    itself, if anything does in their frame."""
    frames, h, w = clip["depth"].shape
    frame = np.where(random.random(count) < 0.6, first, random.integers(first, end or frames, size=count))
    xy = random.uniform(0, 1, (count, 2)) * [w - 1, h - 1]
    moving = {t: np.flatnonzero(clip["moving"][clip["label"][t]]) for t in set(frame)}
    for n in np.flatnonzero(random.random(count) < 0.5):
        pixels = moving[frame[n]]
        if len(pixels):
            at = pixels[random.integers(len(pixels))]
            xy[n] = at % w, at // w
    return np.concatenate([frame[:, None], xy], 1)


def backward(clip: dict) -> dict:
    """The clip with its time turned round."""
    turned = {name: clip[name][::-1].copy() for name in ("video", "depth", "label", "k", "c2w")}
    return clip | turned | {"o2w": clip["o2w"][:, ::-1].copy()}


def every(clip: dict, step: int) -> dict:
    """Every step-th frame alone: everything moves faster."""
    fewer = {name: clip[name][::step] for name in ("video", "depth", "label", "k", "c2w")}
    return clip | fewer | {"o2w": clip["o2w"][:, ::step]}


def relative(c2w: np.ndarray, scale: float) -> Tensor:
    out = torch.from_numpy(np.linalg.inv(c2w[:1].astype(np.float64)) @ c2w.astype(np.float64)).float()
    out[:, :3, 3] *= scale
    return out


def sample_depths(depth: Tensor, frame: Tensor, xy: Tensor) -> Tensor:
    """Of maps of half the size."""
    h, w = depth.shape[1:]
    x, y = (xy / HALF).round().long().unbind(-1)
    return depth[frame, y.clamp(0, h - 1), x.clamp(0, w - 1)]


def make_sample(maps: Tensor, clip: dict, query: np.ndarray, radius: int, random: np.random.Generator) -> Sample:
    """maps: level 0 of the features."""
    xy, visible, true_point = (torch.as_tensor(x) for x in world.tracks(clip, query))
    frames, h, w = clip["depth"].shape
    half = torch.from_numpy(clip["depth"][:, ::HALF, ::HALF]).float()
    depth, field = faulty_depth(half, random)
    k = torch.from_numpy(clip["k"]).float().clone()
    k[:, [0, 1], [0, 1]] *= float(np.exp(random.normal(0, 0.1)))
    xy = xy.float().clamp(-w, 2 * w)  # points behind the camera are anywhere
    true_point = true_point.float()
    time = torch.arange(frames)[:, None].expand(xy.shape[:2])
    z = true_point[..., 2].clamp(0.01, 200) * sample_depths(field, time, xy)
    query_t = torch.from_numpy(query).float()
    frame = query_t[:, 0].long()
    start = window.unproject(k[frame], query_t[:, 1:], sample_depths(depth, frame, query_t[:, 1:]))
    std, mean = torch.std_mean(start, 0)
    lo, hi = mean - 3 * std, mean + 3 * std

    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    pixels = torch.stack([columns, rows], -1)[::STRIDE, ::STRIDE].float()
    points = window.unproject(k[:, None, None], pixels.expand(frames, -1, -1, -1), depth[:, ::STRIDE // HALF, ::STRIDE // HALF])
    points = (2 * (points - lo) / (hi - lo) - 1).permute(0, 3, 1, 2).contiguous()
    all_maps = Maps([], [], [], [])
    for level in range(LEVELS):
        at = query_t[:, 1:] / (STRIDE << level)
        all_maps.features.append(maps.contiguous(memory_format=torch.channels_last))
        all_maps.points.append(points.contiguous(memory_format=torch.channels_last))
        all_maps.templates.append(query_patches(maps, frame, at, radius))
        all_maps.template_points.append(query_patches(points, frame, at, radius))
        maps, points = F.avg_pool2d(maps, 2), points[:, :, ::2, ::2].contiguous()
    inside = (xy >= 0).all(-1) & (xy[..., 0] <= w - 1) & (xy[..., 1] <= h - 1)
    label = clip["label"][query[:, 0].astype(int), np.rint(query[:, 2]).astype(int), np.rint(query[:, 1]).astype(int)]
    scale = float((start[:, 2] / true_point[frame, torch.arange(len(frame)), 2].clamp_min(0.01)).median())
    return Sample(all_maps, query_t, start, lo, hi, xy, window.unproject(k[:, None], xy, z),
                  visible & inside, inside, torch.from_numpy(clip["moving"][label]), relative(clip["c2w"], scale), k)
