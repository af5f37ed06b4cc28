"""Trains the lite front on rendered clips; resumes from RUN/state.pt by itself.

    python3 -m front.train RUN --train DIR... --held DIR... [--steps N] [--minutes M] [--threads 1]
        [--start FRONT.safetensors]     an exported one first; it may have fewer blocks and narrower MLPs
        [--teacher FILE --photos DIR]   on photographs of world.photos too, whose depth front.teacher's
                                        teacher.pt tells
    python3 -m front.train RUN --train DIR... --held DIR... --export FILE.safetensors
        [--mean RUN...]                 with the weights' mean over runs that started from each other
    python3 -m front.train RUN --train DIR --held DIR --toy
                                        seconds; exit status 1 unless the loss falls on the few batches
                                        that it sees again

Depth and confidence come from single frames and from a few frames of a clip together; the camera
head learns the fields of view and answers "still" (identity, no translation), which the tracker's
bundle adjustment takes as its start.
"""
import argparse
import copy
import json
import math
import signal
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import checkpoint, compat
from common.config import FRONT
from common.files import replacing
from common.training import parameter_groups
from front import data, teacher
from front.init import grown, initialise
from front.losses import agreement_losses, log_loss, relative_errors, relative_loss, slope_loss
from front.model import Front

SIZE, TOY = (192, 256), (96, 128)  # training frames, multiples of the patch size
BATCHES = ((4, 2), (8, 1), (2, 4), (4, 2), (8, 1), (2, 4), (4, 2), (2, 4))  # clips, frames; in turn
PICTURED = (1, 4)         # the turns that have photographs where there is a teacher
DENSE = 4                 # frames a step that go through the depth head
TRUE_SHARE = 0.65         # of the pixels are good enough to be confident in
CONFIDENT_SHARE = 0.75    # of the held-out pixels get a confidence above 0.5
WEIGHTS = {"token0": 0.5, "token1": 1.0, "depth": 1.0, "slope": 0.5, "confidence": 0.1, "fov": 0.5,
           "agreement": 1.0, "turn": 3.0}


class Readout(nn.Module):
    """Log depth of 4x4 places a patch, straight from the tapped tokens: a short way for the
    gradient to the trunk; dropped after training."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, 16)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """[T, P, 2 D] to [T, 4 gh, 4 gw]"""
        x = self.linear(self.norm(tokens[:, -grid[0] * grid[1]:]))
        return F.pixel_shuffle(x.transpose(1, 2).unflatten(2, grid), 4)[:, 0]


class Trainee(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = Front(FRONT)
        self.readouts = nn.ModuleList(Readout(2 * FRONT["embed_dim"]) for _ in range(2))


def dense(head: nn.Module, taps: list[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Log depth and the confidence's logit [T, H, W]."""
    depth, confidence = head.frames(taps, *size, FRONT["patch_size"])
    return depth.clamp_min(1e-6).log(), confidence.clamp(1e-6, 1 - 1e-6).logit()


