"""Shapes of the training world: objects put together from boxes, balls and frusta.

A primitive is its kind and the affine map [4, 4] from the unit primitive to its object's frame
(z up, metres). Unit primitives lie in [-1, 1]^3: the box; the ball; the frustum with radius
1 - taper (z + 1) / 2, a cylinder for taper 0 and a cone for 1.
"""
from dataclasses import dataclass, replace

import numpy as np

BOX, BALL, FRUSTUM = 0, 1, 2


@dataclass
class Prim:
    kind: int
    affine: np.ndarray
    taper: float = 0.0


def rotation(vector) -> np.ndarray:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    vector = np.asarray(vector, float)
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def affine(linear, at=(0, 0, 0)) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = linear, at
    return out


def box(size, at=(0, 0, 0), turn=(0, 0, 0)) -> Prim:
    """`size`: half extents."""
    return Prim(BOX, affine(rotation(turn) @ np.diag(np.broadcast_to(size, 3)), at))


def ball(size, at=(0, 0, 0)) -> Prim:
    return Prim(BALL, affine(np.diag(np.broadcast_to(size, 3)), at))


def frustum(radius, half, at=(0, 0, 0), turn=(0, 0, 0), taper=0.0) -> Prim:
    return Prim(FRUSTUM, affine(rotation(turn) @ np.diag([radius, radius, half]), at), taper)


LYING = (0, np.pi / 2, 0)   # turns z to x


def one_box(rng):
    return [box(rng.uniform(0.25, 1, 3))]


def one_ball(rng):
    return [ball(1 if rng.random() < 0.6 else rng.uniform(0.4, 1, 3))]


def cylinder(rng):
    return [frustum(rng.uniform(0.3, 1), rng.uniform(0.1, 1))]


def cone(rng):
    return [frustum(rng.uniform(0.4, 0.8), rng.uniform(0.4, 1), taper=rng.choice([0.3, 0.6, 1.0]))]


def capsule(rng):
    radius = rng.uniform(0.15, 0.5)
    return [frustum(radius, 0.7), ball(radius, (0, 0, 0.7)), ball(radius, (0, 0, -0.7))]


def rod(rng):
    thin = rng.uniform(0.02, 0.08)
    if rng.random() < 0.5:
        return [frustum(thin, 1.2)]
    return [box((thin, thin * rng.uniform(0.5, 3), 1.2))]


def plate(rng):
    return [box((rng.uniform(0.5, 1), rng.uniform(0.5, 1), rng.uniform(0.01, 0.06)))]


def letter_l(rng):
    w = rng.uniform(0.15, 0.35)
    return [box((w, w, 1)), box((0.5, w, w), (0.5 + w, 0, w - 1))]


def letter_t(rng):
    w = rng.uniform(0.1, 0.3)
    return [box((w, w, 0.9)), box((0.8, w, w), (0, 0, 0.9 + w))]


def letter_u(rng):
    w, depth = rng.uniform(0.1, 0.25), rng.uniform(0.1, 0.8)
    sides = [box((w, depth, 0.7), (x * (0.8 - w), 0, 0.7 + w)) for x in (-1, 1)]
    return [box((0.8, depth, w))] + sides


def plus(rng):
    w = rng.uniform(0.1, 0.3)
    arms = [box((w, w, 1)), box((1, w, w))]
    return arms + [box((w, 1, w))] if rng.random() < 0.5 else arms


def table(rng):
    wide, deep, leg = rng.uniform(0.6, 1.2), rng.uniform(0.4, 0.8), rng.uniform(0.03, 0.08)
    tall = rng.uniform(0.3, 0.8)
    legs = [box((leg, leg, tall), (x * (wide - leg), y * (deep - leg), 0))
            for x in (-1, 1) for y in (-1, 1)]
    return [box((wide, deep, rng.uniform(0.03, 0.08)), (0, 0, tall))] + legs


def chair(rng):
    prims = table(rng)
    top = prims[0].affine
    back = rng.uniform(0.4, 0.9)
    return prims + [box((0.05, top[1, 1], back), (0.05 - top[0, 0], 0, top[2, 3] + back))]


def dumbbell(rng):
    radius = rng.uniform(0.25, 0.5)
    ends = [(ball if rng.random() < 0.5 else box)(radius, (x, 0, 0)) for x in (-0.8, 0.8)]
    return ends + [frustum(rng.uniform(0.06, 0.2), 0.8, turn=LYING)]


