"""Runs the tracker on a clip of one window (src/tracker/README.md, "Window preparation" to
"Output of a window").

Arrays are ordered [T, N, ...]. "Working" pixels are those of the resized depth, "model" pixels those that
the network sees. The first tracks are the user's, the rest support queries.
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.splitmix import splitmix64
from tracker import bundle
from tracker.model import LEVELS, FeatureCache, Normalised, Tracker, TrackState, patches, pyramid, query_patches

GRID, MIN_SUPPORT, MAX_STATIC = 100, 20, 1500


class Random:
    """The stream that support queries are drawn from."""

    def __init__(self, seed: int):
        self.state = np.uint64(seed)

    def below(self, n: np.ndarray) -> np.ndarray:
        """One number in 0 .. n - 1 for each n."""
        z, self.state = splitmix64(self.state, len(n))
        return (z >> np.uint64(11)) % n.astype(np.uint64)

    def permutation(self, n: int) -> np.ndarray:
        p = np.arange(n)
        last = np.arange(n - 1, 0, -1)
        for i, j in zip(last, self.below(last + 1)):
            p[i], p[j] = p[j], p[i]
        return p


@dataclass
class Clip:
    """video [T, 3, H, W], 0..255; depth, confident (0 or 1) [T, H, W]; k [T, 3, 3] in pixels of the
    video; c2w [T, 4, 4]; queries [N, 3] as frame, x, y."""
    video: Tensor
    depth: Tensor
    confident: Tensor
    k: Tensor
    c2w: Tensor
    queries: Tensor


@dataclass
class Window(Normalised):
    """What is given, and the state that the iterations refine."""
    users: int
    depth: Tensor       # [T, Hr, Wr] of the working point map
    valid: Tensor       # [T, Hr, Wr] bool
    k_model: Tensor     # [T, 3, 3] model pixels, as given
    k: Tensor           # [T, 3, 3] working pixels, refined
    c2w: Tensor         # [T, 4, 4] relative to the first frame
    to_model: Tensor    # [2] model pixels a working pixel, x and y
    query: Tensor       # [N, 3] frame, x, y in model pixels
    z: Tensor           # [N] depth at the query
    query_valid: Tensor # [N] validity there
    lo: Tensor          # [3] of Normalised
    hi: Tensor
    cache: FeatureCache
    xy: Tensor          # [T, N, 2] in units of 4 model pixels
    normal: Tensor      # [T, N, 3] camera-space points, normalised
    logits: dict[str, Tensor]     # vis, conf, dyn, weight: [T, N]
    track: Tensor | None = None   # [T, N, 3] x, y in working pixels, z
    point: Tensor | None = None   # [T, N, 3] camera-space points
    unreplaced: Tensor | None = None  # the points before the depth map's were taken
    replaced: Tensor | None = None
    c2w_init: Tensor | None = None  # before bundle adjustment


def unproject(k: Tensor, xy: Tensor, z: Tensor) -> Tensor:
    """k [..., 3, 3], xy [..., 2], z [...] to points [..., 3]."""
    at = torch.cat([xy, torch.ones_like(xy[..., :1])], -1)
    return (torch.linalg.inv(k) @ at[..., None])[..., 0] * z[..., None]


def transform(pose: Tensor, p: Tensor) -> Tensor:
    """Poses [T, 4, 4] on points [T, N, 3] or [N, 3]."""
    return p @ pose[:, :3, :3].transpose(1, 2) + pose[:, None, :3, 3]


def scaled(k: Tensor, x: float, y: float) -> Tensor:
    return k * k.new_tensor([x, y, 1])[:, None]


def resize_nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="nearest")


def border_index(x: Tensor, size: int) -> Tensor:
    p = (x * (2 / (size - 1)) - 1 + 1) / 2 * (size - 1)
    return p.clamp(0, size - 1).round().long()


def working_size(resolution: int, h: int, w: int) -> tuple[int, int]:
    scale = max(resolution / h, resolution / w)

    def side(length: int) -> int:
        near = 14 * round(scale * length / 14)
        return near if near >= resolution else 14 * -int(-scale * length // 14)

    return side(h), side(w)


def depth_masks(depth: Tensor, confident: Tensor) -> tuple[Tensor, Tensor]:
    """Working depths [T, h, w] with the far ones dropped, and the valid mask
    (src/tracker/README.md, "Window preparation")."""
    positive = depth[depth > 0].sort().values
    if not len(positive):
        return depth, torch.zeros_like(depth, dtype=torch.bool)
    q25, q75 = (positive[max(int(q * len(positive)), 1) - 1] for q in (0.25, 0.75))
    upper = (q75 + 0.8 * (q75 - q25)).clamp_min(1e-6).minimum(10 * q25)
    roi = (depth > 0.1) & (depth < upper)
    high = F.max_pool2d(torch.where(roi, depth, -torch.inf)[:, None], 3, 1, 1)[:, 0]
    low = -F.max_pool2d(torch.where(roi, -depth, -torch.inf)[:, None], 3, 1, 1)[:, 0]
    edge = (high > low) & ((high - low) / depth > 0.03)
    return torch.where(depth > 10 * q25, 0, depth), roi & ~edge & (confident > 0.5)


def support_queries(valid: Tensor, count: int, random: Random) -> Tensor:
    """Up to `count` rows of frame, x, y in working pixels (src/tracker/README.md, "Support queries")."""
    frames, h, w = valid.shape
    margin, steps = w // 64, np.arange(GRID) / (GRID - 1)
    y, x = np.meshgrid(np.rint(margin + steps * (h - 2 * margin)),
                       np.rint(margin + steps * (w - 2 * margin)), indexing="ij")
    timed = random.below(np.full(GRID * GRID, frames)).astype(np.float64)
    last = np.full(GRID * GRID, frames - 1.0)
    rows = np.stack([np.concatenate([last, timed, timed]), np.tile(x.ravel(), 3), np.tile(y.ravel(), 3)], 1)
    rows = torch.from_numpy(rows).float().to(valid.device)
    f, i, j = rows[:, 0].long(), rows[:, 2].long().clamp_max(h - 1), rows[:, 1].long().clamp_max(w - 1)
    good = valid[f, i, j]
    if good.sum() >= MIN_SUPPORT:
        rows = rows[good]
    return rows[torch.from_numpy(random.permutation(len(rows))[:count])]


def encode(model: Tracker, video: Tensor, reference_way: bool) -> list[Tensor]:
    """The features of all levels. The encoder sees 0..255: the reference scales the video after it."""
    images = resize_nearest(video, model.model_size)
    features = model.fnet(images) if reference_way else torch.cat([model.fnet(image) for image in images.split(1)])
    return pyramid(features)


def window_init(model: Tracker, clip: Clip, users: Tensor, support: int, seed: int, reference_way: bool) -> Window:
    """src/tracker/README.md, "Window preparation" and "Window init". users [N, 3]: the queries in
    the order they are processed."""
    h, w = clip.video.shape[2:]
    size, (mh, mw) = working_size(model.resolution, h, w), model.model_size
    sx, sy = size[1] / w, size[0] / h
    depth = resize_nearest(clip.depth[:, None], size)[:, 0]
    depth, valid = depth_masks(depth, resize_nearest(clip.confident[:, None].float(), size)[:, 0])
    c2w = torch.linalg.inv(clip.c2w[:1].double()) @ clip.c2w.double()
    k = scaled(clip.k, sx, sy)
    fx, fy = mw / size[1], mh / size[0]
    query = torch.cat([users * users.new_tensor([1, sx, sy]),
                       support_queries(valid, support, Random(seed)).to(users)])
    query = query * query.new_tensor([1, fx, fy])

    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    pixels = torch.stack([columns, rows], -1).to(k).expand(len(depth), -1, -1, -1)
    points = resize_nearest(unproject(k[:, None, None], pixels, depth).permute(0, 3, 1, 2), (mh, mw))
    frame, x, y = query[:, 0].long(), border_index(query[:, 1], mw), border_index(query[:, 2], mh)
    seen = points[frame, :, y, x]
    std, mean = (part.float() for part in torch.std_mean(seen.double(), 0))
    half = torch.where(std > 1e-6, 3 * std, 1)
    z = resize_nearest(depth[:, None], (mh, mw))[frame, 0, y, x].clamp(0.01, 200)
    query_valid = resize_nearest(valid[:, None].float(), (mh, mw))[frame, 0, y, x]

    zeros = query.new_zeros(len(depth), len(query))
    window = Window(
        users=len(users), depth=depth, valid=valid, k_model=scaled(k, fx, fy), k=k, c2w=c2w.float(),
        to_model=query.new_tensor([fx, fy]), query=query, z=z, query_valid=query_valid, lo=mean - half, hi=mean + half,
        cache=FeatureCache(encode(model, clip.video, reference_way), [], [], []),
        xy=(query[:, 1:] / model.stride).expand(len(depth), -1, -1), normal=zeros,
        logits={name: zeros for name in ("vis", "conf", "dyn", "weight")})
    window.normal = window.normalise(seen).expand(len(depth), -1, -1)
    points = window.normalise(points.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    cache = window.cache
    for level in range(LEVELS):
        step = model.stride << level
        cache.points.append(points[:, :, ::step, ::step].contiguous())
        at = query[:, 1:] / step
        cache.templates.append(query_patches(cache.features[level], frame, at, model.radius))
        cache.template_points.append(query_patches(cache.points[level], frame, at, model.radius))
    return window


def query_world(window: Window, k_model: Tensor, c2w: Tensor) -> Tensor:
    """The query's point of each track in the world [N, 3] (src/tracker/README.md, "Rigid carry")."""
    frame = window.query[:, 0].long()
    point = unproject(k_model[frame], window.query[:, 1:], window.z)
    return transform(c2w[frame], point[:, None])[:, 0]


