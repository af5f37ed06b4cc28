"""What the lite front starts from: whitened patches, sine positions, heads that attend to what is near."""
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from common import layers, tensorfile
from common.config import FRONT
from front import data
from front.model import Front


def principal_patches(model: Front, clips: data.Clips, seed: int) -> None:
    """The patch convolution gives the patches' principal components, whitened: unit size, fixed."""
    conv = model.aggregator.patch_embed.patch_embed.proj
    size, width = conv.kernel_size[0], conv.out_channels
    parts = []
    for i in range(min(400, 20 * len(clips))):
        video = data.sample(clips, [seed, 1 << 30, i], 1)[0]
        parts.append(F.unfold(model.normalise(torch.from_numpy(video)), size, stride=size)[0].T)
    x = torch.cat(parts)
    mean = x.mean(0)
    weight = layers.principal_components(x - mean, width, 1e-6)
    conv.weight.copy_(weight.view_as(conv.weight))
    conv.bias.copy_(-weight @ mean)
    conv.requires_grad_(False)


def sine_positions(model: Front) -> None:
    """Sines and cosines of row and column, of about the size of the patches' components."""
    embed = model.aggregator.patch_embed
    table = layers.sine_positions(embed.grid, embed.pos_embed.shape[-1], 2.5)
    embed.pos_embed[:, 1:] = 0.5 * table.flatten(0, 1)


def local_attention(model: Front) -> None:
    """Biases of q and k that let each head of the aggregator attend to its own neighbourhood
    at first: RoPE makes the constant part of q k a bump over the offset between two tokens."""
    head = FRONT["rope_head_dim"]
    quarter = head // 4
    rate = FRONT["rope_base"] ** (-torch.arange(quarter) / quarter)
    sign = 1 - 2.0 * (torch.arange(quarter) % 2)          # the q/k norm takes the mean away
    zero = torch.zeros(quarter)
    agg = model.aggregator
    for i, block in enumerate([*agg.frame_blocks, *agg.global_blocks]):
        side = 2 if i % 2 else -2
        q, k, _ = block.attn.qkv.bias.view(3, -1, head)
        for h, offset in enumerate(((0, 0), (side, 0), (0, -side))):
            q[h] = torch.cat([sign, zero, sign, zero])
            rotated = [(sign * (rate * d).cos(), -sign * (rate * d).sin()) for d in offset]
            k[h] = torch.cat([*rotated[0], *rotated[1]])


@torch.no_grad()
def initialise(model: Front, readouts: nn.ModuleList, clips: data.Clips, seed: int) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(0.3)
    principal_patches(model, clips, seed)
    sine_positions(model)
    local_attention(model)
    still = model.camera_head.pose_branch.fc2
    still.weight.zero_()
    still.bias.copy_(torch.tensor([0, 0, 0, 0, 0, 0, 1, 0.75, 0.95]))
    for readout in readouts:
        nn.init.normal_(readout.linear.weight, std=0.02)
        nn.init.zeros_(readout.linear.bias)


@torch.no_grad()
def grown(model: Front, path: Path) -> None:
    """Exported weights, into a model that may have more blocks and wider MLPs: what is new adds nothing at
    first."""
    file = tensorfile.Reader(path)
    for name, tensor in model.state_dict().items():
        if name not in file.rows:
            if name.endswith(("attn.proj.weight", "attn.proj.bias", "mlp.fc2.weight", "mlp.fc2.bias")):
                tensor.zero_()
            continue
        old = file[name]
        if name.endswith("mlp.fc2.weight"):
            tensor.zero_()
        tensor[tuple(map(slice, old.shape))] = old
