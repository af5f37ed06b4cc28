"""Trains the lite SAM on rendered clips and laid-over shapes; goes on from DIR/sam.pt when it is there.

    python3 -m sam.train --clips DIR --state DIR [--steps N] [--start FILE.safetensors] [--processes N]
    python3 -m sam.train --clips DIR --state DIR --export FILE.safetensors

Objects are seen in crops around a box or a point (crop.py). The weights start from those of an export,
or else where prompts already mean something (init.py), and for some steps the decoder draws shapes
without a picture. The first of the three masks, which the program keeps, is trained on every prompt; of
the other two the better one, so that they may differ. Edges and objects are also read straight from the
image embedding, which shortens the way of the gradient; that reading is dropped at export.
"""
import argparse
import copy
import json
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from torch import Tensor, nn

from common import checkpoint, compat
from common.config import SAM
from common.training import Log, State, parameter_groups
from sam import data, init
from sam.crop import box_of, segment
from sam.model import Sam

SIDE, CELLS = SAM["image_size"], 4 * SAM["grid"]  # of the image, of a mask
PROMPTS = 2                     # an image
TOKENS, SHARES = (2, 3, 4), (0.8, 0.15, 0.05)
BLIND = 100                     # first steps, in which the decoder gets no picture
FAR = 0.5                       # weight of what is far from the object
FIRST, OTHERS, SINGLE, IOU, MAPS = 1.0, 0.3, 0.2, 0.5, 0.5  # weights of the losses
SCORED = 200                    # pixels of the smallest held-out object


class Trainee(nn.Module):
    def __init__(self):
        super().__init__()
        self.sam = Sam(SAM)
        self.maps = nn.Conv2d(SAM["vision_out"], 2 * 16, 1)

    def forward(self, batch: dict[str, Tensor], blind: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Masks [P, 4, 4G, 4G], IoUs [P, 4], logits of edges and objects [B, 2, 4G, 4G], f32. Blind: for
        an image embedding of 0, which is its mean at the start."""
        if blind:
            size = SAM["vision_out"], SAM["grid"], SAM["grid"]
            embedding = torch.zeros(len(batch["pixels"]), *size)
        else:
            embedding = self.sam.vision_encoder(batch["pixels"])
        tokens = self.sam.tokens(batch["places"], batch["kinds"])
        masks, iou = self.sam.decode(embedding.repeat_interleave(PROMPTS, 0), tokens)
        return masks.float(), iou.float(), F.pixel_shuffle(self.maps(embedding), 4).float()


def surroundings(truth: Tensor) -> Tensor:
    """Boxes of masks [P, h, w] and half of their size around them: f32 [P, 1, h, w]."""
    def span(some: Tensor) -> Tensor:
        at = torch.arange(some.shape[1])
        low, high = torch.where(some, at, at[-1]).amin(1, True), torch.where(some, at, 0 * at).amax(1, True)
        margin = 2 + torch.div(high - low, 4, rounding_mode="floor")
        return (at >= low - margin) & (at <= high + margin)
    some = truth > 0.3
    return (span(some.any(2))[:, :, None] & span(some.any(1))[:, None]).float()[:, None]


def entropy(logits: Tensor, truth: Tensor, near: Tensor) -> Tensor:
    """Of masks [P, 4, h, w]: the mean near the object, and a share of what is far, so that small
    objects count as much as large ones."""
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (each * (near / near.sum((-2, -1), True) + FAR / near[0].numel())).sum((-2, -1))


def dice(logits: Tensor, truth: Tensor) -> Tensor:
    p = logits.sigmoid()
    return 1 - (2 * (p * truth).sum((-2, -1)) + 1) / (p.sum((-2, -1)) + truth.sum((-2, -1)) + 1)


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of masks, bool [..., h, w]."""
    return (a & b).sum((-2, -1)) / (a | b).sum((-2, -1)).clamp_min(1)


def losses(trainee: Trainee, batch: dict[str, Tensor], blind: bool,
           half: bool = False) -> tuple[dict[str, Tensor], float]:
    """The parts of the loss, and the first mask's mean IoU. Half: products in bf16."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        masks, iou, maps = trainee(batch, blind)
    truth = batch["masks"][:, None].expand(-1, 4, -1, -1)
    each = entropy(masks, truth, surroundings(batch["masks"])) + dice(masks, truth)
    found = mask_iou(masks.detach() > 0, truth > 0.5)
    edges, objects = (F.binary_cross_entropy_with_logits(maps[:, i], batch["maps"][:, i]) for i in (0, 1))
    parts = {"first": FIRST * each[:, 1].mean(),
             "others": OTHERS * each[:, 2:].min(1).values.mean(),
             "single": SINGLE * each[:, 0].mean(),
             "iou": IOU * F.mse_loss(iou, found),
             "maps": MAPS * (edges + objects)}
    return parts, found[:, 1].mean().item()


def batch_of(source: data.Source, seed: int, step: int, rank: int, count: int) -> dict[str, Tensor]:
    """The step's `count` images of the process `rank`."""
    tokens = int(np.random.default_rng([seed, step]).choice(TOKENS, p=SHARES))
    images = range(rank * count, (rank + 1) * count)
    samples = [data.sample(source, [seed, step, i], SIDE, CELLS, tokens) for i in images]
    batch = {name: torch.from_numpy(np.stack([s[name] for s in samples])) for name in samples[0]}
    return {name: part.flatten(0, 1) if name in ("places", "kinds", "masks") else part
            for name, part in batch.items()}


def share_gradients(parameters: list[nn.Parameter]) -> None:
    """Their means over all processes."""
    if dist.is_initialized():
        used = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.ravel() for grad in used])
        dist.all_reduce(flat)
        for grad, mean in zip(used, (flat / dist.get_world_size()).split([grad.numel() for grad in used])):
            grad.copy_(mean.view_as(grad))


