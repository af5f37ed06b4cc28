"""Clips as the lite tracker sees them in training: cached features, a front's faulty depth, truth.

Arrays are ordered [T, N, ...] as in window.py; positions are in model pixels, which are the clips' own.
"""
import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.config import FRONT, STRIDE
from common.files import replacing
from common.frames import working_video
from tracker import window
from tracker.model import Encoder, FeatureCache, Normalised, pyramid, query_patches
from world import clips

HALF = 2  # depth is made worse at half the size: it is sampled at every fourth pixel


@dataclass
class Sample(Normalised):
    """A window: what the network is given, and the truth."""
    cache: FeatureCache
    query: Tensor      # [N, 3] frame, x, y
    query_point: Tensor  # [N, 3] camera-space point of the query, from the given depth
    lo: Tensor         # [3] of Normalised
    hi: Tensor
    xy: Tensor         # [T, N, 2]
    point: Tensor      # [T, N, 3] camera space, in the given depth's measure
    visible: Tensor    # [T, N]
    inside: Tensor     # [T, N] inside of the image
    moving: Tensor     # [N]
    c2w: Tensor        # [T, 4, 4] relative to the first frame, in the given depth's measure
    k: Tensor          # [T, 3, 3] as given

    def part(self, first: int, end: int, tracks: slice | Tensor) -> "Sample":
        """The window of frames first..end - 1 and some tracks, whose templates stay those of their queries."""
        own = self.cache
        cache = FeatureCache([x[first:end] for x in own.features], [x[first:end] for x in own.points],
                             [x[tracks] for x in own.templates], [x[tracks] for x in own.template_points])
        truth = (x[first:end, tracks] for x in (self.xy, self.point, self.visible, self.inside))
        query = self.query[tracks] - self.query.new_tensor([first, 0, 0])
        return Sample(cache, query, self.query_point[tracks].clone(), self.lo, self.hi, *truth, self.moving[tracks],
                      torch.linalg.inv(self.c2w[first]) @ self.c2w[first:end], self.k[first:end])


def arguments(doc: str, validated: str) -> argparse.ArgumentParser:
    """The flags of the tracker's programs; `validated`: what the held-out clips are for."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="folders of train/ and held/")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--held", type=int, default=12, help=f"clips {validated}")
    return parser


def training_arguments(doc: str, validated: str, rate: float) -> argparse.ArgumentParser:
    parser = arguments(doc, validated)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--start", type=Path, metavar="TRACKER.safetensors", help="exported weights to start from")
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def pick_clip(folders: list[Path], random: np.random.Generator) -> Path:
    """A training clip of one of the folders that have any."""
    filled = [paths for folder in folders if (paths := sorted((folder / "train").glob("*.npz")))]
    paths = filled[random.integers(len(filled))]
    return paths[random.integers(len(paths))]


def held_clips(folders: list[Path], count: int) -> list[Path]:
    """The first clips kept aside, of the first folder alone."""
    return sorted((folders[0] / "held").glob("*.npz"))[:count]


def front_video(video: np.ndarray) -> Tensor:
    """u8 [T, h, w, 3] to what the front hands on, f32 [T, 3, H, W]."""
    return working_video(torch.from_numpy(video), FRONT["img_size"], FRONT["patch_size"]).clamp(0, 255)


def encoder_images(video: np.ndarray) -> Tensor:
    """The encoder's images: by way of the front's size, then the nearest pixel."""
    return F.interpolate(front_video(video), video.shape[1:3], mode="nearest")


def cached_features(fnet: Encoder, path: Path, clip: dict, folder: Path) -> Tensor:
    """Level 0 [T, C, h, w], made once for a clip and kept as float16."""
    kept = folder / f"{path.parent.parent.name}-{path.stem}.npy"
    if kept.exists():
        return torch.from_numpy(np.load(kept)).float()
    with torch.no_grad():
        maps = torch.cat([fnet(image) for image in encoder_images(clip["video"]).split(4)])
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as part, open(part, "wb") as file:
        np.save(file, maps.half().numpy())
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


def choose_queries(clip: dict, count: int, random: np.random.Generator, first: int = 0,
                   end: int | None = None) -> np.ndarray:
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


def time_reversed(clip: dict) -> dict:
    flipped = {name: clip[name][::-1].copy() for name in ("video", "depth", "label", "k", "c2w")}
    return clip | flipped | {"o2w": clip["o2w"][:, ::-1].copy()}


def strided(clip: dict, step: int) -> dict:
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
    xy, visible, true_point = (torch.as_tensor(x) for x in clips.tracks(clip, query))
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
    points = window.unproject(k[:, None, None], pixels.expand(frames, -1, -1, -1),
                              depth[:, ::STRIDE // HALF, ::STRIDE // HALF])
    points = (2 * (points - lo) / (hi - lo) - 1).permute(0, 3, 1, 2).contiguous()
    cache = FeatureCache([], [], [], [])
    for level, features in enumerate(pyramid(maps)):
        at = query_t[:, 1:] / (STRIDE << level)
        cache.features.append(features.contiguous(memory_format=torch.channels_last))
        cache.points.append(points.contiguous(memory_format=torch.channels_last))
        cache.templates.append(query_patches(features, frame, at, radius))
        cache.template_points.append(query_patches(points, frame, at, radius))
        points = points[:, :, ::2, ::2].contiguous()
    inside = (xy >= 0).all(-1) & (xy[..., 0] <= w - 1) & (xy[..., 1] <= h - 1)
    label = clip["label"][query[:, 0].astype(int), np.rint(query[:, 2]).astype(int), np.rint(query[:, 1]).astype(int)]
    scale = float((start[:, 2] / true_point[frame, torch.arange(len(frame)), 2].clamp_min(0.01)).median())
    return Sample(cache, query_t, start, lo, hi, xy, window.unproject(k[:, None], xy, z),
                  visible & inside, inside, torch.from_numpy(clip["moving"][label]), relative(clip["c2w"], scale), k)
