"""Ray casting of the training world in PyTorch: exact depth and owner a pixel, shaded colours.

Rays are planar, [3, M]; a ray's parameter is its depth along the optical axis, since directions
have z = 1 in the camera. Each primitive meets only the rays within its projection.
"""
import numpy as np
import torch
from torch import Tensor

from world import texture
from world.scene import ROOM, Scene
from world.shapes import BALL, BOX

FAR = 1e9
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float).T
# Four samples of a pixel at an edge: a rotated grid.
SAMPLES = [(-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375)]


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Over the first axis, of three: much faster than sum(0) on a CPU."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(a: Tensor) -> Tensor:
    return a * dot(a, a).clamp_min(1e-18).rsqrt()


def largest(a: Tensor) -> Tensor:
    """Index of the largest of three; argmax(0) is slow on a CPU."""
    return torch.where(a[0] >= torch.maximum(a[1], a[2]), 0, torch.where(a[1] >= a[2], 1, 2))


def reciprocal(a: Tensor) -> Tensor:
    return (a + 1e-12).reciprocal()


def hit(kind: int, slope: Tensor, eye: Tensor, rows: Tensor, rays: Tensor) -> Tensor:
    """First positive parameter [M] at which world rays [3, M] meet a primitive, or FAR.

    rows: [3, 4] world to local; eye: where the rays start, [3, 1] or [3, M], local; slope: half the
    taper.
    """
    d = [dot(row, rays) for row in rows]
    o = eye.unbind(0)
    if kind == BOX:
        enter, leave = None, None
        for a, b in zip(o, d):
            inverse = reciprocal(b)
            near, far = -a * inverse - inverse.abs(), -a * inverse + inverse.abs()
            enter = near if enter is None else torch.maximum(enter, near)
            leave = far if leave is None else torch.minimum(leave, far)
        return torch.where((enter < leave) & (enter > 1e-4), enter, FAR)
    if kind == BALL:
        a, b, c = dot(d, d), dot(o, d), dot(o, o) - 1
        root = b * b - a * c
        t = (-b - root.clamp_min(0).sqrt()) / a
        return torch.where((root > 0) & (t > 1e-4), t, FAR)
    radius, grow = 1 - slope - slope * o[2], -slope * d[2]
    inverse = reciprocal(d[0] * d[0] + d[1] * d[1] - grow * grow)
    b = (o[0] * d[0] + o[1] * d[1] - radius * grow) * inverse
    root = b * b - (o[0] * o[0] + o[1] * o[1] - radius * radius) * inverse
    s = root.clamp_min(0).sqrt()
    best = torch.full_like(b, FAR)
    for t in (-b - s, s - b):
        good = (root > 0) & ((o[2] + t * d[2]).abs() <= 1) & (t > 1e-4) & (t < best)
        best = torch.where(good, t, best)
    inverse = reciprocal(d[2])
    for z, r in ((-1, 1), (1, 1 - 2 * slope)):
        t = (z - o[2]) * inverse
        x, y = o[0] + t * d[0], o[1] + t * d[1]
        good = (x * x + y * y <= r * r) & (t > 1e-4) & (t < best)
        best = torch.where(good, t, best)
    return best


def blocked(kind: int, slope: Tensor, rows: Tensor, points: Tensor, to_light: Tensor) -> Tensor:
    """Whether a primitive lies between points and the light, all [3, M] in world axes."""
    eye = torch.stack([dot(row, points) + row[3] for row in rows])
    return hit(kind, slope, eye, rows, to_light) < 1


