"""Random scenes of the training world: a room or open ground, objects, motions, a camera, light.

World axes: z up, metres, the floor at z = 0. Time is counted in frames / 23, so that speeds do not
depend on the length of a clip; every motion starts at its rest pose.
"""
from dataclasses import dataclass, field

import numpy as np

from world import texture
from world.shapes import BOX, Prim, affine, ball, box, extent, frustum, rotation, shape

ROOM = 3
PHOTOS, PHOTOS_BARE = 0.7, 0.25  # shares of the textures that are photographs where there are any
SECOND = 23.0   # frames in a unit of time


@dataclass
class Surface:
    """A primitive in the scene with its looks. Faces are ordered -x +x -y +y -z +z."""
    prim: Prim
    owner: int
    textures: list[int]                   # a face
    texels: float                         # a metre
    offsets: np.ndarray                   # [6, 2] texels
    cover_texels: float = 40.0            # stains over the texture, at another scale ...
    cover_share: float = 0.0              # ... and how strong
    gloss: float = 0.0
    emissive: list[bool] = field(default_factory=lambda: [False] * 6)


@dataclass
class Scene:
    surfaces: list[Surface]
    poses: list                           # a function of time -> [4, 4], one an object
    moving: list[bool]
    camera: object                        # time -> c2w [4, 4]
    zoom: object                          # time -> focal length over its first value
    fov: float                            # vertical, radians
    light: object                         # time -> dict, see lighting()
    shadows: bool
    textures: list                        # functions that make them


def curve(rng, width: int):
    """A smooth function of time -> [width], 0 at time 0 and of size about 1."""
    kind = rng.integers(5)
    direction, other = rng.normal(0, 1, (2, width)) / np.sqrt(width)
    speed, phase = rng.uniform(0.5, 2.0), rng.uniform(0, 2 * np.pi)

    def at(time):
        wave = (np.sin(2 * np.pi * speed * time + phase) - np.sin(phase)) * other
        paces = [time, time ** 2, time * (2 - time), time * time * (3 - 2 * time), 0.3 * time]
        return 1.5 * direction * paces[kind] + wave * [0.1, 0.15, 0.2, 0.1, 0.7][kind]
    return at


def shake(rng, width: int, size: float):
    """Hand shake: a few quick sines, 0 at time 0."""
    amplitude = rng.normal(0, size, (4, width))
    speed, phase = rng.uniform(1.5, 9, (4, width)), rng.uniform(0, 2 * np.pi, (4, width))
    start = np.sin(phase)
    return lambda time: (amplitude * (np.sin(2 * np.pi * speed * time + phase) - start)).sum(0)


class Looks:
    """The clip's textures, made only when the scene is drawn, and surfaces that wear them. Bare clips
    have hardly any detail: painted walls, objects of one colour, edges and corners to go by. `photos`:
    files of pictures that take the places of some textures."""

    def __init__(self, rng, photos):
        self.rng, self.photos = rng, photos
        self.bare = rng.random() < 0.35
        self.plain_share = 0.8 if self.bare else rng.choice([0.1, 0.3, 0.6])
        self.textures = []
        self.add(texture.stains)

    def add(self, make=texture.usual, plain_share=None) -> int:
        share = self.plain_share if plain_share is None else plain_share
        seed = self.rng.integers(1 << 62)
        if make is texture.usual and self.photos:
            own = np.random.default_rng([seed, 1])  # all else in a clip is as it is without photographs
            if own.random() < (PHOTOS_BARE if self.bare else PHOTOS):
                make, share = texture.photo, self.photos[own.integers(len(self.photos))]
        if self.bare and make is texture.usual:
            make = texture.bare
        self.textures.append(lambda: make(np.random.default_rng(seed), share))
        return len(self.textures) - 1

    def surface(self, prim, owner, textures, texels, **more) -> Surface:
        if not self.bare and self.rng.random() < 0.4:
            more.setdefault("cover_share", self.rng.uniform(0.1, 0.8))
        offsets = self.rng.uniform(0, texture.SIZE, (6, 2))
        return Surface(prim, owner, textures, texels, offsets,
                       cover_texels=np.exp(self.rng.uniform(3, 5)), **more)

    def dress(self, prims, owner, radius) -> list[Surface]:
        """An object's primitives: one texture for all, one each, or one a face."""
        rng, kind, out = self.rng, self.rng.random(), []
        shared, gloss = self.add(), rng.uniform(0.1, 0.8) if rng.random() < 0.3 else 0.0
        texels = texture.SIZE / radius / np.exp(rng.uniform(-0.7, 1.2))
        for i, prim in enumerate(prims):
            own = [shared] * 6
            if kind > 0.6 and i and len(self.textures) < 24:
                own = [self.add()] * 6
            elif kind < 0.15 and prim.kind == BOX and len(self.textures) < 24:
                own = [self.add() for _ in range(3)] + [shared] * 3
            out.append(self.surface(prim, owner, own, texels, gloss=gloss))
        return out


