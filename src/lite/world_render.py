"""Ray casting of the training world in PyTorch: exact depth and owner a pixel, shaded colours.

Rays are planar, [3, M]; a ray's parameter is its depth along the optical axis, since directions have
z = 1 in the camera. Each primitive meets only the rays within its projection.
"""
import numpy as np
import torch
from torch import Tensor

import world_texture
from world_scene import ROOM, Scene
from world_shapes import BALL, BOX

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


def hit(kind: int, taper: float, o: Tensor, d: Tensor) -> Tensor:
    """First positive parameter [M] at which rays o + t d, both planar and local, meet a unit primitive, or FAR.

    o: [3, 1] or [3, M].
    """
    if kind == BOX:
        inverse = reciprocal(d)
        middle, reach = -o * inverse, inverse.abs()
        near, far = middle - reach, middle + reach
        enter = torch.maximum(torch.maximum(near[0], near[1]), near[2])
        leave = torch.minimum(torch.minimum(far[0], far[1]), far[2])
        return torch.where((enter < leave) & (enter > 1e-4), enter, FAR)
    if kind == BALL:
        a, b, c = dot(d, d), dot(o, d), dot(o, o) - 1
        root = b * b - a * c
        t = (-b - root.clamp_min(0).sqrt()) / a
        return torch.where((root > 0) & (t > 1e-4), t, FAR)
    slope = taper / 2
    radius, grow = 1 - slope - slope * o[2], -slope * d[2]
    inverse = reciprocal(d[0] * d[0] + d[1] * d[1] - grow * grow)
    b = (o[0] * d[0] + o[1] * d[1] - radius * grow) * inverse
    root = b * b - (o[0] * o[0] + o[1] * o[1] - radius * radius) * inverse
    s = torch.where(root > 0, root, torch.nan).sqrt()
    best = torch.full_like(b, FAR)
    for t in (-b - s, s - b) if taper else (-b - s,):
        good = ((o[2] + t * d[2]).abs() <= 1) & (t > 1e-4) & (t < best)
        best = torch.where(good, t, best)
    inverse = reciprocal(d[2])
    for z, r in ((-1, 1.0), (1, 1 - taper)):
        if r > 0:
            t = (z - o[2]) * inverse
            x, y = o[0] + t * d[0], o[1] + t * d[1]
            good = (x * x + y * y <= r * r) & (t > 1e-4) & (t < best)
            best = torch.where(good, t, best)
    return best


