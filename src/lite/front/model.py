"""VGGT4Track in PyTorch: depth, confidence and cameras of a clip (src/front/README.md).

Tensor names are the published ones. T frames of H x W, a patch grid gh x gw, N = gh gw patches,
P = 1 + registers + N tokens a frame, D the width of the token stream.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.compat import attention
from common.frames import MEAN, STD
from common.layers import Mlp


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, norm_eps: float | None):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.q_norm = self.k_norm = nn.Identity()
        if norm_eps is not None:
            self.q_norm = nn.LayerNorm(width // heads, norm_eps)
            self.k_norm = nn.LayerNorm(width // heads, norm_eps)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        y = attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(batch, length, width))


class LayerScale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 0.01))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x


class Block(nn.Module):
    """src/front/README.md, "The transformer block"; qk_norm_eps None: neither q/k norm nor RoPE."""

    def __init__(self, width: int, heads: int, ratio: int, eps: float,
                 qk_norm_eps: float | None = None):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads, qk_norm_eps)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = Mlp(width, ratio * width)
        self.ls2 = LayerScale(width)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None = None) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), rope))
        return x + self.ls2(self.mlp(self.norm2(x)))


def rope_table(yx: Tensor, head: int, base: float) -> tuple[Tensor, Tensor]:
    """cos and sin [P, head] for token positions (y, x) [P, 2]: y rotates the first half, x the
    other."""
    quarter = head // 4
    rate = base ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angle = yx.double()[:, :, None] * rate
    angle = torch.cat([angle, angle], -1).flatten(1).float()
    return angle.cos(), angle.sin()


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """RoPE on [batch, heads, P, head]."""
    cos, sin = rope
    y1, y2, x1, x2 = x.chunk(4, -1)
    return x * cos + torch.cat([-y2, y1, -x2, x1], -1) * sin


class PatchEmbed(nn.Module):
    """DINOv2 ViT with registers (src/front/README.md, "Patch embedding")."""

    def __init__(self, config: dict):
        super().__init__()
        width, patch, grid = config["embed_dim"], config["patch_size"], config["pe_pos_grid"]
        self.grid = grid
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + grid * grid, width))
        self.register_tokens = nn.Parameter(
            0.02 * torch.randn(1, config["pe_num_register_tokens"], width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # published, not used
        self.blocks = nn.ModuleList(
            Block(width, config["pe_num_heads"], config["pe_mlp_ratio"], config["pe_norm_eps"])
            for _ in range(config["pe_depth"]))
        self.norm = nn.LayerNorm(width, config["pe_norm_eps"])

    def positions(self, gh: int, gw: int) -> Tensor:
        """[1, 1 + gh gw, D]"""
        table = self.pos_embed[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        if (gh, gw) != (self.grid, self.grid):
            table = F.interpolate(table, (gh, gw), mode="bicubic", antialias=True)
        return torch.cat([self.pos_embed[:, :1], table.flatten(2).transpose(1, 2)], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [T, 3, H, W] to patch tokens [T, N, D]."""
        patches = self.patch_embed.proj(images)
        count, _, gh, gw = patches.shape
        position = self.positions(gh, gw)
        first = torch.cat([self.cls_token + position[:, :1], self.register_tokens], 1)
        x = patches.flatten(2).transpose(1, 2) + position[:, 1:]
        x = torch.cat([first.expand(count, -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, first.shape[1]:])


class Aggregator(nn.Module):
    """src/front/README.md, "Alternating attention"."""

    def __init__(self, config: dict):
        super().__init__()
        width, heads, eps = config["embed_dim"], config["agg_num_heads"], config["agg_norm_eps"]
        self.base = config["rope_base"]
        self.head = width // heads
        self.taps = config["dpt_layers"]
        self.patch_embed = PatchEmbed(config)
        self.camera_token = nn.Parameter(0.02 * torch.randn(1, 2, 1, width))
        self.register_token = nn.Parameter(
            0.02 * torch.randn(1, 2, config["agg_num_register_tokens"], width))
        for name in ("frame_blocks", "global_blocks"):
            setattr(self, name, nn.ModuleList(
                Block(width, heads, config["agg_mlp_ratio"], eps, eps)
                for _ in range(config["agg_depth"])))

    def rope(self, special: int, gh: int, gw: int) -> tuple[Tensor, Tensor]:
        yx = torch.cartesian_prod(torch.arange(1, gh + 1), torch.arange(1, gw + 1))
        yx = torch.cat([torch.zeros(special, 2, dtype=yx.dtype), yx]).to(self.camera_token.device)
        return rope_table(yx, self.head, self.base)

    def forward(self, images: Tensor, clips: int = 1) -> list[Tensor]:
        """Normalised images [T, 3, H, W] to the tapped outputs [T, P, 2 D]; clips > 1: as many clips
        of T / clips frames, one after the other, each alone."""
        patches = self.patch_embed(images)
        count, _, width = patches.shape
        frames = count // clips
        special = torch.cat([self.camera_token, self.register_token], 2)[0]
        special = torch.cat([special[:1], special[1:].expand(frames - 1, -1, -1)])
        x = torch.cat([special.repeat(clips, 1, 1), patches], 1)
        size = self.patch_embed.patch_embed.proj.kernel_size[0]
        rope = self.rope(special.shape[1], images.shape[2] // size, images.shape[3] // size)
        everywhere = tuple(table.repeat(frames, 1) for table in rope)
        outputs = []
        for i, (frame, whole) in enumerate(zip(self.frame_blocks, self.global_blocks)):
            f = frame(x, rope)
            x = whole(f.reshape(clips, -1, width), everywhere).view_as(f)
            outputs.append(torch.cat([f, x], -1) if i in self.taps else None)
        return [outputs[i] for i in self.taps]


class CameraHead(nn.Module):
    """src/front/README.md, "Camera head"."""

    def __init__(self, config: dict):
        super().__init__()
        width, eps = 2 * config["embed_dim"], config["cam_norm_eps"]
        self.rounds = config["cam_iterations"]
        self.adaln_eps = config["cam_adaln_eps"]
        self.token_norm = nn.LayerNorm(width, eps)
        self.trunk_norm = nn.LayerNorm(width, eps)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, config["cam_target_dim"]))
        self.embed_pose = nn.Linear(config["cam_target_dim"], width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.trunk = nn.Sequential(*(
            Block(width, config["cam_num_heads"], config["cam_mlp_ratio"], eps)
            for _ in range(config["cam_trunk_depth"])))
        self.pose_branch = Mlp(width, width // 2, config["cam_target_dim"])

    def forward(self, tokens: Tensor) -> Tensor:
        """Camera tokens [.., T, 2 D] to the pose encoding after each round [rounds, .., T, 9]."""
        c = self.token_norm(tokens).view(-1, *tokens.shape[-2:])
        n = F.layer_norm(c, c.shape[-1:], eps=self.adaln_eps)
        pose, total, rounds = self.empty_pose_tokens.expand(*c.shape[:2], -1), 0, []
        for _ in range(self.rounds):
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(pose)).chunk(3, -1)
            x = self.trunk(gate * (n * (1 + scale) + shift) + c)
            pose = total = total + self.pose_branch(self.trunk_norm(x))
            rounds.append(torch.cat([pose[..., :7], pose[..., 7:].relu()], -1))
        return torch.stack(rounds).view(self.rounds, *tokens.shape[:-1], -1)


class ResidualUnit(nn.Module):
    """The skip adds relu(x), as the published activation overwrites its input."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.relu()
        return self.conv2(self.conv1(x).relu()) + x


class Fusion(nn.Module):
    def __init__(self, width: int, coarsest: bool):
        super().__init__()
        if not coarsest:
            self.resConfUnit1 = ResidualUnit(width)
        self.resConfUnit2 = ResidualUnit(width)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, coarser: Tensor | None, size: tuple[int, int]) -> Tensor:
        if coarser is not None:
            x = coarser + self.resConfUnit1(x)
        return self.out_conv(align(self.resConfUnit2(x), size))


def align(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


class DepthHead(nn.Module):
    """src/front/README.md, "Depth head"."""

    def __init__(self, config: dict):
        super().__init__()
        widths, width, tokens = config["dpt_out_channels"], config["dpt_features"], 2 * config["embed_dim"]
        self.ratio, self.omega = config["dpt_pos_ratio"], config["dpt_pos_omega"]
        self.chunk = config["dpt_chunk"]
        self.norm = nn.LayerNorm(tokens, config["dpt_norm_eps"])
        self.projects = nn.ModuleList(nn.Conv2d(tokens, w, 1) for w in widths)
        self.resize_layers = nn.ModuleList([
            nn.ConvTranspose2d(widths[0], widths[0], 4, 4),
            nn.ConvTranspose2d(widths[1], widths[1], 2, 2),
            nn.Identity(),
            nn.Conv2d(widths[3], widths[3], 3, 2, 1)])
        s = self.scratch = nn.Module()
        for k, w in enumerate(widths, 1):
            setattr(s, f"layer{k}_rn", nn.Conv2d(w, width, 3, padding=1, bias=False))
            setattr(s, f"refinenet{k}", Fusion(width, coarsest=k == 4))
        s.output_conv1 = nn.Conv2d(width, width // 2, 3, padding=1)
        s.output_conv2 = nn.Sequential(
            nn.Conv2d(width // 2, config["dpt_head_channels"], 3, padding=1), nn.ReLU(),
            nn.Conv2d(config["dpt_head_channels"], config["dpt_output_dim"], 1))
        self.to(memory_format=torch.channels_last)

    def uv(self, like: Tensor, aspect: float) -> Tensor:
        """The position embedding of a map [., C, h, w] in an image of width / height `aspect`."""
        _, channels, h, w = like.shape
        rate = self.omega ** (-torch.arange(channels // 4, dtype=torch.float64) / (channels // 4))
        diagonal = math.hypot(aspect, 1)

        def axis(count: int, span: float) -> Tensor:
            edge = span * (count - 1) / count
            at = torch.linspace(-edge, edge, count, dtype=torch.float64).float().double()
            angle = at[:, None] * rate
            return self.ratio * torch.cat([angle.sin(), angle.cos()], 1).float().T

        u = axis(w, aspect / diagonal)[:, None, :].expand(-1, h, -1)
        v = axis(h, 1 / diagonal)[:, :, None].expand(-1, -1, w)
        return torch.cat([u, v])[None].to(like.device)

    def frames(self, taps: list[Tensor], height: int, width: int, patch: int) -> tuple[Tensor, Tensor]:
        s, grid, aspect = self.scratch, (height // patch, width // patch), width / height
        maps = []
        for k, tokens in enumerate(taps):
            x = self.norm(tokens[:, -grid[0] * grid[1]:]).unflatten(1, grid).permute(0, 3, 1, 2)
            x = self.projects[k](x)
            x = self.resize_layers[k](x + self.uv(x, aspect))
            maps.append(getattr(s, f"layer{k + 1}_rn")(x))
        x = None
        for k in (3, 2, 1, 0):
            size = maps[k - 1].shape[2:] if k else (8 * grid[0], 8 * grid[1])
            x = getattr(s, f"refinenet{k + 1}")(maps[k], x, size)
        x = align(s.output_conv1(x), (height, width))
        x = s.output_conv2(x + self.uv(x, aspect))
        return x[:, 0].exp(), x[:, 1].sigmoid()

    def forward(self, taps: list[Tensor], height: int, width: int, patch: int) -> tuple[Tensor, Tensor]:
        """Tapped tokens [T, P, 2 D] to depth and confidence [T, H, W]."""
        parts = [self.frames([tap[i:i + self.chunk] for tap in taps], height, width, patch)
                 for i in range(0, len(taps[0]), self.chunk)]
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


class Front(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.patch = config["patch_size"]
        self.aggregator = Aggregator(config)
        self.camera_head = CameraHead(config)
        self.depth_head = DepthHead(config)

    def normalise(self, video: Tensor) -> Tensor:
        mean, std = (video.new_tensor(v)[:, None, None] for v in (MEAN, STD))
        return (video / 255 - mean) / std

    def forward(self, video: Tensor) -> dict[str, Tensor]:
        """video [T, 3, H, W], RGB 0..255, to depth and confidence [T, H, W], pose_enc [T, 9]."""
        taps = self.aggregator(self.normalise(video))
        pose_enc = self.camera_head(taps[-1][:, 0])[-1]
        depth, confidence = self.depth_head(taps, *video.shape[2:], self.patch)
        return {"depth": depth, "confidence": confidence, "pose_enc": pose_enc}


def cameras(pose_enc: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Pose encoding [T, 9] to camera-to-world [T, 4, 4] and intrinsics [T, 3, 3]
    (src/front/README.md, "Cameras")."""
    x, y, z, w = pose_enc[:, 3:7].unbind(-1)
    s = 2 / pose_enc[:, 3:7].square().sum(-1)
    rows = [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w),
            s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w),
            s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)]
    to_world = torch.stack(rows, -1).unflatten(-1, (3, 3)).transpose(1, 2)
    c2w = torch.eye(4).to(pose_enc).repeat(len(pose_enc), 1, 1)
    c2w[:, :3, :3] = to_world
    c2w[:, :3, 3] = -(to_world @ pose_enc[:, :3, None])[..., 0]
    k = torch.zeros_like(c2w[:, :3, :3])
    k[:, 0, 0] = width / 2 / (pose_enc[:, 8] / 2).tan()
    k[:, 1, 1] = height / 2 / (pose_enc[:, 7] / 2).tan()
    k[:, 0, 2], k[:, 1, 2], k[:, 2, 2] = width / 2, height / 2, 1
    return c2w, k
