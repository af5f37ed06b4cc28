"""Samples for SAM: pictures with labelled objects, and prompts that point at one of them.

A picture is a window of a rendered frame (world/clips.py) or a texture, with shapes of other textures
laid over it: labels u8, 0 where there is no object. The model sees a square crop of it. Everything follows
from seeds.
"""
import os
import struct
import zipfile
from pathlib import Path

import cv2
import numpy as np

from common.config import SAM
from sam.crop import box_of, crop_of, cropped, normalised
from world import texture
from world.degrade import degrade_frame, recolour

KEPT = 4            # frames of a clip that are used, evenly spaced
TEXTURES = 160
LONG_SIDE = 240          # the longer side of a picture
MIN_OBJECT = 100         # pixels of the smallest object that is pointed at
ASPECTS = (3 / 4, 3 / 4, 9 / 16, 9 / 16, 1, 4 / 3)
MAX_SCALE = 6       # side of the largest crop around a point over the object's
BOXED = 0.7         # of the crops are around a box
FRAMES, KEPT_AS_IS = 0.85, 0.35  # of the pictures are frames; of these nothing is laid over or recoloured
NO_POINT, OUTSIDE, ON_IT, FIRST_CORNER, LAST_CORNER = -1, 0, 1, 2, 3  # kinds of tokens (sam/model.py)


def mapped(path: Path, name: str) -> np.ndarray:
    """An array of an uncompressed npz, of which only what is used is read."""
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo(name + ".npy").header_offset
    with open(path, "rb") as file:
        file.seek(begin + 26)
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return np.memmap(path, dtype, "r", file.tell(), shape)