class Renderer:
    """Renders one scene at any time; tables that do not depend on the time are made once."""

    def __init__(self, scene: Scene, height: int, width: int, device="cpu"):
        self.scene, self.height, self.width, self.device = scene, height, width, device
        self.focal = 0.5 * height / np.tan(scene.fov / 2)
        surfaces = scene.surfaces
        self.owner = np.array([s.owner for s in surfaces])
        self.owners = self.tensor(self.owner, torch.uint8)
        self.kinds = self.tensor([s.prim.kind for s in surfaces], torch.uint8)
        self.slopes = self.tensor([s.prim.taper / 2 for s in surfaces])
        scales = np.stack([np.linalg.norm(s.prim.affine[:3, :3], axis=0) for s in surfaces])
        self.scales = self.tensor(scales.T)                                          # [3, P] metres a local unit
        self.faces = self.tensor([s.textures for s in surfaces], torch.int64).flatten()
        self.emissive = self.tensor([s.emissive for s in surfaces], torch.bool).flatten()
        self.offsets = self.tensor(np.concatenate([s.offsets for s in surfaces]).T)
        self.looks = self.tensor([[s.texels for s in surfaces], [s.cover_texels for s in surfaces],
                                  [s.cover_share for s in surfaces]])
        self.gloss = self.tensor([s.gloss for s in surfaces])
        self.affines = np.stack([s.prim.affine for s in surfaces])
        self.rounding = np.array([3 ** -0.5 if s.prim.kind == BALL else 1.0 for s in surfaces])
        self.atlas = None
        size = world_texture.SIZE
        count = len(scene.textures)
        sizes = [size >> l for l in range(world_texture.LEVELS)]
        self.starts = self.tensor(np.cumsum([0] + [count * s * s for s in sizes[:-1]]), torch.int64)
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        self.grid = torch.stack([x, y]).float().to(device)                           # [2, H, W]

    def tensor(self, values, dtype=torch.float32) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=dtype, device=self.device)

    def intrinsics(self, time: float) -> np.ndarray:
        focal = self.focal * self.scene.zoom(time)
        return np.array([[focal, 0, (self.width - 1) / 2], [0, focal, (self.height - 1) / 2], [0, 0, 1]])

    def prepare(self, time: float) -> None:
        """Poses at a time: primitives to world and back, the projection's bounds."""
        scene = self.scene
        self.c2w, self.k = scene.camera(time), self.intrinsics(time)
        self.o2w = np.stack([pose(time) for pose in scene.poses])
        self.to_world = self.o2w[self.owner] @ self.affines
        to_local = np.linalg.inv(self.to_world)
        self.eye_local = self.tensor(to_local @ np.append(self.c2w[:3, 3], 1))[:, :3, None]
        self.rows = self.tensor(to_local[:, :3])                                     # [P, 3, 4]
        self.table = self.rows.flatten(1).T.contiguous()                             # [12, P]
        self.light = scene.light(time)
        corners = self.to_world @ np.concatenate([CORNERS, np.ones((1, 8))])
        spread = corners[:, :3] - self.to_world[:, :3, 3:]
        self.reach = np.sqrt((spread ** 2).sum(1).max(-1)) * self.rounding           # bounding spheres
        self.bound(np.linalg.inv(self.c2w)[:3] @ corners)

    def bound(self, corners: np.ndarray) -> None:
        """bounds [P, 4]: pixels (x0, y0, x1, y1), ends excluded, that boxes with these corners [P, 3, 8] may cover."""
        xy = (self.k @ corners)[:, :2] / np.maximum(corners[:, 2:], 0.05)
        limit = np.array([self.width, self.height])
        low = np.maximum(np.floor(xy.min(2) - 0.5), 0)
        high = np.minimum(np.ceil(xy.max(2) + 1.5), limit)
        around, behind = (corners[:, 2].min(1) < 0.05)[:, None], (corners[:, 2].max(1) < 0.05)[:, None]
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
                at = ((xy[0] > x0 - 1) & (xy[0] < x1) & (xy[1] > y0 - 1) & (xy[1] < y1)).nonzero()[:, 0]
                rays = d[:, at]
                if not len(at):
                    continue
            nearest, who = best[at], seen[at]
            t = hit(surface.prim.kind, surface.prim.taper, self.eye_local[p], self.rows[p, :, :3] @ rays)
            t = t.view(nearest.shape)
            seen[at] = who.masked_fill(t < nearest, p)
            best[at] = torch.minimum(t, nearest)
        return best.flatten(), seen.flatten()

    def shadow(self, points: Tensor, to_light: Tensor) -> Tensor:
        """Which points [3, M] an object keeps the light from; `to_light` reaches the lamp at 1, the sun far away."""
        dark = torch.zeros_like(points[0], dtype=torch.bool)
        for p, at in self.casters(points, to_light):
            o = self.rows[p, :, :3] @ points[:, at] + self.rows[p, :, 3:]
            prim = self.scene.surfaces[p].prim
            dark[at] |= hit(prim.kind, prim.taper, o, self.rows[p, :, :3] @ to_light[:, at]) < 1
        return dark

    def casters(self, points: Tensor, to_light: Tensor):
        """(primitive, indices of points) where the way to the light touches the bounding sphere: one product for all."""
        centres = self.to_world[:, :3, 3]
        if self.light["lamp"]:
            away = centres - self.light["position"]
            length = np.linalg.norm(away, axis=1)
            sine = (self.reach / length).clip(0, 1)
            lines, limits = -away / length[:, None], np.sqrt(1 - sine ** 2) - (length <= self.reach) * 3
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

    def sample(self, texture, uv: Tensor, level: Tensor) -> Tensor:
        """Bilinear colours [M, 3] of a mirrored texture at texels [2, M], one mip level a pixel."""
        size = (world_texture.SIZE >> level).to(torch.int64)
        scaled = uv * torch.exp2(-level.float()) - 0.5
        low = scaled.floor()
        part = scaled - low
        low = low.to(torch.int64)
        base = self.starts[level] + texture * size * size
        mirrored = []
        for step in (0, 1):
            at = (low + step).remainder(2 * size)
            mirrored.append(torch.minimum(at, 2 * size - 1 - at))
        (x0, y0), (x1, y1) = mirrored
        fx, fy = part[0, :, None], part[1, :, None]
        top = torch.lerp(self.atlas[base + y0 * size + x0], self.atlas[base + y0 * size + x1], fx)
        bottom = torch.lerp(self.atlas[base + y1 * size + x0], self.atlas[base + y1 * size + x1], fx)
        return torch.lerp(top, bottom, fy)

    def normals(self, seen: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """Outward normals [3, M] in local axes, not unit, and the face 0..5 they belong to."""
        kind, slope = self.kinds[seen], self.slopes[seen]
        size = local.abs()
        face = largest(size)
        sign = torch.gather(local, 0, face[None])[0].sign()
        flat = torch.zeros_like(local).scatter_(0, face[None], torch.where(kind == ROOM, -sign, sign)[None])
        side = torch.stack([local[0], local[1], slope * (1 - slope - slope * local[2])])
        cap = size[2] > 1 - 1e-4
        side = torch.where(cap, torch.stack([cap * 0., cap * 0., local[2]]), side)
        boxy = (kind == BOX) | (kind == ROOM)
        normal = torch.where(boxy, flat, torch.where(kind == BALL, local, side))
        face = torch.where(boxy, face, largest((normal / self.scales[:, seen]).abs()))
        return normal, face * 2 + (torch.gather(local, 0, face[None])[0] > 0)

    def shade(self, d: Tensor, depth: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> linear colours [M, 3], faces and shadows [M] of what rays from the camera met."""
        light = self.light
        points = self.tensor(self.c2w[:3, 3:]) + depth * d
        rows = self.table[:, seen].view(3, 4, -1)
        local = torch.stack([dot(row, points) + row[3] for row in rows])
        outward, face = self.normals(seen, local)
        normal = unit(torch.stack([dot(outward, rows[:, i]) for i in range(3)]))
        colour = self.paint(d, depth, seen, local, normal, face)
        if light["lamp"]:
            to_light = self.tensor(light["position"])[:, None] - points
            toward = unit(to_light)
            strength = 1 / (0.4 + dot(to_light, to_light) / light["reach"] ** 2)
        else:
            toward = self.tensor(light["direction"])[:, None].expand_as(points)
            to_light, strength = 60 * toward, 1.0
        slot = seen * 6 + face
        emissive = self.emissive[slot]
        facing = dot(normal, toward).clamp_min(0)
        dark = torch.zeros_like(emissive)
        if self.scene.shadows:
            at = ((facing > 0) & ~emissive).nonzero()[:, 0]
            dark[at] = self.shadow((points + 2e-3 * normal)[:, at], to_light[:, at])
        power = light["power"] * strength * ~dark
        gleam = dot(normal, unit(toward - unit(d))).clamp_min(0).square().square().square() ** 3
        bright = light["ambient"] * (0.75 + 0.25 * normal[2]) + power * facing
        lit = colour * (bright[:, None] * self.tensor(light["tint"])) + (self.gloss[seen] * power * gleam)[:, None]
        return torch.where(emissive[:, None], colour, lit), face, dark

    def paint(self, d, depth, seen, local, normal, face) -> Tensor:
        """Surface colours [M, 3]."""
        metres = local * self.scales[:, seen]
        axis = face // 2
        u = torch.where(axis == 0, metres[1], metres[0])
        v = torch.where(axis == 2, metres[1], metres[2])
        uv = torch.stack([u, v])
        texels, cover_texels, share = self.looks[:, seen]
        slant = dot(normal, unit(d)).abs()
        footprint = depth / self.k[0, 0] / slant.clamp_min(0.02).sqrt()              # metres a pixel
        def level(texels):
            return (footprint * texels).log2().round().clamp(0, world_texture.LEVELS - 1).to(torch.int64)
        slot = seen * 6 + face
        offsets = self.offsets[:, slot]
        colour = self.sample(self.faces[slot], uv * texels + offsets, level(texels))
        at = (share > 0).nonzero()[:, 0]
        cover = self.sample(0, (uv * cover_texels + offsets)[:, at], level(cover_texels)[at])
        colour[at] *= 1 - share[at, None] * (1 - cover)
        return colour

    def frame(self, time: float, colours: bool = True) -> dict:
        """One frame: linear colours [H, W, 3], depth, label [H, W]; cameras and poses in numpy."""
        self.prepare(time)
        xy = self.grid.flatten(1)
        d = self.rays(xy)
        depth, seen = self.trace(xy, d, True)
        out = {"depth": depth.view(self.height, self.width), "label": self.owners[seen].view(self.height, self.width),
               "k": self.k, "c2w": self.c2w, "o2w": self.o2w}
        if colours:
            if self.atlas is None:
                self.atlas = self.tensor(world_texture.pyramid([make() for make in self.scene.textures]))
            image, face, dark = self.shade(d, depth, seen)
            at = self.edges(seen * 12 + face * 2 + dark)
            near = (xy[:, at, None] + self.tensor(SAMPLES).T[:, None]).flatten(1)
            d = self.rays(near)
            finer = self.shade(d, *self.trace(near, d, False))[0].clamp_max(1.5)
            image[at] = finer.view(len(at), len(SAMPLES), 3).mean(1)
            out["image"] = image.view(self.height, self.width, 3)
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
