"""Procedural textures of the training world: bitmaps in random palettes, and their mip pyramid.

Every function takes a numpy Generator; a texture is float32 [SIZE, SIZE, 3], sRGB in 0..1.
"""
import string

import cv2
import numpy as np

SIZE = 256
LEVELS = 7


def palette(rng, count: int) -> np.ndarray:
    """Colours [count, 3] around one hue, mostly of low saturation, dark to bright in any order."""
    hue = rng.uniform(0, 180) + rng.normal(0, rng.choice([5, 20, 60]), count)
    saturation = 255 * rng.beta(1.2, rng.choice([1.3, 4.0]), count)
    dark, span = rng.uniform(0.05, 0.5), rng.uniform(0.1, 0.5)
    value = 255 * (dark + span * rng.permutation(count) / max(1, count - 1))
    hsv = np.stack([hue % 180, saturation, value], -1).clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0].astype(np.float32) / 255


def noise(rng, octaves: int, first: float, persistence: float) -> np.ndarray:
    """Multi-octave value noise [SIZE, SIZE] stretched to 0..1; `first` cells in the lowest octave."""
    total, amplitude, cells = np.zeros((SIZE, SIZE), np.float32), 1.0, first
    for _ in range(octaves):
        n = min(SIZE, int(cells)) + 2
        grid = rng.random((n, n), dtype=np.float32)
        total += amplitude * cv2.resize(grid, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        amplitude, cells = amplitude * persistence, cells * 2
    return stretch(total)


def stretch(field: np.ndarray) -> np.ndarray:
    low, high = field.min(), field.max()
    return (field - low) / max(1e-6, high - low)


def coloured(rng, field: np.ndarray, count: int | None = None) -> np.ndarray:
    """A field in 0..1 through a gradient of palette colours."""
    colours = palette(rng, count or rng.integers(2, 6))
    position = field * (len(colours) - 1)
    low = np.minimum(position.astype(np.int32), len(colours) - 2)
    part = (position - low)[..., None]
    return colours[low] * (1 - part) + colours[low + 1] * part


def grid_coordinates(rng) -> tuple[np.ndarray, np.ndarray]:
    """x, y in 0..1 turned by a random angle: by none in half of the cases."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    angle = rng.choice([0, 0, np.pi / 2, rng.uniform(0, np.pi)])
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def plain(rng) -> np.ndarray:
    colour = palette(rng, 3)[rng.integers(3)]
    if rng.random() < 0.15:
        colour = rng.choice([0.01, 0.99]) * np.ones(3)
    return np.broadcast_to(colour.astype(np.float32), (SIZE, SIZE, 3)).copy()


def clouds(rng) -> np.ndarray:
    octaves, first = rng.integers(3, 8), rng.choice([2, 3, 5, 10, 20])
    return coloured(rng, noise(rng, octaves, first, rng.uniform(0.4, 0.9)))


def marble(rng) -> np.ndarray:
    x, y = grid_coordinates(rng)
    warp = noise(rng, 5, rng.choice([2, 4, 8]), 0.5)
    wave = np.sin(2 * np.pi * (rng.uniform(1, 8) * x + rng.uniform(0.5, 4) * warp))
    return coloured(rng, np.abs(wave) ** rng.uniform(0.3, 1.5))


def wood(rng) -> np.ndarray:
    x, y = grid_coordinates(rng)
    warp = noise(rng, 4, 3, 0.5) * rng.uniform(0.05, 0.3)
    rings = np.hypot((x - rng.uniform(-0.5, 1.5)) * rng.uniform(3, 12), y - 0.5 + warp * 3)
    fibre = cv2.resize(rng.random((SIZE, 12), dtype=np.float32), (SIZE, SIZE))
    return coloured(rng, stretch((rings * rng.uniform(1, 5)) % 1 + 0.5 * fibre), 3)


def warped(rng) -> np.ndarray:
    """Noise displaced by noise: swirls."""
    field = noise(rng, 5, rng.choice([3, 6, 12]), 0.6)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    strength = rng.uniform(20, 120)
    dx, dy = (strength * (noise(rng, 3, 3, 0.5) - 0.5) for _ in range(2))
    field = cv2.remap(field, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return coloured(rng, field)


def stripes(rng) -> np.ndarray:
    x, _ = grid_coordinates(rng)
    count = rng.choice([2, 4, 8, 16, 32])
    if rng.random() < 0.5:
        colours = palette(rng, rng.integers(2, 7))
        edges = np.sort(rng.random(len(colours) - 1))
        return colours[np.searchsorted(edges, (x * count / 2) % 1)]
    return coloured(rng, 0.5 + 0.5 * np.sin(2 * np.pi * count * x), 2)


def checks(rng) -> np.ndarray:
    x, y = grid_coordinates(rng)
    count = rng.choice([2, 4, 8, 16, 32, 64])
    return palette(rng, 2)[(np.floor(x * count) + np.floor(y * count)).astype(int) % 2]


def tiles(rng) -> np.ndarray:
    """Bricks, planks or tiles, each of its own brightness, with grout between them."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    rows, columns = rng.choice([3, 5, 8, 12]), rng.choice([2, 4, 8, 12])
    row = np.floor(y * rows).astype(int)
    shifted = x * columns + (row % 2) * rng.choice([0, 0.5, 0.3])
    column = np.floor(shifted).astype(int)
    grout = rng.uniform(0.02, 0.1)
    inside = (shifted % 1 > grout) & (y * rows % 1 > grout * rows / columns)
    shade = rng.uniform(1 - rng.uniform(0, 0.6), 1, (rows, columns + 2)).astype(np.float32)
    face = coloured(rng, noise(rng, 6, 4, 0.7)) * shade[row, column][..., None]
    return np.where(inside[..., None], face, palette(rng, 1)[0])


def leaves(rng) -> np.ndarray:
    """Dead leaves: overlapping shapes with a power law of sizes, statistics much like photographs'."""
    colours = palette(rng, rng.integers(3, 9))
    image = np.empty((SIZE, SIZE, 3), np.float32)
    image[:] = colours[0]
    count = rng.integers(60, 500)
    radii = np.minimum(rng.uniform(1.5, 6) / rng.power(1.5, count), SIZE / rng.uniform(3, 10))
    kind = rng.integers(4)
    centres, turns = rng.uniform(0, SIZE, (count, 2)), rng.uniform(0, 180, count)
    for radius, centre, turn in zip(np.sort(radii)[::-1], centres, turns):
        colour = (colours[rng.integers(len(colours))] * rng.uniform(0.7, 1.2)).clip(0, 1).tolist()
        if kind == 0 or kind == 3 and rng.random() < 0.5:
            axes = (int(radius) + 1, int(radius * rng.uniform(0.3, 1)) + 1)
            at = centre.astype(int).tolist()
            cv2.ellipse(image, at, axes, turn, 0, 360, colour, -1, cv2.LINE_AA)
        elif kind == 1:
            sides = (2 * radius, radius * rng.uniform(0.3, 2))
            box = cv2.boxPoints((centre.tolist(), sides, float(turn)))
            cv2.fillConvexPoly(image, box.astype(int), colour, cv2.LINE_AA)
        else:
            corners = centre + rng.normal(0, radius, (5, 2))
            cv2.fillPoly(image, [corners.astype(int)], colour, cv2.LINE_AA)
    return image


def blobs(rng) -> np.ndarray:
    """Noise cut at a few levels: camouflage, spots, maps."""
    field = noise(rng, rng.integers(1, 5), rng.choice([4, 8, 16, 30]), 0.5)
    colours = palette(rng, rng.integers(2, 6))
    edges = np.quantile(field[::8, ::8], np.linspace(0, 1, len(colours) + 1)[1:-1])
    return colours[np.searchsorted(edges, field)]


def cells(rng) -> np.ndarray:
    """Voronoi cells: stones, cracks."""
    count = rng.choice([20, 60, 200])
    seeds = np.ones((SIZE, SIZE), np.uint8)
    seeds[tuple(rng.integers(0, SIZE, (2, count)))] = 0
    distance, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5,
                                                      labelType=cv2.DIST_LABEL_PIXEL)
    colours = palette(rng, rng.integers(2, 8))
    image = colours[rng.integers(0, len(colours), label.max() + 1)][label]
    return image * (1 - rng.uniform(0, 0.8) * stretch(distance))[..., None]