def normals(kind: Tensor, slope: Tensor, scales: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
    """Outward normals [3, M] in local axes, not unit, and the face 0..5 they belong to."""
    axis = largest(local.abs())
    flip = torch.where(kind == ROOM, -1.0, 1.0)
    cap = local[2].abs() > 1 - 1e-4
    side = (local[0], local[1], slope * (1 - slope - slope * local[2]))
    normal = []
    boxy = (kind == BOX) | (kind == ROOM)
    for i in range(3):
        flat = torch.where(axis == i, local[i].sign() * flip, 0.0)
        rim = torch.where(cap, local[2] if i == 2 else 0.0, side[i])
        normal.append(torch.where(boxy, flat, torch.where(kind == BALL, local[i], rim)))
    normal = torch.stack(normal)
    axis = torch.where(boxy, axis, largest((normal / scales).abs()))
    along = torch.where(axis == 0, local[0], torch.where(axis == 1, local[1], local[2]))
    return normal, axis * 2 + (along > 0)


def sample(atlas: Tensor, starts: Tensor, index, u: Tensor, v: Tensor, texels: Tensor,
           footprint: Tensor) -> Tensor:
    """Bilinear colours [M, 3] of mirrored textures at u, v in texels, from the mip level that fits
    the footprint."""
    level = (footprint * texels).log2().round().clamp(0, texture.LEVELS - 1)
    scale = torch.exp2(-level)
    level = level.to(torch.int64)
    size = texture.SIZE >> level
    base = starts[level] + index * size * size
    part, ends = [], []
    for a in (u * scale - 0.5, v * scale - 0.5):
        low = a.floor()
        part.append((a - low)[:, None])
        last = 2 * size - 1
        at = low.to(torch.int64) & last
        after = (at + 1) & last
        ends.append((torch.minimum(at, last - at), torch.minimum(after, last - after)))
    (x0, x1), (y0, y1) = ends
    top = torch.lerp(atlas[base + y0 * size + x0], atlas[base + y0 * size + x1], part[0])
    bottom = torch.lerp(atlas[base + y1 * size + x0], atlas[base + y1 * size + x1], part[0])
    return torch.lerp(top, bottom, part[1])


def meet(tables: dict[str, Tensor], rows: Tensor, eye: Tensor, focal: Tensor, d: Tensor,
         depth: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What rays met -> points and unit normals [3, M], faces [M], surface colours [M, 3].

    rows: [12, P] world to local.
    """
    points = eye + depth * d
    rows, scales = rows[:, seen], tables["scales"][:, seen]
    local = torch.stack([dot(rows[i:], points) + rows[i + 3] for i in (0, 4, 8)])
    outward, face = normals(tables["kinds"][seen], tables["slopes"][seen], scales, local)
    normal = unit(torch.stack([dot(outward, rows[i::4]) for i in range(3)]))
    metres, axis, slot = local * scales, face // 2, seen * 6 + face
    u = torch.where(axis == 0, metres[1], metres[0])
    v = torch.where(axis == 2, metres[1], metres[2])
    texels, cover_texels, share = tables["looks"][:, seen]
    move_u, move_v = tables["offsets"][:, slot]
    slant = dot(normal, unit(d)).abs().clamp_min(0.02)
    footprint = depth / focal / slant.sqrt()                                         # metres a pixel

    def colour_of(index, scale: Tensor) -> Tensor:
        return sample(tables["atlas"], tables["starts"], index, u * scale + move_u,
                      v * scale + move_v, scale, footprint)
    colour, cover = colour_of(tables["faces"][slot], texels), colour_of(0, cover_texels)
    return points, normal, face, colour * (1 - share[:, None] * (1 - cover))


def lit(colour: Tensor, gloss: Tensor, emissive: Tensor, normal: Tensor, toward: Tensor, d: Tensor,
        power: Tensor, ambient: Tensor, tint: Tensor) -> Tensor:
    """Colours [M, 3] under an ambient light from above, a direct light and its gleam (Blinn)."""
    gleam = dot(normal, unit(toward - unit(d))).clamp_min(0).square().square().square() ** 3
    bright = ambient * (0.75 + 0.25 * normal[2]) + power * dot(normal, toward).clamp_min(0)
    out = colour * bright[:, None] * tint + (gloss * power * gleam)[:, None]
    return torch.where(emissive[:, None], colour, out)


class Renderer:
    """Renders one scene at any time; tables that do not depend on the time are made once."""

    def __init__(self, scene: Scene, height: int, width: int, device="cpu"):
        self.scene, self.height, self.width, self.device = scene, height, width, device
        self.focal = 0.5 * height / np.tan(scene.fov / 2)
        surfaces = scene.surfaces
        self.owner = np.array([s.owner for s in surfaces])
        self.owners = self.tensor(self.owner, torch.uint8)
        self.affines = np.stack([s.prim.affine for s in surfaces])
        self.rounding = np.array([3 ** -0.5 if s.prim.kind == BALL else 1.0 for s in surfaces])
        self.emissive = self.tensor([s.emissive for s in surfaces], torch.bool).flatten()
        self.gloss = self.tensor([s.gloss for s in surfaces])
        sizes = len(scene.textures) * (texture.SIZE >> np.arange(texture.LEVELS)) ** 2
        self.tables = {
            "kinds": self.tensor([s.prim.kind for s in surfaces], torch.uint8),
            "slopes": self.tensor([s.prim.taper / 2 for s in surfaces]),
            "scales": self.tensor(np.linalg.norm(self.affines[:, :3, :3], axis=1).T),  # metres
            "faces": self.tensor([s.textures for s in surfaces], torch.int64).flatten(),
            "offsets": self.tensor(np.concatenate([s.offsets for s in surfaces]).T),
            "looks": self.tensor([[s.texels for s in surfaces], [s.cover_texels for s in surfaces],
                                  [s.cover_share for s in surfaces]]),
            "starts": self.tensor(np.cumsum(sizes) - sizes, torch.int64),
        }
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        self.grid = torch.stack([x, y]).float().to(device)                           # [2, H, W]

    def tensor(self, values, dtype=torch.float32) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=dtype, device=self.device)

    def intrinsics(self, time: float) -> np.ndarray:
        focal = self.focal * self.scene.zoom(time)
        cx, cy = (self.width - 1) / 2, (self.height - 1) / 2
        return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])

    def prepare(self, time: float) -> None:
        """Poses at a time: primitives to world and back, bounding spheres and rectangles."""
        scene = self.scene
        self.c2w, self.k = scene.camera(time), self.intrinsics(time)
        self.o2w = np.stack([pose(time) for pose in scene.poses])
        self.to_world = self.o2w[self.owner] @ self.affines
        to_local = np.linalg.inv(self.to_world)
        self.eye_local = self.tensor(to_local @ np.append(self.c2w[:3, 3], 1))[:, :3, None]
        self.rows = self.tensor(to_local[:, :3])                                     # [P, 3, 4]
        self.columns = self.rows.flatten(1).T.contiguous()                           # [12, P]
        self.light = scene.light(time)
        corners = self.to_world @ np.concatenate([CORNERS, np.ones((1, 8))])
        spread = corners[:, :3] - self.to_world[:, :3, 3:]
        self.reach = np.sqrt((spread ** 2).sum(1).max(-1)) * self.rounding
        self.bound(np.linalg.inv(self.c2w)[:3] @ corners)

    def bound(self, corners: np.ndarray) -> None:
        """Sets bounds [P, 4]: pixels (x0, y0, x1, y1), ends excluded, that boxes with these corners
        [P, 3, 8] in the camera may cover."""
        xy = (self.k @ corners)[:, :2] / np.maximum(corners[:, 2:], 0.05)
        limit = np.array([self.width, self.height])
        low = np.maximum(np.floor(xy.min(2) - 0.5), 0)
        high = np.minimum(np.ceil(xy.max(2) + 1.5), limit)
        near, far = corners[:, 2].min(1, keepdims=True), corners[:, 2].max(1, keepdims=True)
        around, behind = near < 0.05, far < 0.05
        low, high = np.where(around, 0, low), np.where(behind, 0, np.where(around, limit, high))
        self.bounds = np.concatenate([low, high], 1).astype(int).tolist()

    def rays(self, xy: Tensor) -> Tensor:
        """World directions [3, M] of pixels [2, M]."""
        focal, cx, cy = self.k[0, 0], self.k[0, 2], self.k[1, 2]
        d = torch.stack([(xy[0] - cx) / focal, (xy[1] - cy) / focal, torch.ones_like(xy[0])])
        return self.tensor(self.c2w[:3, :3]) @ d

    def trace(self, xy: Tensor, d: Tensor, whole: bool) -> tuple[Tensor, Tensor]:
        """Depth and primitive [M] seen at pixels xy; `whole`: they are the frame's, in order."""
        inverse = reciprocal(self.rows[0, :, :3] @ d)
        far = -self.eye_local[0] * inverse + inverse.abs()
        best = torch.minimum(torch.minimum(far[0], far[1]), far[2])
        seen = torch.zeros_like(best, dtype=torch.int64)
        if whole:
            shape = (self.height, self.width)
            best, seen, d = best.view(shape), seen.view(shape), d.view(3, *shape)
        for p, surface in enumerate(self.scene.surfaces[1:], 1):
            x0, y0, x1, y1 = self.bounds[p]
            if x0 >= x1 or y0 >= y1:
                continue
            if whole:
                at = (slice(y0, y1), slice(x0, x1))
                rays = d[:, y0:y1, x0:x1].reshape(3, -1)
            else:
                inside = (xy[0] > x0 - 1) & (xy[0] < x1) & (xy[1] > y0 - 1) & (xy[1] < y1)
                at = inside.nonzero()[:, 0]
                rays = d[:, at]
                if not len(at):
                    continue
            nearest, who = best[at], seen[at]
            t = hit(surface.prim.kind, self.tables["slopes"][p], self.eye_local[p], self.rows[p],
                    rays).view(nearest.shape)
            seen[at] = who.masked_fill(t < nearest, p)
            best[at] = torch.minimum(t, nearest)
        return best.flatten(), seen.flatten()

    def shadow(self, points: Tensor, to_light: Tensor) -> Tensor:
        """Which points [3, M] an object keeps the light from; `to_light` leads to the lamp, or far
        towards the sun."""
        dark = torch.zeros_like(points[0], dtype=torch.bool)
        for p, at in self.casters(points, to_light):
            dark[at] |= blocked(self.scene.surfaces[p].prim.kind, self.tables["slopes"][p],
                                self.rows[p], points[:, at], to_light[:, at])
        return dark

    def casters(self, points: Tensor, to_light: Tensor):
        """(primitive, indices of points) where the way to the light touches the bounding sphere."""
        centres = self.to_world[:, :3, 3]
        if self.light["lamp"]:
            away = centres - self.light["position"]
            length = np.linalg.norm(away, axis=1)
            sine = (self.reach / length).clip(0, 1)
            limits = np.sqrt(1 - sine ** 2) - 3 * (length <= self.reach)
            lines = -away / length[:, None]
            near = self.tensor(lines) @ unit(to_light) > self.tensor(limits)[:, None]
        else:
            basis = np.linalg.svd(self.light["direction"][None])[2][1:]
            flat, middle = self.tensor(basis) @ points, centres @ basis.T
            square = (flat * flat).sum(0, keepdim=True)
            lines = self.tensor(np.concatenate([-2 * middle, np.ones((len(middle), 1))], 1))
            limits = self.tensor(self.reach ** 2 - (middle ** 2).sum(1))
            near = lines @ torch.cat([flat, square]) < limits[:, None]
        for p, some in enumerate(near.any(1).tolist()):
            if some and p:
                yield p, near[p].nonzero()[:, 0]

    def shade(self, d: Tensor, depth: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> linear colours [M, 3], faces and shadows [M] of what rays from the camera met."""
        light, eye = self.light, self.tensor(self.c2w[:3, 3:])
        focal = self.tensor(self.k[0, 0])
        points, normal, face, colour = meet(self.tables, self.columns, eye, focal, d, depth, seen)
        if light["lamp"]:
            to_light = self.tensor(light["position"])[:, None] - points
            toward = unit(to_light)
            power = light["power"] / (0.4 + dot(to_light, to_light) / light["reach"] ** 2)
        else:
            toward = self.tensor(light["direction"])[:, None].expand_as(points).contiguous()
            to_light, power = 60 * toward, torch.full_like(depth, light["power"])
        emissive = self.emissive[seen * 6 + face]
        dark = torch.zeros_like(emissive)
        if self.scene.shadows:
            at = ((dot(normal, toward) > 0) & ~emissive).nonzero()[:, 0]
            dark[at] = self.shadow((points + 2e-3 * normal)[:, at], to_light[:, at])
        image = lit(colour, self.gloss[seen], emissive, normal, toward, d, power * ~dark,
                    self.tensor(light["ambient"]), self.tensor(light["tint"]))
        return image, face, dark

    def frame(self, time: float, colours: bool = True) -> dict:
        """One frame: linear colours [H, W, 3], depth, label [H, W]; cameras and poses in numpy."""
        self.prepare(time)
        xy = self.grid.flatten(1)
        d = self.rays(xy)
        depth, seen = self.trace(xy, d, True)
        shape = (self.height, self.width)
        out = {"depth": depth.view(shape), "label": self.owners[seen].view(shape), "k": self.k,
               "c2w": self.c2w, "o2w": self.o2w}
        if colours:
            if "atlas" not in self.tables:
                textures = [make() for make in self.scene.textures]
                self.tables["atlas"] = self.tensor(texture.pyramid(textures))
            image, face, dark = self.shade(d, depth, seen)
            at = self.edges(seen * 12 + face * 2 + dark)
            near = (xy[:, at, None] + self.tensor(SAMPLES).T[:, None]).flatten(1).contiguous()
            d = self.rays(near)
            finer = self.shade(d, *self.trace(near, d, False))[0].clamp_max(1.5)
            image[at] = finer.view(len(at), len(SAMPLES), 3).mean(1)
            out["image"] = image.view(*shape, 3)
        return out

    def edges(self, kind: Tensor) -> Tensor:
        """Indices of pixels whose right, left, upper or lower neighbour is of another kind."""
        kind = kind.view(self.height, self.width)
        edge = torch.zeros_like(kind, dtype=torch.bool)
        across, down = kind[:, 1:] != kind[:, :-1], kind[1:] != kind[:-1]
        edge[:, 1:] |= across
        edge[:, :-1] |= across
        edge[1:] |= down
        edge[:-1] |= down
        return edge.flatten().nonzero()[:, 0]