def rate(step: int, steps: int, blind: int) -> float:
    """The learning rate's factor: a rise, once more when the encoder comes in, a plateau, a fall over
    the last 40 %, so that the number of steps can be changed on the way."""
    rise = (step + 1) / min(20, steps / 4) if step < blind else (step - blind + 1) / min(100, steps / 4)
    return min(1, rise, max(0.02, (steps - step) / (0.4 * steps)))


def held_objects(path: Path, frames: tuple[int, ...]):
    """Pictures of a clip kept aside, each with the masks of its objects."""
    with np.load(path) as clip:
        for t in frames:
            label = clip["label"][t]
            known = np.flatnonzero(np.bincount(label.ravel()) >= SCORED)
            yield clip["video"][t], [label == k for k in known if k]


def middle(mask: np.ndarray) -> np.ndarray:
    """The pixel x, y of the mask that is farthest from its edge."""
    inner = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(inner, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.array(np.unravel_index(depth.argmax(), depth.shape))[::-1].astype(np.float32)


def validate(model: Sam, paths: list[Path], frames: tuple[int, ...]) -> dict[str, float]:
    """Mean IoU of the first mask over the held-out objects, from their box and from their middle."""
    found = {"box": [], "point": []}
    for path in paths:
        for image, masks in held_objects(path, frames):
            for truth in masks:
                for kind, prompt in (("box", {"box": box_of(truth)}), ("point", {"points": [middle(truth)]})):
                    mask, _ = segment(model, image, prompt)
                    found[kind].append((mask & truth).sum() / (mask | truth).sum())
    return {"objects": len(found["box"]), **{k: round(float(np.mean(v)), 4) for k, v in found.items()}}


class Run:
    """The trainee, the running mean of its weights, which is exported, and their state."""

    def __init__(self, args):
        torch.set_num_threads(1)
        torch.manual_seed(args.seed)
        self.args, self.trainee = args, Trainee()
        self.source = data.Source(args.clips / "train", args.seed)
        self.held = sorted((args.clips / "held").glob("*.npz"))
        if args.start:
            init.grown(self.trainee.sam, args.start)
        elif not (args.state / "sam.pt").exists():
            init.initialise(self.trainee.sam, self.source, args.seed)
        self.average = copy.deepcopy(self.trainee.sam).requires_grad_(False).eval()
        self.trainee.sam.vision_encoder.patch_embed.requires_grad_(False)  # it stays as it was made
        self.optimiser = compat.adamw(parameter_groups(self.trainee, ("embed", "token", "rel_pos")), lr=args.rate,
                                      betas=(0.9, 0.98))
        self.state = State(args.state / "sam.pt", {"trainee": self.trainee, "average": self.average,
                                                   "optimiser": self.optimiser})
        self.state.more.setdefault("seed", args.seed)

    def step(self, step: int, rank: int) -> tuple[dict[str, Tensor], float]:
        args, blind = self.args, 0 if self.args.start else min(BLIND, self.args.steps // 8)
        batch = batch_of(self.source, args.seed, step, rank, args.images)
        parts, found = losses(self.trainee, batch, step < blind, args.bf16)
        self.optimiser.zero_grad()
        sum(parts.values()).backward()
        share_gradients(list(self.trainee.parameters()))
        nn.utils.clip_grad_norm_(self.trainee.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = args.rate * rate(step, args.steps, blind)
        self.optimiser.step()
        return parts, found

    def train(self, rank: int) -> None:
        """All processes have the same weights; the first one averages, logs and saves."""
        log, mean, steps = Log(self.state), 0.0, self.args.steps
        for step in range(self.state.step, steps):
            parts, found = self.step(step, rank)
            if rank:
                continue
            keep = min(0.995, step / (step + 20))
            compat.lerp_(list(self.average.parameters()), [p.detach() for p in self.trainee.sam.parameters()],
                         1 - keep)
            log.add(step, {name: part.item() for name, part in parts.items()})
            mean += 0.02 * (found - mean)
            if step % self.args.check == self.args.check - 1 or step + 1 == steps:
                held = validate(self.average, self.held[:self.args.held], (0,))
                print(f"step {step + 1} training IoU {mean:.3f}, held", held, flush=True)
            if self.state.due() or step + 1 == steps:
                self.state.save(step + 1)
        if not rank:
            log.end()

    def export(self) -> None:
        self.average.half().float()
        held, path = validate(self.average, self.held, (0, -1)), self.args.export
        size = checkpoint.write(path, self.average, SAM,
                            {"steps": self.state.step, "seed": self.state.more["seed"], "held": held})
        print(f"{path}: {size} bytes, {json.dumps(held)}")


def train(rank: int, args, meeting: Path) -> None:
    """One of the processes, which meet by a file."""
    if args.processes > 1:
        # The signal that the first one is gone; in the background of a shell it starts out ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group("gloo", f"file://{meeting.resolve()}", rank=rank, world_size=args.processes)
    Run(args).train(rank)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder of train/ and held/")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--held", type=int, default=16, help="clips to validate on while training")
    parser.add_argument("--check", type=int, default=400, help="steps between two validations")
    parser.add_argument("--rate", type=float, default=7e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, metavar="SAM.safetensors", help="exported weights to go on from")
    parser.add_argument("--processes", type=int, default=1, help="each takes a core")
    parser.add_argument("--images", type=int, default=8, help="of a step and process")
    parser.add_argument("--bf16", action="store_true", help="faster on CPUs with AVX512-BF16")
    parser.add_argument("--export", type=Path)
    args = parser.parse_args()
    if args.export:
        Run(args).export()
    elif args.processes == 1:
        train(0, args, Path())
    else:
        meeting = args.state / "processes"
        meeting.parent.mkdir(parents=True, exist_ok=True)
        meeting.unlink(missing_ok=True)
        torch.multiprocessing.spawn(train, (args, meeting), args.processes)


if __name__ == "__main__":
    main()
