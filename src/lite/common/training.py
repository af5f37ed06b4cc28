"""What the trainings share: state that survives a kill, the learning rate, the log."""
import math
import time
from pathlib import Path

import torch
from torch import nn

from common import compat
from common.files import replacing

EVERY = 120  # seconds between two savings
SHOWN = 50   # steps between two lines of the log


class State:
    """Read back when the file is there. `parts` have state_dict, `tensors` are plain parameters. `step`
    counts the finished steps."""

    def __init__(self, path: Path, parts: dict, tensors: dict[str, torch.Tensor] | None = None):
        self.path, self.parts, self.tensors = path, parts, tensors or {}
        self.step, self.saved, self.more = 0, time.time(), {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            held = compat.load(path)
            for name, part in parts.items():
                part.load_state_dict(held["parts"][name])
            with torch.no_grad():
                for name, tensor in self.tensors.items():
                    tensor.copy_(held["tensors"][name])
            self.step, self.more = held["step"], held["more"]
            print(f"{path}: goes on after step {self.step}", flush=True)
        self.begun = self.step

    def due(self) -> bool:
        return time.time() - self.saved > EVERY

    def save(self, step: int) -> None:
        held = {"parts": {name: part.state_dict() for name, part in self.parts.items()},
                "tensors": {name: t.detach() for name, t in self.tensors.items()}, "step": step, "more": self.more}
        with replacing(self.path) as part:
            torch.save(held, part)
        self.saved = time.time()


def parameter_groups(model: nn.Module, undecayed: tuple[str, ...]) -> list[dict]:
    """Weight decay for matrices only, and not for those whose names hold one of `undecayed`."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decays = [p.dim() > 1 and not any(key in n for key in undecayed) for n, p in named]
    return [{"params": [p for (_, p), d in zip(named, decays) if d], "weight_decay": 0.05},
            {"params": [p for (_, p), d in zip(named, decays) if not d], "weight_decay": 0.0}]


def rate(step: int, steps: int, warm: int = 50) -> float:
    """The learning rate's factor: a short rise, then half a cosine down to 2 %."""
    done = min(step / max(steps, 1), 1)
    return min(1, (step + 1) / warm) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


class Log:
    """Running means of the losses, a line now and then, and whether they fell."""

    def __init__(self, state: State):
        self.state, self.time, self.mean, self.all = state, time.time(), {}, []

    def add(self, step: int, losses: dict[str, float]) -> None:
        self.all.append(sum(losses.values()))
        self.mean = {name: 0.98 * self.mean.get(name, loss) + 0.02 * loss for name, loss in losses.items()}
        if step % SHOWN == SHOWN - 1:
            text = " ".join(f"{name} {loss:.3f}" for name, loss in self.mean.items())
            pace = (time.time() - self.time) / (step + 1 - self.state.begun)
            print(f"step {step + 1} {text} {pace:.2f} s/step", flush=True)

    def end(self) -> None:
        quarter = len(self.all) // 4
        if quarter:
            first, last = (sum(x) / quarter for x in (self.all[:quarter], self.all[-quarter:]))
            print(f"losses of the first and last quarter: {first:.3f} {last:.3f}, "
                  f"{'fallen' if last < first else 'not fallen'}", flush=True)