def track_state(window: Window) -> TrackState:
    rigid = transform(torch.linalg.inv(window.c2w), query_world(window, window.k_model, window.c2w))
    return TrackState(xy=window.xy, normal=window.normal,
                      valid=(window.denormalise(window.normal)[..., 2] > 0).to(window.xy),
                      rigid=window.normalise(rigid), frame=window.query[:, 0], vis=window.logits["vis"],
                      conf=window.logits["conf"], dyn=window.logits["dyn"])


def depth_lookup(window: Window, radius: int = 3) -> Tensor:
    """src/tracker/README.md, "Depth lookup": [T, N], 0 where the map is not valid."""
    h, w = window.depth.shape[1:]
    xy, z = window.track[..., :2], window.track[..., 2:]
    around = patches(window.depth[:, None], xy, radius)[..., 0]
    found = around.gather(-1, (around - z).abs().argmin(-1, keepdim=True))[..., 0]
    size = xy.new_tensor([w - 1, h - 1])
    at = ((2 * xy / size - 1 + 1) / 2 * size).round()
    inside = ((at >= 0) & (at <= size)).all(-1)
    x, y = torch.where(inside[..., None], at, 0).long().unbind(-1)
    good = window.valid[torch.arange(len(x))[:, None], y, x] & inside
    return torch.where(good, found, 0)


