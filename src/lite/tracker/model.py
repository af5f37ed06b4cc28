"""SpatialTrackerV2's network in PyTorch (src/tracker/README.md); window.py runs it on a clip.

Tensor names are the published ones without their PREFIX. A window of T frames and N tracks; C
feature channels, D the transformer's width. State is ordered [T, N, ...], tokens [N, T, ...].
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.compat import attention, plain_attention
from common.layers import Mlp

PREFIX = "spatrack.Track3D."
LEVELS, HEADS = 4, 8
DEGREE, DEGREE_FINE = 10, 12
CONTEXT = 6  # numbers that a track's 3D token also gets


@dataclass
class Sizes:
    """Widths that the configuration does not hold; `config["sizes"]` overrides them."""
    stages: tuple[int, ...] = (64, 96, 128, 128)
    mixed: int = 256
    channels: int = 128
    corr_hidden: int = 384
    corr: int = 256
    xyz_hidden: int = 128
    width: int = 384
    depth: int = 3
    virtual: int = 64
    ratio: int = 4
    embed_hidden: int | None = None  # None: as wide as the token


def plain_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    short = q.shape[-2] * k.shape[-2] <= 64
    return (plain_attention if short else attention)(q, k, v)  # the plain one is faster when short


class Attention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(width, 2 * width)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x [..., L, D], context [..., S, D]; leading axes of x may be 1 where context's are not."""
        lead = context.shape[:-2]

        def split(y: Tensor) -> Tensor:
            y = y.expand(*lead, -1, -1).reshape(-1, *y.shape[-2:])
            return y.unflatten(-1, (HEADS, -1)).transpose(1, 2)

        k, v = self.to_kv(context).chunk(2, -1)
        y = attend(split(self.to_q(x)), split(k), split(v))
        return self.to_out(y.transpose(1, 2).flatten(2).unflatten(0, lead))


class SelfBlock(nn.Module):
    def __init__(self, width: int, ratio: int):
        super().__init__()
        self.attn = Attention(width)
        self.mlp = Mlp(width, ratio * width, width, "tanh")

    def forward(self, x: Tensor) -> Tensor:
        n = plain_norm(x)
        x = x + self.attn(n, n)
        return x + self.mlp(plain_norm(x))


class CrossBlock(nn.Module):
    def __init__(self, width: int, ratio: int):
        super().__init__()
        self.norm_context = nn.LayerNorm(width)
        self.cross_attn = Attention(width)
        self.mlp = Mlp(width, ratio * width, width, "tanh")

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.cross_attn(plain_norm(x), self.norm_context(context))
        return x + self.mlp(plain_norm(x))


class EncoderBlock(nn.Module):
    def __init__(self, width: int, out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride)) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.instance_norm(self.conv1(x)).relu()
        y = F.instance_norm(self.conv2(y)).relu()
        if self.downsample:
            x = F.instance_norm(self.downsample(x))
        return (x + y).relu()


