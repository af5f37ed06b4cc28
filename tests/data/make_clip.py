#!/usr/bin/env python3
"""Renders tests/data/ball.mp4 and its ground truth: a ball rolls through a textured corner of a
room past a crate while the camera moves sideways and turns.

    make_clip.py OUTDIR [--frames 24] [--size 480x360]

Writes ball.mp4 (12 frames a second, H.264 through the ffmpeg program) and ball.npz:
    K [3,3], c2w [T,4,4]   OpenCV axes (x right, y down, z forward), world = camera of frame 0
    depth [T,h/4,w/4] f16  z of pixel (4j + 1.5, 4i + 1.5)
    queries [N,3]          frame, x, y; tracks [T,N,2] pixels; xyz_world [T,N,3]; visible [T,N];
    dynamic [N]            the track lies on the ball
and small.mp4: the middle of ball.mp4, 96x32, for tests to which it does not matter what is seen.
Needs numpy and ffmpeg; the same numpy gives the same frames.
"""
import argparse
import subprocess
import numpy as np

FLOOR, WALL, SIDE = 0.75, 4.6, 1.9            # planes y = FLOOR, z = WALL, x = -SIDE
CRATE = np.array([[0.45, 0.1, 2.7], [1.1, 0.75, 3.4]])
START, RADIUS, FPS = -0.85, 0.36, 12


def hash01(i, j, seed):
    """A fixed pseudo-random value in [0, 1) for each whole-numbered cell."""
    h = (i.astype(np.int64) * 374761393 + j.astype(np.int64) * 668265263 + seed * 974711) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65536.0


def noise(u, v, seed):
    """Value noise, four octaves, in 0..1."""
    total, weight = 0.0, 0.0
    for octave in range(4):
        f, a = 2.0 ** octave, 0.62 ** octave
        x, y = u * f, v * f
        i, j = np.floor(x), np.floor(y)
        s, t = x - i, y - j
        s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
        near = hash01(i, j, seed + octave) * (1 - s) + hash01(i + 1, j, seed + octave) * s
        far = hash01(i, j + 1, seed + octave) * (1 - s) + hash01(i + 1, j + 1, seed + octave) * s
        total, weight = total + a * (near * (1 - t) + far * t), weight + a
    return total / weight


def paint(u, v, seed, low, high):
    """A two-coloured texture with fine grain; [..., 3] in 0..1."""
    n = noise(2.2 * u, 2.2 * v, seed) * 0.6 + noise(9 * u, 9 * v, seed + 50) * 0.4
    n = np.clip((n - 0.28) / 0.44, 0, 1)[..., None]
    return np.asarray(low) * (1 - n) + np.asarray(high) * n


def camera(t):
    """c2w at time t in 0..1; the identity at 0."""
    yaw, pitch = -0.14 * t, 0.05 * np.sin(3 * t)
    c, s, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    out = np.eye(4)
    out[:3, :3] = turn
    out[:3, 3] = [0.75 * t, -0.12 * np.sin(2 * t), 0.25 * t]
    return out


def ball(t):
    """Centre and rotation of the ball: it rolls along x without slipping."""
    x = START + 1.2 * t
    a = -(x - START) / RADIUS
    c, s = np.cos(a), np.sin(a)
    return np.array([x, FLOOR - RADIUS, 2.4]), np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T


def cast(origin, ray, t):
    """First hit of rays [..., 3] from origin: distance along the ray, id (0 floor, 1 wall,
    2 side wall, 3 crate, 4 ball) and, for the crate, which axis its face is normal to."""
    best = np.full(ray.shape[:-1], np.inf)
    which = np.zeros(ray.shape[:-1], int)
    face = np.zeros(ray.shape[:-1], int)

    def take(s, ok, number):
        nearer = ok & (s > 1e-6) & (s < best)
        best[nearer], which[nearer] = s[nearer], number
        return nearer
    with np.errstate(divide="ignore", invalid="ignore"):
        for number, (axis, at) in enumerate([(1, FLOOR), (2, WALL), (0, -SIDE)]):
            s = (at - origin[axis]) / ray[..., axis]
            take(s, np.isfinite(s), number)
        slab = np.sort(np.stack([(corner - origin) / ray for corner in CRATE]), axis=0)
    axis = slab[0].argmax(-1)
    enter, leave = slab[0].max(-1), slab[1].min(-1)
    hit = take(enter, enter < leave, 3)
    face[hit] = axis[hit]
    centre, _ = ball(t)
    a, b = (ray * ray).sum(-1), ((origin - centre) * ray).sum(-1)
    root = b * b - a * (((origin - centre) ** 2).sum() - RADIUS ** 2)
    take((-b - np.sqrt(np.maximum(root, 0))) / a, root > 0, 4)
    return best, which, face