def room(rng, looks: Looks, half: np.ndarray, height: float, is_open: bool) -> Surface:
    """Floor, walls and ceiling; in the open the walls may be sky."""
    floor, wall = looks.add(plain_share=0.15), looks.add(plain_share=0.3)
    walls = [wall if rng.random() < 0.7 else looks.add(plain_share=0.3) for _ in range(4)]
    size = 0.25 * half.mean() if is_open else 1
    texels = texture.SIZE / size / np.exp(rng.uniform(-0.5, 1.3))
    prim = Prim(ROOM, affine(np.diag([*half, height / 2]), (0, 0, height / 2)))
    out = looks.surface(prim, 0, walls + [floor, looks.add(plain_share=0.6)], texels)
    if is_open:
        sky = looks.add(texture.sky)
        sides = 4 * [sky if rng.random() < 0.7 else floor]
        out.textures = [*sides, floor, sky]
        out.emissive = [t == sky for t in out.textures]
    return out


def furnish(rng, looks: Looks, half, height, is_open) -> list[Surface]:
    """Things of the static world: pictures and shelves on walls, rugs; hills and houses outside."""
    out = []
    for _ in range(rng.integers(0, 9)):
        side, sign = rng.integers(2), rng.choice([-1, 1])
        size, at = np.empty(3), np.empty(3)
        size[side] = rng.uniform(0.01, 0.2)
        size[1 - side], size[2] = np.exp(rng.uniform(-1.6, 0, 2))
        at[side], at[1 - side] = sign * half[side], rng.uniform(-0.9, 0.9) * half[1 - side]
        at[2] = rng.uniform(0.2, 0.9) * height
        if is_open:
            size[[side, 1 - side]] = np.exp(rng.uniform(-0.5, 1.2, 2))
            size[2] = np.exp(rng.uniform(-0.5, 1.3))
            at[side] = sign * half[side] * rng.uniform(0.5, 1)
            at[2] = size[2] * rng.uniform(-0.3, 1)
            size[1 - side] = min(size[1 - side], 0.3 * half[1 - side])
        if rng.random() < 0.7 or not is_open:
            prim = box(size, at)
        elif rng.random() < 0.5:
            prim = ball(size, at)
        else:
            prim = frustum(size[0], size[2], at, taper=rng.choice([0, 0.5, 1]))
        out.append(looks.surface(prim, 0, [looks.add()] * 6, texture.SIZE / 2 / size.max()))
    for _ in range(rng.integers(0, 3)):
        at = (*rng.uniform(-0.8, 0.8, 2) * half, 0.0)
        rug = box((*rng.uniform(0.3, 1.5, 2), 0.012), at, (0, 0, rng.uniform(0, 3)))
        texels = texture.SIZE / np.exp(rng.uniform(-0.5, 1))
        out.append(looks.surface(rug, 0, [looks.add()] * 6, texels))
    return out