def glyphs(rng) -> np.ndarray:
    """Lines of letters in different sizes: prints, labels, signs."""
    paper, ink = palette(rng, 2)
    image = np.empty((SIZE, SIZE, 3), np.uint8)
    image[:] = 255 * paper
    letters = list(string.ascii_letters + string.digits + "    .,:-#%&")
    y, fixed = 0.0, rng.uniform(0.3, 2)
    while y < SIZE:
        scale = fixed if rng.random() < 0.8 else rng.uniform(0.3, 3)
        y += 28 * scale + 3
        text = "".join(rng.choice(letters, 40))
        origin = (int(rng.uniform(-30, 20)), int(y))
        cv2.putText(image, text, origin, int(rng.integers(0, 8)), scale, (255 * ink).tolist(),
                    int(rng.integers(1, 2 + 2 * scale)), cv2.LINE_AA)
    return image.astype(np.float32) / 255


def scratches(rng) -> np.ndarray:
    image = coloured(rng, noise(rng, 4, 3, 0.5), 2)
    for _ in range(rng.integers(20, 150)):
        start = rng.uniform(0, SIZE, 2)
        end = start + rng.normal(0, rng.uniform(5, 80), 2)
        colour = rng.uniform(0, 1, 3) if rng.random() < 0.3 else np.full(3, rng.uniform(0, 1))
        cv2.line(image, start.astype(int).tolist(), end.astype(int).tolist(), colour.tolist(),
                 int(rng.integers(1, 3)), cv2.LINE_AA)
    return image


