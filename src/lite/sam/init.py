"""What the lite SAM starts from.

With random weights its masks stay the same wherever the prompt is, for many hundred steps: places
and pictures reach a mask only through products of several layers. So what a mask needs stands in its
place from the beginning, and training may change all of it: boxes and points mark what is inside
(first block of the decoder), the masks' tokens gather the colours there and the IoU token those
around, and the image is compared with both (second block).
"""
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from common import layers, tensorfile
from sam import data
from sam.model import Attention, Sam

FREE = 16           # features of the position code that are 0 everywhere, for kinds, marks and content
CONTENT = 8         # the last ones of them: what is compared
EDGES = 1 / 8, 3 / 8, 5 / 8         # frequencies of a step, in periods over half of the picture
KIND = 3.0          # size of the feature that marks a token's kind
STEP, BUMP, BIAS = 3.0, 1.5, 1.5    # of queries and keys that compare places
INSIDE, WHERE, ALIKE = 1.5, 0.3, 1.4  # of what is marked, of looking for it, of what is compared
QUIET = 0.05        # of the image embedding in the features of positions and marks


def principal_patches(model: Sam, source: data.Source, seed: int) -> Tensor:
    """The patch convolution gives the patches' principal components, whitened: unit size. Returns
    the matrix [3, width] from them to the patches' mean colours, whitened too."""
    conv = model.vision_encoder.patch_embed.projection
    size, width, parts = conv.kernel_size[0], conv.out_channels, []
    for i in range(60):
        sample = data.sample(source, [seed, 1 << 21, i], model.side, 4 * model.grid, 2)
        pixels = torch.from_numpy(sample["pixels"])[None]
        parts.append(torch.nn.functional.unfold(pixels, size, stride=size)[0].T)
    x = torch.cat(parts)
    weight = layers.principal_components(x, width, 1e-5)
    for parameter, part in ((conv.weight, weight), (conv.bias, -weight @ x.mean(0))):
        parameter.zero_()           # a patch may have fewer values than a token
        parameter[:len(part)] = part.view(-1, *parameter.shape[1:])
    mean = x.view(len(x), 3, -1).mean(2)
    size, axes = torch.linalg.eigh(torch.cov(mean.T))
    colours = torch.zeros(3, width)
    colours[:, :len(weight)] = (torch.linalg.pinv(weight).view(3, -1, len(weight)).mean(1).T @ axes
                                * size.rsqrt()).T
    return colours


def neck(model: Sam, colours: Tensor) -> None:
    """The content starts with the colours, so that comparing means something from the first step."""
    part = model.vision_encoder.neck
    size = part.layer_norm2.weight.fill_(QUIET)
    half = len(size) // 2
    size[half - CONTENT:half], size[2 * half - FREE:] = 1, 0.5
    for i, colour in enumerate(colours, half - CONTENT):
        part.conv1.weight[i, :, 0, 0] = colour
        part.conv2.weight[i], part.conv2.weight[i, i, 1, 1] = 0, 1


def image_positions(model: Sam) -> None:
    positions = model.vision_encoder.pos_embed
    positions.copy_(0.3 * layers.sine_positions(positions.shape[1], positions.shape[-1], 3)[None])


def convolutional_attention(model: Sam) -> None:
    """The encoder's heads start as convolutions do (d'Ascoli et al. 2021, ConViT): each attends to
    one side, one to three tokens off, by a constant query and a parabola over the distance. One table
    serves all heads: each has its own row of the four."""
    ways = (-1, 0), (1, 0), (0, -1), (0, 1)
    for i, layer in enumerate(model.vision_encoder.layers):
        attention, reach = layer.attn, 1 + i % 3
        width, part = attention.proj.in_features, attention.rel_pos_h.shape[1]
        off = torch.arange(len(attention.rel_pos_h)) - len(attention.rel_pos_h) // 2
        for table, axis in ((attention.rel_pos_h, 0), (attention.rel_pos_w, 1)):
            for row, way in enumerate(ways):
                table[:, row] = -(off / reach - way[axis]).square().clamp_max(9)
        attention.qkv.weight[:2 * width].mul_(0.5)
        attention.qkv.bias.zero_()
        query, bias = (x[:width].view(attention.heads, part, -1)
                       for x in (attention.qkv.weight, attention.qkv.bias))
        query[:, :len(ways)] = 0
        for head in range(attention.heads):
            bias[head, head % len(ways)] = 1
        attention.proj.weight.mul_(0.5)
        layer.mlp.lin2.weight.mul_(0.5)