def shade(point, which, face, t):
    """Colour of surface points [..., 3]."""
    x, y, z = point[..., 0], point[..., 1], point[..., 2]
    colour = paint(x, z, 1, (.24, .20, .16), (.78, .70, .56))
    colour = np.where((which == 1)[..., None], paint(x, y, 2, (.16, .26, .36), (.70, .82, .86)), colour)
    colour = np.where((which == 2)[..., None], paint(z, y, 3, (.34, .16, .14), (.88, .66, .50)), colour)
    u, v = np.where(face == 0, z, x), np.where(face == 1, z, y)
    colour = np.where((which == 3)[..., None], paint(2 * u, 2 * v, 4, (.10, .26, .12), (.74, .86, .42)), colour)
    centre, turn = ball(t)
    local = (point - centre) @ turn / RADIUS
    on_ball = paint(1.5 * local[..., 0] + local[..., 2], 1.5 * local[..., 1] - .7 * local[..., 2], 5,
                    (.45, .08, .10), (.98, .90, .86))
    colour = np.where((which == 4)[..., None], on_ball, colour)
    shadow = np.exp(-(((x - centre[0]) ** 2 + (z - centre[2]) ** 2) / 0.12))
    return colour * (1 - 0.5 * np.where(which == 0, shadow, 0))[..., None]


def rays(pixel_x, pixel_y, K, pose):
    d = np.stack([(pixel_x - K[0, 2]) / K[0, 0], (pixel_y - K[1, 2]) / K[1, 1], np.ones_like(pixel_x)], -1)
    return d @ pose[:3, :3].T                 # its z in the camera is 1: distance = depth


def render(w, h, K, t):
    """RGB u8 [h,w,3] with 3x3 samples a pixel."""
    total = 0.0
    for dy in (-1 / 3, 0, 1 / 3):
        for dx in (-1 / 3, 0, 1 / 3):
            x, y = np.meshgrid(np.arange(w) + dx, np.arange(h) + dy)
            pose = camera(t)
            ray = rays(x, y, K, pose)
            s, which, face = cast(pose[:3, 3], ray, t)
            total = total + shade(pose[:3, 3] + ray * s[..., None], which, face, t)
    return np.clip(total / 9 * 255 + 0.5, 0, 255).astype(np.uint8)


def ground_truth(frames, w, h, K):
    times = np.arange(frames) / max(1, frames - 1)
    x, y = np.meshgrid(np.linspace(12, w - 13, 16), np.linspace(12, h - 13, 12))
    x, y = x.ravel(), y.ravel()
    ray = rays(x, y, K, camera(0))
    s, which, _ = cast(np.zeros(3), ray, 0.0)
    start, on_ball = ray * s[:, None], which == 4
    centre, turn = ball(0.0)
    local = (start - centre) @ turn
    world, tracks, visible, depth = [], [], [], []
    for t in times:
        c, r = ball(t)
        p = np.where(on_ball[:, None], local @ r.T + c, start)
        pose = camera(t)
        cam = (p - pose[:3, 3]) @ pose[:3, :3]
        uv = cam[:, :2] / cam[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]
        nearest, _, _ = cast(pose[:3, 3], p - pose[:3, 3], t)
        inside = (uv >= 0).all(1) & (uv[:, 0] <= w - 1) & (uv[:, 1] <= h - 1) & (cam[:, 2] > 0)
        world.append(p), tracks.append(uv), visible.append(inside & (nearest > 1 - 1e-4))
        gx, gy = np.meshgrid(np.arange(w // 4) * 4 + 1.5, np.arange(h // 4) * 4 + 1.5)
        depth.append(cast(pose[:3, 3], rays(gx, gy, K, pose), t)[0])
    return {"K": K.astype(np.float32), "c2w": np.stack([camera(t) for t in times]).astype(np.float32),
            "depth": np.stack(depth).astype(np.float16),
            "queries": np.stack([0 * x, x, y], 1).astype(np.float32),
            "tracks": np.stack(tracks).astype(np.float32), "xyz_world": np.stack(world).astype(np.float32),
            "visible": np.stack(visible), "dynamic": on_ball}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("out")
    p.add_argument("--frames", type=int, default=24)
    p.add_argument("--size", default="480x360")
    a = p.parse_args()
    w, h = map(int, a.size.split("x"))
    K = np.array([[0.95 * w, 0, (w - 1) / 2], [0, 0.95 * w, (h - 1) / 2], [0, 0, 1.0]])
    pipe = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", str(FPS),
         "-i", "-", "-c:v", "libx264", "-crf", "21", "-pix_fmt", "yuv420p", "-movflags", "+faststart",
         "-fflags", "+bitexact", f"{a.out}/ball.mp4"], stdin=subprocess.PIPE)
    for i in range(a.frames):
        pipe.stdin.write(render(w, h, K, i / max(1, a.frames - 1)).tobytes())
    pipe.stdin.close()
    if pipe.wait():
        raise SystemExit("make_clip.py: ffmpeg failed")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", f"{a.out}/ball.mp4", "-vf", "crop=iw:iw/3,scale=96:32:flags=area", "-c:v",
         "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-map_metadata", "-1", "-flags:v", "+bitexact", "-fflags",
         "+bitexact", f"{a.out}/small.mp4"], stdin=subprocess.DEVNULL, check=True)
    np.savez_compressed(f"{a.out}/ball.npz", **ground_truth(a.frames, w, h, K))


if __name__ == "__main__":
    main()
