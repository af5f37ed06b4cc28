"""Samples for the front from rendered clips (world/clips.py): frames, log depth, fields of view."""
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from world.degrade import degrade_frame, recolour

MATCHES = 800     # points of a clip that are looked for in its other frames
MAX_DEPTH = 8.0   # times the clip's median depth; the world behind that counts as this far


@dataclass
class Still:
    """What of a clip does not move, at the network's size: which pixels, and the cameras that see them."""
    mask: np.ndarray      # bool [T, H, W], packed along its last axis
    k: np.ndarray         # f64 [T, 3, 3]
    c2w: np.ndarray       # f64 [T, 4, 4], in units of the clip's median depth

    @staticmethod
    def of(clip, size: tuple[int, int]) -> "Still":
        mask = ~clip["moving"][clip["label"]]
        mask = np.stack([resize(m.astype(np.uint8), size, cv2.INTER_NEAREST) for m in mask])
        k, c2w = clip["k"].astype(np.float64), clip["c2w"].astype(np.float64)
        k[:, :2] *= (np.array(size[::-1]) / clip["depth"].shape[:0:-1])[:, None]
        c2w[:, :3, 3] /= np.median(clip["depth"][:, ::2, ::2].astype(np.float32))
        return Still(np.packbits(mask, -1), k, c2w)

    def matches(self, rng: np.random.Generator, depth: np.ndarray, times: np.ndarray,
                count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points of frame times[0], of log depth [T, H, W], in each of those frames: xy [T, N, 2], the points in the
        frame's camera turned to the first one's axes [T, N, 3], and where they are seen [N], in all frames."""
        first, (height, width) = times[0], depth.shape[1:]
        mask = np.unpackbits(self.mask[times], -1, width).astype(bool) & (abs(depth) < 0.98 * math.log(MAX_DEPTH))
        y, x = rng.integers((height, width), size=(count, 2)).T
        seen = mask[0, y, x]
        rays = np.linalg.inv(self.k[first]) @ np.stack([x, y, np.ones(count)])
        world = self.c2w[first] @ np.vstack([rays * np.exp(depth[0, y, x]), np.ones(count)])
        places, points = [], []
        for i, t in enumerate(times):
            point = np.linalg.inv(self.c2w[t])[:3] @ world
            at = self.k[t] @ point
            at = (at[:2] / at[2].clip(1e-3)).clip(-1e4, 1e4)
            column, row = (at[j].round().astype(int).clip(0, size - 1) for j, size in ((0, width), (1, height)))
            inside = (at > 0).all(0) & (at[0] < width - 1) & (at[1] < height - 1) & (point[2] > 0.02)
            seen &= inside & mask[i, row, column] & (abs(np.log(point[2].clip(1e-3)) - depth[i, row, column]) < 0.03)
            places.append(at.T)
            points.append((self.c2w[first, :3, :3].T @ self.c2w[t, :3, :3] @ point).T)
        return np.stack(places), np.stack(points), seen


class Clips:
    """The clips of some folders at the network's size, kept in memory once read; the folders may
    grow: refresh() looks for new ones."""

    def __init__(self, folders: list[Path], size: tuple[int, int]):
        self.folders, self.size = [Path(folder) for folder in folders], size
        self.names, self.kept = [], {}
        self.refresh()

    def refresh(self) -> None:
        self.names = sorted(name for folder in self.folders for name in folder.glob("[0-9]*.npz"))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Still]:
        """u8 [T, H, W, 3], f16 [T, H, W] log of depth over the clip's median, fields of view
        [T, 2], and the still world."""
        name = self.names[index]
        if name not in self.kept:
            with np.load(name) as clip:
                depth, fov = clip["depth"], fields_of_view(clip["k"], *clip["depth"].shape[1:])
                still = Still.of(clip, self.size)
                video = np.stack([resize(f, self.size, cv2.INTER_CUBIC) for f in clip["video"]])
            depth = depth.astype(np.float32)
            depth = np.stack([resize(d, self.size, cv2.INTER_NEAREST) for d in depth])
            ratio = (depth / np.median(depth[:, ::2, ::2])).clip(0.02, MAX_DEPTH)
            self.kept[name] = video, np.log(ratio).astype(np.float16), fov, still
        return self.kept[name]


def fields_of_view(k: np.ndarray, height: int, width: int) -> np.ndarray:
    """[T, 3, 3] to (vertical, horizontal) in radians [T, 2]."""
    return 2 * np.arctan(np.stack([height / 2 / k[:, 1, 1], width / 2 / k[:, 0, 0]], 1))


def resize(image: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    """To size (H, W)."""
    return image if image.shape[:2] == size else cv2.resize(image, size[::-1], interpolation=how)


def random_crop(rng, video, depth, fov, places):
    """A random window inside the frame, rotated about the axis a little (which leaves depth alone),
    brought back to the frame's size; places [T, N, 2] with it."""
    height, width = depth.shape[1:]
    share, angle = rng.uniform(0.65, 0.95), rng.normal(0, 0.06)
    linear = share * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    margin = np.array([width, height]) / 2 - np.abs(linear) @ [width / 2, height / 2]
    centre = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * margin.clip(0)
    matrix = np.column_stack([linear, centre - linear @ [width / 2, height / 2]])

    def warp(frames, how):
        flags = how | cv2.WARP_INVERSE_MAP
        return np.stack([cv2.warpAffine(f, matrix, (width, height), flags=flags,
                                        borderMode=cv2.BORDER_REPLICATE) for f in frames])

    fov = 2 * np.arctan(share * np.tan(fov / 2))
    places = (places - matrix[:, 2]) @ np.linalg.inv(linear).T
    return warp(video, cv2.INTER_CUBIC), warp(depth, cv2.INTER_NEAREST), fov, places


def sample(clips: Clips, seed: list[int], count: int) -> tuple[np.ndarray, ...]:
    """`count` augmented frames of one clip at random times, in order: f32 [T, 3, H, W] 0..255, log
    depth [T, H, W], fields of view [T, 2], and Still.matches's points: places [T, N, 2], points [T, N, 3],
    seen [T, N]."""
    rng = np.random.default_rng(seed)
    cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
    video, depth, fov, still = clips[int(rng.integers(len(clips)))]
    times = np.sort(rng.choice(len(video), count, replace=False))
    video, depth, fov = video[times], depth[times].astype(np.float32), fov[times]
    places, points, seen = still.matches(rng, depth, times, MATCHES)
    if rng.random() < 0.6:
        video, depth, fov, places = random_crop(rng, video, depth, fov, places)
    size = np.array(depth.shape[:0:-1])
    if rng.random() < 0.5:
        video, depth = video[:, :, ::-1], depth[:, :, ::-1]
        places = np.stack([size[0] - 1 - places[..., 0], places[..., 1]], -1)
    seen = seen & ((places >= 0) & (places <= size - 1)).all((0, 2))
    if rng.random() < 0.8:
        video = recolour(rng, video)
    video = np.stack([degrade_frame(rng, np.ascontiguousarray(f)) for f in video])
    return (video.transpose(0, 3, 1, 2).astype(np.float32), depth, fov.astype(np.float32),
            places.astype(np.float32), points.astype(np.float32), np.tile(seen, (count, 1)))


class Pictures:
    """Photographs without ground truth, kept in memory."""

    def __init__(self, folder: Path, size: tuple[int, int]):
        self.size = size
        self.images = [cv2.cvtColor(cv2.imread(str(name)), cv2.COLOR_BGR2RGB) for name in sorted(folder.glob("*.jpg"))]

    def crop(self, rng: np.random.Generator) -> np.ndarray:
        """A random part of one of them in the frame's shape [H, W, 3], mirrored or not."""
        image = self.images[int(rng.integers(len(self.images)))]
        height, width = self.size
        part = rng.uniform(0.5, 1) * min(image.shape[0] / height, image.shape[1] / width)
        h, w = int(part * height), int(part * width)
        y, x = (int(rng.integers(size - part + 1)) for size, part in zip(image.shape, (h, w)))
        image = cv2.resize(image[y:y + h, x:x + w], (width, height), interpolation=cv2.INTER_AREA)
        return image[:, ::-1] if rng.random() < 0.5 else image


def pictured(pictures: Pictures, seed: int, step: int, count: int) -> tuple[Tensor, Tensor]:
    """Parts of photographs f32 [T, 3, H, W], clean, and as the front sees them: recoloured and degraded."""
    rng = np.random.default_rng([seed, step, 1 << 20])
    cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
    clean = [np.ascontiguousarray(pictures.crop(rng)) for _ in range(count)]
    seen = [degrade_frame(rng, recolour(rng, image[None])[0]) for image in clean]
    return tuple(torch.from_numpy(np.stack(x).transpose(0, 3, 1, 2).astype(np.float32)) for x in (clean, seen))


def batch(clips: Clips, seed: int, step: int, groups: int, frames: int) -> tuple[Tensor, ...]:
    """`groups` clips of `frames` frames: [G T, 3, H, W], log depth [G T, H, W], fov [G T, 2], and the points
    that do not move (sample)."""
    parts = [sample(clips, [seed, step, g], frames) for g in range(groups)]
    return tuple(torch.from_numpy(np.ascontiguousarray(np.concatenate(p))) for p in zip(*parts))


def evenly(clips: Clips, index: int, frames: int) -> tuple[Tensor, ...]:
    """Evenly spaced frames of a clip, unaugmented."""
    video, depth, fov, _ = clips[index]
    times = np.linspace(0, len(video) - 1, frames).round().astype(int)
    parts = video[times].transpose(0, 3, 1, 2), depth[times], fov[times]
    return tuple(torch.from_numpy(part.astype(np.float32)) for part in parts)