def position_code(model: Sam) -> list[Tensor]:
    """Every feature runs along one axis; the last FREE ones are 0 everywhere (their cosines 1).
    Returns the features of x and of y: EDGES, then from coarse to fine."""
    code = model.shared_image_embedding.positional_embedding
    code.zero_()
    used = code.shape[1] - FREE
    fine = torch.logspace(math.log10(1 / 4), math.log10(model.grid / 6), used // 2 - len(EDGES))
    for axis in (0, 1):
        code[axis, axis:used:2] = torch.cat([torch.tensor(EDGES), fine])
    return [torch.arange(axis, used, 2) for axis in (0, 1)]


def kinds_of_tokens(model: Sam) -> None:
    """Each kind of point has a free feature of its own, and so has each of the decoder's tokens."""
    prompts, decoder, width = model.prompt_encoder, model.mask_decoder, model.code(torch.zeros(2)).shape[-1]
    own = [(e.weight[0], width // 2 - FREE + i) for i, e in enumerate(prompts.point_embed)]
    own += [(token, width - 1 - i)
            for i, token in enumerate([decoder.iou_token.weight[0], *decoder.mask_tokens.weight])]
    for embedding, feature in own:
        embedding.mul_(0.1)
        embedding[width // 2 - FREE:width // 2] = 0
        embedding[feature] = KIND
    prompts.not_a_point_embed.weight.mul_(0.1)
    prompts.no_mask_embed.weight.mul_(0.1)


def rows_of(attention: Attention, head: int) -> int:
    """The first row of a head in its projections."""
    return head * len(attention.q_proj.weight) // attention.heads


def bump(attention: Attention, head: int, features: list[int]) -> None:
    """The head attends to near places: cos(f x) cos(f y) + sin(f x) sin(f y) = cos(f (x - y))."""
    row, half = rows_of(attention, head), attention.q_proj.in_features // 2
    for i, f in enumerate(features):
        for proj in (attention.q_proj, attention.k_proj):
            proj.weight[row + 2 * i, f] += BUMP
            proj.weight[row + 2 * i + 1, half + f] += BUMP


def step(attention: Attention, head: int, features: list[int], corners: list[int]) -> None:
    """The head attends to tokens that lie left of a place (or above it), by a sum of sin(f (x - y)), and
    a little more to a box's corners than to the others."""
    row, half = rows_of(attention, head), attention.q_proj.in_features // 2
    query, key = attention.q_proj, attention.k_proj
    for i, f in enumerate(features):
        size = STEP / (2 * i + 1) ** 0.5
        query.weight[row + 2 * i, f] += size
        query.weight[row + 2 * i + 1, half + f] += size
        key.weight[row + 2 * i, half + f] += size
        key.weight[row + 2 * i + 1, f] -= size
    last = row + 2 * len(features)
    query.bias[last] = BIAS
    key.weight[last, corners] += 1


def inside(attention: Attention, axes: list[Tensor], free: int, fine: list[list[int]]) -> None:
    """From image to tokens two heads are steps whose values are the first corner less the last: what
    lies inside the box, along x and along y; two are bumps around points. They write into the first
    four free features of the image."""
    off, on, first, last = range(free, free + 4)
    for head, (plus, minus) in enumerate(((first, last), (first, last), (on, off), (on, off))):
        if head < 2:
            step(attention, head, axes[head][:len(EDGES)].tolist(), [first, last])
        else:
            bump(attention, head, fine[head - 2])
        write(attention, head, {plus: 1, minus: -1}, free + head)


def write(attention: Attention, head: int, values: dict[int, float], feature: int) -> None:
    """The head's first value is a sum of features and goes into one of the image."""
    row, value, out = rows_of(attention, head), attention.v_proj, attention.out_proj
    value.weight[row], value.bias[row], out.weight[:, row], out.weight[feature] = 0, 0, 0, 0
    for f, size in values.items():
        value.weight[row, f] = size
    out.weight[feature, row] = INSIDE


def gather(attention: Attention, head: int, free: int) -> None:
    """The head of a mask's token attends to what is inside, that of the IoU token to what is not, and
    takes the content from there."""
    row, width = rows_of(attention, head), attention.q_proj.in_features
    attention.q_proj.weight[row], attention.k_proj.weight[row] = 0, 0
    attention.q_proj.weight[row, width - 5:] = torch.tensor([1.0, 1, 1, 1, -1])
    attention.k_proj.weight[row, free:free + 4] = WHERE
    for i in range(CONTENT):
        value, out = attention.v_proj.weight, attention.out_proj.weight
        value[row + i], out[:, row + i], feature = 0, 0, width // 2 - CONTENT + i
        value[row + i, feature], out[feature, row + i] = 1, 2


def compare(attention: Attention, head: int, free: int) -> None:
    """The head attends to tokens of the same content and marks whether they are the masks'."""
    row, width = rows_of(attention, head), attention.q_proj.in_features
    for proj in (attention.q_proj, attention.k_proj):
        proj.weight[row:row + CONTENT] = 0
        for i in range(CONTENT):
            proj.weight[row + i, width // 2 - CONTENT + i] = ALIKE
    kinds = {width - 5 + i: size for i, size in enumerate((0.25, 0.25, 0.25, 0.25, -1))}
    write(attention, head, kinds, free + 4)


def quiet(proj: nn.Linear, free: int) -> None:
    """Nothing is added to the content."""
    proj.weight[free + FREE - CONTENT:free + FREE] = 0
    proj.bias[free + FREE - CONTENT:free + FREE] = 0


def decoder_attention(model: Sam, axes: list[Tensor]) -> None:
    """The first block marks what is inside the box or near the points; the second one's tokens take
    the content inside and outside of it, and the image is compared with both."""
    inner = model.mask_decoder.transformer
    first, second = inner.layers[:2]
    mute(inner.layers[2:])
    own, last = first.self_attn, inner.final_attn_token_to_image
    free = own.q_proj.in_features // 2 - FREE
    reading = [first.cross_attn_token_to_image, second.cross_attn_token_to_image, last]
    writing = [layer.cross_attn_image_to_token for layer in (first, second)]
    for attention in (own, *reading, *writing):
        for proj in (attention.q_proj, attention.k_proj):
            proj.weight.mul_(0.1)
            proj.bias.zero_()
    for block in (first, second):
        for proj in (block.self_attn.out_proj, block.cross_attn_token_to_image.out_proj,
                     block.cross_attn_image_to_token.out_proj, block.mlp.lin2):
            quiet(proj, free)
    for proj in (own.q_proj, own.k_proj, own.v_proj, own.out_proj):  # no residual goes around it
        proj.weight.add_(torch.eye(len(proj.weight)))
    pairs = len(own.q_proj.weight) // own.heads // 8    # of features of x and y in a head
    both = torch.stack(axes, 1)[len(EDGES):]            # from coarse to fine
    fine = [both[i:i + pairs].ravel().tolist() for i in range(len(both) + 1 - pairs)]
    for attention in reading:
        for head in range(attention.heads):
            if head % 2 and attention is not reading[0]:
                gather(attention, head, free)
            else:
                bump(attention, head, fine[min(head, len(fine) - 1)])
    for attention in writing:
        inside(attention, axes, free, fine[:2])
    compare(second.cross_attn_image_to_token, 3, free)
    first.layer_norm4.weight.fill_(0.5)


def mute(layers: list[nn.Module]) -> None:
    """The layers add nothing at first, but for what a layer norm changes."""
    for layer in layers:
        for name, part in layer.named_modules():
            if name.rpartition(".")[2] in ("proj", "out_proj", "lin2"):
                nn.init.zeros_(part.weight)
                nn.init.zeros_(part.bias)


@torch.no_grad()
def grown(model: Sam, path: Path) -> None:
    """Exported weights, into a model that may have more layers and wider MLPs."""
    mute([*model.vision_encoder.layers, *model.mask_decoder.transformer.layers])
    file = tensorfile.Reader(path)
    for name, tensor in model.state_dict().items():
        if name in file.rows:
            old = file[name]
            tensor[tuple(map(slice, old.shape))] = old


@torch.no_grad()
def initialise(model: Sam, source: data.Source, seed: int) -> None:
    neck(model, principal_patches(model, source, seed))
    image_positions(model)
    convolutional_attention(model)
    axes = position_code(model)
    kinds_of_tokens(model)
    decoder_attention(model, axes)