def losses_of_depth(trainee: Trainee, video: Tensor, truth: Tensor,
                    clips: int) -> tuple[dict[str, Tensor], list[Tensor], Tensor, Tensor]:
    """The parts of the loss that are about depth, the taps, log depth and the confidence's logit."""
    model, patch = trainee.front, FRONT["patch_size"]
    grid = (truth.shape[1] // patch, truth.shape[2] // patch)
    taps = model.aggregator(model.normalise(video), clips)
    coarse = F.avg_pool2d(truth[:, None], patch // 4)[:, 0]
    parts = {}
    for i, readout in enumerate(trainee.readouts):
        parts[f"token{i}"] = log_loss(readout(taps[2 * i], grid) - coarse, clips)[0]
    log_depth, logit = dense(model.depth_head, [tap[:DENSE] for tap in taps], truth.shape[1:])
    parts["depth"], aligned = relative_loss(log_depth - truth[:DENSE], DENSE // min(len(video) // clips, DENSE))
    parts["slope"] = slope_loss(aligned)
    return parts, taps, log_depth, logit


def losses(trainee: Trainee, batch: tuple[Tensor, ...], clips: int,
           threshold: float) -> tuple[dict[str, Tensor], Tensor]:
    """The parts of the loss, and the relative errors that confidence is about."""
    video, truth, fov, *still = batch
    frames = len(video) // clips
    groups = DENSE // min(frames, DENSE)
    parts, taps, log_depth, logit = losses_of_depth(trainee, video, truth, clips)
    wrong = relative_errors(log_depth.detach(), truth[:DENSE], groups)
    parts["confidence"] = F.binary_cross_entropy_with_logits(logit, (wrong < threshold).float())
    pose = trainee.front.camera_head(taps[-1][:, 0].unflatten(0, (clips, frames)))[-1].flatten(0, 1)
    parts["fov"] = (pose[:, 7:] - fov).abs().mean()
    if frames > 1:
        parts["agreement"], parts["turn"] = agreement_losses(log_depth - truth[:DENSE],
                                                             *(part[:DENSE] for part in still), groups)
    return parts, wrong


class Lessons:
    """Photographs and what the teacher says about them."""

    def __init__(self, path: Path, photos: Path, size: tuple[int, int]):
        self.teacher, self.pictures = teacher.read(path), data.Pictures(photos, size)

    def losses(self, trainee: Trainee, seed: int, step: int, count: int) -> dict[str, Tensor]:
        clean, seen = data.pictured(self.pictures, seed, step, count)
        with torch.no_grad():
            said = self.teacher(clean)
            said = said - said.flatten(1).median(1).values[:, None, None]
        return losses_of_depth(trainee, seen, said.clamp(math.log(0.02), math.log(data.MAX_DEPTH)), count)[0]


def rate(step: int, steps: int, peak: float) -> float:
    """Warm-up, plateau, and a linear fall over the last 40 %: more steps can be added later."""
    return peak * min(1, (step + 1) / 150, max(0.01, (steps - step) / (0.4 * steps)))


class Validation:
    """Held-out clips: abs_rel after one median scale a clip, beside its floors."""

    def __init__(self, held: data.Clips, train: data.Clips, frames=4, max_count=40):
        count = min(max_count, len(held))
        self.clips = [data.evenly(held, i * len(held) // count, frames) for i in range(count)]
        every = max(1, len(train) // 200)
        self.prior = torch.stack([data.evenly(train, i, 2)[1].mean(0)
                                  for i in range(0, len(train), every)]).mean(0)

    @torch.inference_mode()
    def scores(self, model: Front) -> dict:
        """Also with the depth of another clip's images (swapped)."""
        rows, logs = [], []
        for video, truth, fov in self.clips:
            out = model(video)
            logs.append(out["depth"].log())
            wrong, sure = relative_errors(logs[-1], truth, 1), out["confidence"] > 0.5
            rows.append({
                "abs_rel": wrong.mean(),
                "prior": relative_errors(self.prior.expand_as(truth), truth, 1).mean(),
                "constant": relative_errors(torch.zeros_like(truth), truth, 1).mean(),
                "confident": sure.float().mean(),
                "abs_rel_if_confident": (wrong * sure).sum() / sure.sum().clamp_min(1),
                "fov_degrees": (out["pose_enc"][:, 7:] - fov).abs().mean().rad2deg()})
        for i, row in enumerate(rows):
            row["swapped"] = relative_errors(logs[i - 1], self.clips[i][1], 1).mean()
        return {name: round(torch.stack([row[name] for row in rows]).mean().item(), 4)
                for name in rows[0]}


class Run:
    def __init__(self, folder: Path, seed: int, rate: float, toy: bool):
        self.folder, self.path, self.toy = folder, folder / "state.pt", toy
        torch.manual_seed(seed)
        self.trainee = Trainee()
        self.step, self.frames, self.seed, self.peak = 0, 0, seed, rate
        self.threshold, self.scores = 0.25, {}    # relative error that still counts as good
        self.lessons: Lessons | None = None
        self.average = copy.deepcopy(self.trainee.front).requires_grad_(False).eval()

    def begin(self, clips: data.Clips, first: Path | None) -> None:
        if self.path.exists():
            self.load()
        else:
            initialise(self.trainee.front, self.trainee.readouts, clips, self.seed)
            if first:
                grown(self.trainee.front, first)
            self.average.load_state_dict(self.trainee.front.state_dict())
        self.trainee.front.aggregator.patch_embed.patch_embed.proj.requires_grad_(False)
        self.optimiser = compat.adamw(parameter_groups(self.trainee, ("token", "pos_embed")), betas=(0.9, 0.98))
        if self.path.exists():
            self.optimiser.load_state_dict(self.state["optimiser"])

    def load(self) -> None:
        self.state = compat.load(self.path)
        self.trainee.load_state_dict(self.state["trainee"])
        self.average.load_state_dict(self.state["average"])
        for name in ("step", "seed", "threshold", "scores", "frames"):
            setattr(self, name, self.state[name])

    def save(self) -> None:
        state = {"trainee": self.trainee.state_dict(), "average": self.average.state_dict(),
                 "optimiser": self.optimiser.state_dict(), "step": self.step, "seed": self.seed,
                 "threshold": self.threshold, "scores": self.scores, "frames": self.frames}
        with replacing(self.path) as part:
            torch.save(state, part)

    def advance(self, clips: data.Clips, steps: int) -> dict:
        count, frames = BATCHES[self.step % len(BATCHES)]
        turn = self.step % len(BATCHES)
        which = turn if self.toy else self.step
        shown, wrong = "", None
        if self.lessons and turn in PICTURED:
            parts, shown = self.lessons.losses(self.trainee, self.seed, which, count), "pictures' "
        else:
            batch = data.batch(clips, self.seed, which, count, frames)
            parts, wrong = losses(self.trainee, batch, count, self.threshold)
        self.optimiser.zero_grad(set_to_none=True)
        sum(WEIGHTS[name] * part for name, part in parts.items()).backward()
        norm = nn.utils.clip_grad_norm_(self.trainee.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.step, steps, self.peak)
        self.optimiser.step()
        if wrong is not None:
            self.threshold += 0.01 * (wrong.flatten()[::7].quantile(TRUE_SHARE).item() - self.threshold)
        self.step += 1
        self.frames += count * frames
        keep = min(0.998, self.step / (self.step + 20))
        compat.lerp_(list(self.average.parameters()),
                     [p.detach() for p in self.trainee.front.parameters()], 1 - keep)
        return {**{shown + name: part.item() for name, part in parts.items()}, "norm": norm.item()}


def train(run: Run, args) -> list[float]:
    """Returns the mean loss of each `log_every` steps."""
    size = TOY if args.toy else SIZE
    clips, held = data.Clips(args.train, size), data.Clips(args.held, size)
    run.begin(clips, args.start)
    if args.teacher:
        run.lessons = Lessons(args.teacher, args.photos, size)
    start, saved, seen, stop, means = time.time(), time.time(), {}, [], []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    while run.step < args.steps and time.time() - start < 60 * args.minutes and not stop:
        for name, value in run.advance(clips, args.steps).items():
            seen.setdefault(name, []).append(value)
        if run.step % args.log_every == 0:
            line = {name: round(sum(values) / len(values), 4) for name, values in seen.items()}
            print(json.dumps({"step": run.step, "minutes": round((time.time() - start) / 60, 1),
                              "clips": len(clips), "threshold": round(run.threshold, 3), **line}),
                  flush=True)
            means.append(sum(WEIGHTS[name] * line[name] for name in WEIGHTS if name in line))
            seen = {}
            clips.refresh()
        if run.step % args.check_every == 0 or run.step == args.steps:
            held.refresh()
            validation = Validation(held, clips)
            run.scores = validation.scores(run.average)
            print(json.dumps({"step": run.step, **run.scores}), flush=True)
        if time.time() - saved > 120:
            run.save()
            saved = time.time()
    run.save()
    return means


@torch.no_grad()
def calibrate(model: Front, validation: Validation) -> None:
    """Moves the confidence's bias so that CONFIDENT_SHARE of the held-out pixels lie above 0.5."""
    sure = torch.cat([model(video)["confidence"][:, ::4, ::4].flatten()
                      for video, _, _ in validation.clips])
    threshold = sure.quantile(1 - CONFIDENT_SHARE).clamp(1e-6, 1 - 1e-6)
    model.depth_head.scratch.output_conv2[2].bias[1] -= threshold.logit()


def export(run: Run, path: Path, validation: Validation) -> None:
    """The averaged weights as F16 safetensors with config and scores in the metadata."""
    calibrate(run.average, validation)
    run.average.half().float()
    run.scores = validation.scores(run.average)
    size = checkpoint.write(path, run.average, FRONT, {
        "step": run.step, "seed": run.seed, "frames": run.frames,
        "confidence_threshold": round(run.threshold, 3), "validation": run.scores})
    print(f"{path}: {size / 1e6:.1f} MB, {json.dumps(run.scores)}")


@torch.no_grad()
def mix(run: Run, others: list[Run]) -> None:
    """The averaged weights become their mean over the runs: what one schedule's end gained on one kind of
    scene at another's cost is smoothed."""
    for name, tensor in run.average.state_dict().items():
        tensor.copy_(torch.stack([r.average.state_dict()[name] for r in (run, *others)]).mean(0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--train", type=Path, nargs="+")
    parser.add_argument("--held", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--start", type=Path, metavar="FRONT.safetensors")
    parser.add_argument("--teacher", type=Path, metavar="teacher.pt")
    parser.add_argument("--photos", type=Path, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--check-every", type=int, default=200)
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--export", type=Path)
    parser.add_argument("--mean", type=Path, nargs="+", metavar="RUN", default=[])
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    run = Run(args.run, args.seed, args.rate, args.toy)
    if args.export:
        others = [Run(path, args.seed, args.rate, args.toy) for path in args.mean]
        for each in (run, *others):
            each.load()
        mix(run, others)
        held, clips = data.Clips(args.held, SIZE), data.Clips(args.train, SIZE)
        export(run, args.export, Validation(held, clips, frames=8))
        return 0
    if args.toy:
        args.steps, args.log_every, args.check_every = 3 * len(BATCHES), len(BATCHES), 3 * len(BATCHES)
    means = train(run, args)
    return args.toy and means[-1] >= means[0]


if __name__ == "__main__":
    sys.exit(main())