def camera(rng, half, height, is_open):
    """-> (time -> c2w, focus distance): orbits, free paths, dollies, turns, a still camera; the mean
    rotation against the first of 24 frames is 0 to 15 degrees."""
    yaw, reach = rng.uniform(0, 2 * np.pi), half.min() * (0.25 if is_open else 0.75)
    forward = np.array([np.cos(yaw), np.sin(yaw), 0])
    start = -forward * reach * rng.uniform(0.2, 1.1)
    start[:2] += rng.normal(0, 0.15, 2) * reach
    start[2] = min(np.exp(rng.uniform(np.log(0.35), np.log(2.6))), 0.85 * height)
    pitch = rng.normal(0.05 + 0.16 * start[2], 0.13)
    base = look(forward, pitch) @ rotation((0, 0, rng.normal(0, 0.05)))
    focus = rng.uniform(0.35, 0.8) * min(half.min() + np.linalg.norm(start[:2]), 8)
    kind = rng.choice(["orbit", "free", "dolly", "turn", "still"], p=[0.3, 0.35, 0.15, 0.15, 0.05])
    turn, path = curve(rng, 3), curve(rng, 3)
    axes = np.array([rng.uniform(0.1, 0.7), 1.0, rng.uniform(0, 0.5)])
    if rng.random() < 0.15:
        axes = rng.permutation(axes)
    target = np.radians(rng.uniform(0, 1.5) if kind == "still" else 15 * rng.uniform() ** 1.3)
    mean = np.mean([np.linalg.norm(axes * turn(f / SECOND)) for f in range(24)])
    gain = axes * target / max(1e-6, mean)
    step = focus * rng.uniform(0.03, 0.35) * np.array([1, 1, 0.4])
    step *= {"free": 1, "orbit": 0.3}.get(kind, 0.1)
    dolly = focus * rng.uniform(-0.4, 0.6) if kind == "dolly" or rng.random() < 0.2 else 0.0
    ease = curve(rng, 1)
    ease_sign = np.sign(ease(1.0)[0]) or 1
    amount = rng.choice([0, 1, 3])
    wobble, sway = shake(rng, 3, 0.0012 * amount), shake(rng, 3, 0.002 * amount)

    def at(time):
        around = base @ rotation(gain * turn(time))
        here = start + step * path(time) + sway(time)
        here = here + base[:, 2] * dolly * ease_sign * ease(time)[0]
        if kind == "orbit":
            here = here + focus * (base[:, 2] - around[:, 2])
        return affine(around @ rotation(wobble(time)), here)
    return at, focus


def look(forward, pitch) -> np.ndarray:
    """Camera axes (right, down, ahead) in columns, `pitch` radians below a horizontal direction."""
    ahead = np.cos(pitch) * forward - np.array([0, 0, np.sin(pitch)])
    right = np.cross(ahead, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(ahead, right), ahead], -1)


def motion(rng, pose, radius, floating):
    """-> time -> pose: a smooth path and turn from a rest pose; on the floor a slide or hops."""
    path, turn = curve(rng, 3), curve(rng, 3)
    size = np.exp(rng.uniform(np.log(0.2), np.log(6.0)))
    spin = rng.choice([0, 0.4, 1.5, 4.0])
    hop = rng.uniform(0.2, 1) if not floating and rng.random() < 0.3 else 0.0
    rate = rng.uniform(0.7, 2.5)

    def at(time):
        shift, spun = size * path(time), spin * turn(time)
        if not floating:
            shift[2] = hop * abs(np.sin(np.pi * rate * time))
            spun = spun * (0, 0, 1)
        else:
            shift[2] *= 0.5
        out = pose.copy()
        out[:3, :3] = rotation(spun) @ pose[:3, :3]
        out[:3, 3] += shift
        return out
    return at


def place(rng, prims, eye, half, height, fov, focus, is_open):
    """-> rest pose, radius, floating: somewhere in the first view, on the floor or in the air."""
    aside = 1.4 * np.tan(fov / 2)
    distance = focus * np.exp(rng.uniform(-0.7, 0.8))
    ray = np.array([rng.uniform(-aside, aside), rng.uniform(-0.7, 0.7) * np.tan(fov / 2), 1])
    at = eye[:3, :3] @ ray * distance + eye[:3, 3]
    radius = np.clip(distance * np.exp(rng.uniform(np.log(0.07), np.log(0.38))), 0.08, 1.4)
    floating = rng.random() < 0.35
    tilted = floating or rng.random() < 0.2
    turn = rng.normal(0, 1.5, 3) if tilted else np.array([0, 0, rng.uniform(0, 6.3)])
    limit = (0.45 if is_open else 0.92) * half
    at[:2] = np.clip(at[:2], -limit, limit)
    scaled = affine(rotation(turn) * radius)
    low = min(extent(p, scaled, -1)[2] for p in prims)
    at[2] = np.clip(at[2], radius, height - radius) if floating else -low
    return affine(rotation(turn), at), radius, floating