def steady(found: Tensor, z: Tensor, ratio: float) -> Tensor:
    """Where the looked-up depth [T, N] hardly jitters in time
    (src/tracker/README.md, "Replacement")."""
    e = found - z
    e1, e2 = e.diff(dim=0).abs(), (e[2:] - 2 * e[1:-1] + e[:-2]).abs()
    out = torch.ones_like(found, dtype=torch.bool)
    if (e2 > 0).any():
        out[0] = out[-1] = False
        out[1:-1] = (e2 < e2[e2 > 0].quantile(ratio)) & (e1[1:] < e1[e1 > 0].quantile(ratio))
    return out


def rigid_fit(x: Tensor, y: Tensor, h: Tensor) -> Tensor:
    """The weighted rigid motions [T, 4, 4] of points x [N, 3] to y [T, N, 3]."""
    x, y, h = x.double(), y.double(), h.double()[:, None]
    cx, cy = (h * x).sum(0) / h.sum(), (h * y).sum(1) / h.sum()
    covariance = (h * (x - cx)).T @ (y - cy[:, None])
    u, _, vt = torch.linalg.svd(covariance)
    sign = torch.ones_like(cy)
    sign[:, 2] = torch.linalg.det(u @ vt).sign()
    r = (u @ (sign[:, :, None] * vt)).transpose(1, 2)
    out = torch.eye(4).to(r).repeat(len(y), 1, 1)
    out[:, :3, :3], out[:, :3, 3] = r, cy - (r @ cx)
    return out


def key_frame(seen: Tensor) -> int:
    """The frame between the ends that shares least with them; 0 where there is none."""
    shared = torch.maximum(seen @ seen[0], seen @ seen[-1])[1:-1]
    return 1 + int(shared.argmin()) if len(shared) else 0


def fit_cameras(world: Tensor, seen: Tensor, still: Tensor) -> Tensor:
    """src/tracker/README.md, "Camera start": D [T, 4, 4] of world points [T, N, 3], seen [T, N] and still [N]."""
    key, last = key_frame(seen), len(seen) - 1

    def interval(a: int, b: int) -> Tensor:
        h = still * seen[a] * seen[b]
        h = h.clamp_min(0.05) if h.sum() < 50 else h
        return torch.linalg.inv(rigid_fit(world[a], world[a:b + 1], h))

    first, second = interval(0, key), interval(key, last)
    cameras = torch.cat([first[:-1], first[-1] @ second])
    cameras[0] = torch.eye(4).to(cameras)
    return cameras


def init_cameras(window: Window, seen: Tensor, moving: Tensor) -> Tensor:
    world = transform(window.c2w, window.point)
    cameras = fit_cameras(world, seen, window.query_valid * (1 - moving))
    return (cameras @ window.c2w.double()).float()