class Source:
    """Frames of the clips in a folder and textures, both kept in memory once used."""

    def __init__(self, folder: Path, seed: int):
        self.names, self.seed, self.kept = sorted(folder.glob("[0-9]*.npz")), seed, {}

    def clip(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """u8 [KEPT, H, W, 3], labels [KEPT, H, W]."""
        name = self.names[index]
        if name not in self.kept:
            both = (mapped(name, part) for part in ("video", "label"))
            self.kept[name] = tuple(np.array(a[::max(1, len(a) // KEPT)]) for a in both)
        return self.kept[name]

    def frame(self, rng) -> tuple[np.ndarray, np.ndarray]:
        video, label = self.clip(int(rng.integers(len(self.names))))
        t = rng.integers(len(video))
        return video[t], label[t]

    def texture(self, rng) -> np.ndarray:
        index = int(rng.integers(TEXTURES))
        if index not in self.kept:
            picture = texture.usual(np.random.default_rng([self.seed, 1 << 20, index]), 0.25)
            self.kept[index] = (255 * picture).astype(np.uint8)
        return self.kept[index]


def random_window(rng, extent: tuple[int, int], size: tuple[int, int], min_share: float) -> np.ndarray:
    """The matrix from pixels of `size` (h, w) to those of a random window of a picture: at least
    `min_share` of it wide, rotated and stretched a little, mirrored in half of the cases."""
    (high, wide), (h, w) = extent, size
    share = np.exp(rng.uniform(np.log(min_share), 0))
    step = share * min(wide / w, high / h) * np.exp(rng.normal(0, 0.08, 2))
    angle, mirror = rng.normal(0, 0.12), rng.choice([-1, 1])
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * step
    matrix[:, 0] *= mirror
    margin = np.array([wide, high]) / 2 - np.abs(matrix) @ [w / 2, h / 2]
    centre = np.array([wide, high]) / 2 + rng.uniform(-1, 1, 2) * margin.clip(0)
    return np.column_stack([matrix, centre - matrix @ [w / 2, h / 2]])


def warp(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    return cv2.warpAffine(picture, matrix, size[::-1], flags=how | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REFLECT_101)


def material(rng, source: Source, size: tuple[int, int]) -> np.ndarray:
    """A surface u8 [h, w, 3]: a texture, part of a frame, or two of them side by side."""
    def one() -> np.ndarray:
        picture = source.frame(rng)[0] if rng.random() < 0.3 else source.texture(rng)
        picture = warp(picture, random_window(rng, picture.shape[:2], size, 0.1), size, cv2.INTER_LINEAR)
        return recolour(rng, picture) if rng.random() < 0.3 else picture
    if rng.random() < 0.7:
        return one()
    grid = rng.random((int(rng.integers(3, 9)),) * 2, dtype=np.float32)
    field = cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    soft = ((field - rng.uniform(0.3, 0.7)) * rng.choice([5, 50]) + 0.5).clip(0, 1)
    return (one() * soft + one() * (1 - soft)).astype(np.uint8)


def outline(rng, radius: float) -> np.ndarray:
    """A closed line [n, 2] around 0: round with waves, or corners joined by straight edges."""
    if rng.random() < 0.3:
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 10)))
        reach = rng.uniform(0.4, 1.2, len(angle))
    else:
        angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        reach, size = np.ones(72), rng.choice([0, 0.15, 0.5])
        for k in range(2, 8):
            reach = reach + rng.normal(0, size / k) * np.cos(k * angle + rng.uniform(0, 6.3))
    line = reach.clip(0.15)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    turn, stretch = rng.uniform(0, np.pi), np.exp(rng.normal(0, 0.35))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return radius * line * [stretch, 1 / stretch] @ rotation


def fill(canvas: np.ndarray, line: np.ndarray) -> None:
    cv2.fillPoly(canvas, [np.rint(16 * line).astype(np.int32)], 255, cv2.LINE_AA, 4)


def creature(rng, canvas: np.ndarray, centre: np.ndarray, radius: float) -> None:
    """A body with parts joined to it: rounds along a bent line, thin limbs."""
    at, heading = centre.copy(), rng.uniform(0, 6.3)
    for _ in range(rng.integers(2, 5)):
        part = radius * rng.uniform(0.3, 0.7)
        fill(canvas, at + outline(rng, part))
        for _ in range(rng.integers(0, 3)):
            way = rng.uniform(0, 6.3)
            end = at + part * rng.uniform(1, 2.2) * np.array([np.cos(way), np.sin(way)])
            thick = max(1, int(part * rng.uniform(0.15, 0.6)))
            cv2.line(canvas, at.astype(int).tolist(), end.astype(int).tolist(), 255, thick, cv2.LINE_AA)
        heading += rng.normal(0, 0.7)
        at = at + part * rng.uniform(0.8, 1.4) * np.array([np.cos(heading), np.sin(heading)])


def shape(rng, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Coverage of a random shape f32 [h, w] in 0..1, its centre, its radius in pixels."""
    canvas = np.zeros(size, np.uint8)
    radius = np.exp(rng.uniform(np.log(7), np.log(0.45 * max(size))))
    centre = rng.uniform(0, 1, 2) * size[::-1]
    if rng.random() < 0.35:
        creature(rng, canvas, centre, radius)
    else:
        fill(canvas, centre + outline(rng, radius))
        if rng.random() < 0.1:      # a hole or a bite
            hole = np.zeros_like(canvas)
            fill(hole, centre + rng.normal(0, radius / 2, 2) + outline(rng, radius * rng.uniform(0.2, 0.6)))
            canvas = np.minimum(canvas, 255 - hole)
    if rng.random() < 0.5:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.4, 1.5))
    return canvas.astype(np.float32) / 255, centre, radius


def shading(rng, cover: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """Light from one side and darker rims, as on round things: factors [h, w, 1]."""
    y, x = np.ogrid[:cover.shape[0], :cover.shape[1]]
    way, slope = rng.uniform(0, 6.3), rng.uniform(0, 0.6)
    light = 1 + slope * ((x - centre[0]) * np.cos(way) + (y - centre[1]) * np.sin(way)) / radius
    inside = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    rim = 1 - (inside / max(1.0, inside.max() * rng.uniform(0.3, 1))).clip(0, 1)
    return (light - rng.uniform(-0.3, 0.6) * rim ** 2)[..., None].clip(0.15, 2)


def lay(rng, source: Source, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Lays a new object over the picture, f32 [h, w, 3] 0..255, and into `label`."""
    cover, centre, radius = shape(rng, label.shape)
    if rng.random() < 0.4:
        soft = cv2.GaussianBlur(cover, (0, 0), max(1, radius * rng.uniform(0.05, 0.3)))
        moved = np.float32([[1, 0, rng.normal(0, radius / 4)], [0, 1, abs(rng.normal(0, radius / 4))]])
        image = image * (1 - rng.uniform(0.1, 0.6) * cv2.warpAffine(soft, moved, label.shape[::-1]))[..., None]
    surface = material(rng, source, label.shape).astype(np.float32)
    if rng.random() < 0.7:
        surface = (surface * shading(rng, cover, centre, radius)).clip(0, 255)
    label[cover > 0.5] = label.max() + 1
    return image + cover[..., None] * (surface - image)


def lit(rng, image: np.ndarray) -> np.ndarray:
    """Light that falls unevenly on the whole picture."""
    grid = np.exp(rng.normal(0, rng.uniform(0.1, 0.5), (3, 3))).astype(np.float32)
    light = cv2.resize(grid, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return image * light.clip(0.2, 2)[..., None]


def changed(rng, source: Source, image: np.ndarray, label: np.ndarray, count: int) -> np.ndarray:
    """The picture with so many objects laid over it, and into `label`; in other light and colours."""
    image = image.astype(np.float32)
    for _ in range(count):
        image = lay(rng, source, image, label)
    if rng.random() < 0.3:
        image = lit(rng, image)
    image = image.clip(0, 255).astype(np.uint8)
    return recolour(rng, image) if rng.random() < 0.8 else image


def picture(source: Source, seed: list[int], side: int) -> tuple[np.ndarray, np.ndarray]:
    """u8 [h, w, 3] and labels [h, w], the longer side `side`, with an object to point at."""
    for attempt in range(100):
        rng = np.random.default_rng([*seed, attempt])
        cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
        aspect = rng.choice(ASPECTS)
        size = round(side * min(1, aspect)), round(side * min(1, 1 / aspect))
        as_is = False
        if rng.random() < FRAMES:
            as_is = rng.random() < KEPT_AS_IS
            image, label = source.frame(rng)
            matrix = random_window(rng, label.shape, size, 0.45)
            image = warp(image, matrix, size, cv2.INTER_CUBIC)
            label, count = warp(label, matrix, size, cv2.INTER_NEAREST), rng.choice([0, 1, 1, 2])
        else:
            image, label = material(rng, source, size), np.zeros(size, np.uint8)
            count = rng.integers(1, 5)
        if not as_is:
            image = changed(rng, source, image, label, count)
        if (np.bincount(label.ravel())[1:] >= MIN_OBJECT).any():
            break
    image = np.ascontiguousarray(image)
    return image if as_is else degrade_frame(rng, image), label


def chosen(rng, label: np.ndarray) -> np.ndarray:
    """The mask of an object; one that fills little of its box, being thin or half hidden, more often."""
    sizes = np.bincount(label.ravel())
    masks = [label == k for k in 1 + np.flatnonzero(sizes[1:] >= MIN_OBJECT)]
    boxes = [box_of(mask) for mask in masks]
    fill = np.array([mask.sum() / np.prod(box[2:] - box[:2] + 1) for mask, box in zip(masks, boxes)])
    weight = np.array([mask.sum() for mask in masks]) ** 0.2 * (1.3 - fill)
    return masks[rng.choice(len(masks), p=weight / weight.sum())]


def point_in(rng, mask: np.ndarray) -> np.ndarray:
    """A pixel x, y of the mask, more often near its middle."""
    weight = mask.astype(np.float32)
    if rng.random() < 0.6:
        inner = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        weight = cv2.distanceTransform(inner, cv2.DIST_L2, 3)[1:-1, 1:-1] ** 2
    total = np.cumsum(weight.ravel(), dtype=np.float64)
    at = min(int(np.searchsorted(total, rng.random() * total[-1], "right")), mask.size - 1)
    return np.array([at % mask.shape[1], at // mask.shape[1]], np.float32)


def loose(rng, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The box as a hand draws it: some pixels off, in half of the cases hardly any."""
    extent = np.tile(box[2:] - box[:2] + 1, 2)
    off = rng.normal(0, 0.06 if rng.random() < 0.5 else 0.01, 4) * extent
    moved = (box + off.clip(-16, 16)).clip(0, np.tile(size[::-1], 2) - 1)
    return moved if (moved[2:] - moved[:2] >= 2).all() else box


def pixel_near(rng, mask: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """A pixel near the object that does not belong to it."""
    h, w = mask.shape
    low = (box[:2] - 0.3 * (box[2:] - box[:2]) - 3).clip(0).astype(int)
    high = (box[2:] + 0.3 * (box[2:] - box[:2]) + 4).clip(0, (w, h)).astype(int)
    y, x = np.nonzero(~mask[low[1]:high[1], low[0]:high[0]])
    if not len(x):
        return None
    pick = rng.integers(len(x))
    return np.array([x[pick], y[pick]], np.float32) + low


def prompt(rng, mask: np.ndarray, tokens: int, drawn: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The box that was drawn with points, or where it is None points alone and the token that closes
    them: places [tokens, 2] and kinds [tokens]."""
    box, boxed = box_of(mask), drawn is not None
    places, kinds = [], []
    for i in range(tokens - 2 if boxed else tokens - 1):
        off = pixel_near(rng, mask, box) if (boxed or i) and rng.random() < 0.35 else None
        places.append(point_in(rng, mask) if off is None else off)
        kinds.append(ON_IT if off is None else OUTSIDE)
    if boxed:
        places += list(drawn.reshape(2, 2))
        kinds += [FIRST_CORNER, LAST_CORNER]
    else:
        places.append(np.zeros(2))
        kinds.append(NO_POINT)
    return np.array(places, np.float32), np.array(kinds)


def cells(full: np.ndarray, crop: tuple[int, int, int], count: int) -> np.ndarray:
    """A crop of [h, w], as shares of its cells: f32 [count, count]."""
    out = np.zeros((count, count), np.float32)
    part, place = cropped(full.astype(np.float32), crop, count)
    out[place] = part
    return out


def edges(label: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour belongs to something else, and those neighbours."""
    out = np.zeros(label.shape, bool)
    down, right = label[1:] != label[:-1], label[:, 1:] != label[:, :-1]
    out[1:] |= down
    out[:-1] |= down
    out[:, 1:] |= right
    out[:, :-1] |= right
    return out


def crop_around(rng, mask: np.ndarray, point: np.ndarray) -> tuple[int, int, int]:
    """A crop around a point of an object, as large as the object or several times as large."""
    box = box_of(mask)
    side = max(8, (box[2:] - box[:2] + 1).max() * np.exp(rng.uniform(np.log(1.2), np.log(MAX_SCALE))))
    centre = point + rng.normal(0, 0.03, 2) * side
    x, y = np.rint(centre - side / 2).astype(int)
    return int(x), int(y), round(side)


def sample(source: Source, seed: list[int], side: int, count: int, tokens: int) -> dict:
    """A crop of a picture and two prompts with what they mean: around a box, and for it and for points;
    or around a point, and for it with others and for other points. pixels [3, S, S], places
    [2, tokens, 2], kinds [2, tokens], masks [2, count, count], and maps [2, ...] of edges and of
    objects."""
    image, label = picture(source, seed, LONG_SIDE)
    rng = np.random.default_rng([*seed, 1 << 20])
    mask = chosen(rng, label)
    box = loose(rng, box_of(mask), mask.shape) if rng.random() < BOXED else None
    drawn = [prompt(rng, mask, tokens, box), prompt(rng, mask, tokens, None)]
    crop = crop_around(rng, mask, drawn[0][0][0]) if box is None else crop_of(box, SAM["zoom"])
    places = (np.stack([d[0] for d in drawn]) - crop[:2] + 0.5) * (side / crop[2]) - 0.5
    maps = (cells(edges(label), crop, count) > 0, cells(label > 0, crop, count))
    return {"pixels": normalised(image, crop, side), "places": places.astype(np.float32),
            "kinds": np.stack([d[1] for d in drawn]),
            "masks": np.stack([cells(mask, crop, count)] * 2),
            "maps": np.stack(maps).astype(np.float32)}