def lighting(rng, half, height, is_open):
    """-> time -> light: a lamp at a position with a reach, or the sun in a direction; power, ambient
    light, tint. Some change, flicker or move."""
    lamp = not is_open and rng.random() < 0.5
    up = rng.uniform(0.45, 1.4)
    turn = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)])
    place = np.append(rng.uniform(-0.8, 0.8, 2) * half, height * rng.uniform(0.7, 0.97))
    power, ambient = rng.uniform(0.5, 1.6), rng.uniform(0.15, 0.6)
    tint = 1 + rng.normal(0, 0.08, 3)
    drift = curve(rng, 1) if rng.random() < 0.25 else lambda time: np.zeros(1)
    flicker = shake(rng, 1, 0.04) if rng.random() < 0.12 else lambda time: np.zeros(1)
    sweep = curve(rng, 3) if rng.random() < 0.15 else lambda time: np.zeros(3)

    def at(time):
        now = direction + 0.4 * sweep(time)
        factor = max(0.2, 1 + 0.4 * drift(time)[0] + flicker(time)[0])
        return {"lamp": lamp, "position": place + sweep(time) * (1, 1, 0),
                "direction": now / np.linalg.norm(now), "reach": 0.7 * half.max(),
                "power": power * factor, "ambient": ambient * factor ** 0.5, "tint": tint}
    return at


def build(rng, frames: int, photos=()) -> Scene:
    """photos: files of pictures for a share of the textures."""
    while (scene := attempt(rng, frames, photos)) is None:
        pass
    return scene


def attempt(rng, frames: int, photos) -> Scene | None:
    """A scene, or None where the camera would leave the room or meet something."""
    is_open = rng.random() < 0.3
    half = rng.uniform(8, 20, 2) if is_open else rng.uniform(2, 5.5, 2)
    height = 25.0 if is_open else rng.uniform(2.3, 4)
    fov = np.radians(rng.uniform(26, 66))
    looks = Looks(rng, photos)
    eye, focus = camera(rng, half, height, is_open)
    surfaces = [room(rng, looks, half, height, is_open)]
    surfaces += furnish(rng, looks, half, height, is_open)
    times = np.arange(max(frames, 2)) / SECOND
    path = np.stack([eye(t)[:3, 3] for t in times])
    poses, moving = [lambda time: np.eye(4)], [False]
    wanted_moving = rng.integers(0, 9)
    for _ in range(rng.integers(5, 13)):
        prims = shape(rng)
        pose, radius, floating = place(rng, prims, eye(0.0), half, height, fov, focus, is_open)
        moves = len(poses) <= wanted_moving
        at = motion(rng, pose, radius, floating) if moves else lambda time, pose=pose: pose
        centres = np.stack([at(t)[:3, 3] for t in times])
        if (np.linalg.norm(centres - path, axis=1) < radius + 0.4).any():
            continue
        scale = affine(np.eye(3) * radius)
        sized = [Prim(p.kind, scale @ p.affine, p.taper) for p in prims]
        surfaces += looks.dress(sized, len(poses), radius)
        poses.append(at)
        moving.append(moves)
    zoom_to = np.exp(rng.uniform(-0.3, 0.4)) - 1 if rng.random() < 0.2 else 0.0
    static = [s.prim.affine for s in surfaces[1:] if s.owner == 0]
    if len(poses) < 4 or not clear(path, half, height, static):
        return None
    return Scene(surfaces, poses, moving, eye, lambda t: 1 + zoom_to * t * t * (3 - 2 * t), fov,
                 lighting(rng, half, height, is_open), rng.random() < 0.85, looks.textures)


def clear(path: np.ndarray, half: np.ndarray, height: float, static: list[np.ndarray]) -> bool:
    """Whether a camera path [T, 3] stays within the room and out of the static primitives."""
    level = path[:, 2]
    if (np.abs(path[:, :2]) > half - 0.25).any() or level.min() < 0.15 or level.max() > height - 0.15:
        return False
    for prim in static:
        local = np.linalg.inv(prim)[:3] @ np.append(path, np.ones((len(path), 1)), 1).T
        if (np.abs(local) < 1 + 0.3 / prim[:3, :3].diagonal().max()).all(0).any():
            return False
    return True