def adjust(window: Window, seen: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
    """c2w [T, 4, 4] and K [T, 3, 3] from the static tracks (src/tracker/README.md, "Static points")."""
    k_model = window.k * torch.cat([window.to_model, window.to_model.new_ones(1)])[:, None]
    visible = seen > 0.5
    world = transform(window.c2w_init, window.point) * visible[..., None]
    world = world.sum(0) / (visible.sum(0)[:, None] + 1e-6)
    distance = (world - query_world(window, k_model, window.c2w_init)).square().sum(-1)
    tracks = (moving < 0.5).nonzero()[:, 0]
    tracks = tracks[distance[tracks].argsort(stable=True)[:MAX_STATIC]]
    problem = window.c2w_init, window.k, world[tracks], window.track[:, tracks, :2], visible[:, tracks]
    c2w, k, _ = bundle.adjust(*(part.cpu().numpy() for part in problem))
    return torch.from_numpy(c2w).to(window.k), torch.from_numpy(k).to(window.k)


def refine(window: Window, steps: dict[str, Tensor], stride: int, replace_ratio: float,
           fixed_camera: bool) -> None:
    """src/tracker/README.md, "An iteration: the geometry": the network's steps onto the state."""
    logits, point = window.logits, steps["point"]
    logits["vis"], logits["conf"] = (a + b for a, b in zip((logits["vis"], logits["conf"]),
                                                           steps["vis_conf"].unbind(-1)))
    logits["dyn"] = logits["dyn"] + point[..., 3]
    logits["weight"] = logits["weight"] + steps["weight"][..., 0]
    z = window.track[..., 2] if window.track is not None else window.z.expand(len(window.xy), -1)
    z = z + (window.hi[2] - window.lo[2]) / 2 * point[..., 2]
    window.xy = window.xy + steps["flow"]
    window.track = torch.cat([window.xy * stride / window.to_model, z[..., None]], -1)
    window.point = window.unreplaced = window.denormalise(window.normal + point[..., :3])

    h, w = window.depth.shape[1:]
    x, y, _ = window.track.unbind(-1)
    seen = logits["conf"].sigmoid() * logits["vis"].sigmoid() * ((x > 0) & (x < w) & (y > 0) & (y < h))
    moving = logits["dyn"].sigmoid() * logits["weight"].sigmoid()
    moving[:, :window.users] = 1
    moving = moving.mean(0)

    found = depth_lookup(window)
    window.replaced = (found > 0) & (logits["vis"].sigmoid() > 0.5) & steady(found, window.z, replace_ratio)
    window.point = torch.where(window.replaced[..., None],
                               unproject(window.k[:, None], window.track[..., :2], found), window.point)
    if not fixed_camera:
        window.c2w_init = init_cameras(window, seen, moving)
        window.c2w, window.k = adjust(window, seen, moving)
    window.normal = window.normalise(window.point)
    window.track = torch.cat([window.track[..., :2], window.point[..., 2:]], -1)


def results(window: Window, size: tuple[int, int], order: Tensor) -> dict[str, Tensor]:
    """src/tracker/README.md, "Output of a window", in pixels of the video and in the order of the caller's
    queries."""
    h, w = window.depth.shape[1:]
    sx, sy = size[1] / w, size[0] / h
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    logits = {name: part[:, :window.users][:, back] for name, part in window.logits.items()}
    maps = torch.stack([window.depth, window.valid.float()], 1)
    maps = F.interpolate(maps, size, mode="bilinear", align_corners=True)
    return {"tracks": (window.track * window.track.new_tensor([sx, sy, 1]))[:, :window.users][:, back],
            "camera_points": window.point[:, :window.users][:, back],
            "visibility": logits["vis"].sigmoid() + 0.2, "confidence": logits["conf"].sigmoid(),
            "dynamic": logits["dyn"].sigmoid().mean(0), "c2w": window.c2w,
            "intrinsics": scaled(window.k, sx, sy), "depth": maps[:, 0], "valid": maps[:, 1]}


def run(model: Tracker, clip: Clip, support: int = 756, seed: int = 0, iterations: int = 4,
        replace_ratio: float = 0.2, fixed_camera: bool = False, reference_way: bool = False,
        chunk: int = 32, after: Callable[[Window], None] | None = None) -> dict[str, Tensor]:
    """The whole clip in one window. `reference_way` computes as the reference does: all frames
    through the encoder and all tracks through every level at once, with all intermediates, and
    what depends on the query alone anew in each iteration and frame. `after` sees the state after
    each iteration."""
    if len(clip.video) > model.window:
        raise ValueError(f"{len(clip.video)} frames are more than a window of {model.window}")
    order = clip.queries[:, 0].argsort(stable=True)
    window = window_init(model, clip, clip.queries[order], support, seed, reference_way)
    queries = [None] * LEVELS
    if not reference_way:
        queries = [model.query_features(t, p) for t, p in zip(window.cache.templates, window.cache.template_points)]
    for _ in range(iterations):
        steps = model.update(window.cache, track_state(window), queries,
                             len(window.query) if reference_way else chunk)
        refine(window, steps, model.stride, replace_ratio, fixed_camera)
        if after:
            after(window)
    return results(window, tuple(clip.video.shape[2:]), order)