def frame(rng):
    """A window or picture frame with nothing in it."""
    w, deep, tall = rng.uniform(0.06, 0.2), rng.uniform(0.05, 0.4), rng.uniform(0.6, 1)
    posts = [box((w, deep, tall), (x, 0, 0)) for x in (-0.8, 0.8)]
    return posts + [box((0.8, deep, w), (0, 0, z * tall)) for z in (-1, 1)]


def ring(rng):
    count, w = 9, rng.uniform(0.08, 0.18)
    angles = 2 * np.pi * np.arange(count) / count
    return [box((w, 0.3, w), (0.8 * np.cos(a), 0.8 * np.sin(a), 0), (0, 0, a)) for a in angles]


def stairs(rng):
    count, deep = rng.integers(3, 6), rng.uniform(0.3, 1)
    half = 0.8 / count
    return [box((half, deep, half * (i + 1)), (2 * half * i - 0.8, 0, half * (i + 1)))
            for i in range(count)]


def mug(rng):
    radius = rng.uniform(0.4, 0.7)
    handle = [box((0.2, 0.06, 0.06), (radius + 0.1, 0, z)) for z in (-0.35, 0.35)]
    handle += [box((0.06, 0.06, 0.4), (radius + 0.3, 0, 0))]
    return [frustum(radius, 0.7, taper=rng.choice([0, 0.3]))] + handle


def tree(rng):
    trunk = frustum(rng.uniform(0.08, 0.2), 0.6, (0, 0, -0.6))
    if rng.random() < 0.5:
        return [trunk] + [frustum(0.8 - 0.2 * i, 0.4, (0, 0, 0.3 + 0.4 * i), taper=1.0)
                          for i in range(3)]
    return [trunk] + [ball(rng.uniform(0.3, 0.6), (*rng.normal(0, 0.3, 2), rng.uniform(0.2, 0.8)))
                      for _ in range(3)]


def car(rng):
    wheels = [frustum(0.25, 0.08, (x, y, -0.3), (np.pi / 2, 0, 0))
              for x in (-0.6, 0.6) for y in (-0.42, 0.42)]
    return [box((1, 0.4, 0.25)), box((0.5, 0.35, 0.25), (-0.1, 0, 0.5))] + wheels


def animal(rng):
    thin = rng.uniform(0.06, 0.14)
    legs = [frustum(thin, 0.4, (x, y, -0.5)) for x in (-0.5, 0.5) for y in (-0.2, 0.2)]
    return [ball((0.8, 0.35, 0.35)), ball(rng.uniform(0.25, 0.4), (0.85, 0, 0.4))] + legs


def heap(rng):
    """A few primitives anyhow."""
    prims = []
    for _ in range(rng.integers(2, 6)):
        at, turn = rng.normal(0, 0.45, 3), rng.normal(0, 1.5, 3)
        size = rng.uniform(0.15, 0.6, 3)
        kind = rng.integers(3)
        prims.append(box(size, at, turn) if kind == 0 else ball(size, at) if kind == 1 else
                     frustum(size[0], size[1], at, turn, rng.choice([0, 0.5, 1])))
    return prims


SIMPLE = [one_box, one_box, one_ball, one_ball, cylinder, cone, capsule, rod, plate]
COMPOUND = [letter_l, letter_t, letter_u, plus, table, chair, dumbbell, frame, ring, stairs, mug,
            tree, car, animal, heap, heap, heap]


def shape(rng) -> list[Prim]:
    """A random shape of radius 1 around its centre, stretched a little."""
    kinds = SIMPLE if rng.random() < 0.45 else COMPOUND
    prims = kinds[rng.integers(len(kinds))](rng)
    stretch = affine(np.diag(rng.uniform(0.7, 1.3, 3)) if rng.random() < 0.5 else np.eye(3))
    low, high = (np.array([extent(p, stretch, s) for p in prims]) for s in (-1, 1))
    low, high = low.min(0), high.max(0)
    size = np.linalg.norm(high - low)
    fit = affine(np.eye(3) * 2 / size, -(low + high) / size)
    return [replace(p, affine=fit @ stretch @ p.affine) for p in prims]


def extent(prim: Prim, pose: np.ndarray, sign: int) -> np.ndarray:
    """A primitive's farthest coordinates [3] along +-x, y, z of the frame that `pose` maps to."""
    whole = pose @ prim.affine
    rows = whole[:3, :3]
    if prim.kind == BOX:
        reach = np.abs(rows).sum(1)
    elif prim.kind == BALL:
        reach = np.linalg.norm(rows, axis=1)
    else:
        reach = np.linalg.norm(rows[:, :2], axis=1) + np.abs(rows[:, 2])
    return whole[:3, 3] + sign * reach
