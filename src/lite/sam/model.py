"""Segment Anything in PyTorch: points and boxes on a picture to masks (src/sam/README.md).

Tensor names are the published ones; the mask-prompt branch, which the pipeline never reaches, is
left out. S the side of the model's image, G = S / 16 its grid, D the decoder's width.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.compat import attention, plain_attention

EPS, FINAL_EPS = 1e-6, 1e-5


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B, C, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class VisionAttention(nn.Module):
    """Attention on a side x side window with decomposed relative positions."""

    def __init__(self, width: int, heads: int, side: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        batch, side, _, width = x.shape
        q, k, v = self.qkv(x).view(batch, side * side, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        at = torch.arange(side, device=x.device)
        at = at[:, None] - at + side - 1
        grid = q.unflatten(2, (side, side))
        rel_h = torch.einsum("bhyxc,ykc->bhyxk", grid, self.rel_pos_h[at])[..., :, None]
        rel_w = torch.einsum("bhyxc,xkc->bhyxk", grid, self.rel_pos_w[at])[..., None, :]
        bias = (rel_h + rel_w).reshape(batch, self.heads, side * side, side * side)
        y = plain_attention(q, k, v, bias)  # PyTorch 2 has no fast kernel for a bias that learns
        return self.proj(y.transpose(1, 2).reshape(batch, side, side, width))


class VisionMlp(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.gelu(self.lin1(x)))


class VisionLayer(nn.Module):
    """src/sam/README.md, "Vision encoder"; window 0: global."""

    def __init__(self, width: int, heads: int, hidden: int, grid: int, window: int):
        super().__init__()
        self.window = window
        self.layer_norm1 = nn.LayerNorm(width, EPS)
        self.attn = VisionAttention(width, heads, window or grid)
        self.layer_norm2 = nn.LayerNorm(width, EPS)
        self.mlp = VisionMlp(width, hidden)

    def windowed(self, x: Tensor) -> Tensor:
        batch, grid, _, width = x.shape
        side = self.window
        n = -(-grid // side)
        x = F.pad(x, (0, 0, 0, n * side - grid, 0, n * side - grid))
        x = x.view(batch, n, side, n, side, width).transpose(2, 3).reshape(-1, side, side, width)
        x = self.attn(x).view(batch, n, n, side, side, width).transpose(2, 3)
        return x.reshape(batch, n * side, n * side, width)[:, :grid, :grid]

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer_norm1(x)
        x = x + (self.windowed(y) if self.window else self.attn(y))
        return x + self.mlp(self.layer_norm2(x))


class VisionEncoder(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width, grid, out = config["vision_hidden"], config["grid"], config["vision_out"]
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.patch_embed = nn.Module()
        self.patch_embed.projection = nn.Conv2d(3, width, config["patch_size"], config["patch_size"])
        self.layers = nn.ModuleList(
            VisionLayer(width, config["vision_heads"], config["vision_mlp"], grid,
                        0 if i in config["vision_global_layers"] else config["vision_window"])
            for i in range(config["vision_layers"]))
        self.neck = nn.Module()
        self.neck.conv1 = nn.Conv2d(width, out, 1, bias=False)
        self.neck.layer_norm1 = ChannelNorm(out, EPS)
        self.neck.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.neck.layer_norm2 = ChannelNorm(out, EPS)

    def forward(self, pixels: Tensor) -> Tensor:
        """[B, 3, S, S] to [B, D, G, G]."""
        x = self.patch_embed.projection(pixels).permute(0, 2, 3, 1) + self.pos_embed
        for layer in self.layers:
            x = layer(x)
        neck = self.neck
        x = neck.layer_norm1(neck.conv1(x.permute(0, 3, 1, 2)))
        return neck.layer_norm2(neck.conv2(x))


class PromptEncoder(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.point_embed = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)


class Attention(nn.Module):
    def __init__(self, width: int, inner: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = [proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                 for proj, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))]
        return self.out_proj(attention(*parts).transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int, downsample: int, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, width, heads)
        self.cross_attn_token_to_image = Attention(width, width // downsample, heads)
        self.cross_attn_image_to_token = Attention(width, width // downsample, heads)
        self.mlp = VisionMlp(width, hidden)
        for i in range(1, 5):
            setattr(self, f"layer_norm{i}", nn.LayerNorm(width, EPS))

    def forward(self, t: Tensor, z: Tensor, tp: Tensor, zp: Tensor) -> tuple[Tensor, Tensor]:
        t = self.self_attn(t, t, t) if self.first else t + self.self_attn(t + tp, t + tp, t)
        t = self.layer_norm1(t)
        t = self.layer_norm2(t + self.cross_attn_token_to_image(t + tp, z + zp, z))
        t = self.layer_norm3(t + self.mlp.lin2(self.mlp.lin1(t).relu()))
        z = self.layer_norm4(z + self.cross_attn_image_to_token(z + zp, t + tp, t))
        return t, z


class Head(nn.Module):
    def __init__(self, width: int, hidden: int, out: int, depth: int):
        super().__init__()
        self.proj_in = nn.Linear(width, hidden)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth - 2))
        self.proj_out = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj_in(x).relu()
        for layer in self.layers:
            x = layer(x).relu()
        return self.proj_out(x)


class MaskDecoder(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        d, masks = config["decoder_hidden"], config["decoder_mask_tokens"]
        self.iou_token = nn.Embedding(1, d)
        self.mask_tokens = nn.Embedding(masks, d)
        shape = config["decoder_heads"], config["decoder_downsample"]
        self.transformer = nn.Module()
        self.transformer.layers = nn.ModuleList(
            TwoWayBlock(d, config["decoder_mlp"], *shape, first=i == 0)
            for i in range(config["decoder_layers"]))
        self.transformer.final_attn_token_to_image = Attention(d, d // shape[1], shape[0])
        self.transformer.layer_norm_final_attn = nn.LayerNorm(d, FINAL_EPS)
        self.upscale_conv1 = nn.ConvTranspose2d(d, d // 4, 2, 2)
        self.upscale_layer_norm = ChannelNorm(d // 4, EPS)
        self.upscale_conv2 = nn.ConvTranspose2d(d // 4, d // 8, 2, 2)
        self.output_hypernetworks_mlps = nn.ModuleList(Head(d, d, d // 8, 3) for _ in range(masks))
        self.iou_prediction_head = Head(d, config["iou_hidden"], masks, config["iou_depth"])

    def forward(self, image: Tensor, position: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """image [B, D, G, G] (with its dense prompt), position [1, D, G, G], sparse [B, n, D] to
        masks [B, 4, 4G, 4G] and IoUs [B, 4]."""
        grid, inner = image.shape[2:], self.transformer
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tp = t = torch.cat([own.expand(len(sparse), -1, -1), sparse], 1)
        z, zp = (x.flatten(2).transpose(1, 2) for x in (image, position))
        for layer in inner.layers:
            t, z = layer(t, z, tp, zp)
        t = inner.layer_norm_final_attn(t + inner.final_attn_token_to_image(t + tp, z + zp, z))
        up = self.upscale_conv1(z.transpose(1, 2).unflatten(2, grid))
        up = F.gelu(self.upscale_conv2(F.gelu(self.upscale_layer_norm(up))))
        hyper = torch.stack([head(t[:, 1 + m]) for m, head in enumerate(self.output_hypernetworks_mlps)], 1)
        return torch.einsum("bmc,bcyx->bmyx", hyper, up), self.iou_prediction_head(t[:, 0])


class Sam(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.side, self.grid, d = config["image_size"], config["grid"], config["decoder_hidden"]
        # Of a lite model (crop.py).
        self.crop_scale, self.crops = config.get("zoom", 0), config.get("looks", 1)
        self.threshold = config.get("mask_threshold", 0)
        self.shared_image_embedding = nn.Module()
        self.shared_image_embedding.positional_embedding = nn.Parameter(torch.zeros(2, config["pos_feats"]))
        self.vision_encoder = VisionEncoder(config)
        self.prompt_encoder = PromptEncoder(d)
        self.mask_decoder = MaskDecoder(config)

    def code(self, place: Tensor) -> Tensor:
        """x, y of 0..1 to their position code, [..., 2] to [..., D]."""
        phase = (2 * place - 1).float() @ self.shared_image_embedding.positional_embedding
        return torch.cat([(2 * math.pi * phase).sin(), (2 * math.pi * phase).cos()], -1)

    def image_position(self) -> Tensor:
        at = (torch.arange(self.grid, dtype=torch.float64) + 0.5) / self.grid
        y, x = torch.meshgrid(at, at, indexing="ij")
        return self.code(torch.stack([x, y], -1)).permute(2, 0, 1)[None]

    def tokens(self, places: Tensor, kinds: Tensor) -> Tensor:
        """Places [..., 2] in the model image's pixels and what is there: 0 background, 1 object, 2 and
        3 a box's corners, -1 no point, -10 nothing at all; to tokens [..., D]."""
        encoder = self.prompt_encoder
        table = torch.cat([*(e.weight for e in encoder.point_embed), encoder.not_a_point_embed.weight])
        code = self.code((places.double() + 0.5) / self.side) * (kinds >= 0)[..., None]
        return code + table[kinds.clamp_min(-1)] * (kinds >= -1)[..., None]

    def sparse(self, points: Tensor | None, labels: Tensor | None, box: Tensor | None) -> Tensor:
        """Points [n, 2], labels [n], box [4], in the model image's pixels, to tokens [1, n', D]."""
        places, kinds = [], []
        if points is not None:
            places.append(points.double())
            kinds += [min(label, 1) for label in labels.tolist()]
            if box is None:
                places.append(points.new_zeros(1, 2).double())
                kinds.append(-1)
        if box is not None:
            places.append(box.double().view(2, 2))
            kinds += [2, 3]
        return self.tokens(torch.cat(places), torch.tensor(kinds))[None]

    def decode(self, embedding: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        image = embedding + self.prompt_encoder.no_mask_embed.weight[0][:, None, None]
        return self.mask_decoder(image, self.image_position(), sparse)

    def forward(self, pixels: Tensor, points: Tensor | None = None, labels: Tensor | None = None,
                box: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pixels [1, 3, S, S] and a prompt in its pixels to masks [1, 4, 4G, 4G], IoUs [1, 4]."""
        return self.decode(self.vision_encoder(pixels), self.sparse(points, labels, box))


def upscale(low: Tensor, side: int, model: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """src/sam/README.md, "Back to pixels": low resolution logits [..., 4G, 4G] to logits of `size`; `model`: the picture's
    size on the model image."""
    def resize(x: Tensor, to: tuple[int, int]) -> Tensor:
        return F.interpolate(x, to, mode="bilinear", align_corners=False)
    return resize(resize(low, (side, side))[..., :model[0], :model[1]], size)