class Encoder(nn.Module):
    """Images [T, 3, h, w], 0..255, to unit features [T, C, h / 4, w / 4]."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        stages, previous = sizes.stages, (sizes.stages[0], *sizes.stages)
        self.conv1 = nn.Conv2d(3, stages[0], 7, 2, 3)
        for i, width in enumerate(stages):
            setattr(self, f"layer{i + 1}", nn.Sequential(
                EncoderBlock(previous[i], width, 2 if i else 1), EncoderBlock(width, width, 1)))
        self.conv2 = nn.Conv2d(sum(stages), sizes.mixed, 3, padding=1)
        self.conv3 = nn.Conv2d(sizes.mixed, sizes.channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        size = (images.shape[2] // 4, images.shape[3] // 4)
        x, parts = F.instance_norm(self.conv1(images)).relu(), []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            parts.append(F.interpolate(x, size, mode="bilinear", align_corners=True))
        x = self.conv3(F.instance_norm(self.conv2(torch.cat(parts, 1))).relu())
        return x / x.square().sum(1, keepdim=True).clamp_min(1e-12).sqrt()


def posenc(x: Tensor, degree: int) -> Tensor:
    scaled = (x[..., None, :] * 2.0 ** torch.arange(degree, device=x.device)[:, None]).flatten(-2)
    return torch.cat([x, scaled.sin(), (scaled + math.pi / 2).sin()], -1)


def time_table(length: int, width: int, frames: int) -> Tensor:
    """The time embedding [T, width]: a table of `length` rows, resampled linearly."""
    rate = 10000 ** (-torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angle = torch.arange(length, dtype=torch.float64)[:, None] * rate
    table = torch.cat([angle.sin(), angle.cos()], 1).float()
    if frames == length:
        return table
    return F.interpolate(table.T[None], frames, mode="linear")[0].T


def pyramid(features: Tensor) -> list[Tensor]:
    """Features [T, C, h, w] of level 0 to those of all levels."""
    levels = [features]
    while len(levels) < LEVELS:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


class Normalised:
    """What has a box lo..hi [3] of camera-space points, which is -1..1 to the network."""
    lo: Tensor
    hi: Tensor

    def normalise(self, p: Tensor) -> Tensor:
        return 2 * (p - self.lo) / (self.hi - self.lo) - 1

    def denormalise(self, p: Tensor) -> Tensor:
        return (p + 1) / 2 * (self.hi - self.lo) + self.lo


def patches(maps: Tensor, xy: Tensor, radius: int) -> Tensor:
    """Bilinear samples (borders repeated) of [T, C, h, w] around [T, n, 2]: [T, n, side^2, C], the
    first of a patch's two axes along x."""
    h, w = maps.shape[2:]
    steps = torch.arange(-radius, radius + 1, device=xy.device)
    at = xy[:, :, None] + torch.cartesian_prod(steps, steps)
    grid = at * (2 / at.new_tensor([max(w - 1, 1), max(h - 1, 1)])) - 1
    return F.grid_sample(maps, grid, "bilinear", "border", align_corners=True).permute(0, 2, 3, 1)


def query_patches(maps: Tensor, frame: Tensor, xy: Tensor, radius: int) -> Tensor:
    """A patch for each track, in its own frame [N]: [N, side^2, C]."""
    out = maps.new_empty(len(frame), (2 * radius + 1) ** 2, maps.shape[1])
    parts = [(frame == f).nonzero()[:, 0] for f in range(len(maps))]
    rows = [patches(maps[f:f + 1], xy[None, at], radius)[0] for f, at in enumerate(parts) if len(at)]
    return out.index_copy(0, torch.cat(parts), torch.cat(rows))


