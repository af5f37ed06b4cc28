"""The scene that the tracker's goldens see: a textured curved wall and a slab that slides in front of it, from a
camera that moves."""
import numpy as np

from make import synth


def camera(t, height, width):
    """(K [3, 3], rotation [3, 3], position [3]), camera to world."""
    f = 0.92 * width * (1 + 0.001 * np.sin(0.7 * t))
    k = np.array([[f, 0, width / 2 - 1.5], [0, 1.02 * f, height / 2 + 2.0], [0, 0, 1]])
    a, b = 0.010 * t, -0.006 * t
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rx = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return k, ry @ rx, np.array([0.03 * t, 0.02 * np.sin(0.5 * t), 0.015 * t])


def surfaces(t, x, y, k, rotation, position):
    """(depth, whether it is the slab, point on the surface's own texture) of every pixel."""
    ray = np.stack([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], np.ones_like(x)], -1) @ rotation.T
    # the wall: n.X = 3.4, bent by a few sines; the slab: m.X = 2.0 inside a moving box
    n, m = np.array([0.33, -0.21, 1.0]), np.array([-0.18, 0.24, 1.0])
    z = (3.4 - n @ position) / (ray @ n)
    z = z * (1 + 0.03 * np.sin(5 * (position + ray * z[..., None])[..., 0] + 0.4)
             + 0.02 * np.cos(7 * (position + ray * z[..., None])[..., 1]))
    s = (2.0 - m @ position) / (ray @ m)
    hit = position + ray * s[..., None]
    slab = (np.abs(hit[..., 0] - 0.35 + 0.02 * t) < 0.28) & (np.abs(hit[..., 1] - 0.05) < 0.3)
    point = np.where(slab[..., None], hit - [0.02 * t, 0, 0], position + ray * z[..., None])
    return np.where(slab, s, z), slab, point


def colours(slab, point):
    """u8 [h, w, 3]"""
    u, v = point[..., 0] * np.where(slab, 9, 6), point[..., 1] * np.where(slab, 8, 5)
    rgb = np.empty((*slab.shape, 3), np.uint8)
    for c in range(3):
        g = (np.sin(2.1 * u + c) * np.cos(1.7 * v - c) + 0.6 * np.sin(5.3 * u - 3.1 * v + 2 * c)
             + 0.4 * np.cos(11 * v + 1.3 * c) * np.sin(9 * u) + 0.3 * np.sin(23 * u + 17 * v))
        rgb[..., c] = np.clip(128 + 48 * g, 0, 255)
    return rgb


def queries(frames, height, width, count, seed):
    """t, x, y [count, 3]: every fourth at any frame, the others in the first."""
    stream = synth.Stream(seed)
    u = np.array([[stream.randint(1 << 20) / (1 << 20) for _ in range(3)] for _ in range(count)])
    q = np.empty((count, 3), np.float32)
    q[:, 0] = np.where(np.arange(count) % 4 == 3, np.floor(u[:, 0] * frames), 0)
    q[:, 1] = (0.02 + 0.95 * u[:, 1]) * (width - 1)
    q[:, 2] = (0.03 + 0.94 * u[:, 2]) * (height - 1)
    return q


def render(frames, height, width, count, seed=1):
    """{frames u8 [T, h, w, 3], depth f16 [T, h, w], conf u8 [T, h, w], intrinsics [T, 3, 3], c2w [T, 4, 4],
    queries [count, 3]}. Confidence is 0 in a disc, at the right border and in scattered pixels."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    s = {"frames": np.empty((frames, height, width, 3), np.uint8),
         "depth": np.empty((frames, height, width), np.float16), "conf": np.ones((frames, height, width), np.uint8),
         "intrinsics": np.zeros((frames, 3, 3), np.float32),
         "c2w": np.zeros((frames, 4, 4), np.float32), "queries": queries(frames, height, width, count, seed)}
    for t in range(frames):
        k, rotation, position = camera(t, height, width)
        s["depth"][t], slab, point = surfaces(t, x, y, k, rotation, position)
        s["frames"][t] = colours(slab, point)
        hole = (x - width * 0.2) ** 2 + (y - height * 0.75) ** 2 < (0.09 * height) ** 2
        s["conf"][t][hole | (x > width * 0.97) | ((x * 7 + y * 13 + t * 5) % 97 < 1)] = 0
        s["intrinsics"][t], s["c2w"][t, :3, :3], s["c2w"][t, :3, 3], s["c2w"][t, 3, 3] = k, rotation, position, 1
    return s
