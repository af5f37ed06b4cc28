"""Renders clips of textured planes, in the format of world.clips at a tenth of its cost (a second a clip).

    python3 -m world.planes OUT --first SEED --count N

A wall and three to six flat shapes, most of them moving; exact depth, labels and poses. Wants OpenCV.
"""
from dataclasses import dataclass

import cv2
import numpy as np

from world import clips

FRAMES, HEIGHT, WIDTH, TEXTURE = 24, 192, 256, 512


@dataclass
class Plane:
    pose: np.ndarray           # [T, 4, 4] plane (z = 0) to world
    texture: np.ndarray
    mask: np.ndarray | None    # None: the whole plane
    size: float                # of the texture's square


def texture(random: np.random.Generator) -> np.ndarray:
    """Noise between two colours: smooth, in two tones, in bands, or a chequerboard."""
    kind, first, second = random.integers(4), random.uniform(20, 235, 3), random.uniform(20, 235, 3)
    size = (TEXTURE, TEXTURE)
    tone = np.zeros(size, np.float32)
    for octave in range(2, 8):
        noise = random.normal(size=(2 ** octave,) * 2).astype(np.float32)
        tone += cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC) * 0.75 ** octave * random.uniform(0.3, 1.5)
    tone /= tone.std()
    if kind == 1:
        tone = np.sign(tone) * 0.7 + 0.3 * tone
    if kind == 2:
        tone = np.sin(3 * tone)
    if kind == 3:
        y, x = np.mgrid[:TEXTURE, :TEXTURE]
        tone = (np.sign(np.sin(x / random.uniform(4, 30))) * np.sign(np.sin(y / random.uniform(4, 30)))
                + 0.3 * tone)
    share = 1 / (1 + np.exp(-2 * tone))[..., None]
    grain = random.normal(size=(*size, 1)) * random.uniform(0, 10)
    tint = cv2.resize(random.normal(size=(6, 6, 3)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC) * 15
    return np.clip(first * share + second * (1 - share) + grain + tint, 0, 255).astype(np.float32)


def pose(rotation: np.ndarray, position: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, position
    return out


def turn(vector: np.ndarray) -> np.ndarray:
    return cv2.Rodrigues(np.asarray(vector, np.float64))[0]


def outline(random: np.random.Generator) -> np.ndarray:
    """A mask: an ellipse or a polygon of seven corners."""
    mask = np.zeros((TEXTURE, TEXTURE), np.uint8)
    if random.random() < 0.5:
        axes = (250, int(random.uniform(60, 250)))
        cv2.ellipse(mask, (256, 256), axes, random.uniform(0, 180), 0, 360, 255, -1)
    else:
        angle = np.sort(random.uniform(0, 6.28, 7))
        corners = 256 + 250 * np.stack([np.cos(angle), np.sin(angle)], 1)
        cv2.fillPoly(mask, [corners.astype(np.int32)], 255)
    return mask


def shape(random: np.random.Generator, time: np.ndarray) -> tuple[Plane, bool]:
    """A flat shape and whether it moves."""
    moves = random.random() < 0.7
    speed = random.normal(size=3) * 0.6 * moves
    spin = random.normal(size=3) * np.array([0.3, 0.3, 0.6]) * moves
    centre = np.array([random.uniform(-1.5, 1.5), random.uniform(-1.2, 1.2), random.uniform(2, 5)])
    first = turn(random.normal(size=3) * 0.4)
    poses = np.stack([pose(turn(spin * t) @ first, centre + speed * t) for t in time])
    mask = outline(random)
    return Plane(poses, texture(random), mask, random.uniform(0.6, 2.2)), bool(moves)


def draw(planes: list[Plane], k: np.ndarray, w2c: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours, depth and labels of frame t."""
    image, label = np.zeros((HEIGHT, WIDTH, 3), np.float32), np.zeros((HEIGHT, WIDTH), np.uint8)
    depth = np.full((HEIGHT, WIDTH), np.inf)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([x, y, np.ones_like(x)], -1).astype(np.float64)
    for i, plane in enumerate(planes):
        m = w2c @ plane.pose[t]
        q = pixels @ np.linalg.inv(k @ m[:3, [0, 1, 3]]).T
        z = 1 / q[..., 2]
        at = ((q[..., :2] * z[..., None] / plane.size + 0.5) * (TEXTURE - 1)).astype(np.float32)
        covered = (z > 0.1) & (z < depth)
        if plane.mask is not None:
            covered &= cv2.remap(plane.mask, at[..., 0], at[..., 1], cv2.INTER_LINEAR) > 127
        colour = cv2.remap(plane.texture, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        image[covered], depth[covered], label[covered] = colour[covered], z[covered], i
    return image, depth, label


def make(seed: int) -> dict:
    random, time = np.random.default_rng(seed), np.linspace(-1, 1, FRAMES)
    focal = random.uniform(180, 320)
    k = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1]])
    count = random.integers(3, 7)
    walk, look = random.normal(size=3) * 0.25, random.normal(size=3) * 0.06
    c2w = np.stack([pose(turn(look * t), walk * t) for t in time])
    wall = pose(turn(random.normal(size=3) * 0.15), np.array([0, 0, 6]))
    shapes = [(Plane(np.tile(wall, (FRAMES, 1, 1)), texture(random), None, 12.0), False)]
    shapes += [shape(random, time) for _ in range(count)]
    planes = [s[0] for s in shapes]
    clip = {"video": np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8), "seed": np.int64(seed),
            "depth": np.zeros((FRAMES, HEIGHT, WIDTH), np.float16),
            "label": np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8),
            "k": np.tile(k, (FRAMES, 1, 1)).astype(np.float32), "c2w": c2w.astype(np.float32),
            "o2w": np.stack([np.tile(np.eye(4), (FRAMES, 1, 1)), *(p.pose for p in planes[1:])]).astype(np.float32),
            "moving": np.array([s[1] for s in shapes])}
    for t in range(FRAMES):
        image, clip["depth"][t], clip["label"][t] = draw(planes, k, np.linalg.inv(c2w[t]), t)
        image = image * (1 + 0.1 * time[t] * random.uniform(-1, 1)) + random.normal(size=image.shape) * 3
        clip["video"][t] = np.clip(cv2.GaussianBlur(image, (0, 0), 0.6), 0, 255)
    return clip


def main() -> None:
    args = clips.arguments(__doc__).parse_args()
    cv2.setNumThreads(1)
    clips.write(args, make)


if __name__ == "__main__":
    main()
