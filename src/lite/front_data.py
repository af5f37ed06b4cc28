"""Training samples of the front from rendered clips (world.py): frames, log depth, fields of view."""
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

FARTHEST = 8.0   # times the clip's median depth; the world behind that counts as this far


class Clips:
    """The clips of some folders, which may grow: refresh() looks for new ones."""

    def __init__(self, folders: list[Path]):
        self.folders = [Path(folder) for folder in folders]
        self.names = []
        self.refresh()

    def refresh(self) -> None:
        self.names = sorted(name for folder in self.folders for name in folder.glob("[0-9]*.npz"))

    def __len__(self) -> int:
        return len(self.names)

    def frames(self, index: int, choose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames `choose(count)` of a clip's `count`: u8 [T, H, W, 3], f32 [T, H, W] log of
        depth over the clip's median, K [T, 3, 3]."""
        with np.load(self.names[index]) as clip:
            depth, times = clip["depth"], choose(len(clip["k"]))
            video, k = clip["video"][times], clip["k"][times]
        middle = np.median(depth[:, ::4, ::4].astype(np.float32))
        ratio = depth[times].astype(np.float32) / middle
        return video, np.log(ratio.clip(0.02, FARTHEST)), k


def fields_of_view(k: np.ndarray, height: int, width: int) -> np.ndarray:
    """[T, 3, 3] to (vertical, horizontal) in radians [T, 2]."""
    return np.stack([2 * np.arctan(height / 2 / k[:, 1, 1]), 2 * np.arctan(width / 2 / k[:, 0, 0])], 1)


def resize(image: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    return image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=how)


def zoom(rng, video, depth, k):
    """A random window of the frame, brought back to the frame's size."""
    height, width = depth.shape[1:]
    share = rng.uniform(0.7, 1)
    h, w = round(share * height), round(share * width)
    y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
    video = np.stack([resize(f[y:y + h, x:x + w], (width, height), cv2.INTER_CUBIC) for f in video])
    depth = np.stack([resize(d[y:y + h, x:x + w], (width, height), cv2.INTER_NEAREST) for d in depth])
    k = k.copy()
    k[:, 0, 0] *= width / w
    k[:, 1, 1] *= height / h
    return video, depth, k


def recolour(rng, video: np.ndarray) -> np.ndarray:
    """Gamma, contrast, tint and saturation by one table and one mixing with grey."""
    level = np.arange(256) / 255
    table = level[:, None] ** np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.15))
    table = table * np.exp(rng.normal(0, 0.08, 3)) + rng.normal(0, 0.04)
    table = (255 * table).clip(0, 255).astype(np.float32)
    out = np.stack([table[video[..., c], c] for c in range(3)], -1)
    if rng.random() < 0.5:
        share = rng.uniform(0.5, 1) if rng.random() < 0.2 else rng.uniform(-0.3, 0.5)
        out += np.float32(share) * (out.mean(-1, keepdims=True) - out)
    return out.clip(0, 255).astype(np.uint8)


def degrade(rng, frame: np.ndarray) -> np.ndarray:
    """JPEG or noise, as cameras and codecs do."""
    kind = rng.random()
    if kind < 0.25:
        coded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])[1]
        return cv2.imdecode(coded, cv2.IMREAD_COLOR)
    if kind < 0.4:
        noise = cv2.randn(np.empty(frame.shape, np.int16), 0, rng.uniform(2, 10))
        return (frame + noise).clip(0, 255).astype(np.uint8)
    if kind < 0.5:
        return cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.5, 1.5))
    return frame


def sample(clips: Clips, seed: list[int], count: int, size: tuple[int, int]) -> tuple:
    """`count` augmented frames of one clip at random times, in order."""
    rng = np.random.default_rng(seed)
    cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
    index = int(rng.integers(len(clips)))
    video, depth, k = clips.frames(index, lambda n: np.sort(rng.choice(n, count, replace=False)))
    if rng.random() < 0.6:
        video, depth, k = zoom(rng, video, depth, k)
    if rng.random() < 0.5:
        video, depth = video[:, :, ::-1], depth[:, :, ::-1]
    if rng.random() < 0.5:
        video = video[::-1]
        depth, k = depth[::-1], k[::-1]
    if rng.random() < 0.8:
        video = recolour(rng, video)
    video = np.stack([degrade(rng, np.ascontiguousarray(f)) for f in video])
    return working(video, depth, k, size)


def working(video, depth, k, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """To the network's H x W: f32 [T, 3, H, W] 0..255, log depth [T, H, W], fields of view [T, 2]."""
    fov = fields_of_view(k, *depth.shape[1:])
    video = np.stack([resize(f, size[::-1], cv2.INTER_CUBIC) for f in video])
    depth = np.stack([resize(d, size[::-1], cv2.INTER_NEAREST) for d in depth])
    return video.transpose(0, 3, 1, 2).astype(np.float32), depth, fov.astype(np.float32)


def batch(clips: Clips, seed: int, step: int, groups: int, frames: int, size) -> tuple[Tensor, ...]:
    """`groups` clips of `frames` frames: video [G T, 3, H, W], log depth [G T, H, W], fov [G T, 2]."""
    parts = [sample(clips, [seed, step, g], frames, size) for g in range(groups)]
    return tuple(torch.from_numpy(np.ascontiguousarray(np.concatenate(p))) for p in zip(*parts))


def held(clips: Clips, index: int, frames: int, size) -> tuple[Tensor, ...]:
    """Evenly spaced frames of a clip, unaugmented."""
    parts = working(*clips.frames(index, lambda n: np.linspace(0, n - 1, frames).round().astype(int)), size)
    return tuple(torch.from_numpy(np.ascontiguousarray(p)) for p in parts)
