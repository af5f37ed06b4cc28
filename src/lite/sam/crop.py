"""What a lite SAM sees of a picture: square crops, each of one object (src/sam/README.md, "Crops").

A crop is its first column, its first row and its side in pixels; it may reach beyond the picture.
"""
import math

import cv2
import numpy as np
import torch
from torch import Tensor

from common import frames
from sam.model import Sam

MEAN, STD = (255 * np.array(x, np.float32) for x in (frames.MEAN, frames.STD))


def crop_of(box: np.ndarray, scale: float) -> tuple[int, int, int]:
    """The square crop around a box, its side `scale` times the box's longer side."""
    side = max(1, math.ceil(scale * (box[2:] - box[:2] + 1).max()))
    x, y = np.floor((box[:2] + box[2:] + 2 - side) / 2).astype(int)
    return int(x), int(y), side


def cropped(picture: np.ndarray, crop: tuple[int, int, int], side: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """What lies in a crop of a picture, the crop scaled to `side`, and where in it that is."""
    (x, y, full), (h, w) = crop, picture.shape[:2]
    low, high = np.maximum([y, x], 0), np.minimum([y + full, x + full], [h, w])
    first, last = (np.floor((at - [y, x]) * side / full + 0.5).astype(int) for at in (low, high))
    first = np.minimum(first, side - 1)
    last = np.maximum(last, first + 1)
    part = np.ascontiguousarray(picture[low[0]:high[0], low[1]:high[1]])
    how = cv2.INTER_AREA if full > side else cv2.INTER_LINEAR
    place = slice(first[0], last[0]), slice(first[1], last[1])
    return cv2.resize(part, tuple(int(n) for n in (last - first)[::-1]), interpolation=how), place


def normalised(picture: np.ndarray, crop: tuple[int, int, int], side: int) -> np.ndarray:
    """A crop of u8 [h, w, 3] to the model's picture f32 [3, side, side]."""
    out = np.zeros((side, side, 3), np.float32)
    part, place = cropped(picture, crop, side)
    out[place] = (part - MEAN) / STD
    return out.transpose(2, 0, 1)


def paste(low: Tensor, crop: tuple[int, int, int], size: tuple[int, int]) -> Tensor:
    """Logits [n, n] of a crop to those of the picture [h, w], bilinear; far below 0 outside of the crop."""
    def taps(first: int, extent: int) -> tuple[Tensor, Tensor, Tensor]:
        at = (torch.arange(extent) - first + 0.5) * (len(low) / crop[2]) - 0.5
        at = at.clamp(0, len(low) - 1)
        return at.long(), (at.long() + 1).clamp_max(len(low) - 1), at - at.long()
    (top, below, down), (left, right, along) = taps(crop[1], size[0]), taps(crop[0], size[1])
    rows = low[top] + down[:, None] * (low[below] - low[top])
    out = rows[:, left] + along * (rows[:, right] - rows[:, left])
    for first, extent, axis in ((crop[1], size[0], 0), (crop[0], size[1], 1)):
        at = torch.arange(extent)
        beyond = ((at < first) | (at >= first + crop[2])).nonzero()[:, 0]
        out.index_fill_(axis, beyond, -1e4)
    return out


def decoded(model: Sam, pixels: np.ndarray, points: np.ndarray | None, box: np.ndarray | None) -> tuple[Tensor, float]:
    """The first mask's logits [4G, 4G] of a prompt in the model image's pixels, and its IoU."""
    points, box = (None if part is None else torch.from_numpy(part) for part in (points, box))
    labels = None if points is None else torch.ones(len(points), dtype=torch.int64)
    embedding = model.vision_encoder(torch.from_numpy(pixels)[None])
    masks, iou = model.decode(embedding, model.sparse(points, labels, box))
    return masks[0, 1], iou[0, 1].item()


def mirrored(places: np.ndarray | None, side: int) -> np.ndarray | None:
    return None if places is None else places * [-1, 1] + [side - 1, 0]


def mask_in(model: Sam, image: np.ndarray, crop: tuple[int, int, int], prompt: dict,
            both_ways: bool = False) -> tuple[np.ndarray, float]:
    """The first mask bool [h, w] of a prompt in the picture's pixels, from a crop, and its IoU: both
    ways is the mean of the crop and of its mirror image."""
    side, pixels = model.side, normalised(image, crop, model.side)
    points, box = ((np.stack(prompt[k]).reshape(-1, 2) - crop[:2] + 0.5) * (side / crop[2]) - 0.5
                   if k in prompt else None for k in ("points", "box"))
    low, iou = decoded(model, pixels, points, box)
    if both_ways:
        box = None if box is None else np.stack([box[[1, 0], 0], box[:, 1]], 1)
        again, other = decoded(model, pixels[..., ::-1].copy(), mirrored(points, side), mirrored(box, side))
        low, iou = (low + again.flip(1)) / 2, (iou + other) / 2
    return paste(low, crop, image.shape[:2]).numpy() > model.threshold, iou


def box_of(mask: np.ndarray) -> np.ndarray:
    """The mask's first and last column and row: x0, y0, x1, y1."""
    x, y = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
    return np.array([x[0], y[0], x[-1], y[-1]], np.float32)


@torch.inference_mode()
def segment(model: Sam, image: np.ndarray, prompt: dict) -> tuple[np.ndarray, float]:
    """The mask bool [h, w] of a prompt, {"box": [4]} or {"points": [n, 2]} in the picture's pixels, and
    its IoU as the model sees it. A box is seen in a crop around it. Around the first point crops of several
    sizes are tried, and then one around what the best of them found."""
    if "box" in prompt:
        return mask_in(model, image, crop_of(prompt["box"], model.crop_scale), prompt, True)
    first = np.tile(prompt["points"][0], 2)
    found = [mask_in(model, image, crop_of(first, max(image.shape[:2]) / 2 ** i), prompt) for i in range(model.crops)]
    mask, iou = max(found, key=lambda pair: pair[1])
    return mask_in(model, image, crop_of(box_of(mask), model.crop_scale), prompt, True) if mask.any() else (mask, iou)