def knn(vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` shortest of [..., K, 3] after the very shortest, and their indices."""
    order = vectors.square().sum(-1).sqrt().sort(dim=-1, stable=True).indices[..., 1:1 + count, None]
    return vectors.gather(-2, order.expand(*order.shape[:-1], 3)), order


@dataclass
class FeatureCache:
    """What the tracks are correlated with, per level: features [T, C, h, w], normalised points [T, 3, h, w],
    and patches of both at the queries, [N, side^2, .]."""
    features: list[Tensor]
    points: list[Tensor]
    templates: list[Tensor]
    template_points: list[Tensor]


@dataclass
class TrackState:
    """What the iterations refine, and the other inputs of one. xy [T, N, 2] is in units of 4 model pixels,
    normal [T, N, 3] the normalised camera-space points, valid [T, N] where they lie before the camera,
    rigid [T, N, 3] the query's point carried into each frame, normalised, frame [N] that of the query."""
    xy: Tensor
    normal: Tensor
    valid: Tensor
    rigid: Tensor
    frame: Tensor
    vis: Tensor
    conf: Tensor
    dyn: Tensor


class CorrTransformer(nn.Module):
    def __init__(self, channels: int, out: int, ratio: int):
        super().__init__()
        self.xblock1_2 = CrossBlock(channels, ratio)
        self.aggr = CrossBlock(channels, ratio)
        self.out_proj = nn.Linear(channels, out)

    def forward(self, query: Tensor, target: Tensor, position: Tensor) -> Tensor:
        a = self.xblock1_2(query, target).mean(-2, keepdim=True)
        return self.out_proj(self.aggr(a, target + position))[..., 0, :]


def blocks(kind: type, sizes: Sizes) -> nn.ModuleList:
    return nn.ModuleList(kind(sizes.width, sizes.ratio) for _ in range(sizes.depth))


class UpdateFormer(nn.Module):
    def __init__(self, token: int, sizes: Sizes):
        super().__init__()
        self.virual_tracks = nn.Parameter(torch.randn(1, sizes.virtual, 1, sizes.width))
        self.input_transform = nn.Linear(token, sizes.width)
        self.flow_head = nn.Linear(sizes.width, 2)
        self.vis_conf_head = nn.Linear(sizes.width, 2)
        self.time_blocks = blocks(SelfBlock, sizes)
        self.space_virtual_blocks = blocks(SelfBlock, sizes)
        self.space_point2virtual_blocks = blocks(CrossBlock, sizes)
        self.space_virtual2point_blocks = blocks(CrossBlock, sizes)


class UpdateFormer3D(nn.Module):
    def __init__(self, sizes: Sizes):
        super().__init__()
        self.space_switcher_blocks = blocks(SelfBlock, sizes)
        self.space_track3d2switcher_blocks = blocks(CrossBlock, sizes)
        self.space_switcher2track3d_blocks = blocks(CrossBlock, sizes)
        self.space_virtual2switcher_blocks = blocks(CrossBlock, sizes)
        self.space_switcher2virtual_blocks = blocks(CrossBlock, sizes)
        self.time_blocks_new = blocks(SelfBlock, sizes)
        self.point_head = nn.Linear(sizes.width, 4)
        self.pro_analysis_w_head = nn.Linear(sizes.width, 1)
        self.residual_head = nn.Linear(sizes.width, sizes.width)

    def space(self, u: UpdateFormer, j: int, v: Tensor, p: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Virtual tokens v, points p and 3D tokens d of every frame, [T, n, D]."""
        s = self.space_track3d2switcher_blocks[j](v[:, 1:], d)
        v = u.space_virtual2point_blocks[j](v, p)
        s = self.space_virtual2switcher_blocks[j](s, v)
        exchange = self.space_switcher2virtual_blocks[j]
        v, s = v + self.residual_head(exchange(v, s)), s + self.residual_head(exchange(s, v))
        v = u.space_virtual_blocks[j](v)
        s = self.space_switcher_blocks[j](s)
        return v, u.space_point2virtual_blocks[j](p, v), self.space_switcher2track3d_blocks[j](d, s)

    def forward(self, u: UpdateFormer, token: Tensor, token3: Tensor) -> dict[str, Tensor]:
        """Tokens [N, T, token] to steps [T, N, .]: flow 2, vis_conf 2, point 4 (normalised step,
        dynamic logit), weight 1."""
        tracks, frames = token.shape[:2]
        x = torch.cat([u.input_transform(token), u.virual_tracks[0].expand(-1, frames, -1)])
        d = u.input_transform(token3)
        for j in range(len(u.time_blocks)):
            x, d = u.time_blocks[j](x), self.time_blocks_new[j](d)
            p, v, d = x[:tracks].transpose(0, 1), x[tracks:].transpose(0, 1), d.transpose(0, 1)
            v, p, d = self.space(u, j, v, p, d)
            x, d = torch.cat([p, v], 1).transpose(0, 1), d.transpose(0, 1)
        p, d = x[:tracks].transpose(0, 1), d.transpose(0, 1)
        return {"flow": u.flow_head(p), "vis_conf": u.vis_conf_head(p),
                "point": self.point_head(d), "weight": self.pro_analysis_w_head(d)}


class Tracker(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        model, track = config["model"], config["model"]["Track_cfg"]
        sizes = Sizes(**config.get("sizes", {}))
        self.window, self.resolution = track["s_wind"], model["resolution"]
        self.time_length, self.stride = track["base"]["window_len"], track["base"]["stride"]
        self.radius = track["base"]["corr_radius"]
        self.knn = track["base"].get("neighbours", 16)
        self.model_size = tuple(track["base"].get("model_resolution", (384, 512)))  # height, width
        side = 2 * self.radius + 1
        c, corr = sizes.channels, sizes.corr
        motion, fine = 4 * (1 + 2 * DEGREE), 1 + 2 * DEGREE_FINE
        self.token = 2 + LEVELS * corr + motion
        self.fnet = Encoder(sizes)
        self.corr_mlp = Mlp(side ** 4, sizes.corr_hidden, corr)
        self.rel_pos_mlp = Mlp(3 * fine, c, c)
        self.corr_xyz_mlp = Mlp(2 * c, c, c)
        self.corr_transformer = nn.ModuleList([CorrTransformer(c, corr, sizes.ratio)])
        self.corr_depth_mlp = Mlp(corr, corr, corr)
        self.xyz_mlp = Mlp(6 * (1 + 2 * DEGREE), sizes.xyz_hidden, motion)
        self.proj_xyz_embed = Mlp(self.token + CONTEXT * fine, sizes.embed_hidden or self.token, self.token)
        self.updateformer = UpdateFormer(self.token, sizes)
        self.updateformer3D = UpdateFormer3D(sizes)

    def knn_features(self, vectors: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets [..., K, 3] and features [..., K, C] of a patch to the encoded offsets of its
        nearest points and their mix with the features, both [..., knn, C]."""
        near, order = knn(vectors, self.knn)
        position = self.rel_pos_mlp(posenc(near, DEGREE_FINE))
        gathered = features.gather(-2, order.expand(*order.shape[:-1], features.shape[-1]))
        return position, self.corr_xyz_mlp(torch.cat([position, gathered], -1))

    def query_features(self, templates: Tensor, template_points: Tensor) -> Tensor:
        """[N, knn, C]"""
        centre = template_points.shape[1] // 2
        return self.knn_features(template_points - template_points[:, centre, None], templates)[1]

    def correlate(self, cache: FeatureCache, level: int, state: TrackState, tracks: slice, query: Tensor | None) \
            -> tuple[Tensor, Tensor]:
        """Both branches of a level [T, n, corr]. query [N, knn, C] is what query_features made;
        None: the reference's way, which makes it anew in every iteration, repeats it for every
        frame, and samples the features for each branch."""
        xy, templates = state.xy[:, tracks] / 2 ** level, cache.templates[level][tracks]
        features = patches(cache.features[level], xy, self.radius)
        volume = torch.einsum("tnac,nbc->tnab", features, templates)
        corr = self.corr_mlp(volume.flatten(2))
        points = patches(cache.points[level], xy, self.radius)
        if query is None:
            query = self.query_features(templates, cache.template_points[level][tracks])
            query = query.repeat(len(xy), 1, 1, 1)
            features = patches(cache.features[level], xy, self.radius)
        else:
            query = query[None, tracks]
        position, target = self.knn_features(points - state.normal[:, tracks, None], features)
        corr3 = self.corr_depth_mlp(self.corr_transformer[0](query, target, position))
        return corr, corr3 * state.valid[:, tracks, None]

    def tokens(self, cache: FeatureCache, state: TrackState, tracks: slice, queries: list[Tensor | None]) \
            -> tuple[Tensor, Tensor]:
        """Both tokens [n, T, token] of some tracks."""
        frames = len(state.xy)
        logits = torch.stack([state.vis, state.conf], -1)[:, tracks]
        parts = [self.correlate(cache, level, state, tracks, queries[level]) for level in range(LEVELS)]
        h, w = self.model_size
        cells = state.xy.new_tensor([w // self.stride, h // self.stride])
        motion = both_differences(state.xy[:, tracks] / cells)
        motion3 = both_differences(state.normal[:, tracks])
        t = torch.arange(frames, device=logits.device)[:, None]
        context = torch.cat([
            ((state.frame[tracks] - t) / frames)[..., None],
            (state.rigid - state.normal)[:, tracks],
            state.conf[:, tracks, None].sigmoid(),
            state.dyn[:, tracks, None].sigmoid().mean(0, keepdim=True).expand(frames, -1, -1)], -1)
        token = torch.cat([logits, *(p[0] for p in parts), posenc(motion, DEGREE)], -1)
        token3 = self.proj_xyz_embed(torch.cat([
            logits, *(p[1] for p in parts), self.xyz_mlp(posenc(motion3, DEGREE)),
            posenc(context, DEGREE_FINE)], -1))
        time = time_table(self.time_length, self.token, frames).to(logits.device)[:, None]
        return (token + time).transpose(0, 1), (token3 + time).transpose(0, 1)

    def update(self, cache: FeatureCache, state: TrackState, queries: list[Tensor | None], chunk: int) \
            -> dict[str, Tensor]:
        """One iteration's steps, tokens made for `chunk` tracks at a time."""
        count = state.xy.shape[1]
        parts = [self.tokens(cache, state, slice(n, n + chunk), queries) for n in range(0, count, chunk)]
        token, token3 = (torch.cat(p) for p in zip(*parts))
        return self.updateformer3D(self.updateformer, token, token3)


def both_differences(x: Tensor) -> Tensor:
    """[T, N, c] to x_t - x_{t+1}, x_t - x_{t-1}, 0 beyond the window: [T, N, 2 c]."""
    step = x[:-1] - x[1:]
    zero = torch.zeros_like(x[:1])
    return torch.cat([torch.cat([step, zero]), torch.cat([zero, -step])], -1)