def grain(rng) -> np.ndarray:
    """Noise of every pixel: sand, carpet, foliage far away."""
    base = coloured(rng, noise(rng, 3, 2, 0.5), 3)
    cells = int(rng.choice([64, 128, 256]))
    shape = (cells, cells, 1 if rng.random() < 0.7 else 3)
    fine = rng.normal(1, rng.uniform(0.1, 0.5), shape).astype(np.float32)
    fine = cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    return base * (fine if fine.ndim == 3 else fine[..., None])


RICH = [clouds, marble, wood, warped, stripes, checks, tiles, leaves, leaves, leaves, blobs, cells,
        glyphs, scratches, grain, grain]


def soft(rng) -> np.ndarray:
    """A slow gradient of a few colours, often loud ones."""
    return coloured(rng, noise(rng, rng.integers(1, 4), rng.choice([1, 2, 3]), rng.uniform(0.2, 0.5)))


def coarse_checks(rng) -> np.ndarray:
    y, x = np.mgrid[0:SIZE, 0:SIZE] * 2 // SIZE
    colours = np.array([[0.02] * 3, [0.97] * 3], np.float32) if rng.random() < 0.5 else palette(rng, 2)
    return colours[(x + y) % 2]


def bare(rng, plain_share: float) -> np.ndarray:
    """What has next to no detail."""
    if rng.random() < plain_share:
        return plain(rng)
    return rng.choice([soft, soft, coarse_checks])(rng)


def usual(rng, plain_share: float) -> np.ndarray:
    """One random texture, mostly with wear over it: grain, stains, a brighter and a darker side."""
    image = plain(rng) if rng.random() < plain_share else RICH[rng.integers(len(RICH))](rng)
    if rng.random() < 0.15:
        other = RICH[rng.integers(len(RICH))](rng)
        mask = noise(rng, 3, 3, 0.5)[..., None] > rng.uniform(0.3, 0.7)
        image = np.where(mask, image, other)
    if rng.random() < 0.6:
        stains = noise(rng, rng.integers(2, 7), rng.choice([2, 4, 16]), 0.6)
        image = image * (1 - rng.uniform(0.02, 0.5) * stains[..., None])
    return image.clip(0, 1).astype(np.float32)


def stains(rng, _) -> np.ndarray:
    """Gray, to lay over others."""
    return noise(rng, 6, 3, 0.6)[..., None].repeat(3, -1)


def sky(rng, _) -> np.ndarray:
    colours = np.array([[0.75, 0.8, 0.85], [0.35, 0.55, 0.85]], np.float32)
    low, high = colours * rng.uniform(0.6, 1.1)
    ramp = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
    cover = (noise(rng, 6, 3, 0.55) * rng.uniform(0, 1.5)).clip(0, 1)[..., None]
    return ((low * (1 - ramp) + high * ramp) * (1 - cover) + 0.9 * cover).clip(0, 1)


def photo(rng, path) -> np.ndarray:
    """A part of a picture of world.photos, turned, brighter or darker, in another tint."""
    image = cv2.imread(str(path))[..., ::-1]
    side = max(16, int(min(image.shape[:2]) * rng.uniform(0.4, 1)))
    top, left = (rng.integers(length - side + 1) for length in image.shape[:2])
    part = np.rot90(image[top:top + side, left:left + side], rng.integers(4))[:, ::rng.choice([-1, 1])]
    way = cv2.INTER_AREA if side > SIZE else cv2.INTER_CUBIC
    part = cv2.resize(np.ascontiguousarray(part), (SIZE, SIZE), interpolation=way).astype(np.float32) / 255
    return part ** np.exp(rng.normal(0, 0.25)) * (1 + rng.normal(0, 0.08, 3)).clip(0.7, 1.1).astype(np.float32)


def pyramid(textures: list[np.ndarray]) -> np.ndarray:
    """All mip levels of all textures, linear light, as rows [.., 3] by level, texture, y, x."""
    level = np.stack(textures).astype(np.float32) ** 2.2
    rows = []
    for _ in range(LEVELS):
        rows.append(level.reshape(-1, 3))
        count, size = level.shape[:2]
        level = level.reshape(count, size // 2, 2, size // 2, 2, 3).mean((2, 4))
    return np.concatenate(rows)
