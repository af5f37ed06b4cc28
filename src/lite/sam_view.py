"""How a lite SAM looks at a picture: square views of it, each one object's (src/sam/sam.c and view.c do the same).

A view is its first column, its first row and its side in pixels; it may reach beyond the picture.
"""
import math

import cv2
import numpy as np
import torch
from torch import Tensor

from sam import Sam

MEAN, STD = (255 * np.array(x, np.float32) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def view_of(box: np.ndarray, zoom: float) -> tuple[int, int, int]:
    """The square view around a box: its first column and row and its side, `zoom` times the box's
    longer side."""
    side = max(1, math.ceil(zoom * (box[2:] - box[:2] + 1).max()))
    x, y = np.floor((box[:2] + box[2:] + 2 - side) / 2).astype(int)
    return int(x), int(y), side


def seen(picture: np.ndarray, view: tuple[int, int, int], side: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """What a view shows of a picture scaled to the view's `side`, and where in the view that is."""
    (x, y, full), (h, w) = view, picture.shape[:2]
    low, high = np.maximum([y, x], 0), np.minimum([y + full, x + full], [h, w])
    first, last = (np.floor((at - [y, x]) * side / full + 0.5).astype(int) for at in (low, high))
    first = np.minimum(first, side - 1)
    last = np.maximum(last, first + 1)
    part = np.ascontiguousarray(picture[low[0]:high[0], low[1]:high[1]])
    how = cv2.INTER_AREA if full > side else cv2.INTER_LINEAR
    place = slice(first[0], last[0]), slice(first[1], last[1])
    return cv2.resize(part, tuple(int(n) for n in (last - first)[::-1]), interpolation=how), place


def normalised(picture: np.ndarray, view: tuple[int, int, int], side: int) -> np.ndarray:
    """u8 [h, w, 3] in a view to the model's picture f32 [3, side, side]."""
    out = np.zeros((side, side, 3), np.float32)
    part, place = seen(picture, view, side)
    out[place] = (part - MEAN) / STD
    return out.transpose(2, 0, 1)


def placed(low: Tensor, view: tuple[int, int, int], size: tuple[int, int]) -> Tensor:
    """Logits [n, n] of a view (its first column, first row and side in pixels) to those of the picture
    [h, w], bilinear; far below 0 outside of the view."""
    def taps(first: int, extent: int) -> tuple[Tensor, Tensor, Tensor]:
        at = (torch.arange(extent) - first + 0.5) * (len(low) / view[2]) - 0.5
        at = at.clamp(0, len(low) - 1)
        return at.long(), (at.long() + 1).clamp_max(len(low) - 1), at - at.long()
    (top, below, down), (left, right, along) = taps(view[1], size[0]), taps(view[0], size[1])
    rows = low[top] + down[:, None] * (low[below] - low[top])
    out = rows[:, left] + along * (rows[:, right] - rows[:, left])
    for first, extent, axis in ((view[1], size[0], 0), (view[0], size[1], 1)):
        at = torch.arange(extent)
        beyond = ((at < first) | (at >= first + view[2])).nonzero()[:, 0]
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


def mask_in(model: Sam, image: np.ndarray, view: tuple[int, int, int], prompt: dict,
            both_ways: bool = False) -> tuple[np.ndarray, float]:
    """The first mask bool [h, w] of a prompt in the picture's pixels, as a view shows it, and its IoU:
    both ways is the mean of the view and of its mirror image."""
    side, pixels = model.side, normalised(image, view, model.side)
    points, box = ((np.stack(prompt[k]).reshape(-1, 2) - view[:2] + 0.5) * (side / view[2]) - 0.5
                   if k in prompt else None for k in ("points", "box"))
    low, iou = decoded(model, pixels, points, box)
    if both_ways:
        box = None if box is None else np.stack([box[[1, 0], 0], box[:, 1]], 1)
        again, other = decoded(model, pixels[..., ::-1].copy(), mirrored(points, side), mirrored(box, side))
        low, iou = (low + again.flip(1)) / 2, (iou + other) / 2
    return placed(low, view, image.shape[:2]).numpy() > model.threshold, iou


def box_of(mask: np.ndarray) -> np.ndarray:
    """The mask's first and last column and row: x0, y0, x1, y1."""
    x, y = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
    return np.array([x[0], y[0], x[-1], y[-1]], np.float32)


@torch.inference_mode()
def segment(model: Sam, image: np.ndarray, prompt: dict) -> tuple[np.ndarray, float]:
    """The mask bool [h, w] of a prompt, {"box": [4]} or {"points": [n, 2]} in the picture's pixels, and
    its IoU as the model sees it. A box is looked at from near. Around the first point looks of several
    sizes are taken; from near what the best of them found."""
    if "box" in prompt:
        return mask_in(model, image, view_of(prompt["box"], model.zoom), prompt, True)
    first = np.tile(prompt["points"][0], 2)
    looks = [mask_in(model, image, view_of(first, max(image.shape[:2]) / 2 ** i), prompt) for i in range(model.looks)]
    mask, iou = max(looks, key=lambda look: look[1])
    return mask_in(model, image, view_of(box_of(mask), model.zoom), prompt, True) if mask.any() else (mask, iou)
